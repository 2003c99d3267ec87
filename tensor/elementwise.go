package tensor

import (
	"slices"

	"hone/device"
)

// Add computes a + b elementwise.
func Add(a, b *Tensor) *Tensor {
	t := tapeOf("Add", a, b)
	check(a.Len() == b.Len(), "Add", "shapes %v and %v differ", a, b)
	return add(t, t.empty(a.dtype, a.Shape...), a, b, a.Buffer(), b.Buffer())
}

// Residual computes x + branch elementwise, for a branch that must not be read afterwards: the result may
// take its place.
func Residual(x, branch *Tensor) *Tensor {
	t := tapeOf("Residual", x, branch)
	check(slices.Equal(x.Shape, branch.Shape) && x.dtype == branch.dtype, "Residual",
		"%v in %v and %v in %v differ", x, x.dtype, branch, branch.dtype)
	a, b := x.Buffer(), branch.Buffer()
	return add(t, t.inPlaceOf(branch), x, branch, a, b)
}

// add makes y the sum of a and b, whose values are at fromA and fromB: where y has taken b's
// place, b has no buffer any more.
func add(t *Tape, y, a, b *Tensor, fromA, fromB device.Buffer) *Tensor {
	t.Dev.Binary(device.Add, y.Buffer(), fromA, fromB)
	if t.wants(a, b) {
		t.push(y, func() {
			// Both get the same gradient: they share its memory until one changes it.
			for _, x := range []*Tensor{a, b} {
				if x.needsGrad {
					x.addGrad(y.grad.retain())
				}
			}
		})
	}
	return y
}

// Mul computes a·b elementwise; a and b may be one tensor, which then gets both gradients.
func Mul(a, b *Tensor) *Tensor {
	t := tapeOf("Mul", a, b)
	check(a.Len() == b.Len(), "Mul", "shapes %v and %v differ", a.Shape, b.Shape)
	y := t.empty(a.dtype, a.Shape...)
	t.Dev.Binary(device.Mul, y.Buffer(), a.Buffer(), b.Buffer())
	if t.wants(a, b) {
		t.push(y, func() {
			mulGrad(t, a, b, y.grad.buf)
			mulGrad(t, b, a, y.grad.buf)
		}, a, b)
	}
	return y
}

// mulGrad adds other·dy to x's gradient.
func mulGrad(t *Tape, x, other *Tensor, dy device.Buffer) {
	if !x.needsGrad {
		return
	}
	g := t.scratch(x.Len(), x.dtype)
	t.Dev.Binary(device.Mul, g.buf, other.Buffer(), dy)
	x.addGrad(g)
}

// Scale computes a·x.
func Scale(x *Tensor, a float32) *Tensor {
	t := tapeOf("Scale", x)
	y := t.empty(x.dtype, x.Shape...)
	t.Dev.Unary(device.Identity, y.Buffer(), x.Buffer())
	t.Dev.Scale(y.Buffer(), a)
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

// Unary applies op to each element, such as device.GELU or device.SiLU. Where it is recorded the
// result is not kept but made again.
func Unary(op device.UnaryOp, x *Tensor) *Tensor {
	t := tapeOf("Unary", x)
	y := t.empty(x.dtype, x.Shape...)
	t.Dev.Unary(op, y.Buffer(), x.Buffer())
	if t.wants(x) {
		y.rebuild, y.deps = func() { t.Dev.Unary(op, y.Buffer(), x.Buffer()) }, []*Tensor{x}
		y.both = func() {
			dx := y.takeGrad()
			t.Dev.UnaryBoth(op, y.Buffer(), dx.buf, x.Buffer())
			x.addGrad(dx)
		}
		t.push(y, func() {
			dx := y.takeGrad() // dy becomes dx in its place: activations are the widest tensors of a model
			t.Dev.UnaryGrad(op, dx.buf, x.Buffer(), dx.buf, false)
			x.addGrad(dx)
		}, x)
	}
	return y
}

// Gated computes act(gate)·up, the gate of a feed-forward block: SwiGLU with device.SiLU,
// GeGLU with device.GELU (Shazeer, "GLU Variants Improve Transformer", 2020). All are [N, F].
func Gated(act device.UnaryOp, gate, up *Tensor) *Tensor {
	t := tapeOf("Gated", gate)
	check(gate.Len() == up.Len(), "Gated", "gate %v and up %v differ", gate, up)
	y := t.empty(gate.dtype, gate.Shape...)
	t.Dev.Gated(act, y.Buffer(), gate.Buffer(), up.Buffer())
	if t.wants(gate, up) {
		y.rebuild, y.deps = func() { t.Dev.Gated(act, y.Buffer(), gate.Buffer(), up.Buffer()) }, []*Tensor{gate, up}
		back := func(compute func(dgate, dup device.Buffer)) {
			dgate, dup := t.scratch(gate.Len(), gate.dtype), y.takeGrad() // dy becomes the gradient of up in its place
			compute(dgate.buf, dup.buf)
			giveGrad(gate, dgate)
			giveGrad(up, dup)
		}
		y.both = func() {
			back(func(dgate, dup device.Buffer) {
				t.Dev.GatedBoth(act, y.Buffer(), dgate, dup, gate.Buffer(), up.Buffer())
			})
		}
		t.push(y, func() {
			back(func(dgate, dup device.Buffer) { t.Dev.GatedGrad(act, dgate, dup, gate.Buffer(), up.Buffer(), dup) })
		}, gate, up)
	}
	return y
}

// Dropout zeroes each element with probability p and scales the others by 1/(1-p) (Srivastava et al., 2014); outside
// training it does nothing.
func Dropout(x *Tensor, p float32) *Tensor {
	t := tapeOf("Dropout", x)
	check(p >= 0 && p < 1, "Dropout", "probability %v is not in [0, 1)", p)
	if !t.train || t.still || p == 0 {
		return x
	}
	key := t.random.Uint64() // the mask is a function of it: the backward pass makes it again instead of keeping it
	y := t.empty(x.dtype, x.Shape...)
	t.Dev.Dropout(y.Buffer(), x.Buffer(), p, key)
	if t.wants(x) {
		t.push(y, func() {
			g := t.scratch(x.Len(), x.dtype)
			t.Dev.Dropout(g.buf, y.grad.buf, p, key)
			x.addGrad(g)
		})
	}
	return y
}

// Noise adds to the elements of row n of x [N, C] numbers that are uniform in ±bounds[n]; outside training it
// does nothing.
func Noise(x *Tensor, bounds []float32) *Tensor {
	t := tapeOf("Noise", x)
	check(len(bounds) == x.Rows(), "Noise", "%d bounds for %v", len(bounds), x.Shape)
	if !t.train || t.still {
		return x
	}
	r := NewRandom(t.random.Uint64())
	v := make([]float32, x.Len())
	r.Uniform(v, 1)
	c := x.Cols()
	for n, bound := range bounds {
		for i := n * c; i < (n+1)*c; i++ {
			v[i] *= bound
		}
	}
	return Add(x, t.Floats(v, x.Shape...))
}

// Sum adds all elements up into a scalar [1] in F32.
func Sum(x *Tensor) *Tensor {
	t := tapeOf("Sum", x)
	y := t.empty(device.F32, 1)
	t.Dev.Reduce(device.Sum, y.Buffer(), x.Buffer())
	if t.wants(x) {
		t.push(y, func() {
			g := t.scratch(x.Len(), x.dtype)
			t.Dev.Fill(g.buf, y.gradScalar())
			x.addGrad(g)
		})
	}
	return y
}
