package attention

import (
	"unsafe"

	"hone/device/cpu/gemm"
	"hone/internal/pages"
)

// Where queries, keys, values and output gradients are bf16 and the machine multiplies pairs
// of it, so do the products of attention, with sums in f32: probabilities and the gradients
// of scores are rounded to bf16 first. Pairs lie along k: channels 2i and 2i+1 in products
// over channels, keys or rows 2i and 2i+1 in products over these. A pair begins at an even
// key of its block, so that a row's sums have one order whatever other rows the call has.
//
// Scratch holds pairs in float32, as the scratch of the matrix product does.

// chooseUnits decides whether products multiply pairs, where the operands are bf16.
func (a *Engine) chooseUnits(bf16 bool) {
	k := a.workers[0].kernels
	a.pairs, a.units = bf16 && k.BF16 != nil, a.D
	tiles := k.F32
	if a.pairs {
		tiles, a.units = k.BF16, (a.D+1)/2
	}
	for _, w := range a.workers {
		w.tiles, w.pairs = tiles, a.pairs
	}
}

// unitsOf is the number of units that hold n elements.
func (w *worker) unitsOf(n int) int {
	if w.pairs {
		return (n + 1) / 2
	}
	return n
}

// elements is the number of elements of n units.
func (w *worker) elements(n int) int {
	if w.pairs {
		return 2 * n
	}
	return n
}

// halvesOf is the memory of x as bf16.
func halvesOf(x []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

// copyHalves copies row r of a bf16 x to the front of dst, with zeros behind it.
func (x *headRows) copyHalves(dst []uint16, r int) {
	at := x.off + r*x.stride
	clear(dst[copy(dst, x.v.H[at:at+x.d]):])
}

// narrowInPlace rounds elements from to to of row to bf16, which begin at half from of the row, and makes
// the last pair whole with a zero. What follows in the row is lost: whole vectors are rounded. Subnormal
// numbers may become 0: the products of pairs that read them take them for 0 anyway.
func (a *Engine) narrowInPlace(row []float32, from, to int) {
	h, end := halvesOf(row), from+roundUp(to-from, 16)
	_ = row[:end]
	if from == end || !a.path.Narrow(h[from:end], row[from:end]) {
		a.path.Round(h[from:end], row[from:end])
	}
	if to%2 != 0 {
		h[to] = 0
	}
}

// packPairs is packRows for pairs. A missing last row is zero.
func (w *worker) packPairs(dst []float32, x headRows, first, dp int) {
	p := &w.pack
	*p = gemm.PackArgs{Dst: unsafe.Pointer(&dst[first/2*dp]), DstStride: dp * 4, SrcStride: x.stride * 2, Vecs: dp / 8}
	if x.d == dp {
		if p.Rows = (x.n - first) / 2; p.Rows > 0 {
			p.Src = x.address(first)
			w.kernels.PairRows(p)
		}
		first += 2 * p.Rows
	}
	pages.Grow(&w.stage, dp)
	two := halvesOf(w.stage[:dp])
	for r := first; r < x.n; r += 2 {
		x.copyHalves(two[:dp], r)
		if clear(two[dp:]); r+1 < x.n {
			x.copyHalves(two[dp:], r+1)
		}
		*p = gemm.PackArgs{Dst: unsafe.Pointer(&dst[r/2*dp]), Src: unsafe.Pointer(&two[0]), SrcStride: dp * 2, Rows: 1, Vecs: dp / 8}
		w.kernels.PairRows(p)
	}
}

// pairScoreGrads makes pairs of what the products of a block of rows read: score gradients along keys, in place,
// and along rows these, the probabilities, queries and output gradients.
func (a *Engine) pairScoreGrads(w *worker, t *rowBlock, q, do productRows) (pPairs, gPairs, qPairs, doPairs productRows) {
	ld := scoreStride(backwardKeys)
	for i := range t.m {
		if from, to := w.tileLo[i/w.rows()], w.tileHi[i/w.rows()]; from < to {
			from, to = max(0, from-w.rows()), to+w.rows()
			a.narrowInPlace(w.s[i*ld:(i+1)*ld], from, to)
			a.narrowInPlace(w.ds[i*ld:(i+1)*ld], from, to)
		}
	}
	if t.m%2 != 0 {
		clear(w.s[t.m*ld : (t.m+1)*ld])
		clear(w.ds[t.m*ld : (t.m+1)*ld])
	}
	keys := roundUp(t.k1-t.k0, 8)
	return w.pairUp(&w.sPairs, productRows{&w.s[0], ld}, t.m, keys), w.pairUp(&w.dsPairs, productRows{&w.ds[0], ld}, t.m, keys),
		w.pairUp(&w.qPairs, q, t.m, a.dp), w.pairUp(&w.doPairs, do, t.m, a.dp)
}

// pairUp makes rows of pairs of n rows of d bf16; an odd last row has one of zeros behind it. d is a multiple of 8.
func (w *worker) pairUp(dst *[]float32, src productRows, n, d int) productRows {
	rows, stride := (n+1)/2, d
	if stride%128 == 0 {
		stride += 16 // no power of two, which would fall on the same cache sets
	}
	pages.Grow(dst, (rows+w.rows())*stride)
	p := &w.pack
	*p = gemm.PackArgs{
		Dst: unsafe.Pointer(&(*dst)[0]), DstStride: stride * 4,
		Src: unsafe.Pointer(src.p), SrcStride: src.stride * 4, Rows: rows, Vecs: d / 8,
	}
	w.kernels.PairRows(p)
	return productRows{&(*dst)[0], stride}
}
