// RMSNorm and LayerNorm, a warp to a row or, where rows are long, a block, and rotary positions.

struct NormArgs {
	Floats y, x, weight, bias;
	float *mean, *rstd; // [rows], optional
	i64 rows;
	int c, center;
	float eps, offset;
};

// row_sum is the sum of v over the threads of a row: a warp or a block.
template <int THREADS> __device__ __forceinline__ float row_sum(float v) {
	if constexpr (THREADS == WARP)
		return warp_sum(v);
	else
		return block_sum<THREADS>(v);
}

// each_quad calls f with the number and the first channel of each four that a thread has of a row. Unrolled, so that what is
// indexed by the number stays in registers.
template <int THREADS, int QUADS, class F> __device__ __forceinline__ void each_quad(int channels, F f) {
#pragma unroll
	for (int q = 0; q < QUADS; q++) {
		int c = (q * THREADS + threadIdx.x % THREADS) * 4;
		if (c < channels) f(q, c);
	}
}

// norm_rows reads a row once: QUADS·4·THREADS channels at most.
template <int THREADS, int QUADS> __device__ void norm_rows(const NormArgs &a) {
	i64 row = (i64)blockIdx.x * (blockDim.x / THREADS) + threadIdx.x / THREADS;
	if (row >= a.rows) return;
	Floats x = from(a.x, row * a.c), y = from(a.y, row * a.c);
	float v[QUADS][4], mean = 0.0f, square = 0.0f;
	each_quad<THREADS, QUADS>(a.c, [&](int q, int c) {
		load4(x, c, a.c, v[q]);
		mean += (v[q][0] + v[q][1]) + (v[q][2] + v[q][3]);
	});
	mean = a.center ? row_sum<THREADS>(mean) / a.c : 0.0f;
	each_quad<THREADS, QUADS>(a.c, [&](int q, int c) {
		for (int j = 0; j < 4; j++)
			if (c + j < a.c) square += (v[q][j] - mean) * (v[q][j] - mean);
	});
	float rstd = 1.0f / sqrtf(row_sum<THREADS>(square) / a.c + a.eps);
	if (threadIdx.x % THREADS == 0) {
		if (a.mean) a.mean[row] = mean;
		if (a.rstd) a.rstd[row] = rstd;
	}
	each_quad<THREADS, QUADS>(a.c, [&](int q, int c) {
		float w[4] = {1, 1, 1, 1}, b[4] = {0, 0, 0, 0};
		if (a.weight.p) {
			load4(a.weight, c, a.c, w);
			for (int j = 0; j < 4; j++) w[j] += a.offset;
		}
		if (a.bias.p) load4(a.bias, c, a.c, b);
		for (int j = 0; j < 4; j++) v[q][j] = (v[q][j] - mean) * rstd * w[j] + b[j];
		store4(y, c, a.c, v[q]);
	});
}

struct NormGradArgs {
	Floats dx, dy, x, weight;
	const float *mean, *rstd; // mean absent for RMSNorm
	i64 rows;
	int c, acc;
	float offset;
};

// norm_grad is dx = rstd·(g - mean(g) - x̂·mean(g·x̂)) with g = dy·w, without mean(g) for RMSNorm. dx may be dy.
template <int THREADS, int QUADS> __device__ void norm_grad(const NormGradArgs &a) {
	i64 row = (i64)blockIdx.x * (blockDim.x / THREADS) + threadIdx.x / THREADS;
	if (row >= a.rows) return;
	Floats x = from(a.x, row * a.c), dy = from(a.dy, row * a.c), dx = from(a.dx, row * a.c);
	float g[QUADS][4], v[QUADS][4], mean = a.mean ? a.mean[row] : 0.0f, rstd = a.rstd[row], sum = 0.0f, dot = 0.0f;
	each_quad<THREADS, QUADS>(a.c, [&](int q, int c) {
		float w[4] = {1, 1, 1, 1};
		load4(dy, c, a.c, g[q]);
		load4(x, c, a.c, v[q]);
		if (a.weight.p) {
			load4(a.weight, c, a.c, w);
			for (int j = 0; j < 4; j++) g[q][j] *= w[j] + a.offset;
		}
		for (int j = 0; j < 4; j++)
			if (c + j < a.c) {
				v[q][j] = (v[q][j] - mean) * rstd;
				sum += g[q][j];
				dot += g[q][j] * v[q][j];
			}
	});
	sum = a.mean ? row_sum<THREADS>(sum) / a.c : 0.0f;
	dot = row_sum<THREADS>(dot) / a.c;
	each_quad<THREADS, QUADS>(a.c, [&](int q, int c) {
		float old[4] = {0, 0, 0, 0};
		if (a.acc) load4(dx, c, a.c, old);
		for (int j = 0; j < 4; j++) g[q][j] = old[j] + rstd * (g[q][j] - sum - v[q][j] * dot);
		store4(dx, c, a.c, g[q]);
	});
}

// Eight channels in a thread keep enough reads under way; a warp with more of them does short rows as fast forward.
KERNEL(norm_rows_1024, 256, NormArgs) { norm_rows<WARP, 8>(a); }
KERNEL(norm_rows_2048, 256, NormArgs) { norm_rows<256, 2>(a); }
KERNEL(norm_rows_4096, 512, NormArgs) { norm_rows<512, 2>(a); }
KERNEL(norm_rows_8192, 1024, NormArgs) { norm_rows<1024, 2>(a); }
KERNEL(norm_rows_16384, 1024, NormArgs) { norm_rows<1024, 4>(a); }
KERNEL(norm_grad_256, 256, NormGradArgs) { norm_grad<WARP, 2>(a); }
KERNEL(norm_grad_1024, 128, NormGradArgs) { norm_grad<128, 2>(a); }
KERNEL(norm_grad_2048, 256, NormGradArgs) { norm_grad<256, 2>(a); }
KERNEL(norm_grad_4096, 512, NormGradArgs) { norm_grad<512, 2>(a); }
KERNEL(norm_grad_8192, 1024, NormGradArgs) { norm_grad<1024, 2>(a); }
KERNEL(norm_grad_16384, 1024, NormGradArgs) { norm_grad<1024, 4>(a); }

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
