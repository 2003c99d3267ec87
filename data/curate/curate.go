// Package curate makes a clean corpus of a raw one: steps that mend documents or reject them with a reason, and the
// removal of exact and near duplicates, in memory that does not grow with the corpus.
//
// The rules are those that open corpora were made with: Gopher (Rae et al., "Scaling Language Models", 2021, table A1),
// C4 (Raffel et al., 2020, section 2.2) and FineWeb (Penedo et al., 2024), with the defaults of their published filters.
// Words are runs of characters other than white space; in scripts that put no space between words a character is one.
package curate

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"hone/data"
)

// Doc is a document on its way.
type Doc struct {
	Text   string
	Source string // the file it came from
	Record int    // its line, row or piece, counted from 1
	Offset int64  // bytes in front of it in the unpacked file, -1 for rows
	URL    string // where it was found, "" when that is not known
	ID     string // its name, likewise

	notes []note
	size  Count    // of the text
	whole int64    // bytes before any step
	words []string // of words, while the text is as it was
	lines []string

	parsed *talk // the record that the text is, nil before it is asked for
}

// Step looks at one document at a time. Apply may change the text (by SetText) and returns why the document is rejected, "" to keep it:
// a few words that name the rule, the same for every document that breaks it. It is called by several goroutines at once.
// A step that is faster with many documents has Batch instead, which returns a reason for each; the documents of a batch depend on nothing but
// the corpus and the steps before.
type Step struct {
	Name  string
	Apply func(*Doc) (rejected string)
	Batch func(context.Context, []*Doc) (rejected []string, err error)
}

func (d *Doc) place() string { return data.Document{Source: d.Source, Record: d.Record}.Place() }

// SetText changes the text.
func (d *Doc) SetText(text string) {
	d.Text, d.words, d.lines, d.parsed = text, nil, nil, nil
}

// Words are the runs of characters other than white space; in scripts without spaces, single characters.
func (d *Doc) Words() []string {
	if d.words == nil {
		d.words = fields(d.Text)
	}
	return d.words
}

// countWords is how many there are.
func (d *Doc) countWords() int {
	if d.words == nil {
		return countWords(d.Text)
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

// share is a/b, 0 when b is.
func share(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// above reports whether a value breaks an upper bound; one that is 0 does not hold.
func above(value, most float64) bool { return most > 0 && value > most }

// endsSentence reports whether a line ends as a sentence does.
func endsSentence(line string) bool {
	for {
		last, n := utf8.DecodeLastRuneInString(line)
		switch last {
		case '.', '!', '?', '。', '！', '？', '…', '؟', '।':
			return true
		case '"', '\'', ')', ']', '”', '’', '»':
			line = line[:len(line)-n]
		default:
			return false
		}
	}
}

func hasLetter(word string) bool { return strings.ContainsFunc(word, unicode.IsLetter) }
