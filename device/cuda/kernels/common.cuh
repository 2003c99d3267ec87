// What all kernels share: views of memory, conversions, reductions in a fixed order. It stands before every file of
// kernels when NVRTC compiles it, and when a host compiler does for the tests (testdata/emulator).
//
// A kernel takes one structure by value. Its twin in Go has the same fields in the same order; a test compares the sizes.

#ifndef HONE_EMULATED
#define KERNEL(name, threads, args) extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ args a)
// KERNEL_BLOCKS takes no more registers than let so many blocks run at a time on a multiprocessor.
#define KERNEL_BLOCKS(name, threads, blocks, args) extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ args a)
#define DYNAMIC_SHARED(type, name)                        \
	extern __shared__ __align__(16) unsigned char shared_[]; \
	type *name = (type *)shared_
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define WARP 32
#define ALL 0xffffffffu
#define INF __int_as_float(0x7f800000)
#define NAN_ __int_as_float(0x7fffffff)

// Floats is a view of F32 or BF16 memory. wide says that p is aligned to four elements. p is null where an operand is absent.
struct Floats {
	void *p;
	int half;
	int wide;
};

// Failure is a word on the host that a kernel sets when it meets an index outside its table.
struct Failure {
	int code;
};

__device__ __forceinline__ float widen(u16 v) { return __uint_as_float((u32)v << 16); }

// narrow rounds to the nearest bf16, ties to even; NaN stays NaN.
__device__ __forceinline__ u16 narrow(float f) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
	u16 h;
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
#else
	u32 b = __float_as_uint(f);
	if (f != f) return 0x7fff;
	return (u16)((b + 0x7fff + (b >> 16 & 1)) >> 16);
#endif
}

// narrow2 rounds two numbers to bf16, the first one in the lower half.
__device__ __forceinline__ u32 narrow2(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
	u32 u;
	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(b), "f"(a));
	return u;
#else
	return narrow(a) | (u32)narrow(b) << 16;
#endif
}

__device__ __forceinline__ float load(const Floats &v, i64 i) { return v.half ? widen(((const u16 *)v.p)[i]) : ((const float *)v.p)[i]; }

__device__ __forceinline__ void store(const Floats &v, i64 i, float x) {
	if (v.half)
		((u16 *)v.p)[i] = narrow(x);
	else
		((float *)v.p)[i] = x;
}

// row is the part of v from element i on.
__device__ __forceinline__ Floats from(const Floats &v, i64 i) {
	Floats r = v;
	r.p = v.half ? (void *)((u16 *)v.p + i) : (void *)((float *)v.p + i);
	r.wide = v.wide && i % 4 == 0;
	return r;
}

// load4 reads elements i to i+3 of n; those behind the end are 0. i is a multiple of 4.
__device__ __forceinline__ void load4(const Floats &v, i64 i, i64 n, float x[4]) {
	if (v.wide && i + 4 <= n) {
		if (v.half) {
			uint2 u = *(const uint2 *)((const u16 *)v.p + i);
			x[0] = __uint_as_float(u.x << 16), x[1] = __uint_as_float(u.x & 0xffff0000u);
			x[2] = __uint_as_float(u.y << 16), x[3] = __uint_as_float(u.y & 0xffff0000u);
		} else {
			float4 f = *(const float4 *)((const float *)v.p + i);
			x[0] = f.x, x[1] = f.y, x[2] = f.z, x[3] = f.w;
		}
		return;
	}
#pragma unroll
	for (int j = 0; j < 4; j++) x[j] = i + j < n ? load(v, i + j) : 0.0f;
}

// store4 writes what load4 reads.
__device__ __forceinline__ void store4(const Floats &v, i64 i, i64 n, const float x[4]) {
	if (v.wide && i + 4 <= n) {
		if (v.half) {
			uint2 u;
			u.x = narrow2(x[0], x[1]), u.y = narrow2(x[2], x[3]);
			*(uint2 *)((u16 *)v.p + i) = u;
		} else {
			float4 f;
			f.x = x[0], f.y = x[1], f.z = x[2], f.w = x[3];
			*(float4 *)((float *)v.p + i) = f;
		}
		return;
	}
#pragma unroll
	for (int j = 0; j < 4; j++)
		if (i + j < n) store(v, i + j, x[j]);
}

// owner is the one of count buffers that share a grid whose block this is: they are in order, and each says which of the blocks is its first.
template <class T> __device__ __forceinline__ int owner(const T *of, int count, int block) {
	int lo = 0;
	for (int hi = count; hi - lo > 1;) {
		int middle = (lo + hi) / 2;
		if (of[middle].first <= block)
			lo = middle;
		else
			hi = middle;
	}
	return lo;
}

// packed says that eight neighbouring elements of v are one access: BF16 on 16 bytes.
__device__ __forceinline__ bool packed(const Floats &v) { return v.half && (u64)v.p % 16 == 0; }

// Eight is what was read of eight elements, not yet converted: a thread asks for all that it needs before it waits for any of it.
template <bool PACKED> struct Eight {
	uint4 u[PACKED ? 1 : 2];
};

// read8 reads elements i to i+7 of n; i is a multiple of 8. PACKED ones are all there; of others those behind the end are 0.
template <bool PACKED> __device__ __forceinline__ void read8(Eight<PACKED> &e, const Floats &v, i64 i, i64 n) {
	if constexpr (PACKED) {
		e.u[0] = *(const uint4 *)((const u16 *)v.p + i);
	} else {
#pragma unroll
		for (int h = 0; h < 2; h++) {
			float x[4];
			load4(v, i + 4 * h, n, x);
			e.u[h].x = __float_as_uint(x[0]), e.u[h].y = __float_as_uint(x[1]), e.u[h].z = __float_as_uint(x[2]), e.u[h].w = __float_as_uint(x[3]);
		}
	}
}

template <bool PACKED> __device__ __forceinline__ void widen8(const Eight<PACKED> &e, float x[8]) {
	const uint4 &u = e.u[0], &v = e.u[PACKED ? 0 : 1];
	if constexpr (PACKED) {
		x[0] = __uint_as_float(u.x << 16), x[1] = __uint_as_float(u.x & 0xffff0000u), x[2] = __uint_as_float(u.y << 16), x[3] = __uint_as_float(u.y & 0xffff0000u);
		x[4] = __uint_as_float(u.z << 16), x[5] = __uint_as_float(u.z & 0xffff0000u), x[6] = __uint_as_float(u.w << 16), x[7] = __uint_as_float(u.w & 0xffff0000u);
	} else {
		x[0] = __uint_as_float(u.x), x[1] = __uint_as_float(u.y), x[2] = __uint_as_float(u.z), x[3] = __uint_as_float(u.w);
		x[4] = __uint_as_float(v.x), x[5] = __uint_as_float(v.y), x[6] = __uint_as_float(v.z), x[7] = __uint_as_float(v.w);
	}
}

template <bool PACKED> __device__ __forceinline__ void load8(const Floats &v, i64 i, i64 n, float x[8]) {
	Eight<PACKED> e;
	read8(e, v, i, n);
	widen8(e, x);
}

// store8 writes what read8 reads.
template <bool PACKED> __device__ __forceinline__ void store8(const Floats &v, i64 i, i64 n, const float x[8]) {
	if constexpr (PACKED) {
		uint4 u;
		u.x = narrow2(x[0], x[1]), u.y = narrow2(x[2], x[3]), u.z = narrow2(x[4], x[5]), u.w = narrow2(x[6], x[7]);
		*(uint4 *)((u16 *)v.p + i) = u;
	} else {
		store4(v, i, n, x);
		store4(v, i + 4, n, x + 4);
	}
}

// max_nan is the larger one, NaN when either is: fmaxf would drop it.
__device__ __forceinline__ float max_nan(float a, float b) { return a > b || a != a ? a : b; }

__device__ __forceinline__ float warp_sum(float v) {
	for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(ALL, v, o);
	return v;
}

__device__ __forceinline__ float warp_max(float v) {
	for (int o = 16; o; o >>= 1) {
		float w = __shfl_xor_sync(ALL, v, o);
		v = v != v || v > w ? v : w;
	}
	return v;
}

// block_sum is the sum of v over the block, in all threads: by warps, then over the warps in order.
template <int THREADS> __device__ float block_sum(float v) {
	__shared__ float part[THREADS / WARP];
	v = warp_sum(v);
	__syncthreads(); // an earlier call's parts have been read
	if (threadIdx.x % WARP == 0) part[threadIdx.x / WARP] = v;
	__syncthreads();
	v = 0;
	for (int i = 0; i < THREADS / WARP; i++) v += part[i];
	return v;
}

// block_max is the largest v of the block, in all threads; NaN when one is.
template <int THREADS> __device__ float block_max(float v) {
	__shared__ float part[THREADS / WARP];
	v = warp_max(v);
	__syncthreads();
	if (threadIdx.x % WARP == 0) part[threadIdx.x / WARP] = v;
	__syncthreads();
	v = part[0];
	for (int i = 1; i < THREADS / WARP; i++) v = max_nan(v, part[i]);
	return v;
}

// ended_last says whether the other ones of so many blocks, which count in ended, are done. What they wrote is then seen where it is read as volatile,
// past the cache of a multiprocessor.
__device__ __forceinline__ bool ended_last(int *ended, int blocks) {
	__shared__ int before;
	__threadfence();
	__syncthreads();
	if (threadIdx.x == 0) before = atomicAdd(ended, 1);
	__syncthreads();
	if (before != blocks - 1) return false;
	__threadfence();
	if (threadIdx.x == 0) *ended = 0;
	return true;
}
