package attention

import (
	"math"

	"hone/device"
	"hone/device/cpu/gemm"
	"hone/internal/pages"
)

// forward computes rows t.lo to t.hi of a key/value head.
func (a *Engine) forward(w *worker, t task) {
	s := &a.Sequences[t.sequence]
	n := t.hi - t.lo
	step := w.blockRows(forwardRowBlock)
	queries := a.queryRows(&a.q, s, t.kv, t.lo, min(t.lo+step, t.hi))
	queries.ask(0, queries.n, false)
	q := a.loadRows(w, &w.q, &a.q, &rowBlock{s: s, kv: t.kv, r: t.lo, m: n})
	pages.Grow(&w.o, n*a.dp)
	pages.Grow(&w.max, n)
	pages.Grow(&w.sum, n)
	pages.Grow(&w.s, step*scoreStride(forwardKeys))
	pages.Grow(&w.part, step*a.dp)
	pages.Grow(&w.blockMax, step)
	pages.Grow(&w.blockSum, step)
	clear(w.sum[:n])
	lo, _ := a.visible(s, t.lo/a.group)
	_, hi := a.visible(s, (t.hi-1)/a.group)
	for k0 := lo / forwardKeys * forwardKeys; k0 < hi; k0 += forwardKeys {
		k1 := min(k0+forwardKeys, hi)
		first := max(lo-k0, 0) / w.panel * w.panel
		keyRows, valueRows := a.keyRows(&a.k, s, t.kv, k0, k1), a.keyRows(&a.v, s, t.kv, k0, k1)
		if n <= fewQueries {
			keyRows.ask(first, keyRows.n, false)
			valueRows.ask(first, valueRows.n, false)
		}
		few := a.fewKernel(w, n)
		if few == nil {
			w.packTransposed(&w.kT, keyRows, first)
		}
		values, halves := a.loadValues(w, valueRows, first, n)
		for r := t.lo; r < t.hi; r += step {
			b := rowBlock{s: s, kv: t.kv, r: r, m: min(step, t.hi-r), k0: k0, k1: k1, at: r - t.lo}
			if a.tileRanges(w, &b) {
				a.forwardBlock(w, &b, forwardOperands{productRows{q.at(b.at), q.stride}, values, halves, keyRows, few}, t.hi)
			}
		}
	}
	a.storeOutput(w, s, t)
}

// forwardOperands are the rows of queries of a block and those of values, and the keys where few is the kernel that reads them as they lie.
type forwardOperands struct {
	q, v   productRows
	halves bool // v is bf16 as it lies
	k      headRows
	few    gemm.TileFunc
}

// fewQueries is the most rows of queries for which copying values takes longer than their being apart, and for which keys and values are not in
// the caches yet: all of a block's are asked for at once.
const fewQueries = 8

// loadValues returns rows first and on of x as n rows of queries read them: where they are, which may be in bf16 (halves), or packed.
func (a *Engine) loadValues(w *worker, x headRows, first, n int) (rows productRows, halves bool) {
	halves = x.v.H != nil
	if n <= fewQueries && a.D == a.dp && (!halves || !w.pairs && w.kernels.Halves != nil) {
		return productRows{(*float32)(x.address(0)), x.stride}, halves
	}
	w.packRows(&w.vRow, x, first, a.dp)
	return productRows{&w.vRow[0], a.dp}, false
}

// blockRows is the number of rows of a block: about n, in whole tiles.
func (w *worker) blockRows(n int) int { return roundUp(n, w.rows()) }

// rowBlock is m rows from r on, at row at of the scratch, with a block of keys k0 to k1.
type rowBlock struct {
	s        *device.Sequence
	kv       int
	r, m, at int
	k0, k1   int
}

// tileRanges sets w.tileLo and w.tileHi to the keys of the block that each tile of
// rows sees, the first rounded down to a panel, and reports whether there are some.
func (a *Engine) tileRanges(w *worker, b *rowBlock) (some bool) {
	w.tileLo, w.tileHi = w.tileLo[:0], w.tileHi[:0]
	for i := 0; i < b.m; i += w.rows() {
		lo, _ := a.visible(b.s, (b.r+i)/a.group)
		_, hi := a.visible(b.s, (b.r+min(i+w.rows(), b.m)-1)/a.group)
		from, to := max(lo-b.k0, 0)/w.panel*w.panel, min(hi, b.k1)-b.k0
		if lo >= b.k1 || to <= from {
			from, to = 0, 0
		}
		w.tileLo, w.tileHi = append(w.tileLo, from), append(w.tileHi, to)
		some = some || from < to
	}
	return some
}

// seenBy is the range of tiles that see some key of lo to hi. Tiles are in the
// order of their queries, so those that do are neighbours.
func (w *worker) seenBy(lo, hi int) (first, last int) {
	first = len(w.tileLo)
	for i, from := range w.tileLo {
		if from < hi && w.tileHi[i] > lo && from < w.tileHi[i] {
			first, last = min(first, i), i+1
		}
	}
	return min(first, last), last
}

// rowRange is the part of the keys that row i of the block sees.
func (a *Engine) rowRange(b *rowBlock, i int) (lo, hi int) {
	query, _ := a.query(b.r + i)
	lo, hi = a.visible(b.s, query)
	lo, hi = max(lo, b.k0)-b.k0, max(min(hi, b.k1)-b.k0, 0)
	return min(lo, hi), hi
}

// scoreStride is the row stride of scores of n keys: room for rounding up to
// tiles, and no power of two, which would fall on the same cache sets.
func scoreStride(n int) int { return n + 48 }

// productRows are rows of units that products read, stride apart.
type productRows struct {
	p      *float32
	stride int
}

func (x productRows) at(r int) *float32 { return ahead(x.p, r*x.stride) }

// loadRows returns the rows of a block in a matrix of queries: where they are, or copied to scratch. Pairs have a row of
// zeros behind an odd last one.
func (a *Engine) loadRows(w *worker, dst *[]float32, v *headMatrix, t *rowBlock) productRows {
	if a.inPlace(v) && (!a.pairs || t.m%2 == 0) {
		return productRows{(*float32)(v.address(a.rowAt(v, t.s, t.kv, t.r))), w.unitsOf(v.stride)}
	}
	ld := a.queryStride(w)
	pages.Grow(dst, (t.m+1)*ld)
	for g := range a.group {
		x, first := a.ownRows(v, t.s, t.kv, g, t.r, t.r+t.m)
		w.copyRows((*dst)[min(first-t.r, t.m)*ld:], a.group*ld, &x, a.dp)
	}
	if a.pairs {
		clear((*dst)[t.m*ld : (t.m+1)*ld])
	}
	return productRows{&(*dst)[0], ld}
}

// inPlace reports whether products can read rows of v where they are: whole vectors of units, evenly spaced, and not so that
// the rows of a tile push each other out of the first cache.
func (a *Engine) inPlace(v *headMatrix) bool {
	const alias = 2048 // bytes: rows a multiple of it apart begin in one or two of the first cache's 64 sets, which addresses 4 KiB apart share
	if a.group > 1 || a.D != a.dp {
		return false
	}
	if a.pairs {
		return v.stride%2 == 0 && 2*v.stride%alias != 0
	}
	return v.H == nil && 4*v.stride%alias != 0
}

// queryStride is the row stride of queries and output gradients in scratch: dp and a vector units.
func (a *Engine) queryStride(w *worker) int { return a.dp + w.kernels.Lanes }

// scores computes the products of the rows of a block and the keys that they see, which are
// packed in panels, into rows of ld elements at c.
func (a *Engine) scores(w *worker, b *rowBlock, rows productRows, panels, c []float32, ld int) {
	size := w.panelSize(a.units)
	for j := 0; j < b.k1-b.k0; j += w.panel {
		first, last := w.seenBy(j, j+w.panel)
		if first == last {
			continue
		}
		n := 0
		for _, hi := range w.tileHi[first:last] {
			n = max(n, hi-j)
		}
		i := first * w.rows()
		w.multiply(&product{
			m: min(last*w.rows(), b.m) - i, n: min(roundUp(n, w.kernels.Lanes), w.panel), k: a.units,
			a: rows.at(i), rs: rows.stride, cs: 1,
			b: &panels[j/w.panel*size], bs: w.panel, panels: size,
			c: &c[i*ld+j], ldc: ld,
		})
	}
}

// forwardBlock adds a block of keys to the outputs of a block of rows, the task's last of which is end-1.
func (a *Engine) forwardBlock(w *worker, b *rowBlock, x forwardOperands, end int) {
	ld := scoreStride(forwardKeys)
	if x.few != nil {
		a.fewScores(w, b, &x, ld)
	} else {
		a.scores(w, b, x.q, w.kT, w.s, ld)
	}
	first := true // no row has seen a key before
	next, outputs := a.queryRows(&a.q, b.s, b.kv, b.r+b.m, min(b.r+2*b.m, end)), a.queryRows(&a.o, b.s, b.kv, b.r, b.r+b.m)
	next.ask(0, next.n, false)
	outputs.ask(0, outputs.n, true)
	for i := range b.m {
		first = first && w.sum[b.at+i] == 0
		row := w.s[i*ld : (i+1)*ld]
		lo, hi := a.rowRange(b, i)
		w.askComing()
		w.blockMax[i], w.blockSum[i] = a.softmaxRow(row[lo:hi])
		from, to := w.tileLo[i/w.rows()], w.tileHi[i/w.rows()]
		// Keys of the tile that this row does not see count 0 times. So a value of NaN there shows in the row all the same: which of the
		// hidden ones do depends on the tiles, and no caller may count on either.
		clear(row[from:max(lo, from)])
		clear(row[min(max(hi, from), to):to])
		if a.pairs {
			a.narrowInPlace(row, from, to)
		}
	}
	out := w.part
	if first {
		out = w.o[b.at*a.dp:]
		copy(w.max[b.at:b.at+b.m], w.blockMax)
		copy(w.sum[b.at:b.at+b.m], w.blockSum)
	}
	w.multiplySeen(&product{
		m: b.m, n: a.dp, a: &w.s[0], rs: ld, cs: 1,
		b: x.v.p, bs: x.v.stride, halves: x.halves, panels: w.panel, c: &out[0], ldc: a.dp,
	})
	if first {
		return
	}
	for i := range b.m {
		if w.blockSum[i] != 0 {
			a.join(w, b.at+i, w.part[i*a.dp:(i+1)*a.dp], w.blockMax[i], w.blockSum[i])
		}
	}
}

// softmaxRow replaces products of queries and keys by exp(score - max) and returns max and the sum, which is 0 for no scores only.
func (a *Engine) softmaxRow(x []float32) (highest, sum float32) {
	if len(x) == 0 {
		return 0, 0
	}
	if a.SoftCap == 0 && a.Scale > 0 {
		return a.path.MaxExpSum(x, x, a.Scale)
	}
	if a.SoftCap == 0 {
		a.path.Scale(x, a.Scale)
	} else {
		a.path.Scale(x, a.Scale/a.SoftCap)
		a.path.Unary(device.Tanh, x, x)
		a.path.Scale(x, a.SoftCap)
	}
	return a.path.MaxExpSum(x, x, 1)
}

// join adds the output of a block, relative to its own maximum, to row r.
func (a *Engine) join(w *worker, r int, part []float32, highest, sum float32) {
	o := w.o[r*a.dp : (r+1)*a.dp]
	if w.sum[r] == 0 {
		copy(o, part)
		w.max[r], w.sum[r] = highest, sum
		return
	}
	m := max(w.max[r], highest)
	old, now := expOf(w.max[r]-m), expOf(highest-m)
	if old != 1 {
		a.path.Scale(o, old)
	}
	a.path.Axpy(o, now, part)
	w.max[r], w.sum[r] = m, w.sum[r]*old+sum*now
}

func expOf(x float32) float32 { return float32(math.Exp(float64(x))) }

// storeOutput divides the rows by their sums and writes them.
func (a *Engine) storeOutput(w *worker, s *device.Sequence, t task) {
	n := t.hi - t.lo
	pages.Grow(&w.inverse, n)
	for r := range n {
		w.inverse[r] = 1 / w.sum[r]
	}
	for g := range a.group {
		outputs, first := a.ownRows(&a.o, s, t.kv, g, t.lo, t.hi)
		if r := first - t.lo; outputs.n > 0 {
			outputs.storeRows(0, outputs.n, scaledRows{w.o[r*a.dp:], a.group * a.dp, w.inverse[r:], a.group})
		}
	}
	if a.lse == nil {
		return
	}
	a.path.Unary(device.Log, w.sum[:n], w.sum[:n])
	for r := range n {
		a.lse[a.lseAt(s, t.kv, t.lo+r)] = w.max[r] + w.sum[r]
	}
}
