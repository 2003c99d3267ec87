package attention

import (
	"unsafe"

	"hone/device/cpu/gemm"
	"hone/internal/pages"
)

// Of a token that is being written there are few queries, and to put keys in order for tiles, in scratch that has left the caches since the
// last layer, takes longer than to multiply them. The kernels for few rows of package gemm's products read them as they lie, in the
// order of sums that tiles have.

// fewKernel is the kernel that multiplies n rows of queries by keys as they lie, nil where there is none that suits them.
func (a *Engine) fewKernel(w *worker, n int) gemm.TileFunc {
	k, kernels, wide := w.kernels, []gemm.TileFunc(nil), 1 // elements of a unit of keys
	switch {
	case w.pairs:
		kernels = k.FewPairs
	case a.k.H != nil:
		kernels, wide = k.FewWiden, 2
	default:
		kernels = k.FewF32
	}
	if n > fewQueries || n > len(kernels) || a.units%(wide*gemm.FewUnits) != 0 || w.pairs && a.D%2 != 0 {
		return nil
	}
	return kernels[n-1]
}

// fewScores is scores by keys as they lie: as many at a time as a vector has lanes. The last ones are copied, for there may be no memory
// behind them.
func (a *Engine) fewScores(w *worker, b *rowBlock, x *forwardOperands, ld int) {
	lanes, first, row := w.kernels.Lanes, w.tileLo[0], x.k.stride*x.k.bytes()/x.k.d
	t, keys := &w.tile, x.k.n
	whole := (keys - first) / lanes
	*t = gemm.TileArgs{
		A: unsafe.Pointer(x.q.p), RS: 4 * x.q.stride, CS: 4, BS: row, BInc: lanes * row, K: a.units, Units: a.units,
		C: unsafe.Pointer(&w.s[first]), LDC: 4 * ld, CInc: 4 * lanes, Count: whole,
	}
	if whole > 0 {
		t.B = x.k.address(first)
		x.few(t)
	}
	if first += whole * lanes; first < keys {
		size := roundUp(x.k.bytes(), 64) + 64
		pages.Grow(&w.stage, lanes*size/4)
		stage := unsafe.Slice((*byte)(unsafe.Pointer(&w.stage[0])), lanes*size)
		clear(stage)
		for r := first; r < keys; r++ {
			copy(stage[(r-first)*size:], unsafe.Slice((*byte)(x.k.address(r)), x.k.bytes()))
		}
		t.B, t.BS, t.C, t.Count = unsafe.Pointer(&stage[0]), size, unsafe.Pointer(&w.s[first]), 1
		x.few(t)
	}
}
