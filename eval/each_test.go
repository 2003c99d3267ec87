package eval

import (
	"math"
	"testing"
)

// TestEachIsRunOnOneDocument: whatever runs beside a document.
func TestEachIsRunOnOneDocument(t *testing.T) {
	for _, eos := range []string{"", "<eos>"} {
		m := tiny(t, eos)
		list := [][]byte{}
		for _, text := range append([]string{"", "the"}, docs...) {
			list = append(list, []byte(text))
		}
		for _, cfg := range []Config{{Length: 16, Stride: 16, BatchSize: 4}, {Length: 5, Stride: 3, BatchSize: 2}, {Length: 16, Stride: 16, BatchSize: 1, First: 4}} {
			got, err := Each(t.Context(), m, list, cfg)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range list {
				want, err := Run(t.Context(), m, texts(string(text)), cfg)
				if err != nil { // nothing to score
					want = Result{}
				}
				if got[i].Tokens != int(want.Tokens) || got[i].Bytes != int(want.Bytes) || cfg.First > 0 && got[i].Tokens > cfg.First {
					t.Errorf("%q: %+v, want %+v", text, got[i], want)
				}
				if math.Abs(got[i].Nats-want.Loss*float64(want.Tokens)) > 1e-5 || math.Abs(got[i].BitsPerByte()-want.BitsPerByte) > 1e-5 {
					t.Errorf("%q scores %v, want %v nats", text, got[i].Nats, want.Loss*float64(want.Tokens))
				}
				if want.Tokens > 0 && math.Abs(got[i].Perplexity()-want.Perplexity) > 1e-3 {
					t.Errorf("%q has perplexity %v, want %v", text, got[i].Perplexity(), want.Perplexity)
				}
			}
		}
	}
}

func TestEachRefuses(t *testing.T) {
	if _, err := Each(t.Context(), tiny(t, ""), nil, Config{Length: 17, Stride: 17, BatchSize: 1}); err == nil {
		t.Error("windows longer than the context are accepted")
	}
}
