package cuda

import "hone/device"

// kernels/fewrows.cu
var (
	kernelFewRows    = kernel{"fewrows", "few_rows"}
	kernelFewRowsNF4 = kernel{"fewrows", "few_rows_nf4"}
)

// mostFewRows is the number of rows up to which a product is one of few rows.
const mostFewRows = 16

type fewRowsArgs struct {
	a, b, c, bias  floats
	codes, scales  pointer
	nested, offset pointer
	dynamic, nf4   pointer
	lda, ldb, ldc  int64
	m, n, k        int32
	acc            int32
}

// fewRows queues a product of few rows, and reports false for what its kernel does not read.
func (d *Device) fewRows(m device.MatMul, a matMulArgs) bool {
	if m.M > mostFewRows || m.TransA || !m.TransB || m.Batch > 1 || m.K%8 != 0 || !chunked(a.a, a.lda) || !chunked(a.b, a.ldb) {
		return false
	}
	x := fewRowsArgs{a: a.a, b: a.b, c: a.c, bias: a.bias, lda: a.lda, ldb: a.ldb, ldc: a.ldc, m: a.m, n: a.n, k: a.k, acc: a.acc}
	run(d, kernelFewRows, line(over(m.N, 8), 256), &x)
	return true
}

// chunked says whether rows are bf16 that begin on 16 bytes.
func chunked(x floats, stride int64) bool { return x.half == 1 && x.p%16 == 0 && stride%8 == 0 }

var _ device.PackedMultiplier = (*Device)(nil)

// MatMulPacked multiplies by a matrix in NF4 that is unpacked on the way. It does so for few rows; with more of them the matrix library's
// products are worth the detour.
func (d *Device) MatMulPacked(m device.MatMul, p device.Packed) bool {
	if p.Packing != device.NF4 || m.TransA || m.Batch > 1 || m.M == 0 || m.N == 0 || p.Cols%device.NF4Block != 0 {
		return false
	}
	a := matMulPackedOf(m, p)
	w := d.packedOf("MatMulPacked", p)
	if !chunked(a.a, a.lda) || w.codes%16 != 0 || m.M > mostFewRows || !m.TransB {
		return false
	}
	x := fewRowsArgs{a: a.a, c: a.c, bias: a.bias, codes: w.codes, scales: w.scales, nested: w.nested, offset: w.offset, dynamic: w.dynamic, nf4: w.nf4,
		lda: a.lda, ldc: a.ldc, m: a.m, n: a.n, k: a.k, acc: a.acc}
	run(d, kernelFewRowsNF4, line(over(m.N, 8), 256), &x)
	return true
}
