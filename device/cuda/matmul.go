package cuda

import (
	"errors"
	"fmt"

	"hone/device"
)

// kernels/matmul.cu
var (
	kernelMatMul = kernel{"matmul", "matmul"}
	kernelFinish = kernel{"matmul", "finish"}
)

// errNoProduct is what the matrix library answers for a product that it does not have.
var errNoProduct = errors.New("the library has no such product")

type matMulArgs struct {
	a, b, c, bias             floats
	product                   pointer
	strideA, strideB, strideC int64
	lda, ldb, ldc             int64
	m, n, k                   int32
	transA, transB, acc       int32
}

// MatMul computes C (+)= op(A)·op(B) (+ Bias): by the matrix library where it can, in kernels of its own where not, and for few rows.
//
// Of the contract one clause holds in part: a row of C may round otherwise when there are fewer rows than FewRows, and when N is
// another. The same call always gives the same bits. A row of a product of few rows does not depend on the others.
func (d *Device) MatMul(m device.MatMul) {
	a := matMulOf(m)
	if m.M == 0 || m.N == 0 {
		return
	}
	if m.K == 0 {
		d.finish(m, a)
		return
	}
	if d.fewRows(m, a) || d.thin(m, a, 1) || d.short(m, a) || d.cut(m, a) {
		return
	}
	if err := d.library(m, a); !errors.Is(err, errNoProduct) {
		d.fail(err)
		return
	}
	d.plain(m, a)
}

// plain queues a product on the own kernel.
func (d *Device) plain(m device.MatMul, a matMulArgs) {
	run(d, kernelMatMul, shape{x: over(m.N, 64), y: over(m.M, 64), z: max(m.Batch, 1), threads: 256}, &a)
}

// leastCut is the least side that a product is cut at. Where one is no multiple of eight, as GPT-2's vocabulary of 50257, the library takes 1.5
// (rows), 6 (columns) and 9 times (sums) as long, wherever the rows begin (bf16 on an H100).
const leastCut = 4096

// cut queues a product in two parts, the second of fewer than eight rows, columns or sums, and reports false for one that needs no cut.
func (d *Device) cut(m device.MatMul, a matMulArgs) bool {
	if a.a.half == 0 || m.Batch > 1 {
		return false
	}
	m.LDA, m.LDB, m.LDC = int(a.lda), int(a.ldb), int(a.ldc)
	rest := m
	behind := func(b device.Buffer, n, stride int, turned bool) device.Buffer {
		if turned {
			stride = 1
		}
		return b.Slice(n*stride, b.Len)
	}
	uneven := func(n int) bool { return n%8 != 0 && n >= leastCut }
	switch {
	case uneven(m.N):
		n := m.N / 8 * 8
		m.N, rest.N = n, m.N-n
		rest.B, rest.C = behind(m.B, n, m.LDB, !m.TransB), m.C.Slice(n, m.C.Len)
		if !m.Bias.IsZero() {
			rest.Bias = m.Bias.Slice(n, m.Bias.Len)
		}
	case uneven(m.M) && m.TransA:
		n := m.M / 8 * 8
		m.M, rest.M = n, m.M-n
		rest.A, rest.C = m.A.Slice(n, m.A.Len), m.C.Slice(n*m.LDC, m.C.Len)
	case uneven(m.K):
		n := m.K / 8 * 8
		m.K, rest.K = n, m.K-n
		rest.A, rest.B = behind(m.A, n, m.LDA, !m.TransA), behind(m.B, n, m.LDB, m.TransB)
		d.plain(rest, matMulOf(rest)) // first, for it is the smaller part that rounds by itself
		m.Accumulate, m.Bias = true, device.Buffer{}
		d.MatMul(m)
		return true
	default:
		return false
	}
	d.MatMul(m)
	d.MatMul(rest)
	return true
}

var _ device.Adder = (*Device)(nil)

// MatMulPlus computes plus first, to which the library adds the larger product in its registers, at no cost.
func (d *Device) MatMulPlus(m, plus device.MatMul) {
	plus.M, plus.N, plus.C, plus.LDC, plus.Accumulate, plus.Bias = m.M, m.N, m.C, m.LDC, m.Accumulate, m.Bias
	m.Accumulate, m.Bias = true, device.Buffer{}
	d.MatMul(plus)
	d.MatMul(m)
}

var _ device.Scaler = (*Device)(nil)

// MatMulScaled leaves the scale to what adds up the sums, in f32. Few rows, which may wait to be joined, are scaled by themselves.
func (d *Device) MatMulScaled(m device.MatMul, scale float32) {
	if a := matMulOf(m); m.M > mostFewRows && m.N > 0 && m.K > 0 && a.a.half == a.c.half {
		if d.thin(m, a, scale) {
			return
		}
		g := gemmOf(m, a)
		g.scale = scale
		if err := d.driver.gemm(&g); !errors.Is(err, errNoProduct) {
			d.fail(err)
			return
		}
	}
	d.MatMul(m)
	d.Scale(m.C, scale)
}

var _ device.Loose = (*Device)(nil)

// FewRows is the number of rows from which on they do not depend on how many there are; see cublaslt.go.
func (d *Device) FewRows() int { return manyRows }

var _ device.Joiner = (*Device)(nil)

// Joins is true: see held and turnHeld.
func (d *Device) Joins() bool { return true }

var _ device.Wide = (*Device)(nil)

// LogitRows is that of GPUs.
func (d *Device) LogitRows(vocabulary int) int { return device.CardLogitRows(vocabulary) }

// gemmOf is m for the matrix library.
func gemmOf(m device.MatMul, a matMulArgs) gemm {
	return gemm{a: a.a.p, b: a.b.p, c: a.c.p, bias: a.bias.p, m: m.M, n: m.N, k: m.K, lda: int(a.lda), ldb: int(a.ldb), ldc: int(a.ldc), scale: 1,
		transA: m.TransA, transB: m.TransB, half: a.a.half == 1, halfC: a.c.half == 1, accumulate: m.Accumulate,
		batch: max(m.Batch, 1), strideA: m.StrideA, strideB: m.StrideB, strideC: m.StrideC}
}

// library queues the product on the matrix library, whose result has C's type if A has, and else is F32.
func (d *Device) library(m device.MatMul, a matMulArgs) error {
	g := gemmOf(m, a)
	if (g.half || !g.halfC) && (g.bias == 0 || !g.halfC && a.bias.half == 0) {
		return d.driver.gemm(&g)
	}
	if g.half && g.halfC && !g.accumulate {
		return d.onBias(m, a, g)
	}
	// F32 operands with a BF16 result, or a bias of another type than the result's, or one beside what is in C.
	product, release := d.scratch(g.batch * g.m * g.n)
	defer release()
	g.c, g.ldc, g.strideC, g.bias, g.halfC, g.accumulate = product, g.n, g.m*g.n, 0, false, false
	if err := d.driver.gemm(&g); err != nil {
		return err
	}
	a.product = product
	d.finish(m, a)
	return nil
}

// onBias queues a product of BF16 with a bias, which is rounded alone where it is F32. The algorithms for many rows add it before they round. Others
// of the library round before it, and once more after it; to what is in C all add before. The bits are the same, at twice the traffic of C.
func (d *Device) onBias(m device.MatMul, a matMulArgs, g gemm) error {
	if !isSteady(&g) || m.M < manyRows || !chunked(a.a, a.lda) || !chunked(a.b, a.ldb) || !chunked(a.c, a.ldc) {
		d.finish(m, a)
		g.bias, g.accumulate = 0, true
		return d.driver.gemm(&g)
	}
	if a.bias.half == 0 || a.bias.p%16 != 0 {
		p, release := d.scratch(over(m.N, 2))
		defer release()
		m.M, a.m, a.c.p, a.ldc, g.bias = 1, 1, p, int64(m.N), p
		d.finish(m, a)
	}
	return d.driver.gemm(&g)
}

// finish computes C (+)= product (+ bias), the product being nothing when there is none.
func (d *Device) finish(m device.MatMul, a matMulArgs) {
	run(d, kernelFinish, shape{x: over(m.N, 1024), y: min(m.M, 4096), z: max(m.Batch, 1), threads: 256}, &a)
}

// matMulOf checks that the operands fit.
func matMulOf(m device.MatMul) matMulArgs {
	if m.A.DType != m.B.DType {
		panic(fmt.Sprintf("cuda: MatMul of %s by %s", m.A.DType, m.B.DType))
	}
	shapeA, shapeB := [2]int{m.M, m.K}, [2]int{m.K, m.N}
	if m.TransA {
		shapeA = [2]int{m.K, m.M}
	}
	if m.TransB {
		shapeB = [2]int{m.N, m.K}
	}
	batch := max(m.Batch, 1)
	lda, okA := fit(m.A, shapeA, m.LDA, batch, m.StrideA)
	ldb, okB := fit(m.B, shapeB, m.LDB, batch, m.StrideB)
	ldc, okC := fit(m.C, [2]int{m.M, m.N}, m.LDC, batch, m.StrideC)
	if m.M < 0 || m.N < 0 || m.K < 0 || !okA || !okB || !okC || !m.Bias.IsZero() && m.Bias.Len < m.N {
		panic(fmt.Sprintf("cuda: MatMul of M=%d N=%d K=%d does not fit its operands: A %d elements, row stride %d, transposed %v; "+
			"B %d, %d, %v; C %d, %d; bias %d; batch %d with strides %d, %d, %d", m.M, m.N, m.K, m.A.Len, m.LDA, m.TransA,
			m.B.Len, m.LDB, m.TransB, m.C.Len, m.LDC, m.Bias.Len, batch, m.StrideA, m.StrideB, m.StrideC))
	}
	return matMulArgs{a: viewOf(m.A), b: viewOf(m.B), c: viewOf(m.C), bias: viewOf(m.Bias),
		strideA: int64(m.StrideA), strideB: int64(m.StrideB), strideC: int64(m.StrideC), lda: int64(lda), ldb: int64(ldb), ldc: int64(ldc),
		m: int32(m.M), n: int32(m.N), k: int32(m.K), transA: bit(m.TransA), transB: bit(m.TransB), acc: bit(m.Accumulate)}
}

// fit says whether batch matrices of the given shape lie within b, and what their row stride is.
func fit(b device.Buffer, shape [2]int, ld, batch, stride int) (int, bool) {
	if ld == 0 {
		ld = shape[1]
	}
	if shape[0] <= 0 || shape[1] <= 0 {
		return ld, true
	}
	return ld, ld >= shape[1] && stride >= 0 && (batch-1)*stride+(shape[0]-1)*ld+shape[1] <= b.Len
}

// matMulPackedOf checks that the operands fit where B is p.
func matMulPackedOf(m device.MatMul, p device.Packed) matMulArgs {
	if rows, cols := m.K, m.N; m.TransB && (p.Rows != cols || p.Cols != rows) || !m.TransB && (p.Rows != rows || p.Cols != cols) {
		panic(fmt.Sprintf("cuda: MatMul of M=%d N=%d K=%d, transposed %v, by %d×%d packed numbers", m.M, m.N, m.K, m.TransB, p.Rows, p.Cols))
	}
	lda, okA := fit(m.A, [2]int{m.M, m.K}, m.LDA, 1, 0)
	ldc, okC := fit(m.C, [2]int{m.M, m.N}, m.LDC, 1, 0)
	if m.M < 0 || !okA || !okC || !m.Bias.IsZero() && m.Bias.Len < m.N {
		panic(fmt.Sprintf("cuda: MatMul of M=%d N=%d K=%d does not fit its operands: A %d elements, row stride %d; C %d, %d; bias %d", m.M, m.N, m.K,
			m.A.Len, m.LDA, m.C.Len, m.LDC, m.Bias.Len))
	}
	return matMulArgs{a: viewOf(m.A), c: viewOf(m.C), bias: viewOf(m.Bias), lda: int64(lda), ldc: int64(ldc), m: int32(m.M), n: int32(m.N), k: int32(m.K),
		transB: bit(m.TransB), acc: bit(m.Accumulate)}
}
