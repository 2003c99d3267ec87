package cpu

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestSharesAreTakenOnce: each task goes to one worker, and a worker's own come first.
func TestSharesAreTakenOnce(t *testing.T) {
	const workers, each = 3, 50
	s := shares{next: make([]share, workers)}
	for range 20 {
		s.deal(each)
		if first := s.take(1); first != each {
			t.Fatalf("worker 1 begins with task %d, want %d", first, each)
		}
		var taken [workers * each]atomic.Int32
		taken[each].Add(1)
		var tokens atomic.Int32
		tokens.Store(workers*each - 1)
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for tokens.Add(-1) >= 0 {
					taken[s.take(w)].Add(1)
				}
			})
		}
		all.Wait()
		for i := range taken {
			if n := taken[i].Load(); n != 1 {
				t.Fatalf("task %d was taken %d times", i, n)
			}
		}
	}
}

// TestLookaheadLearnsTheOrder: from the second round on, the next weight is known, and each worker asks for the
// beginning of its own part of it, once.
func TestLookaheadLearnsTheOrder(t *testing.T) {
	p := &pool{threads: 2, fetched: make([]fetched, 2)} // without workers, who would ask as well
	weights := make([]gemmPlan, 3)
	for i := range weights {
		weights[i].gemmArgs = gemmArgs{N: 1 << 12, K: 64, LDB: 64, B: matF32(make([]float32, 1<<18))}
	}
	follow := func(i int) *weight {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ahead.follow(&weights[i])
		return p.ahead.next.Load()
	}
	for i := range weights {
		if w := follow(i); w != nil {
			t.Fatalf("weight %d was never followed by another, but by %+v", i, w)
		}
	}
	for i := range 6 {
		w, want := follow(i%3), weights[(i+1)%3].B
		if w != nil && w.at == uintptr(want.p) && w.bytes == 1<<20 {
			continue
		}
		t.Fatalf("after weight %d comes %+v, want the one at %p", i%3, w, want.p)
	}
	bytes := 0
	for p.fetch(1) {
		bytes += fetchBytes
	}
	if bytes < aheadBytes || bytes >= aheadBytes+fetchBytes || p.fetch(1) {
		t.Errorf("asked for %d bytes, want %d and no more", bytes, aheadBytes)
	}
}

// TestLookaheadIsBounded: weights that come once do not pile up.
func TestLookaheadIsBounded(t *testing.T) {
	var a lookahead
	b := make([]float32, aheadWeights+10)
	for i := range b {
		a.follow(&gemmPlan{gemmArgs: gemmArgs{N: 1, K: 1, LDB: 1, B: matF32(b[i:])}})
	}
	if len(a.weights) > aheadWeights {
		t.Errorf("%d weights are remembered, at most %d should be", len(a.weights), aheadWeights)
	}
}
