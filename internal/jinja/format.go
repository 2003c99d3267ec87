package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spec is a conversion of printf (format % values) or of str.format.
type spec struct {
	fill      string
	align     byte // < > ^, or = for padding between sign and digits
	sign      byte // + or space, 0: only minus
	alternate bool
	group     byte // , or _ between groups of digits, 0: none
	width     int
	precision int  // -1: not given
	verb      byte // 0: by the type of the value
}

// maxWidth bounds widths and precisions.
const maxWidth = 10000

// spaces is as many of them, none for a width below 0.
func (st *state) spaces(width int) string {
	if width > maxWidth {
		st.fail("a width is above %d", maxWidth)
	}
	return strings.Repeat(" ", max(0, width))
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

// convert formats one value, padded.
func (st *state) convert(sp spec, v any) Text {
	switch sp.verb {
	case 's', 'r', 'a':
		t := st.conversion(sp.verb, v)
		if sp.precision >= 0 {
			t = t.slice(0, offset(t.s, sp.precision))
		}
		return st.align(sp, t)
	case 'c':
		return st.align(sp, st.character(v))
	}
	// separators and zeros go between the sign and the point, so the parts stay apart until they are in
	head, whole, rest := st.formatNumber(sp, v)
	if sp.group != 0 {
		whole = grouped(sp, head, whole, rest)
	}
	if sp.align == '=' {
		return concat(Text{s: head}, st.pad(Text{s: whole + rest}, Text{s: sp.fill}, sp.width-len(head), 1, 0))
	}
	return st.align(sp, Text{s: head + whole + rest})
}

// conversion is str, repr or ascii of a value.
func (st *state) conversion(verb byte, v any) Text {
	if verb == 's' {
		return st.display(v)
	}
	var b builder
	st.repr(&b, v, 0)
	t := b.text()
	if verb == 'r' {
		return t
	}
	st.grow(10 * len(t.s))
	return t.mapRunes(func(_ string, _ int, r rune) string {
		if r < utf8.RuneSelf {
			return string(r)
		}
		return escapeRune(r)
	})
}

// character is %c: a code point, or a string of one character.
func (st *state) character(v any) Text {
	if t, ok := v.(Text); ok && t.runeCount() == 1 {
		return t
	}
	i, _, isInt, _ := number(v)
	if !isInt || i < 0 || i > utf8.MaxRune || !utf8.ValidRune(rune(i)) {
		st.fail("%%c needs a character or its code point")
	}
	return Text{s: string(rune(i))}
}

// align pads to the width; = is the caller's.
func (st *state) align(sp spec, t Text) Text {
	fill := Text{s: sp.fill}
	switch sp.align {
	case '<':
		return st.pad(t, fill, sp.width, 0, 1)
	case '^':
		return st.center(t, fill, sp.width)
	}
	return st.pad(t, fill, sp.width, 1, 0)
}

// center puts the odd space to the right, as format does.
func (st *state) center(t, fill Text, width int) Text {
	n := t.runeCount()
	left := st.pad(t, fill, n+max(0, width-n)/2, 1, 0)
	return st.pad(left, fill, width, 0, 1)
}

// formatNumber returns a number in three parts: its sign and prefix, the whole digits, and what follows them.
func (st *state) formatNumber(sp spec, v any) (head, whole, rest string) {
	i, f, isInt, ok := number(v)
	n, isBig := v.(*big.Int)
	if strings.IndexByte("bdiuxXo", sp.verb) < 0 {
		if isBig {
			f, _ = exact(v).Float64()
		} else if !ok {
			st.notNumber(v)
		}
		whole, rest = formatFloat(sp, math.Abs(f))
		return signOf(math.Signbit(f), sp.sign), whole, rest
	}
	switch {
	case isBig:
	case isInt:
		n = big.NewInt(i)
	case !ok || math.IsNaN(f) || math.IsInf(f, 0) || strings.IndexByte("diu", sp.verb) < 0:
		st.notNumber(v)
	// only printf gets here: str.format refuses d for floats
	default: // %d of a float
		n, _ = big.NewFloat(f).Int(nil)
	}
	base := map[byte]int{'b': 2, 'o': 8, 'x': 16, 'X': 16}[sp.verb]
	if base == 0 {
		base = 10
	}
	head, whole = signOf(n.Sign() < 0, sp.sign), new(big.Int).Abs(n).Text(base)
	if sp.alternate && base != 10 {
		head += "0" + string(sp.verb)
	}
	if sp.verb == 'X' {
		whole = strings.ToUpper(whole)
	}
	return head, strings.Repeat("0", max(0, sp.precision-len(whole))) + whole, ""
}

// notNumber says of an undefined value what is undefined, as that is what the author of a template looks for.
func (st *state) notNumber(v any) {
	st.defined(v)
	st.fail("a number is needed for the format, not %s", typeName(v))
}

// signOf is what stands before a number: - or what the format asks for.
func signOf(negative bool, positive byte) string {
	switch {
	case negative:
		return "-"
	case positive == 0:
		return ""
	}
	return string(positive)
}

// formatFloat formats a float that is not negative, its whole digits apart.
func formatFloat(sp spec, f float64) (whole, rest string) {
	prec, percent := sp.precision, ""
	if prec < 0 {
		prec = 6
	}
	verb := sp.verb
	switch verb {
	case '%':
		f, verb, percent = f*100, 'f', "%"
	case 'n':
		verb = 'g'
	case 'F':
		verb = 'f'
	}
	var s string
	switch {
	case math.IsInf(f, 0) || math.IsNaN(f):
		s = floatRepr(f)
	case verb == 0 && sp.precision < 0:
		s = floatRepr(f)
	case verb == 0:
		s = shortFloat(f, max(prec, 1))
	case verb == 'g' || verb == 'G':
		prec = max(prec, 1)
		fallthrough
	default:
		format := "%." + strconv.Itoa(prec) + string(verb|0x20)
		if sp.alternate {
			format = "%#" + format[1:]
		}
		s = fmt.Sprintf(format, f)
	}
	if verb >= 'A' && verb <= 'Z' || sp.verb == 'F' {
		s = strings.ToUpper(s)
	}
	n := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if n < 0 {
		n = len(s)
	}
	return s[:n], s[n:] + percent
}

// shortFloat is str.format with a precision and no letter: %g, but with a digit after the point, which counts when it is
// decided whether there is an exponent (Python/pystrtod.c, format_float_short with Py_DTSF_ADD_DOT_0).
func shortFloat(f float64, prec int) string {
	s := strconv.FormatFloat(f, 'e', prec-1, 64)
	mantissa, e, _ := strings.Cut(s, "e")
	exponent, _ := strconv.Atoi(e)
	if exponent < -4 || exponent >= prec-1 {
		if strings.Contains(mantissa, ".") {
			mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
		}
		return mantissa + "e" + e
	}
	s = strings.TrimRight(strconv.FormatFloat(f, 'f', max(prec-1-exponent, 1), 64), "0")
	if strings.HasSuffix(s, ".") {
		s += "0"
	}
	return s
}

// grouped puts separators between the whole digits, by threes or, for other bases than ten, by fours. Zeros that fill the width are
// digits, too.
func grouped(sp spec, head, whole, rest string) string {
	size := 3
	if strings.IndexByte("bxXo", sp.verb) >= 0 && sp.verb != 0 {
		size = 4
	}
	n := len(whole)
	if sp.align == '=' && sp.fill == "0" && n > 0 {
		for room := sp.width - len(head) - len(rest); n+(n-1)/size < room; {
			n++
		}
	}
	whole = strings.Repeat("0", n-len(whole)) + whole
	var b strings.Builder
	for i := range whole {
		if i > 0 && (n-i)%size == 0 {
			b.WriteByte(sp.group)
		}
		b.WriteByte(whole[i])
	}
	return b.String()
}
