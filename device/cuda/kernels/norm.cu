// RMSNorm and LayerNorm, a block to a row (of one warp where rows are short, as those of heads are), and rotary positions.

struct NormArgs {
	Floats y, x, weight, bias;
	float *mean, *rstd; // [rows], optional
	int c, center;
	float eps, offset;
};

template <int THREADS> __device__ void norm_rows(const NormArgs &a) {
	i64 row = blockIdx.x;
	Floats x = from(a.x, row * a.c), y = from(a.y, row * a.c);
	float mean = 0.0f, square = 0.0f;
	if (a.center) {
		for (int c = threadIdx.x * 4; c < a.c; c += 4 * THREADS) {
			float v[4];
			load4(x, c, a.c, v);
			mean += (v[0] + v[1]) + (v[2] + v[3]);
		}
		mean = block_sum<THREADS>(mean) / a.c;
	}
	for (int c = threadIdx.x * 4; c < a.c; c += 4 * THREADS) {
		float v[4];
		load4(x, c, a.c, v);
		for (int j = 0; j < 4; j++)
			if (c + j < a.c) square += (v[j] - mean) * (v[j] - mean);
	}
	float rstd = 1.0f / sqrtf(block_sum<THREADS>(square) / a.c + a.eps);
	if (threadIdx.x == 0) {
		if (a.mean) a.mean[row] = mean;
		if (a.rstd) a.rstd[row] = rstd;
	}
	for (int c = threadIdx.x * 4; c < a.c; c += 4 * THREADS) {
		float v[4], w[4] = {1, 1, 1, 1}, b[4] = {0, 0, 0, 0};
		load4(x, c, a.c, v);
		if (a.weight.p) {
			load4(a.weight, c, a.c, w);
			for (int j = 0; j < 4; j++) w[j] += a.offset;
		}
		if (a.bias.p) load4(a.bias, c, a.c, b);
		for (int j = 0; j < 4; j++) v[j] = (v[j] - mean) * rstd * w[j] + b[j];
		store4(y, c, a.c, v);
	}
}

struct NormGradArgs {
	Floats dx, dy, x, weight;
	const float *mean, *rstd; // mean absent for RMSNorm
	int c, acc;
	float offset;
};

// norm_grad is dx = rstd·(g - mean(g) - x̂·mean(g·x̂)) with g = dy·w, without mean(g) for RMSNorm. dx may be dy.
template <int THREADS> __device__ void norm_grad(const NormGradArgs &a) {
	i64 row = blockIdx.x;
	Floats x = from(a.x, row * a.c), dy = from(a.dy, row * a.c), dx = from(a.dx, row * a.c);
	float mean = a.mean ? a.mean[row] : 0.0f, rstd = a.rstd[row], sum = 0.0f, dot = 0.0f;
	for (int c = threadIdx.x * 4; c < a.c; c += 4 * THREADS) {
		float g[4], v[4], w[4] = {1, 1, 1, 1};
		load4(dy, c, a.c, g);
		load4(x, c, a.c, v);
		if (a.weight.p) {
			load4(a.weight, c, a.c, w);
			for (int j = 0; j < 4; j++) g[j] *= w[j] + a.offset;
		}
		for (int j = 0; j < 4; j++)
			if (c + j < a.c) {
				sum += g[j];
				dot += g[j] * ((v[j] - mean) * rstd);
			}
	}
	sum = block_sum<THREADS>(sum) / a.c;
	dot = block_sum<THREADS>(dot) / a.c;
	if (!a.mean) sum = 0.0f;
	for (int c = threadIdx.x * 4; c < a.c; c += 4 * THREADS) {
		float g[4], v[4], w[4] = {1, 1, 1, 1}, old[4] = {0, 0, 0, 0};
		load4(dy, c, a.c, g);
		load4(x, c, a.c, v);
		if (a.weight.p) {
			load4(a.weight, c, a.c, w);
			for (int j = 0; j < 4; j++) g[j] *= w[j] + a.offset;
		}
		if (a.acc) load4(dx, c, a.c, old);
		for (int j = 0; j < 4; j++) g[j] = old[j] + rstd * (g[j] - sum - (v[j] - mean) * rstd * dot);
		store4(dx, c, a.c, g);
	}
}

KERNEL(norm_rows_32, 32, NormArgs) { norm_rows<32>(a); }
KERNEL(norm_rows_256, 256, NormArgs) { norm_rows<256>(a); }
KERNEL(norm_grad_32, 32, NormGradArgs) { norm_grad<32>(a); }
KERNEL(norm_grad_256, 256, NormGradArgs) { norm_grad<256>(a); }

struct RopeArgs {
	Floats y, x;
	const float *cos, *sin; // [P, half]
	const int *positions;   // [rows]
	Failure *failure;
	i64 rows;
	int heads, d, half, inverse;
	int limit; // rows of cos and sin
};

// rope gives a pair, or one of the channels behind the rotary ones, to a thread.
KERNEL(rope, 256, RopeArgs) {
	i64 at = (i64)blockIdx.x * 256 + threadIdx.x;
	int width = a.d - a.half; // pairs and channels of a head
	i64 head = at / width;
	int i = (int)(at - head * width);
	i64 row = head / a.heads;
	if (row >= a.rows) return;
	i64 base = head * a.d;
	if (i >= a.half) { // behind the pairs
		store(a.y, base + a.half + i, load(a.x, base + a.half + i));
		return;
	}
	int position = a.positions[row];
	if (position < 0 || position >= a.limit) {
		a.failure->code = 1;
		return;
	}
	float c = a.cos[(i64)position * a.half + i], s = a.sin[(i64)position * a.half + i];
	if (a.inverse) s = -s;
	float u = load(a.x, base + i), v = load(a.x, base + a.half + i);
	store(a.y, base + i, u * c - v * s);
	store(a.y, base + a.half + i, v * c + u * s);
}
