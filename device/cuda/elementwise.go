package cuda

import (
	"fmt"
	"math"

	"hone/device"
	"hone/internal/half"
	"hone/internal/splitmix"
)

// kernels/elementwise.cu
var (
	kernelFill      = kernel{"elementwise", "fill"}
	kernelUnary     = kernel{"elementwise", "unary"}
	kernelUnaryGrad = kernel{"elementwise", "unary_grad"}
	kernelBinary    = kernel{"elementwise", "binary"}
	kernelAddScaled = kernel{"elementwise", "add_scaled"}
	kernelGated     = kernel{"elementwise", "gated"}
	kernelGatedGrad = kernel{"elementwise", "gated_grad"}
	kernelCopy2D    = kernel{"elementwise", "copy2d"}
	kernelDropout   = kernel{"elementwise", "dropout"}
)

// fillArgs is struct FillArgs: size bytes of bits for each of n elements.
type fillArgs struct {
	y    pointer
	n    int64
	bits uint32
	size int32
}

// Fill sets every element of y to v.
func (d *Device) Fill(y device.Buffer, v float32) {
	a := fillArgs{y: address(y), n: int64(y.Len), size: int32(y.DType.Size())}
	switch y.DType {
	case device.F32:
		a.bits = math.Float32bits(v)
	case device.BF16:
		a.bits = uint32(half.BFromFloat32(v))
	case device.I32:
		forget(y) // what the host wrote there before is no index any more
		a.bits = uint32(int32(v))
	default:
		a.bits = uint32(uint8(v))
	}
	run(d, kernelFill, quads(y.Len), &a)
}

type unaryArgs struct {
	y, x, dy, value floats
	n               int64
	op, acc         int32
}

// Unary computes y = op(x).
func (d *Device) Unary(op device.UnaryOp, y, x device.Buffer) {
	checkUnary(op)
	a := unaryArgs{y: viewOf(y), x: floatsOf("Unary", x, y.Len), n: int64(y.Len), op: int32(op)}
	run(d, kernelUnary, octets(y.Len), &a)
}

func checkUnary(op device.UnaryOp) {
	if op >= device.UnaryOps {
		panic(badOp("unary", uint8(op)))
	}
}

// UnaryGrad computes dx (+)= op'(x)·dy.
func (d *Device) UnaryGrad(op device.UnaryOp, dx, x, dy device.Buffer, acc bool) {
	checkUnary(op)
	n := dx.Len
	a := unaryArgs{y: viewOf(dx), x: floatsOf("UnaryGrad", x, n), dy: floatsOf("UnaryGrad", dy, n), n: int64(n), op: int32(op), acc: bit(acc)}
	run(d, kernelUnaryGrad, octets(n), &a)
}

// UnaryBoth computes y = op(x) and dy = op'(x)·dy.
func (d *Device) UnaryBoth(op device.UnaryOp, y, dy, x device.Buffer) {
	checkUnary(op)
	n := y.Len
	a := unaryArgs{value: viewOf(y), x: floatsOf("UnaryBoth", x, n), dy: floatsOf("UnaryBoth", dy, n), n: int64(n), op: int32(op)}
	a.y = a.dy
	run(d, kernelUnaryGrad, octets(n), &a)
}

type binaryArgs struct {
	y, a, b floats
	n       int64
	op      int32
}

// Binary computes y = a op b.
func (d *Device) Binary(op device.BinaryOp, y, a, b device.Buffer) {
	if op >= device.BinaryOps {
		panic(badOp("binary", uint8(op)))
	}
	args := binaryArgs{y: viewOf(y), a: floatsOf("Binary", a, y.Len), b: floatsOf("Binary", b, y.Len), n: int64(y.Len), op: int32(op)}
	switch {
	case op != device.Add:
		run(d, kernelBinary, octets(y.Len), &args)
	case !d.addToHeld(args):
		d.holdSum(args)
	}
}

type scaledArgs struct {
	y, x floats
	n    int64
	a    float32
}

// AddScaled computes y += a·x.
func (d *Device) AddScaled(y device.Buffer, a float32, x device.Buffer) {
	args := scaledArgs{y: viewOf(y), x: floatsOf("AddScaled", x, y.Len), n: int64(y.Len), a: a}
	run(d, kernelAddScaled, quads(y.Len), &args)
}

// Scale computes y *= a.
func (d *Device) Scale(y device.Buffer, a float32) {
	run(d, kernelAddScaled, quads(y.Len), &scaledArgs{y: viewOf(y), n: int64(y.Len), a: a})
}

type gatedArgs struct {
	y, gate, up, dgate, dup, dy floats
	n                           int64
	op                          int32
}

// Gated computes y = act(gate)·up.
func (d *Device) Gated(act device.UnaryOp, y, gate, up device.Buffer) {
	checkUnary(act)
	n := y.Len
	a := gatedArgs{y: viewOf(y), gate: floatsOf("Gated", gate, n), up: floatsOf("Gated", up, n), n: int64(n), op: int32(act)}
	if !d.gateHeld(a) {
		run(d, kernelGated, octets(n), &a)
	}
}

// GatedGrad computes dgate = act'(gate)·up·dy and dup = act(gate)·dy.
func (d *Device) GatedGrad(act device.UnaryOp, dgate, dup, gate, up, dy device.Buffer) {
	checkUnary(act)
	n := dgate.Len
	a := gatedArgs{dgate: viewOf(dgate), dup: floatsOf("GatedGrad", dup, n), gate: floatsOf("GatedGrad", gate, n),
		up: floatsOf("GatedGrad", up, n), dy: floatsOf("GatedGrad", dy, n), n: int64(n), op: int32(act)}
	run(d, kernelGatedGrad, octets(n), &a)
}

// GatedBoth computes y = act(gate)·up, dgate = act'(gate)·up·dy and dy = act(gate)·dy.
func (d *Device) GatedBoth(act device.UnaryOp, y, dgate, dy, gate, up device.Buffer) {
	checkUnary(act)
	n := y.Len
	a := gatedArgs{y: viewOf(y), dgate: floatsOf("GatedBoth", dgate, n), dy: floatsOf("GatedBoth", dy, n), gate: floatsOf("GatedBoth", gate, n),
		up: floatsOf("GatedBoth", up, n), n: int64(n), op: int32(act)}
	a.dup = a.dy
	run(d, kernelGatedGrad, octets(n), &a)
}

type copyArgs struct {
	dst, src                   floats
	dstStride, srcStride, rows int64
	cols, acc                  int32
	quads                      int32
}

// Copy2D copies a matrix between row strides.
func (d *Device) Copy2D(c device.Copy2D) {
	if c.Rows <= 0 || c.Cols <= 0 {
		return
	}
	if (c.Rows-1)*c.DstStride+c.Cols > c.Dst.Len || (c.Rows-1)*c.SrcStride+c.Cols > c.Src.Len {
		panic(fmt.Sprintf("cuda: Copy2D of %d×%d with strides %d and %d between buffers of %d and %d elements",
			c.Rows, c.Cols, c.SrcStride, c.DstStride, c.Src.Len, c.Dst.Len))
	}
	a := copyArgs{dst: viewOf(c.Dst), src: viewOf(c.Src), dstStride: int64(c.DstStride), srcStride: int64(c.SrcStride),
		rows: int64(c.Rows), cols: int32(c.Cols), acc: bit(c.Acc), quads: int32(over(c.Cols, 4))}
	run(d, kernelCopy2D, line(over(c.Rows*int(a.quads), 256), 256), &a)
}

type dropoutArgs struct {
	y, x      floats
	n         int64
	lo, hi    uint32
	threshold uint32
	scale     float32
}

// Dropout keeps and scales, or clears, each element of x by its own random number; see device.Kernels.
func (d *Device) Dropout(y, x device.Buffer, p float32, key uint64) {
	if !(p >= 0 && p < 1) {
		panic(fmt.Sprintf("cuda: Dropout with probability %g", p))
	}
	z := splitmix.At(key)
	a := dropoutArgs{y: viewOf(y), x: floatsOf("Dropout", x, y.Len), n: int64(y.Len), lo: uint32(z), hi: uint32(z >> 32),
		threshold: uint32(float64(p) * (1 << 32)), scale: float32(1 / (1 - float64(p)))}
	run(d, kernelDropout, quads(y.Len), &a)
}
