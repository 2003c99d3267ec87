// Products by a matrix in NF4 that is unpacked into shared memory on its way to the tensor cores: X·Wᵀ of a linear layer and dY·W of its
// gradient. A block has 64 rows by 128 columns of C, each of its four warps a quarter, and goes through k in steps of 64. For each step a thread unpacks
// one block of 64 numbers, which share a scale: a row of the 128 by 64 of W in a step of the first form, half a row of the 64 by 128 in one
// of the second. While a step is computed, A's next part is copied and the next codes are read; there are two tiles of each.

#include "mma.cuh"
#include "product.cuh"

constexpr int STEP = 64, ROWS = 64, COLUMNS = 128, THREADS = 128, M = ROWS / 2 / 16, N = COLUMNS / 2 / 8;

// PackedBlock is what a thread unpacks.
struct PackedBlock {
	uint4 codes[2];
	float scale;
};

// read_block is block number 'block' of W, zeros where there is none.
__device__ __forceinline__ PackedBlock read_block(const ProductArgs &x, i64 block, bool there) {
	uint4 none = {0, 0, 0, 0};
	PackedBlock b = {{none, none}, 0.0f};
	if (!there) return b;
	b.codes[0] = *(const uint4 *)(x.codes + block * 32);
	b.codes[1] = *(const uint4 *)(x.codes + block * 32 + 16);
	b.scale = scale_of(x, block);
	return b;
}

// unpack_block writes it to 8 chunks of a row of a tile.
template <int D> __device__ __forceinline__ void unpack_block(u16 *tile, int row, int chunk, const PackedBlock &b, const float *table) {
#pragma unroll
	for (int h = 0; h < 2; h++) {
		u32 words[4] = {b.codes[h].x, b.codes[h].y, b.codes[h].z, b.codes[h].w};
#pragma unroll
		for (int j = 0; j < 4; j++) *(uint4 *)(tile + at<D>(row, chunk + 4 * h + j)) = unpack8(words[j], table, b.scale);
	}
}

// write2 is the end of two neighbouring numbers of C.
__device__ __forceinline__ void write2(const ProductArgs &x, int row, int column, float u, float v) {
	if (row >= x.m || column >= x.n) return;
	bool both = column + 1 < x.n;
	i64 to = row * x.ldc + column;
	if (x.bias.p) u += load(x.bias, column), v += both ? load(x.bias, column + 1) : 0.0f;
	if (x.acc) u += load(x.c, to), v += both ? load(x.c, to + 1) : 0.0f;
	if (both && x.c.half && (unsigned long long)((u16 *)x.c.p + to) % 4 == 0) {
		*(u32 *)((u16 *)x.c.p + to) = narrow2(u, v);
		return;
	}
	store(x.c, to, u);
	if (both) store(x.c, to + 1, v);
}

// nf4_product: FORWARD is X·Wᵀ, W [n, k]; else it is dY·W, W [k, n].
template <bool FORWARD> __device__ __forceinline__ void nf4_product(const ProductArgs &x) {
	constexpr int TILE_A = ROWS * STEP, TILE_B = COLUMNS * STEP;
	DYNAMIC_SHARED(u16, shared); // two times a tile of A and one of B
	__shared__ float table[16];
	if (threadIdx.x < 16) table[threadIdx.x] = x.nf4[threadIdx.x];
	__syncthreads();
	int row0 = blockIdx.x * ROWS, column0 = blockIdx.y * COLUMNS, warp = threadIdx.x / WARP;
	int my_row = warp % 2 * 16 * M, my_column = warp / 2 * 8 * N;
	int r = FORWARD ? threadIdx.x : threadIdx.x % STEP, part = FORWARD ? 0 : threadIdx.x / STEP; // of the tile of B, which this thread unpacks
	auto read = [&](int k0) {
		int row = FORWARD ? column0 + r : k0 + r, column = FORWARD ? k0 : column0 + 64 * part, columns = FORWARD ? x.k : x.n;
		return read_block(x, ((i64)row * columns + column) / 64, row < (FORWARD ? x.n : x.k) && column < columns);
	};
	auto put = [&](u16 *tile, const PackedBlock &b) {
		if (FORWARD)
			unpack_block<STEP>(tile, r, 0, b, table);
		else
			unpack_block<COLUMNS>(tile, r, 8 * part, b, table);
	};
	auto copy = [&](u16 *tile, int k0) { fetch<STEP, ROWS, THREADS>(tile, (const u16 *)x.a.p + row0 * x.lda + k0, x.lda, x.k - k0, x.m - row0); };
	float c[M][N][4];
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int n = 0; n < N; n++) c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0.0f;
	copy(shared, 0);
	put(shared + TILE_A, read(0));
	for (int k0 = 0, odd = 0; k0 < x.k; k0 += STEP, odd ^= 1) {
		const u16 *as = shared + odd * (TILE_A + TILE_B), *bs = as + TILE_A;
		u16 *next = shared + (odd ^ 1) * (TILE_A + TILE_B);
		wait_copies();
		__syncthreads(); // this step's tiles are here, and the last one's have been read
		bool more = k0 + STEP < x.k;
		if (more) copy(next, k0 + STEP);
		PackedBlock b = read_block(x, 0, false);
		if (more) b = read(k0 + STEP);
#pragma unroll
		for (int k = 0; k < STEP / 16; k++) {
			u32 xs[M][4];
#pragma unroll
			for (int m = 0; m < M; m++) load_matrices(xs[m], upright<STEP>(as, my_row + 16 * m, k));
#pragma unroll
			for (int n = 0; n < N; n += 2) {
				u32 ys[4];
				if (FORWARD)
					load_matrices(ys, sideways<STEP>(bs, my_column + 8 * n, k));
				else
					load_transposed(ys, upright<COLUMNS>(bs, 16 * k, (my_column + 8 * n) / 16));
#pragma unroll
				for (int m = 0; m < M; m++) {
					mma(c[m][n], xs[m], ys);
					mma(c[m][n + 1], xs[m], ys + 2);
				}
			}
		}
		if (more) put(next + TILE_A, b);
	}
	int lane = threadIdx.x % WARP;
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int n = 0; n < N; n++)
#pragma unroll
			for (int h = 0; h < 2; h++)
				write2(x, row0 + my_row + 16 * m + 8 * h + lane / 4, column0 + my_column + 8 * n + lane % 4 * 2, c[m][n][2 * h], c[m][n][2 * h + 1]);
}

KERNEL(nf4_forward, 128, ProductArgs) { nf4_product<true>(a); }
KERNEL(nf4_gradient, 128, ProductArgs) { nf4_product<false>(a); }
