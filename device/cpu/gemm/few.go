package gemm

import (
	"unsafe"

	"hone/internal/pages"
)

// With few rows, as in decoding, the time of a product is that of reading B, and
// packing would take longer than multiplying. The kernels for few rows read the
// weights where they are, once, and sum in the same order as the tiles do.
//
// The lanes of a vector are not neighbouring columns: a block of columns is cut into as many runs as
// a vector has lanes, and lane i walks through the rows of B of run i. What a core reads is thus one
// long stream for each lane, which it recognises and fetches ahead; rows read side by side,
// of a few cache lines each, it does not.
const (
	// fewMax is the most rows, in tiles: with more, packing B pays.
	fewMax = 2
	// FewUnits divides the units of k in a row of B.
	FewUnits = 8
	// fewBytes is about the least that a task of fewRows reads of B. With less than an eighth of it in all, one worker computes alone.
	fewBytes = 256 << 10
	// fewStays is how much of B stays in the second cache from one stripe of A to the next.
	fewStays = 128 << 10
)

// fewKernels are the kernels for few rows, nil where the product does not suit them.
func (p *plan) fewKernels() []TileFunc {
	wide := 1 // elements of a unit of B
	if p.B.bf16 {
		wide = 2
	}
	if p.Arranged || p.TransA || !p.TransB || p.M > fewMax*p.k.MR || p.K == 0 || p.K%(wide*FewUnits) != 0 {
		return nil
	}
	switch {
	case p.pairs:
		return p.k.FewPairs
	case !p.B.bf16:
		return p.k.FewF32
	case p.kBlock%(wide*FewUnits) == 0:
		return p.k.FewWiden
	}
	return nil
}

// cutFew sets the sizes of the tasks: columns alone, in steps, about n tasks.
func (p *plan) cutFew(n, step int) {
	p.mTasks, p.mStep, p.nStep = 1, p.M, step
	p.nTasks = max(min(n, ceilDiv(p.N, p.nStep)), 1)
	p.tasks = p.nTasks * p.Batch
}

// fewRows computes the block.
func (b *block) fewRows() {
	a, lanes, row := b.prepareA(b.i, b.m, 0, b.units), b.k.Lanes, b.LDB*b.B.size()
	j := 0
	for left := b.n / lanes; left > 0; {
		run := fewRun(left, row)
		b.fewColumns(a, fewRuns{j: j, n: run * lanes, run: run, src: b.B.at(b.offB + (b.j+j)*b.LDB), row: row})
		j += run * lanes
		left -= run
	}
	if j < b.n { // fewer than there are lanes
		src, row := b.stageFew(j)
		b.fewColumns(a, fewRuns{j: j, n: b.n - j, run: 1, src: src, row: row})
	}
}

// fewRun is the length of the next runs of rows where left could be: not so that many begin in the same
// set of the first cache, which has 64 lines of 64 bytes in each way.
func fewRun(left, row int) int {
	collide := func(run int) bool { return run > 1 && run*row/64%16 == 0 }
	if !collide(left) {
		return left
	}
	for run := left / 2; run > left/4; run-- {
		if !collide(run) && !collide(left-run) {
			return run
		}
	}
	return left
}

// stageFew copies the rows of B from column j of the block on, fewer than there are lanes.
func (b *block) stageFew(j int) (src unsafe.Pointer, row int) {
	bytes := b.K * b.B.size()
	row = bytes + 64
	pages.Grow(&b.s.stage, b.k.Lanes*row/4)
	clear(b.s.stage[:b.k.Lanes*row/4])
	src = unsafe.Pointer(&b.s.stage[0])
	for r := range b.n - j {
		from := b.B.at(b.offB + (b.j+j+r)*b.LDB)
		copy(unsafe.Slice((*byte)(unsafe.Add(src, r*row)), bytes), unsafe.Slice((*byte)(from), bytes))
	}
	return src, row
}

// fewRuns is n columns from j on: one run of rows of B for each lane, one behind the other from src on. With n less
// than there are lanes the runs have one row, and the last lanes do not count.
type fewRuns struct {
	j, n, run int
	src       unsafe.Pointer
	row       int // bytes from row to row
}

// fewColumns computes the columns of f for all rows of A.
func (b *block) fewColumns(a packedA, f fewRuns) {
	lanes := b.k.Lanes
	ld := f.run*lanes + lanes // elements of a row of sums
	pages.Grow(&b.s.sums, b.m*ld)
	t := &b.s.tile
	*t = TileArgs{K: b.kBlock, Units: b.units, RS: a.rs, CS: a.cs, BS: f.run * f.row, BInc: f.row, CInc: 4 * lanes, LDC: 4 * ld}
	if b.Accumulate || b.Bias != nil {
		b.fewBegin(f, ld)
		t.AddInc, t.LDAdd = t.CInc, t.LDC
	}
	step := f.run
	if b.m > b.k.MR {
		step = max(fewStays/(lanes*f.row), 1)
	}
	for i := 0; i < f.run; i += step {
		t.Count = min(step, f.run-i)
		for r := 0; r < b.m; r += b.k.MR {
			t.A, t.B = unsafe.Add(a.p, r/b.k.MR*a.stripe), unsafe.Add(f.src, i*f.row)
			t.C = unsafe.Pointer(&b.s.sums[r*ld+i*lanes])
			if t.AddInc != 0 {
				t.Add = t.C
			}
			b.few[min(b.k.MR, b.m-r)-1](t)
		}
	}
	*t = TileArgs{}
	b.fewEnd(f, ld)
}

// fewBegin puts what the sums begin with where the kernels add it: C or the bias, lane by lane.
func (b *block) fewBegin(f fewRuns, ld int) {
	lanes := b.k.Lanes
	for r := range b.m {
		from := b.Bias
		if b.Accumulate {
			from = floatsAt(unsafe.Add(b.c, r*b.ldc), b.n)[f.j:]
		} else {
			from = from[b.j+f.j:]
		}
		sums := b.s.sums[r*ld : (r+1)*ld]
		for c := range f.n {
			sums[c%f.run*lanes+c/f.run] = from[c]
		}
	}
}

// fewEnd moves the sums to where their columns are.
func (b *block) fewEnd(f fewRuns, ld int) {
	lanes := b.k.Lanes
	for r := range b.m {
		sums, c := b.s.sums[r*ld:(r+1)*ld], floatsAt(unsafe.Add(b.c, r*b.ldc), b.n)[f.j:]
		switch {
		case f.run == 1:
			copy(c[:f.n], sums)
		case f.run < 8:
			for i := range f.n {
				c[i] = sums[i%f.run*lanes+i/f.run]
			}
		default:
			p := &b.s.pack
			*p = PackArgs{SrcStride: 4 * lanes, DstStride: 4 * f.run, Vecs: lanes / 8}
			for t := 0; t < f.run; t += 8 {
				t := min(t, f.run-8)
				p.Src, p.Dst = unsafe.Pointer(&sums[t*lanes]), unsafe.Pointer(&c[t])
				b.k.Transpose(p)
			}
		}
	}
}
