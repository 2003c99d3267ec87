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
template <int TILES, int AHEAD> __device__ __forceinline__ void thin_parts(const ThinArgs &x) {
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
	for (int k0 = lo; k0 < hi; k0 += AHEAD * 32) {
		uint4 u[AHEAD][4], v[AHEAD][TILES];
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			int k = k0 + i * 32 + lane % 4 * 8;
#pragma unroll
			for (int r = 0; r < 4; r++) u[i][r] = k < hi ? read_once(rows[r] + k) : none;
		}
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			int k = k0 + i * 32 + lane % 4 * 8;
#pragma unroll
			for (int n = 0; n < TILES; n++) v[i][n] = k < hi && 8 * n + g < x.n ? *(const uint4 *)(x.b + (8 * n + g) * x.ldb + k) : none;
		}
		__syncwarp(); // else the compiler puts reads behind the products that they should be ahead of
#pragma unroll
		for (int i = 0; i < AHEAD; i++)
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
