package cuda

import (
	"fmt"

	"hone/device"
)

// kernels/norm.cu
var (
	kernelsNorm     = rowKernels{{"norm", "norm_rows_1024"}, {"norm", "norm_rows_8192"}, {"norm", "norm_rows_32768"}}
	kernelsNormGrad = rowKernels{{"norm", "norm_grad_1024"}, {"norm", "norm_grad_8192"}, {"norm", "norm_grad_32768"}}
	kernelRope      = kernel{"norm", "rope"}
)

// rowKernels are a kernel for rows that a warp does, one for rows that a block does, and one for those that need a large block.
type rowKernels [3]kernel

// runRows queues a kernel over n rows of c elements.
func runRows[A any](d *Device, k rowKernels, n, c int, args *A) {
	switch {
	case c <= 1024:
		run(d, k[0], line(over(n, 8), 256), args)
	case c <= 8192:
		run(d, k[1], line(n, 256), args)
	case c <= 32768:
		run(d, k[2], line(n, 1024), args)
	default:
		panic(fmt.Sprintf("cuda: %s of rows of %d channels; 32768 at most", k[0].file, c))
	}
}

type normArgs struct {
	y, x, weight, bias floats
	mean, rstd         pointer
	rows               int64
	c, center          int32
	eps, offset        float32
}

// Norm computes RMSNorm or LayerNorm of each row.
func (d *Device) Norm(k device.Norm) {
	const op = "Norm"
	n := rowsOf(op, k.X, k.C)
	a := normArgs{y: floatsOf(op, k.Y, k.X.Len), x: viewOf(k.X), weight: optionalFloats(op, k.Weight, k.C), bias: optionalFloats(op, k.Bias, k.C),
		mean: optionalF32s(op, k.Mean, n), rstd: optionalF32s(op, k.Rstd, n), rows: int64(n), c: int32(k.C), center: bit(k.Center), eps: k.Eps, offset: k.WeightOffset}
	runRows(d, kernelsNorm, n, k.C, &a)
}

type normGradArgs struct {
	dx, dy, x, weight floats
	mean, rstd        pointer
	rows              int64
	c, acc            int32
	offset            float32
}

// NormGrad is the gradient of Norm: that of the weights first, since DX may be DY.
func (d *Device) NormGrad(k device.NormGrad) {
	const op = "NormGrad"
	n := rowsOf(op, k.X, k.C)
	a := normGradArgs{dx: floatsOf(op, k.DX, k.X.Len), dy: floatsOf(op, k.DY, k.X.Len), x: viewOf(k.X), weight: optionalFloats(op, k.Weight, k.C),
		rstd: f32sOf(op, k.Rstd, n), rows: int64(n), c: int32(k.C), acc: bit(k.AccX), offset: k.WeightOffset}
	if k.Center {
		a.mean = f32sOf(op, k.Mean, n)
	}
	dw, db := optionalF32s(op, k.DWeight, k.C), optionalF32s(op, k.DBias, k.C)
	if dw != 0 || db != 0 {
		c := columnArgs{dy: a.dy, mean: a.mean, rstd: a.rstd, sum: db, dot: dw, rows: int64(n), c: a.c, acc: bit(k.AccW)}
		if dw != 0 {
			c.x = a.x
		}
		d.columns(c)
	}
	runRows(d, kernelsNormGrad, n, k.C, &a)
}

type ropeArgs struct {
	y, x                    floats
	cos, sin                pointer
	positions               pointer
	failure                 pointer
	rows                    int64
	heads, d, half, inverse int32
	limit                   int32
}

// Rope rotates pairs (i, i+Rotary/2) of each head by the angle of the row's position.
func (d *Device) Rope(r device.Rope) {
	width := r.Heads * r.D
	n, half := rowsOf("Rope", r.X, width), r.Rotary/2
	if r.Rotary < 0 || r.Rotary > r.D || r.Rotary%2 != 0 || r.Positions.Len != n || r.Cos.Len != r.Sin.Len {
		panic(fmt.Sprintf("cuda: Rope of %d channels in heads of %d, %d rows with %d positions, %d cosines and %d sines",
			r.Rotary, r.D, n, r.Positions.Len, r.Cos.Len, r.Sin.Len))
	}
	a := ropeArgs{y: floatsOf("Rope", r.Y, r.X.Len), x: viewOf(r.X), cos: f32sOf("Rope", r.Cos, r.Cos.Len), sin: f32sOf("Rope", r.Sin, r.Sin.Len),
		positions: address(r.Positions), failure: d.failureWord(), rows: int64(n), heads: int32(r.Heads), d: int32(r.D), half: int32(half),
		inverse: bit(r.Inverse), limit: int32(r.Cos.Len / max(half, 1))}
	if half > 0 {
		checkIndices("Rope", "position", known(r.Positions), int(a.limit))
	}
	run(d, kernelRope, line(over(n*r.Heads*(r.D-half), 256), 256), &a)
}

// checkIndices panics on an index outside of a table of limit rows. Those that only the card knows, its kernels check.
func checkIndices(op, what string, v []int32, limit int) {
	for i, n := range v {
		if n != unknown && (n < 0 || int(n) >= limit) {
			panic(fmt.Sprintf("cuda: %s of %s %d at %d, the table has %d rows", op, what, n, i, limit))
		}
	}
}
