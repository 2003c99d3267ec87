// Package document is a document on its way through the steps of a curation, what steps note of it, and the distributions of such notes.
package document

import (
	"context"
	"strings"

	"hone/data"
	"hone/data/curate/words"
)

// Doc is a document on its way.
type Doc struct {
	Text   string
	Source string // the file it came from
	Record int    // its line, row or piece, counted from 1
	Offset int64  // bytes in front of it in the unpacked file, -1 for rows
	URL    string // where it was found, "" when that is not known
	ID     string // its name, likewise

	notes []Note
	words []string // of words, while the text is as it was
	lines []string

	parsed *Talk // the record that the text is, nil before it is asked for
}

// New is a document that no step has looked at.
func New(d data.Document) *Doc {
	return &Doc{Text: string(d.Text), Source: d.Source, Record: d.Record, Offset: d.Offset, URL: d.URL, ID: d.ID}
}

// Step looks at one document at a time. Apply may change the text (by SetText) and returns why the document is rejected, "" to keep it:
// a few words that name the rule, the same for every document that breaks it. It is called by several goroutines at once.
// A step that is faster with many documents has Batch instead, which returns a reason for each; the documents of a batch depend on nothing but
// the corpus and the steps before.
type Step struct {
	Name  string                                                       // what its scores and its counts go by
	Apply func(*Doc) (rejected string)                                 // nil where Batch is set
	Batch func(context.Context, []*Doc) (rejected []string, err error) // an error ends the run
}

// Place says where the document comes from, for a person.
func (d *Doc) Place() string { return data.Document{Source: d.Source, Record: d.Record}.Place() }

// SetText changes the text.
func (d *Doc) SetText(text string) {
	d.Text, d.words, d.lines, d.parsed = text, nil, nil, nil
}

// Words are the runs of characters other than white space; in scripts without spaces, single characters, and in Tibetan syllables.
func (d *Doc) Words() []string {
	if d.words == nil {
		d.words = words.Fields(d.Text)
	}
	return d.words
}

// CountWords is how many there are.
func (d *Doc) CountWords() int {
	if d.words == nil {
		return words.Count(d.Text)
	}
	return len(d.words)
}

// Lines are the lines that are not blank, without white space around them.
func (d *Doc) Lines() []string {
	if d.lines == nil {
		d.lines = make([]string, 0, strings.Count(d.Text, "\n")+1)
		for line := range strings.Lines(d.Text) {
			if line = strings.TrimSpace(line); line != "" {
				d.lines = append(d.lines, line)
			}
		}
	}
	return d.lines
}

// Share is a/b, 0 when b is.
func Share(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
