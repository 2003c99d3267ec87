// The optimizer's step; see device.AdamW.

struct AdamWArgs {
	float *param;
	Floats grad;
	void *m, *v;              // F32, or codes
	float *m_scale, *v_scale; // of blocks of 256, where there are codes
	u16 *half;                // optional
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
	float p = step_of(a, a.param[i], load(a.grad, i), m, v);
	a.param[i] = p;
	((float *)a.m)[i] = m;
	((float *)a.v)[i] = v;
	if (a.half) a.half[i] = narrow(p);
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
		float p = step_of(a, a.param[i], load(a.grad, i), m, v);
		a.param[i] = p;
		if (a.half) a.half[i] = narrow(p);
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
