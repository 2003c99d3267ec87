// Package tensor is arrays on a device and the tape that differentiates them.
//
// Every operation is one function that holds its forward and its backward pass:
// it runs kernels of the device and, while the tape records, leaves a closure
// that adds to the gradients of its inputs. Models call the functions and never
// write a gradient. The whole pattern, of an operation that computes y = a·x:
//
//	func Scale(x *Tensor, a float32) *Tensor {
//		t := tapeOf("Scale", x)                             // who owns the result
//		y := t.empty(x.dtype, x.Shape...)                   // not cleared, on the scope's list
//		t.Dev.Unary(device.Identity, y.Buffer(), x.Buffer())
//		t.Dev.Scale(y.Buffer(), a)
//		if t.wants(x) {                                     // a training pass in which x needs a gradient
//			t.push(y, func() {                              // y.grad is complete when this runs
//				g := t.scratch(x.Len(), x.dtype)
//				t.Dev.Unary(device.Identity, g.buf, y.grad.buf)
//				t.Dev.Scale(g.buf, a)
//				x.addGrad(g)                                // hands g over: x.grad is it, or grows by it
//			})                                              // tensors after the closure: values that it reads
//		}
//		return y
//	}
//
// # How long memory lives
//
// Buffers are counted. A value goes back to the device when its scope (Tape.Scope) has
// ended and no recorded operation has it among its saved tensors; the backward pass lets
// go of saved tensors entry by entry. Values with a rebuild function, the outputs of norms
// and activations, are freed at the end of their scope all the same and made again when
// the first closure asks for them: their inputs are kept instead, which others keep anyway.
// A gradient of an activation lives from the first closure that adds to it until the one
// that passes it on; a parameter's stays until the optimizer has used it.
//
// Nothing here is safe for concurrent use: one goroutine runs a tape, and the device hands
// out the work of each call.
//
// Activations are matrices [N, C]: N rows (the tokens of all packed sequences),
// C channels. Further letters: H query heads, K key/value heads, D head
// dimension, F feed-forward width, V vocabulary.
//
// Misuse of an operation panics with an *Error that names it and the shapes;
// Try at the step turns such panics, and a device's *device.OutOfMemory, into errors.
//
// # Where to read what
//
//	tensor.go, tape.go           the array; a pass, and what its operations record
//	memory.go, gradient.go       when values come and go (reuse.go: and are used again); how gradients add up
//	matmul.go … embedding.go     the operations of a model: matmul, norm, rope, attention, elementwise, embedding
//	loss.go, head.go             the output layer with its loss, without holding all logits
//	arithmetic.go                what objectives are written in
//	recompute.go, offload.go     memory for time, memory of the host
//	lowrank.go, magnitude.go     adapters; packed.go: weights in few bits or in the device's own order
//	experts.go, prepend.go       mixtures of experts; virtual tokens
//	results.go, random.go        what a pass keeps for the next; numbers for dropout and first values
package tensor

import (
	"fmt"

	"hone/device"
)

// Tensor is a dense row-major array on a device. Activations belong to the tape
// that made them and die with it; parameters belong to nobody's tape.
type Tensor struct {
	Shape []int
	dtype device.DType
	dev   device.Device
	tape  *Tape // nil for parameters and constants

	data   *storage
	packed *device.Packed   // of a parameter in few bits, instead of data
	order  *device.Arranged // of a parameter in the device's order, instead of data or, for a while, beside it
	grad   *storage
	saved  int // operations that need the value in their backward pass; it outlives its scope while above 0

	needsGrad bool
	recorded  bool   // made by an operation on the tape, so that its gradient is passed on
	rebuild   func() // fills data again from deps, for values cheaper to compute than to keep
	// rebuild and the operation's backward pass in one go over memory (Tape.late); nil where no kernel does both
	both    func()
	deps    []*Tensor // what rebuild reads; the operation saved them for its own backward pass
	dropped bool      // data was given up and rebuild will bring it back

	stashed, coming device.Buffer // the value on the host, and on its way back from there

	own  storage // what data is, of a value with memory of its own
	dims [2]int  // what Shape is in, of a value of an operation
}

// NewParam returns a parameter: a tensor outside any tape whose gradient
// accumulates in F32 over backward passes until FreeGrad. It has no memory until Set or Alloc.
func NewParam(shape ...int) *Tensor {
	return &Tensor{Shape: shape, needsGrad: true}
}

// Alloc gives a parameter memory on dev, not cleared.
func (t *Tensor) Alloc(dev device.Device, dtype device.DType) {
	t.dev, t.dtype = dev, dtype
	t.data = &storage{buf: dev.Alloc(t.Len(), dtype), refs: 1}
}

// Set gives a parameter memory on dev if it has none and writes values, a slice as for device.Write.
func (t *Tensor) Set(dev device.Device, dtype device.DType, values any) {
	if t.data == nil {
		t.Alloc(dev, dtype)
	}
	dev.Write(t.data.buf, values)
}

// Free gives the memory of a parameter and of its gradient back.
func (t *Tensor) Free() {
	t.FreeGrad()
	if t.data != nil {
		t.dev.Free(t.data.buf)
		t.data = nil
	}
	if t.packed != nil {
		t.packed.Free(t.dev)
		t.packed = nil
	}
	if t.order != nil {
		t.dev.Free(t.order.Buf)
		t.order = nil
	}
}

// Len is the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Rows is the product of all dimensions but the last, Cols the last one.
func (t *Tensor) Rows() int { return t.Len() / max(t.Cols(), 1) }

// Cols is the last dimension.
func (t *Tensor) Cols() int { return t.Shape[len(t.Shape)-1] }

// String is the shape, as messages name a tensor.
func (t *Tensor) String() string { return fmt.Sprint(t.Shape) }

// DType is the type of the elements.
func (t *Tensor) DType() device.DType { return t.dtype }

// Device is where the tensor's memory is, nil before it has any.
func (t *Tensor) Device() device.Device { return t.dev }

// Tape is the tape that made the tensor, nil for parameters.
func (t *Tensor) Tape() *Tape { return t.tape }

// Buffer is the tensor's memory.
func (t *Tensor) Buffer() device.Buffer {
	if t.data == nil {
		panic(t.noMemory())
	}
	return t.data.buf
}

// Freeze stops gradients from being computed for a parameter. One that it has stays until FreeGrad.
func (t *Tensor) Freeze() { t.needsGrad = false }

// Thaw is the opposite of Freeze. A packed or arranged parameter stays frozen.
func (t *Tensor) Thaw() { t.needsGrad = t.packed == nil && t.order == nil }

// Write changes the values of a parameter that has memory, a slice as for device.Write. One that is packed or
// arranged has none to change: it panics.
func (t *Tensor) Write(values any) { t.dev.Write(t.Buffer(), values) }

// NeedsGrad reports whether a backward pass computes this tensor's gradient.
func (t *Tensor) NeedsGrad() bool { return t.needsGrad }

// Float32s reads the values back in row-major order, widened to f32. It waits for all that was asked of the
// device before.
func (t *Tensor) Float32s() ([]float32, error) {
	v := make([]float32, t.Len())
	buf, done := t.dense()
	defer done()
	return v, t.dev.Read(v, buf)
}

// Values is Float32s in float64 for code in the midst of a step, which hands no errors on: a failure of the
// device panics with an *Error, as misuse does.
func Values(x *Tensor) []float64 {
	v, err := x.Float32s()
	if err != nil {
		panic(&Error{Op: "read", Problem: err.Error()})
	}
	wide := make([]float64, len(v))
	for i := range v {
		wide[i] = float64(v[i])
	}
	return wide
}

// Item reads a scalar and waits for all that was asked of the device before; ItemLater does not.
func (t *Tensor) Item() (float64, error) {
	check(t.Len() == 1, "Item", "tensor %v has more than one element", t.Shape)
	v, err := t.Float32s()
	return float64(v[0]), err
}

// ItemLater begins to read a scalar in F32, such as a loss. The function that it returns is to be called once
// and waits for that alone, so that a device has its next work by then.
func (t *Tensor) ItemLater() func() (float64, error) {
	check(t.Len() == 1 && t.dtype == device.F32, "ItemLater", "tensor %v of %v is not one F32 number", t.Shape, t.dtype)
	v := make([]float32, 1)
	wait := device.ReadLater(t.dev, v, t.Buffer())
	return func() (float64, error) {
		err := wait()
		return float64(v[0]), err
	}
}

// Error is the panic value of a misused operation. Op is the function's name, or a method's with
// its type; Problem has the shapes.
type Error struct{ Op, Problem string }

// Error names the operation and what is wrong with its operands.
func (e *Error) Error() string { return "tensor." + e.Op + ": " + e.Problem }

func check(ok bool, op, format string, args ...any) {
	if !ok {
		panic(&Error{op, fmt.Sprintf(format, args...)})
	}
}

// Try runs f and returns what it panicked with, if that was an *Error of an operation, an *Interrupted or a
// *device.OutOfMemory; other panics pass through.
func Try(f func()) (err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *Error:
			err = e
		case *device.OutOfMemory:
			err = e
		case *Interrupted:
			err = e
		default:
			panic(e)
		}
	}()
	f()
	return nil
}
