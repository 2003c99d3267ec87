package curate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hone/data/curate/curatetest"
	"hone/data/curate/dedup"
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
		near := dedup.DefaultMinHash()
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

// oneBand searches by a single hash of single words, so that all texts with the word agree that has the least one, and returns that word.
func oneBand() (dedup.MinHash, string) {
	near := dedup.MinHash{NGram: 1, Bands: 1, Rows: 1, Threshold: 0.5, Exact: true, Seed: 1}
	h, least, word := near.Hasher(), uint32(1<<32-1), ""
	for i := range 3000 {
		w := fmt.Sprint("common", i)
		if s := h.Signature(w)[0]; s < least {
			least, word = s, w
		}
	}
	return near, word
}

// TestManyAgree: copies fill the places of a band only once, so that texts that come behind very many of another are compared with each other, too.
func TestManyAgree(t *testing.T) {
	near, common := oneBand()
	words := func(name string, from, to int) string {
		text := []string{common}
		for i := from; i < to; i++ {
			text = append(text, fmt.Sprint(name, i))
		}
		return strings.Join(text, " ")
	}
	var texts []string
	for range 2 * dedup.ComparedWith {
		texts = append(texts, words("a", 0, 10))
	}
	texts = append(texts, words("b", 0, 10), words("b", 0, 11), words("c", 0, 10), words("b", 0, 9))
	for _, workers := range []int{1, 3} {
		kept, result := curated(t, Config{Near: &near, Workers: workers, SortEntries: 16}, texts...)
		if got, want := slices.Sorted(maps.Keys(kept)), []int{1, 2*dedup.ComparedWith + 2, 2*dedup.ComparedWith + 3}; !slices.Equal(got, want) {
			t.Errorf("with %d workers documents %v are kept, want the first, the longest b and the c: %v", workers, got, want)
		}
		if result.Near.Documents != int64(len(texts)-3) {
			t.Errorf("%d near duplicates", result.Near.Documents)
		}
	}
}

// TestManyAgreeAgain: a second run joins nothing, also where far more documents agree than are compared, as long as few of them are copies of nothing.
func TestManyAgreeAgain(t *testing.T) {
	near, common := oneBand()
	r := rand.New(rand.NewPCG(21, 22))
	for range 5 {
		var texts []string
		for range 150 { // of three vocabularies, so that there are chains of copies of copies
			text, name := []string{common}, []string{"a", "b", "c"}[r.IntN(3)]
			for i := range 5 + r.IntN(5) {
				text = append(text, fmt.Sprint(name, i+r.IntN(3)))
			}
			texts = append(texts, strings.Join(text, " "))
		}
		kept, _ := curated(t, Config{Near: &near, ShardBytes: 1 << 20, SortEntries: 1000}, texts...)
		var once []string
		for _, i := range slices.Sorted(maps.Keys(kept)) {
			once = append(once, kept[i])
		}
		if len(once) > dedup.ComparedWith {
			t.Fatalf("%d are kept of texts that were to be alike", len(once))
		}
		for i, a := range once {
			for _, b := range once[:i] {
				if s := curatetest.Jaccard(a, b, 1); s >= near.Threshold {
					t.Fatalf("%q and %q are both kept, at a similarity of %.2f", a, b, s)
				}
			}
		}
	}
}
