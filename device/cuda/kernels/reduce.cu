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

// column_parts adds the rows of a chunk: 128 columns in a block, four to a thread and a row to each warp at a time.
KERNEL(column_parts, 256, ColumnArgs) {
	constexpr int AHEAD = 8; // rows that a thread reads before it adds them up
	__shared__ float sums[8][4][WARP], dots[8][4][WARP];
	int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	int c = (blockIdx.x * WARP + lane) * 4;
	i64 lo = (i64)blockIdx.y * a.chunk, hi = lo + a.chunk < a.rows ? lo + a.chunk : a.rows;
	float sum[4] = {0, 0, 0, 0}, dot[4] = {0, 0, 0, 0};
	for (i64 r0 = lo + warp; c < a.c && r0 < hi; r0 += 8 * AHEAD) {
		float dy[AHEAD][4], x[AHEAD][4];
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			i64 r = r0 + 8 * i;
			if (r < hi)
				load4(from(a.dy, r * a.c), c, a.c, dy[i]);
			else
				dy[i][0] = dy[i][1] = dy[i][2] = dy[i][3] = 0.0f;
		}
		if (a.x.p)
#pragma unroll
			for (int i = 0; i < AHEAD; i++)
				if (r0 + 8 * i < hi) load4(from(a.x, (r0 + 8 * i) * a.c), c, a.c, x[i]);
#pragma unroll
		for (int i = 0; i < AHEAD; i++) {
			i64 r = r0 + 8 * i;
			for (int j = 0; j < 4; j++) sum[j] += dy[i][j];
			if (!a.x.p || r >= hi) continue;
			float mean = a.mean ? a.mean[r] : 0.0f, rstd = a.rstd[r];
			for (int j = 0; j < 4; j++) dot[j] += dy[i][j] * ((x[i][j] - mean) * rstd);
		}
	}
	for (int j = 0; j < 4; j++) sums[warp][j][lane] = sum[j], dots[warp][j][lane] = dot[j];
	__syncthreads();
	if (warp >= 4 || c + warp >= a.c) return;
	float all = 0.0f, product = 0.0f; // of column c+warp
	for (int w = 0; w < 8; w++) {
		all += sums[w][warp][lane];
		product += dots[w][warp][lane];
	}
	a.parts[(i64)blockIdx.y * 2 * a.c + c + warp] = all;
	a.parts[((i64)blockIdx.y * 2 + 1) * a.c + c + warp] = product;
}

KERNEL(column_final, 256, ColumnArgs) {
	int c = blockIdx.x * 256 + threadIdx.x;
	if (c >= a.c) return;
	float sum = 0.0f, dot = 0.0f;
	for (i64 k = 0; k < a.chunks; k++) {
		sum += a.parts[k * 2 * a.c + c];
		dot += a.parts[(k * 2 + 1) * a.c + c];
	}
	if (a.sum) a.sum[c] = a.acc ? a.sum[c] + sum : sum;
	if (a.dot) a.dot[c] = a.acc ? a.dot[c] + dot : dot;
}
