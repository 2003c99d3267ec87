package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// idleSpin is how long a worker looks for new tasks before it sleeps. Waking a
// sleeping thread takes up to 140 µs in a virtual machine, the gaps between the
// kernels of a step take a few microseconds.
const idleSpin = 100 * time.Microsecond

// idleRounds is how often a worker looks for tasks, and asks for weights to come, before other goroutines have their turn: some microseconds, of which that
// takes a part.
const idleRounds = 64

// pool is a set of persistent workers; the caller of run is worker 0.
//
// Tasks are claimed one at a time. One word holds both the next task and the
// number of tasks, so a worker that comes late can only claim a task that is
// still to be done, and run waits for finished tasks, never for workers: one
// that sleeps costs nothing but its help.
type pool struct {
	threads int
	mu      sync.Mutex // one job at a time
	workers []*worker  // of threads 1, 2, ...
	ended   sync.WaitGroup

	// The job. Written before claim is published and read after a task of it was claimed.
	plain  func(task int)
	staged func(worker, task int)

	gemmKernels *gemmKernels
	gemmScratch []*gemmScratch         // one for each worker
	gemms       []gemmJob              // that run
	gemmTask    func(worker, task int) // of gemms, made once
	shareTask   func(worker, task int) // likewise
	shares      shares                 // of gemms

	ahead   lookahead
	fetched []fetched // by each worker

	_      [64]byte
	claim  atomic.Uint64 // next task << 32 | number of tasks
	_      [56]byte
	done   atomic.Int64 // finished tasks
	_      [56]byte
	pieces atomic.Int64 // rows of tasks that are computed by others, in pieces
	_      [56]byte
	quit   atomic.Bool
	_      [60]byte
}

// worker is what the pool knows of one of its goroutines.
type worker struct {
	asleep atomic.Bool
	_      [60]byte
	wake   chan struct{} // one slot: sent to once for each time asleep goes from true to false
}

// newPool starts a pool of the given number of threads, the caller included.
// It must be closed.
func newPool(threads int) *pool { return newPoolWith(threads, hostGemmKernels()) }

// newPoolWith is newPool with the matrix kernels to use, for tests.
func newPoolWith(threads int, k *gemmKernels) *pool {
	p := &pool{threads: max(threads, 1), gemmKernels: k}
	p.shares, p.fetched = make(shares, p.threads), make([]fetched, p.threads)
	p.gemmTask, p.shareTask = p.runGemmTask, p.runShares
	for range p.threads {
		p.gemmScratch = append(p.gemmScratch, newGemmScratch(k))
	}
	for i := 1; i < p.threads; i++ {
		w := &worker{wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		p.ended.Add(1)
		go p.work(i, w)
	}
	return p
}

// close ends the workers and waits until they have gone. A closed pool still
// runs tasks, on the caller alone.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quit.Swap(true) {
		return
	}
	p.wakeUp(len(p.workers))
	p.ended.Wait()
}

// run calls f once for each task from 0 to tasks-1, on any worker and in any
// order, and returns when all have returned. f must not panic and must not use
// the pool. Several goroutines may call run; they take turns.
func (p *pool) run(tasks int, f func(task int)) {
	p.mu.Lock()
	p.plain = f
	p.dispatch(tasks)
	p.plain = nil
	p.mu.Unlock()
}

// runWorkers is run with the number of the worker, from 0 to threads-1, which
// runs no other task meanwhile: f may use memory that belongs to it.
func (p *pool) runWorkers(tasks int, f func(worker, task int)) {
	p.mu.Lock()
	p.staged = f
	p.dispatch(tasks)
	p.staged = nil
	p.mu.Unlock()
}

// dispatch runs the job that the caller, who holds mu, has set.
func (p *pool) dispatch(tasks int) {
	if tasks <= 0 {
		return
	}
	if tasks > 1 && len(p.workers) > 0 {
		p.done.Store(0)
		p.claim.Store(uint64(tasks))
		p.wakeUp(tasks - 1)
		p.take(0)
		p.waitDone(int64(tasks))
		return
	}
	for t := range tasks {
		p.call(0, t)
	}
	p.done.Store(int64(tasks))
	p.waitDone(int64(tasks))
}

func (p *pool) call(worker, task int) {
	if p.plain != nil {
		p.plain(task)
		return
	}
	p.staged(worker, task)
}

// take claims and runs tasks until none is left, and reports whether there was one.
func (p *pool) take(worker int) bool {
	took := false
	for {
		c := p.claim.Load()
		task, tasks := c>>32, c&0xffffffff
		if task >= tasks {
			return took
		}
		if p.claim.CompareAndSwap(c, c+1<<32) {
			p.call(worker, int(task))
			p.done.Add(1)
			took = true
		}
	}
}

// waitDone returns when all tasks of the job have finished, and what was taken from them.
func (p *pool) waitDone(tasks int64) {
	for spins := 1; p.done.Load() != tasks || p.pieces.Load() != 0; spins++ {
		if p.steal(0) || p.fetch(0) {
			continue
		}
		spinPause(8)
		if spins%64 == 0 {
			runtime.Gosched() // the worker may be waiting for this processor
		}
	}
}

// wakeUp wakes at most n workers.
func (p *pool) wakeUp(n int) {
	for _, w := range p.workers {
		if n <= 0 {
			return
		}
		if w.asleep.Load() && w.asleep.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
		}
		n--
	}
}

// work is the life of worker i.
func (p *pool) work(i int, w *worker) {
	defer p.ended.Done()
	for !p.quit.Load() {
		if p.take(i) || p.spin(i) {
			continue
		}
		w.asleep.Store(true)
		// A job published before asleep was set woke nobody: look again.
		if (p.hasTasks() || p.quit.Load()) && w.asleep.CompareAndSwap(true, false) {
			continue
		}
		<-w.wake
	}
}

// spin waits for tasks or rows as worker i and reports whether there are some or were; false means it is time to sleep.
func (p *pool) spin(i int) bool {
	for start := time.Now(); ; {
		if p.steal(i) {
			return true
		}
		for range idleRounds {
			if p.hasTasks() || p.quit.Load() {
				return true
			}
			if !p.fetch(i) {
				spinPause(4)
			}
		}
		if time.Since(start) > idleSpin {
			return false
		}
		runtime.Gosched()
	}
}

func (p *pool) hasTasks() bool {
	c := p.claim.Load()
	return c>>32 < c&0xffffffff
}
