package bytepair

import (
	"bytes"
	"math/bits"
	"slices"
)

// wordTable counts distinct words: open addressing over entries whose bytes lie in one arena.
type wordTable struct {
	slots   []uint32 // index into entries plus one; 0 is empty
	entries []wordCount
	arena   []byte
}

type wordCount struct {
	count  int64
	hash   uint64
	offset int
	length int
}

// newWordTable makes a table with room for n words, at most half full, so that a look-up ends after a probe or two.
func newWordTable(n int) *wordTable {
	return &wordTable{slots: make([]uint32, 1<<bits.Len(uint(max(2*n, 1024)-1)))}
}

// word is the bytes of an entry, good until the table is reset.
func (w *wordTable) word(e *wordCount) []byte { return w.arena[e.offset : e.offset+e.length] }

// add copies the word, whose text is overwritten in the next round.
func (w *wordTable) add(word []byte, count int64) { w.addHashed(word, Hash(word), count) }

// addHashed is add for a word whose hash is known, as when tables are joined.
func (w *wordTable) addHashed(word []byte, hash uint64, count int64) {
	mask := uint64(len(w.slots) - 1)
	i := hash >> 20 & mask
	for ; w.slots[i] != 0; i = (i + 1) & mask {
		e := &w.entries[w.slots[i]-1]
		if e.hash == hash && string(w.word(e)) == string(word) {
			e.count += count
			return
		}
	}
	w.entries = append(w.entries, wordCount{count: count, hash: hash, offset: len(w.arena), length: len(word)})
	w.arena = append(w.arena, word...)
	w.slots[i] = uint32(len(w.entries))
	if 2*len(w.entries) > len(w.slots) {
		w.rehash(2 * len(w.slots))
	}
}

// rehash makes room without touching the words: each entry keeps its hash for that.
func (w *wordTable) rehash(size int) {
	w.slots = make([]uint32, size)
	mask := uint64(size - 1)
	for n := range w.entries {
		i := w.entries[n].hash >> 20 & mask
		for w.slots[i] != 0 {
			i = (i + 1) & mask
		}
		w.slots[i] = uint32(n + 1)
	}
}

// reset keeps the memory, since the next round has about as many words.
func (w *wordTable) reset() {
	clear(w.slots)
	w.entries, w.arena = w.entries[:0], w.arena[:0]
}

// addAll adds the counts of another table.
func (w *wordTable) addAll(other *wordTable) {
	for i := range other.entries {
		e := &other.entries[i]
		w.addHashed(other.word(e), e.hash, e.count)
	}
}

// prune returns a table without the rarest words: those seen once go, then those seen twice, and so on until at most limit words
// of limitBytes in all are left. Which words go depends on the counts only.
func (w *wordTable) prune(limit, limitBytes int) *wordTable {
	for rarest := int64(1); ; rarest++ {
		words, size := 0, 0
		for i := range w.entries {
			if w.entries[i].count > rarest {
				words++
				size += w.entries[i].length
			}
		}
		if words > limit || size > limitBytes {
			continue
		}
		kept := newWordTable(words)
		for i := range w.entries {
			if e := &w.entries[i]; e.count > rarest {
				kept.addHashed(w.word(e), e.hash, e.count)
			}
		}
		return kept
	}
}

// sorted orders the words by their bytes, so that nothing later can depend on who counted what.
func (w *wordTable) sorted() []wordCount {
	out := slices.Clone(w.entries)
	slices.SortFunc(out, func(a, b wordCount) int { return bytes.Compare(w.word(&a), w.word(&b)) })
	return out
}
