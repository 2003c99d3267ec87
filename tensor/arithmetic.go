package tensor

import "hone/device"

// The arithmetic of objectives: vectors with a number for each token or sequence, in F32.

// filled is a constant of the shape and type of x with the same number everywhere.
func (t *Tape) filled(v float32, x *Tensor) *Tensor {
	y := t.empty(x.dtype, x.Shape...)
	t.Dev.Fill(y.Buffer(), v)
	return y
}

// Float32 converts x to F32; what is F32 already is returned as it is.
func Float32(x *Tensor) *Tensor {
	t := tapeOf("Float32", x)
	if x.dtype == device.F32 {
		return x
	}
	y := t.empty(device.F32, x.Shape...)
	t.Dev.Unary(device.Identity, y.Buffer(), x.Buffer())
	if t.wants(x) {
		t.push(y, func() { x.addGrad(y.grad.retain()) })
	}
	return y
}

// Sub computes a - b elementwise.
func Sub(a, b *Tensor) *Tensor {
	t := tapeOf("Sub", a, b)
	check(a.Len() == b.Len(), "Sub", "shapes %v and %v differ", a.Shape, b.Shape)
	y := t.empty(a.dtype, a.Shape...)
	t.Dev.Binary(device.Sub, y.Buffer(), a.Buffer(), b.Buffer())
	if t.wants(a, b) {
		t.push(y, func() {
			if a.needsGrad {
				a.addGrad(y.grad.retain())
			}
			if b.needsGrad {
				g := t.scratch(b.Len(), b.dtype)
				t.Dev.Unary(device.Identity, g.buf, y.grad.buf)
				t.Dev.Scale(g.buf, -1)
				b.addGrad(g)
			}
		})
	}
	return y
}

// Affine computes a·x + b elementwise, for numbers a and b.
func Affine(x *Tensor, a, b float32) *Tensor {
	t := tapeOf("Affine", x)
	y := t.filled(b, x)
	t.Dev.AddScaled(y.Buffer(), a, x.Buffer())
	if t.wants(x) {
		t.push(y, func() {
			g := t.scratch(x.Len(), x.dtype)
			t.Dev.Unary(device.Identity, g.buf, y.grad.buf)
			t.Dev.Scale(g.buf, a)
			x.addGrad(g)
		})
	}
	return y
}

// Max computes the larger of a and b elementwise. Where they are equal the gradient is a's.
func Max(a, b *Tensor) *Tensor { return choose(device.Max, a, b) }

// Min computes the smaller of a and b elementwise. Where they are equal the gradient is a's.
func Min(a, b *Tensor) *Tensor { return choose(device.Min, a, b) }

func choose(op device.BinaryOp, a, b *Tensor) *Tensor {
	t := tapeOf("Max or Min", a, b)
	check(a.Len() == b.Len(), "Max or Min", "shapes %v and %v differ", a.Shape, b.Shape)
	y := t.empty(a.dtype, a.Shape...)
	t.Dev.Binary(op, y.Buffer(), a.Buffer(), b.Buffer())
	if !t.wants(a, b) {
		return y
	}
	t.push(y, func() {
		// b was taken where b-a (of Max) or a-b (of Min) is above 0, which is where the slope of ReLU is 1.
		over, other := b, a
		if op == device.Min {
			over, other = a, b
		}
		// gap is the difference, then a's gradient: dy less b's
		gap, gb := t.scratch(a.Len(), a.dtype), t.scratch(a.Len(), a.dtype)
		t.Dev.Binary(device.Sub, gap.buf, over.Buffer(), other.Buffer())
		t.Dev.UnaryGrad(device.ReLU, gb.buf, gap.buf, y.grad.buf, false)
		t.Dev.Binary(device.Sub, gap.buf, y.grad.buf, gb.buf)
		giveGrad(a, gap) // both are computed, and one may be for nothing: losses hold a constant beside a tensor and are short
		giveGrad(b, gb)
	}, a, b)
	return y
}

// Clamp limits x to [lo, hi]; the gradient is 1 within, the limits included, and 0 outside.
func Clamp(x *Tensor, lo, hi float32) *Tensor {
	t := tapeOf("Clamp", x)
	return Min(Max(x, t.filled(lo, x)), t.filled(hi, x))
}

// SumBy adds the elements of x [N] up by groups: index [N] (I32) says which of the n groups each belongs to.
// The result is [n, 1] in F32; each sum runs in the order of the elements.
func SumBy(x, index *Tensor, n int) *Tensor {
	t := tapeOf("SumBy", x, index)
	check(x.Len() == index.Len(), "SumBy", "%d groups are named for %d elements", index.Len(), x.Len())
	y := t.empty(device.F32, n, 1)
	t.Dev.Fill(y.Buffer(), 0)
	// A table with one column: looking a group up is the gradient of adding to it, and the other way round.
	t.Dev.EmbeddingGrad(y.Buffer(), x.Buffer(), index.Buffer())
	if t.wants(x) {
		t.push(y, func() {
			g := t.scratch(x.Len(), x.dtype)
			t.Dev.Embedding(g.buf, y.grad.buf, index.Buffer())
			x.addGrad(g)
		}, index)
	}
	return y
}
