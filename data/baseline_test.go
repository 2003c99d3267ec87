package data

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestBaselinesByHand(t *testing.T) {
	train, _ := buildTest(t, byteConfig(t.TempDir()), "abab", "b")
	held, _ := buildTest(t, byteConfig(t.TempDir()), "aba")
	got, err := Baselines(train, held, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Predicted in training: b a b END, END; held-out: b a END after a b a.
	uni := func(c float64) float64 { return (c + 1) / (5 + 257) }
	wantUni := -(math.Log(uni(2)) + math.Log(uni(1)) + math.Log(uni(2))) / 3
	best := math.Inf(1)
	for _, a := range pairStrengths {
		ab := (2 + a*uni(2)) / (2 + a)
		ba := (1 + a*uni(1)) / (3 + a)
		aEnd := (0 + a*uni(2)) / (2 + a)
		best = min(best, -(math.Log(ab)+math.Log(ba)+math.Log(aEnd))/3)
	}
	if !(math.Abs(got.Unigram-wantUni) <= 1e-12 && math.Abs(got.Bigram-best) <= 1e-12) || got.Tokens != 3 {
		t.Errorf("got %+v, want %v and %v", got, wantUni, best)
	}
}

// On a Markov chain of known entropy the bigram must come close to it, and the unigram to the entropy of the marginal.
func TestBaselinesFindEntropy(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	chain := func(n int) string { // the next letter is the one after with p=3/4, else any of 16
		b := make([]byte, n)
		for i := 1; i < n; i++ {
			b[i] = (b[i-1] + 1) % 16
			if r.IntN(4) == 0 {
				b[i] = byte(r.IntN(16))
			}
		}
		return string(b)
	}
	train, _ := buildTest(t, byteConfig(t.TempDir()), chain(200000))
	held, _ := buildTest(t, byteConfig(t.TempDir()), chain(50000))
	got, err := Baselines(train, held, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := 0.75 + 0.25/16
	entropy := -p*math.Log(p) - 15*(0.25/16)*math.Log(0.25/16)
	if !(math.Abs(got.Bigram-entropy) <= 0.01 && math.Abs(got.Unigram-math.Log(16)) <= 0.01) {
		t.Errorf("got %+v, want bigram %.4f and unigram %.4f", got, entropy, math.Log(16))
	}
	if _, err := Baselines(train, &Store{tokenStart: []int64{0}, docStart: []int64{0}}, 0, 0); err == nil {
		t.Error("no held-out tokens, no error")
	}
}

func TestBitsPerByte(t *testing.T) {
	s, _ := buildTest(t, byteConfig(t.TempDir()), "abcd", "efg")
	// 9 tokens for 7 bytes, 7 of them predicted: 2 bits each.
	if got := s.BitsPerByte(2 * math.Ln2); math.Abs(got-2) > 1e-12 {
		t.Errorf("%v bits per byte, want 2", got)
	}
	if got := s.BytesPerToken(); math.Abs(got-7.0/9) > 1e-12 {
		t.Errorf("%v bytes per token, want 7/9", got)
	}
}
