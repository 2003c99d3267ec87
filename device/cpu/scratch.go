package cpu

import (
	"sync"

	"hone/internal/pages"
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
	pages.Grow(&s.f, n)
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
