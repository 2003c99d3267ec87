// Products of a few rows: C (+)= A·Bᵀ (+ bias) with at most 16 rows of A, as when a token is decoded. The time is that of reading B once, so
// a block takes 8 rows of B, which its warps share out along k in turns, 256 bytes of each row at a time, and tensor cores do the products as they come: a lane's 16
// bytes are b of several mma as they are, since any order of k does when A is read in the same one. What a warp sums, and the order
// of the warps, depend on k alone: a row has the same bits in any batch of up to 16.
//
// A launch has up to three products of the same rows, since a small one alone does not keep the card's memory busy, and may finish what is
// made of them; see hold.go.

#include "mma.cuh"
#include "product.cuh"
#include "unary.cuh"

constexpr int WARPS = 8;

// Few is one product.
struct Few {
	const u16 *b; // [n, k]
	i64 ldb, ldc;
	Floats c, bias; // bias optional
	Floats x, y;    // y, if there, becomes x + c; in a launch of pairs act(c)·(c of the second)
	int n, first;   // columns; block
	int acc, unused;
};

struct FewArgs {
	const u16 *a; // [m, k]
	i64 lda;
	int m, k, count, act;
	Few few[3];
};

// gathered is what the warps have for row threadIdx.x/8 and column threadIdx.x%8 of the block.
__device__ __forceinline__ float gathered(float (*parts)[16][8], const float c[4]) {
	int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, row = threadIdx.x / 8 % 16;
#pragma unroll
	for (int e = 0; e < 4; e++) parts[warp][lane / 4 + e / 2 * 8][lane % 4 * 2 + e % 2] = c[e];
	__syncthreads();
	float v = 0.0f;
#pragma unroll
	for (int w = 0; w < WARPS; w++) v += parts[w][row][threadIdx.x % 8];
	return v;
}

// finish writes an element of C and returns it as it is there.
__device__ __forceinline__ float finish(const Floats &c, i64 at, const Floats &bias, int column, int acc, float v) {
	if (bias.p) v += load(bias, column);
	if (acc) v += load(c, at);
	if (c.half) v = widen(narrow(v));
	store(c, at, v);
	return v;
}

// row_part is 8 numbers of row a, or nothing.
__device__ __forceinline__ uint4 row_part(const u16 *a, bool there) {
	uint4 none = {0, 0, 0, 0};
	return there ? *(const uint4 *)a : none;
}

// multiply adds the products of 8 numbers of each row: those of B are w.
__device__ __forceinline__ void multiply(float c[4], uint4 low, uint4 high, uint4 w) {
	u32 a[4] = {low.x, high.x, low.y, high.y}, b[2] = {w.x, w.y};
	mma(c, a, b);
	u32 a2[4] = {low.z, high.z, low.w, high.w}, b2[2] = {w.z, w.w};
	mma(c, a2, b2);
}

// few_end adds up what the warps have and finishes it.
template <int N> __device__ __forceinline__ void few_end(const FewArgs &a, const Few *few, int block, float (*parts)[WARPS][16][8], const float (*c)[4]) {
	float v[N];
#pragma unroll
	for (int n = 0; n < N; n++) v[n] = gathered(parts[n], c[n]);
	int m = threadIdx.x / 8, to = block * 8 + threadIdx.x % 8;
	if (m >= a.m || to >= few->n) return;
#pragma unroll
	for (int n = 0; n < N; n++) v[n] = finish(few[n].c, m * few[n].ldc + to, few[n].bias, to, few[n].acc, v[n]);
	i64 at = (i64)m * few->n + to;
	if (N > 1)
		store(few->y, at, unary_of(a.act, v[0]) * v[N - 1]);
	else if (few->y.p)
		store(few->y, at, load(few->x, at) + v[0]);
}

// few_rows has AHEAD reads of each of N matrices under way before it computes. ROWS are 8 or 16.
template <int N, int ROWS, int AHEAD> __device__ __forceinline__ void few_rows(const FewArgs &a) {
	constexpr int STEP = 32, OWN = 4 * STEP; // numbers of a row that a warp reads at once, and that it has side by side
	__shared__ float parts[N][WARPS][16][8];
	int block = blockIdx.x, which = N > 1 ? 0 : (a.count > 1 && block >= a.few[1].first) + (a.count > 2 && block >= a.few[2].first);
	const Few *few = a.few + which;
	block -= few->first;
	int lane = threadIdx.x % WARP, g = lane / 4, column = block * 8 + g, start = threadIdx.x / WARP * OWN + lane % 4 * 8;
	bool there = column < few->n;
	const u16 *row[N];
#pragma unroll
	for (int n = 0; n < N; n++) row[n] = few[n].b + (there ? column : 0) * few[n].ldb;
	uint4 none = {0, 0, 0, 0}, w[AHEAD][N];
	float c[N][4] = {};
	const u16 *x = a.a + g * a.lda;
	for (int k0 = start; k0 - start < a.k; k0 += AHEAD / 4 * WARPS * OWN) {
		uint4 low[AHEAD], high[AHEAD];
		auto place = [&](int i) { return k0 + i / 4 * WARPS * OWN + i % 4 * STEP; };
#pragma unroll
		for (int i = 0; i < AHEAD; i++)
#pragma unroll
			for (int n = 0; n < N; n++) w[i][n] = there && place(i) < a.k ? read_here(row[n] + place(i)) : none;
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			int k = place(i);
			low[i] = row_part(x + k, g < a.m && k < a.k);
			high[i] = row_part(x + 8 * a.lda + k, ROWS > 8 && g + 8 < a.m && k < a.k);
		}
		__syncwarp(); // else the compiler puts reads behind the products that they should be ahead of
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
#pragma unroll
			for (int n = 0; n < N; n++) multiply(c[n], low[i], high[i], w[i][n]);
		}
	}
	few_end<N>(a, few, block, parts, c);
}

KERNEL(few_rows_8, 256, FewArgs) { few_rows<1, 8, 8>(a); }
KERNEL(few_rows_16, 256, FewArgs) { few_rows<1, 16, 4>(a); }
KERNEL(few_pairs_8, 256, FewArgs) { few_rows<2, 8, 4>(a); }
KERNEL(few_pairs_16, 256, FewArgs) { few_rows<2, 16, 4>(a); }

// few_rows_nf4 has 32 numbers of B in a lane's 16 bytes, half a block of 64; k is a multiple of 64.
KERNEL(few_rows_nf4, 256, ProductArgs) {
	constexpr int STEP = 128, AHEAD = 2;
	__shared__ float table[16], parts[WARPS][16][8];
	if (threadIdx.x < 16) table[threadIdx.x] = a.nf4[threadIdx.x];
	__syncthreads();
	int lane = threadIdx.x % WARP, g = lane / 4, column = blockIdx.x * 8 + g;
	const u16 *x = (const u16 *)a.a.p + g * a.lda;
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
				multiply(c, row_part(x + k, g < a.m && k < a.k), row_part(x + 8 * a.lda + k, g + 8 < a.m && k < a.k), w);
			}
		}
	}
	float v = gathered(parts, c);
	int m = threadIdx.x / 8, to = blockIdx.x * 8 + threadIdx.x % 8;
	if (m < a.m && to < a.n) finish(a.c, m * a.ldc + to, a.bias, to, a.acc, v);
}
