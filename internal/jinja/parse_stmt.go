package jinja

import (
	"fmt"
	"maps"
	"slices"
)

// maxNesting bounds how deep tags and expressions nest.
const maxNesting = 200

// parser reads tokens into statements. It fails by panicking with a failure, which Parse recovers.
type parser struct {
	tokens     []token
	pos        int
	nesting    int
	loops      int             // open for loops
	uses       map[string]bool // names that the macro being read mentions
	generation bool            // a generation block was read
}

// failure is an error on its way up to Parse or Render.
type failure struct{ err error }

// peek is the next token, which stays; the last one is tokEOF for ever.
func (p *parser) peek() token { return p.tokens[p.pos] }

// ahead is the token after the next, which is not tokEOF.
func (p *parser) ahead() token { return p.tokens[p.pos+1] }

// next takes a token, but never tokEOF, so that every later look sees it, too.
func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

// fail names the line of the token that is next, where what was expected is missing.
func (p *parser) fail(format string, args ...any) {
	panic(failure{fmt.Errorf("template line %d: %s", p.peek().line, fmt.Sprintf(format, args...))})
}

// enter counts a level of nesting; the caller defers leave.
func (p *parser) enter() {
	if p.nesting++; p.nesting > maxNesting {
		p.fail("tags or expressions nest deeper than %d", maxNesting)
	}
}

// leave ends a level.
func (p *parser) leave() { p.nesting-- }

func (p *parser) isOp(s string) bool   { t := p.peek(); return t.kind == tokOp && t.text == s }
func (p *parser) isName(s string) bool { t := p.peek(); return t.kind == tokName && t.text == s }

// skipOp takes an operator if it is next.
func (p *parser) skipOp(s string) bool {
	if p.isOp(s) {
		p.pos++
		return true
	}
	return false
}

// skipName takes a keyword if it is next. Keywords are names to the lexer: m.set and m["if"] are attributes like any other.
func (p *parser) skipName(s string) bool {
	if p.isName(s) {
		p.pos++
		return true
	}
	return false
}

// expectOp fails unless the operator is next.
func (p *parser) expectOp(s string) {
	if !p.skipOp(s) {
		p.fail("expected %q, found %s", s, p.peek())
	}
}

// expectName takes a name, keywords included.
func (p *parser) expectName() string {
	t := p.peek()
	if t.kind != tokName {
		p.fail("expected a name, found %s", t)
	}
	p.pos++
	return t.text
}

// expect takes a token that has no text of interest.
func (p *parser) expect(kind tokenKind) {
	if t := p.peek(); t.kind != kind {
		p.fail("expected %s, found %s", token{kind: kind}, t)
	}
	p.pos++
}

// String describes a token in errors.
func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "the end of the template"
	case tokData:
		return "text"
	case tokBegin:
		return "{%"
	case tokEnd:
		return "%}"
	case tokVar:
		return "{{"
	case tokVarEnd:
		return "}}"
	case tokString:
		return "a string"
	case tokNumber:
		return "a number"
	}
	return fmt.Sprintf("%q", shorten(t.text))
}

// body reads statements up to a tag named by one of ends, whose {% and name it takes too; it returns which. With no
// ends it reads up to the end of the template.
func (p *parser) body(ends ...string) (list []stmt, end string) {
	p.enter()
	defer p.leave()
	for {
		switch t := p.next(); t.kind {
		case tokEOF:
			if len(ends) > 0 {
				p.fail("the template ends where {%% %s %%} is missing", ends[len(ends)-1])
			}
			return list, ""
		case tokData:
			list = append(list, textStmt{t.text})
		case tokVar:
			list = append(list, outputStmt{t.line, p.tuple(true, false)})
			p.expect(tokVarEnd)
		case tokBegin:
			if n := p.peek(); n.kind == tokName && slices.Contains(ends, n.text) {
				p.pos++
				return list, n.text
			}
			list = append(list, p.statement())
		default:
			p.fail("unexpected %s", t)
		}
	}
}

// block reads the rest of an opening tag, a body and the closing tag.
func (p *parser) block(end string) []stmt {
	p.expect(tokEnd)
	list, _ := p.body(end)
	p.expect(tokEnd)
	return list
}

// statement reads a tag, of which {% is taken, with its body.
func (p *parser) statement() stmt {
	line, name := p.peek().line, p.expectName()
	switch name {
	case "if":
		return p.ifStatement(line)
	case "for":
		return p.forStatement(line)
	case "set":
		return p.set(line)
	case "macro":
		return p.macro(line)
	case "call":
		return p.call(line)
	case "filter":
		f := p.filter(nil)
		return filterStmt{line, p.filters(f), p.block("endfilter")}
	case "with":
		return p.with(line)
	case "generation":
		return p.generationBlock(line)
	case "break", "continue":
		if p.loops == 0 {
			p.fail("%s stands outside of a loop", name)
		}
		p.expect(tokEnd)
		if name == "break" {
			return breakStmt{}
		}
		return continueStmt{}
	}
	p.fail("the tag %q is unknown; chat templates have if, for, set, macro, call, filter, with, generation, break, continue and raw", shorten(name))
	return nil
}

// generationBlock is a call block to the reference, so no break or continue leaves it.
func (p *parser) generationBlock(line int) stmt {
	loops := p.loops
	p.generation, p.loops = true, 0
	s := generationStmt{line, p.block("endgeneration")}
	p.loops = loops
	return s
}

// ifStatement reads from the test on; an elif is an if of its own in the else part.
func (p *parser) ifStatement(line int) stmt {
	p.enter() // elif nests
	defer p.leave()
	s := ifStmt{line: line, test: p.tuple(false, false)}
	p.expect(tokEnd)
	var end string
	s.then, end = p.body("elif", "else", "endif")
	switch end {
	case "elif":
		s.els = []stmt{p.ifStatement(p.peek().line)}
		return s
	case "else":
		s.els = p.block("endif")
		return s
	}
	p.expect(tokEnd)
	return s
}

// forStatement reads from the target on. In the head of a loop x if y is a filter, not a condition, so the list is read without it; and else belongs to the
// loop around, for break as for loop.
func (p *parser) forStatement(line int) stmt {
	p.loops++
	s := forStmt{line: line, target: p.target(false)}
	if !p.skipName("in") {
		p.fail("expected \"in\", found %s", p.peek())
	}
	s.iter = p.tuple(false, false)
	if p.skipName("if") {
		s.test = p.expression()
	}
	s.recursive = p.skipName("recursive")
	p.expect(tokEnd)
	var end string
	s.body, end = p.body("endfor", "else")
	p.loops--
	if end == "else" {
		s.els = p.block("endfor")
		return s
	}
	p.expect(tokEnd)
	return s
}

// set reads {% set x = ... %} or, without =, a block whose text is set.
func (p *parser) set(line int) stmt {
	target := p.target(true)
	if p.skipOp("=") {
		s := setStmt{line, target, p.tuple(true, false)}
		p.expect(tokEnd)
		return s
	}
	var filter expr
	if p.isOp("|") {
		filter = p.filters(nil)
	}
	return setBlock{line, target, filter, p.block("endset")}
}

// with reads {% with a = 1, b = 2 %}; without any it is a scope.
func (p *parser) with(line int) stmt {
	s := withStmt{line: line}
	for p.peek().kind != tokEnd {
		if len(s.targets) > 0 {
			p.expectOp(",")
		}
		s.targets = append(s.targets, p.target(false))
		p.expectOp("=")
		s.values = append(s.values, p.expression())
	}
	s.body = p.block("endwith")
	return s
}

// macro reads {% macro name(...) %}.
func (p *parser) macro(line int) stmt {
	m := &macroStmt{line: line, name: p.expectName()}
	p.signature(m)
	p.macroBody(m, "endmacro")
	return m
}

// macroBody reads the body of a macro or call block and notes which special names it uses.
func (p *parser) macroBody(m *macroStmt, end string) {
	// a break inside of a macro does not leave the loop around its definition
	outer, loops := p.uses, p.loops
	p.uses, p.loops = map[string]bool{}, 0
	m.body = p.block(end)
	m.uses, p.uses, p.loops = p.uses, outer, loops
	if outer != nil { // what a macro inside of another names, that one names, too
		maps.Copy(outer, m.uses)
	}
}

// signature reads the parameters of a macro or of caller; those with defaults come last.
func (p *parser) signature(m *macroStmt) {
	p.expectOp("(")
	listed := map[string]bool{}
	for !p.skipOp(")") {
		if len(m.params) > 0 {
			p.expectOp(",") // unlike elsewhere, none ends the list
		}
		name := p.expectName()
		if listed[name] {
			p.fail("the parameter %s is listed twice", shorten(name))
		}
		listed[name] = true
		m.params = append(m.params, name)
		if p.skipOp("=") {
			m.defaults = append(m.defaults, p.expression())
		} else if len(m.defaults) > 0 {
			p.fail("a parameter without a default follows one that has it")
		}
	}
}

// call reads {% call(x) macro(...) %}: the body is a macro named caller.
func (p *parser) call(line int) stmt {
	m := &macroStmt{line: line, name: "caller"}
	if p.isOp("(") {
		p.signature(m)
	}
	c, ok := p.expression().(*callExpr)
	if !ok {
		p.fail("{%% call %%} needs the call of a macro")
	}
	p.macroBody(m, "endcall")
	return callStmt{line, c, m}
}

// target reads what can be assigned to: a name, a tuple of names and, if allowed, the attribute of a namespace.
func (p *parser) target(namespaces bool) expr {
	var items []expr
	tuple := false
	for {
		items = append(items, p.oneTarget(namespaces))
		if !p.skipOp(",") {
			break
		}
		tuple = true
		if p.peek().kind == tokEnd || p.isOp(")") { // where a comma may be the last, as in the reference: not before "in" or =
			break
		}
	}
	if tuple {
		return listExpr{items, true}
	}
	return items[0]
}

// oneTarget reads a name, names in brackets, or ns.attr.
func (p *parser) oneTarget(namespaces bool) expr {
	p.enter()
	defer p.leave()
	if p.skipOp("(") {
		t := p.target(namespaces)
		p.expectOp(")")
		return t
	}
	name := p.expectName()
	switch name {
	case "true", "True", "false", "False", "none", "None":
		p.fail("cannot assign to %s", name)
	case "loop":
		if p.loops > 0 {
			p.fail("cannot assign to loop inside of a loop")
		}
	}
	if namespaces && p.skipOp(".") {
		return nsExpr{name, p.expectName()}
	}
	return nameExpr{name}
}
