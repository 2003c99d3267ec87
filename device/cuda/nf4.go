package cuda

import "hone/device"

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
