package jinja

import "strings"

// printf is Python's format % values.
func (st *state) printf(format Text, values any) any {
	args := []any{values}
	// only a tuple is several values: '%s' % [1, 2] prints the list
	if l, ok := values.(*list); ok && l.kind == kindTuple {
		args = l.items
	}
	p := printer{st: st, values: values, args: args}
	var b builder
	for at := 0; at < len(format.s); {
		i := strings.IndexByte(format.s[at:], '%')
		if i < 0 {
			b.put(format.slice(at, len(format.s)), 0)
			break
		}
		st.step(1)
		b.put(format.slice(at, at+i), 0)
		at += i + 1
		at += p.conversion(&b, format.s[at:])
		st.limit(len(b.buf))
	}
	if p.used < len(args) && !subscriptable(values) {
		st.fail("more values than the format takes")
	}
	st.grow(len(b.buf))
	return b.text()
}

// subscriptable reports whether Python takes a value for a mapping, of which a format need not use anything.
func subscriptable(v any) bool {
	switch v := v.(type) {
	case *dict, undefined:
		return true
	case *list:
		return v.kind == kindList || v.kind == kindRange
	}
	return false
}

// printer is a format with its values; used counts those that are taken.
type printer struct {
	st     *state
	values any
	args   []any
	used   int
}

// next takes the values in order; * takes one for a width, too.
func (p *printer) next() any {
	if p.used == len(p.args) {
		p.st.fail("not enough values for the format")
	}
	p.used++
	return p.args[p.used-1]
}

// named is the value of %(key)s.
func (p *printer) named(key string) any {
	d, ok := p.values.(*dict)
	if !ok {
		p.st.fail("a format with %%(name)s needs a dict")
	}
	v, ok := d.getString(key)
	if !ok {
		p.st.fail("the format names %q, which is not given", shorten(key))
	}
	return v
}

// conversion writes one conversion, of which s is what follows the percent sign, and returns how long it is.
func (p *printer) conversion(b *builder, s string) (n int) {
	if strings.HasPrefix(s, "%") {
		b.str("%")
		return 1
	}
	key, hasKey := "", false
	if strings.HasPrefix(s, "(") {
		i := strings.IndexByte(s, ')')
		if i < 0 {
			p.st.fail("a format has no end of its name")
		}
		key, hasKey, n = s[1:i], true, i+1
	}
	sp, n := p.spec(s, n)
	var v any
	if hasKey {
		v = p.named(key)
	} else {
		v = p.next()
	}
	b.put(p.st.convert(sp, v), 0)
	return n
}

// spec reads [flags][width][.precision][length]letter at s[n:]; the length is C's, without a meaning here.
func (p *printer) spec(s string, n int) (sp spec, after int) {
	sp = spec{fill: " ", align: '>', precision: -1}
	for ; n < len(s) && strings.IndexByte("-+ #0", s[n]) >= 0; n++ {
		switch s[n] {
		case '-':
			sp.align = '<'
		case '0':
			if sp.align != '<' {
				sp.align, sp.fill = '=', "0"
			}
		case '#':
			sp.alternate = true
		default:
			if sp.sign != '+' {
				sp.sign = s[n]
			}
		}
	}
	if sp.width, n = p.size(s, n); sp.width < 0 {
		sp.align, sp.width = '<', -sp.width
	}
	if n < len(s) && s[n] == '.' {
		sp.precision, n = p.size(s, n+1)
		sp.precision = max(sp.precision, 0)
	}
	if n < len(s) && strings.IndexByte("hlL", s[n]) >= 0 {
		n++
	}
	if n == len(s) {
		p.st.fail("a format is incomplete")
	}
	sp.verb = s[n]
	switch {
	case strings.IndexByte("sdiufFeEgGxXorac", sp.verb) < 0:
		p.st.fail("the format %%%c is unknown", sp.verb)
	// zeros pad numbers only
	case strings.IndexByte("srac", sp.verb) >= 0 && sp.align == '=':
		sp.align, sp.fill = '>', " "
	case sp.align == '<':
		sp.fill = " "
	}
	return sp, n + 1
}

// size is a width or precision, or * for the next value.
func (p *printer) size(s string, n int) (v, after int) {
	if n < len(s) && s[n] == '*' {
		v = p.st.integer("a width", p.next(), 0)
		if v > maxWidth || v < -maxWidth {
			p.st.fail("a width or precision is above %d", maxWidth)
		}
		return v, n + 1
	}
	return p.st.digits(s, n, 0)
}
