package tokenizer

import (
	"math"
	"math/bits"
)

// pair is two neighbouring token ids, left in the upper half: the order of pairs is (left, right) ascending.
type pair uint64

func makePair(left, right int32) pair { return pair(uint32(left))<<32 | pair(uint32(right)) }

func (p pair) left() int32  { return int32(p >> 32) }
func (p pair) right() int32 { return int32(uint32(p)) }

// merge is what a pair becomes: rank in the upper half, id of the merged token in the lower. Comparing merges compares ranks.
type merge uint64

const noMerge merge = math.MaxUint64

func makeMerge(rank int, id int32) merge { return merge(rank)<<32 | merge(uint32(id)) }

func (m merge) rank() uint32 { return uint32(m >> 32) }
func (m merge) id() int32    { return int32(uint32(m)) }

// mergeTable finds the merge of a pair: open addressing with linear probing, at most half full, so a miss ends after a probe or two.
type mergeTable struct {
	slots []mergeSlot
	shift uint8
}

type mergeSlot struct {
	pair  pair
	merge merge // noMerge marks an empty slot
}

func newMergeTable(n int) mergeTable {
	size := 1 << bits.Len(uint(max(2*n, 16)-1))
	t := mergeTable{slots: make([]mergeSlot, size), shift: uint8(64 - bits.Len(uint(size-1)))}
	for i := range t.slots {
		t.slots[i].merge = noMerge
	}
	return t
}

func (t *mergeTable) start(p pair) uint64 { return (uint64(p) * 0x9E3779B97F4A7C15) >> t.shift }

// set adds or replaces; the table must have been made for as many pairs.
func (t *mergeTable) set(p pair, m merge) {
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
	p := makePair(left, right)
	mask := uint64(len(t.slots) - 1)
	for i := t.start(p); ; i = (i + 1) & mask {
		s := &t.slots[i&mask]
		if s.pair == p || s.merge == noMerge {
			return s.merge
		}
	}
}
