package cuda

import "hone/device"

// kernels/nf4.cu: for tiles of 64 rows, and of 128
var (
	kernelsNF4Forward  = [2]kernel{{"nf4", "nf4_forward_64"}, {"nf4", "nf4_forward_128"}}
	kernelsNF4Gradient = [2]kernel{{"nf4", "nf4_gradient_64"}, {"nf4", "nf4_gradient_128"}}
)

// Sizes of kernels/nf4.cu.
const (
	nf4Step    = 64
	nf4Columns = 128
)

// mostUnpackedRows is the number of rows up to which unpacking on the way is taken to be faster than a bf16 copy of the matrix and
// the library's product; docs/cuda.md has the calculation. From 512 on the library's rows do not depend on how many there are.
const mostUnpackedRows = 511

var _ device.PackedMultiplier = (*Device)(nil)

// MatMulPacked multiplies by a matrix in NF4 that is unpacked on the way.
func (d *Device) MatMulPacked(m device.MatMul, p device.Packed) bool {
	if p.Packing != device.NF4 || m.TransA || m.Batch > 1 || m.M == 0 || m.N == 0 || m.M > mostUnpackedRows || m.K%8 != 0 || p.Cols%device.NF4Block != 0 {
		return false
	}
	a, w := matMulPackedOf(m, p), d.packedOf("MatMulPacked", p)
	if !chunked(a.a, a.lda) || w.codes%16 != 0 {
		return false
	}
	x := productArgs{a: a.a, c: a.c, bias: a.bias, codes: w.codes, scales: w.scales, nested: w.nested, offset: w.offset, dynamic: w.dynamic, nf4: w.nf4,
		lda: a.lda, ldc: a.ldc, m: a.m, n: a.n, k: a.k, acc: a.acc}
	if m.TransB && m.M <= mostFewRows {
		run(d, kernelFewRowsNF4, line(over(m.N, 8), 256), &x)
		return true
	}
	kernels := kernelsNF4Gradient
	if m.TransB {
		kernels = kernelsNF4Forward
	}
	// the large tile, unless it would leave multiprocessors without work
	tall := m.M > 64 && over(m.M, 128)*over(m.N, nf4Columns) >= d.card.processors
	rows := 64 << bit(tall)
	run(d, kernels[bit(tall)], shape{x: over(m.M, rows), y: over(m.N, nf4Columns), threads: 128, shared: 2 * 2 * nf4Step * (rows + nf4Columns)}, &x)
	return true
}
