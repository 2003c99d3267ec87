package cpu

import (
	"math"

	"hone/device"
)

// forward computes rows t.lo to t.hi of a key/value head.
func (a *attention) forward(w *attentionWorker, t attentionTask) {
	s := &a.Sequences[t.sequence]
	n := t.hi - t.lo
	a.loadQueries(w, s, t.kv, t.lo, t.hi)
	grow(&w.o, n*a.dp)
	grow(&w.max, n)
	grow(&w.sum, n)
	grow(&w.s, w.rows()*scoreStride(forwardKeys))
	grow(&w.part, w.rows()*a.dp)
	clear(w.sum[:n])
	lo, _ := a.visible(s, t.lo/a.group)
	_, hi := a.visible(s, (t.hi-1)/a.group)
	for k0 := lo / forwardKeys * forwardKeys; k0 < hi; k0 += forwardKeys {
		k1 := min(k0+forwardKeys, hi)
		first := max(lo-k0, 0) / w.panel * w.panel
		w.packTransposed(&w.kT, a.keyRows(a.k, s, t.kv, k0, k1), first, false)
		packRows(&w.vRow, a.keyRows(a.v, s, t.kv, k0, k1), first, a.dp)
		for r := t.lo; r < t.hi; r += w.rows() {
			b := rowTile{s: s, r: r, m: min(w.rows(), t.hi-r), k0: k0, k1: k1, at: r - t.lo}
			a.tileRange(w, &b)
			if b.lo < b.hi {
				a.forwardTile(w, &b)
			}
		}
	}
	a.storeOutput(w, s, t)
}

// rowTile is a tile of m rows from r on, at row at of the scratch, with a block of keys k0 to k1.
type rowTile struct {
	s        *device.Sequence
	r, m, at int
	k0, k1   int
	lo, hi   int // keys of the block that some row sees, lo rounded down to a panel
}

// tileRange sets b.lo and b.hi.
func (a *attention) tileRange(w *attentionWorker, b *rowTile) {
	lo, _ := a.visible(b.s, b.r/a.group)
	_, hi := a.visible(b.s, (b.r+b.m-1)/a.group)
	b.lo = max(lo-b.k0, 0) / w.panel * w.panel
	b.hi = min(hi, b.k1) - b.k0
	if lo >= b.k1 {
		b.hi = b.lo
	}
}

// rowRange is the part of the block that row i of the tile sees.
func (a *attention) rowRange(b *rowTile, i int) (lo, hi int) {
	lo, hi = a.visible(b.s, (b.r+i)/a.group)
	lo, hi = max(lo, b.k0)-b.k0, max(min(hi, b.k1)-b.k0, 0)
	return min(lo, hi), hi
}

// scoreStride is the row stride of scores of n keys: room for rounding up to
// tiles, and no power of two, which would fall on the same cache sets.
func scoreStride(n int) int { return n + 48 }

// loadQueries copies rows lo to hi, scaled, to w.q, with dp and a vector elements a row.
func (a *attention) loadQueries(w *attentionWorker, s *device.Sequence, kv, lo, hi int) {
	ld := a.queryStride(w)
	grow(&w.q, (hi-lo)*ld)
	for r := lo; r < hi; r++ {
		row := w.q[(r-lo)*ld : (r-lo)*ld+a.D]
		x := a.queryRow(a.q, s, kv, r)
		x.copyRow(row, 0)
		vecScale(row, a.Scale)
	}
}

// queryStride is the row stride of queries and output gradients in scratch.
func (a *attention) queryStride(w *attentionWorker) int { return a.dp + w.kernels.lanes }

// scores computes the scaled scores of the tile into rows of ld elements at s.
func (a *attention) scores(w *attentionWorker, b *rowTile, s []float32, ld int) {
	q := a.queryStride(w)
	w.multiply(&product{
		m: b.m, n: roundUp(b.hi-b.lo, w.kernels.lanes), k: a.D,
		a: &w.q[b.at*q], rs: q, cs: 1,
		b: &w.kT[b.lo/w.panel*w.panelSize(a.D)], bs: w.panel, panels: w.panelSize(a.D),
		c: &s[b.lo], ldc: ld,
	})
}

// forwardTile adds a block of keys to the outputs of a tile of rows.
func (a *attention) forwardTile(w *attentionWorker, b *rowTile) {
	ld := scoreStride(forwardKeys)
	a.scores(w, b, w.s, ld)
	first := true // no row has seen a key before
	for i := range b.m {
		first = first && w.sum[b.at+i] == 0
	}
	out := w.part
	if first {
		out = w.o[b.at*a.dp:]
	}
	var highest, sum [maxTileRows]float32
	for i := range b.m {
		row := w.s[i*ld : i*ld+b.hi]
		lo, hi := a.rowRange(b, i)
		highest[i], sum[i] = a.softmaxRow(row[lo:hi])
		clear(row[b.lo:max(lo, b.lo)])
		clear(row[hi:])
	}
	w.multiply(&product{
		m: b.m, n: a.dp, k: b.hi - b.lo,
		a: &w.s[b.lo], rs: ld, cs: 1,
		b: &w.vRow[b.lo*a.dp], bs: a.dp, panels: w.panel,
		c: &out[0], ldc: a.dp,
	})
	for i := range b.m {
		if first {
			w.max[b.at+i], w.sum[b.at+i] = highest[i], sum[i]
		} else if sum[i] != 0 {
			a.join(w, b.at+i, w.part[i*a.dp:(i+1)*a.dp], highest[i], sum[i])
		}
	}
}

// maxTileRows is no less than the rows of any tile kernel.
const maxTileRows = 16

// softmaxRow replaces scores by exp(score - max) and returns max and the sum, which is 0 for no scores only.
func (a *attention) softmaxRow(x []float32) (highest, sum float32) {
	if len(x) == 0 {
		return 0, 0
	}
	if a.SoftCap > 0 {
		vecScale(x, 1/a.SoftCap)
		vecUnary(device.Tanh, x, x)
		vecScale(x, a.SoftCap)
	}
	highest = vecMax(x)
	return highest, vecExpSum(x, x, highest)
}

// join adds the output of a block, relative to its own maximum, to row r.
func (a *attention) join(w *attentionWorker, r int, part []float32, highest, sum float32) {
	o := w.o[r*a.dp : (r+1)*a.dp]
	if w.sum[r] == 0 {
		copy(o, part)
		w.max[r], w.sum[r] = highest, sum
		return
	}
	m := max(w.max[r], highest)
	old, now := expOf(w.max[r]-m), expOf(highest-m)
	if old != 1 {
		vecScale(o, old)
	}
	vecAxpy(o, now, part)
	w.max[r], w.sum[r] = m, w.sum[r]*old+sum*now
}

func expOf(x float32) float32 { return float32(math.Exp(float64(x))) }

// storeOutput divides the rows by their sums and writes them.
func (a *attention) storeOutput(w *attentionWorker, s *device.Sequence, t attentionTask) {
	for r := t.lo; r < t.hi; r++ {
		sum := w.sum[r-t.lo]
		o := w.o[(r-t.lo)*a.dp:][:a.D]
		vecScale(o, 1/sum)
		x := a.queryRow(a.o, s, t.kv, r)
		x.storeRow(0, o)
		if a.lse != nil {
			a.lse[x.off/a.D] = w.max[r-t.lo] + float32(math.Log(float64(sum)))
		}
	}
}
