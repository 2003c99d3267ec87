package bytepair

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// TestWordsAreFoundAgain: a table grows beyond the room that it was made with, and finds what it had before; its words come in the order of their bytes.
func TestWordsAreFoundAgain(t *testing.T) {
	w := newWordTable(0)
	for round := range 3 {
		for i := range 3000 {
			w.add(fmt.Appendf(nil, "w%d", i*7%3000), int64(1+round))
		}
	}
	if len(w.entries) != 3000 || 2*len(w.entries) > len(w.slots) {
		t.Fatalf("%d words in %d slots", len(w.entries), len(w.slots))
	}
	for i := range w.entries {
		if e := &w.entries[i]; e.count != 6 {
			t.Fatalf("%q was seen %d times, want 6", w.word(e), e.count)
		}
	}
	if !slices.IsSortedFunc(w.sorted(), func(a, b wordCount) int { return bytes.Compare(w.word(&a), w.word(&b)) }) {
		t.Error("the words are not in order")
	}
}

func TestPruneKeepsTheFrequent(t *testing.T) {
	w := newWordTable(0)
	for i := range 1000 {
		w.add(fmt.Appendf(nil, "w%d", i), int64(1+i/100))
	}
	kept := w.prune(250, 1<<20)
	if len(kept.entries) != 200 {
		t.Errorf("%d words left, want the 200 seen at least 9 times", len(kept.entries))
	}
	for i := range kept.entries {
		if kept.entries[i].count < 9 {
			t.Errorf("%q, seen %d times, is left", kept.word(&kept.entries[i]), kept.entries[i].count)
		}
	}
	if kept = w.prune(1000, 300); len(kept.arena) > 300 {
		t.Errorf("%d bytes left, 300 allowed", len(kept.arena))
	}
	one := newWordTable(0)
	one.add([]byte("only"), 7)
	if kept = one.prune(0, 0); len(kept.entries) != 0 {
		t.Error("a limit of nothing leaves something")
	}
}
