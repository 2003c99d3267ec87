// The gradients of what hopper.cuh computes: hopper_dq has a block for each tile of queries, hopper_dkv one for each tile of keys.

#include "hopper.cuh"

// slope makes of products s and dp the probability, in s, and the gradient of q·k over scale, in dp.
template <int N, class Lse, class Delta, class Seen>
__device__ __forceinline__ void slopes(float scale, float (&s)[N][4], float (&dp)[N][4], Lse lse, Delta delta, bool hidden, Seen seen) {
	if (hidden)
#pragma unroll
		for (int n = 0; n < N; n++)
#pragma unroll
			for (int e = 0; e < 4; e++)
				if (!seen(n, e)) s[n][e] = -INF, dp[n][e] = 0.0f;
#pragma unroll
	for (int n = 0; n < N; n++)
#pragma unroll
		for (int e = 0; e < 4; e++) {
			s[n][e] = exp2_fast(s[n][e] * scale - lse(n, e));
			dp[n][e] = s[n][e] * (dp[n][e] - delta(n, e));
		}
}

// hopper_dq also leaves delta for hopper_dkv. AHEAD is how many tiles are under way: with 2 warpgroups go on as in hopper_forward,
// with 1 they do together and a block takes less of shared memory.
template <int D, int GROUPS, int SEEN, int AHEAD> __device__ __forceinline__ void hopper_dq(const AttentionArgs &a) {
	constexpr int OWN = 64 * GROUPS, THREADS = GROUP * GROUPS, N = SEEN / 8, C = D / 8, KEYS = 2 * AHEAD + 1, VALUES = 2 * AHEAD;
	__shared__ float deltas[OWN];
	__shared__ u64 meeting;
	u16 *shared = panels(); // queries, their gradients of o, tiles of keys and of values
	Tile t = a.tiles[blockIdx.y];
	int head = blockIdx.x, kv = head / (a.heads / a.kv_heads), lane = threadIdx.x % WARP;
	int group = group_of() * 64, mine = threadIdx.x / WARP * 16;
	i64 q_stride = a.ldq, k_stride = a.ldkv, q_at = (t.q + t.first) * q_stride + head * D;
	i64 o_stride = (i64)a.heads * D, o_at = (t.q + t.first) * o_stride + head * D;
	i64 kv_at = t.k * k_stride + kv * D;
	u16 *qs = shared, *gs = qs + OWN * D, *ks = gs + OWN * D, *vs = ks + KEYS * SEEN * D;
	int lo, hi;
	keys_of<OWN, SEEN>(a, t, lo, hi);
	int count = (hi - lo + SEEN - 1) / SEEN;
	auto gather_seen = [&](int n) {
		int j0 = lo + n * SEEN;
		gather<D, SEEN, THREADS>(ks + n % KEYS * SEEN * D, bf16(a.k) + kv_at + j0 * k_stride, k_stride, t.k_len - j0);
		gather<D, SEEN, THREADS>(vs + n % VALUES * SEEN * D, bf16(a.v) + kv_at + j0 * k_stride, k_stride, t.k_len - j0);
	};
	gather<D, OWN, THREADS>(qs, bf16(a.q) + q_at, q_stride, t.q_len - t.first);
	gather<D, OWN, THREADS>(gs, bf16(a.grad_o) + o_at, o_stride, t.q_len - t.first);
	gather_seen(0);
	if (AHEAD == 2 && count > 1) gather_seen(1);
	for (int r = mine; r < mine + 16; r++) {
		bool there = t.first + r < t.q_len;
		float part = warp_sum(there ? part_of_dot(bf16(a.o) + o_at + r * o_stride, bf16(a.grad_o) + o_at + r * o_stride, D) : 0.0f);
		if (lane == 0) deltas[r] = part;
		if (lane == 0 && there) a.delta[(i64)(t.q + t.first + r) * a.heads + head] = part;
	}
	__syncwarp();
	u64 q_tile = operand(qs + group * 64, 0), g_tile = operand(gs + group * 64, 0), k_tile = operand(ks, SEEN * 128), v_tile = operand(vs, 0);
	float dq[C][4], s[N][4], dp[N][4], lse[2], delta[2], scale = a.scale * LOG2E;
	u32 ds[N / 2][4];
	zero(dq);
#pragma unroll
	for (int h = 0; h < 2; h++) {
		int r = mine + 8 * h + lane / 4;
		lse[h] = LOG2E * a.lse[(i64)(t.q + min(t.first + r, t.q_len - 1)) * a.heads + head];
		delta[h] = deltas[r];
	}
	auto score_tile = [&](int n) {
		outer<D, OWN, SEEN, N>(s, q_tile, moved(k_tile, n % KEYS * SEEN * D * 2));
		outer<D, OWN, SEEN, N>(dp, g_tile, moved(v_tile, n % VALUES * SEEN * D * 2));
		warpgroup_commit();
	};
	auto slope_tile = [&](int n) {
		int i0 = t.first + mine, j0 = lo + n * SEEN;
		settle(s);
		settle(dp);
		slopes<N>(scale, s, dp, [&](int, int e) { return lse[e / 2]; }, [&](int, int e) { return delta[e / 2]; }, some_hidden(a, t, i0, 16, j0, SEEN),
		          [&](int n, int e) { return visible(a, t, i0 + row_of(e), j0 + 8 * n + column_of(e)); });
	};
	if (threadIdx.x == 0) meeting_begin(&meeting, THREADS);
	arrived();
	auto go_on = [&](int n) {
		if (AHEAD == 2) ready(&meeting);
		if (n + AHEAD < count) gather_seen(n + AHEAD);
	};
	warpgroup_begin();
	score_tile(0);
	go_on(0);
	warpgroup_wait<0>();
	slope_tile(0);
	rounded<N / 2, N>(ds, dp);
	for (int n = 1; n < count; n++) {
		if (AHEAD == 2)
			meeting_wait(&meeting, n - 1);
		else
			arrived();
		warpgroup_begin();
		score_tile(n);
		weighted<N / 2, C>(dq, ds, moved(k_tile, (n - 1) % KEYS * SEEN * D * 2));
		warpgroup_commit();
		go_on(n);
		warpgroup_wait<1>();
		slope_tile(n);
		warpgroup_wait<0>();
		settle(dq);
		settle(ds);
		rounded<N / 2, N>(ds, dp);
	}
	warpgroup_begin();
	weighted<N / 2, C>(dq, ds, moved(k_tile, (count - 1) % KEYS * SEEN * D * 2));
	warpgroup_commit();
	warpgroup_wait<0>();
	settle(dq);
	__syncthreads(); // the queries have been read
	keep<OWN, C>(qs, mine, dq, a.scale, a.scale);
	__syncthreads();
	write_rows<D, OWN, THREADS>(bf16(a.dq) + q_at, q_stride, t.q_len - t.first, qs);
}

// Of the products of keys, which are rows, by queries, which are columns: hide sets those that a query does not see.
template <int N> __device__ __forceinline__ void hide(const AttentionArgs &a, const Tile &t, int i0, int j0, float (&x)[N][4], float with) {
	if (!some_hidden(a, t, i0, 8 * N, j0, 16)) return;
#pragma unroll
	for (int n = 0; n < N; n++)
#pragma unroll
		for (int e = 0; e < 4; e++)
			if (!visible(a, t, i0 + 8 * n + column_of(e), j0 + row_of(e))) x[n][e] = with;
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

template <int D, int GROUPS, int SEEN> __device__ __forceinline__ void hopper_dkv(const AttentionArgs &a) {
	constexpr int OWN = 64 * GROUPS, THREADS = GROUP * GROUPS, N = SEEN / 8, C = D / 8;
	__shared__ float2 stats[3][2][SEEN / 2]; // lse and delta of each tile
	u16 *shared = panels();                  // keys, values, then three tiles of queries and gradients of o
	Tile t = a.tiles[blockIdx.y];
	int heads = a.heads / a.kv_heads, kv = blockIdx.x, off = t.k_len - t.q_len;
	int group = group_of() * 64, mine = threadIdx.x / WARP * 16;
	i64 q_stride = a.ldq, k_stride = a.ldkv, o_stride = (i64)a.heads * D, k_at = (t.k + t.first) * k_stride + kv * D;
	u16 *ks = shared, *vs = ks + OWN * D, *qs = vs + OWN * D, *gs = qs + 3 * SEEN * D;
	// queries that see one of the keys, in tiles; of the heads of the group one after the other
	int lo = max(0, t.first - off) / SEEN * SEEN, hi = t.q_len;
	if (a.window > 0) hi = min(hi, t.first + OWN - 1 + a.window - off);
	int tiles = max(0, (hi - lo + SEEN - 1) / SEEN), count = tiles * heads, end = lo + tiles * SEEN;
	int i0 = lo, next_i0 = lo, next_head = kv * heads; // of the tile at work, and of the next to be copied
	auto gather_seen = [&](int n) {
		int i0 = next_i0, head = next_head;
		next_i0 += SEEN;
		if (next_i0 == end) next_i0 = lo, next_head++;
		i64 q_at = (t.q + i0) * q_stride + head * D, o_at = (t.q + i0) * o_stride + head * D;
		gather<D, SEEN, THREADS>(qs + n % 3 * SEEN * D, bf16(a.q) + q_at, q_stride, t.q_len - i0);
		gather<D, SEEN, THREADS>(gs + n % 3 * SEEN * D, bf16(a.grad_o) + o_at, o_stride, t.q_len - i0);
		if (threadIdx.x < 2 * SEEN) {
			int i = threadIdx.x % SEEN, what = threadIdx.x / SEEN;
			const float *all = what ? a.delta : a.lse;
			bool there = i0 + i < t.q_len;
			copy_async<4>((float *)stats[n % 3][what] + i, there ? all + (i64)(t.q + i0 + i) * a.heads + head : all, there);
		}
	};
	gather<D, OWN, THREADS>(ks, bf16(a.k) + k_at, k_stride, t.k_len - t.first);
	gather<D, OWN, THREADS>(vs, bf16(a.v) + k_at, k_stride, t.k_len - t.first);
	if (count > 0) gather_seen(0);
	u64 k_tile = operand(ks + group * 64, 0), v_tile = operand(vs + group * 64, 0), q_tile = operand(qs, SEEN * 128), g_tile = operand(gs, SEEN * 128);
	float dk[C][4], dv[C][4], s[N][4], dp[N][4], scale = a.scale * LOG2E;
	u32 p[N / 2][4], ds[N / 2][4];
	zero(dk);
	zero(dv);
	auto score_tile = [&](int n) {
		outer<D, OWN, SEEN, N>(s, k_tile, moved(q_tile, n % 3 * SEEN * D * 2));
		warpgroup_commit();
		outer<D, OWN, SEEN, N>(dp, v_tile, moved(g_tile, n % 3 * SEEN * D * 2));
		warpgroup_commit();
	};
	auto add_tile = [&](int n) {
		weighted<N / 2, C>(dv, p, moved(g_tile, n % 3 * SEEN * D * 2));
		weighted<N / 2, C>(dk, ds, moved(q_tile, n % 3 * SEEN * D * 2));
		warpgroup_commit();
	};
	auto weigh_tile = [&](int n) {
		settle(s);
		hide<N>(a, t, i0, t.first + mine, s, -INF);
		weigh_columns<N>(s, scale, stats[n % 3][0]);
	};
	auto slope_tile = [&](int n) {
		settle(dp);
		hide<N>(a, t, i0, t.first + mine, dp, 0.0f);
		slope_columns<N>(s, dp, stats[n % 3][1]);
	};
	auto round_tile = [&] { rounded<N / 2, N>(p, s), rounded<N / 2, N>(ds, dp); };
	if (count > 0) {
		arrived();
		warpgroup_begin();
		score_tile(0);
		if (count > 1) gather_seen(1);
		warpgroup_wait<1>();
		weigh_tile(0);
		warpgroup_wait<0>();
		slope_tile(0);
		round_tile();
		for (int n = 1; n < count; n++) {
			arrived();
			i0 = i0 + SEEN == end ? lo : i0 + SEEN;
			warpgroup_begin();
			score_tile(n);
			add_tile(n - 1);
			if (n + 1 < count) gather_seen(n + 1);
			warpgroup_wait<2>();
			weigh_tile(n);
			warpgroup_wait<1>();
			slope_tile(n);
			warpgroup_wait<0>();
			settle(dk);
			settle(dv);
			settle(p);
			settle(ds);
			round_tile();
		}
		warpgroup_begin();
		add_tile(count - 1);
		warpgroup_wait<0>();
		settle(dk);
		settle(dv);
	}
	wait_copies();   // of keys that no query sees
	__syncthreads(); // all have read the keys
	keep<OWN, C>(ks, mine, dk, a.scale, a.scale);
	keep<OWN, C>(vs, mine, dv, 1.0f, 1.0f);
	__syncthreads();
	write_rows<D, OWN, THREADS>(bf16(a.dk) + k_at, k_stride, t.k_len - t.first, ks);
	write_rows<D, OWN, THREADS>(bf16(a.dv) + k_at, k_stride, t.k_len - t.first, vs);
}

#define HOPPER_DQ(D, GROUPS, SEEN, AHEAD, BLOCKS) KERNEL_BLOCKS(hopper_dq_##D, GROUP * GROUPS, BLOCKS, AttentionArgs) { hopper_dq<D, GROUPS, SEEN, AHEAD>(a); }
#define HOPPER_DKV(D, GROUPS, SEEN, BLOCKS) KERNEL_BLOCKS(hopper_dkv_##D, GROUP * GROUPS, BLOCKS, AttentionArgs) { hopper_dkv<D, GROUPS, SEEN>(a); }
