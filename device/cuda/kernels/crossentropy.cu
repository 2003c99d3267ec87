// Cross-entropy of rows of logits, a block to a row: the row is read once for its sums and once for its gradient.

struct CrossEntropyArgs {
	Floats logits;                          // [rows, v] in F32, ld from a row to the next
	const int *targets;                     // [rows]
	float *loss, *entropy;                  // [rows]; entropy optional
	const float *weights, *entropy_weights; // [rows], optional
	Floats dlogits;                         // [rows, v], optional; may be logits
	Failure *failure;
	int v, ld;
	float z_loss, smoothing;
};

// Moments are Σ exp(x-max), Σ exp(x-max)·(x-max) and Σ x.
struct Moments {
	float max, sum, weighted, plain;
};

// add joins four logits, those behind the last being -Inf. While all are -Inf the maximum stays so and nothing is added.
__device__ __forceinline__ void add(Moments &m, const float x[4]) {
	float most = max_nan(max_nan(x[0], x[1]), max_nan(x[2], x[3]));
	if (most > m.max || most != most) {
		if (m.sum != 0.0f) {
			float shift = m.max - most, f = expf(shift);
			m.weighted = f * (m.weighted + shift * m.sum);
			m.sum *= f;
		}
		m.max = most;
	}
#pragma unroll
	for (int j = 0; j < 4; j++) {
		if (x[j] == -INF) continue;
		float d = x[j] - m.max, e = expf(d);
		m.sum += e;
		if (e != 0.0f) m.weighted += e * d;
	}
}

// moved are the sums of m relative to another maximum.
__device__ __forceinline__ void moved(Moments &m, float max) {
	if (m.sum == 0.0f) return;
	float shift = m.max - max, f = expf(shift);
	m.weighted = f == 0.0f ? 0.0f : f * (m.weighted + shift * m.sum);
	m.sum *= f;
}

// Tile is what a block reads of a row before it computes: AHEAD times four logits in a thread.
template <int THREADS, int AHEAD> struct Tile {
	static constexpr int SIZE = THREADS * 4 * AHEAD;
	float x[AHEAD][4];
};

template <int THREADS> __device__ __forceinline__ int column(int h, int thread) { return (h * THREADS + thread) * 4; }

// load_tile reports whether all of the tile is there.
template <int THREADS, int AHEAD> __device__ __forceinline__ bool load_tile(Tile<THREADS, AHEAD> &t, const Floats &x, int from, int v, int thread) {
	if (x.wide && from + t.SIZE <= v) {
#pragma unroll
		for (int h = 0; h < AHEAD; h++) {
			float4 f = *(const float4 *)((const float *)x.p + from + column<THREADS>(h, thread));
			t.x[h][0] = f.x, t.x[h][1] = f.y, t.x[h][2] = f.z, t.x[h][3] = f.w;
		}
		return true;
	}
#pragma unroll
	for (int h = 0; h < AHEAD; h++) load4(x, from + column<THREADS>(h, thread), v, t.x[h]);
	return from + t.SIZE <= v;
}

// add_tile is add of all of a tile without the weighted sum, which only the entropy needs. A NaN is not in the maximum, but in the sum.
template <int THREADS, int AHEAD> __device__ __forceinline__ void add_tile(Moments &m, const Tile<THREADS, AHEAD> &t) {
	float most = -INF;
#pragma unroll
	for (int h = 0; h < AHEAD; h++) most = fmaxf(most, fmaxf(fmaxf(t.x[h][0], t.x[h][1]), fmaxf(t.x[h][2], t.x[h][3])));
	if (most > m.max) {
		if (m.sum != 0.0f) m.sum *= expf(m.max - most);
		m.max = most;
	}
	float none = m.max == -INF ? 0.0f : m.max; // exp(-Inf) is nothing, and -Inf less itself would be NaN
#pragma unroll
	for (int h = 0; h < AHEAD; h++)
#pragma unroll
		for (int i = 0; i < 4; i++) m.sum += expf(t.x[h][i] - none);
}

// add_row joins to m the logits of a row that are one thread's. So many tiles are read at once; what is computed does not depend on it.
template <int THREADS, int AHEAD, bool ENTROPY, int TILES> __device__ __forceinline__ void add_row(Moments &m, const Floats &x, int v, bool plain, int thread) {
	Tile<THREADS, AHEAD> tiles[TILES];
	constexpr int SIZE = Tile<THREADS, AHEAD>::SIZE;
	for (int first = 0; first < v; first += TILES * SIZE) {
		bool full[TILES];
#pragma unroll
		for (int n = 0; n < TILES; n++)
			if (n == 0 || first + n * SIZE < v) full[n] = load_tile(tiles[n], x, first + n * SIZE, v, thread);
#pragma unroll
		for (int n = 0; n < TILES; n++) {
			int j0 = first + n * SIZE;
			if (n > 0 && j0 >= v) break;
			Tile<THREADS, AHEAD> &t = tiles[n];
#pragma unroll
			for (int h = 0; h < AHEAD; h++)
#pragma unroll
				for (int i = 0; i < 4; i++) {
					bool there = full[n] || j0 + column<THREADS>(h, thread) + i < v;
					if (plain && there) m.plain += t.x[h][i];
					if (!there) t.x[h][i] = -INF;
				}
			if (ENTROPY)
#pragma unroll
				for (int h = 0; h < AHEAD; h++) add(m, t.x[h]);
			else
				add_tile(m, t);
		}
	}
}

// loss_of is the loss of a row whose largest logit is most and that of the target at; sum is that of exp(x-most) and mean that of the logits.
__device__ __forceinline__ float loss_of(const CrossEntropyArgs &a, float most, float sum, float mean, float at) {
	float log_sum = logf(sum), z = most + log_sum;
	float loss = (log_sum - (at - most)) + a.smoothing * (at - mean);
	return loss + a.z_loss * z * z;
}

// cross_entropy also computes the entropy, and its gradient, with ENTROPY.
template <int THREADS, int AHEAD, bool ENTROPY> __device__ void cross_entropy(const CrossEntropyArgs &a) {
	i64 row = blockIdx.x;
	int target = a.targets[row];
	Floats x = from(a.logits, row * a.ld), dx = a.dlogits;
	if (dx.p) dx = from(dx, row * a.ld);
	if (target < 0 || target >= a.v) {
		if (threadIdx.x == 0) {
			if (target >= 0) a.failure->code = 2;
			a.loss[row] = 0.0f;
			if (a.entropy) a.entropy[row] = 0.0f;
		}
		if (dx.p)
			for (int j = threadIdx.x; j < a.v; j += THREADS) store(dx, j, 0.0f);
		return;
	}
	Moments m = {-INF, 0.0f, 0.0f, 0.0f};
	int thread = threadIdx.x;
	add_row<THREADS, AHEAD, ENTROPY, 1>(m, x, a.v, a.smoothing != 0.0f, thread);
	float most = block_max<THREADS>(m.max);
	moved(m, most);
	float sum = block_sum<THREADS>(m.sum), weighted = ENTROPY ? block_sum<THREADS>(m.weighted) : 0.0f;
	float mean = a.smoothing != 0.0f ? block_sum<THREADS>(m.plain) / a.v : 0.0f;
	float at = load(x, target); // before the gradient may overwrite it
	float log_sum = logf(sum), z = most + log_sum, entropy = log_sum - weighted / sum;
	__syncthreads();
	if (threadIdx.x == 0) {
		a.loss[row] = loss_of(a, most, sum, mean, at);
		if (a.entropy) a.entropy[row] = entropy;
	}
	if (!dx.p) return;
	float w = a.weights ? a.weights[row] : 1.0f, e = ENTROPY && a.entropy_weights ? a.entropy_weights[row] : 0.0f;
	// The gradient is w·((1+2·z_loss·z)·p - t) - e·p·(x-z + entropy), where t mixes the target with the uniform distribution.
	float scale = w * (1.0f + 2.0f * a.z_loss * z), uniform = w * a.smoothing / a.v, inverse = 1.0f / sum;
	Tile<THREADS, AHEAD> t;
	for (int j0 = (a.v - 1) / t.SIZE * t.SIZE; j0 >= 0; j0 -= t.SIZE) { // backwards, for the end of the row is still in the cache
		load_tile(t, x, j0, a.v, thread);
#pragma unroll
		for (int h = 0; h < AHEAD; h++) {
			int j = j0 + column<THREADS>(h, thread);
			float *g = t.x[h];
#pragma unroll
			for (int i = 0; i < 4; i++) {
				float d = g[i] - most, p = expf(d) * inverse;
				g[i] = scale * p - uniform;
				if (ENTROPY && e != 0.0f && p != 0.0f) g[i] -= e * p * ((d - log_sum) + entropy);
				if (j + i == target) g[i] -= w * (1.0f - a.smoothing);
			}
			store4(dx, j, a.v, g);
		}
	}
}

KERNEL(cross_entropy_32, 32, CrossEntropyArgs) { cross_entropy<32, 1, true>(a); }
KERNEL(cross_entropy_1024, 1024, CrossEntropyArgs) { cross_entropy<1024, 4, false>(a); }
KERNEL(cross_entropy_both_512, 512, CrossEntropyArgs) { cross_entropy<512, 4, true>(a); }

#define ROW_WARPS 32 // of cross_entropy_1024

struct CrossEntropyPartsArgs {
	CrossEntropyArgs rows; // without gradients, entropies and their weights
	Moments *moments;      // [rows, 32·ROW_WARPS], of which the weighted sum is not written
	int *ended;            // [rows], 0 before and after: how many parts are done
};

// cross_entropy_parts computes the loss of few long rows, with the bits of cross_entropy_1024: each of that kernel's warps is a block, and the one that
// ends last joins what they leave, as that kernel does.
KERNEL(cross_entropy_parts, WARP, CrossEntropyPartsArgs) {
	const CrossEntropyArgs &row_args = a.rows;
	int row = blockIdx.y, target = row_args.targets[row], lane = threadIdx.x;
	Floats x = from(row_args.logits, (i64)row * row_args.ld);
	bool plain = row_args.smoothing != 0.0f;
	if (target < 0 || target >= row_args.v) {
		if (blockIdx.x > 0 || lane > 0) return;
		if (target >= 0) row_args.failure->code = 2;
		row_args.loss[row] = 0.0f;
		return;
	}
	Moments m = {-INF, 0.0f, 0.0f, 0.0f}, *moments = a.moments + (i64)row * ROW_WARPS * WARP;
	int thread = (int)blockIdx.x * WARP + lane;
	add_row<ROW_WARPS * WARP, 4, false, 4>(m, x, row_args.v, plain, thread);
	moments[thread].max = m.max, moments[thread].sum = m.sum;
	if (plain) moments[thread].plain = m.plain;
	if (!ended_last(a.ended + row, ROW_WARPS)) return;
	const volatile Moments *all = moments + lane;
	Moments each[ROW_WARPS] = {};
#pragma unroll
	for (int w = 0; w < ROW_WARPS; w++) each[w].max = all[w * WARP].max, each[w].sum = all[w * WARP].sum;
	float most = warp_max(each[0].max), sum = 0.0f, mean = 0.0f;
#pragma unroll
	for (int w = 1; w < ROW_WARPS; w++) most = max_nan(most, warp_max(each[w].max));
#pragma unroll
	for (int w = 0; w < ROW_WARPS; w++) {
		moved(each[w], most);
		sum += warp_sum(each[w].sum);
	}
	if (plain) {
		for (int w = 0; w < ROW_WARPS; w++) mean += warp_sum(all[w * WARP].plain);
		mean /= row_args.v;
	}
	if (lane == 0) row_args.loss[row] = loss_of(row_args, most, sum, mean, load(x, target));
}
