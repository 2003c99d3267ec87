package gemm

import "sync/atomic"

// A product of few rows takes as long as its weight takes to come from memory, and between two of them memory is idle.
// Weights follow each other in the same order for token after token. So the engine remembers
// which came after which, and a worker that waits, for tasks or for other workers, meanwhile asks for the
// beginning of its share of those that will probably come. A wrong guess costs a little bandwidth; asking for
// memory that has been given back does nothing.

const (
	// aheadBytes is what a worker asks for at most, half of a second cache.
	aheadBytes = 512 << 10
	// aheadWeights is how many weights are remembered.
	aheadWeights = 1 << 14
)

// weights are the operands that few rows were multiplied by in one go.
type weights struct {
	of    [4]weight // beyond these nobody asks
	units int       // tasks of all of them, those beyond of too
	next  *weights  // what came after them the last time
}

// weight is one of them.
type weight struct {
	at    uintptr // only ever asked for
	units int     // tasks, which are parts of it in the order of memory
	bytes uintptr // of a unit
}

// lookahead is what an engine knows about the order of weights. All but next is used under its lock.
type lookahead struct {
	weights map[uintptr]*weights // by the place of the first one
	last    *weights
	next    atomic.Pointer[weights] // what will probably come next
}

// follow notes that the weights of jobs come now.
func (a *lookahead) follow(jobs []job) {
	at := uintptr(jobs[0].B.p)
	if a.last != nil && a.last.next != nil && a.last.next.of[0].at == at { // as it was guessed
		a.last = a.last.next
		a.next.Store(a.last.next)
		return
	}
	w := a.weights[at]
	if w == nil {
		if a.weights == nil || len(a.weights) == aheadWeights {
			a.weights, a.last = map[uintptr]*weights{}, nil
		}
		w = new(weights)
		for i := range jobs {
			p := &jobs[i].plan
			if i < len(w.of) && p.tasks > 0 {
				w.of[i] = weight{uintptr(p.B.p), p.tasks, uintptr(p.B.n * p.B.size() / p.tasks)}
			}
			w.units += p.tasks
		}
		a.weights[at] = w
	}
	if a.last != nil {
		a.last.next = w
	}
	a.last = w
	a.next.Store(w.next)
}

// fetched is how far a worker has got in asking for weights.
type fetched struct {
	from    *weights
	of      []weight // that come after the one at hand
	lo, hi  int      // the worker's share of them
	at, end uintptr  // of the one at hand
	left    int      // bytes that it may ask for
	pass    int      // of several over the share, each of which asks for other lines of it
	_       [48]byte // up to two cache lines, so that no worker writes into another's
}

// thirds is how many passes over its share a worker makes that asks for every third line.
const thirds = 3

// Prepare asks for the next few lines of the worker's share of what will come, and reports whether there are some.
//
// Where the kernels ask ahead themselves (Kernels.thirds) it asks for every third line, then for the second ones and the others: of a
// share that begins with lines in the second cache memory would have a rest while these are read, four times as fast as it
// brings any; with one of three there it is always busy.
func (e *Engine) Prepare(worker int) bool {
	f, w := &e.fetched[worker], e.ahead.next.Load()
	if w != f.from {
		*f = fetched{from: w, left: aheadBytes}
		f.begin(worker, e.threads)
	}
	sparse := e.Kernels.thirds
	for f.at >= f.end {
		if len(f.of) == 0 {
			if !sparse || w == nil || f.pass == thirds-1 {
				return false
			}
			f.pass++
			f.begin(worker, e.threads)
		}
		w := f.of[0]
		f.at, f.end = w.at+uintptr(max(f.lo, 0))*w.bytes+uintptr(64*f.pass), w.at+uintptr(max(min(f.hi, w.units), 0))*w.bytes
		f.lo, f.hi, f.of = f.lo-w.units, f.hi-w.units, f.of[1:]
	}
	if f.left <= 0 {
		return false
	}
	f.left -= fetchBytes
	if sparse {
		fetchThirds(f.at)
		f.at += thirds * fetchBytes
	} else {
		fetchLines(f.at)
		f.at += fetchBytes
	}
	return true
}

// begin begins a pass over the worker's share of what comes, if anything does.
func (f *fetched) begin(worker, workers int) {
	if f.from != nil {
		f.of = f.from.of[:]
		f.lo, f.hi = shareOf(worker, workers, f.from.units)
	}
}

// shares deals the units of products of few rows out, which are columns of their weights in the order of memory. Each worker has consecutive
// ones of its own, of which it takes half of what is left at a time, and when they are gone the last half of what is left to another. So
// each reads long pieces of memory, and none waits long for another at the end. Both ends of a share are one word, which is only ever
// replaced whole; within a call a share only shrinks, so that no old value comes back to mislead a worker that was held up.
type shares []share

// share is what is left to a worker: from unit lo, the upper half of the number, to unit hi.
type share struct {
	left atomic.Uint64
	_    [56]byte
}

// shareOf is the first unit of a worker and the one after the last.
func shareOf(worker, workers, units int) (lo, hi int) {
	return worker * units / workers, (worker + 1) * units / workers
}

// deal begins anew.
func (s shares) deal(units int) {
	for i := range s {
		lo, hi := shareOf(i, len(s), units)
		s[i].left.Store(uint64(lo)<<32 | uint64(hi))
	}
}

// take is the next units for a worker, from lo to hi; there are none left where these are equal.
func (s shares) take(worker int) (lo, hi int) {
	for i := range s {
		share := &s[(worker+i)%len(s)].left
		for {
			left := share.Load()
			lo, hi := int(left>>32), int(uint32(left))
			if lo >= hi {
				break
			}
			if i == 0 {
				if mid := (lo + hi + 1) / 2; share.CompareAndSwap(left, uint64(mid)<<32|uint64(hi)) {
					return lo, mid
				}
			} else if mid := (lo + hi) / 2; share.CompareAndSwap(left, uint64(lo)<<32|uint64(mid)) {
				return mid, hi
			}
		}
	}
	return 0, 0
}
