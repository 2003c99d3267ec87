// Rotary positions: what norm.cu, which rotates, and decode.cuh, which rotates what it reads, have in common.

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
	int d, half, inverse, limit, room; // of pairs; of rows of cos and sin, and of the caches
	int pairs;                         // of a thread: 8, where all is BF16 on 16 bytes, or 1
	Rotated parts[4];
};

// angles reads the cosines and sines of N neighbouring pairs of a row from pair i on, and reports a position that the tables do not have.
template <int N> __device__ __forceinline__ bool angles(const RotateArgs &a, i64 row, int i, float c[N], float s[N]) {
	int position = a.positions[row];
	if (position < 0 || position >= a.limit) {
		a.failure->code = 1;
		return false;
	}
	const float *cos = a.cos + (i64)position * a.half + i, *sin = a.sin + (i64)position * a.half + i;
#pragma unroll
	for (int j = 0; j < N; j += 4)
		if constexpr (N == 8) {
			float4 c4 = *(const float4 *)(cos + j), s4 = *(const float4 *)(sin + j);
			c[j] = c4.x, c[j + 1] = c4.y, c[j + 2] = c4.z, c[j + 3] = c4.w;
			s[j] = s4.x, s[j + 1] = s4.y, s[j + 2] = s4.z, s[j + 3] = s4.w;
		} else
			c[0] = cos[0], s[0] = sin[0];
	if (a.inverse)
#pragma unroll
		for (int j = 0; j < N; j++) s[j] = -s[j];
	return true;
}

// turn rotates N pairs. Its roundings are spelled out, so that the bits are the same wherever it stands.
template <int N> __device__ __forceinline__ void turn(float u[N], float v[N], const float c[N], const float s[N]) {
#pragma unroll
	for (int j = 0; j < N; j++) {
		float turned = __fadd_rn(__fmul_rn(u[j], c[j]), -__fmul_rn(v[j], s[j]));
		v[j] = __fadd_rn(__fmul_rn(v[j], c[j]), __fmul_rn(u[j], s[j]));
		u[j] = turned;
	}
}
