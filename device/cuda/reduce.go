package cuda

import (
	"unsafe"

	"hone/device"
)

// kernels/reduce.cu
var (
	kernelReduceParts = kernel{"reduce", "reduce_parts"}
	kernelReduceFinal = kernel{"reduce", "reduce_final"}
	kernelColumnParts = kernel{"reduce", "column_parts"}
	kernelColumnFinal = kernel{"reduce", "column_final"}
)

const reducePart = 16384 // PART of kernels/reduce.cu

// reduced is struct Reduced.
type reduced struct {
	x        floats
	y        pointer
	n        int64
	first, _ int32
}

// reduceArgs is struct ReduceArgs: up to 100 reductions by one operation, as the norms of a step's gradients are.
type reduceArgs struct {
	parts     pointer
	op, count int32
	of        [100]reduced
}

// Reduce computes one number from all of x: parts first, then the parts in order.
func (d *Device) Reduce(op device.ReduceOp, y, x device.Buffer) {
	if op > device.NonFinite {
		panic(badOp("reduce", uint8(op)))
	}
	d.holdReduction(int32(op), reduced{x: viewOf(x), y: f32sOf("Reduce", y, 1), n: int64(x.Len)})
}

// holdReduction joins x to the reductions that are held, or holds it in their place.
func (d *Device) holdReduction(op int32, x reduced) {
	h := &d.held
	h.mu.Lock()
	defer h.mu.Unlock()
	uses := []use{useOf(x.x, 1, 0, x.n, false), {x.y, x.y + 4, true}}
	r := &h.reduce
	if r.count == 0 || int(r.count) == len(r.of) || r.op != op || !h.free(uses) {
		d.release()
		r.op = op
	} else {
		last := &r.of[r.count-1]
		x.first = last.first + int32(over(int(last.n), reducePart))
	}
	r.of[r.count] = x
	r.count++
	h.uses = append(h.uses, uses...)
}

// releaseReductions queues the reductions that are held, which are locked.
func (d *Device) releaseReductions() {
	r := &d.held.reduce
	defer func() { r.count = 0 }() // also when memory runs out: what they were to read and write may be another's soon
	last := r.of[r.count-1]
	count := int(last.first) + over(int(last.n), reducePart)
	parts, release := d.scratch(count)
	defer release()
	r.parts = parts
	if count > 0 {
		d.launch(kernelReduceParts, line(count, 256), unsafe.Pointer(r), unsafe.Sizeof(*r))
	}
	d.launch(kernelReduceFinal, line(int(r.count), 256), unsafe.Pointer(r), unsafe.Sizeof(*r))
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

// multiprocessors are those that a grid of one wave is made for, an H100's: sums are cut by the sizes alone, not by the card.
const multiprocessors = 132

// columns adds up columns of a.dy, and of the products with a.x where that is given.
func (d *Device) columns(a columnArgs) {
	rows, c := int(a.rows), int(a.c)
	blocks := over(c, 256)
	chunk := max(64, over(rows, max(1, 4*multiprocessors/blocks)))
	chunks := over(rows, chunk)
	parts, release := d.scratch(2 * chunks * c)
	defer release()
	a.parts, a.chunk, a.chunks = parts, int32(chunk), int32(chunks)
	run(d, kernelColumnParts, shape{x: blocks, y: chunks, threads: 256}, &a)
	d.addParts(a)
}

// addParts adds up the parts of columns.
func (d *Device) addParts(a columnArgs) {
	threads := 32
	for threads < min(1024, 8*int(a.chunks)) {
		threads *= 2
	}
	run(d, kernelColumnFinal, line(over(int(a.c), 8), threads), &a)
}

// ColumnSum computes y[c] (+)= the sum of column c of x.
func (d *Device) ColumnSum(y, x device.Buffer, acc bool) {
	rows := rowsOf("ColumnSum", x, y.Len)
	d.columns(columnArgs{dy: viewOf(x), sum: f32sOf("ColumnSum", y, y.Len), rows: int64(rows), c: int32(y.Len), acc: bit(acc)})
}
