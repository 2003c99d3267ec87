package jinja

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

type tokenKind int

const (
	tokEOF    tokenKind = iota
	tokData             // text outside of tags
	tokBegin            // {%
	tokEnd              // %}
	tokVar              // {{
	tokVarEnd           // }}
	tokName             // identifiers and keywords
	tokString           // value in text
	tokNumber           // value in num
	tokOp               // operators and brackets
)

type token struct {
	kind tokenKind
	text string
	num  any // int64, *big.Int or float64
	line int
}

// lexer cuts a template into tokens, with the white space rules of trim_blocks (the line end after a block or comment goes) and
// lstrip_blocks (so does the white space before one that begins a line). A minus inside a tag takes all white space on its side, a plus
// leaves it as it is. The reference is jinja2's lexer.py, Lexer.tokeniter.
type lexer struct {
	src      string
	pos      int
	line     int
	tokens   []token
	brackets []byte // closers of what is open inside a tag
	starting bool   // the last match ended at the start of a line
}

// space is \s* as Python reads it, see IsSpace.
const space = `[\s\v\x1c-\x1f\x{85}\p{Z}]*`

// Number and name patterns as the reference has them; a number does not follow a dot, so x.1.2 reads as two subscripts.
var (
	floatPattern = regexp.MustCompile(`^(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+\-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)`)
	intPattern   = regexp.MustCompile(`^(?:0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[0-9a-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*)`)
	rawPattern   = regexp.MustCompile(`^\{%([-+]?)` + space + `raw` + space + `(?:-%\}` + space + `|%\})`)
	endRaw       = regexp.MustCompile(`\{%([-+]?)` + space + `endraw` + space + `(?:\+%\}|-%\}` + space + `|%\}\n?)`)
)

// operators, longest first where one begins with another.
var operators = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

var closers = map[byte]byte{'(': ')', '[': ']', '{': '}'}

// lex returns the tokens of a template, the last of kind tokEOF.
func lex(src string) ([]token, error) {
	// the reference's newline_sequence and keep_trailing_newline=False: one line end at the end of a file is not part of the text
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	src = strings.TrimSuffix(src, "\n")
	l := &lexer{src: src, line: 1, starting: true}
	for l.pos < len(l.src) {
		if err := l.root(); err != nil {
			return nil, err
		}
	}
	l.emit(token{kind: tokEOF})
	return l.tokens, nil
}

// fail names the line that the token begins at, counted in the normalized text, which has the lines of the file.
func (l *lexer) fail(format string, args ...any) error {
	return fmt.Errorf("template line %d: %s", l.line, fmt.Sprintf(format, args...))
}

// emit gives a token the line that it begins at.
func (l *lexer) emit(t token) {
	t.line = l.line
	l.tokens = append(l.tokens, t)
}

// advance moves on by n bytes and counts lines.
func (l *lexer) advance(n int) {
	part := l.src[l.pos : l.pos+n]
	l.line += strings.Count(part, "\n")
	l.starting = strings.HasSuffix(part, "\n")
	l.pos += n
}

// skipSpace moves over white space.
func (l *lexer) skipSpace() {
	rest := l.src[l.pos:]
	if n := len(rest) - len(strings.TrimLeftFunc(rest, IsSpace)); n > 0 {
		l.advance(n)
	}
}

// IsSpace is Python's idea of white space.
func IsSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// nextTag returns where the next {{, {% or {# begins, or -1.
func nextTag(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return -1
}

// root takes the text up to a tag, and the tag.
func (l *lexer) root() error {
	rest := l.src[l.pos:]
	at := nextTag(rest)
	if at < 0 {
		l.emit(token{kind: tokData, text: rest})
		l.advance(len(rest))
		return nil
	}
	data, kind, sign := rest[:at], rest[at+1], byte(0)
	// raw comes before the other tags, as what is in it need not be tokens
	if raw := rawPattern.FindStringSubmatch(rest[at:]); raw != nil {
		l.data(stripBefore(data, firstByte(raw[1]), true, l.starting))
		l.advance(at + len(raw[0]))
		return l.raw()
	}
	if at+2 < len(rest) && (rest[at+2] == '-' || rest[at+2] == '+') {
		sign = rest[at+2]
	}
	// {{ }} is no block: lstrip_blocks leaves what is before it
	l.data(stripBefore(data, sign, kind != '{', l.starting))
	n := at + 2
	if sign != 0 {
		n++
	}
	l.advance(n)
	switch kind {
	case '#':
		return l.comment()
	case '%':
		l.emit(token{kind: tokBegin})
		return l.inside("%}", tokEnd)
	}
	l.emit(token{kind: tokVar})
	return l.inside("}}", tokVarEnd)
}

// firstByte is a sign that a pattern captured, 0 for none.
func firstByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[0]
}

// data emits text; an empty one is no token.
func (l *lexer) data(s string) {
	if s != "" {
		l.emit(token{kind: tokData, text: s})
	}
}

// stripBefore removes from the text before a tag what its sign or, for blocks and comments, lstrip_blocks removes.
func stripBefore(text string, sign byte, block, starting bool) string {
	switch {
	case sign == '-':
		return strings.TrimRightFunc(text, IsSpace)
	case sign == '+' || !block:
		return text
	}
	line := strings.LastIndexByte(text, '\n') + 1
	// only white space stands between the start of the line and the tag; starting says so for a text that itself begins at one
	if (line > 0 || starting) && strings.TrimLeftFunc(text[line:], IsSpace) == "" {
		return text[:line]
	}
	return text
}

// comment drops {# ... #}, of which {# is taken. Its signs cut white space as a block's do.
func (l *lexer) comment() error {
	end := strings.Index(l.src[l.pos:], "#}")
	if end < 0 {
		return l.fail("a comment {# has no end; close it with #}")
	}
	sign := byte(0)
	if end > 0 {
		sign = l.src[l.pos+end-1]
	}
	l.advance(end + 2)
	l.afterBlock(sign)
	return nil
}

// afterBlock applies trim_blocks or the sign to what follows a block or comment.
func (l *lexer) afterBlock(sign byte) {
	switch {
	case sign == '-':
		l.skipSpace()
	case sign != '+' && strings.HasPrefix(l.src[l.pos:], "\n"):
		l.advance(1)
	}
}

// raw emits the text up to endraw as it is. A minus at its end takes white space after it; before it only the sign of endraw counts.
func (l *lexer) raw() error {
	m := endRaw.FindStringSubmatchIndex(l.src[l.pos:])
	if m == nil {
		return l.fail("{%% raw %%} has no end; close it with {%% endraw %%}")
	}
	rest := l.src[l.pos:]
	l.data(stripBefore(rest[:m[0]], firstByte(rest[m[2]:m[3]]), true, l.starting))
	l.advance(m[1])
	return nil
}

// inside takes the tokens of a tag until its end.
func (l *lexer) inside(end string, kind tokenKind) error {
	// a }} inside of brackets closes dicts, not the tag: {{ {'a': {}} }}
	l.brackets = l.brackets[:0]
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		if len(l.brackets) == 0 {
			if n, sign := tagEnd(rest, end, kind == tokEnd); n > 0 {
				l.emit(token{kind: kind})
				l.advance(n)
				if kind == tokEnd {
					l.afterBlock(sign)
				} else if sign == '-' {
					l.skipSpace()
				}
				return nil
			}
		}
		if err := l.next(rest); err != nil {
			return err
		}
	}
	return l.fail("a tag is open at the end of the template; close it with %s", end)
}

// tagEnd returns the length of the end of a tag at the start of s, without the white space it eats, and its sign.
func tagEnd(s, end string, block bool) (n int, sign byte) {
	if strings.HasPrefix(s, end) {
		return len(end), 0
	}
	if (s[0] == '-' || block && s[0] == '+') && strings.HasPrefix(s[1:], end) {
		return 1 + len(end), s[0]
	}
	return 0, 0
}

// next takes one token inside a tag.
func (l *lexer) next(rest string) error {
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case IsSpace(r):
		l.advance(size)
		return nil
	case r >= '0' && r <= '9':
		return l.number(rest)
	case r == '_' || unicode.IsLetter(r):
		n := len(rest) - len(strings.TrimLeftFunc(rest, func(r rune) bool {
			return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r)
		}))
		l.emit(token{kind: tokName, text: rest[:n]})
		l.advance(n)
		return nil
	case r == '"' || r == '\'':
		return l.string(rest)
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			return l.operator(op)
		}
	}
	return l.fail("unexpected character %q", r)
}

// operator emits an operator and keeps the brackets balanced.
func (l *lexer) operator(op string) error {
	switch c := op[0]; c {
	case '(', '[', '{':
		l.brackets = append(l.brackets, closers[c])
	case ')', ']', '}':
		n := len(l.brackets)
		if n == 0 || l.brackets[n-1] != c {
			return l.fail("unexpected %q", op)
		}
		l.brackets = l.brackets[:n-1]
	}
	l.emit(token{kind: tokOp, text: op})
	l.advance(len(op))
	return nil
}

// number reads a literal. Whole ones are kept whole whatever their size.
func (l *lexer) number(rest string) error {
	afterDot := l.pos > 0 && l.src[l.pos-1] == '.'
	if m := floatPattern.FindString(rest); m != "" && !afterDot {
		f, err := strconv.ParseFloat(strings.ReplaceAll(m, "_", ""), 64)
		if err != nil && f == 0 {
			return l.fail("number %s cannot be read", shorten(m))
		}
		l.emit(token{kind: tokNumber, num: f})
		l.advance(len(m))
		return nil
	}
	m := intPattern.FindString(rest)
	if len(m) > 1000 {
		return l.fail("a number has more than 1000 digits")
	}
	v, ok := new(big.Int).SetString(strings.ReplaceAll(m, "_", ""), 0)
	if !ok {
		return l.fail("number %s cannot be read", shorten(m))
	}
	l.emit(token{kind: tokNumber, num: normInt(v)})
	l.advance(len(m))
	return nil
}

// normInt returns v as an int64 where it fits.
func normInt(v *big.Int) any {
	if v.IsInt64() {
		return v.Int64()
	}
	return v
}

// string reads a literal in either quotes, which may run over lines.
func (l *lexer) string(rest string) error {
	quote := rest[0]
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case quote:
			s, err := unescape(rest[1:i])
			if err != nil {
				return l.fail("%v", err)
			}
			l.emit(token{kind: tokString, text: s})
			l.advance(i + 1)
			return nil
		}
	}
	return l.fail("a string has no end; close it with %c", quote)
}

var simpleEscapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', '\\': '\\', '\'': '\'', '"': '"', 'a': '\a', 'b': '\b', 'f': '\f', 'v': '\v'}

// unescape reads Python's escapes; unknown ones stay as they are.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if c, ok := simpleEscapes[s[i]]; ok {
			b.WriteByte(c)
			continue
		}
		switch c := s[i]; {
		case c == '\n': // a line that goes on
		case c >= '0' && c <= '7':
			n := 1
			for n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7' {
				n++
			}
			v, _ := strconv.ParseUint(s[i:i+n], 8, 32)
			b.WriteRune(rune(v))
			i += n - 1
		case c == 'x' || c == 'u' || c == 'U':
			n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			if i+1+n > len(s) {
				return "", fmt.Errorf(`a string has a short \%c escape`, c)
			}
			v, err := strconv.ParseUint(s[i+1:i+1+n], 16, 32)
			if err != nil || v > unicode.MaxRune {
				return "", fmt.Errorf(`a string has a wrong \%c escape`, c)
			}
			if utf16.IsSurrogate(rune(v)) { // Python keeps it, and fails when the text is to be encoded
				return "", fmt.Errorf(`a string has a \%c escape of half a character; write the character itself`, c)
			}
			b.WriteRune(rune(v))
			i += n
		case c == 'N':
			return "", errors.New(`a string has a \N escape, by name; write the character itself`)
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// shorten keeps errors readable.
func shorten(s string) string { return longest(s, 60) }

// longest cuts a text to n bytes.
func longest(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}
