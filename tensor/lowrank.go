package tensor

import "hone/device"

// Update is a low-rank update of a linear layer's weight, w + Scale·B·A (LoRA, Hu et al., 2021).
type Update struct {
	X     *Tensor // [N, in], what the update sees: the layer's input, or that after dropout
	A, B  *Tensor // [R, in], [out, R]
	Scale float32
}

// Updated is Linear, or Conv1D where the weight is stored [in, out], plus u.Scale·(u.X·u.Aᵀ)·u.Bᵀ: a
// linear layer with a low-rank update.
func Updated(x, w, b *Tensor, outFirst bool, u Update) *Tensor {
	return linear("Updated", x, w, b, outFirst, &lowRank{Update: u})
}

// LowRank computes y + scale·(x·aᵀ)·bᵀ.
// y [N, out], x [N, in], a [R, in], b [out, R]. It takes y's memory over: y must be fresh, and nothing else may
// need its value.
func LowRank(y, x, a, b *Tensor, scale float32) *Tensor {
	const op = "LowRank"
	t := tapeOf(op, y, x)
	l := lowRank{Update: Update{x, a, b, scale}}
	l.check(op, y.Rows(), y.Cols(), y.dtype)
	check(y.saved == 0 && y.rebuild == nil, op, "another operation needs the value of y")
	l.down(t)
	z, up := t.overwritten(y), l.up()
	up.M, up.N, up.C, up.Accumulate = y.Rows(), y.Cols(), z.Buffer(), true
	t.Dev.MatMul(up)
	if !t.wants(y, x, a, b) {
		return z
	}
	t.push(z, func() {
		du := l.upGrads(t, z.grad.buf)
		l.inputGrad(t, du)
		l.downGrad(t, du)
		du.release(t.Dev)
		if y.needsGrad {
			y.addGrad(z.grad.retain())
		}
	}, x, l.u)
	return z
}

// lowRank is an update at work on x = X. With s = Scale, u = s·x·Aᵀ and y += u·Bᵀ, the gradients for dy are
//
//	du = s·dy·B [N, R]    dB = dyᵀ·u [out, R]    dA = duᵀ·x [R, in]    dx = du·A [N, in]
//
// The scale is in u and du alone: both dB and dA get it once.
type lowRank struct {
	Update
	u *Tensor // Scale·x·Aᵀ, [N, R]
}

func (l *lowRank) check(op string, n, out int, dtype device.DType) {
	r, in := l.A.Shape[0], l.X.Cols()
	check(l.A.Cols() == in && l.B.Cols() == r && l.B.Shape[0] == out && l.X.Rows() == n, op,
		"an output of %d×%d and input %v do not match the update %v, %v", n, out, l.X.Shape, l.A.Shape, l.B.Shape)
	check(l.X.dtype == l.A.dtype && l.X.dtype == l.B.dtype && l.X.dtype == dtype, op,
		"operands are %v, %v, %v and %v", dtype, l.X.dtype, l.A.dtype, l.B.dtype)
}

// down computes u.
func (l *lowRank) down(t *Tape) {
	n, r := l.X.Rows(), l.A.Shape[0]
	l.u = t.product(l.X.dtype, n, r, func(u *Tensor) {
		m := device.MatMul{M: n, N: r, K: l.X.Cols(), A: l.X.Buffer(), B: l.A.Buffer(), TransB: true, C: u.Buffer()}
		device.MatMulScaled(t.Dev, m, l.Scale)
	})
}

// up is the product u·Bᵀ, to be added to what the layer computes.
func (l *lowRank) up() device.MatMul {
	return device.MatMul{K: l.A.Shape[0], A: l.u.Buffer(), B: l.B.Buffer(), TransB: true}
}

// upGrads adds dB = dyᵀ·u to the gradient of B, with dy that of the layer's output, and returns du =
// Scale·dy·B, nil where nobody needs it.
func (l *lowRank) upGrads(t *Tape, dy device.Buffer) (du *storage) {
	n, r, out := l.X.Rows(), l.A.Shape[0], l.B.Shape[0]
	wanted := l.X.needsGrad || l.A.needsGrad
	if wanted {
		du = t.scratch(n*r, l.X.dtype)
	}
	var db device.Buffer
	acc := false
	if l.B.needsGrad {
		db, acc = l.B.gradBuffer()
	}
	switch {
	case wanted && l.B.needsGrad:
		device.LowRankGrads(t.Dev, device.LowRankGrad{N: n, R: r, Out: out, DY: dy, U: l.u.Buffer(), B: l.B.Buffer(),
			DU: du.buf, DB: db, Scale: l.Scale, AccB: acc})
	case wanted:
		device.MatMulScaled(t.Dev, device.MatMul{M: n, N: r, K: out, A: dy, B: l.B.Buffer(), C: du.buf}, l.Scale)
	case l.B.needsGrad:
		t.Dev.MatMul(device.MatMul{M: out, N: r, K: n, A: dy, B: l.u.Buffer(), TransA: true, C: db, Accumulate: acc})
	}
	return du
}

// downGrad adds dA = duᵀ·x to the gradient of A.
func (l *lowRank) downGrad(t *Tape, du *storage) {
	if l.A.needsGrad {
		da, acc := l.A.gradBuffer()
		t.Dev.MatMul(device.MatMul{M: l.A.Shape[0], N: l.X.Cols(), K: l.X.Rows(), A: du.buf, TransA: true, B: l.X.Buffer(),
			C: da, Accumulate: acc})
	}
}

// back is the product du·A, to be added to the gradient of x.
func (l *lowRank) back(du *storage) device.MatMul {
	return device.MatMul{K: l.A.Shape[0], A: du.buf, B: l.A.Buffer()}
}

// inputGrad adds du·A to the gradient of x by itself.
func (l *lowRank) inputGrad(t *Tape, du *storage) {
	if !l.X.needsGrad {
		return
	}
	dx, acc := l.X.gradBuffer()
	m := l.back(du)
	m.M, m.N, m.C, m.Accumulate = l.X.Rows(), l.X.Cols(), dx, acc
	t.Dev.MatMul(m)
}

// overwritten is a new tensor that begins with the values of x, in its memory unless that is kept.
func (t *Tape) overwritten(x *Tensor) *Tensor {
	if x.data.parent != nil {
		z := t.empty(x.dtype, x.Shape...)
		t.Dev.Unary(device.Identity, z.Buffer(), x.Buffer())
		return z
	}
	return t.over(x.data.retain(), x.dtype, x.Shape...)
}
