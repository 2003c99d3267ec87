package cuda

import "hone/device"

// kernels/fewrows.cu
var (
	kernelFewRows    = kernel{"fewrows", "few_rows"}
	kernelFewRowsNF4 = kernel{"fewrows", "few_rows_nf4"}
)

// mostFewRows is the number of rows up to which a product is one of few rows.
const mostFewRows = 16

// productArgs is struct ProductArgs of kernels/product.cuh.
type productArgs struct {
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
	x := productArgs{a: a.a, b: a.b, c: a.c, bias: a.bias, lda: a.lda, ldb: a.ldb, ldc: a.ldc, m: a.m, n: a.n, k: a.k, acc: a.acc}
	run(d, kernelFewRows, line(over(m.N, 8), 256), &x)
	return true
}

// chunked says whether rows are bf16 that begin on 16 bytes.
func chunked(x floats, stride int64) bool { return x.half == 1 && x.p%16 == 0 && stride%8 == 0 }
