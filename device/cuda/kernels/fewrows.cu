// Products of a few rows: C (+)= A·Bᵀ (+ bias) with at most 16 rows of A, as when a token is decoded. The time is that of reading B once, so
// a block takes 8 rows of B, which its warps share out along k in turns, and tensor cores do the products as they come: a lane's 16
// bytes are b of several mma as they are, since any order of k does when A is read in the same one. What a warp sums, and the order
// of the warps, depend on k alone: a row has the same bits in any batch of up to 16.

#include "mma.cuh"
#include "product.cuh"

constexpr int WARPS = 8;

// finish_rows adds up what the warps have for 8 columns and writes it.
__device__ __forceinline__ void finish_rows(const ProductArgs &x, const float c[4]) {
	__shared__ float parts[WARPS][16][8];
	int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
	for (int e = 0; e < 4; e++) parts[warp][lane / 4 + e / 2 * 8][lane % 4 * 2 + e % 2] = c[e];
	__syncthreads();
	int row = threadIdx.x / 8, column = blockIdx.x * 8 + threadIdx.x % 8;
	if (row >= x.m || column >= x.n) return;
	float v = 0.0f;
#pragma unroll
	for (int w = 0; w < WARPS; w++) v += parts[w][row][threadIdx.x % 8];
	if (x.bias.p) v += load(x.bias, column);
	if (x.acc) v += load(x.c, row * x.ldc + column);
	store(x.c, row * x.ldc + column, v);
}

// row_part is 8 numbers of a row of A, or nothing.
__device__ __forceinline__ uint4 row_part(const ProductArgs &x, int row, int k) {
	uint4 none = {0, 0, 0, 0};
	return row < x.m && k < x.k ? *(const uint4 *)((const u16 *)x.a.p + row * x.lda + k) : none;
}

// multiply adds the products of 8 numbers of each row: those of B are w.
__device__ __forceinline__ void multiply(float c[4], uint4 low, uint4 high, uint4 w) {
	u32 a[4] = {low.x, high.x, low.y, high.y}, b[2] = {w.x, w.y};
	mma(c, a, b);
	u32 a2[4] = {low.z, high.z, low.w, high.w}, b2[2] = {w.z, w.w};
	mma(c, a2, b2);
}

KERNEL(few_rows, 256, ProductArgs) {
	constexpr int STEP = 32, AHEAD = 4; // numbers of a row that a warp reads at once, and how often before it computes
	int lane = threadIdx.x % WARP, g = lane / 4, column = blockIdx.x * 8 + g;
	const u16 *row = (const u16 *)a.b.p + column * a.ldb;
	uint4 none = {0, 0, 0, 0};
	float c[4] = {0, 0, 0, 0};
	for (int k0 = threadIdx.x / WARP * STEP; k0 < a.k; k0 += AHEAD * WARPS * STEP) {
		uint4 w[AHEAD], low[AHEAD], high[AHEAD];
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			int k = k0 + i * WARPS * STEP + lane % 4 * 8;
			w[i] = column < a.n && k < a.k ? read_once(row + k) : none;
		}
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			int k = k0 + i * WARPS * STEP + lane % 4 * 8;
			low[i] = row_part(a, g, k);
			high[i] = a.m > 8 ? row_part(a, g + 8, k) : none;
		}
		__syncwarp(); // else the compiler puts reads behind the products that they should be ahead of
#pragma unroll
		for (int i = 0; i < AHEAD; i++) multiply(c, low[i], high[i], w[i]);
	}
	finish_rows(a, c);
}

// few_rows_nf4 has 32 numbers of B in a lane's 16 bytes, half a block of 64; k is a multiple of 64.
KERNEL(few_rows_nf4, 256, ProductArgs) {
	constexpr int STEP = 128, AHEAD = 2;
	__shared__ float table[16];
	if (threadIdx.x < 16) table[threadIdx.x] = a.nf4[threadIdx.x];
	__syncthreads();
	int lane = threadIdx.x % WARP, g = lane / 4, column = blockIdx.x * 8 + g;
	uint4 none = {0, 0, 0, 0};
	float c[4] = {0, 0, 0, 0};
	for (int k0 = threadIdx.x / WARP * STEP; k0 < a.k; k0 += AHEAD * WARPS * STEP) {
		uint4 codes[AHEAD];
		float scale[AHEAD];
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			int k = k0 + i * WARPS * STEP + lane % 4 * 32;
			i64 at = (i64)column * a.k + k;
			bool there = column < a.n && k < a.k;
			codes[i] = there ? read_once(a.codes + at / 2) : none;
			scale[i] = there ? scale_of(a, at / 64) : 0.0f;
		}
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			u32 words[4] = {codes[i].x, codes[i].y, codes[i].z, codes[i].w};
#pragma unroll
			for (int j = 0; j < 4; j++) {
				int k = k0 + i * WARPS * STEP + lane % 4 * 32 + 8 * j;
				uint4 w = unpack8(words[j], table, scale[i]);
				multiply(c, row_part(a, g, k), a.m > 8 ? row_part(a, g + 8, k) : none, w);
			}
		}
	}
	finish_rows(a, c);
}
