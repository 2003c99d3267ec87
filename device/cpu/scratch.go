package cpu

import (
	"sync"
	"unsafe"
)

// scratchPool lends workers float32 scratch. It holds as many slices as there
// were borrowers at one time, so that a steady state allocates nothing.
type scratchPool struct {
	mu   sync.Mutex
	free []*scratch
}

// scratch is memory that one task uses at a time.
type scratch struct{ f []float32 }

// get returns scratch of at least n elements with unknown content.
func (p *scratchPool) get(n int) *scratch {
	p.mu.Lock()
	var s *scratch
	if last := len(p.free) - 1; last >= 0 {
		s, p.free = p.free[last], p.free[:last]
	}
	p.mu.Unlock()
	if s == nil {
		s = new(scratch)
	}
	if len(s.f) < n {
		s.f = alignedFloats(n)
	}
	return s
}

// put takes back what get lent; nil is nothing.
func (p *scratchPool) put(s *scratch) {
	if s == nil {
		return
	}
	p.mu.Lock()
	p.free = append(p.free, s)
	p.mu.Unlock()
}

// Scratch and operands from hugeSize bytes on begin on a huge page and are asked for in such pages.
const (
	hugeSize = 512 << 10
	hugePage = 2 << 20
)

// alignedFloats is a slice of n elements that begins on a cache line.
func alignedFloats(n int) []float32 {
	align := 64
	if 4*n >= hugeSize {
		align = hugePage
	}
	f := make([]float32, n+align/4-1)
	base := unsafe.Pointer(unsafe.SliceData(f))
	if align == hugePage {
		adviseHuge(unsafe.Slice((*byte)(base), 4*len(f)))
	}
	skip := -int(uintptr(base)/4) & (align/4 - 1)
	return f[skip : skip+n : skip+n]
}
