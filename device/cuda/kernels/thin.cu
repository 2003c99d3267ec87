// Products with few columns: C (+)= A·op(B) (+ bias) with at most 64 columns of C, as the first half of a low-rank update has them and the gradient of
// its middle. The time is that of reading A once, so no tile of it is shared: a warp takes 32 rows, and a lane's 16 bytes are a of two
// mma as they are, since any order of k does when B is read in the same one. Blocks share out k, too, in parts of CHUNK; what a block
// sums, and the order of the parts, depend on k alone: a row has the same bits among any others.

#include "mma.cuh"

constexpr int WARPS = 4, ROWS = 32, CHUNK = 512; // of a block, of a warp, and numbers of a row that a block multiplies

struct ThinArgs {
	Floats c, bias;     // [m, n]; bias optional
	const u16 *a, *b;   // [m, k]; [n, k], or [k, n] where it is to be turned
	u16 *turned;        // [n, k]
	float *parts;       // [⌈k/CHUNK⌉, m, n]
	i64 lda, ldb, ldc;
	int m, n, k, acc;
	float scale;
	int pad;
};

// thin_turn transposes B, a thread a row of it.
KERNEL(thin_turn, 256, ThinArgs) {
	int k = blockIdx.x * 256 + threadIdx.x;
	if (k >= a.k) return;
	for (int j = 0; j < a.n; j++) a.turned[(i64)j * a.k + k] = a.b[k * a.ldb + j];
}

// thin_parts multiplies by TILES·8 columns.
template <int TILES, int PIECES> __device__ __forceinline__ void thin_parts(const ThinArgs &x) {
	int lane = threadIdx.x % WARP, g = lane / 4;
	int first = (blockIdx.x * WARPS + threadIdx.x / WARP) * ROWS, lo = blockIdx.y * CHUNK, hi = min(lo + CHUNK, x.k);
	if (first >= x.m) return;
	const u16 *rows[4];
#pragma unroll
	for (int r = 0; r < 4; r++) rows[r] = x.a + (i64)min(first + 8 * r + g, x.m - 1) * x.lda;
	float c[2][TILES][4];
#pragma unroll
	for (int m = 0; m < 2; m++)
#pragma unroll
		for (int n = 0; n < TILES; n++) c[m][n][0] = c[m][n][1] = c[m][n][2] = c[m][n][3] = 0.0f;
	uint4 none = {0, 0, 0, 0};
	for (int k0 = lo; k0 < hi; k0 += PIECES * 32) {
		uint4 u[PIECES][4], v[PIECES][TILES];
#pragma unroll
		for (int i = 0; i < PIECES; i++) {
			int k = k0 + i * 32 + lane % 4 * 8;
#pragma unroll
			for (int r = 0; r < 4; r++) u[i][r] = k < hi ? read_once(rows[r] + k) : none;
		}
#pragma unroll
		for (int i = 0; i < PIECES; i++) {
			int k = k0 + i * 32 + lane % 4 * 8;
#pragma unroll
			for (int n = 0; n < TILES; n++) v[i][n] = k < hi && 8 * n + g < x.n ? *(const uint4 *)(x.b + (8 * n + g) * x.ldb + k) : none;
		}
		__syncwarp(); // else the compiler puts reads behind the products that they should be ahead of
#pragma unroll
		for (int i = 0; i < PIECES; i++)
#pragma unroll
			for (int n = 0; n < TILES; n++) {
				u32 b[2] = {v[i][n].x, v[i][n].y}, b2[2] = {v[i][n].z, v[i][n].w};
#pragma unroll
				for (int m = 0; m < 2; m++) {
					const uint4 &low = u[i][2 * m], &high = u[i][2 * m + 1];
					u32 a[4] = {low.x, high.x, low.y, high.y}, a2[4] = {low.z, high.z, low.w, high.w};
					mma(c[m][n], a, b);
					mma(c[m][n], a2, b2);
				}
			}
	}
#pragma unroll
	for (int m = 0; m < 2; m++)
#pragma unroll
		for (int n = 0; n < TILES; n++)
#pragma unroll
			for (int e = 0; e < 4; e++) {
				int row = first + 16 * m + g + e / 2 * 8, column = 8 * n + lane % 4 * 2 + e % 2;
				if (row < x.m && column < x.n) x.parts[((i64)blockIdx.y * x.m + row) * x.n + column] = c[m][n][e];
			}
}

KERNEL(thin_16, 128, ThinArgs) { thin_parts<2, 4>(a); }
KERNEL(thin_32, 128, ThinArgs) { thin_parts<4, 2>(a); }
KERNEL(thin_64, 128, ThinArgs) { thin_parts<8, 2>(a); }

// thin_sum adds the parts up.
KERNEL(thin_sum, 256, ThinArgs) {
	i64 i = (i64)blockIdx.x * 256 + threadIdx.x, size = (i64)a.m * a.n;
	if (i >= size) return;
	float v = 0.0f;
	for (int p = 0; p * CHUNK < a.k; p++) v += a.parts[p * size + i];
	v *= a.scale;
	i64 at = i / a.n * a.ldc + i % a.n;
	if (a.bias.p) v += load(a.bias, i % a.n);
	if (a.acc) v += load(a.c, at);
	store(a.c, at, v);
}

// Products with short sums: C (+)= A·op(B) with at most 64 numbers in a sum, as the second half of a low-rank update has them. The time is that of writing C:
// a warp keeps 64 columns of B and goes down 128 rows, and a lane's sums are eight neighbours of a row, as columns are given to the tiles of mma.

constexpr int STRIP = 64, DOWN = 128; // columns and rows of a warp
constexpr int AHEAD = 2;              // times 16 rows that it reads before it writes: else each would wait for memory by itself

struct ShortArgs {
	u16 *c;           // [m, n]
	const u16 *a, *b; // [m, k]; [k, n], or [n, k]
	i64 lda, ldb, ldc;
	int m, n, k, acc;
};

// add2 adds what is in C.
__device__ __forceinline__ u32 add2(u32 c, float u, float v) { return narrow2(u + __uint_as_float(c << 16), v + __uint_as_float(c & 0xffff0000u)); }

// short_product has sums of up to 16·STEPS numbers; B is [n, k] where it is TURNED.
template <int STEPS, bool TURNED> __device__ __forceinline__ void short_product(const ShortArgs &x) {
	int lane = threadIdx.x % WARP, g = lane / 4, q = lane % 4;
	int column0 = (blockIdx.x * WARPS + threadIdx.x / WARP) * STRIP, row0 = blockIdx.y * DOWN;
	if (column0 >= x.n) return;
	u32 b[STEPS][8][2];
#pragma unroll
	for (int s = 0; s < STEPS; s++)
#pragma unroll
		for (int n = 0; n < 8; n++) {
			int column = column0 + n / 4 * 32 + g / 2 * 8 + n % 4 * 2 + g % 2, k = 16 * s + 4 * q;
			b[s][n][0] = b[s][n][1] = 0;
			if (column >= x.n || k >= x.k) continue;
			if (TURNED) {
				uint2 v = *(const uint2 *)(x.b + column * x.ldb + k);
				b[s][n][0] = v.x, b[s][n][1] = v.y;
			} else {
				const u16 *v = x.b + k * x.ldb + column;
				b[s][n][0] = v[0] | (u32)v[x.ldb] << 16, b[s][n][1] = v[2 * x.ldb] | (u32)v[3 * x.ldb] << 16;
			}
		}
	for (int row = row0 + g; row - g < min(row0 + DOWN, x.m); row += 16 * AHEAD) {
		u32 a[AHEAD][STEPS][4];
		uint4 old[AHEAD][4], zero = {0, 0, 0, 0}; // of row and row+8, the first 32 columns and the others
		uint2 none = {0, 0};
#pragma unroll
		for (int i = 0; i < AHEAD; i++)
#pragma unroll
			for (int s = 0; s < STEPS; s++) {
				int r = row + 16 * i, k = 16 * s + 4 * q;
				uint2 low = r < x.m && k < x.k ? *(const uint2 *)(x.a + r * x.lda + k) : none;
				uint2 high = r + 8 < x.m && k < x.k ? *(const uint2 *)(x.a + (r + 8) * x.lda + k) : none;
				a[i][s][0] = low.x, a[i][s][1] = high.x, a[i][s][2] = low.y, a[i][s][3] = high.y;
			}
#pragma unroll
		for (int i = 0; i < AHEAD; i++)
#pragma unroll
			for (int part = 0; part < 4; part++) {
				int r = row + 16 * i + part / 2 * 8, column = column0 + part % 2 * 32 + 8 * q;
				old[i][part] = x.acc && r < x.m && column < x.n ? *(const uint4 *)(x.c + r * x.ldc + column) : zero;
			}
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			float c[8][4];
#pragma unroll
			for (int n = 0; n < 8; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0.0f;
#pragma unroll
			for (int s = 0; s < STEPS; s++)
#pragma unroll
				for (int n = 0; n < 8; n++) mma(c[n], a[i][s], b[s][n]);
#pragma unroll
			for (int part = 0; part < 4; part++) {
				int h = part / 2, n = part % 2 * 4, r = row + 16 * i + 8 * h, column = column0 + part % 2 * 32 + 8 * q;
				const uint4 &o = old[i][part];
				uint4 v = {add2(o.x, c[n][2 * h], c[n][2 * h + 1]), add2(o.y, c[n + 1][2 * h], c[n + 1][2 * h + 1]),
				           add2(o.z, c[n + 2][2 * h], c[n + 2][2 * h + 1]), add2(o.w, c[n + 3][2 * h], c[n + 3][2 * h + 1])};
				if (r < x.m && column < x.n) *(uint4 *)(x.c + r * x.ldc + column) = v;
			}
		}
	}
}

KERNEL(short_16, 128, ShortArgs) { short_product<1, false>(a); }
KERNEL(short_32, 128, ShortArgs) { short_product<2, false>(a); }
KERNEL(short_64, 128, ShortArgs) { short_product<4, false>(a); }
KERNEL(short_turned_16, 128, ShortArgs) { short_product<1, true>(a); }
KERNEL(short_turned_32, 128, ShortArgs) { short_product<2, true>(a); }
KERNEL(short_turned_64, 128, ShortArgs) { short_product<4, true>(a); }
