package data

import (
	"bytes"
	"io"
	"strings"
)

// tabbed reads the rows of a .tsv file. Such files come of two kinds. Spreadsheets and data frames enclose a field with tabs, line ends or quotation marks in
// it by marks, and double those in it. In others, as in lists of sentences, a mark is a character like any other, and one at the beginning of a field would
// take in the rows up to another. A mark that stands alone in the middle of a field tells that a file is of these.
type tabbed struct {
	lines lineReader
	ahead []string // lines that were read for the end of a field
	n     int      // lines that were taken
	plain bool     // marks are characters like any other
}

// longLine stands for a line over the limit among those that were read ahead. No line has a line end in it.
const longLine = "\n"

// What a line that is read ahead takes beside its text: of a field that has no end, many short lines would be held that are more than the limit by this.
const (
	lineBytes = 16
	heldLines = 1 << 20 // bytes that are held in any case
)

// newTabbed looks at the beginning of a file.
func newTabbed(lines lineReader) *tabbed {
	begin, _ := lines.r.Peek(lines.r.Size()) // an error comes again with the next read
	return &tabbed{lines: lines, plain: loneMark(begin)}
}

// loneMark reports whether a quotation mark is neither at an end of a field nor beside another one.
func loneMark(text []byte) bool {
	for at := 0; ; at++ {
		next := bytes.IndexByte(text[at:], '"')
		if next < 0 {
			return false
		}
		at += next
		if at > 0 && strings.IndexByte("\t\r\n\"", text[at-1]) < 0 && at+1 < len(text) && strings.IndexByte("\t\r\n\"", text[at+1]) < 0 {
			return true
		}
	}
}

// row is the next row that is not empty and the number of its first line, io.EOF behind the last; errLong for a line over the limit, behind which the next call
// goes on.
func (t *tabbed) row() (row []string, line int, err error) {
	text := ""
	for text == "" {
		if len(t.ahead) == 0 {
			if err := t.read(); err != nil {
				return nil, 0, err
			}
		}
		if text, t.ahead, t.n = t.ahead[0], t.ahead[1:], t.n+1; text == longLine {
			return nil, t.n, errLong
		}
	}
	line = t.n
	for more := true; more; {
		field, rest, ok := "", "", false
		if strings.HasPrefix(text, `"`) && !t.plain {
			field, rest, more, ok, err = t.enclosed(text[1:])
			if err != nil && err != errLong {
				return nil, 0, err
			}
			t.plain = !ok && err == nil // of a field with a line over the limit nobody knows whether it has an end
		}
		if !ok {
			field, rest, more = strings.Cut(text, "\t")
		}
		row, text = append(row, field), rest
	}
	return row, line, nil
}

// read reads a line ahead.
func (t *tabbed) read() error {
	line, err := t.lines.next()
	switch err {
	case nil:
		t.ahead = append(t.ahead, strings.TrimSuffix(string(line), "\r"))
	case errLong:
		t.ahead = append(t.ahead, longLine)
	default:
		return err
	}
	return nil
}

// enclosed takes a field behind its first quotation mark; ok is false where it has no other mark at its end, with errLong where a line over the limit comes
// before one.
func (t *tabbed) enclosed(text string) (field, rest string, more, ok bool, err error) {
	var b strings.Builder
	for used, held := 0, 0; ; {
		at := strings.IndexByte(text, '"')
		switch {
		case at >= 0 && strings.HasPrefix(text[at+1:], `"`):
			b.WriteString(text[:at+1])
			text = text[at+2:]
			continue
		case at >= 0:
			if rest, more = strings.CutPrefix(text[at+1:], "\t"); rest != "" && !more {
				return "", "", false, false, nil
			}
			t.ahead, t.n = t.ahead[used:], t.n+used
			return b.String() + text[:at], rest, more, true, nil
		case b.Len() > t.lines.limit || held > 2*t.lines.limit+heldLines:
			return "", "", false, false, nil
		}
		b.WriteString(text)
		b.WriteByte('\n')
		held += lineBytes
		if used == len(t.ahead) {
			if err := t.read(); err == io.EOF {
				return "", "", false, false, nil
			} else if err != nil {
				return "", "", false, false, err
			}
		}
		if text, used = t.ahead[used], used+1; text == longLine {
			return "", "", false, false, errLong
		}
	}
}
