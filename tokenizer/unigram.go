package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// unkPenalty is what an unknown character scores below the worst token.
const unkPenalty = 10

// unigram cuts a word into the tokens whose scores (log probabilities) have the largest sum, found by Viterbi's algorithm (Kudo: Subword
// Regularization, 2018, arXiv:1804.10959). The reference is tokenizers' models/unigram/model.rs, encode_optimized.
type unigram struct {
	trie     *trie
	scores   []float64 // by id
	ids      map[string]int32
	unk      int32 // -1 where there is none: unknown characters are dropped
	unkScore float64
	fallback bool
	byteID   [256]int32
}

// bestPath is the best way to cut a word up to some byte.
type bestPath struct {
	score float64
	start int32 // of its last token; -1 where no way is known
	id    int32
}

// newUnigram bounds the pieces, since viterbi looks for the longest from every character on; a score that is NaN would never be beaten.
func newUnigram(m *model) (*unigram, error) {
	u := &unigram{ids: m.vocab, unk: m.unkID, fallback: m.byteFallback, scores: m.scores}
	if u.unk < -1 || int(u.unk) >= len(m.scores) {
		return nil, fmt.Errorf("model.unk_id %d is not in the vocabulary of %d tokens", u.unk, len(m.scores))
	}
	size, worst := 0, math.Inf(1)
	for name, id := range m.vocab {
		if size += len(name); len(name) > maxPiece {
			return nil, fmt.Errorf("token %d of model.vocab has %d bytes, more than the %d that a piece may have", id, len(name), maxPiece)
		}
	}
	for _, s := range m.scores {
		if math.IsNaN(s) {
			return nil, errors.New("model.vocab has a score that is not a number")
		}
		worst = min(worst, s)
	}
	u.unkScore = worst - unkPenalty
	u.trie = newTrie(size)
	for name, id := range m.vocab {
		// SentencePiece never finds control pieces, such as <s>, in text
		if m.spm == nil || m.spm.pieces[id].kind == pieceNormal || m.spm.pieces[id].kind == pieceUser {
			u.trie.add(name, id)
		}
	}
	for b := range u.byteID {
		id, ok := m.vocab[fmt.Sprintf("<0x%02X>", b)]
		if !ok {
			id = -1
		}
		u.byteID[b] = id
	}
	return u, nil
}

// encode drops the spans: the path has them in any case.
func (u *unigram) encode(e *Encoder, dst []int32, word []byte) []int32 {
	dst, e.spans = u.encodeSpans(e, dst, e.spans[:0], word)
	return dst
}

// encodeSpans walks the best path from its end; neighbouring unknown characters become one.
func (u *unigram) encodeSpans(e *Encoder, dst []int32, spans []Span, word []byte) ([]int32, []Span) {
	for len(word) > maxHeapWord {
		dst, spans = u.encodeSpans(e, dst, spans, word[:maxHeapWord])
		word = word[maxHeapWord:]
	}
	u.viterbi(e, word)
	e.cuts = e.cuts[:0]
	// the path is known from its end only
	for end := len(word); end > 0; {
		p := e.best[end]
		if n := len(e.cuts); p.id == u.unk && n > 0 && e.cuts[n-1].unk {
			e.cuts[n-1].start = int(p.start)
		} else {
			e.cuts = append(e.cuts, unigramCut{int(p.start), end, p.id == u.unk})
		}
		end = int(p.start)
	}
	for i := len(e.cuts) - 1; i >= 0; i-- {
		dst, spans = u.emit(dst, spans, word, e.cuts[i])
	}
	if cap(e.best) > keepSymbols {
		e.best, e.cuts = nil, nil
	}
	return dst, spans
}

// unigramCut is a token of the best path.
type unigramCut struct {
	start, end int
	unk        bool
}

// emit appends the ids of one cut: its token, or the bytes of what is none, or the unknown token.
func (u *unigram) emit(dst []int32, spans []Span, word []byte, c unigramCut) ([]int32, []Span) {
	span, text := Span{c.start, c.end}, word[c.start:c.end]
	// unknown characters that stand together may be a token after all, as the reference looks again
	if id, ok := u.ids[string(text)]; ok {
		return append(dst, id), append(spans, span)
	}
	if u.fallback && u.hasBytes(text) {
		for _, b := range text {
			dst, spans = append(dst, u.byteID[b]), append(spans, span)
		}
		return dst, spans
	}
	if u.unk < 0 {
		return dst, spans
	}
	return append(dst, u.unk), append(spans, span)
}

// hasBytes is all or nothing: a character with one byte missing is unknown as a whole.
func (u *unigram) hasBytes(text []byte) bool {
	for _, b := range text {
		if u.byteID[b] < 0 {
			return false
		}
	}
	return true
}

// viterbi fills e.best for each place of the word that a character ends at.
func (u *unigram) viterbi(e *Encoder, word []byte) {
	if cap(e.best) < len(word)+1 {
		e.best = make([]bestPath, len(word)+1)
	}
	best := e.best[:len(word)+1]
	e.best = best
	for i := range best {
		best[i].start = -1
	}
	best[0].score = 0
	for at := 0; at < len(word); {
		score := best[at].score
		_, size := utf8.DecodeRune(word[at:])
		single, node := false, int32(0)
		for i := at; i < len(word); i++ {
			if node = u.trie.next(node, word[i]); node < 0 {
				break
			}
			id := u.trie.ids[node]
			if id < 0 {
				continue
			}
			single = single || i+1-at == size
			// of equal sums the one found first stays, that is, whose last token begins earlier
			if s, to := score+u.scores[id], &best[i+1]; to.start < 0 || s > to.score {
				*to = bestPath{s, int32(at), id}
			}
		}
		// a character that is no token must still be passed: by the unknown token, at a price that any token beats
		if !single {
			if s, to := score+u.unkScore, &best[at+size]; to.start < 0 || s > to.score {
				*to = bestPath{s, int32(at), u.unk}
			}
		}
		at += size
	}
}

// joins is as for bpe: the best path goes through a place that no token crosses, so both sides can be cut on their own.
func (u *unigram) joins() (joins [256]bool, ok bool) {
	if _, known := u.ids[mark]; !known {
		return joins, false
	}
	for name := range u.ids {
		markJoins(&joins, name)
	}
	return joins, true
}
