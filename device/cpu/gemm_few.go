package cpu

import "unsafe"

// With few rows, as in decoding, the time of a product is that of reading B, and
// packing would take longer than multiplying. The kernels for few rows read the
// weights where they are, once, and sum in the same order as the tiles do.
const (
	// fewMax is the most rows, in tiles: with more, packing B pays.
	fewMax = 2
	// fewUnits divides the units of k in a row of B.
	fewUnits = 8
	// fewBytes is about what a task reads of B, and what is not worth a second worker.
	fewBytes = 128 << 10
	// fewAhead is how much of B may wait in the second cache.
	fewAhead = 256 << 10
)

// fewKernels are the kernels for few rows, nil where the product does not suit them.
func (p *gemmPlan) fewKernels() []tileFunc {
	wide := 1 // elements of a unit of B
	if p.B.bf16 {
		wide = 2
	}
	if p.TransA || !p.TransB || p.M > fewMax*p.k.mr || p.K == 0 || p.K%(wide*fewUnits) != 0 {
		return nil
	}
	switch {
	case p.pairs:
		return p.k.fewPairs
	case !p.B.bf16:
		return p.k.fewF32
	case p.kBlock%(wide*fewUnits) == 0:
		return p.k.fewWiden
	}
	return nil
}

// cutFew sets the sizes of the tasks: columns alone, the same number for each thread.
func (p *gemmPlan) cutFew(threads int) {
	bytes := p.N * p.K * p.B.size()
	p.nTasks = min(ceilDiv(bytes, fewBytes), 4*threads)
	if bytes > fewBytes/4 {
		p.nTasks = roundUp(p.nTasks, threads)
	}
	p.mTasks, p.mStep, p.nStep = 1, p.M, p.k.lanes
	p.nTasks = min(p.nTasks, ceilDiv(p.N, p.nStep))
	p.tasks = p.nTasks * p.Batch
}

// fewRows computes the block, a vector of columns after the other.
func (b *gemmBlock) fewRows() {
	a := b.prepareA(b.i, b.m, 0, b.units)
	group, last := 1, b.n-b.n%b.k.lanes
	if b.kBlock >= b.units { // several vectors in a call, as many as stay in the first cache
		group = max(fewBytes/8/(b.k.lanes*b.K*b.B.size()), 1)
	}
	for j := 0; j < last; {
		n := min(group, (last-j)/b.k.lanes)
		for u := 0; u < b.units; u += b.kBlock {
			src := b.B.at(b.fewOffset(j, u))
			b.fewTiles(a, fewTile{j: j, n: n * b.k.lanes, u: u, src: src, stride: b.LDB * b.B.size(), next: b.fewNext(j, u)})
		}
		j += n * b.k.lanes
	}
	if last == b.n {
		return
	}
	for u := 0; u < b.units; u += b.kBlock {
		src, stride := b.stageFew(last, u, min(b.kBlock, b.units-u))
		b.fewTiles(a, fewTile{j: last, n: b.n - last, u: u, src: src, stride: stride, next: src})
	}
}

// fewOffset is the element of B where column j of the block begins, at unit u.
func (b *gemmBlock) fewOffset(j, u int) int {
	if b.pairs {
		u *= 2
	}
	return b.offB + (b.j+j)*b.LDB + u
}

// fewNext is what to ask for while columns from j on are read at unit u: as much of the columns behind them, in the
// order of memory. Where those are too much to wait in the second cache, it is what is read anyway.
func (b *gemmBlock) fewNext(j, u int) unsafe.Pointer {
	at, next := b.fewOffset(j, 0), b.k.lanes*b.LDB
	if next*b.B.size() > fewAhead {
		return b.B.at(b.fewOffset(j, u))
	}
	return b.B.at(min(at+next+b.k.lanes*(b.fewOffset(j, u)-at), b.B.n-1))
}

// stageFew copies the rows of the last columns, fewer than a vector has, for units u to u+kc.
func (b *gemmBlock) stageFew(j, u, kc int) (src unsafe.Pointer, stride int) {
	elements := kc
	if b.pairs {
		elements *= 2
	}
	size := b.B.size()
	stride = elements*size + 64
	grow(&b.s.stage, b.k.lanes*stride/4)
	clear(b.s.stage[:b.k.lanes*stride/4])
	src = unsafe.Pointer(&b.s.stage[0])
	for r := range b.n - j {
		row := b.B.at(b.fewOffset(j+r, u))
		copy(unsafe.Slice((*byte)(unsafe.Add(src, r*stride)), elements*size), unsafe.Slice((*byte)(row), elements*size))
	}
	return src, stride
}

// fewTile is n columns from j on, for the block of k at unit u: their rows of B from src on.
type fewTile struct {
	j, n, u   int
	src, next unsafe.Pointer
	stride    int // bytes
}

// fewTiles computes the columns of f for all rows.
func (b *gemmBlock) fewTiles(a packedA, f fewTile) {
	add := b.begin(f.u, min(b.kBlock, b.units-f.u))
	t := &b.s.tile
	t.RS, t.CS, t.BS = a.rs, a.cs, f.stride
	t.BInc, t.CInc = b.k.lanes*f.stride, 4*b.k.lanes
	if add != nil {
		t.AddInc = t.CInc
	}
	b.mask(f.n, ceilDiv(f.n, b.k.lanes))
	for r := 0; r < b.m; r += b.k.mr {
		t.A, t.B, t.Next = unsafe.Add(a.p, r/b.k.mr*a.stripe+f.u*a.cs), f.src, f.next
		b.setC(add, r, f.j)
		b.few[min(b.k.mr, b.m-r)-1](t)
		f.next = f.src
	}
	*t = tileArgs{}
}
