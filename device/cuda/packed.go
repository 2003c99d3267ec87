package cuda

import (
	"fmt"

	"hone/device"
)

// kernels/packed.cu
var (
	kernelPackNF4    = kernel{"packed", "pack_nf4"}
	kernelPackOffset = kernel{"packed", "pack_offset"}
	kernelPackNested = kernel{"packed", "pack_nested"}
	kernelPackInt8   = kernel{"packed", "pack_int8"}
	kernelUnpackNF4  = kernel{"packed", "unpack_nf4"}
	kernelUnpackInt8 = kernel{"packed", "unpack_int8"}
)

type packedArgs struct {
	x              floats
	codes, scales  pointer
	nested, offset pointer
	largest        pointer
	dynamic, nf4   pointer
	n              int64
	cols           int32
}

// packedOf checks the buffers of p.
func (d *Device) packedOf(op string, p device.Packed) packedArgs {
	codes, scales, nested, offset := p.Sizes()
	if p.Packing != device.NF4 && p.Packing != device.Int8 || p.Codes.Len != codes || p.Scales.Len != scales || p.Nested.Len != nested || p.Offset.Len != offset {
		panic(fmt.Sprintf("cuda: %s of %d×%d in packing %d with buffers of %d, %d, %d and %d elements", op, p.Rows, p.Cols, p.Packing,
			p.Codes.Len, p.Scales.Len, p.Nested.Len, p.Offset.Len))
	}
	return packedArgs{codes: address(need(p.Codes, device.U8)), scales: address(need(p.Scales, device.U8)),
		nested: address(need(p.Nested, device.F32)), offset: address(need(p.Offset, device.F32)),
		dynamic: d.tableAt(tableDynamic), nf4: d.tableAt(tableNF4), n: int64(p.Rows) * int64(p.Cols), cols: int32(p.Cols)}
}

// Pack stores x in few bits.
func (d *Device) Pack(p device.Packed, x device.Buffer) {
	a := d.packedOf("Pack", p)
	a.x = floatsOf("Pack", x, p.Rows*p.Cols)
	if p.Packing == device.Int8 {
		run(d, kernelPackInt8, line(p.Rows, 256), &a)
		return
	}
	blocks := p.Scales.Len
	largest, release := d.scratch(blocks)
	defer release()
	a.largest = largest
	run(d, kernelPackNF4, line(over(blocks, 8), 256), &a)
	a.n = int64(blocks)
	run(d, kernelPackOffset, line(1, 256), &a)
	run(d, kernelPackNested, line(p.Nested.Len, 256), &a)
}

// Unpack computes the numbers that p stands for.
func (d *Device) Unpack(y device.Buffer, p device.Packed) {
	a := d.packedOf("Unpack", p)
	a.x = floatsOf("Unpack", y, p.Rows*p.Cols)
	if p.Packing == device.Int8 {
		run(d, kernelUnpackInt8, line(p.Rows, 256), &a)
		return
	}
	run(d, kernelUnpackNF4, line(over(y.Len, 8192), 256), &a)
}

// kernels/nf4.cu
var (
	kernelNF4Forward  = kernel{"nf4", "nf4_forward"}
	kernelNF4Gradient = kernel{"nf4", "nf4_gradient"}
)

// Sizes of kernels/nf4.cu.
const (
	nf4Step    = 64
	nf4Rows    = 64
	nf4Columns = 128
)

// Unpacking on the way is faster than a bf16 copy of the matrix and the library's product with so many rows at most, if there are so many columns at least:
// with fewer there are not enough blocks to keep an H100 busy. docs/performance/cuda.md has the measurements.
const (
	mostUnpackedRows     = 64
	leastUnpackedColumns = 12288
)

var _ device.PackedMultiplier = (*Device)(nil)

// MatMulPacked multiplies by a matrix in NF4 that is unpacked on the way.
func (d *Device) MatMulPacked(m device.MatMul, p device.Packed) bool {
	if p.Packing != device.NF4 || m.TransA || m.Batch > 1 || m.M == 0 || m.N == 0 || m.K%8 != 0 || p.Cols%device.NF4Block != 0 {
		return false
	}
	few := m.TransB && m.M <= mostFewRows
	if !few && (m.M > mostUnpackedRows || m.N < leastUnpackedColumns) {
		return false
	}
	a, w := matMulPackedOf(m, p), d.packedOf("MatMulPacked", p)
	if !chunked(a.a, a.lda) || w.codes%16 != 0 {
		return false
	}
	x := productArgs{a: a.a, c: a.c, bias: a.bias, codes: w.codes, scales: w.scales, nested: w.nested, offset: w.offset, dynamic: w.dynamic, nf4: w.nf4,
		lda: a.lda, ldc: a.ldc, m: a.m, n: a.n, k: a.k, acc: a.acc}
	if few {
		run(d, kernelFewRowsNF4, line(over(m.N, 8), 256), &x)
		return true
	}
	k := kernelNF4Gradient
	if m.TransB {
		k = kernelNF4Forward
	}
	run(d, k, shape{x: over(m.M, nf4Rows), y: over(m.N, nf4Columns), threads: 128, shared: 2 * 2 * nf4Step * (nf4Rows + nf4Columns)}, &x)
	return true
}
