package dedup

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/data/curate/curatetest"
)

// TestSignaturesStay: a run that was stopped goes on with a later build, which must hash as the first one did.
func TestSignaturesStay(t *testing.T) {
	sig := DefaultMinHash().Hasher().Signature("the cat sat on the mat and the dog sat on the log")
	if diff := cmp.Diff([]uint32{1098776454, 1083714349, 400896310}, sig[:3]); diff != "" {
		t.Error(diff)
	}
}

// TestSimilarityIsUnbiased compares the estimate with the exact Jaccard similarity over many pairs.
func TestSimilarityIsUnbiased(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c := DefaultMinHash()
	h := c.Hasher()
	sum, n := 0.0, 200
	for range n {
		a, b := curatetest.Variants(r, 200, 0.05)
		got := Similarity(h.Signature(a), h.Signature(b))
		sum += got - curatetest.Jaccard(a, b, c.NGram)
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
	h := c.Hasher()
	found, promised, n := 0, 0.0, 400
	for range n {
		a, b := curatetest.Variants(r, 300, 0.03)
		x, y := c.BandKeys(h.Signature(a)), c.BandKeys(h.Signature(b))
		for i := range x {
			if x[i] == y[i] {
				found++
				break
			}
		}
		promised += 1 - math.Pow(1-math.Pow(curatetest.Jaccard(a, b, c.NGram), float64(c.Rows)), float64(c.Bands))
	}
	got, want := float64(found)/float64(n), promised/float64(n)
	if math.Abs(got-want) > 4*math.Sqrt(want*(1-want)/float64(n)) {
		t.Errorf("%.3f of the pairs were found, %.3f promised", got, want)
	}
}

func TestSignatureIgnoresLayout(t *testing.T) {
	h := DefaultMinHash().Hasher()
	a := h.Signature("The quick brown fox, jumps over the lazy dog.")
	b := h.Signature("the QUICK brown fox\njumps   over the lazy dog")
	if Similarity(a, b) != 1 {
		t.Error("case, punctuation and layout change the signature")
	}
	for _, text := range []string{"", "one", "one two three four"} {
		if s := h.Signature(text); len(s) != 112 {
			t.Errorf("%q has %d hashes", text, len(s))
		}
	}
	if Similarity(h.Signature("one two"), h.Signature("two one")) == 1 {
		t.Error("short texts are alike whatever the order of their words")
	}
}

// TestEstimateOfSimilarity: at any similarity the estimate of k hashes is off by no more than a share that is binomial is, and pairs agree in a
// band as often as 1-(1-s^rows)^bands says.
func TestEstimateOfSimilarity(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, c := range []MinHash{{NGram: 1, Bands: 14, Rows: 8, Seed: 1}, {NGram: 3, Bands: 20, Rows: 3, Seed: 7}} {
		h, k := c.Hasher(), float64(c.Bands*c.Rows)
		for _, changed := range []float64{0.02, 0.1, 0.3} {
			const n = 150
			squares, variance, found, promised := 0.0, 0.0, 0.0, 0.0
			for range n {
				a, b := curatetest.Variants(r, 150, changed)
				x, y := h.Signature(a), h.Signature(b)
				s := curatetest.Jaccard(a, b, c.NGram)
				squares += math.Pow(Similarity(x, y)-s, 2)
				variance += s * (1 - s) / k
				promised += 1 - math.Pow(1-math.Pow(s, float64(c.Rows)), float64(c.Bands))
				bands := c.BandKeys(y)
				if slices.ContainsFunc(c.BandKeys(x), func(g uint64) bool { return slices.Contains(bands, g) }) {
					found++
				}
			}
			if ratio := squares / variance; ratio < 0.6 || ratio > 1.5 {
				t.Errorf("%+v, %v of the words changed: the error's variance is %.2f times the binomial one", c, changed, ratio)
			}
			if p := promised / n; math.Abs(found/n-p) > 4*math.Sqrt(max(p*(1-p), 1.0/n)/n) {
				t.Errorf("%+v, %v of the words changed: %.3f of the pairs agree in a band, promised %.3f", c, changed, found/n, p)
			}
		}
	}
}
