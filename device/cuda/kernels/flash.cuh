// What flash64.cu and the like are made of, which are compiled one by one. Attention as in attention.cu, on tensor cores: bf16
// operands whose heads begin on 16 bytes, sums in f32 (Dao, "FlashAttention-2", 2023). A block owns 16·M rows for each of its warps
// and walks over tiles of the other side, SEEN rows each; the next tile is on its way while one is worked on. Forward and the
// gradient of Q own queries of a head and see keys; the gradients of K and V own keys of a key/value head and see queries of
// all heads that read them, so that no two blocks add to the same place. Scores and probabilities stay in registers: what
// a product leaves in c is rounded to a of the next one.
//
// A hidden key has weight 0, which does not hide a NaN or infinity in its value from the other queries of its tile. Rows
// outside of a sequence are not read.

#include "tiles.cuh"

constexpr int WARPS = 4; // rows of warps

// scores computes c = x·yᵀ: 16·M rows of tile x from row on, by N·8 rows of tile y.
template <int D, int M, int N> __device__ __forceinline__ void scores(float c[M][N][4], const u16 *x, int row, const u16 *y) {
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int n = 0; n < N; n++) c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0.0f;
#pragma unroll
	for (int k = 0; k < D / 16; k++) {
		u32 xs[M][4];
#pragma unroll
		for (int m = 0; m < M; m++) load_matrices(xs[m], upright<D>(x, row + 16 * m, k));
#pragma unroll
		for (int n = 0; n < N; n += 2) {
			u32 ys[4];
			load_matrices(ys, sideways<D>(y, 8 * n, k));
#pragma unroll
			for (int m = 0; m < M; m++) {
				mma(c[m][n], xs[m], ys);
				mma(c[m][n + 1], xs[m], ys + 2);
			}
		}
	}
}

// add_weighted computes o += w·y: w rounded to bf16, y the N·8 rows of a tile, C·8 of its columns from column 8·from on.
template <int D, int M, int N, int C> __device__ __forceinline__ void add_weighted(float o[M][C][4], const float w[M][N][4], const u16 *y, int from) {
#pragma unroll
	for (int k = 0; k < N / 2; k++) {
		u32 ws[M][4];
#pragma unroll
		for (int m = 0; m < M; m++)
#pragma unroll
			for (int i = 0; i < 4; i++) ws[m][i] = narrow2(w[m][2 * k + i / 2][i % 2 * 2], w[m][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
		for (int c = 0; c < C; c += 2) {
			u32 ys[4];
			load_transposed(ys, upright<D>(y, 16 * k, (from + c) / 2));
#pragma unroll
			for (int m = 0; m < M; m++) {
				mma(o[m][c], ws[m], ys);
				mma(o[m][c + 1], ws[m], ys + 2);
			}
		}
	}
}

// keep puts factor·c, rounded, into rows of a tile, C·8 columns from column 8·from on. factors are those of rows g and g+8 of each m.
template <int D, int M, int C> __device__ __forceinline__ void keep(u16 *tile, int row, int from, const float c[M][C][4], const float factors[M][2]) {
	int lane = threadIdx.x % WARP;
	__syncwarp(); // its other threads may still read what a warp's rows had before
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int n = 0; n < C; n++)
#pragma unroll
			for (int h = 0; h < 2; h++)
				*(u32 *)(tile + at<D>(row + 16 * m + 8 * h + lane / 4, from + n) + lane % 4 * 2) =
				    narrow2(c[m][n][2 * h] * factors[m][h], c[m][n][2 * h + 1] * factors[m][h]);
}

// write_rows copies the first count rows of a tile to memory.
template <int D, int ROWS, int THREADS> __device__ __forceinline__ void write_rows(u16 *to, i64 stride, int d, int count, const u16 *tile) {
	for (int e = threadIdx.x; e < ROWS * (D / 8); e += THREADS) {
		int r = e / (D / 8), c = e % (D / 8);
		if (r < count && c * 8 < d) *(uint4 *)(to + r * stride + c * 8) = *(const uint4 *)(tile + at<D>(r, c));
	}
}

// each calls f with the place of every number of a c of M by N tiles.
template <int M, int N, class F> __device__ __forceinline__ void each(F f) {
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int n = 0; n < N; n++)
#pragma unroll
			for (int e = 0; e < 4; e++) f(m, n, e);
}

// weigh makes probabilities of the products s, of those that are seen where some are hidden. o and sum, of what came before, are
// scaled down when there is a larger score.
template <int M, int N, int C, class Seen>
__device__ __forceinline__ void weigh(const AttentionArgs &a, float s[M][N][4], float most[M][2], float sum[M][2], float o[M][C][4], bool some_hidden, Seen seen) {
	// scores in units of ln 2; whether there is a cap or a mask is asked once for all
	if (a.cap > 0.0f) {
		float inner = a.scale / a.cap, outer = a.cap * LOG2E;
		each<M, N>([&](int m, int n, int e) { s[m][n][e] = outer * tanhf(inner * s[m][n][e]); });
	} else {
		float scale = a.scale * LOG2E;
		each<M, N>([&](int m, int n, int e) { s[m][n][e] *= scale; });
	}
	if (some_hidden)
		each<M, N>([&](int m, int n, int e) {
			if (!seen(m, n, e)) s[m][n][e] = -INF;
		});
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int h = 0; h < 2; h++) {
			float top = most[m][h];
#pragma unroll
			for (int n = 0; n < N; n++) top = max_nan(s[m][n][2 * h + 1], max_nan(s[m][n][2 * h], top));
			top = quad_max(top);
			float base = top == -INF ? 0.0f : top, old = exp2_fast(most[m][h] - base), part = 0.0f;
			most[m][h] = top;
#pragma unroll
			for (int n = 0; n < N; n++)
#pragma unroll
				for (int e = 2 * h; e < 2 * h + 2; e++) part += s[m][n][e] = exp2_fast(s[m][n][e] - base);
			sum[m][h] = sum[m][h] * old + part;
#pragma unroll
			for (int c = 0; c < C; c++) o[m][c][2 * h] *= old, o[m][c][2 * h + 1] *= old;
		}
}

template <int D, int M, int SEEN> __device__ __forceinline__ void flash_forward(const AttentionArgs &a) {
	constexpr int OWN = 16 * M * WARPS, THREADS = WARP * WARPS, N = SEEN / 8, C = D / 8;
	DYNAMIC_SHARED(u16, shared); // queries, then two times keys and values
	Tile t = a.tiles[blockIdx.y];
	int head = blockIdx.x, kv = head / (a.heads / a.kv_heads), lane = threadIdx.x % WARP, mine = threadIdx.x / WARP * 16 * M;
	i64 q_stride = a.ldq, k_stride = a.ldkv, q_at = (t.q + t.first) * q_stride + head * a.d;
	i64 o_stride = (i64)a.heads * a.d, o_at = (t.q + t.first) * o_stride + head * a.d;
	i64 kv_at = t.k * k_stride + kv * a.d;
	u16 *qs = shared, *stages = qs + OWN * D;
	int lo, hi, odd = 0;
	keys_of<OWN, SEEN>(a, t, lo, hi);
	auto fetch_seen = [&](int j0) {
		u16 *to = stages + odd * 2 * SEEN * D;
		fetch<D, SEEN, THREADS>(to, bf16(a.k) + kv_at + j0 * k_stride, k_stride, a.d, t.k_len - j0);
		fetch<D, SEEN, THREADS>(to + SEEN * D, bf16(a.v) + kv_at + j0 * k_stride, k_stride, a.d, t.k_len - j0);
	};
	fetch<D, OWN, THREADS>(qs, bf16(a.q) + q_at, q_stride, a.d, t.q_len - t.first);
	fetch_seen(lo);
	float o[M][C][4], s[M][N][4], most[M][2], sum[M][2];
#pragma unroll
	for (int m = 0; m < M; m++) {
		most[m][0] = most[m][1] = -INF, sum[m][0] = sum[m][1] = 0.0f;
#pragma unroll
		for (int c = 0; c < C; c++) o[m][c][0] = o[m][c][1] = o[m][c][2] = o[m][c][3] = 0.0f;
	}
	for (int j0 = lo; j0 < hi; j0 += SEEN) {
		const u16 *ks = stages + odd * 2 * SEEN * D, *vs = ks + SEEN * D;
		odd ^= 1;
		wait_copies();
		__syncthreads(); // this tile is here, and the last one has been read
		if (j0 + SEEN < hi) fetch_seen(j0 + SEEN);
		scores<D, M, N>(s, qs, mine, ks);
		weigh<M, N, C>(a, s, most, sum, o, some_hidden(a, t, t.first + mine, 16 * M, j0, SEEN),
		               [&](int m, int n, int e) { return visible(a, t, t.first + mine + 16 * m + row_of(e), j0 + 8 * n + column_of(e)); });
		add_weighted<D, M, N, C>(o, s, vs, 0);
	}
	float inverse[M][2];
#pragma unroll
	for (int m = 0; m < M; m++)
#pragma unroll
		for (int h = 0; h < 2; h++) {
			float all = quad_sum(sum[m][h]);
			int i = t.first + mine + 16 * m + 8 * h + lane / 4;
			inverse[m][h] = 1.0f / all;
			if (a.lse && lane % 4 == 0 && i < t.q_len) a.lse[(i64)(t.q + i) * a.heads + head] = most[m][h] * LN2 + logf(all);
		}
	keep<D, M, C>(qs, mine, 0, o, inverse); // a warp's queries are its own
	__syncthreads();
	write_rows<D, OWN, THREADS>(bf16(a.o) + o_at, o_stride, a.d, t.q_len - t.first, qs);
}

// slopes makes of the products s the gradient of q·k over scale, and of dp, the gradient of probabilities, these themselves.
// ROWS says that rows are queries, from i0 on, and columns keys, from j0 on; else it is the other way round. lse and delta are of
// the query of a number.
template <bool ROWS, int M, int N, class Lse, class Delta>
__device__ __forceinline__ void slopes(const AttentionArgs &a, const Tile &t, int i0, int j0, float s[M][N][4], float dp[M][N][4], Lse lse, Delta delta) {
	if (a.cap > 0.0f) {
		float inner = a.scale / a.cap, outer = a.cap * LOG2E;
		each<M, N>([&](int m, int n, int e) {
			float u = tanhf(inner * s[m][n][e]);
			s[m][n][e] = outer * u;
			dp[m][n][e] = (dp[m][n][e] - delta(m, n, e)) * (1.0f - u * u);
		});
	} else {
		float scale = a.scale * LOG2E;
		each<M, N>([&](int m, int n, int e) {
			s[m][n][e] *= scale;
			dp[m][n][e] -= delta(m, n, e);
		});
	}
	if (some_hidden(a, t, i0, ROWS ? 16 * M : 8 * N, j0, ROWS ? 8 * N : 16 * M))
		each<M, N>([&](int m, int n, int e) {
			int row = 16 * m + row_of(e), column = 8 * n + column_of(e);
			if (!(ROWS ? visible(a, t, i0 + row, j0 + column) : visible(a, t, i0 + column, j0 + row))) s[m][n][e] = -INF, dp[m][n][e] = 0.0f;
		});
	each<M, N>([&](int m, int n, int e) {
		float p = exp2_fast(s[m][n][e] - LOG2E * lse(m, n, e));
		s[m][n][e] = p * dp[m][n][e];
		dp[m][n][e] = p;
	});
}

// flash_dq also leaves delta for flash_dkv.
template <int D, int M, int SEEN> __device__ __forceinline__ void flash_dq(const AttentionArgs &a) {
	constexpr int OWN = 16 * M * WARPS, THREADS = WARP * WARPS, N = SEEN / 8, C = D / 8;
	DYNAMIC_SHARED(u16, shared); // queries, their gradients of o, then two times keys and values
	__shared__ float deltas[OWN];
	Tile t = a.tiles[blockIdx.y];
	int head = blockIdx.x, kv = head / (a.heads / a.kv_heads), lane = threadIdx.x % WARP, mine = threadIdx.x / WARP * 16 * M;
	i64 q_stride = a.ldq, k_stride = a.ldkv, q_at = (t.q + t.first) * q_stride + head * a.d;
	i64 o_stride = (i64)a.heads * a.d, o_at = (t.q + t.first) * o_stride + head * a.d;
	i64 kv_at = t.k * k_stride + kv * a.d;
	u16 *qs = shared, *gs = qs + OWN * D, *stages = gs + OWN * D;
	int lo, hi, odd = 0;
	keys_of<OWN, SEEN>(a, t, lo, hi);
	auto fetch_seen = [&](int j0) {
		u16 *to = stages + odd * 2 * SEEN * D;
		fetch<D, SEEN, THREADS>(to, bf16(a.k) + kv_at + j0 * k_stride, k_stride, a.d, t.k_len - j0);
		fetch<D, SEEN, THREADS>(to + SEEN * D, bf16(a.v) + kv_at + j0 * k_stride, k_stride, a.d, t.k_len - j0);
	};
	fetch<D, OWN, THREADS>(qs, bf16(a.q) + q_at, q_stride, a.d, t.q_len - t.first);
	fetch<D, OWN, THREADS>(gs, bf16(a.grad_o) + o_at, o_stride, a.d, t.q_len - t.first);
	fetch_seen(lo);
	for (int r = mine; r < mine + 16 * M; r++) {
		bool there = t.first + r < t.q_len;
		float part = warp_sum(there ? part_of_dot(bf16(a.o) + o_at + r * o_stride, bf16(a.grad_o) + o_at + r * o_stride, a.d) : 0.0f);
		if (lane == 0) deltas[r] = part;
		if (lane == 0 && there) a.delta[(i64)(t.q + t.first + r) * a.heads + head] = part;
	}
	__syncwarp();
	float dq[M][C][4], s[M][N][4], dp[M][N][4], lse[M][2], delta[M][2], scale[M][2];
#pragma unroll
	for (int m = 0; m < M; m++) {
#pragma unroll
		for (int h = 0; h < 2; h++) {
			int r = mine + 16 * m + 8 * h + lane / 4;
			lse[m][h] = a.lse[(i64)(t.q + min(t.first + r, t.q_len - 1)) * a.heads + head];
			delta[m][h] = deltas[r];
			scale[m][h] = a.scale;
		}
#pragma unroll
		for (int c = 0; c < C; c++) dq[m][c][0] = dq[m][c][1] = dq[m][c][2] = dq[m][c][3] = 0.0f;
	}
	for (int j0 = lo; j0 < hi; j0 += SEEN) {
		const u16 *ks = stages + odd * 2 * SEEN * D, *vs = ks + SEEN * D;
		odd ^= 1;
		wait_copies();
		__syncthreads();
		if (j0 + SEEN < hi) fetch_seen(j0 + SEEN);
		scores<D, M, N>(s, qs, mine, ks);
		scores<D, M, N>(dp, gs, mine, vs);
		slopes<true, M, N>(a, t, t.first + mine, j0, s, dp, [&](int m, int, int e) { return lse[m][e / 2]; }, [&](int m, int, int e) { return delta[m][e / 2]; });
		add_weighted<D, M, N, C>(dq, s, ks, 0);
	}
	keep<D, M, C>(qs, mine, 0, dq, scale);
	__syncthreads();
	write_rows<D, OWN, THREADS>(bf16(a.dq) + q_at, q_stride, a.d, t.q_len - t.first, qs);
}

// flash_dkv shares the columns of dK and dV out among PARTS warps, each of which has the scores of their keys.
template <int D, int M, int SEEN, int PARTS> __device__ __forceinline__ void flash_dkv(const AttentionArgs &a) {
	constexpr int OWN = 16 * M * WARPS, THREADS = WARP * WARPS * PARTS, N = SEEN / 8, C = D / 8 / PARTS;
	DYNAMIC_SHARED(u16, shared); // keys, values, then two times queries and gradients of o
	__shared__ float stats[2][2][SEEN]; // lse and delta of either tile
	Tile t = a.tiles[blockIdx.y];
	int group = a.heads / a.kv_heads, kv = blockIdx.x, warp = threadIdx.x / WARP;
	int mine = warp % WARPS * 16 * M, from = warp / WARPS * C, off = t.k_len - t.q_len;
	i64 q_stride = a.ldq, k_stride = a.ldkv, o_stride = (i64)a.heads * a.d, k_at = (t.k + t.first) * k_stride + kv * a.d;
	u16 *ks = shared, *vs = ks + OWN * D, *stages = vs + OWN * D;
	// queries that see one of the keys, in tiles; of the heads of the group one after the other
	int lo = max(0, t.first - off) / SEEN * SEEN, hi = t.q_len;
	if (a.window > 0) hi = min(hi, t.first + OWN - 1 + a.window - off);
	int tiles = max(0, (hi - lo + SEEN - 1) / SEEN), count = tiles * group;
	auto fetch_seen = [&](int n) {
		int head = kv * group + n / tiles, i0 = lo + n % tiles * SEEN;
		i64 q_at = (t.q + i0) * q_stride + head * a.d, o_at = (t.q + i0) * o_stride + head * a.d;
		u16 *to = stages + n % 2 * 2 * SEEN * D;
		fetch<D, SEEN, THREADS>(to, bf16(a.q) + q_at, q_stride, a.d, t.q_len - i0);
		fetch<D, SEEN, THREADS>(to + SEEN * D, bf16(a.grad_o) + o_at, o_stride, a.d, t.q_len - i0);
		if (threadIdx.x < 2 * SEEN) {
			int i = threadIdx.x % SEEN, what = threadIdx.x / SEEN;
			const float *all = what ? a.delta : a.lse;
			bool there = i0 + i < t.q_len;
			copy_async<4>(&stats[n % 2][what][i], there ? all + (i64)(t.q + i0 + i) * a.heads + head : all, there);
		}
	};
	fetch<D, OWN, THREADS>(ks, bf16(a.k) + k_at, k_stride, a.d, t.k_len - t.first);
	fetch<D, OWN, THREADS>(vs, bf16(a.v) + k_at, k_stride, a.d, t.k_len - t.first);
	if (count > 0) fetch_seen(0);
	float dk[M][C][4], dv[M][C][4], s[M][N][4], dp[M][N][4], scale[M][2], one[M][2];
#pragma unroll
	for (int m = 0; m < M; m++) {
		scale[m][0] = scale[m][1] = a.scale, one[m][0] = one[m][1] = 1.0f;
#pragma unroll
		for (int c = 0; c < C; c++)
#pragma unroll
			for (int e = 0; e < 4; e++) dk[m][c][e] = dv[m][c][e] = 0.0f;
	}
	for (int n = 0; n < count; n++) {
		const u16 *qs = stages + n % 2 * 2 * SEEN * D, *gs = qs + SEEN * D;
		const float *lses = stats[n % 2][0], *deltas = stats[n % 2][1];
		wait_copies();
		__syncthreads();
		if (n + 1 < count) fetch_seen(n + 1);
		int i0 = lo + n % tiles * SEEN;
		scores<D, M, N>(s, ks, mine, qs);
		scores<D, M, N>(dp, vs, mine, gs);
		slopes<false, M, N>(a, t, i0, t.first + mine, s, dp, [&](int, int n, int e) { return lses[8 * n + column_of(e)]; }, [&](int, int n, int e) { return deltas[8 * n + column_of(e)]; });
		add_weighted<D, M, N, C>(dv, dp, gs, from);
		add_weighted<D, M, N, C>(dk, s, qs, from);
	}
	wait_copies();   // of keys that no query sees
	__syncthreads(); // all have read the keys
	keep<D, M, C>(ks, mine, from, dk, scale);
	keep<D, M, C>(vs, mine, from, dv, one);
	__syncthreads();
	write_rows<D, OWN, THREADS>(bf16(a.dk) + k_at, k_stride, a.d, t.k_len - t.first, ks);
	write_rows<D, OWN, THREADS>(bf16(a.dv) + k_at, k_stride, a.d, t.k_len - t.first, vs);
}

// FLASH has the kernels for heads of up to D channels; device/cuda/flash.go has the same sizes.
#define FLASH(D, M, SEEN, DQ_M, DQ_SEEN, DKV_M, DKV_SEEN, PARTS)                                 \
	KERNEL(flash_forward_##D, 128, AttentionArgs) { flash_forward<D, M, SEEN>(a); }                 \
	KERNEL(flash_dq_##D, 128, AttentionArgs) { flash_dq<D, DQ_M, DQ_SEEN>(a); }                     \
	KERNEL(flash_dkv_##D, 128 * PARTS, AttentionArgs) { flash_dkv<D, DKV_M, DKV_SEEN, PARTS>(a); }
