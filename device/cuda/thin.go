package cuda

import "hone/device"

// kernels/thin.cu
var (
	kernelThinTurn = kernel{"thin", "thin_turn"}
	kernelThinSum  = kernel{"thin", "thin_sum"}
	kernelsThin    = [3]kernel{{"thin", "thin_16"}, {"thin", "thin_32"}, {"thin", "thin_64"}} // by the columns they have
	// by whether B is stored turned, and the sums they have
	kernelsShort = [2][3]kernel{{{"thin", "short_16"}, {"thin", "short_32"}, {"thin", "short_64"}},
		{{"thin", "short_turned_16"}, {"thin", "short_turned_32"}, {"thin", "short_turned_64"}}}
)

// Products are thin with so many columns at most, and sums of so many at least: with 16 columns and sums of 4096 the library takes 17 us
// and these kernels 27, with sums of 14336 256 and 64 (4096 rows, on an H100).
const (
	mostThin      = 64
	leastThinSum  = 6144
	leastThinRows = 64
	thinRows      = 128 // of a block
	thinChunk     = 512
)

// thinArgs is struct ThinArgs of kernels/thin.cu.
type thinArgs struct {
	c, bias       floats
	a, b          pointer
	turned, parts pointer
	lda, ldb, ldc int64
	m, n, k       int32
	acc           int32
	scale         float32 // of the product
	_             int32
}

// sizeOf is the smallest of the sizes 16, 32 and 64 that has n.
func sizeOf(n int) (size int) {
	for limit := 16; n > limit; limit *= 2 {
		size++
	}
	return size
}

// thin queues a product of few columns times scale, and reports false for what its kernels do not read.
func (d *Device) thin(m device.MatMul, a matMulArgs, scale float32) bool {
	if m.N > mostThin || m.K < leastThinSum || m.M < leastThinRows || m.TransA || m.Batch > 1 || m.K%8 != 0 || !chunked(a.a, a.lda) || m.TransB && !chunked(a.b, a.ldb) {
		return false
	}
	chunks := over(m.K, thinChunk)
	parts, release := d.scratch(chunks * m.M * m.N)
	defer release()
	x := thinArgs{c: a.c, bias: a.bias, a: a.a.p, b: a.b.p, parts: parts, lda: a.lda, ldb: a.ldb, ldc: a.ldc, m: a.m, n: a.n, k: a.k, acc: a.acc, scale: scale}
	if !m.TransB {
		turned, release := d.scratch(over(m.N*m.K, 2))
		defer release()
		x.turned = turned
		run(d, kernelThinTurn, line(over(m.K, 256), 256), &x)
		x.b, x.ldb = turned, int64(m.K)
	}
	run(d, kernelsThin[sizeOf(m.N)], shape{x: over(m.M, thinRows), y: chunks, threads: 128}, &x)
	run(d, kernelThinSum, line(over(m.M*m.N, 256), 256), &x)
	return true
}

// Products are short with sums of so many numbers at most, in a C of so many rows and columns at least.
const (
	mostShort         = 64
	leastShortRows    = 64
	leastShortColumns = 512
)

// shortArgs is struct ShortArgs of kernels/thin.cu.
type shortArgs struct {
	c, a, b       pointer
	lda, ldb, ldc int64
	m, n, k       int32
	acc           int32
}

// short queues a product of short sums, and reports false for what its kernels do not read or write.
func (d *Device) short(m device.MatMul, a matMulArgs) bool {
	if m.K > mostShort || m.M < leastShortRows || m.N < leastShortColumns || m.N%8 != 0 || m.K%8 != 0 || m.TransA || m.Batch > 1 || a.bias.p != 0 ||
		!chunked(a.a, a.lda) || !chunked(a.b, a.ldb) || !chunked(a.c, a.ldc) {
		return false
	}
	x := shortArgs{c: a.c.p, a: a.a.p, b: a.b.p, lda: a.lda, ldb: a.ldb, ldc: a.ldc, m: a.m, n: a.n, k: a.k, acc: a.acc}
	run(d, kernelsShort[a.transB][sizeOf(m.K)], shape{x: over(m.N, 256), y: over(m.M, 128), threads: 128}, &x)
	return true
}
