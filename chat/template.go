// Package chat turns conversations into what a model was trained to read, by the template that comes with the model: text, token ids, and
// which of them are the model's own answers.
package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"hone/internal/jinja"
)

// Tokens are the special tokens that a template may write, by the names it knows them under; "" where the tokenizer has none.
type Tokens struct{ BOS, EOS, PAD, UNK string }

// Template renders conversations. Immutable; safe for concurrent use.
type Template struct {
	source  string
	forTool string // the source of tools, "" where plain serves both
	tokens  Tokens
	plain   *jinja.Template
	tools   *jinja.Template // for conversations with tools; nil: plain serves both
}

// New parses a template. withTools, if not empty, is another one for conversations with tools.
func New(source, withTools string, tokens Tokens) (*Template, error) {
	t := &Template{source: source, forTool: withTools, tokens: tokens}
	var err error
	if t.plain, err = jinja.Parse(source); err != nil {
		return nil, fmt.Errorf("parse chat template: %w", err)
	}
	if withTools == "" {
		return t, nil
	}
	if t.tools, err = jinja.Parse(withTools); err != nil {
		return nil, fmt.Errorf("parse chat template tool_use: %w", err)
	}
	return t, nil
}

// Options of one conversation.
type Options struct {
	Tools     json.RawMessage            // a list of tools as JSON schemas; nil: none
	Documents json.RawMessage            // a list of documents; nil: none
	Vars      map[string]json.RawMessage // further variables of the template, such as enable_thinking
	// AddGenerationPrompt ends the text with what begins an answer, for the model to go on from.
	AddGenerationPrompt bool
	Now                 func() time.Time // what the template takes for the time; nil: year 1
}

// inputs are what a template sees of a conversation. They can be rendered several times: templates cannot change them.
type inputs struct {
	template *jinja.Template
	messages []jinja.Value
	vars     map[string]jinja.Value // but messages and add_generation_prompt
	now      func() time.Time
}

// inputs reads messages and options into what the template sees.
func (t *Template) inputs(messages []Message, opt Options) (*inputs, error) {
	if len(messages) == 0 {
		return nil, errors.New("the conversation is empty; give at least one message")
	}
	vars, err := t.variables(opt)
	if err != nil {
		return nil, err
	}
	items := make([]jinja.Value, len(messages))
	for i, m := range messages {
		if items[i], err = m.value(i); err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
	}
	in := &inputs{t.plain, items, vars, opt.Now}
	if t.tools != nil && opt.Tools != nil {
		in.template = t.tools
	}
	return in, nil
}

// The variables of a conversation, which change from one rendering of it to another.
const (
	varMessages = "messages"
	varPrompt   = "add_generation_prompt"
)

// render renders all messages, and returns what renders the first of them.
func (in *inputs) render(addGenerationPrompt bool) (jinja.Result, *jinja.Prefixes, error) {
	vars := maps.Clone(in.vars)
	vars[varMessages] = jinja.List(in.messages...)
	vars[varPrompt] = jinja.Bool(addGenerationPrompt)
	return in.template.RenderPrefixes(vars, varMessages, []string{varPrompt}, jinja.Options{Now: in.now})
}

// variables are the template's, beside the messages.
func (t *Template) variables(opt Options) (map[string]jinja.Value, error) {
	vars := map[string]jinja.Value{"tools": jinja.None(), "documents": jinja.None()}
	for name, token := range map[string]string{"bos_token": t.tokens.BOS, "eos_token": t.tokens.EOS, "pad_token": t.tokens.PAD, "unk_token": t.tokens.UNK} {
		if token != "" {
			vars[name] = jinja.String(token, sourceTemplate)
		}
	}
	for name, raw := range opt.Vars {
		v, err := jinja.ParseJSON(raw, sourceOther)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", name, err)
		}
		vars[name] = v
	}
	for name, raw := range map[string]json.RawMessage{"tools": opt.Tools, "documents": opt.Documents} {
		if raw == nil {
			continue
		}
		v, err := jinja.ParseJSON(raw, sourceOther)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !v.IsList() && !v.IsNone() {
			return nil, fmt.Errorf("%s must be a JSON list", name)
		}
		vars[name] = v
	}
	return vars, nil
}
