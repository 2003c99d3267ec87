package tensor

import "hone/device"

// Grad is the gradient's memory, F32 for parameters, the zero Buffer when there is none.
func (t *Tensor) Grad() device.Buffer {
	if t.grad == nil {
		return device.Buffer{}
	}
	return t.grad.buf
}

// FreeGrad drops the gradient.
func (t *Tensor) FreeGrad() {
	t.grad.release(t.dev)
	t.grad = nil
}

// GradFloat32s reads the gradient back in row-major order, widened to f32; zeros when there is none.
func (t *Tensor) GradFloat32s() ([]float32, error) {
	v := make([]float32, t.Len())
	if t.grad == nil {
		return v, nil
	}
	return v, t.dev.Read(v, t.grad.buf)
}

// gradType is F32 for parameters, whose gradients add up over micro-batches, else the tensor's own.
func (x *Tensor) gradType() device.DType {
	if x.tape == nil {
		return device.F32
	}
	return x.dtype
}

// gradBuffer is x's gradient to write to: acc is true when there is something to add to. A fresh one is not
// cleared, so that a kernel that can accumulate writes it in one pass; whoever has such a kernel calls this,
// others make a gradient and call addGrad.
func (x *Tensor) gradBuffer() (buf device.Buffer, acc bool) {
	if x.grad == nil {
		x.grad = &storage{buf: x.dev.Alloc(x.Len(), x.gradType()), refs: 1}
		return x.grad.buf, false
	}
	if x.grad.refs > 1 { // shared by another tensor: take a copy before changing it
		own := &storage{buf: x.dev.Alloc(x.Len(), x.gradType()), refs: 1}
		x.dev.Unary(device.Identity, own.buf, x.grad.buf)
		x.grad.release(x.dev)
		x.grad = own
	}
	x.grad.one = false
	return x.grad.buf, true
}

// addGrad adds g to x's gradient and takes g over. The first one becomes the gradient without a copy; g may
// be shared with others (retain), for gradBuffer copies before it changes what is shared.
func (x *Tensor) addGrad(g *storage) {
	if x.grad == nil && g.buf.DType == x.gradType() {
		x.grad = g
		return
	}
	buf, acc := x.gradBuffer()
	if acc {
		x.dev.AddScaled(buf, 1, g.buf)
	} else {
		x.dev.Unary(device.Identity, buf, g.buf)
	}
	g.release(x.dev)
}

// takeGrad takes x's gradient from it, to be changed.
func (x *Tensor) takeGrad() *storage {
	x.gradBuffer() // no longer shared
	g := x.grad
	x.grad = nil
	return g
}

// giveGrad hands g to x, or frees it when x wants none.
func giveGrad(x *Tensor, g *storage) {
	if x.needsGrad {
		x.addGrad(g)
		return
	}
	g.release(x.dev)
}

// gradScalar is the gradient of a scalar, read from the device unless the host knows it.
func (t *Tensor) gradScalar() float32 {
	if t.grad.one {
		return 1
	}
	var v [1]float32
	if err := t.dev.Read(v[:], t.grad.buf); err != nil {
		panic(&Error{"Backward", err.Error()})
	}
	return v[0]
}
