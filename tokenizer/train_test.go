package tokenizer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestTrainRefuses(t *testing.T) {
	some := docsOf([]string{"some text"})
	for _, c := range []struct {
		cfg  TrainConfig
		want string
	}{
		{TrainConfig{VocabSize: 255}, "vocab_size 255"},
		{TrainConfig{VocabSize: 257, SpecialTokens: []string{"<a>", "<b>"}}, "258"},
		{TrainConfig{VocabSize: 1 << 30}, "too large"},
		{TrainConfig{VocabSize: 300, Pattern: "gpt3"}, `pattern is "gpt3"; use "gpt2" or "llama3"`},
		{TrainConfig{VocabSize: 300, SpecialTokens: []string{""}}, "empty"},
		{TrainConfig{VocabSize: 300, SpecialTokens: []string{"<a>", "<a>"}}, "twice"},
		{TrainConfig{VocabSize: 300, SpecialTokens: []string{"a"}}, "byte"},
		{TrainConfig{VocabSize: 300, EOS: "</s>"}, "</s>"},
	} {
		if _, err := Train(t.Context(), some, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error with %q", c.cfg, err, c.want)
		}
	}
	if _, err := Train(t.Context(), docsOf(nil), TrainConfig{VocabSize: 300}); err == nil || !strings.Contains(err.Error(), "no text") {
		t.Errorf("no documents: %v", err)
	}
	broken := errors.New("broken pipe")
	_, err := Train(t.Context(), func(yield func([]byte, error) bool) { yield(nil, broken) }, TrainConfig{VocabSize: 300})
	if !errors.Is(err, broken) {
		t.Errorf("the documents' error is lost: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Train(ctx, some, TrainConfig{VocabSize: 300}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTrainSmall(t *testing.T) {
	var stages []string
	tok, err := Train(t.Context(), docsOf([]string{"aaab aaab aaab ab"}), TrainConfig{
		VocabSize: 400, SpecialTokens: []string{"<|end|>"}, EOS: "<|end|>", MinFrequency: 3,
		Progress: func(p TrainProgress) { stages = append(stages, p.Stage) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() >= 300 || tok.VocabSize() <= 257 {
		t.Errorf("%d tokens of a text with hardly any pairs", tok.VocabSize())
	}
	if id, ok := tok.EOS(); !ok || id != 0 {
		t.Errorf("EOS is %d, %t", id, ok)
	}
	if _, ok := tok.TokenToID("aa"); !ok {
		t.Error("no merge of the most frequent pair")
	}
	if !slices.Contains(stages, "count") || !slices.Contains(stages, "merge") {
		t.Errorf("progress was %v", stages)
	}
}

// The number of workers and the cut of the text into pieces change nothing, not even when words had to go.
func TestTrainIsDeterministic(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	var docs []string
	for range 2 {
		var b bytes.Buffer
		for b.Len() < 600<<10 { // more than one piece
			for range 1 + rng.IntN(6) {
				fmt.Fprintf(&b, "%c", 'a'+min(rng.IntN(26), rng.IntN(26)))
			}
			b.WriteByte(" \n"[rng.IntN(2)])
		}
		docs = append(docs, b.String())
	}
	for _, limit := range []int{0, 5000} {
		want := ""
		for _, workers := range []int{1, 2, 5} {
			tok, err := Train(t.Context(), docsOf(docs), TrainConfig{VocabSize: 500, Workers: workers, MaxWords: limit})
			if err != nil {
				t.Fatal(err)
			}
			got := tok.Fingerprint()
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("limit %d: %d workers give another tokenizer", limit, workers)
			}
		}
	}
}

func TestTrainLongWords(t *testing.T) {
	text := strings.Repeat("ab", 3*4096)
	tok, err := Train(t.Context(), docsOf([]string{text}), TrainConfig{VocabSize: 270})
	if err != nil {
		t.Fatal(err)
	}
	if ids := tok.Encode(nil, []byte(text)); len(ids) > len(text)/100 {
		t.Errorf("%d ids for a word of %d bytes that repeats", len(ids), len(text))
	}
}
