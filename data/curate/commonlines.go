package curate

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"github.com/zeebo/xxh3"
)

// CommonLine is a line, without white space around it, and how often it stands.
type CommonLine struct {
	Text  string `json:"text"` // its beginning
	Count int64  `json:"count"`
}

// commonLines counts the most frequent lines in bounded memory: when there are too many different ones, the same number is taken from all counts and
// those without any left go (Misra and Gries, 1982; merged as by Agarwal et al., "Mergeable Summaries", 2012). By hash of the line.
type commonLines map[uint64]CommonLine

const (
	commonLimit = 1 << 17 // different lines that are counted
	commonBytes = 160     // of a line that are kept
)

// add counts the lines of a text that have a letter or a digit, and returns how many lines are not blank.
func (c commonLines) add(text string) (lines int64) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		lines++
		if !strings.ContainsFunc(line, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			continue
		}
		key := xxh3.HashString(line)
		l, ok := c[key]
		if !ok {
			l.Text = strings.Clone(beginning(line, commonBytes)) // not the whole document with it
		}
		l.Count++
		c[key] = l
	}
	return lines
}

// merge adds counts and returns what was taken from all of them to keep few.
func (c commonLines) merge(o commonLines) (taken int64) {
	for key, l := range o {
		l.Count += c[key].Count
		c[key] = l
	}
	if len(c) <= commonLimit {
		return 0
	}
	counts := make([]int64, 0, len(c))
	for _, l := range c {
		counts = append(counts, l.Count)
	}
	slices.SortFunc(counts, func(a, b int64) int { return cmp.Compare(b, a) })
	taken = counts[commonLimit/2] // half go, so that this is seldom done
	for key, l := range c {
		if l.Count -= taken; l.Count > 0 {
			c[key] = l
		} else {
			delete(c, key)
		}
	}
	return taken
}

// top are the n most frequent lines that stand more than once, and more often than one that is missing may stand.
func (c commonLines) top(n int, missed int64) []CommonLine {
	list := []CommonLine{}
	for _, l := range c {
		if l.Count > max(1, missed) {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b CommonLine) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text)) })
	return list[:min(len(list), n)]
}
