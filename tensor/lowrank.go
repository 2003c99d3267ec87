package tensor

import "hone/device"

// LowRank computes y + scale·(x·aᵀ)·bᵀ: the update of a linear layer by two thin matrices (LoRA, Hu et al., 2021).
// y [N, out], x [N, in], a [R, in], b [out, R]. It takes y's memory over: y must be fresh, and nothing else may
// need its value.
func LowRank(y, x, a, b *Tensor, scale float32) *Tensor {
	t := tapeOf("LowRank", y, x)
	n, in, r, out := x.Rows(), x.Cols(), a.Shape[0], b.Shape[0]
	check(a.Cols() == in && b.Cols() == r && y.Cols() == out && y.Rows() == n, "LowRank",
		"output %v and input %v do not match weights %v and %v", y.Shape, x.Shape, a.Shape, b.Shape)
	check(x.dtype == a.dtype && x.dtype == b.dtype && x.dtype == y.dtype, "LowRank", "operands are %v, %v, %v and %v", y.dtype, x.dtype, a.dtype, b.dtype)
	check(y.saved == 0 && y.rebuild == nil, "LowRank", "another operation needs the value of y")

	u := t.empty(x.dtype, n, r) // scale·x·aᵀ
	t.Dev.MatMul(device.MatMul{M: n, N: r, K: in, A: x.Buffer(), B: a.Buffer(), TransB: true, C: u.Buffer()})
	t.Dev.Scale(u.Buffer(), scale)
	z := t.alias(y)
	t.Dev.MatMul(device.MatMul{M: n, N: out, K: r, A: u.Buffer(), B: b.Buffer(), TransB: true, C: z.Buffer(), Accumulate: true})
	if !t.wants(y, x, a, b) {
		return z
	}
	t.push(z, func() {
		dz := z.grad.buf
		if b.needsGrad { // db = dzᵀ·u
			db, acc := b.gradBuffer()
			t.Dev.MatMul(device.MatMul{M: out, N: r, K: n, A: dz, B: u.Buffer(), TransA: true, C: db, Accumulate: acc})
		}
		if x.needsGrad || a.needsGrad {
			t.lowRankInput(x, a, b, dz, scale)
		}
		if y.needsGrad {
			y.addGrad(z.grad.retain())
		}
	}, x, u)
	return z
}

// lowRankInput carries the gradient dz of LowRank on to x and a: with du = scale·dz·b, da = duᵀ·x and dx = du·a.
func (t *Tape) lowRankInput(x, a, b *Tensor, dz device.Buffer, scale float32) {
	n, in, r, out := x.Rows(), x.Cols(), a.Shape[0], b.Shape[0]
	du := t.scratch(n*r, x.dtype)
	defer du.release(t.Dev)
	t.Dev.MatMul(device.MatMul{M: n, N: r, K: out, A: dz, B: b.Buffer(), C: du.buf})
	t.Dev.Scale(du.buf, scale)
	if a.needsGrad {
		da, acc := a.gradBuffer()
		t.Dev.MatMul(device.MatMul{M: r, N: in, K: n, A: du.buf, B: x.Buffer(), TransA: true, C: da, Accumulate: acc})
	}
	if x.needsGrad {
		dx, acc := x.gradBuffer()
		t.Dev.MatMul(device.MatMul{M: n, N: in, K: r, A: du.buf, B: a.Buffer(), C: dx, Accumulate: acc})
	}
}

// alias is a new tensor in the memory of x.
func (t *Tape) alias(x *Tensor) *Tensor {
	z := &Tensor{Shape: x.Shape, dtype: x.dtype, dev: x.dev, tape: t, data: x.data.retain()}
	top := len(t.scopes) - 1
	t.scopes[top] = append(t.scopes[top], z)
	return z
}
