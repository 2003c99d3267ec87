package jinja

import (
	"strconv"
	"strings"
)

// formatter is a call of str.format: fields in braces, each with a format after a colon (Python's Format Specification Mini-Language).
type formatter struct {
	st     *state
	args   []any
	kw     kwargs
	next   int // number of the next {}
	manual bool
}

// formatMethod is str.format.
func formatMethod(st *state, self any, args []any, kw kwargs) any {
	f := &formatter{st: st, args: args, kw: kw}
	return f.format(self.(Text), 0)
}

// format replaces the fields; a format of a field may itself hold fields, but those none.
func (f *formatter) format(text Text, depth int) Text {
	if depth > 1 {
		f.st.fail("fields in a format nest too deep")
	}
	var b builder
	for at := 0; at < len(text.s); {
		n := strings.IndexAny(text.s[at:], "{}")
		if n < 0 {
			b.put(text.slice(at, len(text.s)), 0)
			break
		}
		f.st.step(1)
		i := at + n
		b.put(text.slice(at, i), 0)
		if depth == 0 && i+1 < len(text.s) && text.s[i+1] == text.s[i] {
			b.put(text.slice(i, i+1), 0)
			at = i + 2
			continue
		}
		end := i + fieldEnd(text.s[i:])
		if end <= i {
			f.st.fail("a brace in a format has no partner")
		}
		b.put(f.field(text.s[i+1:end], depth), 0)
		f.st.limit(len(b.buf))
		at = end + 1
	}
	f.st.grow(len(b.buf))
	return b.text()
}

// fieldEnd returns the place of the brace that closes the one at s[0], or 0.
func fieldEnd(s string) int {
	open := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			open++
		case '}':
			if open--; open <= 0 {
				return i
			}
		}
	}
	return 0
}

// field is [name][!conversion][:format].
func (f *formatter) field(field string, depth int) Text {
	name, conversion, format := field, "", ""
	// the first of the two decides: {a:!} has a format, no conversion
	if i := strings.IndexAny(field, "!:"); i >= 0 {
		name = field[:i]
		conversion, format, _ = strings.Cut(field[i+1:], ":")
		if field[i] == ':' {
			conversion, format = "", field[i+1:]
		} else if conversion != "r" && conversion != "s" && conversion != "a" {
			f.st.fail("the conversion %q of a format is unknown", shorten(conversion))
		}
	}
	v := f.value(name)
	if conversion != "" {
		v = f.st.conversion(conversion[0], v)
	}
	if strings.ContainsAny(format, "{}") {
		format = f.format(Text{s: format}, depth+1).s
	}
	if format == "" {
		return f.st.display(v)
	}
	return f.st.convert(f.st.formatSpec(format, v), v)
}

// value finds what a field names: a number, a name or, in order, nothing; then attributes and items of it.
func (f *formatter) value(field string) any {
	end := strings.IndexAny(field, ".[")
	if end < 0 {
		end = len(field)
	}
	v := f.first(field[:end])
	for rest := field[end:]; rest != ""; {
		n := strings.IndexAny(rest[1:], ".[") + 1
		if n == 0 {
			n = len(rest)
		}
		name := rest[1:n]
		if rest[0] == '[' {
			n = strings.IndexByte(rest, ']') + 1
			if n == 0 {
				f.st.fail("a bracket in a format has no partner")
			}
			name = rest[1 : n-1]
		}
		if name == "" {
			f.st.fail("a format names an empty attribute")
		}
		if i, err := strconv.ParseInt(name, 10, 64); rest[0] == '.' {
			v = f.st.attr(v, name)
		} else if err == nil {
			v = f.st.item(v, i)
		} else {
			v = f.st.item(v, Text{s: name})
		}
		rest = rest[n:]
	}
	return v
}

// first is the value that a field starts from. As in Python, fields are numbered by the format or by the caller, not both.
func (f *formatter) first(name string) any {
	i, err := strconv.Atoi(name)
	switch {
	case name == "" && f.manual, err == nil && f.next > 0:
		f.st.fail("a format has fields with and without numbers")
	case name == "":
		i = f.next
		f.next++
	case err == nil && name[0] >= '0' && name[0] <= '9':
		f.manual = true
	default:
		v, ok := f.kw.get(name)
		if !ok {
			f.st.fail("the format names %q, which is not given", shorten(name))
		}
		return v
	}
	if i >= len(f.args) {
		f.st.fail("the format has no value number %d", i)
	}
	return f.args[i]
}

// formatSpec reads [[fill]align][sign][#][0][width][group][.precision][type] for a value.
func (st *state) formatSpec(format string, v any) spec {
	s := format
	sp := spec{fill: " ", precision: -1}
	n := offset(s, 1)
	filled := n < len(s) && strings.IndexByte("<>^=", s[n]) >= 0
	if filled {
		sp.fill, sp.align, s = s[:n], s[n], s[n+1:]
	} else if strings.IndexByte("<>^=", s[0]) >= 0 {
		sp.align, s = s[0], s[1:]
	}
	signed := s != "" && strings.IndexByte("+- ", s[0]) >= 0
	if signed {
		if s[0] != '-' {
			sp.sign = s[0]
		}
		s = s[1:]
	}
	if strings.HasPrefix(s, "#") {
		sp.alternate, s = true, s[1:]
	}
	// a zero before the width is the fill if none is given; it pads numbers behind their sign, and strings on the right, if nothing else is said
	if strings.HasPrefix(s, "0") {
		if !filled {
			sp.fill = "0"
		}
		if _, isText := v.(Text); !isText {
			sp.align = orAlign(sp.align, '=')
		}
	}
	sp.width, n = st.digits(s, 0, 0)
	s = s[n:]
	if strings.HasPrefix(s, ",") || strings.HasPrefix(s, "_") {
		sp.group, s = s[0], s[1:]
	}
	if strings.HasPrefix(s, ".") {
		if sp.precision, n = st.digits(s, 1, -1); n == 1 {
			st.fail("the format %q has no precision", shorten(format))
		}
		s = s[n:]
	}
	if len(s) > 1 {
		st.fail("the format %q is unknown", shorten(format))
	}
	if s != "" {
		sp.verb = s[0]
	}
	if !sp.fits(v, signed) {
		st.fail("the format %q is not one for %s", shorten(format), typeName(v))
	}
	return sp
}

// fits completes the spec for a value, and reports whether Python takes it for one of its type.
func (sp *spec) fits(v any, signed bool) bool {
	_, _, isInt, isNumber := number(v)
	switch _, isText := v.(Text); {
	// the rules of _PyUnicode_FormatAdvancedWriter and its twins for numbers (CPython, Python/formatter_unicode.c)
	case isText:
		sp.align = orAlign(sp.align, '<')
		ok := (sp.verb == 0 || sp.verb == 's') && !signed && !sp.alternate && sp.group == 0 && sp.align != '='
		sp.verb = 's'
		return ok
	case !isNumber && !isInteger(v):
		return false
	case isInt || isInteger(v):
		sp.align = orAlign(sp.align, '>')
		switch sp.verb {
		case 'n':
			if sp.group != 0 {
				return false
			}
			sp.verb = 'd'
		case 0:
			sp.verb = 'd'
		}
		if strings.IndexByte("bcdoxX", sp.verb) >= 0 {
			return sp.precision < 0 && (sp.group != ',' || sp.verb == 'd') && (sp.verb != 'c' || !signed && sp.group == 0 && !sp.alternate)
		}
	}
	sp.align = orAlign(sp.align, '>')
	// Python takes # without a letter, too, for a point in any case
	return sp.verb == 0 && !sp.alternate || strings.IndexByte("eEfFgGn%", sp.verb) >= 0 && (sp.verb != 'n' || sp.group == 0)
}

// orAlign is a, or b where the format says nothing.
func orAlign(a, b byte) byte {
	if a == 0 {
		return b
	}
	return a
}
