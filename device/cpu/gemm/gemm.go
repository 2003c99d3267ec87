// Package gemm multiplies matrices of float32 and bfloat16 on the processor, and has the kernels that it does so with for others.
//
// A product (Args) is planned as tasks, blocks of C (plan.go), which the workers of an Engine compute, each by the kernels of the machine's
// instruction set (kernels.go): operands are packed (pack.go) and multiplied tile by tile (drive.go). Few rows read a weight
// as it lies (few.go), or in panels that were arranged before (arranged.go). Workers that wait take rows from others (steal.go) or
// ask for the weights that will come next (ahead.go).
package gemm

import (
	"fmt"
	"unsafe"
)

// Mat is a matrix operand: memory of float32 or bf16 elements.
type Mat struct {
	p    unsafe.Pointer
	n    int // elements
	bf16 bool
}

// F32 is s as an operand.
func F32(s []float32) Mat { return Mat{p: unsafe.Pointer(unsafe.SliceData(s)), n: len(s)} }

// BF16 is s, which holds bf16, as an operand.
func BF16(s []uint16) Mat {
	return Mat{p: unsafe.Pointer(unsafe.SliceData(s)), n: len(s), bf16: true}
}

// size is the number of bytes of an element.
func (m Mat) size() int {
	if m.bf16 {
		return 2
	}
	return 4
}

// at is the address of element i.
func (m Mat) at(i int) unsafe.Pointer { return unsafe.Add(m.p, i*m.size()) }

// Args describes the product C (+)= op(A)·op(B) (+ Bias in each row), row-major:
//
//	op(A) is [M, K], stored [K, M] with TransA
//	op(B) is [K, N], stored [N, K] with TransB
//	C     is [M, N]
//
// so NT (a linear layer) has TransB, TN (the gradient of its weight) has TransA.
// A and B may each be F32 or BF16, C too; sums are in f32. C must not overlap A or B.
//
// An element of C is the sum over blocks of K of sums in order of k, by fused
// multiply-add. The blocks depend on K alone, so a row of C depends on its row
// of A and on B, not on M, N, the leading dimensions or the number of threads.
type Args struct {
	M, N, K                   int
	A, B, C                   Mat
	LDA, LDB, LDC             int // elements between rows as stored; 0 means dense
	TransA, TransB            bool
	Arranged                  bool      // B is in panels; see arranged.go
	Accumulate                bool      // C += instead of C =
	Bias                      []float32 // optional, N elements
	Batch                     int       // number of products; 0 means 1
	StrideA, StrideB, StrideC int       // elements between the operands of successive products
	Plus                      Plus      // added at the end, where Batch is 1
	Sums                      []float32 // optional, N elements: the sums of the columns of B, which is not transposed, K and Batch not 0
	AddSums                   bool      // Sums += instead of Sums =
}

// check fills in defaults. It panics with the shapes when an operand does not fit.
func (g *Args) check(k *Kernels) {
	a, b := [2]int{g.M, g.K}, [2]int{g.K, g.N}
	if g.TransA {
		a = [2]int{g.K, g.M}
	}
	if g.TransB {
		b = [2]int{g.N, g.K}
	}
	g.Batch = max(g.Batch, 1)
	ok := g.M >= 0 && g.N >= 0 && g.K >= 0 &&
		g.A.fits(a, &g.LDA, g.Batch, g.StrideA) && g.fitsB(b, k) &&
		g.C.fits([2]int{g.M, g.N}, &g.LDC, g.Batch, g.StrideC) &&
		(g.Bias == nil || len(g.Bias) >= g.N) && (g.Sums == nil || g.fitsSums()) && (g.Plus.K == 0 || g.Batch == 1 && g.Plus.check(g.M, g.N))
	if !ok {
		panic(fmt.Sprintf("gemm: a product of M=%d N=%d K=%d does not fit its operands: A %d elements, row stride %d, transposed %v; "+
			"B %d, %d, %v; C %d, %d; bias %d; batch %d with strides %d, %d, %d", g.M, g.N, g.K, g.A.n, g.LDA, g.TransA,
			g.B.n, g.LDB, g.TransB, g.C.n, g.LDC, len(g.Bias), g.Batch, g.StrideA, g.StrideB, g.StrideC))
	}
}

// fitsB says whether B has the given shape.
func (g *Args) fitsB(b [2]int, k *Kernels) bool {
	if !g.Arranged {
		return g.B.fits(b, &g.LDB, g.Batch, g.StrideB)
	}
	return g.Batch == 1 && g.A.bf16 == g.B.bf16 && k.Arranges(g.B.bf16, g.K) && g.B.n == k.ArrangedLen(g.K, g.N, g.B.bf16)
}

// fitsSums says whether the columns of B can be summed.
func (g *Args) fitsSums() bool {
	return len(g.Sums) >= g.N && !g.TransB && !g.Arranged && g.K > 0 && g.Batch == 1
}

// fits says whether batch matrices of the given shape lie within m. It sets ld
// where it is 0.
func (m Mat) fits(shape [2]int, ld *int, batch, stride int) bool {
	rows, cols := shape[0], shape[1]
	if *ld == 0 {
		*ld = cols
	}
	if rows == 0 || cols == 0 {
		return true
	}
	return *ld >= cols && stride >= 0 && (batch-1)*stride+(rows-1)**ld+cols <= m.n
}
