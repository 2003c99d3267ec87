// What hopper64.cu and hopper128.cu are made of: attention as in flash.cuh, whose blocks own and see the same, for heads of exactly
// D channels without a soft cap, by products of warpgroups (Shah et al., "FlashAttention-3", 2024). Each warpgroup of a block has
// 64 of its rows. The products that make a tile's scores and those that use the last tile's weights are on their way together, and
// a warpgroup computes the weights of the one while the others go on, so tensor cores seldom wait for exponentials.
//
// What comes out is the same for the same operands, whatever the order of blocks: no two add to the same place. For that the gradient
// computes scores twice, for dQ and for dK and dV.

#include "tiles.cuh"
#include "warpgroup.cuh"

#ifndef HONE_EMULATED
// KERNEL_BLOCKS takes no more registers than let so many blocks run at a time on a multiprocessor.
#define KERNEL_BLOCKS(name, threads, blocks, args) extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ args a)
#endif

constexpr int GROUP = 128; // threads of a warpgroup, which has 64 rows

// group_of is a thread's warpgroup. The shuffle tells the compiler that a warp has but one, so that operands stay in uniform registers.
__device__ __forceinline__ int group_of() { return __shfl_sync(ALL, (int)threadIdx.x / GROUP, 0); }

// panels is shared memory from a multiple of 1024 bytes on.
__device__ __forceinline__ u16 *panels() {
	DYNAMIC_SHARED(unsigned char, all);
	return (u16 *)(all + (-shared_address(all) & 1023));
}

// in_panel is where a chunk of eight columns of a row is in a tile of ROWS rows.
template <int ROWS> __device__ __forceinline__ int in_panel(int row, int chunk) { return chunk / 8 * ROWS * 64 + row * 64 + ((chunk % 8 ^ row % 8) << 3); }

// gather starts the copy of ROWS rows of D channels, stride apart; rows behind count become 0.
template <int D, int ROWS, int THREADS> __device__ __forceinline__ void gather(u16 *to, const u16 *x, i64 stride, int count) {
	static_assert(THREADS % (D / 8) == 0, "a thread's chunks are below each other");
	constexpr int STEP = THREADS / (D / 8);
	int r0 = threadIdx.x / (D / 8), c = threadIdx.x % (D / 8);
	const u16 *from = x + r0 * stride + c * 8;
#pragma unroll
	for (int i = 0; i < (ROWS + STEP - 1) / STEP; i++) {
		int r = r0 + i * STEP;
		bool there = r < count;
		if (ROWS % STEP == 0 || r < ROWS) copy_async<16>(to + in_panel<ROWS>(r, c), there ? from + i * STEP * stride : x, there);
	}
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
		for (int i = 0; i < 4; i++) a[k][i] = pack2(c[2 * k + i / 2][i % 2 * 2], c[2 * k + i / 2][i % 2 * 2 + 1]);
}

// keep puts factors·c, rounded, into a tile from a row on, that of the warp; factors are of rows g and g+8.
template <int ROWS, int N> __device__ __forceinline__ void keep(u16 *tile, int row, const float (&c)[N][4], float f0, float f1) {
	int lane = threadIdx.x % WARP;
#pragma unroll
	for (int n = 0; n < N; n++)
#pragma unroll
		for (int h = 0; h < 2; h++) {
			float f = h ? f1 : f0;
			*(u32 *)(tile + in_panel<ROWS>(row + 8 * h + lane / 4, n) + lane % 4 * 2) = pack2(c[n][2 * h] * f, c[n][2 * h + 1] * f);
		}
}

// write_rows copies the first count rows of a tile to memory.
template <int D, int ROWS, int THREADS> __device__ __forceinline__ void write_rows(u16 *to, i64 stride, int count, const u16 *tile) {
	for (int e = threadIdx.x; e < ROWS * (D / 8); e += THREADS) {
		int r = e / (D / 8), c = e % (D / 8);
		if (r < count) *(uint4 *)(to + r * stride + c * 8) = *(const uint4 *)(tile + in_panel<ROWS>(r, c));
	}
}

// arrived waits for this thread's copies, and for those of the others; products may read them then. arrived_but lets the last groups be.
template <int GROUPS> __device__ __forceinline__ void arrived_but() {
	wait_copies_but<GROUPS>();
	show_tensor_cores();
	__syncthreads();
}
__device__ __forceinline__ void arrived() {
	wait_copies();
	show_tensor_cores();
	__syncthreads();
}

// ready says at a meeting that this thread's copies are there, and that it reads no more of what came before.
__device__ __forceinline__ void ready(u64 *meeting) {
	wait_copies();
	show_tensor_cores();
	meeting_arrive(meeting);
}

// weigh makes probabilities of the products s and leaves in old what the sums so far are to be multiplied by.
template <int N, class Seen>
__device__ __forceinline__ void weigh(float scale, float (&s)[N][4], float most[2], float sum[2], float old[2], bool hidden, Seen seen) {
	if (hidden)
#pragma unroll
		for (int n = 0; n < N; n++)
#pragma unroll
			for (int e = 0; e < 4; e++)
				if (!seen(n, e)) s[n][e] = -INF;
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

template <int D, int GROUPS, int SEEN> __device__ __forceinline__ void hopper_forward(const AttentionArgs &a) {
	constexpr int OWN = 64 * GROUPS, THREADS = GROUP * GROUPS, N = SEEN / 8, C = D / 8;
	__shared__ u64 meeting;
	u16 *shared = panels(); // queries, then four tiles of keys and four of values
	Tile t = a.tiles[blockIdx.y];
	int head = blockIdx.x, kv = head / (a.heads / a.kv_heads), lane = threadIdx.x % WARP;
	int group = group_of() * 64, mine = threadIdx.x / WARP * 16; // first rows of the warpgroup and the warp
	i64 q_stride = a.ldq, k_stride = a.ldkv, q_at = (t.q + t.first) * q_stride + head * D;
	i64 o_stride = (i64)a.heads * D, o_at = (t.q + t.first) * o_stride + head * D;
	i64 kv_at = t.k * k_stride + kv * D;
	u16 *qs = shared, *ks = qs + OWN * D, *vs = ks + 4 * SEEN * D;
	int lo, hi;
	keys_of<OWN, SEEN>(a, t, lo, hi);
	int count = (hi - lo + SEEN - 1) / SEEN;
	auto gather_seen = [&](u16 *to, const Floats &x, int n) {
		int j0 = lo + n * SEEN;
		gather<D, SEEN, THREADS>(to + n % 4 * SEEN * D, bf16(x) + kv_at + j0 * k_stride, k_stride, t.k_len - j0);
	};
	u64 q_tile = operand(qs + group * 64, 0), k_tile = operand(ks, 0), v_tile = operand(vs, SEEN * 128);
	float o[C][4], s[N][4], most[2] = {-INF, -INF}, sum[2] = {0.0f, 0.0f}, old[2], scale = a.scale * LOG2E;
	u32 p[N / 2][4];
	auto weigh_tile = [&](int n) {
		int i0 = t.first + mine, j0 = lo + n * SEEN;
		weigh<N>(scale, s, most, sum, old, some_hidden(a, t, i0, 16, j0, SEEN), [&](int n, int e) { return visible(a, t, i0 + row_of(e), j0 + 8 * n + column_of(e)); });
	};
	gather<D, OWN, THREADS>(qs, bf16(a.q) + q_at, q_stride, t.q_len - t.first);
	gather_seen(ks, a.k, 0);
	commit_copies();
	if (count > 1) gather_seen(ks, a.k, 1);
	gather_seen(vs, a.v, 0);
	commit_copies();
	zero(o);
	if (threadIdx.x == 0) meeting_begin(&meeting, THREADS);
	arrived_but<1>();
	// In tile n a thread says that its part of what the next one needs is there, and starts to copy what the one after needs, over what
	// nobody reads any more since all are at this tile: a warpgroup can be ahead of the other by one, whose products go on meanwhile.
	auto go_on = [&](int n) {
		ready(&meeting);
		if (n + 2 < count) gather_seen(ks, a.k, n + 2);
		if (n + 1 < count) gather_seen(vs, a.v, n + 1);
	};
	warpgroup_begin();
	outer<D, OWN, SEEN, N>(s, q_tile, k_tile);
	warpgroup_commit();
	go_on(0);
	warpgroup_wait<0>();
	settle(s);
	weigh_tile(0);
	rounded<N / 2, N>(p, s);
	// The products of a tile's keys and of the last tile's values are on their way together; the weights of the one are computed
	// while the other is.
	for (int n = 1; n < count; n++) {
		meeting_wait(&meeting, n - 1);
		warpgroup_begin();
		outer<D, OWN, SEEN, N>(s, q_tile, moved(k_tile, n % 4 * SEEN * D * 2));
		warpgroup_commit();
		weighted<N / 2, C>(o, p, moved(v_tile, (n - 1) % 4 * SEEN * D * 2));
		warpgroup_commit();
		go_on(n);
		warpgroup_wait<1>();
		settle(s);
		weigh_tile(n);
		warpgroup_wait<0>();
		settle(o);
		settle(p);
#pragma unroll
		for (int c = 0; c < C; c++) o[c][0] *= old[0], o[c][1] *= old[0], o[c][2] *= old[1], o[c][3] *= old[1];
		rounded<N / 2, N>(p, s);
	}
	meeting_wait(&meeting, count - 1);
	warpgroup_begin();
	weighted<N / 2, C>(o, p, moved(v_tile, (count - 1) % 4 * SEEN * D * 2));
	warpgroup_commit();
	warpgroup_wait<0>();
	settle(o);
	float inverse[2];
#pragma unroll
	for (int h = 0; h < 2; h++) {
		float all = quad_sum(sum[h]);
		int i = t.first + mine + 8 * h + lane / 4;
		inverse[h] = 1.0f / all;
		if (a.lse && lane % 4 == 0 && i < t.q_len) a.lse[(i64)(t.q + i) * a.heads + head] = most[h] * a.scale + logf(all);
	}
	keep<OWN, C>(qs, mine, o, inverse[0], inverse[1]); // its queries have been read
	__syncthreads();
	write_rows<D, OWN, THREADS>(bf16(a.o) + o_at, o_stride, t.q_len - t.first, qs);
}

// HOPPER_FORWARD makes the kernel for heads of D channels, of which so many blocks run at a time on a multiprocessor; device/cuda/hopper.go
// has the same sizes.
#define HOPPER_FORWARD(D, GROUPS, SEEN, BLOCKS) KERNEL_BLOCKS(hopper_forward_##D, GROUP * GROUPS, BLOCKS, AttentionArgs) { hopper_forward<D, GROUPS, SEEN>(a); }
