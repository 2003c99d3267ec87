package curate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// nearFamilies are texts in families: each text of a family has some words of the first one replaced, so that the similarity of any two is about the threshold.
func nearFamilies(r *rand.Rand, families, of int) []string {
	var texts []string
	for range families {
		words := make([]string, 200)
		for i := range words {
			words[i] = fmt.Sprint("w", r.IntN(100000))
		}
		for range of {
			copied := slices.Clone(words)
			for range r.IntN(6) {
				copied[r.IntN(len(copied))] = fmt.Sprint("v", r.IntN(100000))
			}
			texts = append(texts, strings.Join(copied[:190+r.IntN(10)], " "))
		}
	}
	r.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	return texts
}

// TestNearAgain: what a search for near duplicates keeps, put through it again, is all kept.
func TestNearAgain(t *testing.T) {
	texts := nearFamilies(rand.New(rand.NewPCG(11, 12)), 60, 10)
	for _, exact := range []bool{true, false} {
		near := DefaultMinHash()
		near.Exact = exact
		cfg := Config{Near: &near, ShardBytes: 20000, SortEntries: 1000}
		kept, result := curated(t, cfg, texts...)
		if result.Near.Documents == 0 || len(kept) < 60 {
			t.Fatalf("exact=%v: %d are kept and %d removed", exact, len(kept), result.Near.Documents)
		}
		var once []string
		for _, i := range slices.Sorted(maps.Keys(kept)) {
			once = append(once, kept[i])
		}
		if _, result = curated(t, cfg, once...); result.Near.Documents > 0 {
			t.Errorf("exact=%v: of %d kept, %d are removed by a second run", exact, len(once), result.Near.Documents)
		}
	}
}
