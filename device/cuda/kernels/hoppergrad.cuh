// The gradients of what hopper.cuh computes: hopper_dq has a block for each tile of queries, hopper_dkv one for each tile of keys.

#include "hopper.cuh"

// weigh_rows makes probabilities of products, slope_rows the gradient of q·k over scale, in dp, of these and of their gradient; what they
// need is of rows g and g+8.
template <int N> __device__ __forceinline__ void weigh_rows(float (&s)[N][4], float scale, const float lse[2]) {
#pragma unroll
	for (int n = 0; n < N; n++)
#pragma unroll
		for (int e = 0; e < 4; e++) s[n][e] = exp2_fast(s[n][e] * scale - lse[e / 2]);
}
template <int N> __device__ __forceinline__ void slope_rows(const float (&s)[N][4], float (&dp)[N][4], const float delta[2]) {
#pragma unroll
	for (int n = 0; n < N; n++)
#pragma unroll
		for (int e = 0; e < 4; e++) dp[n][e] = s[n][e] * (dp[n][e] - delta[e / 2]);
}

// half_of is not negative, and there when half of the probabilities are.
template <int N> __device__ __forceinline__ float half_of(const float (&p)[N][4]) {
	u32 all = 0;
#pragma unroll
	for (int n = 1; n < N; n += 2)
#pragma unroll
		for (int e = 0; e < 4; e++) all |= __float_as_uint(p[n][e]);
	return __uint_as_float(all);
}

// part_of_row is what a thread has of Σ x·y over a row of D channels, which a quad shares.
template <int D> __device__ __forceinline__ float part_of_row(const u16 *x, const u16 *y) {
	float part = 0.0f;
#pragma unroll
	for (int c = 0; c < D / 32; c++) {
		uint4 u = ((const uint4 *)x)[c * 4 + threadIdx.x % 4], v = ((const uint4 *)y)[c * 4 + threadIdx.x % 4];
		u32 us[4] = {u.x, u.y, u.z, u.w}, vs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
		for (int i = 0; i < 4; i++)
			part += __uint_as_float(us[i] << 16) * __uint_as_float(vs[i] << 16) + __uint_as_float(us[i] & 0xffff0000u) * __uint_as_float(vs[i] & 0xffff0000u);
	}
	return part;
}

// stats_of_rows are the log-sum-exp, of base 2, and Σ grad_o·o of this thread's queries, and leaves the latter in a.delta; i is the warp's first query.
template <int D> __device__ __forceinline__ void stats_of_rows(const AttentionArgs &a, const Tile &t, int i, float lse[2], float delta[2]) {
	i += threadIdx.x % WARP / 4;
#pragma unroll
	for (int h = 0; h < 2; h++, i += 8) {
		i64 at = (i64)(t.q + min(i, t.q_len - 1)) * a.heads + blockIdx.x;
		lse[h] = LOG2E * a.lse[at];
		delta[h] = quad_sum(part_of_row<D>(bf16(a.o) + at * D, bf16(a.grad_o) + at * D));
		if (threadIdx.x % 4 == 0 && i < t.q_len) a.delta[at] = delta[h];
	}
}

// hopper_dq also leaves delta for hopper_dkv.
template <int D, int GROUPS, int SEEN, int TILES> __device__ __forceinline__ void hopper_dq(const AttentionArgs &a) {
	constexpr int OWN = 64 * GROUPS, N = SEEN / 8, C = D / 8;
	static_assert(TILES > 2, "the copies of a tile are announced after those of the next have begun, when a warpgroup needs the last one still");
	__shared__ Ring<TILES> ring;
	__shared__ u64 written[GROUPS];
	u16 *qs = panels(), *gs = qs + OWN * D, *ks = gs + OWN * D, *vs = ks + TILES * SEEN * D; // queries, their gradients of o, tiles of keys and of values
	Tile t = a.tiles[blockIdx.y];
	int head = blockIdx.x, group = group_of(), lo, count, seen;
	i64 q_stride = a.ldq, o_stride = (i64)a.heads * D;
	keys_in_tiles<OWN, SEEN>(a, t, group, lo, count, seen);
	if (threadIdx.x < GROUPS) meeting_begin(written + threadIdx.x, GROUP);
	begin(ring, GROUPS);
	if (group == GROUPS) {
		fewer_registers<copying(GROUPS)>();
		gather<D, OWN>(qs, bf16(a.q) + (t.q + t.first) * q_stride + head * D, q_stride, t.q_len - t.first);
		gather<D, OWN>(gs, bf16(a.grad_o) + (t.q + t.first) * o_stride + head * D, o_stride, t.q_len - t.first);
		supply_keys<D, SEEN>(a, t, ring, lo, count, ks, vs);
		return;
	}
	more_registers<multiplying(GROUPS)>();
	int first = t.first + group * 64, mine = threadIdx.x / WARP * 16; // of the warpgroup in the sequence, of the warp in the block
	u64 q_tile = operand(qs + group * 64 * 64, 0), g_tile = operand(gs + group * 64 * 64, 0), k_tile = operand(ks, SEEN * 128), v_tile = operand(vs, 0);
	float dq[C][4], s[N][4], dp[N][4], lse[2], delta[2], scale = a.scale * LOG2E;
	u32 ds[N / 2][4];
	stats_of_rows<D>(a, t, t.first + mine, lse, delta);
	Turn now = {0, 0}, last;
	auto score_tile = [&] {
		meeting_wait(&ring.full[0][now.at], now.phase);
		warpgroup_begin();
		outer<D, OWN, SEEN, N>(s, q_tile, moved(k_tile, now.at * SEEN * D * 2));
		warpgroup_commit();
		meeting_wait(&ring.full[1][now.at], now.phase);
		outer<D, OWN, SEEN, N>(dp, g_tile, moved(v_tile, now.at * SEEN * D * 2));
		warpgroup_commit();
	};
	auto add_tile = [&] {
		weighted<N / 2, C>(dq, ds, moved(k_tile, last.at * SEEN * D * 2));
		warpgroup_commit();
	};
	int from[2], to[2];
	bool hidden;
	auto weigh_tile = [&](int n) {
		settle(s);
		int i0 = t.first + mine, j0 = lo + n * SEEN;
		hidden = some_hidden(a, t, i0, 16, j0, SEEN);
		if (hidden) {
			keys_seen(a, t, i0, j0, from, to);
			hide<N>(s, from, to, -INF);
		}
		weigh_rows<N>(s, scale, lse);
		settle(s);
	};
	auto slope_tile = [&] {
		settle(dp);
		release(&ring.empty[1][now.at]);
		if (hidden) hide<N>(dp, from, to, 0.0f);
		slope_rows<N>(s, dp, delta);
		settle(dp);
	};
	auto round_tile = [&] {
		rounded<N / 2, N>(ds, dp);
		last = now;
		advance<TILES>(now);
	};
	zero(dq);
	if (seen > 0) {
		score_tile();
		warpgroup_wait<1>();
		weigh_tile(0);
		warpgroup_wait<0>();
		slope_tile();
		round_tile();
		for (int n = 1; n < seen; n++) {
			score_tile();
			add_tile();
			warpgroup_wait<2>();
			weigh_tile(n);
			warpgroup_wait<1>();
			slope_tile();
			warpgroup_wait<0>();
			settle(dq);
			settle(ds);
			release(&ring.empty[0][last.at]);
			round_tile();
		}
		warpgroup_begin();
		add_tile();
		warpgroup_wait<0>();
		settle(dq);
		release(&ring.empty[0][last.at]);
	}
	pass_over(ring, now, count - seen);
	keep<OWN, C>(qs, mine, dq, a.scale, a.scale); // its queries have been read
	group_meets(written + group);
	write_rows<D, OWN>(bf16(a.dq) + (t.q + first) * q_stride + head * D, q_stride, t.q_len - first, qs + group * 64 * 64);
}

// queries_seen are those from i0 on that see this thread's keys, as hide wants them; j is the warp's first key.
__device__ __forceinline__ void queries_seen(const AttentionArgs &a, const Tile &t, int i0, int j, int lo[2], int hi[2]) {
	int from = i0 + threadIdx.x % 4 * 2;
	j += threadIdx.x % WARP / 4;
#pragma unroll
	for (int h = 0; h < 2; h++, j += 8) {
		int begin = j - (t.k_len - t.q_len);
		lo[h] = begin - from;
		hi[h] = j < t.k_len ? min(a.window > 0 ? begin + a.window : t.q_len, t.q_len) - from : 0;
	}
}

// weigh_columns makes probabilities of products, slope_columns the gradient of q·k over scale of these and of their gradient dp.
template <int N> __device__ __forceinline__ void weigh_columns(float (&s)[N][4], float scale, const float2 *lses) {
#pragma unroll
	for (int n = 0; n < N; n++) {
		float2 l = lses[4 * n + threadIdx.x % 4];
		l.x *= LOG2E, l.y *= LOG2E;
#pragma unroll
		for (int e = 0; e < 4; e++) s[n][e] = exp2_fast(s[n][e] * scale - (e % 2 ? l.y : l.x));
	}
}
template <int N> __device__ __forceinline__ void slope_columns(const float (&s)[N][4], float (&dp)[N][4], const float2 *deltas) {
#pragma unroll
	for (int n = 0; n < N; n++) {
		float2 d = deltas[4 * n + threadIdx.x % 4];
#pragma unroll
		for (int e = 0; e < 4; e++) dp[n][e] = s[n][e] * (dp[n][e] - (e % 2 ? d.y : d.x));
	}
}

// supply_queries copies a block's keys and values, and tiles of queries from lo to end and of their gradients of o, with lse and delta, for
// the heads that read those keys.
template <int D, int OWN, int SEEN, int TILES>
__device__ __forceinline__ void supply_queries(const AttentionArgs &a, const Tile &t, Ring<TILES> &ring, int lo, int end, u16 *shared, float2 (*stats)[2][SEEN / 2]) {
	u16 *vs = shared + OWN * D, *qs = vs + OWN * D, *gs = qs + TILES * SEEN * D;
	i64 k_at = (i64)(t.k + t.first) * a.ldkv + blockIdx.x * D;
	gather<D, OWN>(shared, bf16(a.k) + k_at, a.ldkv, t.k_len - t.first);
	gather<D, OWN>(vs, bf16(a.v) + k_at, a.ldkv, t.k_len - t.first);
	int heads = a.heads / a.kv_heads, i0 = lo, head = blockIdx.x * heads, i = threadIdx.x % GROUP;
	supply(ring, (end - lo) / SEEN * heads, [&](int what, int, int at) {
		i64 stride = what ? (i64)a.heads * D : (i64)a.ldq;
		gather<D, SEEN>((what ? gs : qs) + at * SEEN * D, bf16(what ? a.grad_o : a.q) + (t.q + i0) * stride + head * D, stride, t.q_len - i0);
		if (i < SEEN) {
			const float *all = what ? a.delta : a.lse;
			bool there = i0 + i < t.q_len;
			copy_async<4>((float *)stats[at][what] + i, there ? all + (i64)(t.q + i0 + i) * a.heads + head : all, there);
		}
		if (what == 0) return;
		i0 += SEEN;
		if (i0 == end) i0 = lo, head++;
	});
}

// queries_in_tiles are the queries from lo to end, whole tiles, that see one of a block's keys, and the tiles of all heads that read these, one head after the other.
template <int OWN, int SEEN> __device__ __forceinline__ void queries_in_tiles(const AttentionArgs &a, const Tile &t, int &lo, int &end, int &count) {
	int off = t.k_len - t.q_len, hi = a.window > 0 ? min(t.q_len, t.first + OWN - 1 + a.window - off) : t.q_len;
	lo = max(0, t.first - off) / SEEN * SEEN;
	int tiles = max(0, (hi - lo + SEEN - 1) / SEEN);
	end = lo + tiles * SEEN;
	count = tiles * (a.heads / a.kv_heads);
}

template <int D, int GROUPS, int SEEN, int TILES> __device__ __forceinline__ void hopper_dkv(const AttentionArgs &a) {
	constexpr int OWN = 64 * GROUPS, N = SEEN / 8, C = D / 8;
	static_assert(TILES > 2 + (OWN - 64) / SEEN, "as in hopper_dq, when a warpgroup has passed over tiles that see only keys of the others");
	__shared__ float2 stats[TILES][2][SEEN / 2]; // lse and delta of each tile
	__shared__ Ring<TILES> ring;
	__shared__ u64 written[GROUPS];
	u16 *ks = panels(), *vs = ks + OWN * D, *qs = vs + OWN * D, *gs = qs + TILES * SEEN * D; // keys, values, tiles of queries and gradients of o
	Tile t = a.tiles[blockIdx.y];
	int kv = blockIdx.x, off = t.k_len - t.q_len, group = group_of(), lo, end, count;
	queries_in_tiles<OWN, SEEN>(a, t, lo, end, count);
	if (threadIdx.x < GROUPS) meeting_begin(written + threadIdx.x, GROUP);
	begin(ring, GROUPS);
	if (group == GROUPS) {
		fewer_registers<copying(GROUPS)>();
		if (count > 0) supply_queries<D, OWN, SEEN>(a, t, ring, lo, end, ks, stats);
		return;
	}
	more_registers<multiplying(GROUPS)>();
	int first = t.first + group * 64, mine = threadIdx.x / WARP * 16; // of the warpgroup in the sequence, of the warp in the block
	u64 k_tile = operand(ks + group * 64 * 64, 0), v_tile = operand(vs + group * 64 * 64, 0), q_tile = operand(qs, SEEN * 128), g_tile = operand(gs, SEEN * 128);
	float dk[C][4], dv[C][4], s[N][4], dp[N][4], scale = a.scale * LOG2E;
	u32 p[N / 2][4], ds[N / 2][4];
	int i0 = lo, from[2], to[2];
	bool hidden, begun = false;
	Turn now = {0, 0}, last;
	auto score_tile = [&] {
		meeting_wait(&ring.full[0][now.at], now.phase);
		warpgroup_begin();
		outer<D, OWN, SEEN, N>(s, k_tile, moved(q_tile, now.at * SEEN * D * 2));
		warpgroup_commit();
	};
	auto slope_products = [&] {
		meeting_wait(&ring.full[1][now.at], now.phase);
		warpgroup_begin();
		outer<D, OWN, SEEN, N>(dp, v_tile, moved(g_tile, now.at * SEEN * D * 2));
		warpgroup_commit();
	};
	auto add_tile = [&] {
		warpgroup_begin();
		weighted<N / 2, C>(dv, p, moved(g_tile, last.at * SEEN * D * 2));
		weighted<N / 2, C>(dk, ds, moved(q_tile, last.at * SEEN * D * 2));
		warpgroup_commit();
	};
	auto weigh_tile = [&] {
		settle(s);
		hidden = some_hidden(a, t, i0, SEEN, t.first + mine, 16);
		if (hidden) {
			queries_seen(a, t, i0, t.first + mine, from, to);
			hide<N>(s, from, to, -INF);
		}
		weigh_columns<N>(s, scale, stats[now.at][0]);
		settle(s);
	};
	auto slope_tile = [&] {
		settle(dp);
		if (hidden) hide<N>(dp, from, to, 0.0f);
		slope_columns<N>(s, dp, stats[now.at][1]);
		settle(dp);
	};
	auto added = [&] { settle(dk), settle(dv), settle(p), settle(ds); };
	zero(dk), zero(dv);
	for (int n = 0; n < count; n++, i0 = i0 + SEEN == end ? lo : i0 + SEEN) {
		if (i0 + SEEN <= first - off) { // they see no key of this warpgroup
			pass_over(ring, now, 1);
			continue;
		}
		score_tile();
		if (begun) {
			add_tile();
			warpgroup_wait<1>();
			weigh_tile();
			warpgroup_wait_after<0>(half_of<N>(s));
			added();
			release(&ring.empty[0][last.at]), release(&ring.empty[1][last.at]);
		} else {
			warpgroup_wait<0>();
			weigh_tile();
			begun = true;
		}
		slope_products(); // not before: registers for all would not do
		rounded<N / 2, N>(p, s);
		warpgroup_wait<0>();
		slope_tile();
		rounded<N / 2, N>(ds, dp);
		last = now;
		advance<TILES>(now);
	}
	if (begun) {
		add_tile();
		warpgroup_wait<0>();
		added();
	}
	keep<OWN, C>(ks, mine, dk, a.scale, a.scale); // its keys and values have been read
	keep<OWN, C>(vs, mine, dv, 1.0f, 1.0f);
	group_meets(written + group);
	i64 k_at = (i64)(t.k + first) * a.ldkv + kv * D;
	write_rows<D, OWN>(bf16(a.dk) + k_at, a.ldkv, t.k_len - first, ks + group * 64 * 64);
	write_rows<D, OWN>(bf16(a.dv) + k_at, a.ldkv, t.k_len - first, vs + group * 64 * 64);
}

#define HOPPER_DQ(D, GROUPS, SEEN, TILES) KERNEL_BLOCKS(hopper_dq_##D, GROUP * (GROUPS + 1), 1, AttentionArgs) { hopper_dq<D, GROUPS, SEEN, TILES>(a); }
#define HOPPER_DKV(D, GROUPS, SEEN, TILES) KERNEL_BLOCKS(hopper_dkv_##D, GROUP * (GROUPS + 1), 1, AttentionArgs) { hopper_dkv<D, GROUPS, SEEN, TILES>(a); }
