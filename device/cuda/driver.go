package cuda

import "unsafe"

// pointer is an address in the memory of the card, or of pinned memory of the host, which the card sees at the same one.
type pointer uint64

// queue is a stream of the card: what is queued on one runs in order, and beside what is queued on others.
type queue uint8

// The queues.
const (
	compute queue = iota // kernels, products, and what must stand between them
	inward               // copies from the host to the card
	outward              // copies from the card to the host
	queues  = iota
)

// driver is what the device needs of the hardware. There are two: nvidia, and one in the tests that runs the same kernels,
// compiled as C++, on the host. What fails is reported by the call or by sync.
type driver interface {
	card() card

	// reserve and commit are arena.Source.
	Reserve(size int64) (base uintptr, ok bool)
	Commit(base uintptr, lo, hi int64) bool
	// pin returns zeroed memory of the host that the card reads and writes, too.
	pin(size int64) (unsafe.Pointer, error)
	unpin(unsafe.Pointer) error

	// copy queues a copy of n bytes. Memory of the host must be pinned, and stay as it is until then.
	copy(q queue, dst, src pointer, n int64) error
	// clear queues n bytes of zero on compute.
	clear(dst pointer, n int64) error

	// load finds a kernel, compiling its file if need be.
	load(k kernel) (function, error)
	// launch queues on compute a kernel with args, a pointer to its structure of size bytes, which is copied before the call returns.
	launch(f function, s shape, args unsafe.Pointer, size uintptr) error
	// gemm queues on compute a product. It returns errNoProduct for one that the library does not have.
	gemm(g *gemm) error

	// mark makes a place in a queue, from an old one if there is any (else 0). The host waits until the card has passed it;
	// await lets what is queued on q from here on wait for that.
	mark(q queue, old mark) (mark, error)
	wait(mark) error
	await(q queue, m mark) error
	// sync waits until all that is queued on any queue is done.
	sync() error
	close() error
}

// card says what the hardware is.
type card struct {
	name       string
	arch       int   // of sm_90: 90
	memory     int64 // bytes
	processors int   // streaming multiprocessors
	shared     int   // bytes of shared memory that a block can have
	warpgroups bool  // has kernels/hopper.cuh: the card and the compiler know products of warpgroups
}

// kernel names a function of a file of kernels.
type kernel struct{ file, name string }

// function is a loaded kernel. What it means is up to the driver.
type function uintptr

// mark is an event in a queue.
type mark uintptr

// shape is how a kernel is launched.
type shape struct {
	x, y, z int // blocks
	threads int // of a block
	shared  int // bytes of dynamic shared memory
}

// gemm is a product for the matrix library: C = scale·op(A)·op(B) (+ C) (+ bias in each row), row-major, in f32. A and B have one
// type; C has it, too, or is F32. bias has the type of C.
type gemm struct {
	a, b, c, bias             pointer // bias 0: none
	m, n, k                   int
	lda, ldb, ldc             int
	transA, transB            bool
	half, halfC               bool    // A and B, and C, are BF16
	scale                     float32 // of the product
	accumulate                bool
	batch                     int
	strideA, strideB, strideC int
}
