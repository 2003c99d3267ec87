// Routing to experts, a warp to a row, and sums of rows.

struct RouteArgs {
	Floats logits, dlogits; // [rows, e]
	int *index;             // [rows, k]
	float *weights;         // [rows, k]
	float *probs;           // [rows, e], optional
	const float *dweights;  // [rows, k]
	const float *dsum;      // [e], optional
	i64 rows;
	int e, k;
};

// above orders logits: NaN stands above all others, the lower number first among equals.
__device__ __forceinline__ bool above(float v, int i, float w, int j) {
	bool nv = v != v, nw = w != w;
	if (nv != nw) return nv;
	if (!nv && v != w) return v > w;
	return i < j;
}

// best_below is the first expert in the order behind (v, i), over the lanes of a warp.
__device__ int best_below(const Floats &x, int e, float v, int i, bool first) {
	float best = 0.0f;
	int at = -1;
	for (int j = threadIdx.x % WARP; j < e; j += WARP) {
		float w = load(x, j);
		if (!first && !above(v, i, w, j)) continue;
		if (at < 0 || above(w, j, best, at)) best = w, at = j;
	}
	for (int o = 16; o; o >>= 1) {
		float w = __shfl_xor_sync(ALL, best, o);
		int j = __shfl_xor_sync(ALL, at, o);
		if (j >= 0 && (at < 0 || above(w, j, best, at))) best = w, at = j;
	}
	return at;
}

// softmax_scale gives the largest of n numbers and the sum of exponentials.
__device__ void softmax_scale(const Floats &x, int n, float &most, float &sum) {
	most = -INF, sum = 0.0f;
	for (int j = threadIdx.x % WARP; j < n; j += WARP) most = max_nan(most, load(x, j));
	most = warp_max(most);
	for (int j = threadIdx.x % WARP; j < n; j += WARP) sum += expf(load(x, j) - most);
	sum = warp_sum(sum);
}

KERNEL(route, 128, RouteArgs) {
	i64 row = (i64)blockIdx.x * 4 + threadIdx.x / WARP;
	int lane = threadIdx.x % WARP;
	if (row >= a.rows) return; // a whole warp
	Floats x = from(a.logits, row * a.e);
	float most = 0.0f, sum = 0.0f, v = 0.0f;
	int at = -1;
	for (int i = 0; i < a.k; i++) {
		at = best_below(x, a.e, v, at, i == 0);
		v = load(x, at);
		if (i == 0) most = v;
		sum += expf(v - most);
		if (lane == 0) {
			a.index[row * a.k + i] = at;
			a.weights[row * a.k + i] = expf(v - most);
		}
	}
	if (lane == 0)
		for (int i = 0; i < a.k; i++) a.weights[row * a.k + i] /= sum;
	if (!a.probs) return;
	softmax_scale(x, a.e, most, sum);
	for (int j = lane; j < a.e; j += WARP) a.probs[row * a.e + j] = expf(load(x, j) - most) / sum;
}

KERNEL(route_grad, 128, RouteArgs) {
	i64 row = (i64)blockIdx.x * 4 + threadIdx.x / WARP;
	int lane = threadIdx.x % WARP;
	if (row >= a.rows) return;
	Floats x = from(a.logits, row * a.e), dx = from(a.dlogits, row * a.e);
	const float *w = a.weights + row * a.k, *dw = a.dweights + row * a.k;
	float most = 0.0f, sum = 1.0f, mean = 0.0f, mean_w = 0.0f;
	for (int i = 0; i < a.k; i++) mean_w += w[i] * dw[i];
	if (a.dsum) {
		softmax_scale(x, a.e, most, sum);
		for (int j = lane; j < a.e; j += WARP) mean += expf(load(x, j) - most) / sum * a.dsum[j];
		mean = warp_sum(mean);
	}
	for (int j = lane; j < a.e; j += WARP) {
		float g = a.dsum ? expf(load(x, j) - most) / sum * (a.dsum[j] - mean) : 0.0f;
		for (int i = 0; i < a.k; i++)
			if (a.index[row * a.k + i] == j) g += w[i] * (dw[i] - mean_w);
		store(dx, j, g);
	}
}

struct CombineArgs {
	Floats y, x, dy, dx;  // [n, c], [m, c], [n, c], [m, c]
	const int *index;     // [n, k]
	const float *weights; // [n, k], optional
	float *dweights;      // [n, k], optional
	Failure *failure;
	i64 n;
	int c, k, m;
};

KERNEL(combine, 256, CombineArgs) {
	i64 row = blockIdx.x;
	Floats y = from(a.y, row * a.c);
	for (int c = threadIdx.x * 4; c < a.c; c += 1024) {
		float sum[4] = {0, 0, 0, 0};
		for (int i = 0; i < a.k; i++) {
			int at = a.index[row * a.k + i];
			if (at < 0 || at >= a.m) {
				a.failure->code = 4;
				continue;
			}
			float x[4], w = a.weights ? a.weights[row * a.k + i] : 1.0f;
			load4(from(a.x, (i64)at * a.c), c, a.c, x);
			for (int j = 0; j < 4; j++) sum[j] += w * x[j];
		}
		store4(y, c, a.c, sum);
	}
}

// combine_grad gives an index to a block.
KERNEL(combine_grad, 256, CombineArgs) {
	i64 j = blockIdx.x;
	int at = a.index[j];
	if (at < 0 || at >= a.m) {
		if (threadIdx.x == 0) a.failure->code = 4;
		return;
	}
	Floats dy = from(a.dy, j / a.k * a.c), x = from(a.x, (i64)at * a.c), dx = from(a.dx, (i64)at * a.c);
	float w = a.weights ? a.weights[j] : 1.0f, dot = 0.0f;
	for (int c = threadIdx.x * 4; c < a.c; c += 1024) {
		float g[4], v[4];
		load4(dy, c, a.c, g);
		load4(x, c, a.c, v);
		for (int i = 0; i < 4; i++) {
			dot += g[i] * v[i];
			g[i] *= w;
		}
		store4(dx, c, a.c, g);
	}
	dot = block_sum<256>(dot);
	if (threadIdx.x == 0 && a.dweights) a.dweights[j] = dot;
}
