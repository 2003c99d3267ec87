package cpu

import "unsafe"

// Where a task has a single tile of rows, as when a token is decoded, packing the keys would take longer than
// multiplying with them. The kernels for few rows read them as they lie and sum in the order of the tiles. Values in f32
// need no packing either.

// fewKernel multiplies n rows of queries with keys as they lie; nil where keys are to be packed.
func (a *attention) fewKernel(w *attentionWorker, n int) tileFunc {
	kernels := w.kernels.fewF32
	if a.pairs {
		kernels = w.kernels.fewPairs
	}
	if kernels == nil || n > w.rows() || a.units%fewUnits != 0 || a.D != w.elements(a.units) || !a.pairs && a.k.h != nil {
		return nil
	}
	return kernels[n-1]
}

// setValues makes w.values the rows of x from row 0 on, of which those from first on are read.
func (a *attention) setValues(w *attentionWorker, x headRows, first int, few bool) {
	if few && a.D == a.dp && x.v.h == nil {
		w.values, w.valueStride = (*float32)(x.address(0)), x.stride
		return
	}
	w.packRows(&w.vRow, x, first, a.dp)
	w.values, w.valueStride = &w.vRow[0], a.dp
}

// fewScores computes the scores of a block of at most one tile of rows for the keys that it sees, into rows of ld elements of w.s.
func (a *attention) fewScores(w *attentionWorker, b *rowBlock, ld int) {
	lanes, first, last := w.kernels.lanes, w.tileLo[0], w.tileHi[0]
	keys := a.keyRows(a.k, b.s, b.kv, b.k0, b.k1)
	size := 4
	if w.pairs {
		size = 2
	}
	t := &w.tile
	*t = tileArgs{
		A: unsafe.Pointer(&w.q[b.at*a.queryStride(w)]), RS: a.queryStride(w) * 4, K: a.units, Units: a.units, LDC: ld * 4,
		BS: keys.stride * size, BInc: lanes * keys.stride * size, CInc: lanes * 4,
	}
	if t.Count = (last - first) / lanes; t.Count > 0 {
		t.B, t.C = keys.address(first), unsafe.Pointer(&w.s[first])
		b.few(t)
	}
	rest := first + t.Count*lanes
	if rest == last {
		return
	}
	grow(&w.stage, lanes*a.units)
	for i := range last - rest {
		w.copyUnits(w.stage[i*a.units:(i+1)*a.units], &keys, rest+i)
	}
	t.B, t.BS, t.C, t.Count = unsafe.Pointer(&w.stage[0]), a.units*4, unsafe.Pointer(&w.s[rest]), 1
	b.few(t)
}
