// What hopper64.cu and hopper128.cu are made of: attention as in flash.cuh, whose blocks own and see the same, for heads of exactly
// D channels without a soft cap, by products of warpgroups (Shah et al., "FlashAttention-3", 2024). Each warpgroup of a block has
// 64 of its rows, and one more copies tiles to shared memory for them. They meet at the tiles alone: while one computes exponentials
// the tensor cores have the products of others. The products that make a tile's scores and those that use the last tile's weights are
// on their way together.
//
// What comes out is the same for the same operands, whatever the order of blocks: no two add to the same place. For that the gradient
// computes scores twice, for dQ and for dK and dV.

#include "tiles.cuh"
#include "warpgroup.cuh"

constexpr int GROUP = 128;   // threads of a warpgroup, which has 64 rows
constexpr int SPEAKS = WARP; // of so many threads one tells the warpgroup that copies that they have read a tile

// Registers of a thread that multiplies, in a block of so many warpgroups that do, and of one that copies.
__device__ constexpr int multiplying(int groups) { return groups == 2 ? 232 : groups == 3 ? 160 : 112; }
__device__ constexpr int copying(int groups) { return groups == 4 ? 24 : 32; }

// group_of is a thread's warpgroup. The shuffle tells the compiler that a warp has but one, so that operands stay in uniform registers.
__device__ __forceinline__ int group_of() { return __shfl_sync(ALL, (int)threadIdx.x / GROUP, 0); }

// panels is shared memory from a multiple of 1024 bytes on.
__device__ __forceinline__ u16 *panels() {
	DYNAMIC_SHARED(unsigned char, all);
	return (u16 *)(all + (-shared_address(all) & 1023));
}

// in_panel is where a chunk of eight columns of a row is in a tile of ROWS rows.
template <int ROWS> __device__ __forceinline__ int in_panel(int row, int chunk) { return chunk / 8 * ROWS * 64 + row * 64 + ((chunk % 8 ^ row % 8) << 3); }

// gather has a warpgroup start the copy of ROWS rows of D channels, stride apart; rows behind count become 0.
template <int D, int ROWS> __device__ __forceinline__ void gather(u16 *to, const u16 *x, i64 stride, int count) {
	constexpr int STEP = GROUP / (D / 8); // a thread's chunks are below each other
	static_assert(ROWS % STEP == 0 && STEP % 8 == 0, "and are in the same place of a row");
	int r = threadIdx.x % GROUP / (D / 8), c = threadIdx.x % (D / 8);
	const u16 *from = x + r * stride + c * 8;
	to += in_panel<ROWS>(r, c);
#pragma unroll 4 // all addresses would not fit into registers
	for (int i = 0; i < ROWS / STEP; i++, from += STEP * stride) copy_async<16>(to + i * STEP * 64, from, r + i * STEP < count);
}

// outer computes c = x·yᵀ over D columns; x and y are of panels of X and Y rows.
template <int D, int X, int Y, int N> __device__ __forceinline__ void outer(float (&c)[N][4], u64 x, u64 y) {
#pragma unroll
	for (int k = 0; k < D / 16; k++) warpgroup_mma<false>(c, moved(x, k / 4 * X * 128 + k % 4 * 32), moved(y, k / 4 * Y * 128 + k % 4 * 32), k > 0);
}

// weighted computes c += w·y, y the K·16 rows of a tile.
template <int K, int N> __device__ __forceinline__ void weighted(float (&c)[N][4], const u32 (&w)[K][4], u64 y) {
#pragma unroll
	for (int k = 0; k < K; k++) warpgroup_mma<true>(c, w[k], moved(y, k * 2048), true);
}

template <int N> __device__ __forceinline__ void zero(float (&c)[N][4]) {
#pragma unroll
	for (int n = 0; n < N; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0.0f;
}

// rounded makes rows a of sums c.
template <int K, int N> __device__ __forceinline__ void rounded(u32 (&a)[K][4], const float (&c)[N][4]) {
	static_assert(N == 2 * K, "");
#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int i = 0; i < 4; i++) a[k][i] = narrow2(c[2 * k + i / 2][i % 2 * 2], c[2 * k + i / 2][i % 2 * 2 + 1]);
}

// keep puts factors·c, rounded, into a tile from a row on, that of the warp; factors are of rows g and g+8.
template <int ROWS, int N> __device__ __forceinline__ void keep(u16 *tile, int row, const float (&c)[N][4], float f0, float f1) {
	int lane = threadIdx.x % WARP;
#pragma unroll
	for (int n = 0; n < N; n++)
#pragma unroll
		for (int h = 0; h < 2; h++) {
			float f = h ? f1 : f0;
			*(u32 *)(tile + in_panel<ROWS>(row + 8 * h + lane / 4, n) + lane % 4 * 2) = narrow2(c[n][2 * h] * f, c[n][2 * h + 1] * f);
		}
}

// write_rows has a warpgroup copy its 64 rows of a tile of ROWS to memory, the first count of them.
template <int D, int ROWS> __device__ __forceinline__ void write_rows(u16 *to, i64 stride, int count, const u16 *tile) {
	for (int e = threadIdx.x % GROUP; e < 64 * (D / 8); e += GROUP) {
		int r = e / (D / 8), c = e % (D / 8);
		if (r < count) *(uint4 *)(to + r * stride + c * 8) = *(const uint4 *)(tile + in_panel<ROWS>(r, c));
	}
}

// Ring is where one warpgroup of a block, which copies tiles, meets those that multiply: two matrices of so many tiles at a time.
template <int TILES> struct Ring {
	u64 full[2][TILES], empty[2][TILES];
};
template <int TILES> __device__ __forceinline__ void begin(Ring<TILES> &ring, int groups) {
	if (threadIdx.x == 0)
		for (int i = 0; i < 2 * TILES; i++) meeting_begin(ring.full[0] + i, GROUP), meeting_begin(ring.empty[0] + i, groups * GROUP / SPEAKS);
	__syncthreads();
}

// Turn is the place of a tile in a ring, and the phase of its meetings.
struct Turn {
	int at, phase;
};
template <int TILES> __device__ __forceinline__ void advance(Turn &t) {
	if (++t.at == TILES) t.at = 0, t.phase ^= 1;
}

// supply copies count tiles of a ring, in order: copy(what, n, at) starts the copy of a matrix of tile n.
template <int TILES, class Copy> __device__ __forceinline__ void supply(Ring<TILES> &ring, int count, Copy copy) {
	u64 *under_way = 0;
	auto announce = [&] {
		show_tensor_cores();
		meeting_arrive(under_way);
	};
	Turn t = {0, 0};
	for (int n = 0; n < count; n++, advance<TILES>(t))
#pragma unroll
		for (int what = 0; what < 2; what++) {
			meeting_wait(&ring.empty[what][t.at], t.phase ^ 1);
			copy(what, n, t.at);
			commit_copies();
			if (n + what > 0) {
				wait_copies_but<1>();
				announce();
			}
			under_way = &ring.full[what][t.at];
		}
	if (count > 0) {
		wait_copies();
		announce();
	}
}

// release says that this warp needs a matrix no more.
__device__ __forceinline__ void release(u64 *empty) {
	__syncwarp();
	if (threadIdx.x % SPEAKS == 0) meeting_arrive(empty);
}

// pass_over releases tiles that a warpgroup does not need, once they are there.
template <int TILES> __device__ __forceinline__ void pass_over(Ring<TILES> &ring, Turn &t, int count) {
	for (int n = 0; n < count; n++, advance<TILES>(t))
#pragma unroll
		for (int what = 0; what < 2; what++) {
			meeting_wait(&ring.full[what][t.at], t.phase);
			release(&ring.empty[what][t.at]);
		}
}

// group_meets waits until all of a warpgroup are there, once; the meeting is of its threads.
__device__ __forceinline__ void group_meets(u64 *meeting) {
	meeting_arrive(meeting);
	meeting_wait(meeting, 0);
}

// hide sets the numbers of x whose column, of those of this thread, is not from lo on and before hi, in rows g and g+8.
template <int N> __device__ __forceinline__ void hide(float (&x)[N][4], const int lo[2], const int hi[2], float with) {
#pragma unroll
	for (int n = 0; n < N; n++)
#pragma unroll
		for (int e = 0; e < 4; e++)
			if (8 * n + e % 2 < lo[e / 2] || 8 * n + e % 2 >= hi[e / 2]) x[n][e] = with;
}

// keys_seen are the keys from j0 on that this thread's queries see, as hide wants them; i is the warp's first query.
__device__ __forceinline__ void keys_seen(const AttentionArgs &a, const Tile &t, int i, int j0, int lo[2], int hi[2]) {
	int from = j0 + threadIdx.x % 4 * 2;
	i += threadIdx.x % WARP / 4;
#pragma unroll
	for (int h = 0; h < 2; h++, i += 8) {
		int end = t.k_len - t.q_len + i + 1;
		lo[h] = a.window > 0 ? end - a.window - from : 0;
		hi[h] = i < t.q_len ? min(end, t.k_len) - from : 0;
	}
}

// weigh makes probabilities of the products s and leaves in old what the sums so far are to be multiplied by.
template <int N> __device__ __forceinline__ void weigh(float scale, float (&s)[N][4], float most[2], float sum[2], float old[2]) {
#pragma unroll
	for (int h = 0; h < 2; h++) {
		float tops[4] = {most[h], most[h], most[h], most[h]}, parts[4] = {0.0f, 0.0f, 0.0f, 0.0f}; // four chains, for one has to wait for itself
#pragma unroll
		for (int n = 0; n < N; n++)
#pragma unroll
			for (int e = 0; e < 2; e++) tops[n % 2 * 2 + e] = max_fast(s[n][2 * h + e], tops[n % 2 * 2 + e]);
		float top = max_fast(max_fast(tops[0], tops[1]), max_fast(tops[2], tops[3]));
		top = max_fast(top, __shfl_xor_sync(ALL, top, 1));
		top = max_fast(top, __shfl_xor_sync(ALL, top, 2));
		float base = top == -INF ? 0.0f : top * scale;
		old[h] = exp2_fast(most[h] * scale - base);
		most[h] = top;
#pragma unroll
		for (int n = 0; n < N; n++)
#pragma unroll
			for (int e = 0; e < 2; e++) parts[n % 2 * 2 + e] += s[n][2 * h + e] = exp2_fast(s[n][2 * h + e] * scale - base);
		sum[h] = sum[h] * old[h] + ((parts[0] + parts[1]) + (parts[2] + parts[3]));
	}
}

// supply_keys copies count tiles of keys and values from key lo on.
template <int D, int SEEN, int TILES>
__device__ __forceinline__ void supply_keys(const AttentionArgs &a, const Tile &t, Ring<TILES> &ring, int lo, int count, u16 *ks, u16 *vs) {
	i64 stride = a.ldkv, kv_at = t.k * stride + blockIdx.x / (a.heads / a.kv_heads) * D;
	supply(ring, count, [&](int what, int n, int at) {
		int j0 = lo + n * SEEN;
		gather<D, SEEN>((what ? vs : ks) + at * SEEN * D, bf16(what ? a.v : a.k) + kv_at + j0 * stride, stride, t.k_len - j0);
	});
}

// keys_in_tiles are the first key that a block's queries see, the tiles of keys from there on, and those that a warpgroup's 64 queries see.
template <int OWN, int SEEN> __device__ __forceinline__ void keys_in_tiles(const AttentionArgs &a, const Tile &t, int group, int &lo, int &count, int &seen) {
	int hi, first = t.first + group * 64;
	keys_of<OWN, SEEN>(a, t, lo, hi);
	count = (max(0, hi - lo) + SEEN - 1) / SEEN;
	seen = first < t.q_len ? (max(0, t.k_len - t.q_len + min(first + 64, t.q_len) - lo) + SEEN - 1) / SEEN : 0;
}

template <int D, int GROUPS, int SEEN, int TILES> __device__ __forceinline__ void hopper_forward(const AttentionArgs &a) {
	constexpr int OWN = 64 * GROUPS, N = SEEN / 8, C = D / 8;
	__shared__ Ring<TILES> ring;
	__shared__ u64 written[GROUPS];
	u16 *qs = panels(), *ks = qs + OWN * D, *vs = ks + TILES * SEEN * D; // queries, tiles of keys and of values
	Tile t = a.tiles[blockIdx.y];
	int head = blockIdx.x, lane = threadIdx.x % WARP, group = group_of(), lo, count, seen;
	i64 q_stride = a.ldq, o_stride = (i64)a.heads * D;
	keys_in_tiles<OWN, SEEN>(a, t, group, lo, count, seen);
	if (threadIdx.x < GROUPS) meeting_begin(written + threadIdx.x, GROUP);
	begin(ring, GROUPS);
	if (group == GROUPS) {
		fewer_registers<copying(GROUPS)>();
		gather<D, OWN>(qs, bf16(a.q) + (t.q + t.first) * q_stride + head * D, q_stride, t.q_len - t.first);
		supply_keys<D, SEEN>(a, t, ring, lo, count, ks, vs);
		return;
	}
	more_registers<multiplying(GROUPS)>();
	int first = t.first + group * 64, mine = threadIdx.x / WARP * 16; // of the warpgroup in the sequence, of the warp in the block
	u64 q_tile = operand(qs + group * 64 * 64, 0), k_tile = operand(ks, 0), v_tile = operand(vs, SEEN * 128);
	float o[C][4], s[N][4], most[2] = {-INF, -INF}, sum[2] = {0.0f, 0.0f}, old[2], scale = a.scale * LOG2E;
	u32 p[N / 2][4];
	Turn now = {0, 0}, last;
	auto score_tile = [&] {
		meeting_wait(&ring.full[0][now.at], now.phase);
		warpgroup_begin();
		outer<D, OWN, SEEN, N>(s, q_tile, moved(k_tile, now.at * SEEN * D * 2));
		warpgroup_commit();
	};
	auto add_tile = [&] {
		meeting_wait(&ring.full[1][last.at], last.phase);
		warpgroup_begin();
		weighted<N / 2, C>(o, p, moved(v_tile, last.at * SEEN * D * 2));
		warpgroup_commit();
	};
	auto weigh_tile = [&](int n) {
		settle(s);
		release(&ring.empty[0][now.at]);
		int i0 = t.first + mine, j0 = lo + n * SEEN, from[2], to[2];
		if (some_hidden(a, t, i0, 16, j0, SEEN)) {
			keys_seen(a, t, i0, j0, from, to);
			hide<N>(s, from, to, -INF);
		}
		weigh<N>(scale, s, most, sum, old);
	};
	auto round_tile = [&] {
		rounded<N / 2, N>(p, s);
		last = now;
		advance<TILES>(now);
	};
	zero(o);
	if (seen > 0) {
		score_tile();
		warpgroup_wait<0>();
		weigh_tile(0);
		round_tile();
		// The products of a tile's keys and of the last tile's values are on their way together; the weights of the one are computed
		// while the other is.
		for (int n = 1; n < seen; n++) {
			score_tile();
			add_tile();
			warpgroup_wait<1>();
			weigh_tile(n);
			warpgroup_wait<0>();
			settle(o);
			settle(p);
			release(&ring.empty[1][last.at]);
			if (__any_sync(ALL, old[0] != 1.0f || old[1] != 1.0f)) // seldom
#pragma unroll
				for (int c = 0; c < C; c++) o[c][0] *= old[0], o[c][1] *= old[0], o[c][2] *= old[1], o[c][3] *= old[1];
			round_tile();
		}
		add_tile();
		warpgroup_wait<0>();
		settle(o);
		release(&ring.empty[1][last.at]);
	}
	pass_over(ring, now, count - seen);
	float inverse[2];
#pragma unroll
	for (int h = 0; h < 2; h++) {
		float all = quad_sum(sum[h]);
		int i = t.first + mine + 8 * h + lane / 4;
		inverse[h] = 1.0f / all;
		if (a.lse && lane % 4 == 0 && i < t.q_len) a.lse[(i64)(t.q + i) * a.heads + head] = most[h] * a.scale + logf(all);
	}
	keep<OWN, C>(qs, mine, o, inverse[0], inverse[1]); // its queries have been read
	group_meets(written + group);
	write_rows<D, OWN>(bf16(a.o) + (t.q + first) * o_stride + head * D, o_stride, t.q_len - first, qs + group * 64 * 64);
}

// HOPPER_FORWARD makes the kernel for heads of D channels; device/cuda/flash.go has the same sizes.
#define HOPPER_FORWARD(D, GROUPS, SEEN, TILES) KERNEL_BLOCKS(hopper_forward_##D, GROUP * (GROUPS + 1), 1, AttentionArgs) { hopper_forward<D, GROUPS, SEEN, TILES>(a); }
