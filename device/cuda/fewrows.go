package cuda

import "hone/device"

// kernels/fewrows.cu
var (
	kernelsFewRows   = [2]kernel{{"fewrows", "few_rows_8"}, {"fewrows", "few_rows_16"}}
	kernelsFewPairs  = [2]kernel{{"fewrows", "few_pairs_8"}, {"fewrows", "few_pairs_16"}}
	kernelFewRowsNF4 = kernel{"fewrows", "few_rows_nf4"}
)

// mostFewRows is the number of rows up to which a product is one of few rows.
const mostFewRows = 16

// productArgs is struct ProductArgs of kernels/product.cuh.
type productArgs struct {
	a, c, bias     floats
	codes, scales  pointer
	nested, offset pointer
	dynamic, nf4   pointer
	lda, ldc       int64
	m, n, k        int32
	acc            int32
}

// few is struct Few of kernels/fewrows.cu.
type few struct {
	b        pointer
	ldb, ldc int64
	c, bias  floats
	x, y     floats
	n, first int32
	acc, _   int32
}

// fewArgs is struct FewArgs.
type fewArgs struct {
	a                pointer
	lda              int64
	m, k, count, act int32
	few              [3]few
}

// fewRows queues a product of few rows, or holds it back, and reports false for what its kernel does not read.
func (d *Device) fewRows(m device.MatMul, a matMulArgs) bool {
	if m.M > mostFewRows || m.TransA || !m.TransB || m.Batch > 1 || m.K%8 != 0 || !chunked(a.a, a.lda) || !chunked(a.b, a.ldb) {
		return false
	}
	d.holdProduct(fewArgs{a: a.a.p, lda: a.lda, m: a.m, k: a.k, count: 1, few: [3]few{{b: a.b.p, ldb: a.ldb, ldc: a.ldc, c: a.c, bias: a.bias, n: a.n, acc: a.acc}}})
	return true
}

// chunked says whether rows are bf16 that begin on 16 bytes.
func chunked(x floats, stride int64) bool { return x.half == 1 && x.p%16 == 0 && stride%8 == 0 }
