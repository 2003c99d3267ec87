package gemm

import (
	"unsafe"

	"hone/internal/half"
)

// An arranged weight is what a product would pack it to: panels of nr columns, each with all of k, one behind the other. A product
// of few rows reads it as one stream, which memory is fastest with, and has nothing to shuffle; one of many has
// nothing to pack. The panels are multiplied by the same tiles in the same blocks of k.

// arrangedUnits is the number of units of k, and how many a panel has: packers write them by eights.
func arrangedUnits(k int, bf16 bool) (units, panel int) {
	if bf16 {
		k = (k + 1) / 2
	}
	return k, roundUp(k, 8)
}

// ArrangedLen is the number of elements of an arranged op(B) [k, n].
func (k *Kernels) ArrangedLen(depth, n int, bf16 bool) int {
	_, units := arrangedUnits(depth, bf16)
	if bf16 {
		units *= 2
	}
	return roundUp(n, k.NR) * units
}

// Arranges says whether there are tiles for panels of a weight with the given K. Those that widen pairs of bf16 take whole ones.
func (k *Kernels) Arranges(bf16 bool, depth int) bool {
	return !bf16 || k.BF16 != nil || k.widen != nil && depth%2 == 0
}

// Arrange copies the B of g into panels, which dst has room for.
func (e *Engine) Arrange(dst Mat, g Args) {
	p := plan{Args: g, k: e.Kernels, pairs: g.B.bf16}
	p.units, p.panelUnits = arrangedUnits(g.K, g.B.bf16)
	e.Pool.RunWorkers(ceilDiv(g.N, p.k.NR), func(worker, panel int) {
		j := panel * p.k.NR
		b := block{plan: &p, s: e.scratch[worker]}
		b.arrangePanel(unsafe.Add(dst.p, 4*j*p.panelUnits), j, min(p.k.NR, g.N-j))
	})
}

// arrangePanel packs n columns of op(B) from column j on.
func (b *block) arrangePanel(dst unsafe.Pointer, j, n int) {
	nr := b.k.NR
	if n < nr {
		clear(floatsAt(dst, nr*b.panelUnits))
	}
	switch {
	case b.TransB:
		b.transposeB(dst, j, n, 0, b.units)
	default:
		b.columnsOf(b.B, dst, j, 0, rowShape{rows: b.units, cols: n, ld: b.LDB, dstStride: 4 * nr})
	}
}

// arrangedB is where unit u of the panel of column j is.
func (b *block) arrangedB(j, u int) unsafe.Pointer {
	return unsafe.Add(b.B.p, 4*(j*b.panelUnits+b.rowsOfB(u)*b.k.NR))
}

// streamMost is about the most that one call of a kernel reads: assembly cannot be preempted.
const streamMost = 4 << 20

// streamPanels computes the block for few rows: one panel after the other as they lie. A single stripe of rows takes many panels in a
// call, so that nothing comes between reading one and the next; two take a block of k of a panel, which the second finds in the first cache.
func (b *block) streamPanels() {
	a, t, nr := b.prepareA(b.i, b.m, 0, b.units), &b.s.tile, b.k.NR
	panel, depth, most := 4*nr*b.panelUnits, b.kBlock, 1
	if b.m <= b.k.MR {
		depth, most = b.units, max(streamMost/panel, 1)
	}
	for j := 0; j < b.n; {
		cols, count := nr, min((b.n-j)/nr, most)
		if count == 0 {
			cols, count = b.n-j, 1
		}
		for u := 0; u < b.units; u += depth {
			add := b.begin(u, min(b.kBlock, b.units-u))
			t.Units, t.BS, t.BInc, t.CInc = b.rowsOfB(min(depth, b.units-u)), 4*nr, panel, 4*nr
			if add != nil {
				t.AddInc = t.CInc
			}
			more := j+cols < b.n || u+depth < b.units
			for r := 0; r < b.m; r += b.k.MR {
				b.setA(a, r/b.k.MR)
				t.A = unsafe.Add(t.A, u*t.CS)
				b.setC(add, r, j)
				t.B = b.arrangedB(b.j+j, u)
				b.askNextB(r, more)
				b.call(min(b.k.MR, b.m-r), cols, count)
			}
			t.Lines = 0
		}
		j += cols * count
	}
	*t = TileArgs{}
}

const (
	// turnUnits is how many units of k a whole tile takes in a turn of its loop.
	turnUnits = 4
	// streamAhead is how far behind a row of B a single stripe asks, in bytes. Of 1, 2, 4, 8 and 16 KiB a Zen 5 is fastest with 4 and 8.
	streamAhead = 4096
)

// askNextB makes the tiles of the stripe at row r of the block ask for their share of what comes next of B, if there is more, which lies behind what
// they read: memory then works while the stripes after the first find B in the first cache. A single stripe asks a little ahead of what it reads.
func (b *block) askNextB(r int, more bool) {
	t, mr := &b.s.tile, b.k.MR
	full, bytes := b.m/mr, t.Units*t.BS
	switch half := t.BS * b.rowsOfB(turnUnits) / 2; {
	case b.k.asksB && more && b.m > mr && r/mr < full:
		t.Lines, t.NextStep = ceilDiv(bytes, 64*mr*full), 64
		t.NextRS = 64 * t.Lines
		t.Next = unsafe.Add(t.B, bytes+r*t.NextRS)
	case b.m <= mr:
		t.Ask, t.AskHalf, t.AskStep = streamAhead, half, 2*half
	case more: // a first stripe asks for half of it
		t.Ask, t.AskHalf, t.AskStep = bytes+r/mr*(bytes/2), 0, half
		if r/mr == full {
			t.Ask = bytes
		}
	default:
		t.Ask = 0
	}
}

// Panels is an arranged weight as its elements are found.
type Panels struct {
	Mat
	nr, units int
}

// Panels finds elements of m, an arranged op(B) [depth, any].
func (k *Kernels) Panels(m Mat, depth int) Panels {
	_, units := arrangedUnits(depth, m.bf16)
	return Panels{m, k.NR, units}
}

// Value is element [k, n] of op(B).
func (p *Panels) Value(k, n int) float32 {
	at := n/p.nr*p.units*p.nr + n%p.nr
	if p.bf16 {
		return half.BToFloat32(halvesAt(p.p, p.n)[2*(at+k/2*p.nr)+k%2])
	}
	return floatsAt(p.p, p.n)[at+k*p.nr]
}
