package cpu

import (
	"slices"
	"sync"
	"sync/atomic"

	"hone/internal/parallel"
)

// engine multiplies matrices on a pool of workers, who help each other with products and ask for weights to come while they wait.
type engine struct {
	Pool *parallel.Pool // also for other tasks

	kernels *gemmKernels
	threads int
	scratch []*gemmScratch // one for each worker

	mu        sync.Mutex // one call of multiply at a time
	jobs      []gemmJob  // that run
	taskFunc  func(worker, task int)
	shareFunc func(worker, task int)
	shares    shares // of jobs
	ahead     lookahead
	fetched   []fetched // by each worker

	_      [64]byte
	pieces atomic.Int64 // rows of tasks that are computed by others, in pieces
	_      [56]byte
}

// rowsBF16 converts rows of any length: widen to f32, round to bf16, the destination first, which is as long.
type rowsBF16 struct {
	widen func(dst []float32, src []uint16)
	round func(dst []uint16, src []float32)
}

// newEngine starts an engine of the given number of threads, at least 1, the caller included. Its pool must be closed.
func newEngine(threads int, k *gemmKernels, rows rowsBF16) *engine {
	e := idleEngine(threads, k, rows)
	e.Pool = parallel.New(e.threads, e)
	return e
}

// idleEngine is an engine before it has workers.
func idleEngine(threads int, k *gemmKernels, rows rowsBF16) *engine {
	e := &engine{threads: max(threads, 1), kernels: k}
	e.shares, e.fetched = make(shares, e.threads), make([]fetched, e.threads)
	e.taskFunc, e.shareFunc = e.runTask, e.runShare // made once
	for range e.threads {
		e.scratch = append(e.scratch, newGemmScratch(k, rows))
	}
	return e
}

// gemmJob is a product at work, maybe beside others.
type gemmJob struct {
	gemmPlan
	added gemmPlan // what is added to it
}

// multiply computes products, none of which reads what another writes, on all workers in one go. It panics when an operand is too small.
func (e *engine) multiply(products ...*gemmArgs) {
	for _, g := range products {
		g.check(e.kernels)
	}
	e.mu.Lock()
	e.jobs = slices.Grow(e.jobs[:0], len(products))[:len(products)]
	tasks, bytes, reads := 0, 0, true
	for i, g := range products {
		job := &e.jobs[i]
		job.gemmArgs, job.plus = *g, &job.added
		if g.M > 0 && g.N > 0 {
			job.plan(e.kernels, e.threads)
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
func (e *engine) runTask(worker, task int) {
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
func (e *engine) runShare(worker, _ int) {
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
