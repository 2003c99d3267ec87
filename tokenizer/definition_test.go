package tokenizer

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// randomVocab is a vocabulary of short pieces of few characters; all single ones are there only now and then.
func randomVocab(r *rand.Rand) map[string]int32 {
	vocab := map[string]int32{"<unk>": 0}
	for range 3 + r.IntN(12) {
		var piece strings.Builder
		for range 1 + r.IntN(4) {
			piece.WriteString([]string{"a", "b", "é", "天"}[r.IntN(4)])
		}
		if _, ok := vocab[piece.String()]; !ok {
			vocab[piece.String()] = int32(len(vocab))
		}
	}
	return vocab
}

func randomWord(r *rand.Rand) string {
	var word strings.Builder
	for range r.IntN(9) {
		word.WriteString([]string{"a", "b", "é", "天", "x", "\xff", "\xe5\xa4"}[min(r.IntN(10), 6)])
	}
	return word.String()
}

// bestSum is the largest sum of scores of any way to cut a word into tokens, where a character that is no token costs unk.
func bestSum(word string, vocab map[string]int32, scores []float64, unk float64, known map[string]float64) float64 {
	if word == "" {
		return 0
	}
	if s, ok := known[word]; ok {
		return s
	}
	best := math.Inf(-1)
	for end := 1; end <= len(word); end++ {
		if id, ok := vocab[word[:end]]; ok {
			best = max(best, scores[id]+bestSum(word[end:], vocab, scores, unk, known))
		}
	}
	_, size := utf8.DecodeRuneInString(word)
	if _, ok := vocab[word[:size]]; !ok {
		best = max(best, unk+bestSum(word[size:], vocab, scores, unk, known))
	}
	known[word] = best
	return best
}

// TestUnigramEqualsTheDefinition: of all ways to cut a word that of the largest sum is found, its tokens spell the word, and its spans tile it.
func TestUnigramEqualsTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 72))
	e := &Encoder{}
	for range 500 {
		vocab := randomVocab(r)
		scores := make([]float64, len(vocab))
		for i := range scores {
			scores[i] = -float64(r.IntN(200)) / 8 // sums are exact, and often equal
		}
		u, err := newUnigram(&model{vocab: vocab, scores: scores, unkID: 0})
		if err != nil {
			t.Fatal(err)
		}
		worst := slices.Min(scores)
		word := randomWord(r)
		ids, spans := u.encodeSpans(e, nil, nil, []byte(word))
		if word != "" {
			if got, want := e.best[len(word)].score, bestSum(word, vocab, scores, worst-unkPenalty, map[string]float64{}); got != want {
				t.Fatalf("%q with %v and %v: the best sum is %v, want %v", word, vocab, scores, got, want)
			}
		}
		end := 0
		for i, s := range spans {
			if id, ok := vocab[word[s.Start:s.End]]; s.Start != end || ok && id != ids[i] || !ok && ids[i] != 0 {
				t.Fatalf("%q: token %d is %d for %q behind byte %d", word, i, ids[i], word[s.Start:s.End], end)
			}
			if i > 0 && ids[i] == 0 && ids[i-1] == 0 {
				t.Fatalf("%q: two unknown tokens stand together in %v", word, ids)
			}
			end = s.End
		}
		if end != len(word) {
			t.Fatalf("%q: the tokens end at byte %d", word, end)
		}
	}
}

// TestWordPieceEqualsTheDefinition: the longest token from the left, spelled with the prefix inside of a word; a word that does not come out even is unknown.
func TestWordPieceEqualsTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(73, 74))
	found := 0
	for range 600 {
		vocab := randomVocab(r)
		for _, name := range []string{"a", "b", "é"}[:1+r.IntN(3)] {
			vocab["##"+name] = int32(len(vocab))
		}
		for _, name := range slices.Sorted(maps.Keys(randomVocab(r))) {
			if _, ok := vocab["##"+name]; !ok && name != "<unk>" {
				vocab["##"+name] = int32(len(vocab))
			}
		}
		w, err := newWordPiece(&model{vocab: vocab, unk: "<unk>", prefix: "##", maxChars: 6})
		if err != nil {
			t.Fatal(err)
		}
		word := randomWord(r)
		if r.IntN(3) > 0 { // of what is known
			word = strings.Repeat("ab", r.IntN(3)) + strings.Repeat("a", r.IntN(4))
		}
		var want []int32
		for at := 0; at < len(word) && want == nil || at < len(word) && want[0] != 0; {
			prefix := ""
			if at > 0 {
				prefix = "##"
			}
			end := len(word)
			for ; end > at; end-- {
				if id, ok := vocab[prefix+word[at:end]]; ok {
					want = append(want, id)
					break
				}
			}
			if end == at {
				want = []int32{0}
			}
			at = end
		}
		if utf8.RuneCountInString(word) > 6 {
			want = []int32{0}
		}
		ids, spans := w.encodeSpans(nil, nil, nil, []byte(word))
		if !slices.Equal(ids, want) || len(spans) != len(ids) || len(ids) > 0 && (spans[0].Start != 0 || spans[len(spans)-1].End != len(word)) {
			t.Fatalf("%q with %v: %v at %v, want %v", word, vocab, ids, spans, want)
		}
		if len(ids) > 1 {
			found++
		}
	}
	if found < 50 {
		t.Errorf("only %d words had several tokens", found)
	}
}

// TestTrieEqualsAMap: every token is found where it stands, the longest of several, and nothing else is.
func TestTrieEqualsAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(75, 76))
	for range 200 {
		names, size := map[string]int32{}, 0
		for range 1 + r.IntN(40) {
			b := make([]byte, 1+r.IntN(6))
			for i := range b {
				b[i] = "ab\x00\xff"[r.IntN(4)]
			}
			if _, ok := names[string(b)]; !ok {
				names[string(b)] = int32(len(names))
				size += len(b)
			}
		}
		tr := newTrie(size)
		for name, id := range names {
			tr.add(name, id)
		}
		if len(tr.edges)&(len(tr.edges)-1) != 0 || len(tr.ids) > size+1 {
			t.Fatalf("%d edges and %d nodes for %d bytes", len(tr.edges), len(tr.ids), size)
		}
		text := make([]byte, 30)
		for i := range text {
			text[i] = "ab\x00\xffc"[r.IntN(5)]
		}
		for at := range text {
			want, wantEnd := int32(-1), 0
			for end := at + 1; end <= len(text); end++ {
				if id, ok := names[string(text[at:end])]; ok {
					want, wantEnd = id, end
				}
			}
			if id, end := tr.longest(text, at); id != want || id >= 0 && end != wantEnd {
				t.Fatalf("%q at %d of %q: %d to %d, want %d to %d", names, at, text, id, end, want, wantEnd)
			}
		}
	}
}

// TestUnigramRefuses scores and ids that no path can be made of, and bytes stand for unknown characters only where all of them can.
func TestUnigramRefuses(t *testing.T) {
	for want, m := range map[string]*model{
		"unk_id 2 is not in the vocabulary":     {vocab: map[string]int32{"a": 0, "b": 1}, scores: []float64{0, 0}, unkID: 2},
		"unk_id -2 is not":                      {vocab: map[string]int32{"a": 0}, scores: []float64{0}, unkID: -2},
		"a score that is not a number":          {vocab: map[string]int32{"a": 0}, scores: []float64{math.NaN()}, unkID: -1},
		fmt.Sprintf("has %d bytes", maxPiece+1): {vocab: map[string]int32{strings.Repeat("a", maxPiece+1): 0}, scores: []float64{0}, unkID: -1},
	} {
		if _, err := newUnigram(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	vocab := map[string]int32{"a": 0, "<0xC3>": 1, "<0xA9>": 2, "<unk>": 3}
	for _, c := range []struct {
		unk      int32
		fallback bool
		want     []int32
	}{{3, true, []int32{0, 1, 2, 0, 3}}, {3, false, []int32{0, 3, 0, 3}}, {-1, true, []int32{0, 1, 2, 0}}, {-1, false, []int32{0, 0}}} {
		u, err := newUnigram(&model{vocab: vocab, scores: make([]float64, 4), unkID: c.unk, byteFallback: c.fallback})
		if err != nil {
			t.Fatal(err)
		}
		if got := u.encode(&Encoder{}, nil, []byte("aéa天")); !slices.Equal(got, c.want) {
			t.Errorf("unknown %d, fallback %v: %v, want %v", c.unk, c.fallback, got, c.want)
		}
	}
}
