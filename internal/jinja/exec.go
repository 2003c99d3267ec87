package jinja

import (
	"fmt"
	"time"
)

// state is one rendering.
type state struct {
	opt     Options
	steps   int
	depth   int // of calls
	evals   int // open evaluations
	line    int
	scope   *scope
	out     *builder
	spans   []Span
	writer  int // nested outputs (macros, set blocks) that are open
	body    any // what a filter block filters
	filters map[string]builtin
	watch   *watch // what is looked at of a list; nil: nobody wants to know
	shared  int    // bytes that stand before the main output and are not written again
}

// scope holds the names of a block. Loops, macros and with open one; if does not.
type scope struct {
	few     [4]variable // those set first: each round of a loop has a scope, and hardly one has more names
	n       int         // of few
	many    map[string]any
	parent  *scope
	context int32 // number of the input that this scope is about
}

// variable is a name of a scope and what it stands for.
type variable struct {
	name  string
	value any
}

// lookup goes from the inside out. Scopes are few and small, so no slot is worked out for a name when the template is parsed.
func (s *scope) lookup(name string) (any, bool) {
	for ; s != nil; s = s.parent {
		for i := range s.few[:s.n] {
			if s.few[i].name == name {
				return s.few[i].value, true
			}
		}
		if s.many == nil {
			continue
		}
		if v, ok := s.many[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// set binds a name in this scope.
func (s *scope) set(name string, v any) {
	for i := range s.few[:s.n] {
		if s.few[i].name == name {
			s.few[i].value = v
			return
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = variable{name, v}
		s.n++
		return
	}
	if s.many == nil {
		s.many = map[string]any{}
	}
	s.many[name] = v
}

// fail ends the rendering with an error at the current line.
func (st *state) fail(format string, args ...any) {
	panic(failure{fmt.Errorf("template line %d: %s", st.line, fmt.Sprintf(format, args...))})
}

// step charges work.
func (st *state) step(n int) {
	if st.steps += n; st.steps > st.opt.MaxSteps {
		st.fail("more than %d steps; the template does not end or does far too much", st.opt.MaxSteps)
	}
}

// scan charges a look at n bytes of text.
func (st *state) scan(n int) { st.step(n / 64) }

// limit refuses texts above the output limit.
func (st *state) limit(n int) {
	if n > st.opt.MaxOutput {
		st.fail("a text is longer than %d bytes", st.opt.MaxOutput)
	}
}

// grow charges and bounds a new text of n bytes, before it is made.
func (st *state) grow(n int) {
	st.limit(n)
	st.step(n/64 + 1)
}

// maxDepth bounds nested data and calls.
const maxDepth = 200

// deeper bounds values that nest, for what walks them calls itself; Go's stack has no end that could be recovered from.
func (st *state) deeper(depth int) {
	if depth > maxDepth {
		st.fail("values nest deeper than %d", maxDepth)
	}
}

// open begins a scope below parent and returns the function that ends it.
func (st *state) open(parent *scope) (end func()) {
	old := st.scope
	st.scope = &scope{parent: parent, context: old.context}
	return func() { st.scope = old }
}

// emit writes to the current output.
func (st *state) emit(t Text) {
	st.step(1)
	n := len(st.out.buf) + len(t.s)
	if st.writer == 0 {
		n += st.shared
	}
	st.limit(n)
	st.out.put(t, st.scope.context)
}

// capture runs f with an output of its own.
func (st *state) capture(f func()) Text {
	outer := st.out
	st.out = &builder{}
	st.writer++
	f()
	t := st.out.text()
	st.writer--
	st.out = outer
	st.grow(len(t.s))
	return t
}

// flow says how a statement ended.
type flow int

const (
	flowNext flow = iota
	flowBreak
	flowContinue
)

// run ends with the first statement that breaks or continues the loop around it.
func (st *state) run(list []stmt) flow {
	for _, s := range list {
		st.step(1)
		if f := st.exec(s); f != flowNext {
			return f
		}
	}
	return flowNext
}

// exec is one case for each node of ast.go. Only what can fail sets the line that an error names.
func (st *state) exec(s stmt) flow {
	switch s := s.(type) {
	// Lines are set by what can fail; text cannot.
	case textStmt:
		st.emit(Text{s: s.text})
	case outputStmt:
		st.line = s.line
		st.emit(st.display(st.eval(s.x)))
	// no scope: what an if sets is seen after it
	case ifStmt:
		st.line = s.line
		if truth(st.eval(s.test)) {
			return st.run(s.then)
		}
		return st.run(s.els)
	case forStmt:
		st.line = s.line
		v := st.evalUnseen(s.iter)
		if st.watch != nil {
			return st.loopOverWatched(s, v)
		}
		return st.loopOver(s, st.iterate(v), 0)
	case setStmt:
		st.line = s.line
		if name, ok := s.target.(nameExpr); ok {
			st.bind(name, st.evalUnseen(s.x), false)
			break
		}
		st.bind(s.target, st.eval(s.x), false)
	case setBlock:
		return st.setBlock(s)
	// the macro keeps the scope that it is defined in and sees what is set there later, too
	case *macroStmt:
		st.scope.set(s.name, &macro{def: s, scope: st.scope})
	case callStmt:
		st.callBlock(s)
	case filterStmt:
		st.line = s.line
		t, f := st.block(s.body)
		if f != flowNext {
			return f
		}
		st.line = s.line
		st.emit(st.display(st.filterBody(s.filter, t)))
	case withStmt:
		return st.with(s)
	case generationStmt:
		st.generation(s)
	case breakStmt:
		return flowBreak
	case continueStmt:
		return flowContinue
	}
	return flowNext
}

// block renders statements in a scope of their own to a text. One that ends otherwise than at its end writes nothing.
func (st *state) block(body []stmt) (t Text, f flow) {
	t = st.capture(func() {
		defer st.open(st.scope)()
		f = st.run(body)
	})
	return t, f
}

// bind assigns a value to a target. A loop, a macro or with (owner true) that binds an input makes the scope about that input; an
// assignment does so only inside of a block, whose scope is about none yet.
func (st *state) bind(target expr, v any, owner bool) {
	switch t := target.(type) {
	case nameExpr:
		st.scope.set(t.name, v)
		d, ok := v.(*dict)
		if ok && d.source != 0 && (owner || st.scope.parent != nil && st.scope.context == 0) {
			st.scope.context = d.source
		}
	case nsExpr:
		ns, ok := st.name(t.name).(*namespace)
		if !ok {
			st.fail("%s is no namespace; an attribute can be set only on namespace()", t.name)
		}
		st.checkPrivate(t.attr)
		ns.vars.setString(t.attr, v)
	case listExpr:
		items := st.iterate(v)
		if len(items) != len(t.items) {
			st.fail("%d values cannot be unpacked into %d names", len(items), len(t.items))
		}
		for i := range items {
			st.bind(t.items[i], items[i], owner)
		}
	}
}

// checkPrivate refuses what the reference's sandbox calls unsafe: names with an underscore in front, through which Python's internals are
// reached.
func (st *state) checkPrivate(name string) {
	if len(name) > 0 && name[0] == '_' {
		st.fail("the attribute %s starts with an underscore, which templates may not use", shorten(name))
	}
}

// setBlock sets a name to the text of a body. The text keeps its origins: a message that a template sets aside and writes later is still that message.
func (st *state) setBlock(s setBlock) flow {
	st.line = s.line
	t, f := st.block(s.body)
	if f != flowNext {
		return f
	}
	var v any = t
	if s.filter != nil {
		st.line = s.line
		v = st.filterBody(s.filter, v)
	}
	st.bind(s.target, v, false)
	return flowNext
}

// with evaluates all values before it binds the first name, so that a = b, b = a swaps.
func (st *state) with(s withStmt) flow {
	st.line = s.line
	values := make([]any, len(s.values))
	for i, x := range s.values {
		values[i] = st.eval(x)
	}
	defer st.open(st.scope)()
	for i, t := range s.targets {
		st.bind(t, values[i], true)
	}
	return st.run(s.body)
}

// generation notes where the body lands, when it lands in the template's own output.
func (st *state) generation(s generationStmt) {
	st.line = s.line
	t, _ := st.block(s.body) // the parser lets nothing leave it
	if st.writer == 0 {
		st.spans = append(st.spans, Span{len(st.out.buf), len(st.out.buf) + len(t.s)})
	}
	st.emit(t)
}

// loopOver runs a loop over items; depth counts recursive calls of the same loop. A break in the else part is that of the loop around.
func (st *state) loopOver(s forStmt, items []any, depth int) flow {
	if s.test != nil {
		items = st.loopFilter(s, items, nil)
	}
	return st.rounds(&loop{stmt: s, items: items, depth: depth, scope: st.scope}, 0)
}

// rounds runs a loop over the items that its filter left, from round first on.
func (st *state) rounds(l *loop, first int) flow {
	// Each round has a scope of its own: nothing set in it is left for the next one or for what follows the loop. A template that wants
	// that takes a namespace.
	for i := first; i < len(l.items); i++ {
		if w := st.watch; w != nil && w.loop == l {
			w.mark(st, i)
		}
		st.step(1) // also where the body is empty
		end := st.open(st.scope)
		l.index = i
		st.scope.set("loop", l)
		st.bind(l.stmt.target, l.items[i], true)
		f := st.run(l.stmt.body)
		end()
		if f == flowBreak {
			break
		}
		l.ended = l.ended || f == flowNext
	}
	if l.ended {
		return flowNext
	}
	// as in the reference, also where all rounds were left by break or continue, unlike Python's
	defer st.open(st.scope)()
	return st.run(l.stmt.els)
}

// loopFilter applies the if of a for. It comes first, so that loop.length and loop.last count what is left.
// each, if not nil, is told of every item whether it is.
func (st *state) loopFilter(s forStmt, items []any, each func(i int, kept bool)) []any {
	var kept []any
	outer, inner := st.scope, &scope{} // one for all items: an expression keeps no scope
	for i, item := range items {
		*inner = scope{parent: outer, context: outer.context}
		st.scope = inner
		st.step(1)
		st.bind(s.target, item, true)
		keep := truth(st.eval(s.test))
		if keep {
			kept = append(kept, item)
		}
		st.scope = outer
		if each != nil {
			each(i, keep)
		}
	}
	return kept
}

// loop is the variable loop.
type loop struct {
	stmt    forStmt
	items   []any
	index   int
	depth   int
	scope   *scope // around the loop
	changed any    // of loop.changed
	asked   bool
	ended   bool // a round got to the end of the body
}

// attr are the attributes of LoopContext in jinja2's runtime.py.
func (l *loop) attr(st *state, name string) (any, bool) {
	if st.watch != nil {
		st.watch.attr(l, name)
	}
	n := len(l.items)
	at := func(i int, none string) any {
		if i < 0 || i >= n {
			return undefined{none}
		}
		return l.items[i]
	}
	switch name {
	case "index":
		return int64(l.index + 1), true
	case "index0":
		return int64(l.index), true
	case "revindex":
		return int64(n - l.index), true
	case "revindex0":
		return int64(n - l.index - 1), true
	case "first":
		return l.index == 0, true
	case "last":
		return l.index == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(l.depth + 1), true
	case "depth0":
		return int64(l.depth), true
	case "previtem":
		return at(l.index-1, "there is no previous item"), true
	case "nextitem":
		return at(l.index+1, "there is no next item"), true
	case "cycle":
		return &function{"cycle", func(st *state, args []any, _ kwargs) any {
			if len(args) == 0 {
				st.fail("loop.cycle needs values")
			}
			return args[l.index%len(args)]
		}}, true
	case "changed":
		return &function{"changed", func(st *state, args []any, _ kwargs) any {
			v := tupleOf(args...)
			same := l.asked && st.equal(l.changed, v, 0)
			l.changed, l.asked = v, true
			return !same
		}}, true
	}
	return nil, false
}

// call renders a recursive loop's body over other items.
func (l *loop) call(st *state, args []any) any {
	if !l.stmt.recursive || len(args) != 1 {
		st.fail("loop(...) needs a loop marked recursive, and one argument")
	}
	items := st.iterate(args[0])
	return st.call(func() any {
		return st.capture(func() {
			defer st.open(l.scope)()
			st.loopOver(l.stmt, items, l.depth+1)
		})
	})
}

// call counts the depth of calls.
func (st *state) call(f func() any) any {
	if st.depth++; st.depth > maxDepth {
		st.fail("macros call each other deeper than %d", maxDepth)
	}
	v := f()
	st.depth--
	return v
}

// macro is a callable made by {% macro %} or {% call %}.
type macro struct {
	def   *macroStmt
	scope *scope // where it was defined
}

// call renders the body to a text, which the caller may filter or compare before it writes it. The scope is that of the definition, as in the reference;
// only its context is the caller's, so that a macro called in a message's turn writes for that message.
func (m *macro) call(st *state, args []any, kw kwargs) any {
	return st.call(func() any {
		line := st.line
		defer func() { st.line = line }()
		return st.capture(func() {
			defer st.open(m.scope)()
			m.bind(st, args, kw)
			st.run(m.def.body)
		})
	})
}

// bind gives the macro's parameters their values.
func (m *macro) bind(st *state, args []any, kw kwargs) {
	d := m.def
	st.step(len(d.params) * (1 + len(kw.names)/8)) // each is looked up among all names
	used := map[string]bool{}
	for i, name := range d.params {
		given, ok := kw.get(name)
		switch {
		case i < len(args):
			st.bind(nameExpr{name}, args[i], true)
		case ok:
			used[name] = true
			st.bind(nameExpr{name}, given, true)
		case i >= len(d.params)-len(d.defaults):
			st.bind(nameExpr{name}, st.eval(d.defaults[i-len(d.params)+len(d.defaults)]), true)
		default:
			st.scope.set(name, undefined{fmt.Sprintf("parameter %q was not provided", name)})
		}
	}
	// what is left over goes to kwargs and varargs, which a macro has when its body names them, and is an error otherwise
	rest := newDict()
	if d.uses["caller"] { // its own, not that of a macro around it
		st.scope.set("caller", undefined{"no caller is defined"})
	}
	for i, name := range kw.names {
		switch {
		case used[name]:
		case name == "caller" && d.uses["caller"]:
			st.scope.set("caller", kw.values[i])
		case d.uses["kwargs"]:
			rest.setString(name, kw.values[i])
		default:
			st.fail("macro %s takes no argument %s", d.name, name)
		}
	}
	if d.uses["kwargs"] {
		st.scope.set("kwargs", rest)
	}
	extra := args[min(len(args), len(d.params)):]
	if d.uses["varargs"] {
		st.scope.set("varargs", tupleOf(extra...))
	} else if len(extra) > 0 {
		st.fail("macro %s takes not more than %d arguments", d.name, len(d.params))
	}
}

// callBlock calls a macro with the block's body as its argument caller, which sees the scope around the block.
func (st *state) callBlock(s callStmt) {
	st.line = s.line
	args, kw := st.args(s.call.args)
	kw.names = append(kw.names, "caller")
	kw.values = append(kw.values, &macro{s.macro, st.scope})
	st.emit(st.display(st.apply(st.eval(s.call.fn), args, kw)))
}

// now is the time that strftime_now shows.
func (st *state) now() time.Time {
	if st.opt.Now == nil {
		return time.Time{}
	}
	return st.opt.Now()
}
