package tensor

import "hone/device"

// Linear computes y = x·wᵀ + b: x [N, in], w [out, in] as torch stores it, b [out] or nil, y [N, out].
func Linear(x, w, b *Tensor) *Tensor { return affine("Linear", x, w, b, true) }

// Conv1D computes y = x·w + b with w [in, out], the layout of GPT-2's checkpoints.
func Conv1D(x, w, b *Tensor) *Tensor { return affine("Conv1D", x, w, b, false) }

// affine is Linear when w is stored [out, in] and Conv1D when it is stored [in, out].
func affine(op string, x, w, b *Tensor, outFirst bool) *Tensor {
	t := tapeOf(op, x)
	out, in := w.Shape[0], w.Shape[1]
	if !outFirst {
		out, in = in, out
	}
	n := x.Rows()
	check(x.Cols() == in, op, "input %v does not match weight %v", x.Shape, w.Shape)
	check(x.dtype == w.dtype, op, "input is %v and weight is %v", x.dtype, w.dtype)
	check(b == nil || b.Len() == out, op, "bias does not match weight %v", w.Shape)

	y := t.empty(x.dtype, n, out)
	m := device.MatMul{M: n, N: out, K: in, A: x.Buffer(), TransB: outFirst, C: y.Buffer()}
	if b != nil {
		m.Bias = b.Buffer()
	}
	matMul(t.Dev, m, w)
	if !t.wants(x, w, b) {
		return y
	}

	late := x
	if !w.needsGrad {
		late = nil
	}
	t.pushLate(y, func() {
		dy := y.grad.buf
		if x.needsGrad { // dx = dy·w
			dx, acc := x.gradBuffer()
			matMul(t.Dev, device.MatMul{M: n, N: in, K: out, A: dy, TransB: !outFirst, C: dx, Accumulate: acc}, w)
		}
		if w.needsGrad { // dw = dyᵀ·x, or xᵀ·dy
			t.late(x)
			dw, acc := w.gradBuffer()
			g := device.MatMul{M: out, N: in, K: n, A: dy, B: x.Buffer(), TransA: true, C: dw, Accumulate: acc}
			if !outFirst {
				g.M, g.N, g.A, g.B = in, out, x.Buffer(), dy
			}
			t.Dev.MatMul(g)
		}
		if b != nil && b.needsGrad {
			db, acc := b.gradBuffer()
			t.Dev.ColumnSum(db, dy, acc)
		}
	}, late, w)
	return y
}
