package filters

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"hone/data/curate/document"
)

// Words rejects documents with words of the user's lists: toxic ones, or any others. Of C4's rule (Raffel et al., 2020, section 2.2), by which one word is
// enough, MaxCount makes a milder one.
type Words struct {
	Lists    []string `yaml:"lists" doc:"files with a word or phrase a line"`
	MaxCount int      `yaml:"max_count" doc:"so many of them are still allowed; 0, as in C4: none"`
	MaxShare float64  `yaml:"max_share" doc:"or so many of a document's words, as a share"`
}

// Validate reports the first value that cannot be meant.
func (c Words) Validate() error {
	if c.MaxCount < 0 || !(c.MaxShare >= 0 && c.MaxShare <= 1) {
		return fmt.Errorf("words.max_count is %d and words.max_share %v; they must be at least 0, and the share at most 1", c.MaxCount, c.MaxShare)
	}
	return nil
}

// folded is a text as words are compared: in lower case, of which Greek has a second sigma at the ends of words.
func folded(text string) string { return strings.ReplaceAll(strings.ToLower(text), "ς", "σ") }

// bothForms are entries as they stand in texts, whose letters with marks are one character each or several.
func bothForms(entries []string) []string {
	var list []string
	for _, e := range entries {
		list = append(list, norm.NFC.String(folded(e)), norm.NFD.String(folded(e)))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Step reads the lists and makes the step.
func (c Words) Step() (document.Step, error) {
	if len(c.Lists) == 0 {
		return document.Step{}, errors.New("words.lists is not set; name files with a word a line")
	}
	entries, err := readLists(c.Lists)
	if err != nil {
		return document.Step{}, err
	}
	m, err := newMatcher(bothForms(entries))
	if err != nil {
		return document.Step{}, err
	}
	return document.Step{Name: "words", Apply: func(d *document.Doc) string {
		n := m.count([]byte(folded(d.Text)))
		of := 0.0
		if n > 0 {
			of = min(1, document.Share(n, len(d.Words())))
		}
		d.Score("words.count", float64(n))
		if n > c.MaxCount && of > c.MaxShare {
			return "listed words"
		}
		return ""
	}}, nil
}
