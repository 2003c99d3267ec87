// Products of a few rows: C (+)= A·Bᵀ (+ bias) with at most 16 rows of A, as when a token is decoded. The time is that of reading B once, so
// a block takes 8 rows of B, which its warps share out along k in turns, 256 bytes of each row at a time, and tensor cores do the products as they come: a lane's 16
// bytes are b of several mma as they are, since any order of k does when A is read in the same one.
//
// Memory gives most when an instruction reads whole lines, not 64 bytes of each of the 8 rows that are the columns of b. So a row has SPLIT columns
// of b side by side, each for another part of k, and the rows of a are the same parts of SPLIT times fewer rows of A: where a column meets the rows of
// its own part, c has a sum of that part; the rest of c is not used. Lanes that share a row of B then read SPLIT of them, one after the other, each
// with a c of its own.
//
// What a warp sums, and the order of parts and warps, depend on k alone: a row has the same bits in any batch of up to 16.
//
// A launch has up to three products of the same rows, since a small one alone does not keep the card's memory busy, and may finish what is
// made of them; see hold.go.

#include "mma.cuh"
#include "product.cuh"
#include "unary.cuh"

constexpr int WARPS = 8;
constexpr int SPLIT = 2;              // parts of k that are columns of b: a load has 64·SPLIT bytes of 8/SPLIT rows
constexpr int TOGETHER = 16 / SPLIT; // rows of A in an a

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

// gathered is what the warps have for row threadIdx.x/8 and column threadIdx.x%8 of the block, in parts of k.
template <int PARTS> __device__ __forceinline__ float gathered(const float (*parts)[PARTS][16][8]) {
	float v = 0.0f;
#pragma unroll
	for (int w = 0; w < WARPS; w++)
#pragma unroll
		for (int p = 0; p < PARTS; p++) v += parts[w][p][threadIdx.x / 8 % 16][threadIdx.x % 8];
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

// row_part is 8 numbers of a row of A from k on, or nothing.
__device__ __forceinline__ uint4 row_part(const u16 *a, i64 lda, int rows, int columns, int row, int k) {
	uint4 none = {0, 0, 0, 0};
	return row < rows && k < columns ? *(const uint4 *)(a + row * lda + k) : none;
}

// multiply adds the products of 8 numbers of each row: those of B are w.
__device__ __forceinline__ void multiply(float c[4], uint4 low, uint4 high, uint4 w) {
	u32 a[4] = {low.x, high.x, low.y, high.y}, b[2] = {w.x, w.y};
	mma(c, a, b);
	u32 a2[4] = {low.z, high.z, low.w, high.w}, b2[2] = {w.z, w.w};
	mma(c, a2, b2);
}

// place_parts puts the sums of a warp where gathered finds them: column q·SPLIT + p of c is row q·SPLIT + item of the block's 8 rows of B by part p of k, of
// TOGETHER rows of A from first on.
__device__ __forceinline__ void place_parts(float (*parts)[16][8], const float c[4], int first, int item) {
	int lane = threadIdx.x % WARP;
#pragma unroll
	for (int e = 0; e < 4; e++) {
		int m = lane / 4 + e / 2 * 8, n = lane % 4 * 2 + e % 2;
		if (n % SPLIT == m / TOGETHER) parts[m / TOGETHER][first + m % TOGETHER][n / SPLIT * SPLIT + item] = c[e];
	}
}

// few_end adds up what the warps have and finishes it.
template <int N> __device__ __forceinline__ void few_end(const FewArgs &a, const Few *few, int block, const float (*parts)[WARPS][SPLIT][16][8]) {
	float v[N];
	__syncthreads();
#pragma unroll
	for (int n = 0; n < N; n++) v[n] = gathered<SPLIT>(parts[n]);
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
	constexpr int STEP = 32 * SPLIT;                  // numbers of a row that a warp reads at once
	constexpr int OWN = STEP > 128 ? STEP : 128;      // and that it has side by side
	constexpr int STEPS = AHEAD / SPLIT, GROUPS = (ROWS + TOGETHER - 1) / TOGETHER;
	__shared__ float parts[N][WARPS][SPLIT][16][8];
	int block = blockIdx.x, which = N > 1 ? 0 : (a.count > 1 && block >= a.few[1].first) + (a.count > 2 && block >= a.few[2].first);
	const Few *few = a.few + which;
	block -= few->first;
	int lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4, column = block * 8 + g / SPLIT * SPLIT, start = threadIdx.x / WARP * OWN;
	const u16 *row[N];
#pragma unroll
	for (int n = 0; n < N; n++) row[n] = few[n].b + (column < few->n ? column : 0) * few[n].ldb + lane % (4 * SPLIT) * 8;
	uint4 none = {0, 0, 0, 0}, w[STEPS][SPLIT][N];
	float c[N][GROUPS][SPLIT][4] = {};
	for (int k0 = start; k0 - start < a.k; k0 += STEPS * STEP * WARPS) {
		uint4 low[STEPS][GROUPS], high[STEPS][GROUPS];
		auto place = [&](int s) { return k0 + s * STEP / OWN * WARPS * OWN + s * STEP % OWN; };
#pragma unroll
		for (int s = 0; s < STEPS; s++)
#pragma unroll
			for (int i = 0; i < SPLIT; i++)
#pragma unroll
				for (int n = 0; n < N; n++)
					w[s][i][n] = column + i < few->n && place(s) + lane % (4 * SPLIT) * 8 < a.k ? read_here(row[n] + i * few[n].ldb + place(s)) : none;
#pragma unroll
		for (int s = 0; s < STEPS; s++)
#pragma unroll
			for (int u = 0; u < GROUPS; u++) {
				low[s][u] = row_part(a.a, a.lda, a.m, a.k, u * TOGETHER + g % TOGETHER, place(s) + (g / TOGETHER * 4 + t) * 8);
				high[s][u] = none;
				if (SPLIT > 1 || ROWS > 8) high[s][u] = row_part(a.a, a.lda, a.m, a.k, u * TOGETHER + (g + 8) % TOGETHER, place(s) + ((g + 8) / TOGETHER * 4 + t) * 8);
			}
		__syncwarp(); // else the compiler puts reads behind the products that they should be ahead of
#pragma unroll
		for (int s = 0; s < STEPS; s++)
#pragma unroll
			for (int i = 0; i < SPLIT; i++)
#pragma unroll
				for (int n = 0; n < N; n++)
#pragma unroll
					for (int u = 0; u < GROUPS; u++) multiply(c[n][u][i], low[s][u], high[s][u], w[s][i][n]);
	}
#pragma unroll
	for (int n = 0; n < N; n++)
#pragma unroll
		for (int u = 0; u < GROUPS; u++)
#pragma unroll
			for (int i = 0; i < SPLIT; i++) place_parts(parts[n][threadIdx.x / WARP], c[n][u][i], u * TOGETHER, i);
	few_end<N>(a, few, block, parts);
}

KERNEL(few_rows_8, 256, FewArgs) { few_rows<1, 8, 8>(a); }
KERNEL(few_rows_16, 256, FewArgs) { few_rows<1, 16, 4>(a); }
KERNEL(few_pairs_8, 256, FewArgs) { few_rows<2, 8, 4>(a); }
KERNEL(few_pairs_16, 256, FewArgs) { few_rows<2, 16, 4>(a); }

// few_rows_nf4 has 32 numbers of B in a lane's 16 bytes, half a block of 64; k is a multiple of 64.
KERNEL(few_rows_nf4, 256, ProductArgs) {
	constexpr int STEP = 128, AHEAD = 2;
	__shared__ float table[16], parts[WARPS][1][16][8];
	if (threadIdx.x < 16) table[threadIdx.x] = a.nf4[threadIdx.x];
	__syncthreads();
	int lane = threadIdx.x % WARP, g = lane / 4, column = blockIdx.x * 8 + g;
	const u16 *x = (const u16 *)a.a.p;
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
				multiply(c, row_part(x, a.lda, a.m, a.k, g, k), row_part(x, a.lda, a.m, a.k, g + 8, k), w);
			}
		}
	}
#pragma unroll
	for (int e = 0; e < 4; e++) parts[threadIdx.x / WARP][0][g + e / 2 * 8][lane % 4 * 2 + e % 2] = c[e];
	__syncthreads();
	float v = gathered<1>(parts);
	int m = threadIdx.x / 8, to = blockIdx.x * 8 + threadIdx.x % 8;
	if (m < a.m && to < a.n) finish(a.c, m * a.ldc + to, a.bias, to, a.acc, v);
}
