// Package attention computes softmax(Q·Kᵀ)·V and its gradient on the processor, in blocks whose scores stay in the caches.
//
// It stands between the kernels that it is made of: products are the tiles of package gemm, on operands that it packs itself or reads where
// they lie, and rows of scores are package vec's. It knows sequences and heads, and nothing of buffers: package cpu views these for it.
package attention

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"hone/device"
	"hone/device/cpu/gemm"
	"hone/device/cpu/vec"
	"hone/internal/pages"
	"hone/internal/parallel"
)

// Attention in blocks, after Dao et al., "FlashAttention-2" (2023). The query
// heads that share a key/value head are rows of one problem: row r of a sequence
// is head r%group of query r/group, so that their products run on the same
// packed keys and fill whole tiles even when one token is decoded.
//
// The order of every sum is fixed by the position of keys in their sequence, so
// the row of a query has the same bits in training, in prefill and in decoding,
// whatever other rows the call has and on any number of workers.
const (
	// forwardKeys is the number of keys whose scores share one maximum. Blocks are counted
	// from the sequence's first key and joined in order. This and backwardKeys decide the bits of results, and the others only the time.
	forwardKeys = 256
	// backwardKeys is the number of keys whose gradients are summed together.
	backwardKeys = 128
	// forwardRows is the most rows of one task: what the cost of packing keys is spread over.
	forwardRows = 256
	// forwardRowBlock and backwardRowBlock are about the number of rows whose scores are held at one time.
	forwardRowBlock  = 32
	backwardRowBlock = 64
	// maxPartials is the most elements of query gradients that may wait to be summed.
	maxPartials = 64 << 20
)

// Engine computes one call at a time, and keeps what it needed for the next.
type Engine struct {
	mu   sync.Mutex
	pool *parallel.Pool
	path vec.Path

	device.AttentionGrad // the call
	q, k, v, o           headMatrix
	do, dq, dk, dv       headMatrix
	lse                  []float32
	group                int // query heads of a key/value head
	dp                   int // D rounded up to vectors

	pairs bool // products multiply pairs of bf16; see pairs.go
	units int  // D in units of a product

	workers  []*worker
	tasks    []task
	partials []float32 // of the gradients of queries, where tasks share them

	// Made once, so that a call allocates nothing.
	forwardTask, backwardTask, sumTask func(worker, task int)
}

// task is what a worker takes at a time: some rows of a key/value head in Forward, some blocks of keys in Backward.
type task struct {
	sequence, kv int
	lo, hi       int
	cost         int
	partial      int // where its gradients of queries go in partials, -1 for nowhere
}

// New returns an engine that shares out its work over the pool.
func New(pool *parallel.Pool, k *gemm.Kernels, path vec.Path) *Engine {
	a := &Engine{pool: pool, path: path}
	for range pool.Threads() {
		a.workers = append(a.workers, newWorker(k))
	}
	a.forwardTask = func(worker, at int) {
		a.expectForward(a.workers[worker], at)
		a.forward(a.workers[worker], a.tasks[at])
	}
	a.backwardTask = func(worker, at int) {
		a.expectBackward(a.workers[worker], at)
		a.backward(a.workers[worker], a.tasks[at])
	}
	a.sumTask = func(_, at int) { a.sumPartials(a.tasks[at]) }
	return a
}

// Operands are the memory of the buffers that a call names: of a forward pass those of the first line.
type Operands struct {
	Q, K, V, O     vec.Floats
	LSE            []float32 // nil where the call has none
	DO, DQ, DK, DV vec.Floats
}

// Forward computes softmax(Scale·Q·Kᵀ + mask)·V for each head and sequence. It panics when the operands do not fit each other.
func (a *Engine) Forward(c device.Attention, o Operands) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.AttentionGrad = device.AttentionGrad{Attention: c}
	a.check("Attention", &o)
	a.planForward(len(a.workers))
	a.pool.RunWorkers(len(a.tasks), a.forwardTask)
	a.AttentionGrad = device.AttentionGrad{}
}

// Backward computes the gradients of what Forward computed, from its O and LSE.
func (a *Engine) Backward(c device.AttentionGrad, o Operands) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.AttentionGrad = c
	a.check("AttentionGrad", &o)
	a.checkGrad(&o)
	shared := a.planBackward(len(a.workers))
	a.pool.RunWorkers(len(a.tasks), a.backwardTask)
	if shared {
		a.planSum()
		a.pool.RunWorkers(len(a.tasks), a.sumTask)
	}
	a.AttentionGrad = device.AttentionGrad{}
}

// headMatrix is a matrix with a row for each token, in which heads stand side by side.
type headMatrix struct {
	vec.Floats
	stride int // elements between rows
}

// headsOf is x with rows stride apart, n elements in all.
func headsOf(op string, x vec.Floats, n, stride int) headMatrix {
	if x.Len() != n {
		panic(fmt.Sprintf("cpu: %s with operands of %d and %d elements", op, n, x.Len()))
	}
	return headMatrix{x, stride}
}

// address is where element at is.
func (v *headMatrix) address(at int) unsafe.Pointer {
	if v.H != nil {
		return unsafe.Pointer(&v.H[at])
	}
	return unsafe.Pointer(&v.F[at])
}

// storeRow stores src from element at on, rounded if need be.
func (v *headMatrix) storeRow(at int, src []float32) {
	if v.H != nil {
		v.Path.Round(v.H[at:at+len(src)], src)
		return
	}
	copy(v.F[at:at+len(src)], src)
}

// check takes the operands and panics when they do not fit each other.
func (a *Engine) check(op string, o *Operands) {
	queries, _, ok := a.Rows()
	if !ok {
		panic(fmt.Sprintf("cpu: %s of %d heads with %d key/value heads of %d channels in a window of %d: Q %d elements, row stride %d; K %d, V %d, %d; O %d; sequences %v",
			op, a.Heads, a.KVHeads, a.D, a.Window, a.Q.Len, a.LDQ, a.K.Len, a.V.Len, a.LDKV, a.O.Len, a.Sequences))
	}
	q, kv := a.Strides()
	a.q, a.o = headsOf(op, o.Q, a.Q.Len, q), headsOf(op, o.O, a.O.Len, a.Heads*a.D)
	a.k, a.v = headsOf(op, o.K, a.K.Len, kv), headsOf(op, o.V, a.V.Len, kv)
	if a.lse = o.LSE; a.lse != nil && len(a.lse) != queries*a.Heads {
		panic(fmt.Sprintf("cpu: %s with operands of %d and %d elements", op, queries*a.Heads, len(a.lse)))
	}
	a.group = a.Heads / a.KVHeads
	a.dp = roundUp(a.D, a.workers[0].kernels.Lanes)
	a.chooseUnits(a.q.H != nil && a.k.H != nil && a.v.H != nil)
}

func (a *Engine) checkGrad(o *Operands) {
	const op = "AttentionGrad"
	if a.LSE.IsZero() {
		panic("cpu: AttentionGrad without the LSE of the forward pass")
	}
	a.do, a.dq = headsOf(op, o.DO, a.O.Len, a.o.stride), headsOf(op, o.DQ, a.Q.Len, a.q.stride)
	a.dk, a.dv = headsOf(op, o.DK, a.K.Len, a.k.stride), headsOf(op, o.DV, a.V.Len, a.v.stride)
	a.chooseUnits(a.pairs && a.do.H != nil)
}

// visible is the range of keys that query i of s sees.
func (a *Engine) visible(s *device.Sequence, i int) (lo, hi int) {
	hi = s.KLen - s.QLen + i + 1
	if a.Window > 0 {
		lo = max(0, hi-a.Window)
	}
	return lo, hi
}

// query is the query of row r, and which of the heads on its key/value head.
func (a *Engine) query(r int) (i, g int) {
	if a.group == 1 { // a division for each row is felt
		return r, 0
	}
	return r / a.group, r % a.group
}

// lseAt is where the log-sum-exp of row r is.
func (a *Engine) lseAt(s *device.Sequence, kv, r int) int {
	i, g := a.query(r)
	return (s.Q+i)*a.Heads + kv*a.group + g
}

// rowAt is where row r of key/value head kv begins in a matrix of queries.
func (a *Engine) rowAt(v *headMatrix, s *device.Sequence, kv, r int) int {
	i, g := a.query(r)
	return (s.Q+i)*v.stride + (kv*a.group+g)*a.D
}

// keyRows are keys lo to hi of head kv in a matrix of keys.
func (a *Engine) keyRows(v *headMatrix, s *device.Sequence, kv, lo, hi int) headRows {
	return headRows{v: v.Floats, off: (s.K+lo)*v.stride + kv*a.D, stride: v.stride, d: a.D, n: hi - lo}
}

// planForward makes tasks of rows, the costliest first. Where there are few, they
// have fewer rows; that changes no result.
func (a *Engine) planForward(threads int) {
	for rows := forwardRows; ; rows /= 2 {
		a.tasks = a.tasks[:0]
		for n := range a.Sequences {
			s := &a.Sequences[n]
			for lo := 0; lo < s.QLen*a.group; lo += rows {
				hi := min(lo+rows, s.QLen*a.group)
				first, _ := a.visible(s, lo/a.group)
				_, last := a.visible(s, (hi-1)/a.group)
				for kv := range a.KVHeads {
					a.tasks = append(a.tasks, task{sequence: n, kv: kv, lo: lo, hi: hi, cost: (hi - lo) * (last - first)})
				}
			}
		}
		if len(a.tasks) >= 4*threads || rows <= forwardRows/4 {
			break
		}
	}
	a.sortTasks()
}

func (a *Engine) sortTasks() {
	slices.SortStableFunc(a.tasks, func(x, y task) int { return y.cost - x.cost })
}

// planBackward makes tasks of all keys of a head or, where these are too few to
// keep the workers busy, of one block of keys each. Then the gradients of queries
// wait in partials to be summed, in the order in which one task would have done
// it, and planBackward reports true.
func (a *Engine) planBackward(threads int) (shared bool) {
	heads, partials := 0, 0
	for _, s := range a.Sequences {
		heads += a.KVHeads
		partials += a.KVHeads * keyBlocks(s.KLen) * s.QLen * a.group * a.dp
	}
	shared = threads > 1 && heads < 4*threads && partials <= maxPartials
	if shared {
		pages.Grow(&a.partials, partials)
	}
	a.tasks = a.tasks[:0]
	partial := 0
	for n, s := range a.Sequences {
		blocks := keyBlocks(s.KLen)
		for kv := range a.KVHeads {
			if !shared {
				a.tasks = append(a.tasks, task{sequence: n, kv: kv, hi: blocks, cost: s.QLen * s.KLen, partial: -1})
				continue
			}
			for b := range blocks {
				a.tasks = append(a.tasks, task{sequence: n, kv: kv, lo: b, hi: b + 1, cost: a.blockCost(&s, b), partial: partial})
				partial += s.QLen * a.group * a.dp
			}
		}
	}
	a.sortTasks()
	return shared
}

func keyBlocks(keys int) int { return (keys + backwardKeys - 1) / backwardKeys }

// blockCost is about the number of queries that see key block b.
func (a *Engine) blockCost(s *device.Sequence, b int) int {
	lo, hi := a.seeing(s, b*backwardKeys, min((b+1)*backwardKeys, s.KLen))
	return max(0, hi-lo)
}

// seeing is the range of queries that see some key of lo to hi.
func (a *Engine) seeing(s *device.Sequence, lo, hi int) (first, last int) {
	before := s.KLen - s.QLen
	first, last = max(0, lo-before), s.QLen
	if a.Window > 0 {
		last = min(last, hi+a.Window-1-before)
	}
	return first, last
}

func roundUp(a, multiple int) int { return ceilDiv(a, multiple) * multiple }

func ceilDiv(a, b int) int { return (a + b - 1) / b }
