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

// Rotated are heads that are rotated, and put into rows of a cache.
struct Rotated {
	Floats y, x, cache; // y [rows, heads·d]; y is absent where heads only go to the cache, the cache where they do not
	int heads, unused;
};

struct RotateArgs {
	const float *cos, *sin; // [limit, half]
	const int *positions;   // [rows], of cos and sin
	const int *places;      // [rows], of the caches
	Failure *failure;
	i64 rows;
	int d, half, inverse, limit, room, unused; // of pairs; of rows of cos and sin, and of the caches
	Rotated parts[4];
};

// rotate gives a pair, or one of the channels behind the rotary ones, to a thread, of part blockIdx.y.
KERNEL(rotate, 256, RotateArgs) {
	const Rotated &p = a.parts[blockIdx.y];
	i64 n = (i64)blockIdx.x * 256 + threadIdx.x;
	int width = a.d - a.half; // pairs and channels of a head
	i64 head = n / width;
	int i = (int)(n - head * width);
	i64 row = head / p.heads, base = head * a.d, cached = 0;
	if (row >= a.rows) return;
	if (p.cache.p) {
		int place = a.places[row];
		if (place < 0 || place >= a.room) {
			a.failure->code = 5;
			return;
		}
		cached = base + (place - row) * p.heads * a.d;
	}
	auto put = [&](int c, float v) {
		if (p.y.p) store(p.y, base + c, v);
		if (p.cache.p) store(p.cache, cached + c, p.y.p && p.y.half ? widen(narrow(v)) : v);
	};
	float v = load(p.x, base + a.half + i);
	if (i >= a.half) { // behind the pairs
		put(a.half + i, v);
		return;
	}
	float u = load(p.x, base + i);
	if (p.y.p) {
		int position = a.positions[row];
		if (position < 0 || position >= a.limit) {
			a.failure->code = 1;
			return;
		}
		float c = a.cos[(i64)position * a.half + i], s = a.sin[(i64)position * a.half + i];
		if (a.inverse) s = -s;
		float turned = u * c - v * s;
		v = v * c + u * s;
		u = turned;
	}
	put(i, u);
	put(a.half + i, v);
}
