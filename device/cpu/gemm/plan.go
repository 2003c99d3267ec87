package gemm

// kBlockMax is the most units of k (f32, or pairs of bf16) summed in registers
// before the sum is added to C. It is the same on all machines, for the order of
// a sum must not depend on caches.
const kBlockMax = 256

// plan is a product cut into tasks: blocks of C, each computed for all of K
// by one worker.
type plan struct {
	Args
	k          *Kernels
	tiles      [][]TileFunc
	few        []TileFunc // for few rows, nil where B is packed
	stream     bool       // few rows by an arranged B
	panelUnits int        // units in a panel of an arranged B
	pairs      bool       // a unit of k is a pair of bf16
	widens     bool       // a row of B has two units of k: an arranged B in pairs of bf16, which the tiles widen
	units      int        // K in units
	kBlock     int        // units in a block of k
	mStep      int        // rows of a task are a multiple of it
	nStep      int        // columns of a task likewise
	mTasks     int
	nTasks     int
	tasks      int
	ahead      int   // of a batch, how many products on is the one that a worker will probably compute next; 0: it asks for nothing of it
	targetF    bool  // C is F32 and the kernels write it directly
	plus       *plan // of Plus, where that is something
}

// choose sets the blocks. Only kBlock decides about the bits of the result.
func (p *plan) choose(k *Kernels, threads int) {
	p.stream = p.Arranged && p.M <= fewMax*k.MR && p.K > 0
	p.order(k)
	if p.Plus.K > 0 {
		p.plus.planPlus(p)
	}
	_, p.panelUnits = arrangedUnits(p.K, p.pairs || p.widens)
	p.few = p.fewKernels()
	switch {
	case p.few != nil:
		p.cutFew(max(min(p.N*p.K*p.B.size()/fewBytes, 4*threads), threads), k.Lanes)
	case p.stream:
		p.cutFew(ceilDiv(p.N, k.NR), k.NR)
	default:
		p.cut(threads)
		p.lookAhead(threads)
	}
}

// reads says whether the product takes as long as reading its weight: its tasks are parts of the weight, in its order.
func (p *plan) reads() bool { return (p.few != nil || p.stream) && p.Batch == 1 }

// order sets what the order of the sums depends on.
func (p *plan) order(k *Kernels) {
	p.k = k
	p.pairs = p.A.bf16 && p.B.bf16 && k.BF16 != nil
	p.tiles, p.units = k.F32, p.K
	streams := k.streams.f32
	switch p.widens = p.Arranged && p.B.bf16 && !p.pairs; {
	case p.pairs:
		p.tiles, streams, p.units = k.BF16, k.streams.pairs, (p.K+1)/2
	case p.widens:
		p.tiles, streams = k.widen, k.streams.widen
	}
	if p.stream && streams != nil {
		p.tiles = streams
	}
	p.kBlock = roundUp(ceilDiv(p.units, max(ceilDiv(p.units, kBlockMax), 1)), 8)
	p.targetF = !p.C.bf16
}

// rowsOfB is how many rows of B the tiles read for a number of units of k.
func (p *plan) rowsOfB(units int) int {
	if p.widens {
		return units / 2
	}
	return units
}

// cut sets the sizes of the tasks. A task packs a block of B, kBlock by its columns,
// which stays in the second cache while A streams past it, so it should be low
// and wide in B and long in A. There are many tasks or a multiple of the
// threads, so that no worker is idle at the end.
func (p *plan) cut(threads int) {
	p.mTasks, p.nTasks = 1, ceilDiv(p.N, p.k.packs/(4*max(p.kBlock, 64)))
	work := 2 * float64(p.M) * float64(p.N) * float64(max(p.K, 1)) * float64(p.Batch)
	for work > serialFlops && !p.balanced(threads) {
		m, n := ceilDiv(p.M, p.mTasks+1), ceilDiv(p.N, p.nTasks+1)
		switch {
		case m >= 256:
			p.mTasks++
		case n >= 2*p.k.NR || m < p.k.MR && n >= p.k.NR:
			p.nTasks++
		case m >= 4*p.k.MR:
			p.mTasks++
		default:
			threads = 1 // cannot be cut further
		}
	}
	p.mStep, p.nStep = p.k.MR, p.k.NR
	p.mTasks, p.nTasks = min(p.mTasks, ceilDiv(p.M, p.mStep)), min(p.nTasks, ceilDiv(p.N, p.nStep))
	p.tasks = p.mTasks * p.nTasks * p.Batch
}

// partOf is part i of a size cut into parts of whole steps, none of which has two steps more than another.
func partOf(i, parts, size, step int) (lo, n int) {
	steps := ceilDiv(size, step)
	lo = i * steps / parts * step
	return lo, min((i+1)*steps/parts*step, size) - lo
}

// stripeGroup is how many stripes of A are prepared together.
const stripeGroup = 8

// serialFlops is the work that is not worth a second worker.
const serialFlops = 1e5

// balanced says whether the tasks keep the threads busy to the end.
func (p *plan) balanced(threads int) bool {
	t := p.mTasks * p.nTasks * p.Batch
	return threads == 1 || t%threads == 0 || t >= 16*threads
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func roundUp(a, multiple int) int { return ceilDiv(a, multiple) * multiple }
