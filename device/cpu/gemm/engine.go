package gemm

import (
	"slices"
	"sync"
	"sync/atomic"

	"hone/internal/parallel"
)

// Engine multiplies matrices on a pool of workers. What these do while they wait is the engine's, too: they help each other with products
// (Help) and ask for weights to come (Prepare).
type Engine struct {
	Pool    *parallel.Pool // for other tasks, too
	Kernels *Kernels
	threads int
	scratch []*scratch // one for each worker

	mu        sync.Mutex // one call of Multiply at a time
	jobs      []job      // that run
	taskFunc  func(worker, task int)
	shareFunc func(worker, task int)
	shares    shares // of jobs
	ahead     lookahead
	fetched   []fetched // by each worker

	_      [64]byte
	pieces atomic.Int64 // rows of tasks that are computed by others, in pieces
	_      [56]byte
}

// Rows converts rows of any length: widen to f32, round to bf16, the destination first, which is as long.
type Rows struct {
	Widen func(dst []float32, src []uint16)
	Round func(dst []uint16, src []float32)
}

// New starts an engine of the given number of threads, at least 1, the caller included. Its pool must be closed.
func New(threads int, k *Kernels, rows Rows) *Engine {
	e := idleEngine(threads, k, rows)
	e.Pool = parallel.New(e.threads, e)
	return e
}

// idleEngine is an engine before it has workers.
func idleEngine(threads int, k *Kernels, rows Rows) *Engine {
	e := &Engine{threads: max(threads, 1), Kernels: k}
	e.shares, e.fetched = make(shares, e.threads), make([]fetched, e.threads)
	e.taskFunc, e.shareFunc = e.runTask, e.runShare // made once
	for range e.threads {
		e.scratch = append(e.scratch, newScratch(k, rows))
	}
	return e
}

// job is a product at work, maybe beside others.
type job struct {
	plan
	added plan // what is added to it
}

// Multiply computes products, none of which reads what another writes, on all workers in one go. It panics when an operand is too small.
func (e *Engine) Multiply(products ...*Args) {
	for _, g := range products {
		g.check(e.Kernels)
	}
	e.mu.Lock()
	e.jobs = slices.Grow(e.jobs[:0], len(products))[:len(products)]
	tasks, bytes, reads := 0, 0, true
	for i, g := range products {
		job := &e.jobs[i]
		job.Args, job.plus = *g, &job.added
		if g.M > 0 && g.N > 0 {
			job.choose(e.Kernels, e.threads)
			tasks, bytes = tasks+job.tasks, bytes+g.B.n*g.B.size()
		}
		reads = reads && job.reads()
	}
	run := e.taskFunc
	if reads && tasks > 1 {
		e.ahead.follow(e.jobs)
		e.shares.deal(tasks)
		run, tasks = e.shareFunc, e.threads
		if bytes < fewBytes/8 {
			tasks = 1 // not worth a second worker
		}
	}
	e.Pool.RunWorkers(tasks, run)
	clear(e.jobs) // keep no memory alive
	e.mu.Unlock()
}

// runTask runs a task of the products.
func (e *Engine) runTask(worker, task int) {
	for i := range e.jobs {
		job := &e.jobs[i]
		if task < job.tasks {
			job.task(task, 1, e.scratch[worker])
			return
		}
		task -= job.tasks
	}
}

// runShare runs tasks of products that read weights until none is left.
func (e *Engine) runShare(worker, _ int) {
	for lo, hi := e.shares.take(worker); lo < hi; lo, hi = e.shares.take(worker) {
		for i := range e.jobs {
			job := &e.jobs[i]
			if first := max(lo, 0); first < min(hi, job.tasks) {
				job.task(first, min(hi, job.tasks)-first, e.scratch[worker])
			}
			lo, hi = lo-job.tasks, hi-job.tasks
		}
	}
}
