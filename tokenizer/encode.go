package tokenizer

import (
	"encoding/binary"
	"math/bits"

	"hone/internal/bytepair"
)

const (
	shortWord   = 16      // bytes: such words compare as two machine words
	longestWord = 46      // bytes: longer words are not remembered
	shortSlots  = 1 << 15 // 1 MiB
	longSlots   = 1 << 13 // 1 MiB
	scanWord    = 64      // symbols: longer words are merged with a heap
)

// shortEntry remembers a word of up to 16 bytes and up to three tokens.
type shortEntry struct {
	lo, hi uint64 // the word, padded with zeros
	ids    [3]int32
	length uint8 // of the word; 0 marks an empty entry
	n      uint8
}

// longEntry remembers a longer word, or one of more tokens.
type longEntry struct {
	length uint8
	n      uint8
	word   [longestWord]byte
	ids    [20]int32
}

// Encoder encodes for one goroutine. It holds a cache of recent words (2 MiB, direct-mapped: a new word replaces the old one in
// its slot, so memory is constant and nothing is allocated per word) and scratch space. What the cache holds never changes the ids.
type Encoder struct {
	t       *Tokenizer
	short   []shortEntry
	long    []longEntry
	symbols symbols // scratch, as all that follows: of bpe
	next    [scanWord]merge
	heap    wordHeap
	best    []bestPath // of unigram
	cuts    []unigramCut
	spans   []Span
	added   []addedMatch
	inner   []addedMatch
	buffers [][]byte // of edits, by slot
	form    []byte
	hits    []match
	pieces  pieces
	head    []byte // of spaced
	marked  []byte
}

// NewEncoder returns an encoder for one goroutine.
func (t *Tokenizer) NewEncoder() *Encoder {
	return &Encoder{t: t, short: make([]shortEntry, shortSlots), long: make([]longEntry, longSlots)}
}

// Encode appends the ids of text to dst. Special tokens in text are read as plain text, so nobody can smuggle them in; other added
// tokens are recognised. The reference gives the same ids with encode_special_tokens=True, add_special_tokens=False.
func (e *Encoder) Encode(dst []int32, text []byte) []int32 {
	return e.encode(dst, text, false)
}

// EncodeWithSpecial is Encode, but special tokens written in text become their ids. No BOS or EOS is added. The reference gives the
// same ids with add_special_tokens=False.
func (e *Encoder) EncodeWithSpecial(dst []int32, text []byte) []int32 {
	return e.encode(dst, text, true)
}

// word appends the ids of the word text[start:end]; text goes along so that a short word can be loaded with what follows it.
func (e *Encoder) word(dst []int32, text []byte, start, end int) []int32 {
	length := end - start
	if length > shortWord {
		return e.longWord(dst, text[start:end])
	}
	// the whole word is its key, so that a hit needs no look at the text
	lo, hi := loadShort(text, start, length)
	high, low := bits.Mul64(lo^0x9E3779B97F4A7C15, hi^uint64(length)^0xD6E8FEB86659FD93)
	s := &e.short[((high^low)*0x9E3779B97F4A7C15)>>(64-15)&(shortSlots-1)]
	if s.lo != lo || s.hi != hi || int(s.length) != length {
		return e.missShort(dst, text[start:end], shortEntry{lo: lo, hi: hi, length: uint8(length)}, s)
	}
	if n := len(dst); n+len(s.ids) <= cap(dst) { // three stores are faster than a copy of s.n
		*(*[3]int32)(dst[n : n+len(s.ids)]) = s.ids
		return dst[:n+int(s.n)]
	}
	return append(dst, s.ids[:s.n]...)
}

// loadShort reads 1 to 16 bytes at text[start], padded with zeros.
func loadShort(text []byte, start, length int) (lo, hi uint64) {
	if start+shortWord > len(text) {
		return loadLast(text[start : start+length])
	}
	b := text[start : start+shortWord]
	lo = binary.LittleEndian.Uint64(b)
	if length < 8 {
		return lo & (1<<(8*uint(length)) - 1), 0
	}
	return lo, binary.LittleEndian.Uint64(b[8:]) & (1<<(8*uint(length-8)) - 1) // a shift by 64 leaves all bits set
}

// loadLast is loadShort where fewer than 16 bytes are left of the text.
func loadLast(word []byte) (lo, hi uint64) {
	var b [shortWord]byte
	copy(b[:], word)
	return binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
}

// missShort asks the second cache and remembers here what is short enough.
func (e *Encoder) missShort(dst []int32, word []byte, fresh shortEntry, slot *shortEntry) []int32 {
	before := len(dst)
	dst = e.longWord(dst, word)
	ids := dst[before:]
	if len(ids) <= len(fresh.ids) {
		fresh.n = uint8(copy(fresh.ids[:], ids))
		*slot = fresh
	}
	return dst
}

// longWord looks in the second cache, and merges on a miss.
func (e *Encoder) longWord(dst []int32, word []byte) []int32 {
	if len(word) > longestWord {
		return e.miss(dst, word)
	}
	s := &e.long[bytepair.Hash(word)>>(64-13)]
	if string(s.word[:s.length]) == string(word) {
		return append(dst, s.ids[:s.n]...)
	}
	before := len(dst)
	dst = e.miss(dst, word)
	ids := dst[before:]
	// short words with few tokens have their place in the first cache
	if len(word) > shortWord && len(ids) <= len(s.ids) || len(ids) > 3 && len(ids) <= len(s.ids) {
		s.length = uint8(copy(s.word[:], word))
		s.n = uint8(copy(s.ids[:], ids))
	}
	return dst
}

// mergeShort merges the leftmost pair of the lowest rank of e.symbols until none is left, finding it by a scan.
func (e *Encoder) mergeShort(dst []int32, b *bpe) []int32 {
	ids := e.symbols.ids
	n := len(ids)
	for i := 0; i+1 < n; i++ {
		e.next[i] = b.merges.get(ids[i], ids[i+1])
	}
	for n > 1 {
		at, best := 0, noMerge
		for i, m := range e.next[:n-1] {
			if m < best {
				at, best = i, m
			}
		}
		if best == noMerge {
			break
		}
		ids[at] = best.id()
		copy(ids[at+1:n-1], ids[at+2:n])
		copy(e.next[at:n-2], e.next[at+1:n-1])
		n--
		if at > 0 {
			e.next[at-1] = b.merges.get(ids[at-1], ids[at])
		}
		if at+1 < n {
			e.next[at] = b.merges.get(ids[at], ids[at+1])
		}
	}
	return append(dst, ids[:n]...)
}
