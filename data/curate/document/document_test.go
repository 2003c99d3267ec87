package document

import (
	"testing"

	"hone/data/curate/words"
)

// TestWordsBetweenAnySpace: what Unicode calls white space parts words, too.
func TestWordsBetweenAnySpace(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 1, " a b ": 2, "a\u2003b": 2, "a\u00a0\u3000 b\u0085c": 3, "\u2003": 0, "größe über": 2, "a\u200bb": 1} {
		if got := words.Count(text); got != want || len((&Doc{Text: text}).Words()) != want {
			t.Errorf("%q has %d words, want %d", text, got, want)
		}
	}
}
