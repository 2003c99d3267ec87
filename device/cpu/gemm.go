package cpu

import (
	"fmt"
	"unsafe"
)

// mat is a matrix operand: memory of float32 or bf16 elements.
type mat struct {
	p    unsafe.Pointer
	n    int // elements
	bf16 bool
}

// matF32 is s as an operand.
func matF32(s []float32) mat { return mat{p: unsafe.Pointer(unsafe.SliceData(s)), n: len(s)} }

// matBF16 is s, which holds bf16, as an operand.
func matBF16(s []uint16) mat {
	return mat{p: unsafe.Pointer(unsafe.SliceData(s)), n: len(s), bf16: true}
}

// size is the number of bytes of an element.
func (m mat) size() int {
	if m.bf16 {
		return 2
	}
	return 4
}

// at is the address of element i.
func (m mat) at(i int) unsafe.Pointer { return unsafe.Add(m.p, i*m.size()) }

// gemmArgs describes the product C (+)= op(A)·op(B) (+ Bias in each row), row-major:
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
type gemmArgs struct {
	M, N, K                   int
	A, B, C                   mat
	LDA, LDB, LDC             int // elements between rows as stored; 0 means dense
	TransA, TransB            bool
	Arranged                  bool      // B is in panels; see arranged.go
	Accumulate                bool      // C += instead of C =
	Bias                      []float32 // optional, N elements
	Batch                     int       // number of products; 0 means 1
	StrideA, StrideB, StrideC int       // elements between the operands of successive products
	Plus                      gemmPlus  // added at the end, where Batch is 1
	Sums                      []float32 // optional, N elements: the sums of the columns of B, which is not transposed, K and Batch not 0
	AddSums                   bool      // Sums += instead of Sums =
}

// check fills in defaults. It panics with the shapes when an operand does not fit.
func (g *gemmArgs) check(k *gemmKernels) {
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
		panic(fmt.Sprintf("cpu: gemm of M=%d N=%d K=%d does not fit its operands: A %d elements, row stride %d, transposed %v; "+
			"B %d, %d, %v; C %d, %d; bias %d; batch %d with strides %d, %d, %d", g.M, g.N, g.K, g.A.n, g.LDA, g.TransA,
			g.B.n, g.LDB, g.TransB, g.C.n, g.LDC, len(g.Bias), g.Batch, g.StrideA, g.StrideB, g.StrideC))
	}
}

// fitsB says whether B has the given shape.
func (g *gemmArgs) fitsB(b [2]int, k *gemmKernels) bool {
	if !g.Arranged {
		return g.B.fits(b, &g.LDB, g.Batch, g.StrideB)
	}
	return g.Batch == 1 && g.A.bf16 == g.B.bf16 && k.arranges(g.B.bf16, g.K) && g.B.n == k.arrangedLen(g.K, g.N, g.B.bf16)
}

// fitsSums says whether the columns of B can be summed.
func (g *gemmArgs) fitsSums() bool {
	return len(g.Sums) >= g.N && !g.TransB && !g.Arranged && g.K > 0 && g.Batch == 1
}

// fits says whether batch matrices of the given shape lie within m. It sets ld
// where it is 0.
func (m mat) fits(shape [2]int, ld *int, batch, stride int) bool {
	rows, cols := shape[0], shape[1]
	if *ld == 0 {
		*ld = cols
	}
	if rows == 0 || cols == 0 {
		return true
	}
	return *ld >= cols && stride >= 0 && (batch-1)*stride+(rows-1)**ld+cols <= m.n
}

// tileFunc multiplies tiles; see tileArgs.
type tileFunc func(t *tileArgs)

// tileArgs are the arguments of a kernel, which computes Count tiles of up to
// rows × vecs vectors, one after the other:
//
//	C[r][c] = sum over k of A[r*RS + k*CS] * B[k*BS + c]  (+ Add[r*LDAdd + c])
//
// with A, B, C and Add moved on by their increments for each. Strides and increments
// are in bytes. A unit of k is an f32, or a pair of bf16 in the kernels that
// multiply pairs; those that widen pairs of B take two columns of an f32 A for each, CS apart.
// The fields are 8 bytes each: the assembly counts on it.
type tileArgs struct {
	A, B, C, Add             unsafe.Pointer // Add may be nil
	RS, CS, BS, LDC, LDAdd   int
	K, Count                 int
	AInc, BInc, CInc, AddInc int
	Mask                     *[8]int32      // lanes of the last vector that count, -1 for yes; nil means all
	Bits                     uint64         // the same as one bit a lane, always set
	Next                     unsafe.Pointer // memory a tile of all rows asks for: Lines times a line of as many rows NextRS apart,
	Lines                    int            // each time NextStep further on, as each tile goes on from the one before
	Units                    int            // of k in all, in blocks of K whose sums are added up; 0: K is one block
	Out                      unsafe.Pointer // bf16 that the sums are rounded to, rows LDOut apart; nil means none. Tiles that round store them there and not in C,
	LDOut                    int            // others, if of all rows, ask for the lines
	NextRS, NextStep         int
}

// packFunc rearranges or converts part of an operand; see packArgs and gemmKernels.
type packFunc func(p *packArgs)

// packArgs are the arguments of a packer. Strides are in bytes. The fields are 8
// bytes each: the assembly counts on it.
type packArgs struct {
	Dst, Src             unsafe.Pointer
	DstStride, SrcStride int
	Rows, Vecs           int
	Mask                 *[8]int32 // copyRows: lanes of each row's last vector to read, the others become 0; nil means all
	Stripes, Pitch       int       // of stripePacker
}

// stripePacker cuts Rows rows into Stripes stripes of mr or nr units: stripe s of
// row r goes to Dst + s·Pitch + r·DstStride. pair joins two rows of bf16 each time.
type stripePacker struct{ copy, widen, pair packFunc }

// gemmKernels are the routines of one instruction set.
type gemmKernels struct {
	name   string
	mr, nr int          // rows and columns of a full tile
	lanes  int          // columns of a vector
	rounds bool         // tiles round their sums to bf16 themselves
	f32    [][]tileFunc // by rows-1 and vectors-1
	bf16   [][]tileFunc // the same on pairs of bf16; nil: bf16 is widened to f32
	widen  [][]tileFunc // A is f32 and B pairs of bf16 that the tile widens, as an arranged weight has them; K counts pairs. nil: there are none
	halves [][]tileFunc // A is f32 and B rows of bf16 that the tile widens; a multiple of a vector of columns. nil: there are none

	// Kernels for few rows, by rows-1: B is stored [N, K] with BS from column to column, A has its columns
	// side by side, and a row of B is a multiple of fewUnits. A tile has one vector of columns and is the sum over all
	// blocks of k, without a mask. nil: there are none.
	fewF32   []tileFunc
	fewWiden []tileFunc // B is bf16, A f32
	fewPairs []tileFunc // both are bf16

	transpose      packFunc // 8 rows of 8·Vecs f32 (or pairs of bf16) become 8·Vecs rows of 8
	transposeWiden packFunc // 8 rows of 16·Vecs bf16 become 16·Vecs rows of 8 f32
	copyRows       packFunc // Rows rows of 8·Vecs f32
	widenRows      packFunc // Rows rows of 8·Vecs bf16 become f32
	pairRows       packFunc // Rows pairs of rows of 8·Vecs bf16 become rows of 8·Vecs pairs

	stripesA stripePacker // of mr
	stripesB stripePacker // of nr

	packs   int  // bytes of B that a task packs at a time
	asks    bool // for what is packed next of A, too
	asksB   bool // for what comes next of an arranged B, where several stripes of A read it
	columns bool // of a transposed A may be read where they are; see readsA
	copies  bool // rows of A that lie a multiple of 4 KiB apart
	thirds  bool // a worker that waits asks for every third line of what comes; see pool.fetch
}
