package filters

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/coregx/ahocorasick"

	"hone/data/curate/words"
)

// readLists reads files with an entry a line, in lower case; lines that begin with # are comments.
func readLists(paths []string) ([]string, error) {
	var entries []string
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read list: %w", err)
		}
		in := bufio.NewScanner(f)
		before := len(entries)
		for in.Scan() {
			if line := strings.TrimSpace(strings.TrimPrefix(in.Text(), "\ufeff")); line != "" && line[0] != '#' {
				entries = append(entries, strings.ToLower(line))
			}
		}
		f.Close()
		if err := in.Err(); err != nil {
			return nil, fmt.Errorf("read list %s: %w", path, err)
		}
		if len(entries) == before {
			return nil, fmt.Errorf("read list %s: it has no entries; write one a line", path)
		}
	}
	return entries, nil
}

func setOf(entries []string) map[string]bool {
	set := make(map[string]bool, len(entries))
	for _, e := range entries {
		set[e] = true
	}
	return set
}

// matcher finds entries of a list in a text, all at once.
type matcher struct {
	automaton *ahocorasick.Automaton // nil for an empty list
	whole     []bool                 // entries that must stand as words
}

// newMatcher takes entries in lower case. Words of scripts that put no space between words are found anywhere; others only as whole words.
func newMatcher(entries []string) (*matcher, error) {
	m := &matcher{}
	if len(entries) == 0 {
		return m, nil
	}
	for _, e := range entries {
		m.whole = append(m.whole, !strings.ContainsFunc(e, words.Unspaced))
	}
	var err error
	if m.automaton, err = ahocorasick.NewBuilder().AddStrings(entries).Build(); err != nil {
		return nil, fmt.Errorf("list of words: %w", err)
	}
	return m, nil
}

// count is how many entries stand in a text in lower case; where some overlap, the longest of the first count.
func (m *matcher) count(text []byte) (n int) {
	if m.automaton == nil || !m.automaton.IsMatch(text) {
		return 0
	}
	found := m.automaton.FindAllOverlapping(text)
	slices.SortFunc(found, func(a, b ahocorasick.Match) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End))
	})
	end := 0
	for _, f := range found {
		if f.Start >= end && (!m.whole[f.PatternID] || isWord(text, f.Start, f.End)) {
			n, end = n+1, f.End
		}
	}
	return n
}

// isWord reports whether a span neither begins nor ends inside a word.
func isWord(text []byte, from, to int) bool {
	before, _ := utf8.DecodeLastRune(text[:from])
	after, _ := utf8.DecodeRune(text[to:])
	return !words.InWord(before) && !words.InWord(after)
}
