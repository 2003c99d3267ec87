// Tensor cores and copies that go on while a warp computes, as PTX has them from sm_80 on; testdata/emulator/emulated.h has them
// for the host. All threads of a warp call these together.
//
// Fragments of a warp, with g = lane/4 and t = lane%4 (PTX ISA, "Matrix fragments for mma.m16n8k16"):
//   a[4]  16×16 of bf16: rows g, g+8, g, g+8; columns 2t and 2t+1 of the left half in a[0] and a[1], of the right in a[2] and a[3]
//   b[2]  16×8  of bf16: column g; rows 2t and 2t+1 of the upper half in b[0], of the lower in b[1]
//   c[4]  16×8  of f32:  columns 2t and 2t+1; row g in c[0] and c[1], row g+8 in c[2] and c[3]
// So two c, side by side and rounded to bf16, are an a.

#ifndef HONE_EMULATED
// mma computes c += a·b.
__device__ __forceinline__ void mma(float c[4], const u32 a[4], const u32 b[2]) {
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

// load_matrices reads four matrices of 8×8 bf16 from shared memory: row is where row lane%8 of matrix lane/8 begins, on 16
// bytes. r[i] is columns 2t and 2t+1 of row g of matrix i.
__device__ __forceinline__ void load_matrices(u32 r[4], const u16 *row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

// load_transposed is load_matrices of each matrix's transpose: r[i] is rows 2t and 2t+1 of column g.
__device__ __forceinline__ void load_transposed(u32 r[4], const u16 *row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
	             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

// copy_async starts a copy of 4 or 16 bytes to shared memory, of zeros where there is nothing; both ends are aligned to them.
template <int BYTES> __device__ __forceinline__ void copy_async(void *to, const void *from, bool there) {
	if (BYTES == 16)
		asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(there ? 16 : 0) : "memory");
	else
		asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(there ? 4 : 0) : "memory");
}

// wait_copies returns when this thread's copies are done; a barrier tells the other threads.
__device__ __forceinline__ void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// commit_copies makes a group of this thread's copies since the last one; wait_copies_but waits for all groups but the last ones.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int GROUPS> __device__ __forceinline__ void wait_copies_but() { asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory"); }

// read_once reads 16 bytes that nobody will read again, where it is called: volatile, for else the compiler puts a loop's reads
// between the products that they should be ahead of.
__device__ __forceinline__ uint4 read_once(const void *p) {
	uint4 v;
	asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
	return v;
}

// read_here is read_once as an ordinary read, which the compiler moves behind no other one: of a loop's first reads it left some where their products are.
__device__ __forceinline__ uint4 read_here(const void *p) {
	uint4 v;
	asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
	return v;
}

// exp2_fast is 2 to the x to within 2^-22; what is below the normal numbers is 0.
__device__ __forceinline__ float exp2_fast(float x) {
	float r;
	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
	return r;
}
#else
__device__ __forceinline__ float exp2_fast(float x) { return exp2f(x); }
#endif

// unpack8 makes bf16 of 8 numbers in NF4, two in a byte, the first in its upper half; table has what the codes stand for.
__device__ __forceinline__ uint4 unpack8(u32 codes, const float *table, float scale) {
	uint4 v;
	v.x = narrow2(table[codes >> 4 & 15] * scale, table[codes & 15] * scale);
	v.y = narrow2(table[codes >> 12 & 15] * scale, table[codes >> 8 & 15] * scale);
	v.z = narrow2(table[codes >> 20 & 15] * scale, table[codes >> 16 & 15] * scale);
	v.w = narrow2(table[codes >> 28] * scale, table[codes >> 24 & 15] * scale);
	return v;
}

// Tiles in shared memory have rows of D bf16, D a multiple of 32, in chunks of eight. The chunks of a row change places, so that
// the same one of eight rows below each other lies in all banks.
template <int D> __device__ __forceinline__ int at(int row, int chunk) { return row * D + ((chunk ^ (D % 64 == 0 ? row & 7 : row >> 1 & 3)) << 3); }

// upright is where load_matrices finds the fragment a of rows from row on, columns from 16·k on. Of what is stored transposed,
// k by n, load_transposed finds b of two tiles of columns there.
template <int D> __device__ __forceinline__ const u16 *upright(const u16 *tile, int row, int k) {
	int lane = threadIdx.x % WARP;
	return tile + at<D>(row + (lane & 15), 2 * k + (lane >> 4));
}

// sideways is where load_matrices finds b of two tiles of columns, which are the rows from row on, over 16·k and what follows.
template <int D> __device__ __forceinline__ const u16 *sideways(const u16 *tile, int row, int k) {
	int lane = threadIdx.x % WARP;
	return tile + at<D>(row + (lane & 7) + (lane >> 4 << 3), 2 * k + (lane >> 3 & 1));
}

// fetch starts the copy of ROWS rows of d channels, stride apart; rows behind count and channels behind d become 0. thread
// is the number among those that call it together.
template <int D, int ROWS, int THREADS> __device__ __forceinline__ void fetch(u16 *to, const u16 *x, i64 stride, int d, int count, int thread = threadIdx.x) {
	static_assert(ROWS * (D / 8) % THREADS == 0, "every thread copies as many chunks");
#pragma unroll 2 // more addresses at once would not fit into registers
	for (int i = 0; i < ROWS * (D / 8) / THREADS; i++) {
		int e = i * THREADS + thread, r = e / (D / 8), c = e % (D / 8);
		bool there = r < count && c * 8 < d;
		copy_async<16>(to + at<D>(r, c), there ? x + r * stride + c * 8 : x, there);
	}
}
