package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hone/internal/bytepair"
)

// randomMerges is a model of the letters a to d whose merges come in any order, also before those that make what they join, and some at equal ranks.
func randomMerges(r *rand.Rand) *bpe {
	b := &bpe{bytes: true}
	for i := range b.byteID {
		b.byteID[i] = -1
	}
	letters := 1 + r.IntN(4)
	for i := range letters {
		b.byteID['a'+i] = int32(i)
	}
	n := r.IntN(12)
	b.merges = newMergeTable(n)
	for i := range n {
		pair := bytepair.MakePair(int32(r.IntN(letters+i)), int32(r.IntN(letters+i)))
		b.merges.set(pair, makeMerge(r.IntN(2*n), int32(letters+i)))
	}
	return b
}

// TestWindowsMergeAsTheWhole: whatever the merges and the word, ids of windows are those of the whole word, and cuts are found for nearly all.
func TestWindowsMergeAsTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	found, models := 0, 600
	if testing.Short() {
		models = 60
	}
	for range models {
		b := randomMerges(r)
		word := make([]byte, 500+r.IntN(500))
		period := 1 + r.IntN(6)
		random := r.IntN(3) == 0
		for i := range word {
			word[i] = 'a' + byte(r.IntN(4))
			if i >= period && !random {
				word[i] = word[i-period]
			}
		}
		want := b.encodePart(&Encoder{}, nil, word)
		got, ok := b.inWindows([]int32{7}, word, 20+r.IntN(200), 1+r.IntN(5))
		if !ok {
			if !slices.Equal(got, []int32{7}) {
				t.Fatal("ids without a cut")
			}
			continue
		}
		if found++; !slices.Equal(got[1:], want) || got[0] != 7 {
			t.Fatalf("%.60q: windows have other ids than the word", word)
		}
	}
	if found < models*2/3 {
		t.Errorf("cuts were found for %d of %d words", found, models)
	}
}

// TestHugeWordsAreMergedInWindows: words of a real model, of one character, of letters in turn, of any letters and of ideographs, are merged so.
func TestHugeWordsAreMergedInWindows(t *testing.T) {
	b := load(t, "gpt2").bpe
	r := rand.New(rand.NewPCG(33, 34))
	letters := make([]byte, 20_000)
	for i := range letters {
		letters[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[r.IntN(52)]
	}
	for name, word := range map[string]string{"one character": strings.Repeat("a", 20_000), "spaces": strings.Repeat(" ", 20_001), "in turn": strings.Repeat("abcdefghijklmnopqrstuvwxyz", 800), "any": string(letters), "words": strings.Repeat("internationalization", 900), "ideographs": strings.Repeat("人人生而自由在尊严和权利上一律平等", 400), "equal signs": strings.Repeat("=", 20_000)} {
		want := b.encodePart(&Encoder{}, nil, []byte(word))
		if got, ok := b.inWindows(nil, []byte(word), 2048, cutTail); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %d ids, %v, want %d", name, len(got), ok, len(want))
		}
	}
}

// TestEncodeMergesHugeWordsInWindows: the heap of the encoder, whose memory grows with the word, is not asked.
func TestEncodeMergesHugeWordsInWindows(t *testing.T) {
	b := load(t, "gpt2").bpe
	word := []byte(strings.Repeat("banana", hugeWord/6+1))
	e := &Encoder{}
	got := b.encode(e, nil, word)
	if e.heap.steps > 0 || len(e.symbols.ids) > 0 {
		t.Errorf("%d steps of the heap", e.heap.steps)
	}
	if !slices.Equal(got, b.encodePart(&Encoder{}, nil, word)) {
		t.Error("the ids are others")
	}
}
