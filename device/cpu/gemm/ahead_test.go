package gemm

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"hone/internal/pages"
)

// TestSharesAreTakenOnce: each unit goes to one worker, its own come first and in large pieces, and of what is left to others
// the end.
func TestSharesAreTakenOnce(t *testing.T) {
	const workers, units = 3, 151
	s := make(shares, workers)
	for range 20 {
		s.deal(units)
		own, end := shareOf(1, workers, units)
		if lo, hi := s.take(1); lo != own || hi != own+(end-own+1)/2 {
			t.Fatalf("worker 1, whose units are %d to %d, begins with %d to %d, want half of them", own, end, lo, hi)
		}
		s.deal(units)
		var taken [units]atomic.Int32
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for lo, hi := s.take(w); lo < hi; lo, hi = s.take(w) {
					for i := lo; i < hi; i++ {
						taken[i].Add(1)
					}
				}
			})
		}
		all.Wait()
		for i := range taken {
			if n := taken[i].Load(); n != 1 {
				t.Fatalf("unit %d was taken %d times", i, n)
			}
		}
	}
	s.deal(4 * workers)
	for range 3 { // 2, 1 and 1
		s.take(0)
	}
	if lo, hi := s.take(0); lo != 6 || hi != 8 {
		t.Errorf("a worker without units takes %d to %d, want the last half of the next one's, 6 to 8", lo, hi)
	}
}

// TestLookaheadLearnsTheOrder: from the second round on, the next weights are known, and each worker asks for the
// beginning of its share of them, once.
func TestLookaheadLearnsTheOrder(t *testing.T) {
	e := idleEngine(2, &Kernels{}, plainRows) // without workers, who would ask as well
	groups := make([][]job, 3)
	for i := range groups {
		for range i + 1 {
			var job job
			job.Args, job.tasks = Args{N: 1 << 12, K: 64, LDB: 64, B: F32(make([]float32, 1<<18))}, 64
			groups[i] = append(groups[i], job)
		}
	}
	follow := func(i int) *weights {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.ahead.follow(groups[i])
		return e.ahead.next.Load()
	}
	for i := range groups {
		if w := follow(i); w != nil {
			t.Fatalf("weights %d were never followed by others, but by %+v", i, w)
		}
	}
	for i := range 4 {
		w, want := follow(i%3), groups[(i+1)%3]
		if w == nil || w.units != 64*len(want) || w.of[len(want)-1] != (weight{uintptr(want[len(want)-1].B.p), 64, 1 << 14}) {
			t.Fatalf("after weights %d come %+v, want the %d of which the first is at %p", i%3, w, len(want), want[0].B.p)
		}
	}
	follow(1) // three weights of 1 MB come: worker 1 has the second half of the second one, and the third
	var asked []uintptr
	for e.Prepare(1) {
		asked = append(asked, e.fetched[1].at-fetchBytes-uintptr(groups[2][1].B.p))
	}
	if n := len(asked); n*fetchBytes < aheadBytes || (n-1)*fetchBytes >= aheadBytes || e.Prepare(1) {
		t.Errorf("asked for %d bytes, want %d and no more", n*fetchBytes, aheadBytes)
	}
	if asked[0] != 1<<19 {
		t.Errorf("began to ask at byte %d of the second weight, want %d", asked[0], 1<<19)
	}
}

// TestLookaheadAsksForThirds: where every third line is asked for, those of all weights of a share come first, then the lines between, each
// line of the share once, and no more than may be asked for.
func TestLookaheadAsksForThirds(t *testing.T) {
	const units, unit = 8, 4608 // bytes of a unit: two calls for each third of it
	for _, count := range []int{1, 2} {
		e := idleEngine(2, &Kernels{thirds: true}, plainRows)
		jobs := make([]job, count)
		for i := range jobs {
			jobs[i].Args, jobs[i].tasks = Args{N: units, K: unit / 4, B: F32(pages.Floats(units * unit / 4))}, units
		}
		e.ahead.follow(jobs)
		e.ahead.follow(jobs) // they follow themselves
		first, last := 0, units
		if count == 1 {
			first = units / 2
		}
		var asked, want []uintptr
		for e.Prepare(1) {
			asked = append(asked, e.fetched[1].at-thirds*fetchBytes)
		}
		base := uintptr(jobs[count-1].B.p) // worker 1 has the second weight, or the second half of the one
		for pass := range thirds {
			for at := first * unit; at < last*unit; at += thirds * fetchBytes {
				want = append(want, base+uintptr(at+64*pass))
			}
		}
		if !slices.Equal(asked, want) {
			t.Errorf("of %d weights lines are asked for at %x, want %x", count, asked, want)
		}
	}
	e := idleEngine(1, &Kernels{thirds: true}, plainRows)
	jobs := make([]job, 1)
	jobs[0].Args, jobs[0].tasks = Args{N: 64, K: 1 << 13, B: F32(make([]float32, 1<<19))}, 64
	e.ahead.follow(jobs)
	e.ahead.follow(jobs)
	n := 0
	for e.Prepare(0) {
		n++
	}
	if n*fetchBytes < aheadBytes || (n-1)*fetchBytes >= aheadBytes {
		t.Errorf("asked for %d bytes, want %d and no more", n*fetchBytes, aheadBytes)
	}
}

// TestLookaheadIsBounded: weights that come once do not pile up.
func TestLookaheadIsBounded(t *testing.T) {
	var a lookahead
	b := make([]float32, aheadWeights+10)
	for i := range b {
		job := make([]job, 1)
		job[0].Args, job[0].tasks = Args{N: 1, K: 1, LDB: 1, B: F32(b[i:])}, 1
		a.follow(job)
	}
	if len(a.weights) > aheadWeights {
		t.Errorf("%d weights are remembered, at most %d should be", len(a.weights), aheadWeights)
	}
}

// TestWorkersWriteApart: what a worker writes for each task is in cache lines of its own.
func TestWorkersWriteApart(t *testing.T) {
	if a, b := unsafe.Sizeof(share{}), unsafe.Sizeof(fetched{}); a%64 != 0 || b%64 != 0 {
		t.Errorf("a share has %d bytes and what was fetched %d, want multiples of 64", a, b)
	}
}
