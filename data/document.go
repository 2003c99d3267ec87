package data

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Document is one text to learn from. Its Text belongs to the receiver.
type Document struct {
	Text   []byte // any bytes; invalid UTF-8 is kept as it is
	Source string // the file it came from
	Record int    // line of a JSONL file or table, element of a JSON list, row of a Parquet file, piece of a text file, counted from 1
	Offset int64  // bytes in front of the line or piece in the file, unpacked; -1 for rows, which their number finds
	URL    string // under Sources.URLField; "" where there is none
	ID     string // under Sources.IDField, likewise
	// Continued says that the text goes on in the next document: a large text file comes in pieces, and only the last one
	// gets the end-of-text token.
	Continued bool
}

// Place names the document's origin as FILE:RECORD.
func (d Document) Place() string { return fmt.Sprintf("%s:%d", d.Source, d.Record) }

// Texts passes on only the texts, for consumers that need nothing else, such as training a tokenizer.
func Texts(docs iter.Seq2[Document, error]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for d, err := range docs {
			if !yield(d.Text, err) {
				return
			}
		}
	}
}

// Reason says why a file or a record was left out.
type Reason string

// The reasons for leaving something out.
const (
	Binary     Reason = "binary files"
	Empty      Reason = "empty files or records"
	Hidden     Reason = "hidden files or folders"
	Malformed  Reason = "malformed records"
	NoText     Reason = "records without text"
	TooLong    Reason = "records over the size limit"
	TooShort   Reason = "documents of fewer than two tokens"
	Unreadable Reason = "unreadable files"
)

// Stats counts what was read. The zero value is ready to use.
type Stats struct {
	Files       int            `json:"files"`
	Documents   int            `json:"documents"`
	Bytes       int64          `json:"bytes"`
	InvalidUTF8 int            `json:"invalid_utf8"` // documents with bytes that are not UTF-8
	Skipped     map[Reason]int `json:"skipped,omitempty"`
	Unreadable  []string       `json:"unreadable,omitempty"`  // the first of the files and folders counted so, and what is wrong with them
	BadRecords  []string       `json:"bad_records,omitempty"` // the same of records that are malformed, without text or too long
}

func (s *Stats) skip(r Reason, n int) {
	if n == 0 {
		return
	}
	if s.Skipped == nil {
		s.Skipped = map[Reason]int{}
	}
	s.Skipped[r] += n
}

// Add counts what o counted.
func (s *Stats) Add(o *Stats) {
	s.Files += o.Files
	s.Documents += o.Documents
	s.Bytes += o.Bytes
	s.InvalidUTF8 += o.InvalidUTF8
	for reason, n := range o.Skipped {
		s.skip(reason, n)
	}
	for _, what := range o.Unreadable {
		name(&s.Unreadable, what)
	}
	for _, what := range o.BadRecords {
		name(&s.BadRecords, what)
	}
}

// named is how many unreadable files, and bad records, are named.
const named = 20

func name(list *[]string, what string) {
	if len(*list) < named {
		*list = append(*list, what)
	}
}

func (s *Stats) count(d Document) {
	s.Documents++
	s.Bytes += int64(len(d.Text))
	if !utf8.Valid(d.Text) {
		s.InvalidUTF8++
	}
}

// String says it in one line, such as "12 documents, 34567 bytes from 3 files; 2 with invalid UTF-8 (kept); skipped 1 binary files".
func (s *Stats) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d documents, %d bytes from %d files", s.Documents, s.Bytes, s.Files)
	if s.InvalidUTF8 > 0 {
		fmt.Fprintf(&b, "; %d with invalid UTF-8 (kept as bytes)", s.InvalidUTF8)
	}
	sep := "; skipped "
	for _, r := range slices.Sorted(maps.Keys(s.Skipped)) {
		fmt.Fprintf(&b, "%s%d %s", sep, s.Skipped[r], r)
		sep = ", "
	}
	return b.String()
}
