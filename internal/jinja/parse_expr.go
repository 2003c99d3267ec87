package jinja

import "strings"

// tuple reads an expression or, where commas follow, a tuple. Without conditional, x if y stays unread, as in the head of a loop.
func (p *parser) tuple(conditional, parens bool) expr {
	var items []expr
	tuple := false
	for {
		if p.tupleEnds() {
			break
		}
		if conditional {
			items = append(items, p.expression())
		} else {
			items = append(items, p.or())
		}
		if !p.skipOp(",") {
			break
		}
		tuple = true
	}
	// () is the empty tuple, (1) is 1
	if tuple || len(items) == 0 && parens {
		return listExpr{items, true}
	}
	if len(items) == 0 {
		p.fail("expected an expression, found %s", p.peek())
	}
	return items[0]
}

// tupleEnds reports whether nothing more of a tuple can follow: (1,) and {% for x in 1, %} end in a comma.
func (p *parser) tupleEnds() bool {
	t := p.peek()
	return t.kind == tokVarEnd || t.kind == tokEnd || t.kind == tokEOF || p.isOp(")") || p.isName("recursive")
}

// The methods from here to primary are one per level of precedence, from the loosest: x if y, or, and, not, comparisons, + -, ~, * / // %,
// **, signs. That ~ binds tighter than + and ** looser than a sign differs from Python; it is jinja2's (parser.py, parse_condexpr to
// parse_unary).
func (p *parser) expression() expr {
	p.enter()
	defer p.leave()
	x := p.or()
	for p.skipName("if") {
		c := condExpr{test: p.or(), yes: x}
		if p.skipName("else") {
			c.no = p.expression()
		}
		x = c
	}
	return x
}

// or reads a or b: the first that is true, or the last, not a boolean.
func (p *parser) or() expr {
	x := p.and()
	for p.skipName("or") {
		x = boolExpr{false, x, p.and()}
	}
	return x
}

// and reads a and b.
func (p *parser) and() expr {
	x := p.not()
	for p.skipName("and") {
		x = boolExpr{true, x, p.not()}
	}
	return x
}

// not counts a level: not not not ... is a tree as deep as it is long.
func (p *parser) not() expr {
	p.enter()
	defer p.leave()
	if p.skipName("not") {
		return notExpr{p.not()}
	}
	return p.compare()
}

// compare reads a chain a < b < c as one node, since b must be evaluated once only.
func (p *parser) compare() expr {
	x := p.sum()
	var ops []comparison
	for {
		op := ""
		switch t := p.peek(); {
		case t.kind == tokOp:
			switch t.text {
			case "==", "!=", "<", "<=", ">", ">=":
				op = t.text
			}
		case p.isName("in"):
			op = "in"
		case p.isName("not") && p.ahead().kind == tokName && p.ahead().text == "in":
			op = "not in"
			p.pos++
		}
		if op == "" {
			break
		}
		p.pos++
		ops = append(ops, comparison{op, p.sum()})
	}
	if ops == nil {
		return x
	}
	return compareExpr{x, ops}
}

// sum reads a + b - c from the left. The tree is as deep as the chain is long; evaluating it is bounded by maxEval.
func (p *parser) sum() expr {
	x := p.concat()
	for p.isOp("+") || p.isOp("-") {
		op := p.next().text
		x = binaryExpr{op, x, p.concat()}
	}
	return x
}

// concat reads a ~ b ~ c as one node, so that a long one is joined once, not text by text.
func (p *parser) concat() expr {
	x := p.product()
	if !p.isOp("~") {
		return x
	}
	c := concatExpr{[]expr{x}}
	for p.skipOp("~") {
		c.items = append(c.items, p.product())
	}
	return c
}

// product reads * / // % from the left.
func (p *parser) product() expr {
	x := p.power()
	for p.isOp("*") || p.isOp("/") || p.isOp("//") || p.isOp("%") {
		op := p.next().text
		x = binaryExpr{op, x, p.power()}
	}
	return x
}

// power groups from the left, unlike Python's: 2 ** 3 ** 2 is 64.
func (p *parser) power() expr {
	x := p.unary(true)
	for p.skipOp("**") {
		x = binaryExpr{"**", x, p.unary(true)}
	}
	return x
}

// unary reads a sign or a primary with what follows it. A sign takes no filter: -x|abs is (-x)|abs.
func (p *parser) unary(filters bool) expr {
	p.enter()
	defer p.leave()
	var x expr
	if p.isOp("-") || p.isOp("+") {
		op := p.next().text
		x = unaryExpr{op, p.unary(false)}
	} else {
		x = p.primary()
	}
	x = p.postfix(x)
	if filters {
		x = p.filterExpr(x)
	}
	return x
}

// primary reads a name, a literal or brackets. Strings that stand side by side are one.
func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True":
			return constExpr{true}
		case "false", "False":
			return constExpr{false}
		case "none", "None":
			return constExpr{nil}
		}
		// a macro takes these arguments when its body names them
		if p.uses != nil && (t.text == "varargs" || t.text == "kwargs" || t.text == "caller") {
			p.uses[t.text] = true
		}
		return nameExpr{t.text}
	case tokString:
		var s strings.Builder
		s.WriteString(t.text)
		for p.peek().kind == tokString {
			s.WriteString(p.next().text)
		}
		return constExpr{Text{s: s.String()}}
	case tokNumber:
		return constExpr{t.num}
	case tokOp:
		switch t.text {
		case "(":
			x := p.tuple(true, true)
			p.expectOp(")")
			return x
		case "[":
			return p.list()
		case "{":
			return p.dict()
		}
	}
	p.fail("unexpected %s", t)
	return nil
}

// list reads [...], of which [ is taken; a comma may end it.
func (p *parser) list() expr {
	var l listExpr
	for !p.skipOp("]") {
		if len(l.items) > 0 {
			p.expectOp(",")
			if p.skipOp("]") {
				break
			}
		}
		l.items = append(l.items, p.expression())
	}
	return l
}

// dict reads {...}.
func (p *parser) dict() expr {
	var d dictExpr
	for !p.skipOp("}") {
		if len(d.keys) > 0 {
			p.expectOp(",")
			if p.skipOp("}") {
				break
			}
		}
		d.keys = append(d.keys, p.expression())
		p.expectOp(":")
		d.values = append(d.values, p.expression())
	}
	return d
}

// grown bounds chains such as a.b.c.d, which make trees as deep as they are long.
func (p *parser) grown(n int) {
	if n > maxNesting {
		p.fail("a chain of subscripts, calls or filters is longer than %d", maxNesting)
	}
}

// postfix reads .name, .0, [...] and (...) as often as they follow.
func (p *parser) postfix(x expr) expr {
	for n := 0; ; n++ {
		p.grown(n)
		switch {
		case p.skipOp("."):
			t := p.next()
			switch {
			case t.kind == tokName:
				x = attrExpr{x, t.text}
			case t.kind == tokNumber:
				x = indexExpr{x, constExpr{t.num}}
			default:
				p.fail("expected a name after the dot, found %s", t)
			}
		case p.skipOp("["):
			x = indexExpr{x, p.subscript()}
		case p.isOp("("):
			x = &callExpr{x, p.arguments()}
		default:
			return x
		}
	}
}

// subscript reads what is in [...]: one index, or a tuple of them.
func (p *parser) subscript() expr {
	var items []expr
	tuple := false
	for !p.skipOp("]") {
		if len(items) > 0 {
			p.expectOp(",")
			tuple = true // unlike elsewhere, no comma ends it
		}
		items = append(items, p.subscribed())
	}
	switch {
	case len(items) == 0:
		p.fail("a subscript is empty")
	case !tuple:
		return items[0]
	}
	return listExpr{items, true}
}

// subscribed reads one index or slice.
func (p *parser) subscribed() expr {
	var parts [3]expr
	n := 0
	for {
		if !p.isOp(":") && !p.isOp("]") && !p.isOp(",") {
			parts[n] = p.expression()
		}
		if n == 2 || !p.skipOp(":") {
			break
		}
		n++
	}
	if n == 0 {
		if parts[0] == nil {
			p.fail("a subscript is empty")
		}
		return parts[0]
	}
	return sliceExpr{parts[0], parts[1], parts[2]}
}

// filterExpr reads filters, tests and calls of what they return; they bind tighter than any operator.
func (p *parser) filterExpr(x expr) expr {
	for n := 0; ; n++ {
		p.grown(n)
		switch {
		case p.isOp("|"):
			x = p.filters(x)
		case p.isName("is"):
			x = p.test(x)
		case p.isOp("("):
			x = &callExpr{x, p.arguments()}
		default:
			return x
		}
	}
}

// filters reads |name(...)|name...
func (p *parser) filters(x expr) expr {
	for n := 0; p.skipOp("|"); n++ {
		p.grown(n)
		x = p.filter(x)
	}
	return x
}

// filter reads a name and arguments; x is nil for a filter block.
func (p *parser) filter(x expr) expr {
	f := filterExpr{x: x, name: p.expectName()}
	if p.isOp("(") {
		f.args = p.arguments()
	}
	return f
}

// test reads is name, is not name, with an argument in brackets or without. is not none is the test none, negated.
func (p *parser) test(x expr) expr {
	p.pos++ // is
	negated := p.skipName("not")
	t := testExpr{x: x, name: p.expectName()}
	switch n := p.peek(); {
	case p.isOp("("):
		t.args = p.arguments()
	// x is odd and y: the word after a test is an operator, not its argument
	case n.kind == tokName && (n.text == "else" || n.text == "or" || n.text == "and"):
	case n.kind == tokName && n.text == "is":
		p.fail("tests cannot be chained with is")
	// x is divisibleby 3: one argument needs no brackets
	case n.kind == tokName, n.kind == tokString, n.kind == tokNumber, p.isOp("["), p.isOp("{"):
		t.args.pos = []expr{p.postfix(p.primary())}
	}
	if negated {
		return notExpr{t}
	}
	return t
}

// arguments reads (...) of a call, in Python's order: positions, names, *list, **dict.
func (p *parser) arguments() arguments {
	p.expectOp("(")
	var a arguments
	named := map[string]bool{}
	for first := true; !p.skipOp(")"); first = false {
		if !first {
			p.expectOp(",")
			if p.skipOp(")") {
				break
			}
		}
		switch t := p.peek(); {
		case p.skipOp("*"):
			a.star = p.expression()
		case p.skipOp("**"):
			a.starstar = p.expression()
		case t.kind == tokName && p.ahead().kind == tokOp && p.ahead().text == "=":
			p.pos += 2
			if named[t.text] {
				p.fail("the argument %s is given twice", shorten(t.text))
			}
			named[t.text] = true
			a.names = append(a.names, t.text)
			a.keywords = append(a.keywords, p.expression())
		default:
			if a.star != nil || a.starstar != nil || len(a.keywords) > 0 {
				p.fail("an argument without a name follows one with a name")
			}
			a.pos = append(a.pos, p.expression())
		}
	}
	return a
}
