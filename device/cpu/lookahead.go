package cpu

import "sync/atomic"

// A product of few rows takes as long as its weight takes to come from memory, and between two of them memory is idle.
// Weights follow each other in the same order for token after token. So the pool remembers
// which came after which, and a worker that waits, for tasks or for other workers, meanwhile asks for the
// beginning of its part of the weight that will probably come. A wrong guess costs a little bandwidth; asking for
// memory that has been given back does nothing.

const (
	// aheadBytes is what a worker asks for at most, half of a second cache.
	aheadBytes = 512 << 10
	// aheadWeights is how many weights are remembered.
	aheadWeights = 1 << 14
)

// weight is an operand that few rows were multiplied by.
type weight struct {
	at    uintptr // only ever asked for
	bytes int
	next  *weight // what came after it the last time
}

// lookahead is what a pool knows about the order of weights. All but next is used under the pool's lock.
type lookahead struct {
	weights map[uintptr]*weight
	last    *weight
	next    atomic.Pointer[weight] // what will probably come next
}

// follow notes that the weight of p comes now.
func (a *lookahead) follow(p *gemmPlan) {
	at := uintptr(p.B.p)
	if a.last != nil && a.last.next != nil && a.last.next.at == at { // as it was guessed
		a.last = a.last.next
		a.next.Store(a.last.next)
		return
	}
	w := a.weights[at]
	if w == nil {
		if a.weights == nil || len(a.weights) == aheadWeights {
			a.weights, a.last = map[uintptr]*weight{}, nil
		}
		w = &weight{at: at, bytes: p.B.n * p.B.size()}
		a.weights[at] = w
	}
	if a.last != nil {
		a.last.next = w
	}
	a.last = w
	a.next.Store(w.next)
}

// fetched is how far a worker has got in asking for a weight.
type fetched struct {
	of      *weight
	at, end uintptr
	_       [40]byte
}

// fetch asks for the next few lines of the worker's part of what will come, and reports whether there are some.
func (p *pool) fetch(worker int) bool {
	f, w := &p.fetched[worker], p.ahead.next.Load()
	if w != f.of {
		f.of, f.at, f.end = w, 0, 0
		if w != nil {
			part := uintptr(w.bytes / p.threads)
			f.at = w.at + uintptr(worker)*part
			f.end = f.at + min(part, aheadBytes)
		}
	}
	if f.at >= f.end {
		return false
	}
	fetchLines(f.at)
	f.at += fetchBytes
	return true
}

// shares deals the tasks of a product of few rows out: each worker has consecutive ones of its own, and takes those of
// others when it has none left.
type shares struct {
	each int // tasks of a worker; 0: tasks are not dealt out
	next []share
}

type share struct {
	next atomic.Int32
	_    [60]byte
}

// deal begins anew with each tasks for a worker.
func (s *shares) deal(each int) {
	s.each = each
	for i := range s.next {
		s.next[i].next.Store(0)
	}
}

// take is a task for a worker. It is called once for each task there is.
func (s *shares) take(worker int) int {
	for i := range s.next {
		owner := (worker + i) % len(s.next)
		if s.next[owner].next.Load() >= int32(s.each) {
			continue
		}
		if n := int(s.next[owner].next.Add(1)) - 1; n < s.each {
			return owner*s.each + n
		}
	}
	panic("cpu: more tasks taken than dealt out")
}
