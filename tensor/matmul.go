package tensor

import (
	"slices"

	"hone/device"
)

// Linear computes y = x·wᵀ + b: x [N, in], w [out, in] as torch stores it, b [out] or nil, y [N, out].
func Linear(x, w, b *Tensor) *Tensor { return linear("Linear", x, w, b, true, nil) }

// Conv1D computes y = x·w + b with w [in, out], the layout of GPT-2's checkpoints.
func Conv1D(x, w, b *Tensor) *Tensor { return linear("Conv1D", x, w, b, false, nil) }

// Weights are the parameters of a linear layer: W [out, in] as torch stores it, B [out] or nil.
type Weights struct{ W, B *Tensor }

// Linears computes what several linear layers make of one x [N, in], each [N, out] of its own: at once, where
// the device can.
func Linears(x *Tensor, layers ...Weights) []*Tensor {
	t, ys := tapeOf("Linears", x), make([]*Tensor, len(layers))
	// a pass that keeps results numbers products one by one, and a packed weight is unpacked for the time of its own
	if t.results != nil || slices.ContainsFunc(layers, func(w Weights) bool { return !w.W.readable(true) }) {
		for i, w := range layers {
			ys[i] = Linear(x, w.W, w.B)
		}
		return ys
	}
	t.products = t.products[:0]
	for i, w := range layers {
		l := newLayer("Linears", x, w.W, w.B, true)
		ys[i] = t.empty(x.dtype, l.n, l.out)
		m := l.product(ys[i])
		w.W.operand(&m)
		t.products = append(t.products, m)
	}
	device.MatMuls(t.Dev, t.products)
	clear(t.products)
	for i, w := range layers {
		if t.wants(x, w.W, w.B) { // the layer is described anew: decoding, which records nothing, then needs no list of them
			newLayer("Linears", x, w.W, w.B, true).record(t, ys[i])
		}
	}
	return ys
}

// linear is Linear when w is stored [out, in] and Conv1D when it is stored [in, out], with an update or without.
func linear(op string, x, w, b *Tensor, outFirst bool, low *lowRank) *Tensor {
	t, l := tapeOf(op, x), newLayer(op, x, w, b, outFirst)
	l.low, l.w = low, t.unpacked(w, l.n)
	if low != nil {
		low.check(op, l.n, l.out, x.dtype)
		low.down(t)
	}
	y := t.product(x.dtype, l.n, l.out, l.compute)
	if t.wants(x, w, b) || low != nil && t.wants(low.X, low.A, low.B) {
		l.record(t, y)
	}
	return y
}

// newLayer checks that the operands of a layer fit.
func newLayer(op string, x, w, b *Tensor, outFirst bool) layer {
	l := layer{x: x, w: w, b: b, outFirst: outFirst, n: x.Rows()}
	l.out, l.in = w.Shape[0], w.Shape[1]
	if !outFirst {
		l.out, l.in = l.in, l.out
	}
	check(x.Cols() == l.in, op, "input %v does not match weight %v", x, w)
	check(x.dtype == w.dtype, op, "input is %v and weight is %v", x.dtype, w.dtype)
	check(b == nil || b.Len() == l.out, op, "bias does not match weight %v", w)
	return l
}

// layer is a linear layer at work on x. For dy [N, out], the gradient of y = x·wᵀ + b, those of its operands are
//
//	dx = dy·w [N, in]    dw = dyᵀ·x [out, in]    db = Σ dy over the rows [out]
type layer struct {
	x, w, b    *Tensor  // x [n, in]; b may be nil
	outFirst   bool     // w is [out, in]; else [in, out], and dw = xᵀ·dy
	low        *lowRank // nil without an update
	n, out, in int
}

// product is the layer's output y as a product that lacks its weight.
func (l *layer) product(y *Tensor) device.MatMul {
	m := device.MatMul{M: l.n, N: l.out, K: l.in, A: l.x.Buffer(), TransB: l.outFirst, C: y.Buffer()}
	if l.b != nil {
		m.Bias = l.b.Buffer()
	}
	return m
}

// compute fills y, the layer's output.
func (l *layer) compute(y *Tensor) {
	m := l.product(y)
	if l.low == nil {
		matMul(y.tape.Dev, m, l.w)
	} else {
		matMulPlus(y.tape.Dev, m, l.w, l.low.up())
	}
}

// record leaves the gradient of y on the tape.
func (l layer) record(t *Tape, y *Tensor) {
	saved := []*Tensor{l.w}
	// dw = dyᵀ·x wants x, but only once x has its gradient: if x is a norm's or an activation's output that
	// was dropped, making it again and passing its gradient on then are one pass over memory (Tape.late).
	late := l.w.needsGrad
	if low := l.low; low != nil {
		saved = append(saved, low.u)
		if low.X == l.x {
			late = late || low.A.needsGrad
		} else {
			saved = append(saved, low.X)
		}
	}
	lateX := l.x
	if !late {
		lateX = nil
	}
	t.pushLate(y, func() { l.grad(t, y.grad.buf) }, lateX, saved...)
}

// grad adds to the gradients of the layer's operands for dy, that of its output.
func (l *layer) grad(t *Tape, dy device.Buffer) {
	x, w, b := l.x, l.w, l.b
	dx := device.MatMul{M: l.n, N: l.in, K: l.out, A: dy, TransB: !l.outFirst} // dy·w
	switch {
	case l.low != nil:
		l.low.linearGrad(t, x, w, dx)
	case x.needsGrad:
		dx.C, dx.Accumulate = x.gradBuffer()
		matMul(t.Dev, dx, w)
	}
	var dw device.MatMul // dyᵀ·x, or xᵀ·dy
	if w.needsGrad {
		t.late(x)
		dw = device.MatMul{M: l.out, N: l.in, K: l.n, A: dy, B: x.Buffer(), TransA: true}
		if !l.outFirst {
			dw.M, dw.N, dw.A, dw.B = l.in, l.out, x.Buffer(), dy
		}
		dw.C, dw.Accumulate = w.gradBuffer()
	}
	paramGrads(t, dw, b, dy)
}

// paramGrads computes dw, where it is a product, and adds the sums of the columns of dy to the
// gradient of b, which may be nil.
func paramGrads(t *Tape, dw device.MatMul, b *Tensor, dy device.Buffer) {
	wanted := b != nil && b.needsGrad
	if wanted && dw.B == dy { // of Conv1D's xᵀ·dy: the product packs dy, and adds its columns up on the way
		db, acc := b.gradBuffer()
		device.MatMulSums(t.Dev, dw, db, acc)
		return
	}
	if dw.M > 0 {
		t.Dev.MatMul(dw)
	}
	if wanted {
		db, acc := b.gradBuffer()
		t.Dev.ColumnSum(db, dy, acc)
	}
}

// linearGrad adds to the gradients of the update and of the inputs of the layer that it is of, for x the
// product dx of the gradient of the output and w.
func (l *lowRank) linearGrad(t *Tape, x, w *Tensor, dx device.MatMul) {
	du := l.upGrads(t, dx.A)
	defer du.release(t.Dev)
	if x.needsGrad {
		dx.C, dx.Accumulate = x.gradBuffer()
		if l.X == x {
			matMulPlus(t.Dev, dx, w, l.back(du))
		} else {
			matMul(t.Dev, dx, w)
		}
	}
	if l.X != x {
		l.inputGrad(t, du)
	} else if l.A.needsGrad {
		t.late(x)
	}
	l.downGrad(t, du)
}
