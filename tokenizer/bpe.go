package tokenizer

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"hone/internal/bytepair"
)

// bpe merges pairs of symbols, lowest rank first (Sennrich, Haddow, Birch: Neural Machine Translation of Rare Words with Subword Units,
// 2016). A word's first symbols are its bytes, as in GPT-2, or its characters, as in SentencePiece. The reference is tokenizers'
// models/bpe/model.rs, which says what becomes of unknown characters, and word.rs, which says in which order pairs merge.
type bpe struct {
	merges    mergeTable
	mergeList []bytepair.Pair  // in order of rank, for Save
	whole     map[string]int32 // word -> id; only with ignore_merges
	bytes     bool             // symbols are bytes
	byteID    [256]int32       // of each byte, or of <0x..>, which stands for it; -1 where there is none
	ascii     [utf8.RuneSelf]int32
	chars     map[string]int32 // the vocabulary, where symbols are characters
	fallback  bool             // unknown characters become bytes
	unk       int32            // -1 where there is none
	fuseUnk   bool
	prefix    string // of symbols that do not start a word
	suffix    string // of the symbol that ends a word
}

// symbols is a word before merging: ids and the bytes that each covers.
type symbols struct {
	ids        []int32
	start, end []int32
}

// newBPE builds the tables; bytes says that words are bytes, not characters.
func newBPE(m *model, bytes bool) (*bpe, error) {
	b := &bpe{bytes: bytes, unk: -1, fallback: m.byteFallback, fuseUnk: m.fuseUnk, prefix: m.prefix, suffix: m.suffix}
	if err := b.setSymbols(m); err != nil {
		return nil, err
	}
	// Llama 3 has words that its merges do not lead to: with ignore_merges a word that is a token is looked up whole
	if m.ignoreMerges {
		b.whole = make(map[string]int32, len(m.vocab))
		for name, id := range m.vocab {
			word, ok := name, true
			if bytes {
				var raw []byte
				raw, ok = bytepair.ByteAlphabet().Read(name)
				word = string(raw)
			}
			if ok {
				b.whole[word] = id
			}
		}
	}
	return b, b.setMerges(m)
}

// setSymbols fills the tables of first symbols.
func (b *bpe) setSymbols(m *model) error {
	for i := range b.byteID {
		name := fmt.Sprintf("<0x%02X>", i)
		if b.bytes {
			name = string(bytepair.ByteAlphabet().Spelling[i])
		}
		id, ok := m.vocab[name]
		if !ok {
			id = -1
		}
		b.byteID[i] = id
	}
	if b.bytes {
		return nil
	}
	if m.unk != "" {
		id, ok := m.vocab[m.unk]
		if !ok {
			return fmt.Errorf("model.unk_token %q is not in model.vocab", m.unk)
		}
		b.unk = id
	}
	b.chars = m.vocab
	for r := range b.ascii {
		id, ok := m.vocab[string(rune(r))]
		if !ok {
			id = -1
		}
		b.ascii[r] = id
	}
	return nil
}

// setMerges fills the table of merges. Of a pair that is listed twice the last counts, as in the reference's map.
func (b *bpe) setMerges(m *model) error {
	b.merges = newMergeTable(len(m.merges))
	b.mergeList = make([]bytepair.Pair, 0, len(m.merges))
	for rank, pieces := range m.merges {
		left, ok1 := m.vocab[pieces[0]]
		right, ok2 := m.vocab[pieces[1]]
		// the pieces a and ##b make ab: the prefix of the second is not part of the result
		tail := pieces[1]
		if m.prefix != "" {
			if len(tail) < len(m.prefix) {
				return fmt.Errorf("merge %d (%q + %q): the second piece is shorter than continuing_subword_prefix %q", rank, pieces[0], tail, m.prefix)
			}
			tail = tail[len(m.prefix):]
		}
		id, ok3 := m.vocab[pieces[0]+tail]
		if !ok1 || !ok2 || !ok3 {
			return fmt.Errorf("merge %d (%q + %q): the pieces and the result must be in model.vocab", rank, pieces[0], pieces[1])
		}
		// SentencePiece's merges have the score of their result for a rank, so several may have the same; the leftmost goes first then
		order := rank
		if m.ranks != nil {
			order = int(m.ranks[rank])
		}
		b.merges.set(bytepair.MakePair(left, right), makeMerge(order, id))
		b.mergeList = append(b.mergeList, bytepair.MakePair(left, right))
	}
	return nil
}

// load cuts a word into its first symbols.
func (b *bpe) load(s *symbols, word []byte) {
	s.ids, s.start, s.end = s.ids[:0], s.start[:0], s.end[:0]
	if len(word) > cap(s.ids) { // lists that grow step by step would take twice the memory, which a text of one long word feels
		s.ids, s.start, s.end = slices.Grow(s.ids, len(word)), slices.Grow(s.start, len(word)), slices.Grow(s.end, len(word))
	}
	if !b.bytes {
		b.loadChars(s, word)
		return
	}
	// a byte without a token is left out, as the reference does; see MissingBytes
	for i, c := range word {
		if id := b.byteID[c]; id >= 0 {
			s.add(id, i, i+1)
		}
	}
}

// add appends a symbol for the bytes [start, end) of the word.
func (s *symbols) add(id int32, start, end int) {
	s.ids, s.start, s.end = append(s.ids, id), append(s.start, int32(start)), append(s.end, int32(end))
}

// loadChars finds characters in the vocabulary, then their bytes, then the unknown token. As in the reference an unknown token waits
// until a known character or the end, to grow where fuse_unk says so.
func (b *bpe) loadChars(s *symbols, word []byte) {
	unkStart, unkEnd := -1, 0 // the unknown token that waits
	for i := 0; i < len(word); {
		_, size := utf8.DecodeRune(word[i:])
		id, ok := b.char(word[i:i+size], i == 0, i+size == len(word))
		switch {
		case ok:
			if unkStart >= 0 {
				s.add(b.unk, unkStart, unkEnd)
				unkStart = -1
			}
			s.add(id, i, i+size)
		// bytes do not end an unknown token that waits: it comes out after them, which is the reference's order
		case b.fallback && b.loadBytes(s, word, i, size):
		case b.unk >= 0:
			if unkStart >= 0 && !b.fuseUnk {
				s.add(b.unk, unkStart, unkEnd)
				unkStart = -1
			}
			if unkStart < 0 {
				unkStart = i
			}
			unkEnd = i + size
		}
		i += size
	}
	if unkStart >= 0 {
		s.add(b.unk, unkStart, unkEnd)
	}
}

// char returns the id of a character, with the prefix and suffix of its place.
func (b *bpe) char(c []byte, first, last bool) (id int32, ok bool) {
	prefixed, suffixed := b.prefix != "" && !first, b.suffix != "" && last
	// such vocabularies are old and small; their words are looked up by name
	if prefixed || suffixed {
		name := string(c)
		if prefixed {
			name = b.prefix + name
		}
		if suffixed {
			name += b.suffix
		}
		id, ok = b.chars[name]
		return id, ok
	}
	if c[0] < utf8.RuneSelf {
		id = b.ascii[c[0]]
		return id, id >= 0
	}
	id, ok = b.chars[string(c)]
	return id, ok
}

// loadBytes adds the tokens that stand for the bytes of a character; false when one is missing.
func (b *bpe) loadBytes(s *symbols, word []byte, i, size int) bool {
	if b.prefix != "" || b.suffix != "" {
		return false
	}
	for _, c := range word[i : i+size] {
		if b.byteID[c] < 0 {
			return false
		}
	}
	for j := i; j < i+size; j++ {
		s.add(b.byteID[word[j]], j, j+1)
	}
	return true
}

// encode appends the ids of a word.
func (b *bpe) encode(e *Encoder, dst []int32, word []byte) []int32 {
	if b.whole != nil {
		if id, ok := b.whole[string(word)]; ok {
			return append(dst, id)
		}
	}
	if b.bytes && len(word) > hugeWord {
		if ids, ok := b.inWindows(dst, word, windowBytes, cutTail); ok {
			return ids
		}
	}
	// words of more than 1 GiB, which nobody has, are cut at any byte
	for len(word) > maxHeapWord {
		dst = b.encodePart(e, dst, word[:maxHeapWord])
		word = word[maxHeapWord:]
	}
	return b.encodePart(e, dst, word)
}

// encodePart merges short words by scanning for the next merge each time, which is quadratic but needs no lists, and long ones with a heap.
func (b *bpe) encodePart(e *Encoder, dst []int32, word []byte) []int32 {
	b.load(&e.symbols, word)
	if len(e.symbols.ids) > scanWord {
		dst = e.heap.merge(dst, b, &e.symbols)
		e.symbols.shrink()
		e.heap.shrink()
		return dst
	}
	return e.mergeShort(dst, b)
}

// shrink gives scratch of a very long word back.
func (s *symbols) shrink() {
	if cap(s.ids) > keepSymbols {
		*s = symbols{}
	}
}

// encodeSpans is encode with the bytes of the word that each id covers.
func (b *bpe) encodeSpans(e *Encoder, dst []int32, spans []Span, word []byte) ([]int32, []Span) {
	if id, ok := b.whole[string(word)]; ok {
		return append(dst, id), append(spans, Span{0, len(word)})
	}
	for done := 0; done < len(word); {
		part := word[done:min(len(word), done+maxHeapWord)]
		b.load(&e.symbols, part)
		dst = e.heap.merge(dst, b, &e.symbols)
		for i, id := range e.heap.ids {
			if id >= 0 {
				spans = append(spans, Span{done + int(e.symbols.start[i]), done + int(e.symbols.end[i])})
			}
		}
		e.symbols.shrink()
		e.heap.shrink()
		done += len(part)
	}
	return dst, spans
}

// joins reports for each byte whether some merge makes a token in which a character that ends with this byte stands before the visible
// space. Where that is not so, no merge can ever cross the place between them. ok is false where nothing can be said.
func (b *bpe) joins(m *model) (joins [256]bool, ok bool) {
	if _, known := m.vocab[mark]; !known || b.bytes || b.prefix != "" || b.suffix != "" || m.ignoreMerges {
		return joins, false
	}
	for _, pieces := range m.merges {
		for _, p := range pieces {
			if _, ok := byteToken(p); ok {
				return joins, false // a byte that merges: its text is not its name
			}
		}
		markJoins(&joins, pieces[0]+pieces[1])
	}
	return joins, true
}
