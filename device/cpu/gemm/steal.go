package gemm

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"hone/internal/pages"
)

// Cores do not keep pace with each other: what shares a core, and its clock, slow one down for milliseconds. So a worker that finds no task
// takes rows from the end of a block that another is at, for what is left of k. It packs B for itself, and when it is through with them, others
// may take from it. Which worker computes a row does not change its bits.

const (
	// packRows is how many rows of A take about as long as packing the block of B that they are multiplied with.
	packRows = 32
	// claimWork is about how many multiplications a worker begins at a time where A is read in place. The others wait for them at the end.
	claimWork = 1 << 20
	// stealWork is about how many multiplications are worth another worker.
	stealWork = 1 << 19
)

// openRows are the rows of a worker's block that were not begun in its block of k.
type openRows struct {
	_     [64]byte
	share atomic.Int64 // how many can be taken
	mu    sync.Mutex   // of what follows, and of changes of share
	b     block        // as its block of k began
	at    int          // the first row that was not begun
	end   int          // behind the last
	_     [64]byte
}

// openAll lets others take rows of the block, none of which was begun in the block of k at hand.
func (b *block) openAll() {
	o := &b.s.open
	o.mu.Lock()
	o.b, o.at, o.end = *b, 0, b.m
	o.count()
	o.mu.Unlock()
}

// next is the next n or fewer rows of the block, which nobody takes any more. There are none left where m is 0.
func (b *block) next(n int) (i, m int) {
	o := &b.s.open
	o.mu.Lock()
	i, m = o.at, min(n, o.end-o.at)
	o.at += m
	if o.count(); m == 0 {
		o.b = block{} // keep no memory alive
	}
	o.mu.Unlock()
	return i, m
}

// claim is how many rows a worker begins at a time.
func (b *block) claim(u, kc int) int {
	mr := b.k.MR
	if !b.readsA(min(mr, b.m), u, kc) {
		return stripeGroup * mr
	}
	return min(max(claimWork/(mr*b.n*kc), 1), stripeGroup) * mr
}

// count sets what can be taken: so much that both workers are through at the same time.
func (o *openRows) count() {
	o.share.Store(0)
	left := o.end - o.at
	if left <= packRows {
		return
	}
	step := 2 * o.b.k.MR // whole lines of a transposed A
	blocks := ceilDiv(o.b.units-o.b.u, o.b.kBlock)
	work := left*blocks + o.at*(blocks-1) // rows times blocks of k: those that were begun come again in the later ones
	n := o.end - roundUp(o.end-min((work/blocks-packRows)/2, left), step)
	if n >= step && n*o.b.n*o.b.kBlock*blocks >= stealWork {
		o.share.Store(int64(n))
	}
}

// take cuts rows off, which are a block of their own for a worker with scratch s, and counts it among e's pieces. While there are tasks there are no
// rows to take: sums of a bf16 C lie in the scratch of the block's worker, which would use it for its next task before others are through with them.
func (o *openRows) take(s *scratch, e *Engine) (b block, ok bool) {
	if o.share.Load() == 0 {
		return b, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	n := int(o.share.Load())
	if n == 0 || e.Pool.HasTasks() {
		return b, false
	}
	e.pieces.Add(1)
	o.end -= n
	o.count()
	b = o.b
	b.coming = coming{} // its tasks have been taken
	b.s, b.i, b.m, b.offC = s, b.i+o.end, n, b.offC+o.end*b.LDC
	if !b.targetF && b.byStripe() {
		pages.Grow(&s.taken, b.sumRows()*b.ldc/4)
		b.c = unsafe.Pointer(&s.taken[0])
	} else {
		b.c = unsafe.Add(b.c, o.end*b.ldc)
	}
	return b, true
}

// Help computes rows that it takes from another worker's block, and reports whether there were some.
func (e *Engine) Help(worker int) bool {
	s := e.scratch[worker]
	for i := 1; i < e.threads; i++ {
		if b, ok := e.scratch[(worker+i)%e.threads].open.take(s, e); ok {
			b.addBlocks(b.u)
			e.pieces.Add(-1)
			return true
		}
	}
	return false
}

// Helping says whether rows that were taken are not through.
func (e *Engine) Helping() bool { return e.pieces.Load() != 0 }
