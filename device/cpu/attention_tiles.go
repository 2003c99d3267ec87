package cpu

import "unsafe"

// attentionWorker is what one worker of the pool needs to compute attention:
// the tile kernels of the matrix product and scratch that grows to the largest
// head seen. Its rows are row-major with dp columns, D rounded up to vectors.
type attentionWorker struct {
	kernels  *gemmKernels
	panelVec int // vectors in a panel of keys
	panel    int // keys in a panel
	tile     tileArgs
	pack     packArgs

	q, do          []float32 // rows of scaled queries and of output gradients
	kT, vT         []float32 // panels of keys and values, transposed; see packTransposed
	kRow, vRow     []float32 // rows of keys and values
	s, ds          []float32 // scores, then probabilities; gradients of scores
	o, part        []float32 // rows of outputs; those of one block of keys
	dq, dk, dv     []float32 // rows of gradients
	max, sum       []float32 // of the rows of o
	lse, delta     []float32 // of all rows of a sequence
	stage, slope   []float32
	tileLo, tileHi []int // keys that each tile of a block of rows sees
}

func newAttentionWorker(k *gemmKernels) *attentionWorker {
	vecs := min(2, k.nr/k.lanes) // 2 vectors are enough to hide the latency and fit D=64
	return &attentionWorker{kernels: k, panelVec: vecs, panel: vecs * k.lanes}
}

// rows is the number of rows that one tile computes.
func (w *attentionWorker) rows() int { return w.kernels.mr }

// product describes C (+)= A·B for tiles of rows; strides are in elements.
//
//	A[i, k] = a[i*rs + k*cs], C[i, j] = c[i*ldc + j]
//	B[k, j] = b[j/panel*panels + k*bs + j%panel]
type product struct {
	m, n, k int // n is a multiple of the vector length
	a       *float32
	rs, cs  int
	b       *float32
	bs      int
	panels  int // from one panel of B to the next
	c       *float32
	ldc     int
	add     bool
}

// multiply computes p. The sum over k runs in its order, whatever m and n are.
func (w *attentionWorker) multiply(p *product) {
	if p.m <= 0 || p.n <= 0 || p.k <= 0 {
		return
	}
	t, lanes := &w.tile, w.kernels.lanes
	*t = tileArgs{
		RS: p.rs * 4, CS: p.cs * 4, BS: p.bs * 4, LDC: p.ldc * 4, LDAdd: p.ldc * 4, K: p.k,
		BInc: p.panels * 4, CInc: w.panel * 4, Bits: ^uint64(0),
	}
	if p.add {
		t.AddInc = t.CInc
	}
	full, rest := p.n/w.panel, p.n%w.panel/lanes
	for i := 0; i < p.m; i += w.kernels.mr {
		tiles := w.kernels.f32[min(w.kernels.mr, p.m-i)-1]
		a, c := unsafe.Add(unsafe.Pointer(p.a), i*t.RS), unsafe.Add(unsafe.Pointer(p.c), i*t.LDC)
		if full > 0 {
			w.call(tiles[w.panelVec-1], p, tileAt{a, 0, c, full})
		}
		if rest > 0 {
			w.call(tiles[rest-1], p, tileAt{a, full, c, 1})
		}
	}
}

// tileAt says which tiles of a product to compute: count ones from a panel on.
type tileAt struct {
	a     unsafe.Pointer
	panel int
	c     unsafe.Pointer
	count int
}

func (w *attentionWorker) call(f tileFunc, p *product, at tileAt) {
	t := &w.tile
	t.A, t.B = at.a, unsafe.Add(unsafe.Pointer(p.b), at.panel*t.BInc)
	t.C, t.Add = unsafe.Add(at.c, at.panel*t.CInc), nil
	if p.add {
		t.Add = t.C
	}
	t.Count = at.count
	f(t)
}

// headRows are the rows of one head: n rows of d elements, stride apart, from element off on.
type headRows struct {
	v              floats
	off, stride, d int
	n              int
}

// panelSize is the number of elements of a transposed panel: d rows, one more
// for a row of ones, and what the transposition of whole eights overwrites.
func (w *attentionWorker) panelSize(d int) int { return (roundUp(d, 8) + 1) * w.panel }

// packTransposed writes x transposed: panel p holds [d][panel] elements, those
// of keys p*panel to (p+1)*panel, zero behind the last key. Rows from first on are
// packed, first being a multiple of the panel. With ones, row d of each panel is 1.
func (w *attentionWorker) packTransposed(dst *[]float32, x headRows, first int, ones bool) {
	size := w.panelSize(x.d)
	grow(dst, roundUp(x.n, w.panel)/w.panel*size)
	d8 := roundUp(x.d, 8)
	grow(&w.stage, 8*d8)
	for r := first; r < roundUp(x.n, w.panel); r += 8 {
		to := (*dst)[r/w.panel*size+r%w.panel:]
		p := &w.pack
		*p = packArgs{Dst: unsafe.Pointer(&to[0]), DstStride: w.panel * 4, Vecs: d8 / 8}
		if at := x.off + r*x.stride; x.v.h == nil && x.d == d8 && r+8 <= x.n {
			p.Src, p.SrcStride = unsafe.Pointer(&x.v.f[at]), x.stride*4
		} else {
			w.fillStage(x, r, d8)
			p.Src, p.SrcStride = unsafe.Pointer(&w.stage[0]), d8*4
		}
		w.kernels.transpose(p)
	}
	if !ones {
		return
	}
	for p := first / w.panel; p*w.panel < x.n; p++ {
		vecFill((*dst)[p*size+x.d*w.panel:][:w.panel], 1)
	}
}

// fillStage copies rows r to r+8 of x, with zeros around them.
func (w *attentionWorker) fillStage(x headRows, r, d8 int) {
	for i := range 8 {
		row := w.stage[i*d8 : (i+1)*d8]
		if r+i >= x.n {
			clear(row)
			continue
		}
		x.copyRow(row, r+i)
		clear(row[x.d:])
	}
}

// copyRow copies row r to the front of dst.
func (x *headRows) copyRow(dst []float32, r int) {
	at := x.off + r*x.stride
	if x.v.h != nil {
		vecBF16ToF32(dst[:x.d], x.v.h[at:at+x.d])
		return
	}
	copy(dst, x.v.f[at:at+x.d])
}

// storeRow stores src as row r, rounded if need be.
func (x *headRows) storeRow(r int, src []float32) {
	at := x.off + r*x.stride
	if x.v.h != nil {
		vecF32ToBF16(x.v.h[at:at+x.d], src[:x.d])
		return
	}
	copy(x.v.f[at:at+x.d], src)
}

// packRows copies rows first to n of x into rows of dp elements, with zeros behind them.
func packRows(dst *[]float32, x headRows, first, dp int) {
	grow(dst, x.n*dp)
	for r := first; r < x.n; r++ {
		row := (*dst)[r*dp : (r+1)*dp]
		x.copyRow(row, r)
		clear(row[x.d:])
	}
}
