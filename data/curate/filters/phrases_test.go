package filters

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"hone/data/curate/dedup"
	"hone/data/curate/document"
)

// places are where each phrase of n words stands.
func places(words []string, n int) map[string][]int {
	at := map[string][]int{}
	for i := 0; i+n <= len(words); i++ {
		phrase := strings.Join(words[i:i+n], " ")
		at[phrase] = append(at[phrase], i)
	}
	return at
}

// TestPhrasesEqualTheDefinition (Rae et al., 2021, section A.1.1): top is the characters of all places of the most frequent n-gram, whether they overlap
// or not; again those of n-grams that stood before, from left to right, without counting a word twice.
func TestPhrasesEqualTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	vocabulary := strings.Fields("a bb ccc dddd ä")
	for range 3000 {
		words := make([]string, r.IntN(25))
		for i := range words {
			words[i] = vocabulary[r.IntN(1+r.IntN(len(vocabulary)))]
		}
		p := newPhrases(&document.Doc{Text: strings.Join(words, " ")})
		for _, n := range []int{2, 3, 5} {
			most, allowed := 1, map[int]bool{0: true}
			for phrase, at := range places(words, n) {
				if len(at) > most {
					most, allowed = len(at), map[int]bool{}
				}
				if len(at) == most && most > 1 { // of equally frequent ones any
					allowed[most*len(phrase)] = true
				}
			}
			if got := p.top(n); !allowed[got] {
				t.Fatalf("%q: the most frequent %d words have %d bytes, want one of %v", words, n, got, allowed)
			}
			want, seen := 0, map[string]bool{}
			for i := 0; i+n <= len(words); {
				phrase := strings.Join(words[i:i+n], " ")
				if !seen[phrase] {
					seen[phrase] = true
					i++
					continue
				}
				want += len(phrase)
				i += n
			}
			if got := p.again(n); got != want {
				t.Fatalf("%q: %d bytes in %d words that stood before, want %d", words, got, n, want)
			}
		}
	}
}

// TestRepeatedIsOfAllCopiesButTheFirst, as the paper counts, and of hashes that collide in the table.
func TestRepeatedIsOfAllCopiesButTheFirst(t *testing.T) {
	share, bytes := repeated([]string{"ä", "b", "ä", "ä", "c"})
	if share != 0.4 || bytes != 4 {
		t.Errorf("%v of the lines and %d bytes stood before, want 0.4 and 4", share, bytes)
	}
	if share, bytes := repeated(nil); share != 0 || bytes != 0 {
		t.Errorf("of nothing %v and %d bytes", share, bytes)
	}
	c := newTable(8)
	for i := range uint64(8) { // all want the same place, the last of the table, so that the search goes round
		if n := c.add(15<<8 | i<<32); n != 1 {
			t.Errorf("hash %d came %d times", i, n)
		}
	}
	for i := range uint64(8) {
		if n := c.add(15<<8 | i<<32); n != 2 {
			t.Errorf("again: hash %d came %d times", i, n)
		}
	}
	many := newTable(1000)
	for i := range 1000 {
		many.add(xxh3.HashString(strings.Repeat("x", i)))
	}
	if len(many.keys) != 2048 {
		t.Errorf("a table for 1000 hashes has %d places", len(many.keys))
	}
}

// TestParagraphs are parted by empty lines; white space around them does not count.
func TestParagraphs(t *testing.T) {
	got := paragraphs("\n\n one\ntwo \n\n\n\n \n\nthree\n")
	if len(got) != 2 || got[0] != "one\ntwo" || got[1] != "three" {
		t.Errorf("%q", got)
	}
}

// TestPaperValues holds the defaults to the tables that the comments name.
func TestPaperValues(t *testing.T) {
	q, r := DefaultGopherQuality(), DefaultGopherRepetition()
	if q != (GopherQuality{50, 100_000, 3, 10, 0.1, 0.9, 0.3, 0.8, 2}) || r.DupLines != 0.3 || r.DupParagraphs != 0.3 || r.DupLineChars != 0.2 || r.DupParagraphChars != 0.2 {
		t.Errorf("Gopher: %+v, %+v", q, r)
	}
	for i, want := range []float64{0.20, 0.18, 0.16} { // 2 to 4 words
		if r.TopNGrams[i] != want {
			t.Errorf("the most frequent %d words: %v", i+2, r.TopNGrams[i])
		}
	}
	for i, want := range []float64{0.15, 0.14, 0.13, 0.12, 0.11, 0.10} { // 5 to 10
		if r.DupNGrams[i] != want {
			t.Errorf("%d words again: %v", i+5, r.DupNGrams[i])
		}
	}
	if c := DefaultC4(); c != (C4{5, 3, 1000, true, true, true}) {
		t.Errorf("C4: %+v", c)
	}
	if c := DefaultFineWeb(); c != (FineWeb{0.12, 0.67, 0.01, 0.3}) {
		t.Errorf("FineWeb: %+v", c)
	}
	if c := dedup.DefaultMinHash(); c.NGram != 5 || c.Bands != 14 || c.Rows != 8 {
		t.Errorf("MinHash: %+v", c)
	}
}

// TestNGramsOfEachLength: a phrase of n words that stands again is found by the bound of n words and by no other.
func TestNGramsOfEachLength(t *testing.T) {
	for n := 5; n <= 10; n++ {
		phrase := strings.Join(strings.Fields("one two three four five six seven eight nine ten")[:n], " ")
		text := phrase + " between " + phrase
		for k := range 6 {
			bounds := []float64{1, 1, 1, 1, 1, 1}
			bounds[k] = 0.01
			want := "repeated phrases"
			if k+5 > n {
				want = ""
			}
			if got := (GopherRepetition{DupNGrams: bounds}).Step().Apply(&document.Doc{Text: text}); got != want {
				t.Errorf("%d words again under a bound of %d: %q, want %q", n, k+5, got, want)
			}
		}
	}
}
