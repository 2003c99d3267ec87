// Attention over packed sequences that never holds a matrix of scores (Dao et al., "FlashAttention", 2022), on the ordinary
// cores in f32. Forward and the gradient of Q: a block has 16 queries of a head and walks over tiles of 32 keys. The
// gradients of K and V: a block has 16 keys and walks over tiles of 32 queries of all heads that read them, so that no
// two blocks add to the same place.

constexpr int OWN = 16;  // queries, or keys, of a block: four of each warp
constexpr int SEEN = 32; // keys, or queries, of a tile: one of each lane

#include "attention.cuh"

// rows_to_shared copies count rows of d channels, the rest of the tile is 0; rows are pitch apart in shared memory.
__device__ void rows_to_shared(float *to, int pitch, const Floats &x, i64 first, i64 stride, int d, int count, int rows) {
	for (int r = threadIdx.x / WARP; r < rows; r += 4)
		for (int c = threadIdx.x % WARP; c < d; c += WARP) to[r * pitch + c] = r < count ? load(x, first + r * stride + c) : 0.0f;
}

// keys_of are the first and the last key, rounded to tiles, that the block's queries see.
__device__ __forceinline__ void keys_of(const AttentionArgs &a, const Tile &t, int &lo, int &hi) {
	int off = t.k_len - t.q_len, last = min(t.first + OWN, t.q_len) - 1;
	lo = a.window > 0 ? max(0, off + t.first - a.window + 1) / SEEN * SEEN : 0;
	hi = off + last + 1;
}

// add_rows adds to a warp's four sums the rows of a tile, weighted: w is what a lane has for its row, passed on through
// shared memory. A row of weight 0 is not read: what is hidden must not pass its NaN on.
template <int COLUMNS> __device__ __forceinline__ void add_rows(float sum[4][COLUMNS], const float w[4], float (*shared)[SEEN], const float *rows, int pitch, int d) {
	int lane = threadIdx.x % WARP;
	__syncwarp(); // an earlier call's weights have been read
	for (int r = 0; r < 4; r++) shared[r][lane] = w[r];
	__syncwarp();
	for (int j = 0; j < SEEN; j++)
		for (int r = 0; r < 4; r++) {
			float v = shared[r][j];
			if (v == 0.0f) continue;
			for (int c = 0; c < COLUMNS; c++)
				if (lane + c * WARP < d) sum[r][c] += v * rows[j * pitch + lane + c * WARP];
		}
}

template <int COLUMNS> __device__ void attention_forward(const AttentionArgs &a) {
	DYNAMIC_SHARED(float, shared);
	__shared__ float ps[OWN][SEEN]; // of a tile, each row of which one warp writes and reads
	Tile t = a.tiles[blockIdx.x];
	int d = a.d, pitch = d + 1, head = blockIdx.y, kv = head * a.kv_heads / a.heads;
	int lane = threadIdx.x % WARP, mine = threadIdx.x / WARP * 4;
	i64 q_stride = a.ldq, k_stride = a.ldkv, o_stride = (i64)a.heads * d;
	float *qs = shared, *ks = qs + OWN * d, *vs = ks + SEEN * pitch;
	rows_to_shared(qs, d, a.q, (t.q + t.first) * q_stride + head * d, q_stride, d, t.q_len - t.first, OWN);
	float most[4], sum[4], o[4][COLUMNS];
	for (int r = 0; r < 4; r++) {
		most[r] = -INF, sum[r] = 0.0f;
		for (int c = 0; c < COLUMNS; c++) o[r][c] = 0.0f;
	}
	int lo, hi;
	keys_of(a, t, lo, hi);
	for (int j0 = lo; j0 < hi; j0 += SEEN) {
		__syncthreads(); // the last tile has been read
		rows_to_shared(ks, pitch, a.k, (t.k + j0) * k_stride + kv * d, k_stride, d, t.k_len - j0, SEEN);
		rows_to_shared(vs, d, a.v, (t.k + j0) * k_stride + kv * d, k_stride, d, t.k_len - j0, SEEN);
		__syncthreads();
		float s[4] = {0, 0, 0, 0};
		for (int c = 0; c < d; c++) {
			float k = ks[lane * pitch + c];
			for (int r = 0; r < 4; r++) s[r] += qs[(mine + r) * d + c] * k;
		}
		for (int r = 0; r < 4; r++) {
			s[r] = visible(a, t, t.first + mine + r, j0 + lane) ? score(a, s[r]) : -INF;
			float top = max_nan(warp_max(s[r]), most[r]);
			float p = top == -INF ? 0.0f : expf(s[r] - top), old = top == -INF ? 1.0f : expf(most[r] - top);
			most[r] = top;
			sum[r] = sum[r] * old + warp_sum(p);
			s[r] = p;
			for (int c = 0; c < COLUMNS; c++) o[r][c] *= old;
		}
		add_rows<COLUMNS>(o, s, ps + mine, vs, d, d);
	}
	for (int r = 0; r < 4; r++) {
		int i = t.first + mine + r;
		if (i >= t.q_len) continue;
		i64 row = t.q + i;
		for (int c = 0; c < COLUMNS; c++)
			if (lane + c * WARP < d) store(a.o, row * o_stride + head * d + lane + c * WARP, o[r][c] / sum[r]);
		if (a.lse && lane == 0) a.lse[row * a.heads + head] = most[r] + logf(sum[r]);
	}
}

// attention_delta is Σ grad_o·o of each query and head, a warp to four queries.
KERNEL(attention_delta, 128, AttentionArgs) {
	Tile t = a.tiles[blockIdx.x];
	int head = blockIdx.y, lane = threadIdx.x % WARP;
	for (int r = 0; r < 4; r++) {
		int i = t.first + threadIdx.x / WARP * 4 + r;
		if (i >= t.q_len) return; // a whole warp
		i64 at = ((i64)(t.q + i) * a.heads + head) * a.d;
		float sum = 0.0f;
		for (int c = lane; c < a.d; c += WARP) sum += load(a.grad_o, at + c) * load(a.o, at + c);
		sum = warp_sum(sum);
		if (lane == 0) a.delta[(i64)(t.q + i) * a.heads + head] = sum;
	}
}

template <int COLUMNS> __device__ void attention_dq(const AttentionArgs &a) {
	DYNAMIC_SHARED(float, shared);
	__shared__ float ds[OWN][SEEN];
	Tile t = a.tiles[blockIdx.x];
	int d = a.d, pitch = d + 1, head = blockIdx.y, kv = head * a.kv_heads / a.heads;
	int lane = threadIdx.x % WARP, mine = threadIdx.x / WARP * 4;
	i64 q_stride = a.ldq, k_stride = a.ldkv, o_stride = (i64)a.heads * d, at = (t.q + t.first) * q_stride + head * d;
	float *qs = shared, *gs = qs + OWN * d, *ks = gs + OWN * d, *vs = ks + SEEN * pitch;
	rows_to_shared(qs, d, a.q, at, q_stride, d, t.q_len - t.first, OWN);
	rows_to_shared(gs, d, a.grad_o, (t.q + t.first) * o_stride + head * d, o_stride, d, t.q_len - t.first, OWN);
	float lse[4], delta[4], dq[4][COLUMNS];
	for (int r = 0; r < 4; r++) {
		i64 row = t.q + min(t.first + mine + r, t.q_len - 1);
		lse[r] = a.lse[row * a.heads + head], delta[r] = a.delta[row * a.heads + head];
		for (int c = 0; c < COLUMNS; c++) dq[r][c] = 0.0f;
	}
	int lo, hi;
	keys_of(a, t, lo, hi);
	for (int j0 = lo; j0 < hi; j0 += SEEN) {
		__syncthreads();
		rows_to_shared(ks, pitch, a.k, (t.k + j0) * k_stride + kv * d, k_stride, d, t.k_len - j0, SEEN);
		rows_to_shared(vs, pitch, a.v, (t.k + j0) * k_stride + kv * d, k_stride, d, t.k_len - j0, SEEN);
		__syncthreads();
		float s[4] = {0, 0, 0, 0}, dp[4] = {0, 0, 0, 0};
		for (int c = 0; c < d; c++) {
			float k = ks[lane * pitch + c], v = vs[lane * pitch + c];
			for (int r = 0; r < 4; r++) {
				s[r] += qs[(mine + r) * d + c] * k;
				dp[r] += gs[(mine + r) * d + c] * v;
			}
		}
		for (int r = 0; r < 4; r++) {
			float x = score(a, s[r]);
			float p = visible(a, t, t.first + mine + r, j0 + lane) ? expf(x - lse[r]) : 0.0f;
			s[r] = p == 0.0f ? 0.0f : p * (dp[r] - delta[r]) * slope(a, x);
		}
		add_rows<COLUMNS>(dq, s, ds + mine, ks, pitch, d);
	}
	for (int r = 0; r < 4; r++) {
		int i = t.first + mine + r;
		if (i >= t.q_len) continue;
		for (int c = 0; c < COLUMNS; c++)
			if (lane + c * WARP < d) store(a.dq, (t.q + i) * q_stride + head * d + lane + c * WARP, dq[r][c]);
	}
}

template <int COLUMNS> __device__ void attention_dkv(const AttentionArgs &a) {
	DYNAMIC_SHARED(float, shared);
	__shared__ float ps[OWN][SEEN];
	Tile t = a.tiles[blockIdx.x];
	int d = a.d, pitch = d + 1, kv = blockIdx.y, off = t.k_len - t.q_len;
	int lane = threadIdx.x % WARP, mine = threadIdx.x / WARP * 4;
	i64 q_stride = a.ldq, k_stride = a.ldkv, o_stride = (i64)a.heads * d, at = (t.k + t.first) * k_stride + kv * d;
	float *ks = shared, *vs = ks + OWN * d, *qs = vs + OWN * d, *gs = qs + SEEN * pitch;
	rows_to_shared(ks, d, a.k, at, k_stride, d, t.k_len - t.first, OWN);
	rows_to_shared(vs, d, a.v, at, k_stride, d, t.k_len - t.first, OWN);
	float dk[4][COLUMNS], dv[4][COLUMNS];
	for (int r = 0; r < 4; r++)
		for (int c = 0; c < COLUMNS; c++) dk[r][c] = dv[r][c] = 0.0f;
	int lo = max(0, t.first - off) / SEEN * SEEN, hi = t.q_len;
	if (a.window > 0) hi = min(hi, t.first + OWN - 1 + a.window - off);
	for (int head = 0; head < a.heads; head++) {
		if (head * a.kv_heads / a.heads != kv) continue;
		for (int i0 = lo; i0 < hi; i0 += SEEN) {
			__syncthreads();
			rows_to_shared(qs, pitch, a.q, (t.q + i0) * q_stride + head * d, q_stride, d, t.q_len - i0, SEEN);
			rows_to_shared(gs, pitch, a.grad_o, (t.q + i0) * o_stride + head * d, o_stride, d, t.q_len - i0, SEEN);
			__syncthreads();
			float p[4] = {0, 0, 0, 0}, ds[4] = {0, 0, 0, 0};
			for (int c = 0; c < d; c++) {
				float q = qs[lane * pitch + c], g = gs[lane * pitch + c];
				for (int r = 0; r < 4; r++) {
					p[r] += q * ks[(mine + r) * d + c];
					ds[r] += g * vs[(mine + r) * d + c];
				}
			}
			i64 row = t.q + min(i0 + lane, t.q_len - 1);
			float lse = a.lse[row * a.heads + head], delta = a.delta[row * a.heads + head];
			for (int r = 0; r < 4; r++) {
				float x = score(a, p[r]);
				p[r] = visible(a, t, i0 + lane, t.first + mine + r) ? expf(x - lse) : 0.0f;
				ds[r] = p[r] == 0.0f ? 0.0f : p[r] * (ds[r] - delta) * slope(a, x);
			}
			add_rows<COLUMNS>(dv, p, ps + mine, gs, pitch, d);
			add_rows<COLUMNS>(dk, ds, ps + mine, qs, pitch, d);
		}
	}
	for (int r = 0; r < 4; r++) {
		int j = t.first + mine + r;
		if (j >= t.k_len) continue;
		i64 to = (t.k + j) * k_stride + kv * d;
		for (int c = 0; c < COLUMNS; c++)
			if (lane + c * WARP < d) {
				store(a.dk, to + lane + c * WARP, dk[r][c]);
				store(a.dv, to + lane + c * WARP, dv[r][c]);
			}
	}
}

// A head has at most 32·COLUMNS channels.
#define ATTENTION(columns)                                                                           \
	KERNEL(attention_forward_##columns, 128, AttentionArgs) { attention_forward<columns>(a); }          \
	KERNEL(attention_dq_##columns, 128, AttentionArgs) { attention_dq<columns>(a); }                    \
	KERNEL(attention_dkv_##columns, 128, AttentionArgs) { attention_dkv<columns>(a); }

ATTENTION(2)
ATTENTION(4)
ATTENTION(8)
