package arena

import (
	"math/rand/v2"
	"testing"
)

// addresses is a source of address space alone: limit bytes of memory behind it.
type addresses struct {
	next             uintptr
	limit, committed int64
	most             int64 // of a reservation; 0: any
}

func (a *addresses) Reserve(size int64) (uintptr, bool) {
	if a.most > 0 && size > a.most {
		return 0, false
	}
	base := a.next + 1<<40
	a.next = base + uintptr(size)
	return base, true
}

func (a *addresses) Commit(_ uintptr, lo, hi int64) bool {
	if a.limit > 0 && a.committed+hi-lo > a.limit {
		return false
	}
	a.committed += hi - lo
	return true
}

var sizes = Sizes{SmallAlign: 64, LargeAlign: 4096, Large: 1 << 16, SmallSegment: 1 << 20, LargeSegment: 1 << 30}

func TestJoinsFreeSpans(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}} {
		m := New(&addresses{}, sizes)
		var s []*Span
		for range 3 {
			s = append(s, m.Alloc(1<<18))
		}
		_, _, held := m.Stats()
		for _, i := range order {
			if !m.Free(s[i]) || m.Free(s[i]) || !s[i].free {
				t.Errorf("order %v: freeing a span twice is not told from once", order)
			}
		}
		if got := m.Largest(1 << 18); got != 3<<18 {
			t.Errorf("order %v leaves a largest span of %d bytes, want %d", order, got, 3<<18)
		}
		m.Alloc(3 << 18)
		if _, _, got := m.Stats(); got != held {
			t.Errorf("order %v: held grew from %d to %d", order, held, got)
		}
	}
}

func TestGap(t *testing.T) {
	z := sizes
	z.LargeGap = 2 * z.LargeAlign
	m := New(&addresses{}, z)
	a, b, small := m.Alloc(1<<20), m.Alloc(1<<20), m.Alloc(1<<10)
	if apart := int64(b.Base() - a.Base()); apart != 1<<20+z.LargeGap {
		t.Errorf("spans are %d bytes apart, want %d", apart, 1<<20+z.LargeGap)
	}
	if next := m.Alloc(1 << 10); next.Base()-small.Base() != 1<<10 {
		t.Errorf("small spans are %d bytes apart", next.Base()-small.Base())
	}
	if inUse, _, _ := m.Stats(); inUse != 2<<20+2<<10 || a.Size() != 1<<20 {
		t.Errorf("%d bytes are in use, the first span has %d", inUse, a.Size())
	}
	m.Free(a)
	m.Free(b)
	_, _, held := m.Stats()
	whole := m.Alloc(2<<20 + z.LargeGap) // all that there is, with one gap
	if whole.Base() != a.segment.base {
		t.Errorf("freed spans were not used again")
	}
	m.Free(whole)
	first, second := m.Alloc(1<<20), m.Alloc(1<<20+z.LargeGap) // the second one's gap has no room
	if _, _, now := m.Stats(); now != held || first.Base() == second.Base() {
		t.Errorf("two spans in place of a larger one take the bytes held from %d to %d", held, now)
	}
}

// TestFewInOne: a few buffers take the place of a freed one of their size together, though each has a gap behind it elsewhere, as the
// first two of many have.
func TestFewInOne(t *testing.T) {
	z := sizes
	z.LargeGap = 2 * z.LargeAlign
	for _, parts := range []int64{2, 3, 5, fewIn, 4 * fewIn} {
		m := New(&addresses{}, z)
		size := z.Large * parts
		a := m.Alloc(size)
		spans := []*Span{m.Alloc(z.Large)}
		m.Free(a)
		_, _, held := m.Stats()
		for range parts {
			spans = append(spans, m.Alloc(z.Large))
		}
		_, _, now := m.Stats()
		if parts <= fewIn && now != held {
			t.Errorf("%d spans in place of one take the bytes held from %d to %d", parts, held, now)
		}
		if apart := int64(spans[2].Base() - spans[1].Base()); parts > fewIn && apart != z.Large+z.LargeGap {
			t.Errorf("the first of %d spans in place of one are %d bytes apart, want %d", parts, apart, z.Large+z.LargeGap)
		}
		for _, s := range spans {
			m.Free(s)
		}
		if left := m.Largest(size); left != now {
			t.Errorf("of %d bytes %d are left in one piece", now, left)
		}
	}
}

func TestStepsRepeat(t *testing.T) {
	z := sizes
	z.LargeGap = z.LargeAlign
	m := New(&addresses{}, z)
	var held [3]int64
	for step := range held {
		r := rand.New(rand.NewPCG(1, 2)) // every step asks alike
		var live []*Span
		for range 2000 {
			if len(live) > 0 && r.IntN(2) == 0 {
				i := r.IntN(len(live))
				m.Free(live[i])
				live = append(live[:i], live[i+1:]...)
				continue
			}
			n := int64(r.ExpFloat64() * []float64{100, 200000}[r.IntN(2)])
			s := m.Alloc(n)
			if s.Size() != n || s.Base()%64 != 0 {
				t.Fatalf("a span of %d bytes at %#x for %d asked", s.Size(), s.Base(), n)
			}
			for _, other := range live {
				if s.Base() < other.Base()+uintptr(other.Size()) && other.Base() < s.Base()+uintptr(n) {
					t.Fatalf("two spans share memory")
				}
			}
			live = append(live, s)
		}
		for _, s := range live {
			m.Free(s)
		}
		inUse, peak, now := m.Stats()
		if inUse != 0 || peak == 0 {
			t.Errorf("%d bytes in use after all was freed, peak %d", inUse, peak)
		}
		held[step] = now
	}
	if held[2] != held[1] {
		t.Errorf("equal steps hold %v bytes", held)
	}
}

func TestRunsOut(t *testing.T) {
	for name, m := range map[string]*Arena{
		"the limit":        New(&addresses{}, Sizes{SmallAlign: 64, LargeAlign: 4096, Large: 1 << 16, SmallSegment: 1 << 20, LargeSegment: 1 << 30, Limit: 1 << 20}),
		"the memory":       New(&addresses{limit: 1 << 20}, sizes),
		"reserved address": New(&addresses{limit: 1 << 20, most: 1 << 20}, sizes),
	} {
		a := m.Alloc(1 << 19)
		if a == nil {
			t.Fatalf("%s: nothing for half of it", name)
		}
		if m.Alloc(1<<19+4096) != nil {
			t.Errorf("%s: there is more than all", name)
		}
		b := m.Alloc(1 << 19)
		if b == nil {
			t.Fatalf("%s: nothing for the other half", name)
		}
		m.Free(a)
		m.Free(b)
		if m.Alloc(1<<20) == nil {
			t.Errorf("%s: what was freed is not used again", name)
		}
	}
}

func TestResetPeak(t *testing.T) {
	m := New(&addresses{}, sizes)
	s := m.Alloc(1000)
	m.Free(s)
	m.ResetPeak()
	if inUse, peak, _ := m.Stats(); inUse != 0 || peak != 0 {
		t.Errorf("in use %d, peak %d; want 0, 0", inUse, peak)
	}
}

// TestFresh allocates where nothing was, in holes and across what was used.
func TestFresh(t *testing.T) {
	m := New(&addresses{}, sizes)
	a, b := m.Alloc(1<<18), m.Alloc(1<<18)
	if base, off := b.Place(); !a.Fresh() || !b.Fresh() || base+uintptr(off) != b.Base() || base != a.Base() {
		t.Errorf("the first spans: fresh %v and %v, the second at %#x+%d", a.Fresh(), b.Fresh(), base, off)
	}
	m.Free(a)
	if m.Alloc(1 << 17).Fresh() {
		t.Error("a part of a freed span counts as fresh")
	}
	m.Free(b)
	if m.Alloc(1 << 19).Fresh() {
		t.Error("a span that begins in a freed one counts as fresh")
	}
	if !m.Alloc(1 << 18).Fresh() {
		t.Error("a span behind all others is not fresh")
	}
}

// TestStaleHandles: a span that was given back stays so when others take its place.
func TestStaleHandles(t *testing.T) {
	m := New(&addresses{}, sizes)
	var old []*Span
	for range 3 {
		old = append(old, m.Alloc(1<<18))
	}
	for _, s := range old {
		m.Free(s)
	}
	for _, n := range []int64{1 << 17, 1 << 18, 3<<18 - 1<<17 - 1<<18} { // the first two leave a rest, the last takes it whole
		if s := m.Alloc(n); s == nil || s.free {
			t.Fatalf("%d bytes were not found in what was given back", n)
		}
	}
	if got := m.Largest(1 << 18); got != 0 {
		t.Errorf("%d bytes are free behind all that was given back and taken again", got)
	}
	for i, s := range old {
		if !s.free || m.Free(s) {
			t.Errorf("the handle of span %d, given back before, works again", i)
		}
	}
}
