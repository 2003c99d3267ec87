package data

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// byteOrderMark is U+FEFF in UTF-8, with which some editors begin a file.
const byteOrderMark = "\ufeff"

// jsonl passes on the text field of each line. Empty lines are nothing.
func (k *sink) jsonl(f sourceFile, r io.Reader) error {
	lines := lineReader{r: bufio.NewReaderSize(r, 1<<18), limit: k.cfg.MaxRecord}
	for n := 1; ; n++ {
		offset := lines.read
		line, err := lines.next()
		if err == io.EOF {
			return nil
		}
		if err != nil && err != errLong {
			return k.unreadable(f, fmt.Errorf("read %s:%d: %w", f.path, n, err))
		}
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte(byteOrderMark))
		}
		if err := k.jsonLine(Document{Source: f.path, Record: n, Offset: offset}, line, err == errLong); err != nil {
			return err
		}
	}
}

func (k *sink) jsonLine(d Document, line []byte, long bool) error {
	if long {
		return k.bad(TooLong, fmt.Errorf("%s: the line is longer than %d bytes", d.Place(), k.cfg.MaxRecord))
	}
	// The space that JSON knows, so that a line of any other, such as U+00A0, is malformed and not empty.
	line = bytes.Trim(line, " \t\r")
	if len(line) == 0 {
		return nil
	}
	if !json.Valid(line) {
		return k.bad(Malformed, fmt.Errorf("%s: not valid JSON: %w", d.Place(), syntaxError(line)))
	}
	// A copy: the reader uses the line's memory again, and a document belongs to its receiver.
	if k.cfg.Records {
		return k.record(d, bytes.Clone(line))
	}
	text, ok := jsonText(line, k.cfg.Field)
	if !ok {
		return k.bad(NoText, fmt.Errorf("%s: no text under the key %q%s", d.Place(), k.cfg.Field, k.otherTexts(line)))
	}
	d.Text = text
	if k.cfg.URLField != "" {
		d.URL = jsonWord(line, k.cfg.URLField)
	}
	if k.cfg.IDField != "" {
		d.ID = jsonWord(line, k.cfg.IDField)
	}
	return k.emit(d)
}

// otherTexts names the keys of a line that hold texts, for a user who may name one of them.
func (k *sink) otherTexts(line []byte) string {
	if !k.chosen {
		return ""
	}
	var keys []string
	eachKey(line, func(name string, value []byte) {
		if value[0] == '"' && len(keys) < 8 && len(name) <= 64 {
			keys = append(keys, name)
		}
	})
	if len(keys) == 0 {
		return ""
	}
	return fmt.Sprintf(", but under %s, which text_field can name", strings.Join(keys, ", "))
}

// syntaxError is what is wrong with a line that is not valid.
func syntaxError(line []byte) error {
	var raw json.RawMessage
	return json.Unmarshal(line, &raw)
}

var errLong = errors.New("line too long")

// lineReader reads lines of up to limit bytes; longer ones are passed over in constant memory.
type lineReader struct {
	r     *bufio.Reader
	limit int
	read  int64 // bytes so far
	buf   []byte
}

// next returns a line without its end, valid until the next call; errLong for one over the limit, io.EOF behind the last.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	long, some := false, false
	for {
		part, err := l.r.ReadSlice('\n')
		some, l.read = some || len(part) > 0, l.read+int64(len(part))
		end := err == nil
		if end {
			part = part[:len(part)-1]
		}
		long = long || len(l.buf)+len(part) > l.limit
		if !long {
			l.buf = append(l.buf, part...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil && (err != io.EOF || !some) {
			return nil, err
		}
		if long {
			return nil, errLong
		}
		return l.buf, nil
	}
}

// jsonText returns the string under a top-level key of a valid JSON object; the last one if the key repeats. Unlike
// encoding/json it keeps bytes that are not UTF-8 as they are.
func jsonText(line []byte, field string) (text []byte, ok bool) {
	value := jsonValue(line, field)
	if len(value) == 0 || value[0] != '"' {
		return nil, false
	}
	return unquote(value), true
}

// jsonWord is a string or a number under a top-level key, "" for anything else.
func jsonWord(line []byte, field string) string {
	value := jsonValue(line, field)
	switch {
	case len(value) == 0 || bytes.IndexByte([]byte("{[tfn"), value[0]) >= 0:
		return ""
	case value[0] == '"':
		return string(unquote(value))
	}
	return string(value)
}

// jsonValue is what stands under a top-level key of a valid JSON object, nil when nothing does.
func jsonValue(line []byte, field string) (found []byte) {
	eachKey(line, func(name string, value []byte) {
		if name == field {
			found = value
		}
	})
	return found
}

// eachKey calls do with each top-level key of valid JSON and what stands under it. What is no object has none.
func eachKey(line []byte, do func(name string, value []byte)) {
	p := jsonScanner{b: line}
	if p.peek() != '{' {
		return
	}
	p.i++
	for p.peek() != '}' {
		name := p.value()
		p.peek()
		p.i++ // the colon
		p.peek()
		do(string(unquote(name)), p.value())
		if p.peek() == ',' {
			p.i++
		}
	}
}

// jsonScanner walks over JSON that is known to be valid.
type jsonScanner struct {
	b []byte
	i int
}

// peek skips white space and returns the byte behind it.
func (p *jsonScanner) peek() byte {
	for p.b[p.i] == ' ' || p.b[p.i] == '\t' || p.b[p.i] == '\n' || p.b[p.i] == '\r' {
		p.i++
	}
	return p.b[p.i]
}

// value steps over the value at the position, of any kind, and returns it.
func (p *jsonScanner) value() []byte {
	start, depth := p.i, 0
	for {
		switch p.b[p.i] {
		case '"':
			p.str()
		case '{', '[':
			depth++
			p.i++
		case '}', ']':
			depth--
			p.i++
		case ',', ':', ' ', '\t', '\n', '\r':
			p.i++ // only inside brackets: scalars stop before them
		default:
			p.scalar()
		}
		if depth == 0 {
			return p.b[start:p.i]
		}
	}
}

func (p *jsonScanner) str() {
	for p.i++; p.b[p.i] != '"'; p.i++ {
		if p.b[p.i] == '\\' {
			p.i++
		}
	}
	p.i++
}

// scalar steps over a number, true, false or null.
func (p *jsonScanner) scalar() {
	for p.i < len(p.b) && bytes.IndexByte([]byte(",:]} \t\r\n"), p.b[p.i]) < 0 {
		p.i++
	}
}

// unquote decodes a valid JSON string, quotes included, into new memory. Half of a surrogate pair becomes U+FFFD.
func unquote(s []byte) []byte {
	s = s[1 : len(s)-1]
	out := make([]byte, 0, len(s))
	for len(s) > 0 {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(out, s...)
		}
		out = append(out, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(s)
			s = s[4:]
			if utf16.IsSurrogate(r) && len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
				if pair := utf16.DecodeRune(r, hex4(s[2:])); pair != utf8.RuneError {
					r = pair
					s = s[6:]
				}
			}
			out = utf8.AppendRune(out, r)
		default: // \" \\ \/
			out = append(out, c)
		}
	}
	return out
}

// hex4 reads four hexadecimal digits.
func hex4(s []byte) rune {
	r := rune(0)
	for _, c := range s[:4] {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c&^0x20 - 'A' + 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
