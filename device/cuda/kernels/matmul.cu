// Products for what cuBLASLt does not take: mixed types, odd strides, no library. Plain tiles on the ordinary cores.

struct MatMulArgs {
	Floats a, b, c, bias;    // bias optional
	const float *product;    // of finish: op(A)·op(B), dense; absent: nothing is added
	i64 stride_a, stride_b, stride_c;
	i64 lda, ldb, ldc;
	int m, n, k;
	int trans_a, trans_b, acc;
};

constexpr int TILE = 64;
constexpr int STEP = 16;

// matmul computes a tile of C of one product of the batch; each thread has 4×4 elements, 16 apart.
KERNEL(matmul, 256, MatMulArgs) {
	__shared__ float as[STEP][TILE + 1], bs[STEP][TILE + 1];
	i64 batch = blockIdx.z;
	Floats A = from(a.a, batch * a.stride_a), B = from(a.b, batch * a.stride_b), C = from(a.c, batch * a.stride_c);
	int i0 = blockIdx.y * TILE, j0 = blockIdx.x * TILE, tx = threadIdx.x % 16, ty = threadIdx.x / 16;
	float sum[4][4] = {};
	for (int k0 = 0; k0 < a.k; k0 += STEP) {
		for (int e = threadIdx.x; e < TILE * STEP; e += 256) {
			// neighbours in memory go to neighbouring threads
			int i = a.trans_a ? e % TILE : e / STEP, ka = a.trans_a ? e / TILE : e % STEP;
			int j = a.trans_b ? e / STEP : e % TILE, kb = a.trans_b ? e % STEP : e / TILE;
			bool in_a = i0 + i < a.m && k0 + ka < a.k, in_b = j0 + j < a.n && k0 + kb < a.k;
			as[ka][i] = in_a ? load(A, a.trans_a ? (k0 + ka) * a.lda + i0 + i : (i0 + i) * a.lda + k0 + ka) : 0.0f;
			bs[kb][j] = in_b ? load(B, a.trans_b ? (j0 + j) * a.ldb + k0 + kb : (k0 + kb) * a.ldb + j0 + j) : 0.0f;
		}
		__syncthreads();
		for (int k = 0; k < STEP; k++) {
			float u[4], v[4];
			for (int x = 0; x < 4; x++) u[x] = as[k][ty + 16 * x], v[x] = bs[k][tx + 16 * x];
			for (int x = 0; x < 4; x++)
				for (int y = 0; y < 4; y++) sum[x][y] += u[x] * v[y];
		}
		__syncthreads();
	}
	for (int x = 0; x < 4; x++)
		for (int y = 0; y < 4; y++) {
			int i = i0 + ty + 16 * x, j = j0 + tx + 16 * y;
			if (i >= a.m || j >= a.n) continue;
			float v = sum[x][y];
			if (a.bias.p) v += load(a.bias, j);
			if (a.acc) v += load(C, i * a.ldc + j);
			store(C, i * a.ldc + j, v);
		}
}

// finish computes C (+)= product (+ bias), four columns in a thread: what a product in another type, or none, is made into.
KERNEL(finish, 256, MatMulArgs) {
	i64 batch = blockIdx.z;
	Floats C = from(a.c, batch * a.stride_c), product = {(void *)a.product, 0, 1};
	int j = (blockIdx.x * 256 + threadIdx.x) * 4;
	if (j >= a.n) return;
	float bias[4] = {0, 0, 0, 0};
	if (a.bias.p) load4(a.bias, j, a.n, bias);
	for (int i = blockIdx.y; i < a.m; i += gridDim.y) {
		Floats row = from(C, i * a.ldc);
		float v[4] = {bias[0], bias[1], bias[2], bias[3]}, u[4];
		if (a.product) {
			load4(from(product, (batch * a.m + i) * a.n), j, a.n, u);
			for (int k = 0; k < 4; k++) v[k] += u[k];
		}
		if (a.acc) {
			load4(row, j, a.n, u);
			for (int k = 0; k < 4; k++) v[k] += u[k];
		}
		store4(row, j, a.n, v);
	}
}
