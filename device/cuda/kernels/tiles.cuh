// What flash.cuh and hopper.cuh share: which keys a tile of queries sees, where a thread's sums are, and the dot product of rows.

#include "attention.cuh"
#include "mma.cuh"

constexpr float LOG2E = 1.44269504088896341f, LN2 = 0.69314718055994531f;

__device__ __forceinline__ u16 *bf16(const Floats &x) { return (u16 *)x.p; }

// some_hidden says whether a block's queries, from i to i+queries, do not all see the keys from j to j+keys.
__device__ __forceinline__ bool some_hidden(const AttentionArgs &a, const Tile &t, int i, int queries, int j, int keys) {
	int first = t.k_len - t.q_len + i, last = first + queries - 1;
	return i + queries > t.q_len || j + keys > t.k_len || j + keys - 1 > first || (a.window > 0 && j <= last - a.window);
}

// keys_of are the first key that a block's queries see, rounded to tiles, and the one after the last.
template <int OWN, int SEEN> __device__ __forceinline__ void keys_of(const AttentionArgs &a, const Tile &t, int &lo, int &hi) {
	int off = t.k_len - t.q_len;
	lo = a.window > 0 ? max(0, off + t.first - a.window + 1) / SEEN * SEEN : 0;
	hi = off + min(t.first + OWN, t.q_len);
}

// quad_max is the largest of the four threads that have a row.
__device__ __forceinline__ float quad_max(float v) {
	v = max_nan(v, __shfl_xor_sync(ALL, v, 1));
	return max_nan(v, __shfl_xor_sync(ALL, v, 2));
}

__device__ __forceinline__ float quad_sum(float v) {
	v += __shfl_xor_sync(ALL, v, 1);
	return v + __shfl_xor_sync(ALL, v, 2);
}

// row_of and column_of are where number e of a c is in it, of this thread.
__device__ __forceinline__ int row_of(int e) { return e / 2 * 8 + threadIdx.x % WARP / 4; }
__device__ __forceinline__ int column_of(int e) { return threadIdx.x % 4 * 2 + e % 2; }

// part_of_dot is what a lane has of Σ x·y over d channels.
__device__ __forceinline__ float part_of_dot(const u16 *x, const u16 *y, int d) {
	float part = 0.0f;
	for (int c = threadIdx.x % WARP * 2; c < d; c += 2 * WARP) {
		u32 u = *(const u32 *)(x + c), v = *(const u32 *)(y + c);
		part += __uint_as_float(u << 16) * __uint_as_float(v << 16) + __uint_as_float(u & 0xffff0000u) * __uint_as_float(v & 0xffff0000u);
	}
	return part;
}
