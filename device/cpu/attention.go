package cpu

import (
	"fmt"
	"slices"
	"unsafe"

	"hone/device"
	"hone/device/cpu/gemm"
	"hone/internal/pages"
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

// attention is a call of Attention or AttentionGrad, kept for the next one.
type attention struct {
	device.AttentionGrad
	q, k, v, o     headMatrix
	do, dq, dk, dv headMatrix
	lse            []float32
	group          int // query heads of a key/value head
	dp             int // D rounded up to vectors

	pairs bool // products multiply pairs of bf16; see attention_pairs.go
	units int  // D in units of a product

	workers  []*attentionWorker
	tasks    []attentionTask
	partials []float32 // of the gradients of queries, where tasks share them

	// Made once, so that a call allocates nothing.
	forwardTask, backwardTask, sumTask func(worker, task int)
}

// attentionTask is one task: some rows of a key/value head in Attention, some blocks of keys in AttentionGrad.
type attentionTask struct {
	sequence, kv int
	lo, hi       int
	cost         int
	partial      int // where its gradients of queries go in partials, -1 for nowhere
}

func newAttention(threads int, k *gemm.Kernels) *attention {
	a := &attention{}
	for range threads {
		a.workers = append(a.workers, newAttentionWorker(k))
	}
	a.forwardTask = func(worker, task int) {
		a.expectForward(a.workers[worker], task)
		a.forward(a.workers[worker], a.tasks[task])
	}
	a.backwardTask = func(worker, task int) {
		a.expectBackward(a.workers[worker], task)
		a.backward(a.workers[worker], a.tasks[task])
	}
	a.sumTask = func(worker, task int) { a.sumPartials(a.workers[worker], a.tasks[task]) }
	return a
}

// Attention computes softmax(Scale·Q·Kᵀ + mask)·V for each head and sequence.
func (d *Device) Attention(c device.Attention) {
	d.attentionMu.Lock()
	defer d.attentionMu.Unlock()
	a := d.attention
	a.AttentionGrad = device.AttentionGrad{Attention: c}
	a.check("Attention")
	a.planForward(d.threads)
	d.pool.RunWorkers(len(a.tasks), a.forwardTask)
	a.AttentionGrad = device.AttentionGrad{}
}

// AttentionGrad computes the gradients of Attention.
func (d *Device) AttentionGrad(c device.AttentionGrad) {
	d.attentionMu.Lock()
	defer d.attentionMu.Unlock()
	a := d.attention
	a.AttentionGrad = c
	a.check("AttentionGrad")
	a.checkGrad()
	shared := a.planBackward(d.threads)
	d.pool.RunWorkers(len(a.tasks), a.backwardTask)
	if shared {
		a.planSum()
		d.pool.RunWorkers(len(a.tasks), a.sumTask)
	}
	a.AttentionGrad = device.AttentionGrad{}
}

// headMatrix is a matrix with a row for each token, in which heads stand side by side.
type headMatrix struct {
	floats
	stride int // elements between rows
}

func headsOf(op string, b device.Buffer, n, stride int) headMatrix {
	return headMatrix{floatsOf(op, b, n), stride}
}

// address is where element at is.
func (v *headMatrix) address(at int) unsafe.Pointer {
	if v.h != nil {
		return unsafe.Pointer(&v.h[at])
	}
	return unsafe.Pointer(&v.f[at])
}

// storeRow stores src from element at on, rounded if need be.
func (v *headMatrix) storeRow(at int, src []float32) {
	if v.h != nil {
		vecF32ToBF16(v.h[at:at+len(src)], src)
		return
	}
	copy(v.f[at:at+len(src)], src)
}

// check views the operands and panics when they do not fit each other.
func (a *attention) check(op string) {
	queries, _, ok := a.Rows()
	if !ok {
		panic(fmt.Sprintf("cpu: %s of %d heads with %d key/value heads of %d channels in a window of %d: Q %d elements, row stride %d; K %d, V %d, %d; O %d; sequences %v",
			op, a.Heads, a.KVHeads, a.D, a.Window, a.Q.Len, a.LDQ, a.K.Len, a.V.Len, a.LDKV, a.O.Len, a.Sequences))
	}
	q, kv := a.Strides()
	a.q, a.o = headsOf(op, a.Q, a.Q.Len, q), headsOf(op, a.O, a.O.Len, a.Heads*a.D)
	a.k, a.v = headsOf(op, a.K, a.K.Len, kv), headsOf(op, a.V, a.V.Len, kv)
	a.lse = optionalF32s(op, a.LSE, queries*a.Heads)
	a.group = a.Heads / a.KVHeads
	a.dp = roundUp(a.D, a.workers[0].kernels.Lanes)
	a.chooseUnits(a.q.h != nil && a.k.h != nil && a.v.h != nil)
}

func (a *attention) checkGrad() {
	const op = "AttentionGrad"
	if a.LSE.IsZero() {
		panic("cpu: AttentionGrad without the LSE of the forward pass")
	}
	a.do, a.dq = headsOf(op, a.DO, a.O.Len, a.o.stride), headsOf(op, a.DQ, a.Q.Len, a.q.stride)
	a.dk, a.dv = headsOf(op, a.DK, a.K.Len, a.k.stride), headsOf(op, a.DV, a.V.Len, a.v.stride)
	a.chooseUnits(a.pairs && a.do.h != nil)
}

// visible is the range of keys that query i of s sees.
func (a *attention) visible(s *device.Sequence, i int) (lo, hi int) {
	hi = s.KLen - s.QLen + i + 1
	if a.Window > 0 {
		lo = max(0, hi-a.Window)
	}
	return lo, hi
}

// query is the query of row r, and which of the heads on its key/value head.
func (a *attention) query(r int) (i, g int) {
	if a.group == 1 { // a division for each row is felt
		return r, 0
	}
	return r / a.group, r % a.group
}

// lseAt is where the log-sum-exp of row r is.
func (a *attention) lseAt(s *device.Sequence, kv, r int) int {
	i, g := a.query(r)
	return (s.Q+i)*a.Heads + kv*a.group + g
}

// rowAt is where row r of key/value head kv begins in a matrix of queries.
func (a *attention) rowAt(v *headMatrix, s *device.Sequence, kv, r int) int {
	i, g := a.query(r)
	return (s.Q+i)*v.stride + (kv*a.group+g)*a.D
}

// keyRows are keys lo to hi of head kv in a matrix of keys.
func (a *attention) keyRows(v *headMatrix, s *device.Sequence, kv, lo, hi int) headRows {
	return headRows{v: v.floats, off: (s.K+lo)*v.stride + kv*a.D, stride: v.stride, d: a.D, n: hi - lo}
}

// planForward makes tasks of rows, the costliest first. Where there are few, they
// have fewer rows; that changes no result.
func (a *attention) planForward(threads int) {
	for rows := forwardRows; ; rows /= 2 {
		a.tasks = a.tasks[:0]
		for n := range a.Sequences {
			s := &a.Sequences[n]
			for lo := 0; lo < s.QLen*a.group; lo += rows {
				hi := min(lo+rows, s.QLen*a.group)
				first, _ := a.visible(s, lo/a.group)
				_, last := a.visible(s, (hi-1)/a.group)
				for kv := range a.KVHeads {
					a.tasks = append(a.tasks, attentionTask{sequence: n, kv: kv, lo: lo, hi: hi, cost: (hi - lo) * (last - first)})
				}
			}
		}
		if len(a.tasks) >= 4*threads || rows <= forwardRows/4 {
			break
		}
	}
	a.sortTasks()
}

func (a *attention) sortTasks() {
	slices.SortStableFunc(a.tasks, func(x, y attentionTask) int { return y.cost - x.cost })
}

// planBackward makes tasks of all keys of a head or, where these are too few to
// keep the workers busy, of one block of keys each. Then the gradients of queries
// wait in partials to be summed, in the order in which one task would have done
// it, and planBackward reports true.
func (a *attention) planBackward(threads int) (shared bool) {
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
				a.tasks = append(a.tasks, attentionTask{sequence: n, kv: kv, hi: blocks, cost: s.QLen * s.KLen, partial: -1})
				continue
			}
			for b := range blocks {
				a.tasks = append(a.tasks, attentionTask{sequence: n, kv: kv, lo: b, hi: b + 1, cost: a.blockCost(&s, b), partial: partial})
				partial += s.QLen * a.group * a.dp
			}
		}
	}
	a.sortTasks()
	return shared
}

func keyBlocks(keys int) int { return (keys + backwardKeys - 1) / backwardKeys }

// blockCost is about the number of queries that see key block b.
func (a *attention) blockCost(s *device.Sequence, b int) int {
	lo, hi := a.seeing(s, b*backwardKeys, min((b+1)*backwardKeys, s.KLen))
	return max(0, hi-lo)
}

// seeing is the range of queries that see some key of lo to hi.
func (a *attention) seeing(s *device.Sequence, lo, hi int) (first, last int) {
	before := s.KLen - s.QLen
	first, last = max(0, lo-before), s.QLen
	if a.Window > 0 {
		last = min(last, hi+a.Window-1-before)
	}
	return first, last
}
