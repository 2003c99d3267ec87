package curate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// variants are a text of n words and a copy with a share of its words replaced.
func variants(r *rand.Rand, n int, changed float64) (a, b string) {
	x, y := make([]string, n), make([]string, n)
	for i := range x {
		x[i] = fmt.Sprint("w", r.IntN(100000))
		if y[i] = x[i]; r.Float64() < changed {
			y[i] = fmt.Sprint("v", r.IntN(100000))
		}
	}
	return strings.Join(x, " "), strings.Join(y, " ")
}

// TestSignaturesStay: a run that was stopped goes on with a later build, which must hash as the first one did.
func TestSignaturesStay(t *testing.T) {
	sig := DefaultMinHash().hasher().signature("the cat sat on the mat and the dog sat on the log")
	if diff := cmp.Diff([]uint32{1098776454, 1083714349, 400896310}, sig[:3]); diff != "" {
		t.Error(diff)
	}
}

// jaccard is the similarity of the sets of word n-grams of two texts, exactly.
func jaccard(a, b string, n int) float64 {
	x, y := grams(a, n), grams(b, n)
	both := 0
	for g := range x {
		if y[g] {
			both++
		}
	}
	return share(both, len(x)+len(y)-both)
}

func grams(text string, n int) map[string]bool {
	words := normalWords(text)
	n = min(n, max(1, len(words)))
	set := map[string]bool{}
	for i := 0; i+n <= len(words); i++ {
		set[strings.Join(words[i:i+n], " ")] = true
	}
	return set
}

// TestWordsHaveTheirMarks: vowels that are written as marks are part of words, which differ by them.
func TestWordsHaveTheirMarks(t *testing.T) {
	for text, want := range map[string]string{"Das  Haus, IST 3-mal gro\u0308\u00dfer!": "das haus ist 3 mal gro\u0308\u00dfer", "हिन्दी की किताब।": "हिन्दी की किताब", "كِتَابٌ؟": "كِتَابٌ"} {
		if got := strings.Join(normalWords(text), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if reason := SameAnswers().Apply(&Doc{Text: `{"prompt":"p","chosen":"राम की किताब","rejected":"राम का कताब"}`}); reason != "" {
		t.Errorf("answers that differ in vowels: %s", reason)
	}
}

// TestSimilarityIsUnbiased compares the estimate with the exact Jaccard similarity over many pairs.
func TestSimilarityIsUnbiased(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c := DefaultMinHash()
	h := c.hasher()
	sum, n := 0.0, 200
	for range n {
		a, b := variants(r, 200, 0.05)
		got := similarity(h.signature(a), h.signature(b))
		sum += got - jaccard(a, b, c.NGram)
	}
	// one estimate from 112 hashes has a standard error of at most 0.047; the mean of 200 a fourteenth of that
	if bias := sum / float64(n); math.Abs(bias) > 0.011 {
		t.Errorf("the estimate is off by %.4f on average", bias)
	}
}

// TestBandsFindWhatTheyPromise measures how many pairs of a similarity agree in a band.
func TestBandsFindWhatTheyPromise(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	c := DefaultMinHash()
	h := c.hasher()
	found, promised, n := 0, 0.0, 400
	for range n {
		a, b := variants(r, 300, 0.03)
		x, y := c.bands(h.signature(a)), c.bands(h.signature(b))
		for i := range x {
			if x[i] == y[i] {
				found++
				break
			}
		}
		promised += 1 - math.Pow(1-math.Pow(jaccard(a, b, c.NGram), float64(c.Rows)), float64(c.Bands))
	}
	got, want := float64(found)/float64(n), promised/float64(n)
	if math.Abs(got-want) > 4*math.Sqrt(want*(1-want)/float64(n)) {
		t.Errorf("%.3f of the pairs were found, %.3f promised", got, want)
	}
}

func TestSignatureIgnoresLayout(t *testing.T) {
	h := DefaultMinHash().hasher()
	a := h.signature("The quick brown fox, jumps over the lazy dog.")
	b := h.signature("the QUICK brown fox\njumps   over the lazy dog")
	if similarity(a, b) != 1 {
		t.Error("case, punctuation and layout change the signature")
	}
	for _, text := range []string{"", "one", "one two three four"} {
		if s := h.signature(text); len(s) != 112 {
			t.Errorf("%q has %d hashes", text, len(s))
		}
	}
	if similarity(h.signature("one two"), h.signature("two one")) == 1 {
		t.Error("short texts are alike whatever the order of their words")
	}
}

// TestSorterSpills: entries come in their order, with the first of their key, however many runs there are.
func TestSorterSpills(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, limit := range []int{1 << 20, 100, 7, 3} { // 3 makes more runs than are merged at a time
		s := &sorter{dir: t.TempDir(), name: "s", limit: limit}
		want := map[uint64][]uint64{}
		for i := range 1000 {
			key := r.Uint64N(400)
			want[key] = append(want[key], uint64(i))
			if err := s.add(entry{key: key, doc: uint64(i), bytes: 1}); err != nil {
				t.Fatal(err)
			}
		}
		got, last := map[uint64][]uint64{}, uint64(0)
		for m, err := range members(s.sorted()) {
			if err != nil {
				t.Fatal(err)
			}
			got[m.key] = append(got[m.key], m.doc)
			if m.key < last || m.first.doc != want[m.key][0] || int(m.n) != len(got[m.key]) {
				t.Fatalf("limit %d: %+v after key %d", limit, m, last)
			}
			last = m.key
		}
		if !cmp.Equal(got, want) {
			t.Errorf("limit %d: other entries come out than went in", limit)
		}
		s.remove()
		if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
			t.Errorf("limit %d: files are left: %v, %v", limit, left, err)
		}
	}
}

// TestLongChains: documents of which each is a longer copy of the one before are a chain, whose end is found in a bounded stack.
func TestLongChains(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 18)) // more would end the program
	c, n := newClusters(), uint64(50_000)
	for doc := range n {
		c.join(entry{doc: doc, bytes: uint32(doc)}, entry{doc: doc + 1, bytes: uint32(doc + 1)})
	}
	for _, doc := range []uint64{0, n / 2, n - 1} {
		if kept, other := c.keptInstead(doc); kept != n || !other {
			t.Errorf("%d is kept for %d", kept, doc)
		}
	}
	if c.parent[1] != n {
		t.Errorf("the way from 1 still leads by %d", c.parent[1])
	}
}

func TestClustersKeepTheLongest(t *testing.T) {
	c := newClusters()
	e := func(doc uint64, bytes uint32) entry { return entry{doc: doc, bytes: bytes} }
	c.join(e(1, 10), e(2, 10))
	c.join(e(5, 30), e(4, 20))
	c.join(e(2, 10), e(4, 20))
	for _, doc := range []uint64{1, 2, 4} {
		if kept, other := c.keptInstead(doc); kept != 5 || !other {
			t.Errorf("%d is kept for %d", kept, doc)
		}
	}
	if _, other := c.keptInstead(5); other {
		t.Error("the longest is not kept")
	}
	if kept, other := c.keptInstead(9); kept != 9 || other {
		t.Error("a document without duplicates is not kept")
	}
}
