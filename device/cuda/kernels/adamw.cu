// The optimizer's step, and parameters in halves; see device.AdamW and device.Device's Split.

// Params are F32, whole or, where whole is null, in halves.
struct Params {
	float *whole;
	u16 *high, *rest;
};

// A value is, as an integer, its upper half shifted up plus the rest as a signed number, since rounding to nearest adds
// half of what is cut off.
__device__ __forceinline__ float joined(const Params &p, i64 i) {
	if (p.whole) return p.whole[i];
	return __uint_as_float(((u32)p.high[i] << 16) + (u32)(int)(short)p.rest[i]);
}

__device__ __forceinline__ void put(const Params &p, i64 i, float x) {
	if (p.whole) {
		p.whole[i] = x;
		return;
	}
	u32 b = __float_as_uint(x);
	if (x != x) b = (b & 0xffff0000u) | 1u << 22; // rounded, it might become a number
	p.high[i] = (u16)((b + 0x8000u) >> 16);
	p.rest[i] = (u16)b;
}

struct SplitArgs {
	float *x;
	Params halves;
	i64 n;
};

KERNEL(split, 256, SplitArgs) {
	i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
	if (i < a.n) put(a.halves, i, a.x[i]);
}

KERNEL(join, 256, SplitArgs) {
	i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
	if (i < a.n) a.x[i] = joined(a.halves, i);
}

// Updated is a tensor to update.
struct Updated {
	Params param;
	Floats grad;
	void *m, *v;              // F32, or codes
	float *m_scale, *v_scale; // of blocks of 256, where there are codes
	i64 n;
	float step, keep; // the rate over the first bias correction; 1-rate·decay
	int first, pad;   // block
};

struct AdamWArgs {
	const float *codes; // [2, 256]: the numbers of the codes of m and of v
	float scale, beta1, rest1, beta2, rest2, corr2, eps; // corr2: 1 over the second bias correction
	int count;
	Updated of[40];
};

// step_of is Adam's step of one parameter; m and v are changed.
__device__ __forceinline__ float step_of(const AdamWArgs &a, const Updated &t, float p, float g, float &m, float &v) {
	g *= a.scale;
	m = a.beta1 * m + a.rest1 * g;
	v = a.beta2 * v + a.rest2 * g * g;
	return t.keep * p - t.step * m / (sqrtf(v * a.corr2) + a.eps);
}

// adamw gives 1024 elements to a block, of which a thread reads four before it writes.
KERNEL(adamw, 256, AdamWArgs) {
	constexpr int EACH = 4;
	const Updated &t = a.of[owner(a.of, a.count, blockIdx.x)];
	float *ms = (float *)t.m, *vs = (float *)t.v;
	i64 first = (i64)(blockIdx.x - t.first) * 256 * EACH + threadIdx.x;
	float p[EACH], g[EACH], m[EACH], v[EACH];
#pragma unroll
	for (int e = 0; e < EACH; e++) {
		i64 i = first + e * 256;
		if (i < t.n) p[e] = joined(t.param, i), g[e] = load(t.grad, i), m[e] = ms[i], v[e] = vs[i];
	}
#pragma unroll
	for (int e = 0; e < EACH; e++) {
		i64 i = first + e * 256;
		if (i >= t.n) return;
		put(t.param, i, step_of(a, t, p[e], g[e], m[e], v[e]));
		ms[i] = m[e];
		vs[i] = v[e];
	}
}

// code_of is the nearest of 256 ascending numbers, the lower one of two as near.
__device__ __forceinline__ int code_of(const float *codes, float v) {
	int c = 0;
	for (int step = 128; step; step >>= 1)
		if (v > (codes[c + step - 1] + codes[c + step]) / 2) c += step;
	return c;
}

// adamw8 gives a block of 256 elements, which share scales, to a block of threads.
KERNEL(adamw8, 256, AdamWArgs) {
	__shared__ float codes[512];
	codes[threadIdx.x] = a.codes[threadIdx.x];
	codes[256 + threadIdx.x] = a.codes[256 + threadIdx.x];
	__syncthreads();
	const Updated &t = a.of[owner(a.of, a.count, blockIdx.x)];
	i64 block = blockIdx.x - t.first, i = block * 256 + threadIdx.x;
	u8 *mc = (u8 *)t.m, *vc = (u8 *)t.v;
	float m = 0.0f, v = 0.0f;
	if (i < t.n) {
		m = codes[mc[i]] * t.m_scale[block];
		v = codes[256 + vc[i]] * t.v_scale[block];
		put(t.param, i, step_of(a, t, joined(t.param, i), load(t.grad, i), m, v));
	}
	float most_m = block_max<256>(fabsf(m)), most_v = block_max<256>(fabsf(v));
	if (i < t.n) {
		mc[i] = (u8)code_of(codes, m * (1.0f / fmaxf(most_m, 1e-38f)));
		vc[i] = (u8)code_of(codes + 256, v * (1.0f / fmaxf(most_v, 1e-38f)));
	}
	if (threadIdx.x == 0) {
		t.m_scale[block] = most_m;
		t.v_scale[block] = most_v;
	}
}
