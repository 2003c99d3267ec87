package data

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
)

// commas reads the rows of a .csv file. It parts the text into records, which end at a line end behind an even number of quotation marks, so that one over the
// limit can be passed over in constant memory; encoding/csv, which would keep it and has no way to go on behind it, reads what is in each.
type commas struct {
	r      *bufio.Reader
	limit  int // bytes of a record
	line   int // lines that were taken
	given  int // of them, to rows since it began
	record []byte
	text   bytes.Reader // of the record
	rows   *csv.Reader
}

func newCommas(r io.Reader, limit int) *commas {
	c := &commas{r: bufio.NewReaderSize(r, 1<<18), limit: limit}
	c.begin()
	return c
}

// begin reads from here on as a file by itself.
func (c *commas) begin() {
	c.rows, c.given = csv.NewReader(&c.text), 0
	c.rows.FieldsPerRecord = -1
}

// lineError is what is wrong with the marks of a record on one line: their number is even, so that it ends there in any case.
type lineError struct{ wrong *csv.ParseError }

func (e lineError) Error() string { return fmt.Sprintf("byte %d: %v", e.wrong.Column, e.wrong.Err) }
func (e lineError) Unwrap() error { return e.wrong }

// row is the next row that is not empty and the number of its first line, io.EOF behind the last; errLong for a record over the limit and a lineError, behind
// which the next call goes on.
func (c *commas) row() (row []string, line int, err error) {
	for {
		line := c.line + 1
		if err := c.next(); err != nil {
			return nil, line, err
		}
		if n := len(c.record); n == 1 || n == 2 && c.record[0] == '\r' {
			continue
		}
		c.text.Reset(c.record)
		row, err := c.rows.Read()
		if wrong := (*csv.ParseError)(nil); errors.As(err, &wrong) { // it counts the lines that it was given
			wrong.StartLine += line - 1 - c.given
			wrong.Line += line - 1 - c.given
			if c.begin(); line == c.line && bytes.Count(c.record, []byte{'"'})%2 == 0 {
				return nil, line, lineError{wrong}
			}
			return nil, line, err
		}
		c.given += c.line - line + 1
		return row, line, err
	}
}

// next takes a record.
func (c *commas) next() error {
	c.record = c.record[:0]
	begin := c.line + 1
	open, long, some := false, false, false // whether a field with marks has not ended
	for {
		part, err := c.r.ReadSlice('\n')
		some = some || len(part) > 0
		open = open != (bytes.Count(part, []byte{'"'})%2 == 1)
		if long = long || len(c.record)+len(part) > c.limit+1; !long {
			c.record = append(c.record, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && !some, err != nil && err != io.EOF:
			return err
		}
		c.line++
		switch {
		case err == nil && open:
			continue
		case long && open: // where it was to end, nobody knows, so that all behind it is lost
			return fmt.Errorf("record on line %d: %w, and a quotation mark in it has no end", begin, errLong)
		case long:
			return errLong
		case err == io.EOF:
			c.record = append(c.record, '\n')
		}
		return nil
	}
}
