// Package parallel runs tasks on workers that stay, for work that comes every few microseconds.
package parallel

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

// idleRounds is how often a worker looks for tasks, and prepares what comes, before other goroutines have their turn: some microseconds, of which
// that takes a part.
const idleRounds = 64

// Idle is what workers do while they wait for tasks, or worker 0 for the others. Its methods are called by all workers at once.
type Idle interface {
	// Help takes a part of a task that another worker is at, and reports whether there was one.
	Help(worker int) bool
	// Helping says whether a part is not through. Run waits for it.
	Helping() bool
	// Prepare does a little for tasks that will probably come, far less than a microsecond of it, and reports whether there was something.
	Prepare(worker int) bool
}

// Pool is a set of persistent workers; the caller of Run is worker 0.
//
// Tasks are claimed one at a time. One word holds both the next task and the
// number of tasks, so a worker that comes late can only claim a task that is
// still to be done, and Run waits for finished tasks, never for workers: one
// that sleeps costs nothing but its help.
type Pool struct {
	threads int
	idle    Idle
	mu      sync.Mutex // one job at a time
	workers []*worker  // of threads 1, 2, ...
	ended   sync.WaitGroup

	// The job. Written before claim is published and read after a task of it was claimed.
	plain  func(task int)
	staged func(worker, task int)

	_     [64]byte
	claim atomic.Uint64 // next task << 32 | number of tasks
	_     [56]byte
	done  atomic.Int64 // finished tasks
	_     [56]byte
	quit  atomic.Bool
	_     [60]byte
}

// worker is what the pool knows of one of its goroutines.
type worker struct {
	asleep atomic.Bool
	_      [60]byte
	wake   chan struct{} // one slot: sent to once for each time asleep goes from true to false
}

// New starts a pool of the given number of threads, at least 1, the caller included. What they do while they wait may be nil. It must be closed.
func New(threads int, idle Idle) *Pool {
	if idle == nil {
		idle = nothing{}
	}
	p := &Pool{threads: max(threads, 1), idle: idle}
	for i := 1; i < p.threads; i++ {
		w := &worker{wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		p.ended.Add(1)
		go p.work(i, w)
	}
	return p
}

// nothing is what is done without an Idle.
type nothing struct{}

func (nothing) Help(int) bool    { return false }
func (nothing) Helping() bool    { return false }
func (nothing) Prepare(int) bool { return false }

// Threads is the number of workers, the caller included.
func (p *Pool) Threads() int { return p.threads }

// Close ends the workers and waits until they have gone. A closed pool still
// runs tasks, on the caller alone.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quit.Swap(true) {
		return
	}
	p.wakeUp(len(p.workers))
	p.ended.Wait()
}

// Run calls f once for each task from 0 to tasks-1, on any worker and in any
// order, and returns when all have returned. f must not panic and must not use
// the pool. Several goroutines may call Run; they take turns.
func (p *Pool) Run(tasks int, f func(task int)) {
	p.mu.Lock()
	p.plain = f
	p.dispatch(tasks)
	p.plain = nil
	p.mu.Unlock()
}

// RunWorkers is Run with the number of the worker, from 0 to threads-1, which
// runs no other task meanwhile: f may use memory that belongs to it.
func (p *Pool) RunWorkers(tasks int, f func(worker, task int)) {
	p.mu.Lock()
	p.staged = f
	p.dispatch(tasks)
	p.staged = nil
	p.mu.Unlock()
}

// dispatch runs the job that the caller, who holds mu, has set.
func (p *Pool) dispatch(tasks int) {
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

func (p *Pool) call(worker, task int) {
	if p.plain != nil {
		p.plain(task)
		return
	}
	p.staged(worker, task)
}

// take claims and runs tasks until none is left, and reports whether there was one.
func (p *Pool) take(worker int) bool {
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
func (p *Pool) waitDone(tasks int64) {
	for spins := 1; p.done.Load() != tasks || p.idle.Helping(); spins++ {
		if p.idle.Help(0) || p.idle.Prepare(0) {
			continue
		}
		spinPause(8)
		if spins%64 == 0 {
			runtime.Gosched() // the worker may be waiting for this processor
		}
	}
}

// wakeUp wakes at most n workers.
func (p *Pool) wakeUp(n int) {
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
func (p *Pool) work(i int, w *worker) {
	defer p.ended.Done()
	for !p.quit.Load() {
		if p.take(i) || p.spin(i) {
			continue
		}
		w.asleep.Store(true)
		// A job published before asleep was set woke nobody: look again.
		if (p.HasTasks() || p.quit.Load()) && w.asleep.CompareAndSwap(true, false) {
			continue
		}
		<-w.wake
	}
}

// spin waits for tasks or a part of one as worker i and reports whether there are some or were; false means it is time to sleep.
func (p *Pool) spin(i int) bool {
	for start := time.Now(); ; {
		if p.idle.Help(i) {
			return true
		}
		for range idleRounds {
			if p.HasTasks() || p.quit.Load() {
				return true
			}
			if !p.idle.Prepare(i) {
				spinPause(4)
			}
		}
		if time.Since(start) > idleSpin {
			return false
		}
		runtime.Gosched()
	}
}

// HasTasks says whether there are tasks that no worker has claimed.
func (p *Pool) HasTasks() bool {
	c := p.claim.Load()
	return c>>32 < c&0xffffffff
}
