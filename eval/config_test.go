package eval

import (
	"context"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hone/nn"
)

// TestConfigIsValidated: each setting at its bounds and past them.
func TestConfigIsValidated(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string // "": it is sound
	}{
		{Config{Length: 2, Stride: 1, BatchSize: 1}, ""},
		{Config{Length: 8, Stride: 8, BatchSize: 4, MaxTokens: 1, First: 1}, ""},
		{Config{Length: 1, Stride: 1, BatchSize: 1}, "sequence_length is 1: use at least 2"},
		{Config{Length: 8, Stride: 0, BatchSize: 1}, "stride is 0: use 1 to sequence_length, which is 8"},
		{Config{Length: 8, Stride: 9, BatchSize: 1}, "stride is 9: use 1 to sequence_length, which is 8"},
		{Config{Length: 8, Stride: 8, BatchSize: 0}, "batch_size is 0: use at least 1"},
		{Config{Length: 8, Stride: 8, BatchSize: 1, MaxTokens: -1}, "max_tokens is -1: use 0 (all) or more"},
		{Config{Length: 8, Stride: 8, BatchSize: 1, First: -2}, "of each document -2"},
	} {
		if err := c.cfg.Validate(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
}

// TestWilson: the intervals of Wilson (1927) as other programs print them, to four places.
func TestWilson(t *testing.T) {
	for _, c := range []struct{ right, n, lo, hi float64 }{
		{0, 10, 0, 0.2775}, {10, 10, 0.7225, 1}, {5, 10, 0.2366, 0.7634}, {1, 1, 0.2065, 1}, {81, 263, 0.2553, 0.3662}, {0, 0, 0, 1},
	} {
		if lo, hi := Wilson(c.right, c.n); math.Abs(lo-c.lo) > 5e-5 || math.Abs(hi-c.hi) > 5e-5 {
			t.Errorf("%v of %v is %.4f to %.4f, want %v to %v", c.right, c.n, lo, hi, c.lo, c.hi)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1000).Draw(t, "n")
		right := rapid.IntRange(0, n).Draw(t, "right")
		lo, hi := Wilson(float64(right), float64(n))
		if p := float64(right) / float64(n); !(lo >= 0 && hi <= 1 && lo <= p+1e-12 && p <= hi+1e-12) {
			t.Errorf("%d of %d is %v to %v", right, n, lo, hi)
		}
		left, other := Wilson(float64(n-right), float64(n))
		if math.Abs(lo-(1-other)) > 1e-9 || math.Abs(hi-(1-left)) > 1e-9 {
			t.Errorf("%d of %d is %v to %v, and of the others %v to %v", right, n, lo, hi, left, other)
		}
		if wideLo, wideHi := Wilson(float64(right)*4, float64(n)*4); wideHi-wideLo > hi-lo {
			t.Errorf("four times as many of %d give a wider interval", n)
		}
	})
}

// TestDocumentsOfNothing: what was not scored has no bits and the perplexity of certainty.
func TestDocumentsOfNothing(t *testing.T) {
	if d := (Document{}); d.BitsPerByte() != 0 || d.Perplexity() != 1 {
		t.Errorf("%v bits per byte, perplexity %v", d.BitsPerByte(), d.Perplexity())
	}
	d := Document{Nats: 8 * math.Ln2, Tokens: 2, Bytes: 4}
	if math.Abs(d.BitsPerByte()-2) > 1e-12 || math.Abs(d.Perplexity()-16) > 1e-9 {
		t.Errorf("eight bits of four bytes and two tokens are %v a byte, perplexity %v", d.BitsPerByte(), d.Perplexity())
	}
}

// TestOtherTokenizer: tokens that the model has no row for are told before anything is computed with them.
func TestOtherTokenizer(t *testing.T) {
	m := tiny(t, "<eos>")
	m.Model = smaller{m.Model}
	_, err := Run(context.Background(), m, texts("the theme"), Config{Length: 8, Stride: 8, BatchSize: 1})
	if err == nil || !strings.Contains(err.Error(), "evaluate") || !strings.Contains(err.Error(), "is outside the model's vocabulary of 10: use the model's own tokenizer") {
		t.Errorf("%v", err)
	}
}

// TestProgressIsTold in tokens that are scored, which end at the result's.
func TestProgressIsTold(t *testing.T) {
	var told []int64
	cfg := Config{Length: 4, Stride: 4, BatchSize: 1, Progress: func(n int64) { told = append(told, n) }}
	r, err := Run(context.Background(), tiny(t, "<eos>"), texts(docs...), cfg)
	if err != nil || len(told) < 3 || told[len(told)-1] != r.Tokens {
		t.Errorf("told of %v, and in the end %d tokens, %v", told, r.Tokens, err)
	}
	for i := 1; i < len(told); i++ {
		if told[i] <= told[i-1] {
			t.Errorf("told of %v", told)
		}
	}
}

// smaller is a model that says that it has fewer tokens.
type smaller struct{ nn.Model }

func (s smaller) Shape() nn.Shape {
	shape := s.Model.Shape()
	shape.Vocab = 10
	return shape
}
