package tensor

import "hone/device"

// InverseNorms computes 1/‖w + u.Scale·u.B·u.A‖ of each output of a linear layer: [out] in F32, a constant. w
// is [out, in], or [in, out] with inFirst. u.X has no part in it.
func InverseNorms(t *Tape, w *Tensor, u Update, inFirst bool) *Tensor {
	a, b := u.A, u.B
	r, in, out := a.Shape[0], a.Cols(), b.Shape[0]
	check(b.Cols() == r && w.Len() == in*out, "InverseNorms", "weight %v with %v and %v", w.Shape, a.Shape, b.Shape)
	// v is the whole updated weight, in F32, for the time of this call: DoRA's direction needs the norm
	// of the sum, not a sum of norms.
	v := t.scratch(w.Len(), device.F32)
	defer v.release(t.Dev)
	plain, done := w.dense()
	t.Dev.Unary(device.Identity, v.buf, plain)
	done()
	scaled := t.scratch(b.Len(), b.dtype)
	defer scaled.release(t.Dev)
	t.Dev.Unary(device.Identity, scaled.buf, b.Buffer())
	t.Dev.Scale(scaled.buf, u.Scale)
	m := device.MatMul{M: out, N: in, K: r, A: scaled.buf, B: a.Buffer(), C: v.buf, Accumulate: true}
	if inFirst {
		m = device.MatMul{M: in, N: out, K: r, A: a.Buffer(), TransA: true, B: scaled.buf, TransB: true, C: v.buf, Accumulate: true}
	}
	t.Dev.MatMul(m)
	// norms are the square roots of the sums of squares over in: a product with ones, then exp(-log/2):
	// devices have no kernel for a norm alone
	t.Dev.Unary(device.Square, v.buf, v.buf)
	ones := t.scratch(in, device.F32)
	defer ones.release(t.Dev)
	t.Dev.Fill(ones.buf, 1)
	norms := t.empty(device.F32, out)
	t.Dev.MatMul(device.MatMul{M: out, N: 1, K: in, A: v.buf, TransA: inFirst, B: ones.buf, C: norms.Buffer()})
	t.Dev.Unary(device.Log, norms.Buffer(), norms.Buffer())
	t.Dev.Scale(norms.Buffer(), -0.5)
	t.Dev.Unary(device.Exp, norms.Buffer(), norms.Buffer())
	return norms
}

// Magnitude computes y = g·(z - bias) + bias with g = m·inverse for each column: the magnitudes m of DoRA
// (Liu et al., 2024) for the directions whose inverse norms are a constant, as section 4.3 of the paper takes
// them: no gradient flows through a norm. z [N, C], m and inverse [C] in F32, bias [C] or nil.
func Magnitude(z, m, inverse, bias *Tensor) *Tensor {
	t := tapeOf("Magnitude", z)
	c := z.Cols()
	check(m.Len() == c && inverse.Len() == c && (bias == nil || bias.Len() == c), "Magnitude",
		"%v columns with magnitudes %v and norms %v", z.Shape, m.Shape, inverse.Shape)
	g := t.empty(device.F32, c)
	t.Dev.Binary(device.Mul, g.Buffer(), m.Buffer(), inverse.Buffer())
	y := t.empty(z.dtype, z.Shape...)
	t.centred(y.Buffer(), z, bias)
	rows := t.spread(g.Buffer(), z)
	t.Dev.Binary(device.Mul, y.Buffer(), y.Buffer(), rows.buf)
	rows.release(t.Dev)
	if bias != nil {
		rows = t.spread(bias.Buffer(), z)
		t.Dev.Binary(device.Add, y.Buffer(), y.Buffer(), rows.buf)
		rows.release(t.Dev)
	}
	if !t.wants(z, m, bias) {
		return y
	}
	t.push(y, func() { t.magnitudeGrad(y, z, m, inverse, bias, g) }, z, inverse, g)
	return y
}

// magnitudeGrad adds to the gradients of m, bias and z for that of y; g is m·inverse.
func (t *Tape) magnitudeGrad(y, z, m, inverse, bias, g *Tensor) {
	c := z.Cols()
	work := t.scratch(z.Len(), z.dtype)
	if m.needsGrad { // dm = inverse · column sums of dy·(z - bias)
		t.centred(work.buf, z, bias)
		t.Dev.Binary(device.Mul, work.buf, work.buf, y.grad.buf)
		dm := t.scratch(c, device.F32)
		t.Dev.ColumnSum(dm.buf, work.buf, false)
		t.Dev.Binary(device.Mul, dm.buf, dm.buf, inverse.Buffer())
		m.addGrad(dm)
	}
	rows := t.spread(g.Buffer(), z)
	t.Dev.Binary(device.Mul, work.buf, y.grad.buf, rows.buf)
	rows.release(t.Dev)
	if bias != nil && bias.needsGrad { // y = g·z + (1-g)·bias: g·dy reaches the bias through z, which holds it, the rest here
		rest := t.scratch(z.Len(), z.dtype)
		t.Dev.Binary(device.Sub, rest.buf, y.grad.buf, work.buf)
		db, acc := bias.gradBuffer()
		t.Dev.ColumnSum(db, rest.buf, acc)
		rest.release(t.Dev)
	}
	if z.needsGrad {
		z.addGrad(work)
		return
	}
	work.release(t.Dev)
}

// centred computes z - bias.
func (t *Tape) centred(dst device.Buffer, z, bias *Tensor) {
	if bias == nil {
		t.Dev.Unary(device.Identity, dst, z.Buffer())
		return
	}
	rows := t.spread(bias.Buffer(), z)
	t.Dev.Binary(device.Sub, dst, z.Buffer(), rows.buf)
	rows.release(t.Dev)
}

// spread is the vector v for every row of z, as a look-up of row 0 of a table with one row:
// elementwise kernels have no broadcasting.
func (t *Tape) spread(v device.Buffer, z *Tensor) *storage {
	none := t.scratch(z.Rows(), device.I32)
	defer none.release(t.Dev)
	t.Dev.Fill(none.buf, 0)
	rows := t.scratch(z.Len(), z.dtype)
	t.Dev.Embedding(rows.buf, v, none.buf)
	return rows
}
