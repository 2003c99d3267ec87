// Attention of a few queries on a long cache: the keys of a sequence are cut into parts of CHUNK, from the first key of the cache
// on, and a block takes one for all heads that read it, so that a cache is read once and by many. The block that ends last adds up
// what the parts leave, in their order; where there is one it is written at once. How a sequence is cut depends on its length alone. See flash.cuh.

#include "rotate.cuh"

// Part is a part of the keys of a sequence.
struct Part {
	int q, q_len, k, k_len; // device.Sequence
	int first;              // key
	int index, count;       // of the sequence's parts, which are neighbours in the list
};

struct DecodeArgs {
	AttentionArgs attention; // without tiles
	const Part *parts;
	float *sums;  // [parts, kv_heads, rows, d] of values weighted by exp2(score - most)
	float *stats; // [parts, kv_heads, rows, 2]: most, and the sum of weights
	int *ended;   // [parts, kv_heads, rows/16], 0 before and after: at a sequence's first part, how many of its blocks are done
	int rows;     // 16·groups of queries times heads on one key/value head
	int unused;
	RotateArgs rotate; // queries, and the sequences' own keys and values; no rows where q, k and v are as they are read
};

// place_head rotates a piece of a head of token row, 8 pairs or as many channels behind those, whose first channel is number head of x, and puts it into row
// r of a tile, and where p says if it is written: to number cached of a cache.
template <int D> __device__ __forceinline__ void place_head(const RotateArgs &a, const Rotated &p, i64 row, i64 head, int piece, u16 *tile, int r, bool written, i64 cached) {
	int i = 8 * piece, upper = a.half + i;
	bool rotary = i < a.half;
	Eight<true> eu = {}, ev;
	float u[8], v[8], c[8], s[8];
	read8(ev, p.x, head + upper, head + upper + 8);
	if (rotary) read8(eu, p.x, head + i, head + i + 8);
	bool pair = rotary && p.y.p;
	if (pair && !angles<8>(a, row, i, c, s)) return;
	widen8(ev, v);
	widen8(eu, u);
	if (pair) turn<8>(u, v, c, s);
	Floats shared = {tile, 1, 1};
	auto put = [&](int channel, const float *x) {
		int to = at<D>(r, channel / 8);
		store8<true>(shared, to, to + 8, x);
		if (written && p.y.p) store8<true>(p.y, head + channel, head + channel + 8, x);
		if (written && p.cache.p) store8<true>(p.cache, cached + channel, cached + channel + 8, x);
	};
	if (rotary) put(i, u);
	put(upper, v);
}

// place_heads rotates the block's queries into the tile qs, and the keys that are the sequence's own, with their values, into ks and vs. What is left in memory
// is written by one block: queries by that of the last part, keys and values by that of the first queries.
template <int D, int CHUNK> __device__ __forceinline__ void place_heads(const DecodeArgs &x, const Part &p, int row0, int rows, u16 *qs, u16 *ks, u16 *vs) {
	const AttentionArgs &a = x.attention;
	const RotateArgs &rotate = x.rotate;
	int group = a.heads / a.kv_heads, kv = blockIdx.y, pieces = (a.d - rotate.half) / 8, old = p.k_len - p.q_len;
	int lo = max(p.first, old), own = max(min(p.first + CHUNK, p.k_len) - lo, 0) * pieces, queries = rows * pieces;
	for (int n = threadIdx.x; n < queries + 2 * own; n += WARP * WARPS) {
		if (n < queries) {
			int r = n / pieces, row = p.q + (row0 + r) / group;
			i64 head = ((i64)row * a.heads + kv * group + (row0 + r) % group) * a.d;
			place_head<D>(rotate, rotate.parts[0], row, head, n % pieces, qs, r, p.index == p.count - 1, 0);
			continue;
		}
		bool value = n >= queries + own;
		int m = n - queries - (value ? own : 0), key = lo + m / pieces, row = p.q + key - old;
		i64 width = (i64)a.kv_heads * a.d, channel = kv * a.d;
		place_head<D>(rotate, rotate.parts[value ? 2 : 1], row, row * width + channel, m % pieces, value ? vs : ks, key - p.first, blockIdx.z == 0, (p.k + key) * width + channel);
	}
}

// add_parts adds up the parts of 16 rows of a sequence, a warp for a row. What other blocks wrote is read as volatile, past the cache of a multiprocessor.
template <int D> __device__ __forceinline__ void add_parts(const DecodeArgs &x, const Part &p, int row0, int rows) {
	constexpr int C = (D + WARP - 1) / WARP;
	const AttentionArgs &a = x.attention;
	int group = a.heads / a.kv_heads, kv = blockIdx.y, lane = threadIdx.x % WARP;
	i64 step = (i64)a.kv_heads * x.rows;
	for (int r = row0 + threadIdx.x / WARP; r < row0 + rows; r += WARPS) {
		i64 first = ((i64)((int)blockIdx.x - p.index) * a.kv_heads + kv) * x.rows + r, at = ((i64)(p.q + r / group) * a.heads + kv * group + r % group) * a.d;
		const volatile float *stats = x.stats + 2 * first, *sums = x.sums + first * a.d + lane;
		float top = -INF, total = 0.0f, v[C] = {};
		for (int i = lane; i < p.count; i += WARP) top = max_nan(stats[2 * i * step], top);
		top = warp_max(top);
		for (int i = lane; i < p.count; i += WARP) total += exp2_fast(stats[2 * i * step] - top) * stats[2 * i * step + 1];
		total = warp_sum(total);
#pragma unroll 4 // reads under way at once
		for (int i = 0; i < p.count; i++) {
			float scale = exp2_fast(stats[2 * i * step] - top);
#pragma unroll
			for (int c = 0; c < C; c++)
				if (c * WARP + lane < a.d) v[c] += scale * sums[i * step * a.d + c * WARP];
		}
#pragma unroll
		for (int c = 0; c < C; c++)
			if (c * WARP + lane < a.d) store(a.o, at + c * WARP + lane, v[c] / total);
		if (a.lse && lane == 0) a.lse[at / a.d] = top * LN2 + logf(total);
	}
}

// decode gives 16 rows, which are pairs of query and head, to a block, and a quarter of the keys to each of its warps.
template <int D, int CHUNK> __device__ __forceinline__ void decode(const DecodeArgs &x) {
	constexpr int KEYS = CHUNK / WARPS, N = KEYS / 8, C = D / 8, PITCH = D + 8;
	DYNAMIC_SHARED(u16, shared); // queries, keys, values; then what each warp has summed
	__shared__ float mosts[WARPS][16], weights[WARPS][16];
	const AttentionArgs &a = x.attention;
	Part p = x.parts[blockIdx.x];
	Tile t = {p.q, p.q_len, p.k, p.k_len, 0};
	int group = a.heads / a.kv_heads, kv = blockIdx.y, row0 = blockIdx.z * 16, rows = group * p.q_len - row0;
	int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, mine = warp * KEYS, j0 = p.first + mine;
	if (rows <= 0) return; // all of the block
	i64 k_stride = a.ldkv, kv_at = (t.k + j0) * k_stride + kv * a.d;
	u16 *qs = shared, *ks = qs + 16 * D, *vs = ks + CHUNK * D;
	auto head_at = [&](int row, i64 stride) { return (t.q + (row0 + row) / group) * stride + (kv * group + (row0 + row) % group) * a.d; };
	auto o_at = [&](int row) { return head_at(row, (i64)a.heads * a.d); };
	bool placed = x.rotate.rows > 0; // what is rotated is not copied
	for (int e = threadIdx.x; e < 16 * C; e += WARP * WARPS) {
		int r = e / C, c = e % C;
		bool there = r < rows && c * 8 < a.d;
		if (!there || !placed) copy_async<16>(qs + at<D>(r, c), there ? bf16(a.q) + head_at(r, a.ldq) + c * 8 : bf16(a.q), there);
	}
	int known = t.k_len - j0 - (placed ? t.q_len : 0); // of the rows from j0 on those that are in the cache
	auto fetch_known = [&](u16 *to, const u16 *from) {
#pragma unroll 2 // more addresses at once would not fit into registers
		for (int e = lane; e < KEYS * C; e += WARP) {
			int r = e / C, c = e % C;
			bool there = r < t.k_len - j0 && c * 8 < a.d;
			if (!there || r < known) copy_async<16>(to + at<D>(r, c), there ? from + r * k_stride + c * 8 : from, there);
		}
		commit_copies();
	};
	fetch_known(ks + mine * D, bf16(a.k) + kv_at);
	fetch_known(vs + mine * D, bf16(a.v) + kv_at);
	if (placed) place_heads<D, CHUNK>(x, p, row0, min(rows, 16), qs, ks, vs);
	float o[1][C][4], s[1][N][4], most[1][2] = {{-INF, -INF}}, sum[1][2] = {};
	each<1, C>([&](int m, int n, int e) { o[m][n][e] = 0.0f; });
	wait_copies_but<1>();
	__syncthreads(); // queries and keys are here
	scores<D, 1, N>(s, qs, 0, ks + mine * D);
	int query[2] = {(row0 + row_of(0)) / group, (row0 + row_of(2)) / group};
	weigh<1, N, C>(a, s, most, sum, o, true, [&](int, int n, int e) { return visible(a, t, query[e / 2], j0 + 8 * n + column_of(e)); });
	wait_copies_but<0>();
	__syncwarp(); // a warp's values are its own
	add_weighted<D, 1, N, C>(o, s, vs + mine * D, 0);
	__syncthreads();
	float *all = (float *)shared;
	each<1, C>([&](int, int n, int e) { all[(warp * 16 + row_of(e)) * PITCH + 8 * n + column_of(e)] = o[0][n][e]; });
	for (int h = 0; h < 2; h++) {
		float w = quad_sum(sum[0][h]);
		if (lane % 4 == 0) mosts[warp][row_of(2 * h)] = most[0][h], weights[warp][row_of(2 * h)] = w;
	}
	__syncthreads();
	for (int r = warp; r < min(rows, 16); r += WARPS) {
		float top = mosts[0][r], total = 0.0f, scale[WARPS];
#pragma unroll
		for (int w = 1; w < WARPS; w++) top = max_nan(mosts[w][r], top);
#pragma unroll
		for (int w = 0; w < WARPS; w++) {
			scale[w] = exp2_fast(mosts[w][r] - (top == -INF ? 0.0f : top));
			total += scale[w] * weights[w][r];
		}
		i64 part = ((i64)blockIdx.x * a.kv_heads + kv) * x.rows + row0 + r;
		for (int c = lane; c < a.d; c += WARP) {
			float v = 0.0f;
#pragma unroll
			for (int w = 0; w < WARPS; w++) v += scale[w] * all[(w * 16 + r) * PITCH + c];
			if (p.count == 1)
				store(a.o, o_at(r) + c, v / total);
			else
				x.sums[part * a.d + c] = v;
		}
		if (lane != 0) continue;
		if (p.count > 1)
			x.stats[2 * part] = top, x.stats[2 * part + 1] = total;
		else if (a.lse)
			a.lse[o_at(r) / a.d] = top * LN2 + logf(total);
	}
	if (p.count == 1) return;
	i64 first = ((i64)((int)blockIdx.x - p.index) * a.kv_heads + kv) * gridDim.z + blockIdx.z;
	if (ended_last(x.ended + first, p.count)) add_parts<D>(x, p, row0, min(rows, 16));
}

// DECODE has the kernels for heads of up to D channels; device/cuda/attention.go has the same sizes.
#define DECODE(D, CHUNK) \
	KERNEL(decode_##D, 128, DecodeArgs) { decode<D, CHUNK>(a); }
