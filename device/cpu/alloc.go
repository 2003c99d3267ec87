package cpu

import (
	"cmp"
	"slices"
	"sync"
	"unsafe"

	"hone/device"
	"hone/internal/mapped"
)

// Buffers live outside the Go heap, where the collector neither scans nor
// counts them. Training frees activations while gradients of other sizes
// appear, step after step in the same order, so the allocator is a best-fit
// one with coalescing: after the first step every request finds the hole it
// had before, without a system call or a page fault.
//
// Small and large buffers live in different segments: long-lived small ones
// (norm weights, scalars) would otherwise pin holes between large ones.
const (
	smallAlign   = 64      // a cache line
	largeAlign   = 4096    // a page
	largeSize    = 1 << 16 // where large begins
	segmentSmall = 64 << 20
)

// memory is the allocator of a Device.
type memory struct {
	mu           sync.Mutex
	small, large arena
	limit        int64
	inUse, peak  int64
}

// arena is a set of segments with one alignment.
type arena struct {
	align    int64
	reserve  int64 // size of a new segment
	segments []*segment
	free     []*span // sorted by size, then address
}

// segment is one contiguous reservation. Bytes below top are divided into
// spans; those above have never been touched.
type segment struct {
	index int
	bytes []byte
	top   int64
	last  *span // the span that ends at top
}

// span is a part of a segment, free or in use. The Mem of a Buffer is its span.
type span struct {
	segment    *segment
	off, size  int64
	prev, next *span // neighbours in address order
	asked      int64 // bytes that the owner asked for
	free       bool
	fresh      bool            // never used before, so that its bytes are zero
	mapping    *mapped.Scratch // whose bytes the segment is; nil but for paged buffers
}

func (s *span) base() unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(s.segment.bytes)), s.off)
}

func newMemory(limit int64) *memory {
	return &memory{
		limit: limit,
		small: arena{align: smallAlign, reserve: segmentSmall},
		large: arena{align: largeAlign, reserve: segmentLarge},
	}
}

// alloc returns a span of at least n bytes.
func (m *memory) alloc(n int64) *span {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &m.small
	if n >= largeSize {
		a = &m.large
	}
	size := max((n+a.align-1)/a.align, 1) * a.align
	s := a.take(size)
	if s == nil {
		s = m.grow(a, size)
	}
	if s == nil {
		panic(&device.OutOfMemory{Device: "cpu", Asked: n, InUse: m.inUse, Largest: a.largest()})
	}
	s.asked = n
	m.inUse += n
	m.peak = max(m.peak, m.inUse)
	return s
}

// free gives s back and joins it with its free neighbours.
func (m *memory) free(s *span) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.free {
		panic("cpu: buffer freed twice")
	}
	m.inUse -= s.asked
	a := &m.small
	if s.asked >= largeSize {
		a = &m.large
	}
	a.give(s)
}

func (m *memory) stats() device.MemoryStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return device.MemoryStats{InUse: m.inUse, Peak: m.peak, Held: m.small.held() + m.large.held()}
}

func (m *memory) resetPeak() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peak = m.inUse
}

func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range []*arena{&m.small, &m.large} {
		for _, g := range a.segments {
			unmapBytes(g.bytes)
		}
		a.segments, a.free = nil, nil
	}
}

// grow takes size bytes that were never used: behind the top of a segment, or
// from a new one. A free span at the top is extended rather than left behind.
func (m *memory) grow(a *arena, size int64) *span {
	held := m.small.held() + m.large.held()
	for _, g := range a.segments {
		more := size
		if g.last != nil && g.last.free {
			more -= g.last.size
		}
		if g.top+more <= int64(len(g.bytes)) {
			if m.limit > 0 && held+more > m.limit {
				return nil
			}
			return a.extend(g, size)
		}
	}
	if m.limit > 0 && held+size > m.limit {
		return nil
	}
	g := a.newSegment(size)
	if g == nil {
		return nil
	}
	return a.extend(g, size)
}

// extend moves the top of g so that its last span is in use and has size bytes.
func (a *arena) extend(g *segment, size int64) *span {
	off, prev := g.top, g.last
	if prev != nil && prev.free {
		a.remove(prev)
		off, prev = prev.off, prev.prev
	}
	s := &span{segment: g, off: off, size: size, prev: prev, fresh: off == g.top}
	if prev != nil {
		prev.next = s
	}
	g.last, g.top = s, off+size
	return s
}

// newSegment reserves address space for at least size bytes, as much as the
// system lets us have up to the arena's wish.
func (a *arena) newSegment(size int64) *segment {
	for n := max(size, a.reserve); ; n = max(size, n/2) {
		if bytes := mapBytes(n); bytes != nil {
			g := &segment{index: len(a.segments), bytes: bytes}
			a.segments = append(a.segments, g)
			return g
		}
		if n == size {
			return nil
		}
	}
}

// take is the smallest free span that holds size bytes, the rest split off.
// Of equal ones it takes the lowest, so that the top of a segment stays free.
func (a *arena) take(size int64) *span {
	i, _ := slices.BinarySearchFunc(a.free, size, func(s *span, size int64) int {
		return cmp.Or(cmp.Compare(s.size, size), 1) // the first of those not smaller
	})
	if i == len(a.free) {
		return nil
	}
	f := a.free[i]
	a.free = slices.Delete(a.free, i, i+1)
	// A new span, so that a stale handle of an earlier owner stays a freed one.
	s := &span{segment: f.segment, off: f.off, size: size, prev: f.prev, next: f.next}
	if f.size > size {
		rest := &span{segment: f.segment, off: f.off + size, size: f.size - size, prev: s, next: f.next, free: true}
		s.next = rest
		rest.link()
		a.insert(rest)
	}
	s.link()
	return s
}

// give makes s free.
func (a *arena) give(s *span) {
	f := &span{segment: s.segment, off: s.off, size: s.size, prev: s.prev, next: s.next, free: true}
	if p := f.prev; p != nil && p.free {
		a.remove(p)
		f.off, f.size, f.prev = p.off, f.size+p.size, p.prev
	}
	if n := f.next; n != nil && n.free {
		a.remove(n)
		f.size, f.next = f.size+n.size, n.next
	}
	f.link()
	a.insert(f)
	*s = span{segment: s.segment, free: true} // what is left of s only tells that it is freed
}

// link makes s's neighbours know it.
func (s *span) link() {
	if s.prev != nil {
		s.prev.next = s
	}
	if s.next != nil {
		s.next.prev = s
	} else {
		s.segment.last = s
	}
}

func compareSpans(a, b *span) int {
	return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.segment.index, b.segment.index), cmp.Compare(a.off, b.off))
}

func (a *arena) insert(s *span) {
	i, _ := slices.BinarySearchFunc(a.free, s, compareSpans)
	a.free = slices.Insert(a.free, i, s)
}

func (a *arena) remove(s *span) {
	i, found := slices.BinarySearchFunc(a.free, s, compareSpans)
	if !found {
		panic("cpu: the allocator's list of free spans is damaged")
	}
	a.free = slices.Delete(a.free, i, i+1)
}

// held is the number of bytes below the tops.
func (a *arena) held() int64 {
	var n int64
	for _, g := range a.segments {
		n += g.top
	}
	return n
}

func (a *arena) largest() int64 {
	if len(a.free) == 0 {
		return 0
	}
	return a.free[len(a.free)-1].size
}
