package cuda

import (
	"fmt"
	"strconv"

	"hone/device"
)

// kernels/norm.cu
var (
	kernelsNorm        = normKernels("norm_rows_")
	kernelsSumNorm     = normKernels("sum_norm_rows_")
	kernelsNormGrad    = [2][2]kernel{{{"norm", "rms_grad"}, {"norm", "rms_grad_packed"}}, {{"norm", "layer_grad"}, {"norm", "layer_grad_packed"}}}
	kernelNormGradLong = kernel{"norm", "norm_grad_long"}
)

// rowKernel is a kernel for rows of so many elements at most, whose blocks have so many rows and threads.
type rowKernel struct {
	most, rows, threads int
	kernel
}

// normKernels are those for rows of up to so many channels, whose names begin alike.
func normKernels(name string) []rowKernel {
	kernels := []rowKernel{{most: 256, rows: 8, threads: 256}, {most: 768, rows: 8, threads: 256}, {most: 1024, rows: 8, threads: 256}, {most: 2048, rows: 1, threads: 128},
		{most: 4096, rows: 1, threads: 256}, {most: 8192, rows: 1, threads: 512}, {most: 16384, rows: 1, threads: 1024}}
	for i := range kernels {
		kernels[i].kernel = kernel{"norm", name + strconv.Itoa(kernels[i].most)}
	}
	return kernels
}

// runRows queues the first of kernels that rows of c elements fit over n of them.
func runRows[A any](d *Device, kernels []rowKernel, n, c int, args *A) {
	for _, k := range kernels {
		if c <= k.most {
			run(d, k.kernel, line(over(n, k.rows), k.threads), args)
			return
		}
	}
	panic(fmt.Sprintf("cuda: %s of rows of %d channels; %d at most", kernels[0].file, c, kernels[len(kernels)-1].most))
}

type normArgs struct {
	y, x, weight, bias floats
	plus, sum          floats
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
	kernels := kernelsNorm
	if d.sumOfHeld(&a) {
		kernels = kernelsSumNorm
	}
	runRows(d, kernels, n, k.C, &a)
}

type normGradArgs struct {
	dx, dy, x, weight floats
	mean, rstd, parts pointer
	rows              int64
	c, acc, chunk     int32
	offset            float32
}

// mostKept is the longest row that the gradient of a norm keeps in registers: 8 channels in each of a block's 512 threads.
const mostKept = 4096

// NormGrad is the gradient of Norm.
func (d *Device) NormGrad(k device.NormGrad) {
	const op = "NormGrad"
	n := rowsOf(op, k.X, k.C)
	a := normGradArgs{dx: floatsOf(op, k.DX, k.X.Len), dy: floatsOf(op, k.DY, k.X.Len), x: viewOf(k.X), weight: optionalFloats(op, k.Weight, k.C),
		rstd: f32sOf(op, k.Rstd, n), rows: int64(n), c: int32(k.C), acc: bit(k.AccX), offset: k.WeightOffset}
	if k.Center {
		a.mean = f32sOf(op, k.Mean, n)
	}
	c := columnArgs{dy: a.dy, mean: a.mean, rstd: a.rstd, sum: optionalF32s(op, k.DBias, k.C), dot: optionalF32s(op, k.DWeight, k.C),
		rows: int64(n), c: a.c, acc: bit(k.AccW)}
	if k.C <= mostKept {
		d.normGrad(a, c)
		return
	}
	if c.dot != 0 {
		c.x = a.x
	}
	if c.sum != 0 || c.dot != 0 {
		d.columns(c) // before DX is written, which may be DY
	}
	run(d, kernelNormGradLong, line(n, 1024), &a)
}

// normGrad computes the gradients of rows and, where c has them, those of weight and bias with them.
func (d *Device) normGrad(a normGradArgs, c columnArgs) {
	n, threads := int(a.rows), 32*over(int(a.c), 256)
	chunk := over(n, multiprocessors*(1024/threads)) // by the sizes alone; 1024 threads have registers
	blocks := over(n, max(chunk, 1))
	a.chunk = int32(chunk)
	if c.sum != 0 || c.dot != 0 {
		parts, release := d.scratch(2 * blocks * int(a.c))
		defer release()
		a.parts, c.parts, c.chunks = parts, parts, int32(blocks)
	}
	fast := a.c%8 == 0 && a.dx.packed() && a.dy.packed() && a.x.packed()
	run(d, kernelsNormGrad[bit(a.mean != 0)][bit(fast)], line(blocks, threads), &a)
	if c.sum != 0 || c.dot != 0 {
		d.addParts(c)
	}
}

// checkIndices panics on an index outside of a table of limit rows. Those that only the card knows, its kernels check.
func checkIndices(op, what string, v []int32, limit int) {
	for i, n := range v {
		if n != unknown && (n < 0 || int(n) >= limit) {
			panic(fmt.Sprintf("cuda: %s of %s %d at %d, the table has %d rows", op, what, n, i, limit))
		}
	}
}
