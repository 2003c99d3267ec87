// Package arena divides memory that comes in large pieces into buffers.
//
// Training frees activations while gradients of other sizes appear, step after step in the same order, so the allocator is
// a best-fit one with coalescing: after the first step every request finds the hole it had before, without asking the system.
// Small and large buffers live in different segments: long-lived small ones (norm weights, scalars) would otherwise pin
// holes between large ones.
package arena

import (
	"cmp"
	"slices"
	"sync"
)

// Source is where memory comes from: address space first, memory behind it when it is needed.
type Source interface {
	// Reserve takes size bytes of address space, or says that there are none.
	Reserve(size int64) (base uintptr, ok bool)
	// Commit puts memory behind bytes lo to hi of a reservation; lo is where the last Commit ended.
	Commit(base uintptr, lo, hi int64) bool
}

// Sizes are the settings of an Arena.
type Sizes struct {
	SmallAlign, LargeAlign     int64 // of small and large buffers
	Large                      int64 // where large begins
	LargeGap                   int64 // bytes left free behind each large buffer where there is room, a multiple of LargeAlign
	SmallSegment, LargeSegment int64 // reservations, unless a buffer needs more; half as much when there is not so much
	Limit                      int64 // the most bytes in use from the source; 0 for no limit
}

// Arena is an allocator; see the package.
type Arena struct {
	mu          sync.Mutex
	source      Source
	limit       int64
	large       int64
	pools       [2]pool // small, large
	inUse, peak int64
}

// pool is a set of segments with one alignment.
type pool struct {
	align    int64
	gap      int64
	reserve  int64
	segments []*segment
	free     []*Span // sorted by size, then address
	slab     []Span  // for the next spans
}

// segment is one reservation. Bytes below top are divided into spans; those above have never been used.
type segment struct {
	index     int
	base      uintptr
	size, top int64
	last      *Span // that ends at top
}

// Span is a part of a segment, free or in use.
type Span struct {
	segment    *segment
	off, size  int64
	prev, next *Span // neighbours in address order
	asked      int64 // bytes that the owner asked for
	free       bool
	fresh      bool
}

// Base is the address of the first byte.
func (s *Span) Base() uintptr { return s.segment.base + uintptr(s.off) }

// Place is the base of the reservation that the span lies in and the span's offset there.
func (s *Span) Place() (base uintptr, off int64) { return s.segment.base, s.off }

// Fresh says whether no earlier span had any of these bytes.
func (s *Span) Fresh() bool { return s.fresh }

// Size is the number of bytes that were asked for.
func (s *Span) Size() int64 { return s.asked }

// New returns an allocator of memory of source.
func New(source Source, z Sizes) *Arena {
	return &Arena{source: source, limit: z.Limit, large: z.Large, pools: [2]pool{
		{align: z.SmallAlign, reserve: z.SmallSegment}, {align: z.LargeAlign, gap: z.LargeGap, reserve: z.LargeSegment},
	}}
}

func (m *Arena) poolOf(n int64) *pool {
	if n >= m.large {
		return &m.pools[1]
	}
	return &m.pools[0]
}

// Alloc returns a span of at least n bytes, nil when there is no room.
func (m *Arena) Alloc(n int64) *Span {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.poolOf(n)
	size := max((n+p.align-1)/p.align, 1)*p.align + p.gap
	s := p.take(size)
	if s == nil {
		s = m.grow(p, size)
	}
	if s == nil {
		return nil
	}
	s.asked = n
	m.inUse += n
	m.peak = max(m.peak, m.inUse)
	return s
}

// Free gives s back and joins it with its free neighbours. It says whether s was in use.
func (m *Arena) Free(s *Span) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.free {
		return false
	}
	m.inUse -= s.asked
	m.poolOf(s.asked).give(s)
	return true
}

// Stats are the bytes in use, the most there were since ResetPeak, and those taken from the source.
func (m *Arena) Stats() (inUse, peak, held int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inUse, m.peak, m.held()
}

// Largest is the size of the largest free span for a request of n bytes.
func (m *Arena) Largest(n int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if free := m.poolOf(n).free; len(free) > 0 {
		return free[len(free)-1].size
	}
	return 0
}

// ResetPeak sets the peak to what is in use.
func (m *Arena) ResetPeak() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peak = m.inUse
}

func (m *Arena) held() (n int64) {
	for i := range m.pools {
		for _, g := range m.pools[i].segments {
			n += g.top
		}
	}
	return n
}

// grow takes size bytes that were never used: behind the top of a segment, or from a new one. A free span at the top is
// extended rather than left behind.
func (m *Arena) grow(p *pool, size int64) *Span {
	held := m.held()
	for _, g := range p.segments {
		more := size
		if g.last != nil && g.last.free {
			more -= g.last.size
		}
		if g.top+more > g.size {
			continue
		}
		if m.limit > 0 && held+more > m.limit {
			return nil
		}
		if s := m.extend(p, g, size); s != nil {
			return s
		}
		return nil // the source has no more
	}
	if m.limit > 0 && held+size > m.limit {
		return nil
	}
	g := m.newSegment(p, size)
	if g == nil {
		return nil
	}
	return m.extend(p, g, size)
}

// extend moves the top of g so that its last span is in use and has size bytes.
func (m *Arena) extend(p *pool, g *segment, size int64) *Span {
	off, prev := g.top, g.last
	if prev != nil && prev.free {
		off = prev.off
	}
	if !m.source.Commit(g.base, g.top, off+size) {
		return nil
	}
	if prev != nil && prev.free {
		p.remove(prev)
		prev = prev.prev
	}
	s := p.span(Span{segment: g, off: off, size: size, prev: prev, fresh: off == g.top})
	if prev != nil {
		prev.next = s
	}
	g.last, g.top = s, off+size
	return s
}

// newSegment reserves address space for at least size bytes, as much as the source lets us have up to the pool's wish.
func (m *Arena) newSegment(p *pool, size int64) *segment {
	for n := max(size, p.reserve); ; n = max(size, n/2) {
		if base, ok := m.source.Reserve(n); ok {
			g := &segment{index: len(p.segments), base: base, size: n}
			p.segments = append(p.segments, g)
			return g
		}
		if n == size {
			return nil
		}
	}
}

// fewIn is how many buffers of one size may take the place of a larger one without gaps between them.
const fewIn = 8

// take is the smallest free span that holds size bytes, or all of them but the gap, the rest split off: a few buffers fit where a
// larger one was, though that had one gap. Of equal ones it takes the lowest, so that the top of a segment stays free.
func (p *pool) take(size int64) *Span {
	i, _ := slices.BinarySearchFunc(p.free, size-p.gap, func(s *Span, size int64) int {
		return cmp.Or(cmp.Compare(s.size, size), 1) // the first of those not smaller
	})
	if i == len(p.free) {
		return nil
	}
	s := p.free[i]
	p.free = slices.Delete(p.free, i, i+1)
	if s.size <= size {
		s.free = false
		return s
	}
	if bare := size - p.gap; s.size/bare <= fewIn && s.size/bare > (s.size+p.gap)/size { // one more fits without gaps
		size = bare
	}
	// What is left stays the free span that it was; its beginning is a new one.
	rest := s
	s = p.span(Span{segment: rest.segment, off: rest.off, size: size, prev: rest.prev, next: rest})
	rest.off, rest.size = rest.off+size, rest.size-size
	s.link()
	p.insert(rest)
	return s
}

// give makes s free. The free span is another than s, so that a stale handle of its owner stays a freed one: that of a free
// neighbour, which nobody has a handle of, or a new one.
func (p *pool) give(s *Span) {
	before, after := s.prev, s.next
	var f *Span
	if before != nil && before.free {
		p.remove(before)
		f = before
		f.size += s.size
	} else {
		f = p.span(Span{segment: s.segment, off: s.off, size: s.size, prev: before, free: true})
	}
	if f.next = after; after != nil && after.free {
		p.remove(after)
		f.size, f.next = f.size+after.size, after.next
	}
	f.link()
	p.insert(f)
	*s = Span{segment: s.segment, free: true} // what is left of s only tells that it is freed
}

// span is a new one. They are made some at a time: a token takes hundreds of buffers.
func (p *pool) span(s Span) *Span {
	if len(p.slab) == 0 {
		p.slab = make([]Span, 8)
	}
	n := &p.slab[0]
	p.slab = p.slab[1:]
	*n = s
	return n
}

// link makes s's neighbours know it.
func (s *Span) link() {
	if s.prev != nil {
		s.prev.next = s
	}
	if s.next != nil {
		s.next.prev = s
	} else {
		s.segment.last = s
	}
}

func compareSpans(a, b *Span) int {
	return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.segment.index, b.segment.index), cmp.Compare(a.off, b.off))
}

func (p *pool) insert(s *Span) {
	i, _ := slices.BinarySearchFunc(p.free, s, compareSpans)
	p.free = slices.Insert(p.free, i, s)
}

func (p *pool) remove(s *Span) {
	i, found := slices.BinarySearchFunc(p.free, s, compareSpans)
	if !found {
		panic("arena: the list of free spans is damaged")
	}
	p.free = slices.Delete(p.free, i, i+1)
}
