package tokenizer

import (
	"fmt"
	"unicode/utf8"
)

// wordPiece cuts a word from the left, each time taking the longest token; tokens inside a word are spelled with a prefix. A word that
// cannot be cut to its end is unknown as a whole (BERT's tokenization.py, WordpieceTokenizer; tokenizers' models/wordpiece/mod.rs).
type wordPiece struct {
	start, inside *trie
	unk           int32
	maxChars      int
}

// newWordPiece needs the unknown token: there is no other way out of a word that cannot be cut.
func newWordPiece(m *model) (*wordPiece, error) {
	unk, ok := m.vocab[m.unk]
	if !ok {
		return nil, fmt.Errorf("model.unk_token %q is not in model.vocab", m.unk)
	}
	size, inside := 0, 0
	for name := range m.vocab {
		size += len(name)
		if len(name) > len(m.prefix) && name[:len(m.prefix)] == m.prefix {
			inside += len(name)
		}
	}
	// two tries, so that no prefix is looked at again for each token; tokens with a prefix may start a word, too, when it is written there
	w := &wordPiece{start: newTrie(size), inside: newTrie(inside), unk: unk, maxChars: m.maxChars}
	for name, id := range m.vocab {
		w.start.add(name, id)
		if len(name) > len(m.prefix) && name[:len(m.prefix)] == m.prefix {
			w.inside.add(name[len(m.prefix):], id)
		}
	}
	return w, nil
}

// encode drops the spans.
func (w *wordPiece) encode(e *Encoder, dst []int32, word []byte) []int32 {
	dst, e.spans = w.encodeSpans(e, dst, e.spans[:0], word)
	return dst
}

// encodeSpans is greedy: a shorter first token that would let the word be cut to its end is not tried.
func (w *wordPiece) encodeSpans(_ *Encoder, dst []int32, spans []Span, word []byte) ([]int32, []Span) {
	n, s := len(dst), len(spans)
	tokens := w.start
	// the limit is the reference's, against words that are no words; it also bounds the search
	if len(word) > w.maxChars && utf8.RuneCount(word) > w.maxChars {
		return append(dst, w.unk), append(spans, Span{0, len(word)})
	}
	for at := 0; at < len(word); {
		id, end := tokens.longest(word, at)
		if id < 0 { // what was found so far is dropped
			return append(dst[:n], w.unk), append(spans[:s], Span{0, len(word)})
		}
		dst, spans = append(dst, id), append(spans, Span{at, end})
		at, tokens = end, w.inside
	}
	return dst, spans
}

// longest returns the longest token at text[at] and its end, or -1.
func (t *trie) longest(text []byte, at int) (id int32, end int) {
	id = -1
	node := int32(0)
	for i := at; i < len(text); i++ {
		if node = t.next(node, text[i]); node < 0 {
			break
		}
		if t.ids[node] >= 0 {
			id, end = t.ids[node], i+1
		}
	}
	return id, end
}

// wordLevel looks whole words up.
type wordLevel struct {
	ids map[string]int32
	unk int32
}

// newWordLevel needs the unknown token, as newWordPiece does.
func newWordLevel(m *model) (*wordLevel, error) {
	unk, ok := m.vocab[m.unk]
	if !ok {
		return nil, fmt.Errorf("model.unk_token %q is not in model.vocab", m.unk)
	}
	return &wordLevel{m.vocab, unk}, nil
}

// encode gives every word one id.
func (w *wordLevel) encode(_ *Encoder, dst []int32, word []byte) []int32 {
	if id, ok := w.ids[string(word)]; ok {
		return append(dst, id)
	}
	return append(dst, w.unk)
}

// encodeSpans covers the whole word.
func (w *wordLevel) encodeSpans(e *Encoder, dst []int32, spans []Span, word []byte) ([]int32, []Span) {
	return w.encode(e, dst, word), append(spans, Span{0, len(word)})
}
