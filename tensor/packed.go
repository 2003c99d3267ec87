package tensor

import (
	"fmt"

	"hone/device"
)

// Pack gives a parameter its values v in few bits. It is frozen for good: operations on it compute with its
// numbers in dtype, which they unpack for the time of a product.
func (t *Tensor) Pack(dev device.Device, dtype device.DType, packing device.Packing, v []float32) {
	whole := dev.Alloc(len(v), device.F32)
	defer dev.Free(whole)
	dev.Write(whole, v)
	t.PackBuffer(dev, dtype, packing, whole)
}

// PackBuffer is Pack of values that are on the device already, in F32.
func (t *Tensor) PackBuffer(dev device.Device, dtype device.DType, packing device.Packing, whole device.Buffer) {
	check(whole.Len == t.Len() && t.data == nil && t.packed == nil, "Pack",
		"%d values for a parameter of shape %v, or it has values", whole.Len, t.Shape)
	t.AllocPacked(dev, dtype, packing)
	dev.Pack(*t.packed, whole)
}

// AllocPacked is Pack without values.
func (t *Tensor) AllocPacked(dev device.Device, dtype device.DType, packing device.Packing) {
	t.dev, t.dtype, t.needsGrad = dev, dtype, false
	p := device.NewPacked(dev, packing, t.Rows(), t.Cols())
	t.packed = &p
}

// Packing is how the parameter is stored.
func (t *Tensor) Packing() device.Packing {
	if t.packed == nil {
		return device.Unpacked
	}
	return t.packed.Packing
}

// dense is the tensor's memory; for a packed or arranged one it is memory that done frees.
func (t *Tensor) dense() (buf device.Buffer, done func()) {
	if t.data != nil || t.packed == nil && t.order == nil { // data first: a copy in the device's order may stand beside it
		return t.Buffer(), func() {}
	}
	buf = t.dev.Alloc(t.Len(), t.dtype)
	if t.packed != nil {
		t.dev.Unpack(buf, *t.packed)
	} else {
		t.dev.(device.Arranger).Rearrange(buf, *t.order)
	}
	return buf, func() { t.dev.Free(buf) }
}

// unpacked is the weight w of a layer with n rows: its numbers, where it is packed and the gradient, which needs
// them, too, comes at once. Fewer rows than the device's products are steady with are multiplied as they were before.
func (t *Tape) unpacked(w *Tensor, n int) *Tensor {
	if loose, ok := t.Dev.(device.Loose); w.packed == nil || !t.repeats || ok && n < loose.FewRows() {
		return w
	}
	y := t.empty(w.dtype, w.Shape[0], w.Cols())
	t.Dev.Unpack(y.Buffer(), *w.packed)
	return y
}

// matMul is a product with the weight w for B, which may be packed or arranged.
func matMul(dev device.Device, m device.MatMul, w *Tensor) {
	if w.packed != nil {
		device.MatMulPacked(dev, m, *w.packed)
		return
	}
	done := w.operand(&m)
	dev.MatMul(m)
	done()
}

// matMulPlus is matMul with a second product added.
func matMulPlus(dev device.Device, m device.MatMul, w *Tensor, plus device.MatMul) {
	if p, ok := dev.(device.PackedMultiplier); ok && w.packed != nil && p.MatMulPacked(m, *w.packed) {
		plus.M, plus.N, plus.C, plus.Accumulate = m.M, m.N, m.C, true
		dev.MatMul(plus)
		return
	}
	done := w.operand(&m)
	device.MatMulPlus(dev, m, plus)
	done()
}

// operand makes t the B of m. done is called after the product.
func (t *Tensor) operand(m *device.MatMul) (done func()) {
	if a := t.order; a != nil && a.TransB == m.TransB {
		m.B, m.Arranged = a.Buf, true
		return func() {}
	}
	m.B, done = t.dense()
	return done
}

// readable says whether products whose B is stored so can read t where it is.
func (t *Tensor) readable(transB bool) bool {
	if t.order != nil {
		return t.order.TransB == transB
	}
	return t.packed == nil
}

// Arrange lets the device keep a parameter in the order in which its products read it fastest, where it has
// one. outFirst tells Linear's weights, which embeddings may be too, from Conv1D's. The parameter is frozen
// for good; only linear layers, heads and embeddings can use it.
func (t *Tensor) Arrange(outFirst bool) {
	if a := t.arranged(outFirst); a != nil {
		t.Free()
		t.order, t.needsGrad = a, false
	}
}

// ArrangeBeside is Arrange for a while in which the parameter's values do not change: it keeps them, and
// products use an arranged copy until done is called.
func (t *Tensor) ArrangeBeside(outFirst bool) (done func()) {
	a := t.arranged(outFirst)
	if a == nil {
		return func() {}
	}
	t.order = a
	return func() {
		t.dev.Free(a.Buf)
		t.order = nil
	}
}

// arranged is a copy in the device's order, nil where there is none or the parameter has one.
func (t *Tensor) arranged(outFirst bool) *device.Arranged {
	arranger, ok := t.dev.(device.Arranger)
	if !ok || t.data == nil || t.order != nil {
		return nil
	}
	k, n := t.Shape[0], t.Cols()
	if outFirst {
		k, n = n, k
	}
	a, ok := arranger.Arrange(t.data.buf, k, n, outFirst)
	if !ok {
		return nil
	}
	return &a
}

// noMemory says why a tensor has no buffer.
func (t *Tensor) noMemory() *Error {
	if t.packed != nil || t.order != nil {
		return &Error{"Buffer", fmt.Sprintf("tensor %v is packed or arranged; only linear layers can use it", t.Shape)}
	}
	return &Error{"Buffer", fmt.Sprintf("tensor %v has no memory", t.Shape)}
}
