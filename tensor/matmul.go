package tensor

import "hone/device"

// Linear computes y = x·wᵀ + b: x [N, in], w [out, in] as torch stores it, b [out] or nil, y [N, out].
func Linear(x, w, b *Tensor) *Tensor { return affine("Linear", x, w, b, true, nil) }

// Conv1D computes y = x·w + b with w [in, out], the layout of GPT-2's checkpoints.
func Conv1D(x, w, b *Tensor) *Tensor { return affine("Conv1D", x, w, b, false, nil) }

// affine is Linear when w is stored [out, in] and Conv1D when it is stored [in, out], with an update or without.
func affine(op string, x, w, b *Tensor, outFirst bool, low *lowRank) *Tensor {
	t := tapeOf(op, x)
	out, in := w.Shape[0], w.Shape[1]
	if !outFirst {
		out, in = in, out
	}
	n := x.Rows()
	check(x.Cols() == in, op, "input %v does not match weight %v", x.Shape, w.Shape)
	check(x.dtype == w.dtype, op, "input is %v and weight is %v", x.dtype, w.dtype)
	check(b == nil || b.Len() == out, op, "bias does not match weight %v", w.Shape)

	inputs, saved := []*Tensor{x, w, b}, []*Tensor{w}
	late := w.needsGrad // the backward pass wants x, once x has its gradient
	if low != nil {
		low.check(op, n, out, x.dtype)
		low.down(t)
	}
	y := t.product(x.dtype, n, out, func(y *Tensor) {
		m := device.MatMul{M: n, N: out, K: in, A: x.Buffer(), TransB: outFirst, C: y.Buffer()}
		if b != nil {
			m.Bias = b.Buffer()
		}
		if low == nil {
			matMul(t.Dev, m, w)
		} else {
			matMulPlus(t.Dev, m, w, low.up())
		}
	})
	if low != nil {
		inputs, saved = append(inputs, low.x, low.A, low.B), append(saved, low.u)
		if low.x == x {
			late = late || low.A.needsGrad
		} else {
			saved = append(saved, low.x)
		}
	}
	if !t.wants(inputs...) {
		return y
	}
	lateX := x
	if !late {
		lateX = nil
	}
	t.pushLate(y, func() {
		dy := y.grad.buf
		dx := device.MatMul{M: n, N: in, K: out, A: dy, TransB: !outFirst} // dy·w
		switch {
		case low != nil:
			low.affineGrad(t, x, w, dx)
		case x.needsGrad:
			dx.C, dx.Accumulate = x.gradBuffer()
			matMul(t.Dev, dx, w)
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
	}, lateX, saved...)
	return y
}

// affineGrad adds to the gradients of the update and of the inputs of the layer that it is of, for x the product dx of the gradient of
// the output and w.
func (l *lowRank) affineGrad(t *Tape, x, w *Tensor, dx device.MatMul) {
	du := l.upGrads(t, dx.A)
	defer du.release(t.Dev)
	if x.needsGrad {
		dx.C, dx.Accumulate = x.gradBuffer()
		if l.x == x {
			matMulPlus(t.Dev, dx, w, l.back(du))
		} else {
			matMul(t.Dev, dx, w)
		}
	}
	if l.x != x {
		l.inputGrad(t, du)
	} else if l.A.needsGrad {
		t.late(x)
	}
	l.downGrad(t, du)
}
