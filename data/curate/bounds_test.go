package curate

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate/curatetest"
	"hone/data/curate/dedup"
	"hone/data/curate/spans"
)

// TestSimilarityAtTheThreshold: of two texts whose similarity is the threshold one goes, and of two just below it none.
func TestSimilarityAtTheThreshold(t *testing.T) {
	a, b := strings.Fields("one two three four five six seven eight nine ten"), strings.Fields("one two three four five six seven eight nine eleven")
	exact := curatetest.Jaccard(strings.Join(a, " "), strings.Join(b, " "), 1) // 9 of 11 words
	for threshold, want := range map[float64]int64{exact: 1, math.Nextafter(exact, 1): 0} {
		near := dedup.MinHash{NGram: 1, Bands: 100, Rows: 1, Threshold: threshold, Exact: true, Seed: 1}
		_, r := curated(t, Config{Near: &near}, strings.Join(a, " "), strings.Join(b, " "))
		if r.Near.Documents != want {
			t.Errorf("threshold %v: %d documents go, want %d", threshold, r.Near.Documents, want)
		}
	}
}

// TestLeastLengthsOfPasses: a line of just so many characters is compared, a shorter one not; a span of just so many bytes goes, a shorter one
// stays; a document of just so many characters stays behind a cut, one of fewer goes.
func TestLeastLengthsOfPasses(t *testing.T) {
	for n, want := range map[int]int{9: 2, 10: 1} {
		line := strings.Repeat("ä", n)
		left, _ := curated(t, Config{Passes: []spans.Pass{spans.Repeats{MinChars: 10}.Lines()}}, line+"\none\n", line+"\ntwo\n")
		if got := strings.Count(fmt.Sprint(left), line); got != want {
			t.Errorf("a line of %d characters stands %d times, want %d", n, got, want)
		}
	}
	for n, want := range map[int]int{19: 2, 20: 1} {
		span := curatetest.Prose(3)[:n]
		left, _ := curated(t, Config{Passes: []spans.Pass{spans.Substring{Length: 20, Whole: "characters"}.Pass()}}, "0"+span+"1", "2"+span+"3")
		if got := strings.Count(left[1]+left[2], span); got != want {
			t.Errorf("a span of %d bytes stands %d times, want %d", n, got, want)
		}
	}
	for least, want := range map[int]int{5: 2, 6: 1} {
		left, r := curated(t, Config{Passes: []spans.Pass{spans.Repeats{MinChars: 10, MinLeft: least}.Lines()}}, "a line that stands twice\n", "a line that stands twice\n ääääö\n")
		if len(left) != want || r.Cuts[0].Dropped.Documents != int64(2-want) {
			t.Errorf("of five characters with at least %d: %v, %+v", least, left, r.Cuts)
		}
	}
	for copies, want := range map[int64]int{2: 2, 3: 0} { // with 2 allowed the first stays, of 3 none
		texts := []string{}
		for i := range copies {
			texts = append(texts, fmt.Sprintf("the notice that is everywhere\nown %d\n", i))
		}
		left, _ := curated(t, Config{Passes: []spans.Pass{spans.Repeats{MinChars: 10, MaxCopies: 2}.Lines()}}, texts...)
		if got := strings.Count(fmt.Sprint(left), "everywhere"); got != min(want, 1) {
			t.Errorf("%d copies of which 2 are allowed: %d stay", copies, got)
		}
	}
}

// TestSampleBounds: no document, as many as there are, and none asked for.
func TestSampleBounds(t *testing.T) {
	docs := curatetest.Documents([]string{"a", "b", "c"})
	for n, want := range map[int]int{0: 0, 1: 1, 3: 3, 4: 3} {
		drawn, seen, err := Sample(curatetest.Stream(docs, curatetest.GoOn), n, 1)
		if err != nil || len(drawn) != want || seen != 3 {
			t.Errorf("%d of three: %d of %d, %v", n, len(drawn), seen, err)
		}
	}
	if drawn, seen, err := Sample(curatetest.Stream([]data.Document(nil), curatetest.GoOn), 3, 1); err != nil || drawn != nil || seen != 0 {
		t.Errorf("of nothing: %v of %d, %v", drawn, seen, err)
	}
}
