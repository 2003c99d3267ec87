// Matrices in few bits; see device.Packed. Products and sums that fix a code are rounded one by one: no fused ones.

#include "mma.cuh"

struct PackedArgs {
	Floats x; // what is packed, or unpacked
	u8 *codes, *scales;
	float *nested, *offset;
	float *largest;       // [blocks], scratch
	const float *dynamic; // [256]: device.DynamicMap(true)
	const float *nf4;     // [16]: device.NF4Codes
	i64 n;
	int cols;
};

// nearest is the number of the code next to v, the lower one of two as near; a NaN, which is 0/0, counts as 0.
template <int COUNT> __device__ __forceinline__ int nearest(const float *codes, float v) {
	int c = 0;
	if (v != v) v = 0.0f;
	for (int step = COUNT / 2; step; step >>= 1)
		if (v > (codes[c + step - 1] + codes[c + step]) / 2) c += step;
	return c;
}

// pack_nf4 gives a block of 64 numbers to a warp, two of them, which are a byte, to a lane.
KERNEL(pack_nf4, 256, PackedArgs) {
	i64 block = (i64)blockIdx.x * 8 + threadIdx.x / WARP, i = block * 64 + threadIdx.x % WARP * 2;
	if (block * 64 >= a.n) return; // a whole warp
	float u = i < a.n ? load(a.x, i) : 0.0f, v = i + 1 < a.n ? load(a.x, i + 1) : 0.0f;
	float most = warp_max(fmaxf(fabsf(u), fabsf(v))), scale = 1.0f / fmaxf(most, 1e-38f);
	if (i < a.n) a.codes[i / 2] = (u8)(nearest<16>(a.nf4, __fmul_rn(u, scale)) << 4 | nearest<16>(a.nf4, __fmul_rn(v, scale)));
	if (threadIdx.x % WARP == 0) a.largest[block] = most;
}

// pack_offset is one block: the mean of the largest magnitudes.
KERNEL(pack_offset, 256, PackedArgs) {
	__shared__ double part[256];
	double sum = 0;
	for (i64 i = threadIdx.x; i < a.n; i += 256) sum += (double)a.largest[i];
	part[threadIdx.x] = sum;
	__syncthreads();
	if (threadIdx.x != 0) return;
	for (int i = 1; i < 256; i++) sum += part[i];
	a.offset[0] = (float)(sum / (double)(a.n > 0 ? a.n : 1));
}

// pack_nested gives 256 magnitudes, which share one in turn, to a block.
KERNEL(pack_nested, 256, PackedArgs) {
	i64 i = (i64)blockIdx.x * 256 + threadIdx.x;
	float v = i < a.n ? __fadd_rn(a.largest[i], -a.offset[0]) : 0.0f;
	float most = block_max<256>(fabsf(v));
	if (i < a.n) a.scales[i] = (u8)nearest<256>(a.dynamic, v / most);
	if (threadIdx.x == 0) a.nested[blockIdx.x] = most;
}

KERNEL(pack_int8, 256, PackedArgs) {
	i64 row = blockIdx.x;
	Floats x = from(a.x, row * a.cols);
	float most = 0.0f;
	for (int c = threadIdx.x; c < a.cols; c += 256) most = fmaxf(most, fabsf(load(x, c)));
	most = block_max<256>(most);
	float scale = most > 0.0f ? 127.0f / most : 0.0f;
	for (int c = threadIdx.x; c < a.cols; c += 256) a.codes[row * a.cols + c] = (u8)(signed char)rintf(__fmul_rn(load(x, c), scale));
	if (threadIdx.x == 0) a.nested[row] = most;
}

__device__ __forceinline__ float scale_of(const PackedArgs &a, i64 block) {
	return __fadd_rn(__fmul_rn(a.dynamic[a.scales[block]], a.nested[block / 256]), a.offset[0]);
}

// unpack_eight writes eight numbers from i on: four bytes of codes, within one block of 64.
__device__ __forceinline__ void unpack_eight(const PackedArgs &a, i64 i, const float *codes) {
	float scale = scale_of(a, i / 64);
	for (int j = 0; j < 8; j += 4) {
		float y[4] = {0, 0, 0, 0};
		for (int k = 0; k < 4; k += 2)
			if (i + j + k < a.n) {
				u8 c = a.codes[(i + j + k) / 2];
				y[k] = codes[c >> 4] * scale;
				y[k + 1] = codes[c & 15] * scale;
			}
		if (i + j < a.n) store4(a.x, i + j, a.n, y);
	}
}

// unpack_nf4 writes four times eight numbers in a thread, in bf16 all of whose codes are read before.
KERNEL(unpack_nf4, 256, PackedArgs) {
	constexpr int TURNS = 4, TURN = 256 * 8;
	__shared__ float codes[16];
	if (threadIdx.x < 16) codes[threadIdx.x] = a.nf4[threadIdx.x];
	__syncthreads();
	i64 first = (i64)blockIdx.x * TURNS * TURN + threadIdx.x * 8;
	if (first + (TURNS - 1) * TURN + 8 > a.n || !a.x.half || ((unsigned long long)a.x.p | (unsigned long long)a.codes * 4) % 16) {
		for (i64 i = first; i < a.n && i < first + TURNS * TURN; i += TURN) unpack_eight(a, i, codes);
		return;
	}
	u32 words[TURNS];
	float scales[TURNS];
#pragma unroll
	for (int t = 0; t < TURNS; t++) {
		words[t] = *(const u32 *)(a.codes + (first + t * TURN) / 2);
		scales[t] = scale_of(a, (first + t * TURN) / 64);
	}
#pragma unroll
	for (int t = 0; t < TURNS; t++) *(uint4 *)((u16 *)a.x.p + first + t * TURN) = unpack8(words[t], codes, scales[t]);
}

KERNEL(unpack_int8, 256, PackedArgs) {
	i64 row = blockIdx.x;
	float scale = a.nested[row] * (1.0f / 127.0f);
	for (int c = threadIdx.x; c < a.cols; c += 256) store(a.x, row * a.cols + c, scale * (float)(signed char)a.codes[row * a.cols + c]);
}
