// What a host compiler needs to compile the kernels as C++: the built-in variables, functions and types of CUDA that they
// use. Each thread of a block is a fiber; a barrier switches to the next one. See emulator.cpp.
#pragma once
#include <math.h>
#include <string.h>

#define HONE_DYNAMIC_SHARED (256 << 10)

struct Dim3 {
	unsigned x, y, z;
};
extern "C" {
extern Dim3 threadIdx, blockIdx, blockDim, gridDim;
extern unsigned char hone_shared[HONE_DYNAMIC_SHARED];
void hone_block_barrier();
unsigned hone_exchange(unsigned mask, unsigned v, int lane); // what the lane of this warp gave
}

#define KERNEL(name, threads, args)                                       \
	static void name##_body(const args &a);                                \
	extern "C" const int name##_threads = threads;                         \
	extern "C" const unsigned long name##_bytes = sizeof(args);            \
	extern "C" void name(const void *p) { name##_body(*(const args *)p); } \
	static void name##_body(const args &a)

#define DYNAMIC_SHARED(type, name) type *name = (type *)hone_shared

#define __global__
#define __device__ static
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __restrict__

struct uint2 {
	unsigned x, y;
};
struct uint4 {
	unsigned x, y, z, w;
};
struct alignas(16) float4 {
	float x, y, z, w;
};
struct float2 {
	float x, y;
};

static inline float __uint_as_float(unsigned v) {
	float f;
	memcpy(&f, &v, 4);
	return f;
}
static inline unsigned __float_as_uint(float f) {
	unsigned v;
	memcpy(&v, &f, 4);
	return v;
}
static inline float __int_as_float(int v) { return __uint_as_float((unsigned)v); }
static inline float __fmul_rn(float a, float b) { return a * b; } // the build forbids fused ones
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

static inline void __syncthreads() { hone_block_barrier(); }

static inline unsigned hone_lane() { return threadIdx.x % 32; }
static inline float __shfl_sync(unsigned mask, float v, int lane) { return __uint_as_float(hone_exchange(mask, __float_as_uint(v), lane & 31)); }
static inline int __shfl_sync(unsigned mask, int v, int lane) { return (int)hone_exchange(mask, (unsigned)v, lane & 31); }
static inline unsigned __shfl_sync(unsigned mask, unsigned v, int lane) { return hone_exchange(mask, v, lane & 31); }
template <class T> static inline T __shfl_xor_sync(unsigned mask, T v, int o) { return __shfl_sync(mask, v, (int)hone_lane() ^ o); }
static inline void __syncwarp(unsigned mask = 0xffffffffu) { hone_exchange(mask, 0, hone_lane()); }
