package cuda

import (
	"slices"
	"sync"
	"sync/atomic"

	"hone/device"
	"hone/internal/arena"
)

// tileCache holds what blocks of attention work on, for the last sequences, on the card: all layers of a model are called with
// the same.
type tileCache struct {
	mu        sync.Mutex // held while a call of Attention is queued
	sequences []device.Sequence
	lists     map[division]*tileList
	ended     *arena.Span  // counters of kernels/decode.cuh, 0 unless one runs
	bytes     atomic.Int64 // of all of it on the card
}

// take is room for the cache, give gives it back. Both count it, so that Memory leaves it out without a lock.
func (t *tileCache) take(d *Device, n int64) *arena.Span {
	s := d.room(n)
	t.bytes.Add(s.Size())
	return s
}

func (t *tileCache) give(d *Device, s *arena.Span) {
	t.bytes.Add(-s.Size())
	d.arena.Free(s)
}

// counters are n of ended, more where there are too few. Kernels leave them at 0, so they are cleared when they are made and never again.
func (t *tileCache) counters(d *Device, n int) pointer {
	if size := int64(n) * 4; t.ended == nil || t.ended.Size() < size {
		if t.ended != nil {
			t.give(d, t.ended)
			t.ended = nil
		}
		t.ended = t.take(d, max(size, 4<<10))
		d.fail(d.driver.clear(pointer(t.ended.Base()), t.ended.Size()))
	}
	return pointer(t.ended.Base())
}

// division says how sequences are divided: their queries or keys into tiles (struct Tile of kernels/attention.cuh), or the keys that
// queries see in a window into parts (struct Part of kernels/decode.cuh). own is the size of each.
type division struct {
	what        divided
	own, window int
}

// divided says what of sequences is divided.
type divided uint8

const (
	queries divided = iota // rows of O and dQ, for the forward pass and dQ
	keys                   // rows of dK and dV
	parts                  // of the keys that few queries see, for decoding
)

// tileList is a list on the card.
type tileList struct {
	memory  *arena.Span
	n       int
	queries int  // of parts: the most of a sequence
	cut     bool // of parts: a sequence has more than one
	// own, of parts, are the rows of the cache that the sequences' own keys are in, one for each query in order; nil where queries are not the
	// rows of the sequences one after the other, or a sequence sees keys of another.
	own []int32
}

func (l *tileList) at() pointer { return pointer(l.memory.Base()) }

// of puts a list of a call's sequences on the card unless it is there.
func (t *tileCache) of(d *Device, a device.Attention, how division) *tileList {
	if t.lists == nil || !slices.Equal(t.sequences, a.Sequences) {
		for _, l := range t.lists {
			t.give(d, l.memory)
		}
		t.lists, t.sequences = map[division]*tileList{}, slices.Clone(a.Sequences)
	}
	l, ok := t.lists[how]
	if !ok {
		var words []int32
		l = &tileList{}
		if how.what == parts {
			words = l.addParts(a.Sequences, how)
		} else {
			words = l.addTiles(a.Sequences, how)
		}
		l.memory = t.take(d, int64(len(words))*4)
		write(d, l.at(), words, keep)
		t.lists[how] = l
	}
	return l
}

// tile is a part of a sequence from its query, or key, first on.
type tile struct {
	device.Sequence
	first int
}

// addTiles orders tiles by the work in them, most first, so that no long one begins when all others are done.
func (l *tileList) addTiles(sequences []device.Sequence, how division) (words []int32) {
	var tiles []tile
	for _, s := range sequences {
		n := s.QLen
		if how.what == keys {
			n = s.KLen
		}
		for first := 0; first < n; first += how.own {
			tiles = append(tiles, tile{s, first})
		}
	}
	work := func(t tile) int {
		if how.what == keys {
			return t.KLen - t.first
		}
		return t.KLen - t.QLen + t.first
	}
	slices.SortStableFunc(tiles, func(x, y tile) int { return work(y) - work(x) })
	for _, t := range tiles {
		words = append(words, int32(t.Q), int32(t.QLen), int32(t.K), int32(t.KLen), int32(t.first))
	}
	l.n = len(tiles)
	return words
}

// addParts keeps the parts of a sequence together, in order.
func (l *tileList) addParts(sequences []device.Sequence, how division) (words []int32) {
	l.own = ownKeys(sequences)
	for _, s := range sequences {
		if s.QLen == 0 {
			continue
		}
		lo := 0
		if how.window > 0 {
			lo = max(0, s.KLen-s.QLen-how.window+1) / how.own * how.own
		}
		count := over(s.KLen-lo, how.own)
		for i := range count {
			words = append(words, int32(s.Q), int32(s.QLen), int32(s.K), int32(s.KLen), int32(lo+i*how.own), int32(i), int32(count))
		}
		l.n, l.queries, l.cut = l.n+count, max(l.queries, s.QLen), l.cut || count > 1
	}
	return words
}

// ownKeys are tileList.own.
func ownKeys(sequences []device.Sequence) (rows []int32) {
	for _, s := range sequences {
		if s.Q != len(rows) {
			return nil
		}
		for i := range s.QLen {
			rows = append(rows, int32(s.K+s.KLen-s.QLen+i))
		}
	}
	byKeys := slices.SortedFunc(slices.Values(sequences), func(x, y device.Sequence) int { return x.K - y.K })
	for i := 1; i < len(byKeys); i++ {
		if byKeys[i].K < byKeys[i-1].K+byKeys[i-1].KLen {
			return nil
		}
	}
	return rows
}
