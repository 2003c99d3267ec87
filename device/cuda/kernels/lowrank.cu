// Both gradients that a low-rank update has of its output's, dY: dU = scale·dY·B and dB (+)= dYᵀ·U, in one pass over dY, whose reading is what takes
// the time. A block has 256 columns of dY and goes down a.chunk of its rows, 64 at a time, which lie in shared memory: the tensor cores multiply them as they
// lie, and turned. What blocks have of a sum is added up by a second kernel, in an order that the sizes fix.

#include "mma.cuh"

constexpr int COLUMNS = 256, ROWS = 64, THREADS = 128, RANK = 32; // of a tile; U and B lie in rows of RANK numbers, of which 16 are used
constexpr int TILE = ROWS * COLUMNS, STAGE = TILE + ROWS * RANK;

struct LowRankArgs {
	const u16 *dy, *u, *b;       // [t, w], [t, r], [w, r]
	u16 *du;                     // [t, r]
	float *db;                   // [w, r]
	float *du_parts, *db_parts;  // [⌈w/256⌉, t, r], [⌈t/chunk⌉, r, w]
	int t, w, r, chunk;
	float scale;
	int acc;
};

KERNEL(low_rank_parts, 128, LowRankArgs) {
	DYNAMIC_SHARED(u16, shared); // B's rows, and two times a tile of dY with its rows of U
	const u16 *bs = shared;
	u16 *stages = shared + COLUMNS * RANK;
	int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, g = lane / 4, q = lane % 4;
	int column0 = blockIdx.x * COLUMNS, row0 = blockIdx.y * a.chunk, end = min(row0 + a.chunk, a.t);
	auto copy = [&](u16 *to, int row) {
		fetch<COLUMNS, ROWS, THREADS>(to, a.dy + (i64)row * a.w + column0, a.w, a.w - column0, a.t - row);
		fetch<RANK, ROWS, THREADS>(to + TILE, a.u + (i64)row * a.r, a.r, a.r, a.t - row);
	};
	float db[8][4]; // of 16 numbers in each of the warp's 64 columns
#pragma unroll
	for (int n = 0; n < 8; n++) db[n][0] = db[n][1] = db[n][2] = db[n][3] = 0.0f;
	fetch<RANK, COLUMNS, THREADS>(shared, a.b + (i64)column0 * a.r, a.r, a.r, a.w - column0);
	copy(stages, row0);
	for (int row = row0, odd = 0; row < end; row += ROWS, odd ^= 1) {
		const u16 *dys = stages + odd * STAGE, *us = dys + TILE;
		wait_copies();
		__syncthreads(); // this tile is here, and the last one has been read
		if (row + ROWS < end) copy(stages + (odd ^ 1) * STAGE, row + ROWS);
#pragma unroll
		for (int k = 0; k < ROWS / 16; k++) {
			u32 ut[4];
			load_transposed(ut, us + at<RANK>(16 * k + (lane & 7) + (lane >> 4 << 3), lane >> 3 & 1));
#pragma unroll
			for (int n = 0; n < 8; n += 2) {
				u32 y[4];
				load_transposed(y, upright<COLUMNS>(dys, 16 * k, 4 * warp + n / 2));
				mma(db[n], ut, y);
				mma(db[n + 1], ut, y + 2);
			}
		}
		float du[2][4];
#pragma unroll
		for (int n = 0; n < 2; n++) du[n][0] = du[n][1] = du[n][2] = du[n][3] = 0.0f;
#pragma unroll 4
		for (int k = 0; k < COLUMNS / 16; k++) {
			u32 y[4], b[4];
			load_matrices(y, upright<COLUMNS>(dys, 16 * warp, k));
			load_transposed(b, upright<RANK>(bs, 16 * k, 0));
			mma(du[0], y, b);
			mma(du[1], y, b + 2);
		}
#pragma unroll
		for (int e = 0; e < 8; e += 2) { // two neighbours each
			int to = row + 16 * warp + g + e / 2 % 2 * 8, r = e / 4 * 8 + 2 * q;
			if (to >= a.t || r >= a.r) continue;
			float2 v = {du[e / 4][e % 4], du[e / 4][e % 4 + 1]};
			*(float2 *)(a.du_parts + ((i64)blockIdx.x * a.t + to) * a.r + r) = v;
		}
	}
#pragma unroll
	for (int n = 0; n < 8; n++)
#pragma unroll
		for (int h = 0; h < 2; h++) {
			int r = g + 8 * h, column = column0 + 64 * warp + 8 * n + 2 * q;
			if (r >= a.r || column >= a.w) continue;
			float2 v = {db[n][2 * h], db[n][2 * h + 1]};
			*(float2 *)(a.db_parts + ((i64)blockIdx.y * a.r + r) * a.w + column) = v;
		}
}

// low_rank_sums adds the parts up, of dU first.
KERNEL(low_rank_sums, 256, LowRankArgs) {
	i64 i = (i64)blockIdx.x * 256 + threadIdx.x, size = (i64)a.t * a.r;
	bool of_du = i < size;
	if (!of_du) i -= size, size = (i64)a.w * a.r;
	if (i >= size) return;
	const float *parts = of_du ? a.du_parts : a.db_parts;
	int count = of_du ? (a.w + COLUMNS - 1) / COLUMNS : (a.t + a.chunk - 1) / a.chunk;
	float sum = 0.0f;
#pragma unroll 8
	for (int p = 0; p < count; p++) sum += parts[p * size + i];
	if (of_du) {
		a.du[i] = narrow(sum * a.scale);
		return;
	}
	float *to = a.db + i % a.w * a.r + i / a.w;
	*to = a.acc ? *to + sum : sum;
}
