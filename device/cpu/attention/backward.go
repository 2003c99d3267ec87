package attention

import (
	"hone/device"
	"hone/device/cpu/vec"
	"hone/internal/pages"
)

// backward computes the gradients of key blocks t.lo to t.hi of a head, and what
// these blocks add to the gradients of its queries.
//
// With P the probabilities and g the gradient of the scores,
//
//	dV = Pᵀ·dO,  dP = dO·Vᵀ,  g = P·(dP - Σ dO·O),  dK = gᵀ·Q,  dQ = g·K
//
// where P comes from scores computed again and the log-sum-exp of the forward pass.
func (a *Engine) backward(w *worker, t task) {
	s := &a.Sequences[t.sequence]
	rows := s.QLen * a.group
	pages.Grow(&w.kRow, backwardKeys*a.dp)
	pages.Grow(&w.dk, (backwardKeys+w.rows())*a.dp)
	pages.Grow(&w.dv, (backwardKeys+w.rows())*a.dp)
	a.rowSums(w, s, t)
	var dq []float32
	if t.partial >= 0 {
		dq = a.partials[t.partial : t.partial+rows*a.dp]
	} else {
		pages.Grow(&w.dq, rows*a.dp)
		dq = w.dq[:rows*a.dp]
	}
	clear(dq)
	for b := t.lo; b < t.hi; b++ {
		a.backwardKeys(w, s, keyBlock{kv: t.kv, k0: b * backwardKeys, k1: min((b+1)*backwardKeys, s.KLen), dq: dq})
	}
	if t.partial >= 0 {
		return
	}
	for g := range a.group {
		if grads, first := a.ownRows(&a.dq, s, t.kv, g, 0, rows); grads.n > 0 {
			grads.storeRows(0, grads.n, scaledRows{x: dq[first*a.dp:], ld: a.group * a.dp, scale: []float32{a.Scale}})
		}
	}
}

// storeQueryGrad scales and writes the gradient of row r.
func (a *Engine) storeQueryGrad(s *device.Sequence, kv, r int, dq []float32) {
	dq = dq[:a.D]
	a.path.Scale(dq, a.Scale)
	a.dq.storeRow(a.rowAt(&a.dq, s, kv, r), dq)
}

// rowSums sets w.lse and w.delta = Σ dO·O for the rows that see the task's blocks.
func (a *Engine) rowSums(w *worker, s *device.Sequence, t task) {
	rows := s.QLen * a.group
	pages.Grow(&w.lse, rows)
	pages.Grow(&w.delta, rows)
	pages.Grow(&w.stage, 2*a.D)
	first, last := a.seeing(s, t.lo*backwardKeys, min(t.hi*backwardKeys, s.KLen))
	first, last = first*a.group, max(first, last)*a.group
	asked := [...]headRows{a.queryRows(&a.q, s, t.kv, first, last), a.queryRows(&a.do, s, t.kv, first, last), a.queryRows(&a.o, s, t.kv, first, last)}
	for r := first; r < last; r++ {
		w.lse[r] = a.lse[a.lseAt(s, t.kv, r)]
	}
	for r := 0; r < asked[0].n; r += aheadRows {
		for i := range asked {
			asked[i].follow(r, false)
		}
		end := min(r+aheadRows, asked[0].n)
		for g := range a.group {
			do, at := a.ownRows(&a.do, s, t.kv, g, first+r*a.group, first+end*a.group)
			o, _ := a.ownRows(&a.o, s, t.kv, g, first+r*a.group, first+end*a.group)
			dotRows(w.delta[at:], a.group, &do, &o, w.stage)
		}
	}
}

// keyBlock is a block of keys k0 to k1 of a head, with the gradients of the queries of its sequence.
type keyBlock struct {
	kv, k0, k1 int
	dq         []float32
}

// backwardKeys computes the gradients of one block of keys.
func (a *Engine) backwardKeys(w *worker, s *device.Sequence, b keyBlock) {
	n := b.k1 - b.k0
	keys, values := a.keyRows(&a.k, s, b.kv, b.k0, b.k1), a.keyRows(&a.v, s, b.kv, b.k0, b.k1)
	dk, dv := a.keyRows(&a.dk, s, b.kv, b.k0, b.k1), a.keyRows(&a.dv, s, b.kv, b.k0, b.k1)
	clear(w.dk[:n*a.dp])
	clear(w.dv[:n*a.dp])
	first, last := a.seeing(s, b.k0, b.k1)
	if first < last {
		w.packTransposed(&w.kT, keys, 0)
		w.packTransposed(&w.vT, values, 0)
		w.packRows(&w.kRow, keys, 0, a.dp)
	}
	step := w.blockRows(backwardRowBlock)
	for r := first * a.group / step * step; r < last*a.group; r += step {
		a.backwardBlock(w, s, b, r, min(r+step, s.QLen*a.group))
	}
	// Asked for before the products, the rows of a block push each other out of the first cache: there are as many as it holds.
	for j := 0; j < n; j += aheadRows {
		dk.follow(j, true)
		dv.follow(j, true)
		end := min(j+aheadRows, n)
		dk.storeRows(j, end, scaledRows{x: w.dk[j*a.dp:], ld: a.dp, scale: []float32{a.Scale}})
		dv.storeRows(j, end, scaledRows{x: w.dv[j*a.dp:], ld: a.dp})
	}
}

// backwardBlock adds what rows lo to hi give to the gradients of a block of keys,
// and what these give to theirs.
func (a *Engine) backwardBlock(w *worker, s *device.Sequence, b keyBlock, lo, hi int) {
	ld, rows := scoreStride(backwardKeys), w.blockRows(backwardRowBlock)
	pages.Grow(&w.s, rows*ld)
	pages.Grow(&w.ds, rows*ld)
	pages.Grow(&w.slope, backwardKeys)
	t := rowBlock{s: s, kv: b.kv, r: lo, m: hi - lo, k0: b.k0, k1: b.k1}
	if !a.tileRanges(w, &t) {
		return
	}
	q, do := a.loadRows(w, &w.q, &a.q, &t), a.loadRows(w, &w.do, &a.do, &t)
	a.scoreGrads(w, &t, q, do)
	p, g := productRows{&w.s[0], ld}, productRows{&w.ds[0], ld}
	if a.pairs {
		p, g, q, do = a.pairScoreGrads(w, &t, q, do)
	}
	w.multiplySeen(&product{
		m: t.m, n: a.dp, a: &w.ds[0], rs: ld, cs: 1,
		b: &w.kRow[0], bs: a.dp, panels: w.panel, c: &b.dq[lo*a.dp], ldc: a.dp, add: true,
	})
	a.addKeyGrads(w, b.k1-b.k0, hi-lo, p, do, w.dv)
	a.addKeyGrads(w, b.k1-b.k0, hi-lo, g, q, w.dk)
}

// scoreGrads computes the probabilities (w.s) and score gradients (w.ds) of a block of rows.
func (a *Engine) scoreGrads(w *worker, t *rowBlock, q, do productRows) {
	ld := scoreStride(backwardKeys)
	a.scores(w, t, q, w.kT, w.s, ld)
	a.scores(w, t, do, w.vT, w.ds, ld)
	grads := a.queryRows(&a.dq, t.s, t.kv, t.r, t.r+t.m)
	grads.ask(0, grads.n, true)
	for i := range t.m {
		from, to := w.tileLo[i/w.rows()], w.tileHi[i/w.rows()]
		if from == to {
			continue
		}
		// The products with keys run in tiles of rows() keys, which may begin before from and end behind to.
		from, to = max(0, from-w.rows()), to+w.rows()
		p, g := w.s[i*ld:i*ld+to], w.ds[i*ld:i*ld+to]
		lo, hi := a.rowRange(t, i)
		w.askComing()
		if lo < hi {
			a.gradRow(w, p[lo:hi], g[lo:hi], w.lse[t.r+i], w.delta[t.r+i])
		}
		clear(p[from:max(lo, from)])
		clear(g[from:max(lo, from)])
		clear(p[max(hi, from):])
		clear(g[max(hi, from):])
	}
}

// gradRow replaces products of queries and keys, x, by probabilities, and g = dP by the gradient of the products before scaling.
func (a *Engine) gradRow(w *worker, x, g []float32, lse, delta float32) {
	if a.SoftCap == 0 {
		a.path.ScoreGrad(x, g, a.Scale, lse, delta)
		return
	}
	a.path.Scale(x, a.Scale/a.SoftCap)
	slope := w.slope[:len(x)]
	vec.Fill(slope, 1)
	a.path.UnaryGrad(device.Tanh, slope, x, slope)
	a.path.Unary(device.Tanh, x, x)
	a.path.ScoreGrad(x, g, a.SoftCap, lse, delta)
	a.path.Mul(g, g, slope)
}

// addKeyGrads adds the part of n rows, weights·x, to the gradients of the first m keys of the block. Only
// tiles of rows that see one of the keys of a tile count; the scores of the others were not computed.
func (a *Engine) addKeyGrads(w *worker, m, n int, weights, x productRows, grads []float32) {
	for j, end := 0, 0; j < m; j = end {
		first, last := w.seenBy(j, min(j+w.rows(), m))
		for end = j + w.rows(); end < m; end += w.rows() { // as many keys as the same rows see
			if f, l := w.seenBy(end, min(end+w.rows(), m)); f != first || l != last {
				break
			}
		}
		end = min(end, m)
		if first == last {
			continue
		}
		lo, hi := w.unitsOf(first*w.rows()), w.unitsOf(min(last*w.rows(), n))
		w.multiply(&product{
			m: end - j, n: a.dp, k: hi - lo,
			a: ahead(weights.at(lo), j), rs: 1, cs: weights.stride,
			b: x.at(lo), bs: x.stride, panels: w.panel,
			c: &grads[j*a.dp], ldc: a.dp, add: true,
		})
	}
}

// planSum makes tasks of rows whose partial gradients are to be summed, reusing the order of planBackward.
func (a *Engine) planSum() {
	const rows = 64
	a.tasks = a.tasks[:0]
	partial := 0
	for n, s := range a.Sequences {
		all := s.QLen * a.group
		for kv := range a.KVHeads {
			for lo := 0; lo < all; lo += rows {
				a.tasks = append(a.tasks, task{sequence: n, kv: kv, lo: lo, hi: min(lo+rows, all), partial: partial})
			}
			partial += keyBlocks(s.KLen) * all * a.dp
		}
	}
}

// sumPartials adds up the gradients of rows t.lo to t.hi, block after block, and writes them.
func (a *Engine) sumPartials(t task) {
	s := &a.Sequences[t.sequence]
	block := s.QLen * a.group * a.dp
	for r := t.lo; r < t.hi; r++ {
		sum := a.partials[t.partial+r*a.dp:][:a.dp]
		query, _ := a.query(r)
		first, last := a.visible(s, query)
		for b := max(1, first/backwardKeys); b*backwardKeys < last; b++ {
			a.path.Add(sum, sum, a.partials[t.partial+b*block+r*a.dp:][:a.dp])
		}
		a.storeQueryGrad(s, t.kv, r, sum)
	}
}
