package tokenizer

import (
	"math"
	"math/bits"
	"slices"

	"hone/internal/bytepair"
)

// merge is what a pair becomes: rank in the upper half, id of the merged token in the lower. Comparing merges compares ranks.
type merge uint64

const noMerge merge = math.MaxUint64

// makeMerge packs both into one word, so that the scan for the lowest rank compares words and needs no second look-up for the id.
func makeMerge(rank int, id int32) merge { return merge(rank)<<32 | merge(uint32(id)) }

func (m merge) rank() uint32 { return uint32(m >> 32) }
func (m merge) id() int32    { return int32(uint32(m)) }

// mergeTable finds the merge of a pair: open addressing with linear probing, at most half full, so a miss ends after a probe or two.
type mergeTable struct {
	slots []mergeSlot
	shift uint8
}

type mergeSlot struct {
	pair  bytepair.Pair
	merge merge // noMerge marks an empty slot
}

// newMergeTable makes an empty table for n pairs.
func newMergeTable(n int) mergeTable {
	size := 1 << bits.Len(uint(max(2*n, 16)-1))
	t := mergeTable{slots: make([]mergeSlot, size), shift: uint8(64 - bits.Len(uint(size-1)))}
	for i := range t.slots {
		t.slots[i].merge = noMerge
	}
	return t
}

// The multiplier is 2 to the 64 divided by the golden ratio (Knuth's multiplicative hashing); the upper bits are the best.
func (t *mergeTable) start(p bytepair.Pair) uint64 {
	return (uint64(p) * 0x9E3779B97F4A7C15) >> t.shift
}

// set adds or replaces; the table must have been made for as many pairs.
func (t *mergeTable) set(p bytepair.Pair, m merge) {
	mask := uint64(len(t.slots) - 1)
	for i := t.start(p); ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.merge == noMerge || s.pair == p {
			*s = mergeSlot{p, m}
			return
		}
	}
}

// get returns the pair's merge or noMerge.
func (t *mergeTable) get(left, right int32) merge {
	p := bytepair.MakePair(left, right)
	mask := uint64(len(t.slots) - 1)
	for i := t.start(p); ; i = (i + 1) & mask {
		s := &t.slots[i&mask]
		if s.pair == p || s.merge == noMerge {
			return s.merge
		}
	}
}

// wordHeap merges long words (runs of one class, base64, ideographs) in O(n log n): the symbols are a linked list over the word's
// bytes, and a heap holds the places where a merge is possible. A heap entry is outdated when its pair is no longer there.
type wordHeap struct {
	ids        []int32 // of the symbol that starts here; -1 once merged into its left neighbour
	prev, next []int32
	heap       []place
	steps      int // heap entries taken, ever: the measure of work in the tests
	logs       bool
	log        []logged // merges of the last word, in their order, where logs is set
}

// logged is a merge: its rank, the symbol that it made, where that begins and where the next one does.
type logged struct {
	rank         uint32
	id, at, next int32
}

// place orders merges by rank, then from left to right.
type place struct {
	rank uint32
	at   int32
}

// before decides between equal ranks by place: the leftmost pair merges first, which matters in runs such as aaa.
func (a place) before(b place) bool { return a.rank < b.rank || a.rank == b.rank && a.at < b.at }

const (
	keepSymbols = 1 << 20 // scratch for longer words is given back afterwards
	maxHeapWord = 1 << 30 // bytes; places are int32, so longer words are merged in parts
)

// merge appends the ids that symbols merge to. Afterwards h.ids holds, for each symbol, the id that starts there or -1, and s.end its end.
func (h *wordHeap) merge(dst []int32, b *bpe, s *symbols) []int32 {
	h.load(b, s)
	h.log = h.log[:0]
	for len(h.heap) > 0 {
		top := h.pop()
		h.steps++
		right := h.next[top.at]
		if h.ids[top.at] < 0 || right < 0 {
			continue
		}
		m := b.merges.get(h.ids[top.at], h.ids[right])
		if m == noMerge || m.rank() != top.rank {
			continue
		}
		h.join(top.at, right, m.id())
		s.end[top.at] = s.end[right]
		if h.logs {
			h.log = append(h.log, logged{m.rank(), m.id(), top.at, h.next[top.at]})
		}
		if left := h.prev[top.at]; left >= 0 {
			h.offer(b, left, top.at)
		}
		if after := h.next[top.at]; after >= 0 {
			h.offer(b, top.at, after)
		}
	}
	for _, id := range h.ids {
		if id >= 0 {
			dst = append(dst, id)
		}
	}
	return dst
}

// shrink gives scratch of a very long word back.
func (h *wordHeap) shrink() {
	if cap(h.ids) > keepSymbols {
		*h = wordHeap{steps: h.steps}
	}
}

// load links the symbols and makes a heap of all merges that are possible at the start, bottom up.
func (h *wordHeap) load(b *bpe, s *symbols) {
	h.ids, h.prev, h.next, h.heap = append(h.ids[:0], s.ids...), slices.Grow(h.prev[:0], len(s.ids)), slices.Grow(h.next[:0], len(s.ids)), h.heap[:0]
	for n := range int32(len(s.ids)) {
		h.prev, h.next = append(h.prev, n-1), append(h.next, n+1)
	}
	if n := len(h.next); n > 0 {
		h.next[n-1] = -1
	}
	for i := 0; i+1 < len(h.ids); i++ {
		if m := b.merges.get(h.ids[i], h.ids[i+1]); m != noMerge {
			h.heap = append(h.heap, place{m.rank(), int32(i)})
		}
	}
	for i := len(h.heap)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

// join makes the symbols at and right one.
func (h *wordHeap) join(at, right, id int32) {
	h.ids[at], h.ids[right] = id, -1
	h.next[at] = h.next[right]
	if after := h.next[at]; after >= 0 {
		h.prev[after] = at
	}
}

// offer puts a possible merge into the heap. What it replaces stays there and is found outdated.
func (h *wordHeap) offer(b *bpe, left, right int32) {
	m := b.merges.get(h.ids[left], h.ids[right])
	if m == noMerge {
		return
	}
	h.heap = append(h.heap, place{m.rank(), left})
	i := len(h.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !h.heap[i].before(h.heap[up]) {
			return
		}
		h.heap[i], h.heap[up] = h.heap[up], h.heap[i]
		i = up
	}
}

// pop and down are container/heap without its interface, whose calls cost more than the comparisons.
func (h *wordHeap) pop() place {
	top, n := h.heap[0], len(h.heap)-1
	h.heap[0] = h.heap[n]
	h.heap = h.heap[:n]
	h.down(0)
	return top
}

// down moves a place to where the heap wants it.
func (h *wordHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.heap) {
			return
		}
		if child+1 < len(h.heap) && h.heap[child+1].before(h.heap[child]) {
			child++
		}
		if !h.heap[child].before(h.heap[i]) {
			return
		}
		h.heap[i], h.heap[child] = h.heap[child], h.heap[i]
		i = child
	}
}
