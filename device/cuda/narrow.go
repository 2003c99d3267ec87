package cuda

import (
	"fmt"

	"hone/device"
)

// Products of shapes that the library is slow at: of few rows, of long sums into few columns, of low rank.

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

// kernels/lowrank.cu
var (
	kernelLowRankParts = kernel{"lowrank", "low_rank_parts"}
	kernelLowRankSums  = kernel{"lowrank", "low_rank_sums"}
)

// Sizes of kernels/lowrank.cu.
const (
	lowRankColumns = 256
	lowRankRows    = 64
	lowRankStride  = 32
	mostLowRank    = 16
)

// lowRankArgs is struct LowRankArgs.
type lowRankArgs struct {
	dy, u, b         pointer
	du, db           pointer
	duParts, dbParts pointer
	t, w, r, chunk   int32
	scale            float32
	acc              int32
}

var _ device.LowRanker = (*Device)(nil)

// LowRankGrad reads dY once for both of its products.
func (d *Device) LowRankGrad(g device.LowRankGrad) bool {
	t, w, r := g.N, g.Out, g.R
	dy, u, b, du := viewOf(g.DY), viewOf(g.U), viewOf(g.B), viewOf(g.DU)
	if t < lowRankRows || w < lowRankColumns || r > mostLowRank || r%8 != 0 || !chunked(dy, int64(w)) || !chunked(u, int64(r)) || !chunked(b, int64(r)) || du.half == 0 {
		return false
	}
	if g.DY.Len != t*w || g.U.Len != t*r || g.B.Len != w*r || g.DU.Len != t*r {
		panic(fmt.Sprintf("cuda: LowRankGrad of %d rows, %d columns and rank %d with %d, %d, %d and %d elements", t, w, r, g.DY.Len, g.U.Len, g.B.Len, g.DU.Len))
	}
	// by the sizes alone: long parts where there are many columns, which are many blocks
	chunk := min(max(w/16/lowRankRows, 2), 8) * lowRankRows
	duParts, release := d.scratch(over(w, lowRankColumns) * t * r)
	defer release()
	dbParts, release2 := d.scratch(over(t, chunk) * r * w)
	defer release2()
	a := lowRankArgs{dy: dy.p, u: u.p, b: b.p, du: du.p, db: f32sOf("LowRankGrad", g.DB, w*r), duParts: duParts, dbParts: dbParts,
		t: int32(t), w: int32(w), r: int32(r), chunk: int32(chunk), scale: g.Scale, acc: bit(g.AccB)}
	shared := 2 * (lowRankColumns*lowRankStride + 2*lowRankRows*(lowRankColumns+lowRankStride))
	run(d, kernelLowRankParts, shape{x: over(w, lowRankColumns), y: over(t, chunk), threads: 128, shared: shared}, &a)
	run(d, kernelLowRankSums, line(over((t+w)*r, 256), 256), &a)
	return true
}
