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

struct AdamWArgs {
	Params param;
	Floats grad;
	void *m, *v;              // F32, or codes
	float *m_scale, *v_scale; // of blocks of 256, where there are codes
	const float *codes;       // [2, 256]: the numbers of the codes of m and of v
	i64 n;
	float scale, beta1, rest1, beta2, rest2;
	float step, corr2, eps, keep; // step: the rate over the first bias correction; corr2: 1 over the second; keep: 1-rate·decay
};

// step is Adam's step of one parameter; m and v are changed.
__device__ __forceinline__ float step_of(const AdamWArgs &a, float p, float g, float &m, float &v) {
	g *= a.scale;
	m = a.beta1 * m + a.rest1 * g;
	v = a.beta2 * v + a.rest2 * g * g;
	return a.keep * p - a.step * m / (sqrtf(v * a.corr2) + a.eps);
}

KERNEL(adamw, 256, AdamWArgs) {
	i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
	if (i >= a.n) return;
	float m = ((float *)a.m)[i], v = ((float *)a.v)[i];
	put(a.param, i, step_of(a, joined(a.param, i), load(a.grad, i), m, v));
	((float *)a.m)[i] = m;
	((float *)a.v)[i] = v;
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
	i64 block = blockIdx.x, i = block * 256 + threadIdx.x;
	u8 *mc = (u8 *)a.m, *vc = (u8 *)a.v;
	float m = 0.0f, v = 0.0f;
	if (i < a.n) {
		m = codes[mc[i]] * a.m_scale[block];
		v = codes[256 + vc[i]] * a.v_scale[block];
		put(a.param, i, step_of(a, joined(a.param, i), load(a.grad, i), m, v));
	}
	float most_m = block_max<256>(fabsf(m)), most_v = block_max<256>(fabsf(v));
	if (i < a.n) {
		mc[i] = (u8)code_of(codes, m * (1.0f / fmaxf(most_m, 1e-38f)));
		vc[i] = (u8)code_of(codes + 256, v * (1.0f / fmaxf(most_v, 1e-38f)));
	}
	if (threadIdx.x == 0) {
		a.m_scale[block] = most_m;
		a.v_scale[block] = most_v;
	}
}
