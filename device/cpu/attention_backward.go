package cpu

import "hone/device"

// backward computes the gradients of key blocks t.lo to t.hi of a head, and what
// these blocks add to the gradients of its queries.
//
// With P the probabilities and g the gradient of the scores,
//
//	dV = Pᵀ·dO,  dP = dO·Vᵀ,  g = P·(dP - Σ dO·O),  dK = gᵀ·Q,  dQ = g·K
//
// where P comes from scores computed again and the log-sum-exp of the forward pass.
func (a *attention) backward(w *attentionWorker, t attentionTask) {
	s := &a.Sequences[t.sequence]
	rows := s.QLen * a.group
	grow(&w.kRow, backwardKeys*a.dp)
	grow(&w.dk, (backwardKeys+maxTileRows)*a.dp)
	grow(&w.dv, (backwardKeys+maxTileRows)*a.dp)
	a.loadRows(w, s, t)
	dq := w.dq
	if t.partial >= 0 {
		dq = a.partials[t.partial : t.partial+rows*a.dp]
	} else {
		grow(&w.dq, rows*a.dp)
		dq = w.dq[:rows*a.dp]
	}
	clear(dq)
	for b := t.lo; b < t.hi; b++ {
		a.backwardKeys(w, s, keyBlock{kv: t.kv, k0: b * backwardKeys, k1: min((b+1)*backwardKeys, s.KLen), dq: dq})
	}
	if t.partial < 0 {
		for r := range rows {
			a.storeQueryGrad(s, t.kv, r, dq[r*a.dp:])
		}
	}
}

// storeQueryGrad scales and writes the gradient of row r.
func (a *attention) storeQueryGrad(s *device.Sequence, kv, r int, dq []float32) {
	dq = dq[:a.D]
	vecScale(dq, a.Scale)
	x := a.queryRow(a.dq, s, kv, r)
	x.storeRow(0, dq)
}

// loadRows sets w.lse and w.delta = Σ dO·O for the rows that see the task's blocks.
func (a *attention) loadRows(w *attentionWorker, s *device.Sequence, t attentionTask) {
	rows := s.QLen * a.group
	grow(&w.lse, rows)
	grow(&w.delta, rows)
	grow(&w.stage, 2*a.D)
	first, last := a.seeing(s, t.lo*backwardKeys, min(t.hi*backwardKeys, s.KLen))
	for r := first * a.group; r < last*a.group; r++ {
		do, o := a.queryRow(a.do, s, t.kv, r), a.queryRow(a.o, s, t.kv, r)
		at := do.off
		w.lse[r] = a.lse[at/a.D]
		w.delta[r] = vecDot(do.v.load(at, at+a.D, w.stage), o.v.load(at, at+a.D, w.stage[a.D:]))
	}
}

// keyBlock is a block of keys k0 to k1 of a head, with the gradients of the queries of its sequence.
type keyBlock struct {
	kv, k0, k1 int
	dq         []float32
}

// backwardRows is the number of rows whose probabilities are held at one time.
func (w *attentionWorker) backwardRows() int { return roundUp(64, w.rows()) }

// backwardKeys computes the gradients of one block of keys.
func (a *attention) backwardKeys(w *attentionWorker, s *device.Sequence, b keyBlock) {
	n := b.k1 - b.k0
	keys, values := a.keyRows(a.k, s, b.kv, b.k0, b.k1), a.keyRows(a.v, s, b.kv, b.k0, b.k1)
	clear(w.dk[:n*a.dp])
	clear(w.dv[:n*a.dp])
	first, last := a.seeing(s, b.k0, b.k1)
	if first < last {
		w.packTransposed(&w.kT, keys, 0, false)
		w.packTransposed(&w.vT, values, 0, true)
		packRows(&w.kRow, keys, 0, a.dp)
	}
	step := w.backwardRows()
	for r := first * a.group / step * step; r < last*a.group; r += step {
		a.backwardBlock(w, s, b, r, min(r+step, s.QLen*a.group))
	}
	dk, dv := a.keyRows(a.dk, s, b.kv, b.k0, b.k1), a.keyRows(a.dv, s, b.kv, b.k0, b.k1)
	for j := range n {
		dk.storeRow(j, w.dk[j*a.dp:])
		dv.storeRow(j, w.dv[j*a.dp:])
	}
}

// backwardBlock adds what rows lo to hi give to the gradients of a block of keys,
// and what these give to theirs.
func (a *attention) backwardBlock(w *attentionWorker, s *device.Sequence, b keyBlock, lo, hi int) {
	a.loadQueries(w, s, b.kv, lo, hi)
	a.loadOutputGrads(w, s, b.kv, lo, hi)
	ld := scoreStride(backwardKeys)
	grow(&w.s, w.backwardRows()*ld)
	grow(&w.ds, w.backwardRows()*ld)
	grow(&w.slope, backwardKeys)
	w.tileLo, w.tileHi = w.tileLo[:0], w.tileHi[:0]
	for r := lo; r < hi; r += w.rows() {
		t := rowTile{s: s, r: r, m: min(w.rows(), hi-r), at: r - lo, k0: b.k0, k1: b.k1}
		a.tileRange(w, &t)
		w.tileLo, w.tileHi = append(w.tileLo, t.lo), append(w.tileHi, t.hi)
		if t.lo < t.hi {
			a.backwardTile(w, &t, b.dq)
		}
	}
	for j := 0; j < b.k1-b.k0; j += w.rows() {
		a.addKeyGrads(w, j, min(w.rows(), b.k1-b.k0-j), hi-lo)
	}
}

// loadOutputGrads copies rows of dO to w.do and puts -delta behind each: with the row of
// ones behind the values, the product is dP - delta.
func (a *attention) loadOutputGrads(w *attentionWorker, s *device.Sequence, kv, lo, hi int) {
	ld := a.queryStride(w)
	grow(&w.do, (hi-lo)*ld)
	for r := lo; r < hi; r++ {
		row := w.do[(r-lo)*ld : (r-lo+1)*ld]
		x := a.queryRow(a.do, s, kv, r)
		x.copyRow(row, 0)
		row[a.D] = -w.delta[r]
	}
}

// backwardTile computes probabilities and score gradients of a tile of rows and adds to dq.
func (a *attention) backwardTile(w *attentionWorker, t *rowTile, dq []float32) {
	ld, q := scoreStride(backwardKeys), a.queryStride(w)
	s, ds := w.s[t.at*ld:], w.ds[t.at*ld:]
	a.scores(w, t, s, ld)
	w.multiply(&product{
		m: t.m, n: roundUp(t.hi-t.lo, w.kernels.lanes), k: a.D + 1,
		a: &w.do[t.at*q], rs: q, cs: 1,
		b: &w.vT[t.lo/w.panel*w.panelSize(a.D)], bs: w.panel, panels: w.panelSize(a.D),
		c: &ds[t.lo], ldc: ld,
	})
	// The products with keys run in tiles of rows() keys, which may begin before lo and end behind hi.
	from, to := max(0, t.lo-w.rows()), t.hi+w.rows()
	for i := range t.m {
		p, g := s[i*ld:i*ld+to], ds[i*ld:i*ld+to]
		lo, hi := a.rowRange(t, i)
		if lo < hi {
			a.gradRow(w, p[lo:hi], g[lo:hi], w.lse[t.r+i])
		}
		clear(p[from:max(lo, from)])
		clear(g[from:max(lo, from)])
		clear(p[max(hi, from):])
		clear(g[max(hi, from):])
	}
	w.multiply(&product{
		m: t.m, n: a.dp, k: t.hi - t.lo,
		a: &ds[t.lo], rs: ld, cs: 1,
		b: &w.kRow[t.lo*a.dp], bs: a.dp, panels: w.panel,
		c: &dq[t.r*a.dp], ldc: a.dp, add: true,
	})
}

// gradRow replaces scores x by probabilities, and g = dP - delta by the gradient of the scores before scaling.
func (a *attention) gradRow(w *attentionWorker, x, g []float32, lse float32) {
	if a.SoftCap == 0 {
		vecExpSum(x, x, lse)
		vecMul(g, g, x)
		return
	}
	vecScale(x, 1/a.SoftCap)
	slope := w.slope[:len(x)]
	vecFill(slope, 1)
	vecUnaryGrad(device.Tanh, slope, x, slope)
	vecUnary(device.Tanh, x, x)
	vecScale(x, a.SoftCap)
	vecExpSum(x, x, lse)
	vecMul(g, g, x)
	vecMul(g, g, slope)
}

// addKeyGrads adds n rows' part to the gradients of m keys from key j of the block on. Only
// tiles of rows that see one of the keys count; the scores of the others were not computed.
func (a *attention) addKeyGrads(w *attentionWorker, j, m, n int) {
	first, last := len(w.tileLo), 0
	for i := range w.tileLo {
		if w.tileHi[i] > j && w.tileLo[i] < j+m && w.tileLo[i] < w.tileHi[i] {
			first, last = min(first, i), i+1
		}
	}
	if first >= last {
		return
	}
	lo, hi := first*w.rows(), min(last*w.rows(), n)
	ld, q := scoreStride(backwardKeys), a.queryStride(w)
	p := product{
		m: m, n: a.dp, k: hi - lo,
		a: &w.s[lo*ld+j], rs: 1, cs: ld,
		b: &w.do[lo*q], bs: q, panels: w.panel,
		c: &w.dv[j*a.dp], ldc: a.dp, add: true,
	}
	w.multiply(&p)
	p.a, p.b, p.c = &w.ds[lo*ld+j], &w.q[lo*q], &w.dk[j*a.dp]
	w.multiply(&p)
}

// planSum makes tasks of rows whose partial gradients are to be summed, reusing the order of planBackward.
func (a *attention) planSum() {
	const rows = 64
	a.tasks = a.tasks[:0]
	partial := 0
	for n, s := range a.Sequences {
		all := s.QLen * a.group
		for kv := range a.KVHeads {
			for lo := 0; lo < all; lo += rows {
				a.tasks = append(a.tasks, attentionTask{sequence: n, kv: kv, lo: lo, hi: min(lo+rows, all), partial: partial})
			}
			partial += keyBlocks(s.KLen) * all * a.dp
		}
	}
}

// sumPartials adds up the gradients of rows t.lo to t.hi, block after block, and writes them.
func (a *attention) sumPartials(_ *attentionWorker, t attentionTask) {
	s := &a.Sequences[t.sequence]
	block := s.QLen * a.group * a.dp
	for r := t.lo; r < t.hi; r++ {
		sum := a.partials[t.partial+r*a.dp:][:a.dp]
		first, last := a.visible(s, r/a.group)
		for b := max(1, first/backwardKeys); b*backwardKeys < last; b++ {
			vecAdd(sum, sum, a.partials[t.partial+b*block+r*a.dp:][:a.dp])
		}
		a.storeQueryGrad(s, t.kv, r, sum)
	}
}
