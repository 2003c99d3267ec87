package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// spec is a conversion of printf or of str.format.
type spec struct {
	fill      string
	align     byte // < > ^ =, 0: by type
	sign      byte // + or space, 0: only minus
	alternate bool
	comma     bool
	width     int
	precision int // -1: not given
	verb      byte
}

// maxWidth bounds widths and precisions.
const maxWidth = 10000

// printf is Python's format % values.
func (st *state) printf(format Text, values any) any {
	args := []any{values}
	if l, ok := values.(*list); ok && l.kind == kindTuple {
		args = l.items
	}
	_, isDict := values.(*dict)
	var b builder
	used := 0
	for rest := format; rest.s != ""; {
		i := strings.IndexByte(rest.s, '%')
		if i < 0 {
			b.put(rest, 0)
			break
		}
		b.put(rest.slice(0, i), 0)
		rest = rest.slice(i+1, len(rest.s))
		if strings.HasPrefix(rest.s, "%") {
			b.str("%")
			rest = rest.slice(1, len(rest.s))
			continue
		}
		key, hasKey, sp, n := st.printfSpec(rest.s)
		rest = rest.slice(n, len(rest.s))
		var v any
		switch {
		case hasKey:
			d, ok := values.(*dict)
			if !ok {
				st.fail("a format with %%(name)s needs a dict")
			}
			v, ok = d.getString(key)
			if !ok {
				st.fail("the format names %q, which is not given", shorten(key))
			}
		case used == len(args):
			st.fail("not enough values for the format")
		default:
			v = args[used]
			used++
		}
		b.put(st.convert(sp, v), 0)
		st.limit(len(b.buf))
	}
	if used < len(args) && !isDict {
		st.fail("more values than the format takes")
	}
	st.grow(len(b.buf))
	return b.text()
}

// printfSpec reads what follows a percent sign.
func (st *state) printfSpec(s string) (key string, hasKey bool, sp spec, n int) {
	sp = spec{fill: " ", align: '>', precision: -1}
	if strings.HasPrefix(s, "(") {
		i := strings.IndexByte(s, ')')
		if i < 0 {
			st.fail("a format has no end of its name")
		}
		key, hasKey, n = s[1:i], true, i+1
	}
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
			sp.sign = s[n]
		}
	}
	sp.width, n = st.digits(s, n, 0)
	if n < len(s) && s[n] == '.' {
		sp.precision, n = st.digits(s, n+1, 0)
	}
	if n == len(s) {
		st.fail("a format is incomplete")
	}
	sp.verb = s[n]
	if strings.IndexByte("sdiufFeEgGxXor", sp.verb) < 0 {
		st.fail("the format %%%c is unknown", sp.verb)
	}
	return key, hasKey, sp, n + 1
}

// digits reads a number at s[n:]; none is def.
func (st *state) digits(s string, n, def int) (v, after int) {
	start := n
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		if v = v*10 + int(s[n]-'0'); v > maxWidth {
			st.fail("a width or precision is above %d", maxWidth)
		}
		n++
	}
	if n == start {
		return def, n
	}
	return v, n
}

// convert formats one value.
func (st *state) convert(sp spec, v any) Text {
	var t Text
	switch sp.verb {
	case 's', 'r', 0:
		t = st.display(v)
		if sp.verb == 'r' {
			var b builder
			st.repr(&b, v, 0)
			t = b.text()
		}
		if sp.precision >= 0 {
			t = t.slice(0, offset(t.s, sp.precision))
		}
		if sp.align == '=' {
			sp.align = '>'
		}
	default:
		t = Text{s: st.formatNumber(sp, v)}
	}
	return st.align(sp, t)
}

func (st *state) align(sp spec, t Text) Text {
	fill := Text{s: sp.fill}
	switch sp.align {
	case '<':
		return st.pad(t, fill, sp.width, 0, 1)
	case '^':
		return st.center(t, fill, sp.width)
	case '=':
		n := 0
		if strings.HasPrefix(t.s, "-") || strings.HasPrefix(t.s, "+") || strings.HasPrefix(t.s, " ") {
			n = 1
		}
		return concat(t.slice(0, n), st.pad(t.slice(n, len(t.s)), fill, sp.width-n, 1, 0))
	}
	return st.pad(t, fill, sp.width, 1, 0)
}

// center puts the odd space to the right, as format does.
func (st *state) center(t, fill Text, width int) Text {
	n := t.runeCount()
	left := st.pad(t, fill, n+max(0, width-n)/2, 1, 0)
	return st.pad(left, fill, width, 0, 1)
}

func (st *state) formatNumber(sp spec, v any) string {
	i, f, isInt, ok := number(v)
	var digits string
	switch big, isBig := v.(*big.Int); {
	case strings.IndexByte("diuxXo", sp.verb) >= 0:
		if !ok && !isBig || ok && !isInt && sp.verb != 'd' && sp.verb != 'i' && sp.verb != 'u' {
			st.notNumber(v)
		}
		if ok && !isInt {
			i, _ = truncInt(f, int64(0)).(int64)
		}
		digits = fmt.Sprintf("%"+string(goVerb(sp.verb)), i)
		if isBig {
			digits = fmt.Sprintf("%"+string(goVerb(sp.verb)), big)
		}
	case !ok:
		st.notNumber(v)
	default:
		digits = formatFloat(sp, f)
	}
	if sp.alternate {
		digits = withPrefix(sp.verb, digits)
	}
	if sp.comma {
		digits = withCommas(digits)
	}
	if sp.sign != 0 && digits[0] != '-' {
		digits = string(sp.sign) + digits
	}
	return digits
}

func (st *state) notNumber(v any) {
	st.defined(v)
	st.fail("a number is needed for the format, not %s", typeName(v))
}

func goVerb(verb byte) byte {
	if verb == 'i' || verb == 'u' {
		return 'd'
	}
	return verb
}

func withPrefix(verb byte, digits string) string {
	prefix := map[byte]string{'x': "0x", 'X': "0X", 'o': "0o"}[verb]
	if strings.HasPrefix(digits, "-") {
		return "-" + prefix + digits[1:]
	}
	return prefix + digits
}

func formatFloat(sp spec, f float64) string {
	prec, percent := sp.precision, ""
	if prec < 0 {
		prec = 6
	}
	verb := sp.verb
	switch verb {
	case '%':
		f, verb, percent = f*100, 'f', "%"
	case 'F':
		verb = 'f'
	case 'g', 'G':
		s := strings.ToLower(fmt.Sprintf("%.*g", max(prec, 1), f))
		if verb == 'G' {
			s = strings.ToUpper(s)
		}
		return s
	}
	s := strconv.FormatFloat(f, verb, prec, 64)
	return strings.TrimPrefix(strings.ToLower(strings.Replace(s, "E", "e", 1)), "+") + percent
}

// withCommas groups the whole part in threes.
func withCommas(digits string) string {
	sign, rest := "", digits
	if strings.HasPrefix(rest, "-") {
		sign, rest = "-", rest[1:]
	}
	whole, frac := rest, ""
	if i := strings.IndexAny(rest, ".e"); i >= 0 {
		whole, frac = rest[:i], rest[i:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return sign + whole + frac
}

// formatMethod is str.format, with names and numbers in the braces and a format after the colon.
func formatMethod(st *state, self any, args []any, kw kwargs) any {
	var b builder
	next := 0
	for rest := self.(Text); rest.s != ""; {
		i := strings.IndexAny(rest.s, "{}")
		if i < 0 {
			b.put(rest, 0)
			break
		}
		b.put(rest.slice(0, i), 0)
		if i+1 < len(rest.s) && rest.s[i+1] == rest.s[i] {
			b.put(rest.slice(i, i+1), 0)
			rest = rest.slice(i+2, len(rest.s))
			continue
		}
		end := strings.IndexByte(rest.s[i:], '}')
		if rest.s[i] == '}' || end < 0 {
			st.fail("a brace in a format has no partner")
		}
		b.put(st.formatField(rest.s[i+1:i+end], &next, args, kw), 0)
		st.limit(len(b.buf))
		rest = rest.slice(i+end+1, len(rest.s))
	}
	st.grow(len(b.buf))
	return b.text()
}

func (st *state) formatField(field string, next *int, args []any, kw kwargs) Text {
	name, format, _ := strings.Cut(field, ":")
	name, conversion, _ := strings.Cut(name, "!")
	var v any
	if name == "" {
		name = strconv.Itoa(*next)
		*next++
	}
	if i, err := strconv.Atoi(name); err == nil {
		if i < 0 || i >= len(args) {
			st.fail("the format has no value number %d", i)
		}
		v = args[i]
	} else if w, ok := kw.get(name); ok {
		v = w
	} else {
		st.fail("the format names %q, which is not given", shorten(name))
	}
	if conversion == "r" {
		var b builder
		st.repr(&b, v, 0)
		v = b.text()
	}
	if format == "" {
		return st.display(v)
	}
	return st.convert(st.formatSpec(format, v), v)
}

// formatSpec reads [[fill]align][sign][#][0][width][,][.precision][type].
func (st *state) formatSpec(s string, v any) spec {
	sp := spec{fill: " ", precision: -1}
	if n := offset(s, 1); n < len(s) && strings.IndexByte("<>^=", s[n]) >= 0 {
		sp.fill, sp.align, s = s[:n], s[n], s[n+1:]
	} else if strings.IndexByte("<>^=", s[0]) >= 0 {
		sp.align, s = s[0], s[1:]
	}
	if s != "" && (s[0] == '+' || s[0] == ' ' || s[0] == '-') {
		if s[0] != '-' {
			sp.sign = s[0]
		}
		s = s[1:]
	}
	if strings.HasPrefix(s, "#") {
		sp.alternate, s = true, s[1:]
	}
	if strings.HasPrefix(s, "0") && sp.align == 0 {
		sp.fill, sp.align = "0", '='
	}
	n := 0
	sp.width, n = st.digits(s, 0, 0)
	s = s[n:]
	if strings.HasPrefix(s, ",") {
		sp.comma, s = true, s[1:]
	}
	if strings.HasPrefix(s, ".") {
		sp.precision, n = st.digits(s, 1, 0)
		s = s[n:]
	}
	_, _, isInt, isNumber := number(v)
	switch {
	case len(s) == 1 && strings.IndexByte("sdfFeEgGxXo%", s[0]) >= 0:
		sp.verb = s[0]
	case s != "":
		st.fail("the format %q is unknown", shorten(s))
	case isInt:
		sp.verb = 'd'
	case isNumber && sp.precision >= 0:
		sp.verb = 'g'
	case isNumber:
		return spec{fill: sp.fill, align: orAlign(sp.align, '>'), width: sp.width, precision: -1}
	}
	if sp.align == 0 {
		sp.align = '<'
		if sp.verb != 's' && sp.verb != 0 {
			sp.align = '>'
		}
	}
	return sp
}

func orAlign(a, b byte) byte {
	if a == 0 {
		return b
	}
	return a
}

// directives are those of strftime whose value Go has a layout for.
var directives = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'B': "January", 'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon",
	'I': "03", 'p': "PM", 'y': "06", 'j': "002", 'Z': "MST", 'z': "-0700", 'e': "_2", 'F': "2006-01-02", 'T': "15:04:05", 'D': "01/02/06",
	'R': "15:04", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'f': "000000",
}

// strftime formats a time as C does in the C locale; %-d and its like leave out the leading zero.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		bare := format[i] == '-' && i+1 < len(format)
		if bare {
			i++
		}
		s := directive(t, format[i])
		if bare {
			if s = strings.TrimLeft(s, "0 "); s == "" {
				s = "0"
			}
		}
		b.WriteString(s)
	}
	return b.String()
}

func directive(t time.Time, c byte) string {
	switch c {
	case '%':
		return "%"
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'u':
		return strconv.Itoa((int(t.Weekday())+6)%7 + 1)
	case 'w':
		return strconv.Itoa(int(t.Weekday()))
	case 's':
		return strconv.FormatInt(t.Unix(), 10)
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000)
	case 'Z', 'z':
		return "" // the reference's clock has no zone
	}
	if layout, ok := directives[c]; ok {
		return t.Format(layout)
	}
	return "%" + string(c)
}
