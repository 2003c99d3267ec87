package gemm

import (
	"unsafe"

	"hone/internal/cpuid"
)

// TileFunc multiplies tiles; see TileArgs.
type TileFunc func(t *TileArgs)

// TileArgs are the arguments of a kernel, which computes Count tiles of up to
// rows × vecs vectors, one after the other:
//
//	C[r][c] = sum over k of A[r*RS + k*CS] * B[k*BS + c]  (+ Add[r*LDAdd + c])
//
// with A, B, C and Add moved on by their increments for each. Strides and increments
// are in bytes. A unit of k is an f32, or a pair of bf16 in the kernels that
// multiply pairs; those that widen pairs of B take two columns of an f32 A for each, CS apart.
// The fields are 8 bytes each: the assembly counts on it.
type TileArgs struct {
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

	// What tiles of Kernels.streams ask for. One of fewer rows than a whole one asks for what lies Ask bytes behind each row of B that it reads. A whole
	// one asks in a turn (turnUnits) for as many lines as it reads, half of them from Ask bytes behind B on, the others AskHalf behind those; both go on
	// by AskStep with each turn.
	Ask, AskHalf, AskStep int
}

// PackFunc rearranges or converts part of an operand; see PackArgs and Kernels.
type PackFunc func(p *PackArgs)

// PackArgs are the arguments of a packer. Strides are in bytes. The fields are 8
// bytes each: the assembly counts on it.
type PackArgs struct {
	Dst, Src             unsafe.Pointer
	DstStride, SrcStride int
	Rows, Vecs           int
	Mask                 *[8]int32 // CopyRows: lanes of each row's last vector to read, the others become 0; nil means all
	Stripes, Pitch       int       // of stripePacker
}

// stripePacker cuts Rows rows into Stripes stripes of MR or NR units: stripe s of
// row r goes to Dst + s·Pitch + r·DstStride. pair joins two rows of bf16 each time.
type stripePacker struct{ copy, widen, pair PackFunc }

// streamTiles are tiles as F32, BF16 and widen that ask for B while they multiply; nil where there are none.
type streamTiles struct{ f32, pairs, widen [][]TileFunc }

// Kernels are the routines of one instruction set.
type Kernels struct {
	Name    string
	MR, NR  int          // rows and columns of a full tile
	Lanes   int          // columns of a vector
	rounds  bool         // tiles round their sums to bf16 themselves
	F32     [][]TileFunc // by rows-1 and vectors-1
	BF16    [][]TileFunc // the same on pairs of bf16; nil: bf16 is widened to f32
	streams streamTiles  // for few rows by an arranged B
	widen   [][]TileFunc // A is f32 and B pairs of bf16 that the tile widens, as an arranged weight has them; K counts pairs. nil: there are none
	Halves  [][]TileFunc // A is f32 and B rows of bf16 that the tile widens; a multiple of a vector of columns. nil: there are none

	// Kernels for few rows, by rows-1: B is stored [N, K] with BS from column to column, A has its columns
	// side by side, and a row of B is a multiple of FewUnits. A tile has one vector of columns and is the sum over all
	// blocks of k, without a mask. nil: there are none.
	FewF32   []TileFunc
	FewWiden []TileFunc // B is bf16, A f32
	FewPairs []TileFunc // both are bf16

	Transpose      PackFunc // 8 rows of 8·Vecs f32 (or pairs of bf16) become 8·Vecs rows of 8
	TransposeWiden PackFunc // 8 rows of 16·Vecs bf16 become 16·Vecs rows of 8 f32
	CopyRows       PackFunc // Rows rows of 8·Vecs f32
	WidenRows      PackFunc // Rows rows of 8·Vecs bf16 become f32
	PairRows       PackFunc // Rows pairs of rows of 8·Vecs bf16 become rows of 8·Vecs pairs

	stripesA stripePacker // of MR
	stripesB stripePacker // of NR

	packs   int  // bytes of B that a task packs at a time
	asks    bool // for what is packed next of A, too
	asksB   bool // for what comes next of an arranged B, where several stripes of A read it
	columns bool // of a transposed A may be read where they are; see readsA
	copies  bool // rows of A that lie a multiple of 4 KiB apart
	thirds  bool // a worker that waits asks for every third line of what comes; see Engine.Prepare
}

// HostKernels are the best routines for this machine.
func HostKernels() *Kernels { return NewKernels(cpuid.Host()) }

// packsMost is the most of B that a task packs at a time.
const packsMost = 768 << 10

// packs is how much of B a task packs at a time: three quarters of the second cache, or of a usual one where it is unknown. Of 2 MiB
// on an Emerald Rapids more than packsMost was slower.
func packs(f cpuid.Features) int {
	if f.L2 == 0 {
		return 384 << 10
	}
	return min(f.L2*3/4, packsMost)
}

// copies says whether rows of A a multiple of 4 KiB apart, whose lines fall on one set of the first cache, should be copied. A set of
// it has 8 lines in 32 KiB, as many as a stripe has rows; of 12 in 48 KiB enough are left for B's.
func copies(f cpuid.Features) bool { return f.L1D < 48<<10 }
