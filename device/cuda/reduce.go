package cuda

import "hone/device"

// kernels/reduce.cu
var (
	kernelReduceParts = kernel{"reduce", "reduce_parts"}
	kernelReduceFinal = kernel{"reduce", "reduce_final"}
	kernelColumnParts = kernel{"reduce", "column_parts"}
	kernelColumnFinal = kernel{"reduce", "column_final"}
)

const reducePart = 16384 // PART of kernels/reduce.cu

type reduceArgs struct {
	x        floats
	parts, y pointer
	n        int64
	op       int32
}

// Reduce computes one number from all of x: parts first, then the parts in order.
func (d *Device) Reduce(op device.ReduceOp, y, x device.Buffer) {
	if op > device.NonFinite {
		panic(badOp("reduce", uint8(op)))
	}
	count := over(x.Len, reducePart)
	parts, release := d.scratch(count)
	defer release()
	a := reduceArgs{x: viewOf(x), parts: parts, y: f32sOf("Reduce", y, 1), n: int64(x.Len), op: int32(op)}
	run(d, kernelReduceParts, line(count, 256), &a)
	a.n = int64(count)
	run(d, kernelReduceFinal, line(1, 256), &a)
}

type columnArgs struct {
	dy, x            floats
	mean, rstd       pointer
	parts            pointer
	sum, dot         pointer
	rows             int64
	c, chunk, chunks int32
	acc              int32
}

// columns adds up columns of a.dy, and of the products with a.x where that is given.
func (d *Device) columns(a columnArgs) {
	rows, c := int(a.rows), int(a.c)
	chunk := max(64, over(rows, 128)) // by the sizes alone
	chunks := over(rows, chunk)
	parts, release := d.scratch(2 * chunks * c)
	defer release()
	a.parts, a.chunk, a.chunks = parts, int32(chunk), int32(chunks)
	run(d, kernelColumnParts, shape{x: over(c, 128), y: chunks, threads: 256}, &a)
	run(d, kernelColumnFinal, line(over(c, 256), 256), &a)
}

// ColumnSum computes y[c] (+)= the sum of column c of x.
func (d *Device) ColumnSum(y, x device.Buffer, acc bool) {
	rows := rowsOf("ColumnSum", x, y.Len)
	d.columns(columnArgs{dy: viewOf(x), sum: f32sOf("ColumnSum", y, y.Len), rows: int64(rows), c: int32(y.Len), acc: bit(acc)})
}
