package attention

import (
	"unsafe"

	"hone/device/cpu/gemm"
	"hone/device/cpu/vec"
	"hone/internal/pages"
)

// worker is what one worker of the pool needs to compute attention:
// the tile kernels of the matrix product and scratch that grows to the largest
// head seen. Its rows are row-major with dp columns, D rounded up to vectors.
type worker struct {
	kernels *gemm.Kernels
	tiles   [][]gemm.TileFunc // of the units that are multiplied
	pairs   bool              // a unit is a pair of bf16, not an f32
	panel   int               // columns of a full tile
	tile    gemm.TileArgs
	pack    gemm.PackArgs

	q, do              []float32 // rows of scaled queries and of output gradients
	kT, vT             []float32 // panels of keys and values, transposed; see packTransposed
	kRow, vRow         []float32 // rows of keys and values
	s, ds              []float32 // scores, then probabilities; gradients of scores
	o, part            []float32 // rows of outputs; those of one block of keys
	dq, dk, dv         []float32 // rows of gradients
	max, sum, inverse  []float32 // of the rows of o; of sum
	blockMax, blockSum []float32 // of a block of rows and keys
	lse, delta         []float32 // of all rows of a sequence
	stage, slope       []float32

	sPairs, dsPairs, doPairs, qPairs []float32 // rows 2r and 2r+1 of s, ds, do and q as row r of pairs

	tileLo, tileHi []int // keys that each tile of a block of rows sees

	coming, left []comingRows // of the next task; those that were not asked for
}

func newWorker(k *gemm.Kernels) *worker {
	return &worker{kernels: k, panel: k.NR}
}

// rows is the number of rows that one tile computes.
func (w *worker) rows() int { return w.kernels.MR }

// product describes C (+)= A·B; strides are in units, which are f32 or in A and B pairs
// of bf16 that follow each other along k.
//
//	A[i, k] = a[i*rs + k*cs], C[i, j] = c[i*ldc + j]
//	B[k, j] = b[j/panel*panels + k*bs + j%panel]
//
// B is row-major where panels is the panel itself.
type product struct {
	m, n, k int // n is a multiple of the vector length
	a       *float32
	rs, cs  int
	b       *float32
	bs      int
	halves  bool // B is bf16, row-major: its strides are in these
	panels  int  // from one panel of B to the next
	c       *float32
	ldc     int
	add     bool
}

// sizeB is the number of bytes of a unit of B.
func (p *product) sizeB() int {
	if p.halves {
		return 2
	}
	return 4
}

// behind is n units of B on from its beginning.
func (p *product) behind(n int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p.b), n*p.sizeB()))
}

// begin sets what all tiles of p share.
func (w *worker) begin(p *product) {
	w.tile = gemm.TileArgs{
		RS: p.rs * 4, CS: p.cs * 4, BS: p.bs * p.sizeB(), LDC: p.ldc * 4, LDAdd: p.ldc * 4, K: p.k, Count: 1, Bits: ^uint64(0),
	}
}

// smallB is the number of elements of B that leave room in the first cache for a strip of A.
const smallB = 5 << 10

// multiply computes p. The sum over k runs in its order, whatever m and n are. A
// small B stays in the first cache while the rows of A pass by, each once; of a
// larger one, its panels do, one after the other.
func (w *worker) multiply(p *product) {
	w.begin(p)
	if p.n > w.panel && p.n*p.k <= smallB {
		for i := 0; i < p.m; i += w.kernels.MR {
			w.multiplyRows(p, i, min(w.kernels.MR, p.m-i))
		}
		return
	}
	t, mr := &w.tile, w.kernels.MR
	for j := 0; j < p.n; {
		n := w.columns(p, j)
		if full := p.m / mr; full > 0 {
			t.Count, t.AInc, t.CInc = full, mr*t.RS, mr*t.LDC
			w.call(p, mr, 0, j, n)
		}
		if rest := p.m % mr; rest > 0 {
			t.Count = 1
			w.call(p, rest, p.m-rest, j, n)
		}
		j += n
	}
}

// multiplyRows computes the tiles of rows i to i+rows.
func (w *worker) multiplyRows(p *product, i, rows int) {
	t := &w.tile
	for j := 0; j < p.n; {
		n := w.columns(p, j)
		t.Count, t.AInc, t.BInc, t.CInc = 1, 0, p.panels*p.sizeB(), n*4
		for j+t.Count*n < p.n && n == w.panel && w.columns(p, j+t.Count*n) == n {
			t.Count++
		}
		w.call(p, rows, i, j, n)
		j += t.Count * n
	}
}

// multiplySeen computes C (+)= A·B for the tiles of rows of a block, each over the
// keys it sees: columns tileLo to tileHi of A by those rows of B.
func (w *worker) multiplySeen(p *product) {
	at := *p
	if lo, hi, same := w.commonRange(); same {
		lo, hi = w.unitsOf(lo), w.unitsOf(hi)
		at.a, at.b, at.k = ahead(p.a, lo*p.cs), p.behind(lo*p.bs), hi-lo
		w.multiply(&at)
		return
	}
	w.begin(p)
	mr := w.kernels.MR
	for j := 0; j < p.n; {
		n := w.columns(p, j)
		for i, lo := range w.tileLo {
			lo = w.unitsOf(lo)
			if w.tile.K = w.unitsOf(w.tileHi[i]) - lo; w.tile.K > 0 {
				at.a, at.b = ahead(p.a, lo*p.cs), p.behind(lo*p.bs)
				w.call(&at, min(mr, p.m-i*mr), i*mr, j, n)
			}
		}
		j += n
	}
}

// commonRange is the range of keys that all tiles of a block see, where it is the same.
func (w *worker) commonRange() (lo, hi int, same bool) {
	lo, hi = w.tileLo[0], w.tileHi[0]
	for i := range w.tileLo {
		if w.tileLo[i] != lo || w.tileHi[i] != hi {
			return 0, 0, false
		}
	}
	return lo, hi, true
}

// columns is the width of the tile at column j: a panel, or less at the end. One vector
// alone would wait for its own sums, so where B is row-major it shares with its neighbour.
func (w *worker) columns(p *product, j int) int {
	left, lanes := p.n-j, w.kernels.Lanes
	if left == w.panel+lanes && p.panels == w.panel && w.panel > 2*lanes {
		return w.panel - lanes
	}
	return min(left, w.panel)
}

// call computes tiles of rows at row i and column j of p, n columns wide.
func (w *worker) call(p *product, rows, i, j, n int) {
	t := &w.tile
	t.A, t.C = unsafe.Pointer(ahead(p.a, i*p.rs)), unsafe.Pointer(ahead(p.c, i*p.ldc+j))
	t.B = unsafe.Pointer(p.behind(j/w.panel*p.panels + j%w.panel))
	t.Add, t.AddInc = nil, 0
	if p.add {
		t.Add, t.AddInc = t.C, t.CInc
	}
	tiles := w.tiles
	if p.halves {
		tiles = w.kernels.Halves
	}
	tiles[rows-1][n/w.kernels.Lanes-1](t)
}

func ahead(p *float32, n int) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), n*4)) }

// headRows are the rows of one head: n rows of d elements, stride apart, from element off on.
type headRows struct {
	v              vec.Floats
	off, stride, d int
	n              int
}

// panelSize is the number of elements of a transposed panel: d rows and what the transposition of whole eights overwrites.
func (w *worker) panelSize(d int) int { return roundUp(d, 8) * w.panel }

// packTransposed writes x transposed: panel p holds [d][panel] units, those
// of keys p*panel to (p+1)*panel, zero behind the last key. Rows from first on are
// packed, first being a multiple of the panel.
func (w *worker) packTransposed(dst *[]float32, x headRows, first int) {
	units, row := w.unitsOf(x.d), x.stride*4
	if w.pairs {
		row = x.stride * 2
	}
	size := w.panelSize(units)
	pages.Grow(dst, roundUp(x.n, w.panel)/w.panel*size)
	d8 := roundUp(units, 8)
	pages.Grow(&w.stage, 8*d8)
	for r := first; r < roundUp(x.n, w.panel); r += 8 {
		to := (*dst)[r/w.panel*size+r%w.panel:]
		p, transpose := &w.pack, w.kernels.Transpose
		*p = gemm.PackArgs{Dst: unsafe.Pointer(&to[0]), DstStride: w.panel * 4, Vecs: d8 / 8}
		switch widens := x.v.H != nil && !w.pairs; {
		case r+8 <= x.n && widens && x.d%16 == 0:
			p.Src, p.SrcStride, p.Vecs, transpose = x.address(r), x.stride*2, x.d/16, w.kernels.TransposeWiden
		case r+8 <= x.n && !widens && x.d == w.elements(d8):
			p.Src, p.SrcStride = x.address(r), row
		default:
			w.fillStage(x, r, d8)
			p.Src, p.SrcStride = unsafe.Pointer(&w.stage[0]), d8*4
		}
		transpose(p)
	}
}

// fillStage copies rows r to r+8 of x, with zeros around them.
func (w *worker) fillStage(x headRows, r, d8 int) {
	for i := range 8 {
		row := w.stage[i*d8 : (i+1)*d8]
		if r+i >= x.n {
			clear(row)
			continue
		}
		w.copyUnits(row, &x, r+i)
	}
}

// copyUnits copies row r of x to the front of row, with zeros behind it.
func (w *worker) copyUnits(row []float32, x *headRows, r int) {
	if w.pairs {
		x.copyHalves(halvesOf(row), r)
		return
	}
	x.copyRow(row, r)
	clear(row[x.d:])
}

// copyRows copies the rows of x to rows of dst, ld apart, as units with zeros behind them up to dp.
func (w *worker) copyRows(dst []float32, ld int, x *headRows, dp int) {
	if x.n > 0 && x.d == dp {
		_ = dst[(x.n-1)*ld+w.unitsOf(dp)-1]
		w.pack = gemm.PackArgs{Dst: unsafe.Pointer(&dst[0]), DstStride: 4 * ld, Src: x.address(0), SrcStride: x.stride * x.bytes() / x.d, Rows: x.n, Vecs: w.unitsOf(dp) / 8}
		if x.v.H == nil || w.pairs {
			w.kernels.CopyRows(&w.pack)
		} else {
			w.kernels.WidenRows(&w.pack)
		}
		return
	}
	for r := range x.n {
		w.copyUnits(dst[r*ld:r*ld+dp], x, r)
	}
}

// address is where row r begins.
func (x *headRows) address(r int) unsafe.Pointer {
	at := x.off + r*x.stride
	if x.v.H != nil {
		return unsafe.Pointer(&x.v.H[at])
	}
	return unsafe.Pointer(&x.v.F[at])
}

// bytes is the size of a row.
func (x *headRows) bytes() int {
	if x.v.H != nil {
		return 2 * x.d
	}
	return 4 * x.d
}

// copyRow copies row r to the front of dst.
func (x *headRows) copyRow(dst []float32, r int) {
	at := x.off + r*x.stride
	if x.v.H != nil {
		x.v.Path.Widen(dst[:x.d], x.v.H[at:at+x.d])
		return
	}
	copy(dst, x.v.F[at:at+x.d])
}

// storeRow stores src as row r, rounded if need be.
func (x *headRows) storeRow(r int, src []float32) {
	at := x.off + r*x.stride
	if x.v.H != nil {
		x.v.Path.Round(x.v.H[at:at+x.d], src[:x.d])
		return
	}
	copy(x.v.F[at:at+x.d], src)
}

// packRows copies rows first to n of x into rows of dp units, with zeros behind them; rows 2r and 2r+1
// become row r of pairs, first being even.
func (w *worker) packRows(dst *[]float32, x headRows, first, dp int) {
	pages.Grow(dst, x.n*dp)
	if w.pairs {
		w.packPairs(*dst, x, first, dp)
		return
	}
	if first < x.n {
		rows := x
		rows.off, rows.n = x.off+first*x.stride, x.n-first
		w.copyRows((*dst)[first*dp:], dp, &rows, dp)
	}
}
