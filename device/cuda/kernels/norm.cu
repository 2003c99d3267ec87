// RMSNorm and LayerNorm, a warp to a row or, where rows are long, a block, and rotary positions.

#include "rotate.cuh"

struct NormArgs {
	Floats y, x, weight, bias;
	Floats plus, sum;   // of sum_norm_rows: x + plus is kept in sum, and normalised
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

// channels8 reads what there is for each channel, of c ones: a weight with its offset, or a bias. x is what it is where v is absent.
__device__ __forceinline__ void channels8(const Floats &v, int i, int c, float offset, float x[8]) {
	if (!v.p) return;
	if (packed(v) && c % 8 == 0)
		load8<true>(v, i, c, x);
	else
		load8<false>(v, i, c, x);
#pragma unroll
	for (int j = 0; j < 8; j++) x[j] += offset;
}

// add8 adds what was read of eight elements to x, keeps the sums in memory from element i of c on, and leaves x as they are there.
template <bool PACKED> __device__ __forceinline__ void add8(float x[8], const Eight<PACKED> &plus, const Floats &sum, int i, int c) {
	float p[8];
	widen8(plus, p);
#pragma unroll
	for (int j = 0; j < 8; j++) {
		x[j] += p[j];
		if (PACKED || sum.half) x[j] = widen(narrow(x[j]));
	}
	store8<PACKED>(sum, i, c, x);
}

// norm_rows reads a row once: OCTETS·8·THREADS channels at most, eight neighbouring ones in a thread. With SUM it is the sum of two rows.
template <int THREADS, int OCTETS, bool PACKED, bool SUM> __device__ __forceinline__ void norm_rows(const NormArgs &a, i64 row) {
	Floats x = from(a.x, row * a.c), y = from(a.y, row * a.c);
	int first = threadIdx.x % THREADS * 8;
	Eight<PACKED> raw[OCTETS] = {}, plus[OCTETS] = {};
#pragma unroll
	for (int q = 0; q < OCTETS; q++) {
		if (first + q * 8 * THREADS >= a.c) continue;
		read8(raw[q], x, first + q * 8 * THREADS, a.c);
		if (SUM) read8(plus[q], from(a.plus, row * a.c), first + q * 8 * THREADS, a.c);
	}
	float v[OCTETS][8], mean = 0.0f, square = 0.0f;
#pragma unroll
	for (int q = 0; q < OCTETS; q++) {
		if (first + q * 8 * THREADS >= a.c) continue;
		widen8(raw[q], v[q]);
		if (SUM) add8(v[q], plus[q], from(a.sum, row * a.c), first + q * 8 * THREADS, a.c);
		mean += ((v[q][0] + v[q][1]) + (v[q][2] + v[q][3])) + ((v[q][4] + v[q][5]) + (v[q][6] + v[q][7]));
	}
	mean = a.center ? row_sum<THREADS>(mean) / a.c : 0.0f;
#pragma unroll
	for (int q = 0; q < OCTETS; q++)
#pragma unroll
		for (int j = 0; j < 8; j++)
			if (first + q * 8 * THREADS + (PACKED ? 0 : j) < a.c) square += (v[q][j] - mean) * (v[q][j] - mean);
	float rstd = 1.0f / sqrtf(row_sum<THREADS>(square) / a.c + a.eps);
	if (threadIdx.x % THREADS == 0) {
		if (a.mean) a.mean[row] = mean;
		if (a.rstd) a.rstd[row] = rstd;
	}
#pragma unroll
	for (int q = 0; q < OCTETS; q++) {
		int c = first + q * 8 * THREADS;
		if (c >= a.c) continue;
		float w[8] = {1, 1, 1, 1, 1, 1, 1, 1}, b[8] = {0, 0, 0, 0, 0, 0, 0, 0};
		channels8(a.weight, c, a.c, a.offset, w);
		channels8(a.bias, c, a.c, 0.0f, b);
#pragma unroll
		for (int j = 0; j < 8; j++) v[q][j] = (v[q][j] - mean) * rstd * w[j] + b[j];
		store8<PACKED>(y, c, a.c, v[q]);
	}
}

template <int THREADS, int OCTETS, bool SUM> __device__ __forceinline__ void norm_any(const NormArgs &a) {
	i64 row = (i64)blockIdx.x * (blockDim.x / THREADS) + threadIdx.x / THREADS;
	if (row >= a.rows) return;
	bool whole = a.c % 8 == 0 && packed(a.x) && packed(a.y);
	if (SUM) whole = whole && packed(a.plus) && packed(a.sum);
	if (whole)
		norm_rows<THREADS, OCTETS, true, SUM>(a, row);
	else
		norm_rows<THREADS, OCTETS, false, SUM>(a, row);
}

// NORM is a kernel for rows of so many channels at most, and one for sums of rows.
#define NORM(channels, block, threads, octets)                                            \
	KERNEL(norm_rows_##channels, block, NormArgs) { norm_any<threads, octets, false>(a); }   \
	KERNEL(sum_norm_rows_##channels, block, NormArgs) { norm_any<threads, octets, true>(a); }

struct NormGradArgs {
	Floats dx, dy, x, weight;
	const float *mean, *rstd; // mean absent for RMSNorm
	float *parts;             // [blocks, 2, c], optional: the sums over a block's rows of dy and of dy·x̂
	i64 rows;
	int c, acc;
	int chunk; // rows of a block
	float offset;
};

// row_sums are the sums of two numbers over the block, in all threads; the first only if CENTER. Calls in turn have room 0 and 1, so
// that one barrier is enough.
template <bool CENTER> __device__ __forceinline__ float2 row_sums(float a, float b, int room) {
	__shared__ float2 part[2][WARP];
	float2 sum;
	sum.x = CENTER ? warp_sum(a) : 0.0f, sum.y = warp_sum(b);
	int warps = blockDim.x / WARP;
	if (warps == 1) return sum;
	if (threadIdx.x % WARP == 0) part[room][threadIdx.x / WARP] = sum;
	__syncthreads();
	sum.x = sum.y = 0.0f;
	for (int i = 0; i < warps; i++) sum.x += part[room][i].x, sum.y += part[room][i].y;
	return sum;
}

// NormRow is what a thread has read of a row.
template <bool PACKED> struct NormRow {
	Eight<PACKED> dy, x;
};

template <bool PACKED> __device__ __forceinline__ void read_row(NormRow<PACKED> &r, const NormGradArgs &a, i64 row, int c) {
	if (c >= a.c) return;
	read8(r.dy, from(a.dy, row * a.c), c, a.c);
	read8(r.x, from(a.x, row * a.c), c, a.c);
}

// norm_grad is dx = rstd·(g - mean(g) - x̂·mean(g·x̂)) with g = dy·w, without mean(g) for RMSNorm. dx may be dy. A block takes the
// rows of its chunk one after the other, eight channels in a thread, asks for the next row before it adds one up, and keeps the sums
// over rows that are the gradients of weight and bias.
template <bool PACKED, bool CENTER> __device__ __forceinline__ void norm_grad(const NormGradArgs &a) {
	i64 row = (i64)blockIdx.x * a.chunk, end = row + a.chunk < a.rows ? row + a.chunk : a.rows;
	int c = threadIdx.x * 8;
	NormRow<PACKED> r = {}, next = {};
	Eight<PACKED> old = {};
	float w[8] = {1, 1, 1, 1, 1, 1, 1, 1}, sum[8] = {0, 0, 0, 0, 0, 0, 0, 0}, dot[8] = {0, 0, 0, 0, 0, 0, 0, 0};
	if (PACKED) read_row(r, a, row, c);
	if (c < a.c) channels8(a.weight, c, a.c, a.offset, w);
	for (int room = 0; row < end; row++, room ^= 1) {
		float g[8], v[8], mean = CENTER ? a.mean[row] : 0.0f, rstd = a.rstd[row], all = 0.0f, product = 0.0f;
		if (!PACKED) read_row(r, a, row, c);
		widen8(r.dy, g);
		widen8(r.x, v);
#pragma unroll
		for (int j = 0; j < 8; j++) {
			if (c + (PACKED ? 0 : j) >= a.c) continue;
			v[j] = (v[j] - mean) * rstd;
			if (CENTER) sum[j] += g[j];
			dot[j] += g[j] * v[j];
			g[j] *= w[j];
			all += g[j];
			product += g[j] * v[j];
		}
		Floats dx = from(a.dx, row * a.c);
		if (a.acc && c < a.c) read8(old, dx, c, a.c);
		if (PACKED && row + 1 < end) read_row(next, a, row + 1, c);
		float2 means = row_sums<CENTER>(all, product, room);
		means.x /= a.c, means.y /= a.c;
		if (!PACKED) read_row(r, a, row, c); // once more, for registers do not hold it
		if (c < a.c) {
			float to[8] = {0, 0, 0, 0, 0, 0, 0, 0};
			if (a.acc) widen8(old, to);
			widen8(r.dy, g);
			widen8(r.x, v);
#pragma unroll
			for (int j = 0; j < 8; j++) to[j] += rstd * (g[j] * w[j] - means.x - (v[j] - mean) * rstd * means.y);
			store8<PACKED>(dx, c, a.c, to);
		}
		if (PACKED) r = next;
	}
	if (!a.parts) return;
	float *parts = a.parts + (i64)blockIdx.x * 2 * a.c + c;
#pragma unroll
	for (int j = 0; j < 8; j++)
		if (c + j < a.c) {
			if (CENTER) parts[j] = sum[j];
			parts[a.c + j] = dot[j];
		}
}

// Two octets in a thread keep enough reads under way; a warp with three or four does short rows faster than a block.
NORM(256, 256, WARP, 1)
NORM(768, 256, WARP, 3)
NORM(1024, 256, WARP, 4)
NORM(2048, 128, 128, 2)
NORM(4096, 256, 256, 2)
NORM(8192, 512, 512, 2)
NORM(16384, 1024, 1024, 2)
KERNEL_BLOCKS(rms_grad_packed, 512, 2, NormGradArgs) { norm_grad<true, false>(a); }
KERNEL_BLOCKS(layer_grad_packed, 512, 2, NormGradArgs) { norm_grad<true, true>(a); }
KERNEL(rms_grad, 512, NormGradArgs) { norm_grad<false, false>(a); }
KERNEL(layer_grad, 512, NormGradArgs) { norm_grad<false, true>(a); }

// norm_grad_long does a row of any length in a block, and reads it twice.
KERNEL(norm_grad_long, 1024, NormGradArgs) {
	i64 row = blockIdx.x;
	Floats x = from(a.x, row * a.c), dy = from(a.dy, row * a.c), dx = from(a.dx, row * a.c);
	float mean = a.mean ? a.mean[row] : 0.0f, rstd = a.rstd[row], all = 0.0f, product = 0.0f;
	auto each = [&](int c, float g[4], float v[4]) {
		float w[4] = {1, 1, 1, 1};
		load4(dy, c, a.c, g);
		load4(x, c, a.c, v);
		if (a.weight.p) load4(a.weight, c, a.c, w);
#pragma unroll
		for (int j = 0; j < 4; j++) {
			g[j] *= a.weight.p ? w[j] + a.offset : 1.0f;
			v[j] = c + j < a.c ? (v[j] - mean) * rstd : 0.0f;
		}
	};
	float g[4], v[4];
	for (int c = threadIdx.x * 4; c < a.c; c += 4096) {
		each(c, g, v);
#pragma unroll
		for (int j = 0; j < 4; j++) all += g[j], product += g[j] * v[j];
	}
	all = a.mean ? block_sum<1024>(all) / a.c : 0.0f;
	product = block_sum<1024>(product) / a.c;
	for (int c = threadIdx.x * 4; c < a.c; c += 4096) {
		float to[4] = {0, 0, 0, 0};
		each(c, g, v);
		if (a.acc) load4(dx, c, a.c, to);
#pragma unroll
		for (int j = 0; j < 4; j++) to[j] += rstd * (g[j] - all - v[j] * product);
		store4(dx, c, a.c, to);
	}
}

// rotate_pairs rotates N neighbouring pairs of a head, or moves as many of the channels behind the rotary ones. Eight are packed.
template <int N> __device__ __forceinline__ void rotate_pairs(const RotateArgs &a, const Rotated &p) {
	u32 n = blockIdx.x * 256u + threadIdx.x, pieces = (u32)(a.d - a.half) / N; // of a head
	u32 head = n / pieces, row = head / (u32)p.heads;
	int i = (int)(n - head * pieces) * N;
	i64 base = (i64)head * a.d, upper = base + a.half + i, cached = 0;
	if (row >= a.rows) return;
	bool rotary = i < a.half, pair = rotary && p.y.p;
	Eight<true> eu = {}, ev = {};
	float u[N] = {}, v[N] = {}, c[N] = {}, s[N] = {};
	if constexpr (N == 8) {
		read8(ev, p.x, upper, upper + 8);
		if (rotary) read8(eu, p.x, base + i, base + i + 8);
	} else {
		v[0] = load(p.x, upper);
		if (rotary) u[0] = load(p.x, base + i);
	}
	if (p.cache.p) {
		int place = a.places[row];
		if (place < 0 || place >= a.room) {
			a.failure->code = 5;
			return;
		}
		cached = ((i64)place - row) * p.heads * a.d;
	}
	if (pair && !angles<N>(a, row, i, c, s)) return;
	if constexpr (N == 8) {
		widen8(ev, v);
		if (rotary) widen8(eu, u);
	}
	if (pair) turn<N>(u, v, c, s);
	auto put = [&](i64 at, const float *x) {
		if constexpr (N == 8) {
			if (p.y.p) store8<true>(p.y, at, at + 8, x);
			if (p.cache.p) store8<true>(p.cache, cached + at, cached + at + 8, x);
		} else {
			if (p.y.p) store(p.y, at, x[0]);
			if (p.cache.p) store(p.cache, cached + at, p.y.p && p.y.half ? widen(narrow(x[0])) : x[0]);
		}
	};
	if (rotary) put(base + i, u);
	put(upper, v);
}

// rotate works on part blockIdx.y.
KERNEL(rotate, 256, RotateArgs) {
	const Rotated &p = a.parts[blockIdx.y];
	if (a.pairs == 8)
		rotate_pairs<8>(a, p);
	else
		rotate_pairs<1>(a, p);
}
