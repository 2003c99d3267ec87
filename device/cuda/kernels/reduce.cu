// Reductions to one number and to a row. Partial results have an order that the sizes alone fix.

enum { SUM, SUM_SQUARES, MAX_ABS, NON_FINITE };

// Elements of a part: a block's.
#define PART 16384

// Reduced is a buffer that is reduced to y[0].
struct Reduced {
	Floats x;
	float *y;
	i64 n;
	int first, pad; // the first of its parts among those of all
};

struct ReduceArgs {
	float *parts;
	int op, count;
	Reduced of[100];
};

__device__ __forceinline__ float reduced(int op, float sum, float v) {
	switch (op) {
	case SUM: return sum + v;
	case SUM_SQUARES: return sum + v * v;
	case MAX_ABS: return max_nan(sum, fabsf(v));
	default: return sum + (v - v != 0.0f ? 1.0f : 0.0f); // Inf-Inf and NaN-NaN are NaN
	}
}

KERNEL(reduce_parts, 256, ReduceArgs) {
	const Reduced &r = a.of[owner(a.of, a.count, blockIdx.x)];
	i64 lo = (i64)(blockIdx.x - r.first) * PART, hi = lo + PART < r.n ? lo + PART : r.n;
	float sum = 0.0f;
	for (i64 i = lo + threadIdx.x * 4; i < hi; i += 1024) {
		float x[4];
		load4(r.x, i, hi, x);
		for (int j = 0; j < 4; j++) sum = reduced(a.op, sum, x[j]);
	}
	sum = a.op == MAX_ABS ? block_max<256>(sum) : block_sum<256>(sum);
	if (threadIdx.x == 0) a.parts[blockIdx.x] = sum;
}

// reduce_final gives the parts of a buffer to a block.
KERNEL(reduce_final, 256, ReduceArgs) {
	const Reduced &r = a.of[blockIdx.x];
	int n = (int)((r.n + PART - 1) / PART);
	float sum = 0.0f;
	for (int i = threadIdx.x; i < n; i += 256) sum = a.op == MAX_ABS ? max_nan(sum, a.parts[r.first + i]) : sum + a.parts[r.first + i];
	sum = a.op == MAX_ABS ? block_max<256>(sum) : block_sum<256>(sum);
	if (threadIdx.x == 0) r.y[0] = sum;
}

// Sums over rows. With x alone the plain sums of columns; with norm also those of dy·(x-mean)·rstd.
struct ColumnArgs {
	Floats dy, x;            // [rows, c]; x absent for plain sums
	const float *mean, *rstd; // of rows; mean absent for RMSNorm
	float *parts;            // [chunks, 2, c]
	float *sum, *dot;        // [c], optional: what the parts of dy and of dy·x' are added to
	i64 rows;
	int c, chunk, chunks; // chunk: rows that a block adds
	int acc;
};

// column_sums adds the rows of a chunk: 256 columns in a block, eight to a thread and a row to each warp at a time.
template <bool PACKED> __device__ __forceinline__ void column_sums(const ColumnArgs &a, float sum[8], float dot[8]) {
	constexpr int AHEAD = PACKED ? 8 : 2; // rows that a thread reads before it adds them up
	int c = (blockIdx.x * WARP + threadIdx.x % WARP) * 8;
	i64 lo = (i64)blockIdx.y * a.chunk, hi = lo + a.chunk < a.rows ? lo + a.chunk : a.rows;
	if (c >= a.c) return;
	for (i64 r0 = lo + threadIdx.x / WARP; r0 < hi; r0 += 8 * AHEAD) {
		Eight<PACKED> dy[AHEAD] = {};
#pragma unroll
		for (int i = 0; i < AHEAD; i++)
			if (r0 + 8 * i < hi) read8(dy[i], from(a.dy, (r0 + 8 * i) * a.c), c, a.c);
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			i64 r = r0 + 8 * i;
			if (r >= hi) continue;
			float v[8], x[8];
			widen8(dy[i], v);
#pragma unroll
			for (int j = 0; j < 8; j++) sum[j] += v[j];
			if (PACKED || !a.x.p) continue;
			load8<false>(from(a.x, r * a.c), c, a.c, x);
			float mean = a.mean ? a.mean[r] : 0.0f, rstd = a.rstd[r];
#pragma unroll
			for (int j = 0; j < 8; j++) dot[j] += v[j] * ((x[j] - mean) * rstd);
		}
	}
}

KERNEL(column_parts, 256, ColumnArgs) {
	__shared__ float sums[8][8][WARP], dots[8][8][WARP];
	int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0}, dot[8] = {0, 0, 0, 0, 0, 0, 0, 0};
	if (a.c % 8 == 0 && packed(a.dy) && !a.x.p)
		column_sums<true>(a, sum, dot);
	else
		column_sums<false>(a, sum, dot);
#pragma unroll
	for (int j = 0; j < 8; j++) sums[warp][j][lane] = sum[j], dots[warp][j][lane] = dot[j];
	__syncthreads();
	int c = (blockIdx.x * WARP + lane) * 8 + warp;
	if (c >= a.c) return;
	float all = 0.0f, product = 0.0f;
	for (int w = 0; w < 8; w++) {
		all += sums[w][warp][lane];
		product += dots[w][warp][lane];
	}
	a.parts[(i64)blockIdx.y * 2 * a.c + c] = all;
	a.parts[((i64)blockIdx.y * 2 + 1) * a.c + c] = product;
}

// column_final adds up the parts of eight columns: up to 128 threads, a power of two, have a column, each some of the
// parts in order, and their sums are added in pairs.
KERNEL(column_final, 1024, ColumnArgs) {
	constexpr int COLUMNS = 8;
	__shared__ float shares[2][1024 / COLUMNS][COLUMNS];
	int at = threadIdx.x % COLUMNS, share = threadIdx.x / COLUMNS, all = blockDim.x / COLUMNS, c = blockIdx.x * COLUMNS + at;
	const float *parts = a.parts + c;
	float sum = 0.0f, dot = 0.0f;
#pragma unroll 4
	for (i64 k = share; k < a.chunks && c < a.c; k += all) {
		if (a.sum) sum += parts[k * 2 * a.c];
		if (a.dot) dot += parts[(k * 2 + 1) * a.c];
	}
	shares[0][share][at] = sum, shares[1][share][at] = dot;
	for (int half = all / 2; half; half /= 2) {
		__syncthreads();
		if (share >= half) continue;
		shares[0][share][at] += shares[0][share + half][at];
		shares[1][share][at] += shares[1][share + half][at];
	}
	if (share || c >= a.c) return;
	if (a.sum) a.sum[c] = a.acc ? a.sum[c] + shares[0][0][at] : shares[0][0][at];
	if (a.dot) a.dot[c] = a.acc ? a.dot[c] + shares[1][0][at] : shares[1][0][at];
}
