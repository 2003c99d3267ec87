// What a host compiler needs to compile the kernels as C++: the built-in variables, functions and types of CUDA that they
// use. Each thread of a block is a fiber; a barrier switches to the next one. See emulator.cpp.
#pragma once
#include <math.h>
#include <string.h>

#define HONE_DYNAMIC_SHARED (256 << 10)

struct Dim3 {
	unsigned x, y, z;
};
extern "C" {
extern Dim3 threadIdx, blockIdx, blockDim, gridDim;
extern unsigned char hone_shared[HONE_DYNAMIC_SHARED];
void hone_block_barrier();
unsigned hone_exchange(unsigned mask, unsigned v, int lane); // what the lane of this warp gave
// All lanes of a warp give what is at in, work computes the results of all 32 at once, and each gets its own.
void hone_together(const void *in, int in_bytes, void *out, int out_bytes, void (*work)(const unsigned char *in, unsigned char *out));
void hone_refuse(const char *why); // ends the kernel with a message
bool hone_is_shared(const void *p, int bytes);
extern unsigned long hone_conflicts; // reads of shared memory that take longer because two rows are in the same banks
void hone_copy_later(void *to, const void *from, int bytes, int there);
void hone_copies_end_group();
void hone_copy_now(int but); // all groups but the last ones, with -1 also what is in none yet
void hone_copies_shown();
struct HoneWide;
void hone_product_later(const struct HoneWide *p);
void hone_products_end_group();
void hone_products_now(int but);
void hone_settled(const void *registers);
struct HoneMeeting;
void hone_meeting_begin(struct HoneMeeting *m, int threads);
void hone_meeting_arrive(struct HoneMeeting *m);
void hone_meeting_wait(struct HoneMeeting *m, int phase);
}

#define KERNEL(name, threads, args)                                       \
	static void name##_body(const args &a);                                \
	extern "C" const int name##_threads = threads;                         \
	extern "C" const unsigned long name##_bytes = sizeof(args);            \
	extern "C" void name(const void *p) { name##_body(*(const args *)p); } \
	static void name##_body(const args &a)

#define KERNEL_BLOCKS(name, threads, blocks, args) KERNEL(name, threads, args)
#define DYNAMIC_SHARED(type, name) type *name = (type *)hone_shared

#define __global__
#define __device__ static
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __restrict__

struct uint2 {
	unsigned x, y;
};
struct uint4 {
	unsigned x, y, z, w;
};
struct alignas(16) float4 {
	float x, y, z, w;
};
struct float2 {
	float x, y;
};

static inline float __uint_as_float(unsigned v) {
	float f;
	memcpy(&f, &v, 4);
	return f;
}
static inline unsigned __float_as_uint(float f) {
	unsigned v;
	memcpy(&v, &f, 4);
	return v;
}
static inline float __int_as_float(int v) { return __uint_as_float((unsigned)v); }
static inline float __fmul_rn(float a, float b) { return a * b; } // the build forbids fused ones
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

static inline void __syncthreads() { hone_block_barrier(); }
static inline void __threadfence() {} // one block runs after the other
static inline int atomicAdd(int *p, int n) { return *p += n, *p - n; }

static inline unsigned hone_lane() { return threadIdx.x % 32; }
static inline float __shfl_sync(unsigned mask, float v, int lane) { return __uint_as_float(hone_exchange(mask, __float_as_uint(v), lane & 31)); }
static inline int __shfl_sync(unsigned mask, int v, int lane) { return (int)hone_exchange(mask, (unsigned)v, lane & 31); }
static inline unsigned __shfl_sync(unsigned mask, unsigned v, int lane) { return hone_exchange(mask, v, lane & 31); }
template <class T> static inline T __shfl_xor_sync(unsigned mask, T v, int o) { return __shfl_sync(mask, v, (int)hone_lane() ^ o); }
static inline int __any_sync(unsigned mask, int is) {
	for (int o = 1; o < 32; o *= 2) is |= __shfl_xor_sync(mask, is, o);
	return is;
}
static inline void __syncwarp(unsigned mask = 0xffffffffu) { hone_exchange(mask, 0, hone_lane()); }

// Tensor cores, as kernels/mma.cuh describes them. A product's sum runs over k in order and is then added to c.
struct HoneProduct {
	float c[4];
	unsigned a[4], b[2];
};
static inline float hone_wide(unsigned v, int upper) { return __uint_as_float(upper ? v & 0xffff0000u : v << 16); }
static void hone_mma_warp(const unsigned char *in, unsigned char *out) {
	const HoneProduct *p = (const HoneProduct *)in;
	float (*c)[4] = (float (*)[4])out;
	float a[16][16], b[16][8], sum[16][8] = {};
	for (int lane = 0; lane < 32; lane++)
		for (int e = 0; e < 2; e++) {
			int g = lane / 4, t = 2 * (lane % 4) + e;
			for (int i = 0; i < 4; i++) a[g + i % 2 * 8][t + i / 2 * 8] = hone_wide(p[lane].a[i], e);
			for (int i = 0; i < 2; i++) b[t + i * 8][g] = hone_wide(p[lane].b[i], e);
		}
	for (int i = 0; i < 16; i++)
		for (int k = 0; k < 16; k++)
			for (int j = 0; j < 8; j++) sum[i][j] += a[i][k] * b[k][j];
	for (int lane = 0; lane < 32; lane++)
		for (int i = 0; i < 4; i++) c[lane][i] = p[lane].c[i] + sum[lane / 4 + i / 2 * 8][2 * (lane % 4) + i % 2];
}
static inline void mma(float c[4], const unsigned a[4], const unsigned b[2]) {
	HoneProduct p;
	memcpy(p.c, c, 16), memcpy(p.a, a, 16), memcpy(p.b, b, 8);
	hone_together(&p, sizeof p, c, 16, hone_mma_warp);
}

template <bool TRANSPOSED> static void hone_matrices_warp(const unsigned char *in, unsigned char *out) {
	const unsigned short *const *rows = (const unsigned short *const *)in;
	unsigned (*r)[4] = (unsigned (*)[4])out;
	for (int m = 0; m < 4; m++) {
		unsigned banks = 0;
		for (int i = 0; i < 8; i++) {
			const void *row = rows[8 * m + i];
			if ((unsigned long)row % 16 || !hone_is_shared(row, 16)) return hone_refuse("a matrix is read whose row is not in shared memory, or not on 16 bytes");
			banks |= 1u << (unsigned long)row / 16 % 8;
		}
		hone_conflicts += banks != 0xff;
		for (int lane = 0; lane < 32; lane++) {
			int g = lane / 4, t = 2 * (lane % 4);
			if (TRANSPOSED)
				r[lane][m] = rows[8 * m + t][g] | (unsigned)rows[8 * m + t + 1][g] << 16;
			else
				r[lane][m] = rows[8 * m + g][t] | (unsigned)rows[8 * m + g][t + 1] << 16;
		}
	}
}
static inline void load_matrices(unsigned r[4], const unsigned short *row) { hone_together(&row, sizeof row, r, 16, hone_matrices_warp<false>); }
static inline void load_transposed(unsigned r[4], const unsigned short *row) { hone_together(&row, sizeof row, r, 16, hone_matrices_warp<true>); }

// Copies are made when they are waited for: what is read before is still what it was.
template <int BYTES> static inline void copy_async(void *to, const void *from, bool there) {
	if ((unsigned long)to % BYTES || (unsigned long)from % BYTES) hone_refuse("a copy to shared memory is not aligned");
	hone_copy_later(to, from, BYTES, there);
}
static inline void wait_copies() { hone_copy_now(-1); }
static inline void commit_copies() { hone_copies_end_group(); }
template <int GROUPS> static inline void wait_copies_but() { hone_copy_now(GROUPS); }

static inline uint4 read_once(const void *p) {
	if ((unsigned long)p % 16) hone_refuse("16 bytes are read that are not aligned");
	uint4 v;
	memcpy(&v, p, 16);
	return v;
}
static inline uint4 read_here(const void *p) { return read_once(p); }

// Products of warpgroups, as kernels/warpgroup.cuh describes them. They are computed when they are waited for, from what registers
// and shared memory hold then.
struct HoneWide {
	float (*c)[4];
	int n; // columns
	const unsigned *a; // or null, for a_tile
	unsigned long a_tile, b_tile;
	bool rows, add;
	int group;
};
const unsigned HONE_SHARED_AT = 1040; // where shared memory begins for descriptions of operands
static inline unsigned shared_address(const void *p) { return (unsigned)((const unsigned char *)p - hone_shared) + HONE_SHARED_AT; }

// hone_swizzled reads a number of an operand that lies at bytes from its first one, before chunks change places.
static float hone_swizzled(unsigned long tile, unsigned bytes) {
	unsigned at = ((unsigned)(tile & 0x3fff) << 4) + bytes;
	at ^= (at >> 7 & 7) << 4;
	const unsigned char *p = hone_shared + (at - HONE_SHARED_AT);
	if (at < HONE_SHARED_AT || !hone_is_shared(p, 2)) return hone_refuse("a product reads outside of the shared memory of the block"), 0.0f;
	return __uint_as_float((unsigned)*(const unsigned short *)p << 16);
}

static void hone_wide_warp(const unsigned char *in, unsigned char *) {
	HoneWide *const *p = (HoneWide *const *)in;
	const HoneWide &first = *p[0];
	float a[16][16], b[16][128];
	if (first.b_tile >> 62 != 1 || (!first.a && first.a_tile >> 62 != 1)) return hone_refuse("an operand is not in panels of 128 bytes");
	unsigned leading = (unsigned)(first.b_tile >> 16 & 0x3fff) << 4, stride = (unsigned)(first.b_tile >> 32 & 0x3fff) << 4;
	for (int k = 0; k < 16; k++)
		for (int n = 0; n < first.n; n++)
			b[k][n] = hone_swizzled(first.b_tile, first.rows ? n / 64 * leading + n % 64 * 2 + k / 8 * stride + k % 8 * 128 : n / 8 * stride + n % 8 * 128 + k * 2);
	unsigned a_stride = (unsigned)(first.a_tile >> 32 & 0x3fff) << 4, row = threadIdx.x / 32 % 4 * 16;
	for (int lane = 0; lane < 32; lane++)
		for (int e = 0; e < 8; e++) {
			int g = lane / 4 + e / 2 % 2 * 8, t = 2 * (lane % 4) + e % 2 + e / 4 * 8;
			a[g][t] = first.a ? hone_wide(p[lane]->a[e / 2], e % 2) : hone_swizzled(first.a_tile, (row + g) / 8 * a_stride + (row + g) % 8 * 128 + t * 2);
		}
	for (int lane = 0; lane < 32; lane++)
		for (int n = 0; n < first.n / 8; n++)
			for (int i = 0; i < 4; i++) {
				float sum = 0;
				for (int k = 0; k < 16; k++) sum += a[lane / 4 + i / 2 * 8][k] * b[k][8 * n + 2 * (lane % 4) + i % 2];
				float &c = p[lane]->c[n][i];
				c = p[lane]->add ? c + sum : sum;
			}
}

template <bool ROWS, int N> static inline void warpgroup_mma(float (&c)[N][4], unsigned long long a, unsigned long long b, bool add) {
	HoneWide p = {c, N * 8, 0, a, b, ROWS, add, 0};
	hone_product_later(&p);
}
template <bool ROWS, int N> static inline void warpgroup_mma(float (&c)[N][4], const unsigned (&a)[4], unsigned long long b, bool add) {
	HoneWide p = {c, N * 8, a, 0, b, ROWS, add, 0};
	hone_product_later(&p);
}
static inline void warpgroup_begin() {}
static inline void warpgroup_commit() { hone_products_end_group(); }
template <int GROUPS> static inline void warpgroup_wait() { hone_products_now(GROUPS); }
template <int GROUPS> static inline void warpgroup_wait_after(float) { hone_products_now(GROUPS); }
template <int N> static inline void more_registers() {}
template <int N> static inline void fewer_registers() {}
struct HoneMeeting {
	short threads, missing; // of this phase
	int phase;
};
static_assert(sizeof(HoneMeeting) == 8, "it is in the place of an mbarrier");
static inline void meeting_begin(unsigned long long *m, int threads) { hone_meeting_begin((HoneMeeting *)m, threads); }
static inline void meeting_arrive(unsigned long long *m) { hone_meeting_arrive((HoneMeeting *)m); }
static inline void meeting_wait(unsigned long long *m, int phase) { hone_meeting_wait((HoneMeeting *)m, phase); }
static inline void show_tensor_cores() { hone_copies_shown(); }
template <int N> static inline void settle(float (&c)[N][4]) { hone_settled(c); }
template <int N> static inline void settle(unsigned (&a)[N][4]) { hone_settled(a); }
