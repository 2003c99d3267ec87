package arena

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// ledger is a source that holds the arena to its promises: memory is put behind a reservation from its beginning on, without holes, and not beyond it.
type ledger struct {
	t        *testing.T
	reserved map[uintptr]int64
	top      map[uintptr]int64 // committed of each
	asked    []int64           // sizes that were asked for
	most     int64             // of a reservation; 0: none at all
}

func newLedger(t *testing.T, most int64) *ledger {
	return &ledger{t: t, reserved: map[uintptr]int64{}, top: map[uintptr]int64{}, most: most}
}

func (l *ledger) Reserve(size int64) (uintptr, bool) {
	l.asked = append(l.asked, size)
	if size > l.most {
		return 0, false
	}
	base := uintptr(len(l.reserved)+1) << 32
	l.reserved[base] = size
	return base, true
}

func (l *ledger) Commit(base uintptr, lo, hi int64) bool {
	if lo != l.top[base] || hi < lo || hi > l.reserved[base] {
		l.t.Errorf("bytes %d to %d of a reservation of %d, of which %d have memory", lo, hi, l.reserved[base], l.top[base])
	}
	l.top[base] = hi
	return true
}

// TestSegmentsFillUp: a buffer that does not fit behind the top of one segment begins another, and a later one that fits goes behind the first.
func TestSegmentsFillUp(t *testing.T) {
	l := newLedger(t, 1000)
	m := New(l, Sizes{SmallAlign: 1, LargeAlign: 10, Large: 50, SmallSegment: 100, LargeSegment: 1000})
	a, b, c := m.Alloc(700), m.Alloc(400), m.Alloc(300)
	for i, want := range []struct {
		s   *Span
		at  uintptr
		off int64
	}{{a, 1 << 32, 0}, {b, 2 << 32, 0}, {c, 1 << 32, 700}} {
		if base, off := want.s.Place(); base != want.at || off != want.off || !want.s.Fresh() {
			t.Errorf("buffer %d lies at %d of %#x", i, off, base)
		}
	}
	if _, _, held := m.Stats(); held != 1400 || len(l.reserved) != 2 {
		t.Errorf("%d bytes are held in %d reservations", held, len(l.reserved))
	}
	// a free span at a top grows rather than being left behind
	m.Free(b)
	d := m.Alloc(1000)
	if base, off := d.Place(); base != 2<<32 || off != 0 || d.Fresh() {
		t.Errorf("the whole segment lies at %d of %#x, fresh %v", off, base, d.Fresh())
	}
	if _, _, held := m.Stats(); held != 2000 {
		t.Errorf("%d bytes are held, want 2000", held)
	}
}

// TestReservationsShrink: a wish that the source does not grant is halved, down to what the buffer needs; then there is no buffer.
func TestReservationsShrink(t *testing.T) {
	for most, want := range map[int64][]int64{1000: {1000}, 300: {1000, 500, 250}, 120: {1000, 500, 250, 125, 120}, 119: {1000, 500, 250, 125, 120}} {
		l := newLedger(t, most)
		m := New(l, Sizes{SmallAlign: 1, LargeAlign: 10, Large: 50, LargeSegment: 1000})
		if s := m.Alloc(120); (s != nil) != (most >= 120) {
			t.Errorf("with reservations of at most %d: %v", most, s)
		}
		if !slices.Equal(l.asked, want) {
			t.Errorf("with reservations of at most %d it asks for %v, want %v", most, l.asked, want)
		}
	}
	l := newLedger(t, 1<<40)
	m := New(l, Sizes{SmallAlign: 1, LargeAlign: 10, Large: 50, LargeSegment: 1000, Limit: 200})
	if m.Alloc(210) != nil || len(l.asked) > 0 {
		t.Errorf("what is over the limit was asked for: %v", l.asked)
	}
	if m.Alloc(200) == nil || m.Alloc(50) != nil {
		t.Error("just the limit is too much, or more than it is not")
	}
}

// TestFitsExactly: a free span of just the size, or of the size without the gap behind it, is taken whole.
func TestFitsExactly(t *testing.T) {
	for _, free := range []int64{110, 105, 100} { // of a request for 100 with a gap of 10
		m := New(newLedger(t, 1000), Sizes{SmallAlign: 1, LargeAlign: 5, Large: 50, LargeGap: 10, LargeSegment: 1000})
		a := m.Alloc(free - 10)
		guard := m.Alloc(60)
		m.Free(a)
		b := m.Alloc(100)
		if b == nil || b.Base() != 1<<32 || len(m.pools[1].free) != 0 {
			t.Errorf("a free span of %d bytes: %d spans are left free", free, len(m.pools[1].free))
		}
		m.Free(b)
		m.Free(guard)
		if got := m.Largest(100); got != free+70 {
			t.Errorf("a free span of %d bytes: %d in one piece at the end, want %d", free, got, free+70)
		}
	}
}

// TestGapsGo: a span is split without a gap where one more buffer fits then, and only where those are few.
func TestGapsGo(t *testing.T) {
	for _, c := range []struct{ free, size, rest int64 }{
		{25, 10, 15}, {30, 10, 20}, // two or three of 10, or one of 20
		{80, 10, 70},                   // eight of 10: as many as may be
		{90, 10, 70},                   // nine are too many: 20 goes
		{150, 100, 40}, {199, 100, 89}, // one either way: 110 goes
		{200, 100, 100}, {209, 100, 109}, // two of 100, or one of 110
		{210, 100, 100}, {220, 100, 110}, // two either way, as the last needs no gap
	} {
		m := New(newLedger(t, 10000), Sizes{SmallAlign: 1, LargeAlign: 1, Large: 1, LargeGap: 10, LargeSegment: 10000})
		a := m.Alloc(c.free - 10)
		m.Alloc(1)
		m.Free(a)
		m.Alloc(c.size)
		if got := m.Largest(1); got != c.rest {
			t.Errorf("%d bytes in a free span of %d leave %d, want %d", c.size, c.free, got, c.rest)
		}
	}
}

// TestSpansTile: whatever is asked for and given back, the spans of a segment tile it, no two free ones touch, and the list of free ones is complete and in order.
func TestSpansTile(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	m := New(newLedger(t, 1<<14), Sizes{SmallAlign: 4, LargeAlign: 16, Large: 200, LargeGap: 32, SmallSegment: 1 << 10, LargeSegment: 1 << 14})
	var used []*Span
	for range 3000 {
		if len(used) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(used))
			if !m.Free(used[i]) || m.Free(used[i]) {
				t.Fatal("a span in use was not, or was freed twice")
			}
			used = slices.Delete(used, i, i+1)
		} else if s := m.Alloc(1 + r.Int64N(1<<r.IntN(12))); s != nil {
			used = append(used, s)
		}
		for p := range m.pools {
			checkPool(t, &m.pools[p])
		}
		if t.Failed() {
			return
		}
	}
}

func checkPool(t *testing.T, p *pool) {
	t.Helper()
	free := 0
	for _, g := range p.segments {
		at := g.top
		var after *Span
		for s := g.last; s != nil; s = s.prev {
			if at -= s.size; s.off != at || s.next != after || s.size <= 0 || s.segment != g {
				t.Errorf("a span of %d bytes at %d, where %d was expected", s.size, s.off, at)
			}
			if s.free && after != nil && after.free {
				t.Errorf("two free spans touch at %d", after.off)
			}
			if s.free {
				free++
			}
			after = s
		}
		if at != 0 {
			t.Errorf("the first span begins at %d", at)
		}
	}
	if free != len(p.free) || !slices.IsSortedFunc(p.free, compareSpans) {
		t.Errorf("%d spans are free and %d listed", free, len(p.free))
	}
}
