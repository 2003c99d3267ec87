// Package jinja renders the dialect of Jinja that chat templates are written in, as the reference implementation does: jinja2 as transformers
// sets it up (utils/chat_template_utils.py, _compile_jinja_template), which is an ImmutableSandboxedEnvironment with trim_blocks,
// lstrip_blocks, loopcontrols, generation blocks, a tojson that escapes nothing for HTML, raise_exception and strftime_now. Values behave as
// Python's do: truth, printing, string methods, formats, errors. There are no files, includes, blocks, translations or clocks of its own.
//
// The text of a template goes through three steps: lex (white space and tokens), parser (a tree, ast.go) and state, which walks the tree.
//
// Templates come from strangers, so each rendering counts steps and bounds texts, nesting and numbers; see Options.
//
// What differs from the reference on purpose: whole numbers of more than 64 bits are carried, ordered and printed, not computed with;
// functions and generators do not print; filters that no template of a conversation has a use for (random, urlize, xmlattr, pprint,
// filesizeformat, wordwrap, striptags, forceescape) and the globals lipsum, cycler and joiner are unknown; a name that is read within a block and set
// outside of it later has until then its value in the context, where the reference's compiler has made it a local one without a value.
//
// Every byte of what it renders knows which input it was copied from and which input the template was at when it wrote it, so that a
// caller can tell an assistant's answer from the template's own words.
package jinja

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Limits of a rendering, and their defaults.
const (
	DefaultMaxSteps  = 5_000_000 // evaluations, items of lists, or stretches of 64 bytes of text; it bounds the memory, too
	DefaultMaxOutput = 32 << 20  // bytes of any one text, the result included
	maxSource        = 1 << 20   // bytes of a template
)

// Options of a rendering. The zero value is ready: the default limits, and no clock.
type Options struct {
	MaxSteps  int
	MaxOutput int
	Now       func() time.Time // what strftime_now shows; nil: year 1
}

// Template is a parsed template. Immutable; safe for concurrent use.
type Template struct {
	body       []stmt
	generation bool // it has {% generation %} blocks
}

// Span is a range of bytes [Start, End) of the result.
type Span struct{ Start, End int }

// Result is a rendered template.
type Result struct {
	Text       Text
	Generation []Span // what {% generation %} blocks wrote, in order
}

// RaisedError is the error of a template that calls raise_exception.
type RaisedError struct{ Message string }

// Error passes the template's message on.
func (e *RaisedError) Error() string { return "the template refuses this conversation: " + e.Message }

// Parse reads a template. Its errors name the line.
func Parse(source string) (t *Template, err error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("a template has %d bytes, more than the %d that are allowed", len(source), maxSource)
	}
	if !utf8.ValidString(source) {
		return nil, errors.New("a template is not valid UTF-8")
	}
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	defer recoverFailure(&err)
	p := &parser{tokens: tokens}
	body, _ := p.body()
	return &Template{body, p.generation}, nil
}

// recoverFailure turns a failure into an error. Panics carry errors up through the tree walk, as encoding/json's do; what is none of ours goes on.
func recoverFailure(err *error) {
	switch r := recover().(type) {
	case nil:
	case failure:
		*err = r.err
	default:
		panic(r)
	}
}

// Render runs the template with the given variables.
func (t *Template) Render(vars map[string]Value, opt Options) (Result, error) {
	return t.render(vars, opt, nil)
}

// render is Render, watched where w is not nil.
func (t *Template) render(vars map[string]Value, opt Options, w *watch) (r Result, err error) {
	if opt.MaxSteps == 0 {
		opt.MaxSteps = DefaultMaxSteps
	}
	if opt.MaxOutput == 0 {
		opt.MaxOutput = DefaultMaxOutput
	}
	st := &state{opt: opt, watch: w, out: &builder{}, line: 1, filters: filterTable(), scope: &scope{}}
	for name, v := range vars {
		st.scope.set(name, v.v)
	}
	defer recoverFailure(&err)
	st.run(t.body)
	return Result{st.out.text(), st.spans}, nil
}

// HasGeneration reports whether the template has {% generation %} blocks.
func (t *Template) HasGeneration() bool { return t.generation }
