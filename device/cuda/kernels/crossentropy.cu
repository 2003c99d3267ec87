// Cross-entropy of rows of logits, a block to a row: the row is read once for its sums and once for its gradient.

struct CrossEntropyArgs {
	Floats logits;                          // [rows, v] in F32, ld from a row to the next
	const int *targets;                     // [rows]
	float *loss, *entropy;                  // [rows]; entropy optional
	const float *weights, *entropy_weights; // [rows], optional
	Floats dlogits;                         // [rows, v], optional; may be logits
	Failure *failure;
	int v, ld;
	float z_loss, smoothing;
};

// Moments are Σ exp(x-max), Σ exp(x-max)·(x-max) and Σ x.
struct Moments {
	float max, sum, weighted, plain;
};

// add joins four logits, those behind the last being -Inf. While all are -Inf the maximum stays so and nothing is added.
__device__ __forceinline__ void add(Moments &m, const float x[4]) {
	float most = max_nan(max_nan(x[0], x[1]), max_nan(x[2], x[3]));
	if (most > m.max || most != most) {
		if (m.sum != 0.0f) {
			float shift = m.max - most, f = expf(shift);
			m.weighted = f * (m.weighted + shift * m.sum);
			m.sum *= f;
		}
		m.max = most;
	}
#pragma unroll
	for (int j = 0; j < 4; j++) {
		if (x[j] == -INF) continue;
		float d = x[j] - m.max, e = expf(d);
		m.sum += e;
		if (e != 0.0f) m.weighted += e * d;
	}
}

// moved are the sums of m relative to another maximum.
__device__ __forceinline__ void moved(Moments &m, float max) {
	if (m.sum == 0.0f) return;
	float shift = m.max - max, f = expf(shift);
	m.weighted = f == 0.0f ? 0.0f : f * (m.weighted + shift * m.sum);
	m.sum *= f;
}

template <int THREADS> __device__ void cross_entropy(const CrossEntropyArgs &a) {
	i64 row = blockIdx.x;
	int target = a.targets[row];
	Floats x = from(a.logits, row * a.ld), dx = a.dlogits;
	if (dx.p) dx = from(dx, row * a.ld);
	if (target < 0 || target >= a.v) {
		if (threadIdx.x == 0) {
			if (target >= 0) a.failure->code = 2;
			a.loss[row] = 0.0f;
			if (a.entropy) a.entropy[row] = 0.0f;
		}
		if (dx.p)
			for (int j = threadIdx.x; j < a.v; j += THREADS) store(dx, j, 0.0f);
		return;
	}
	Moments m = {-INF, 0.0f, 0.0f, 0.0f};
	for (int j = threadIdx.x * 4; j < a.v; j += THREADS * 4) {
		float u[4];
		load4(x, j, a.v, u);
#pragma unroll
		for (int i = 0; i < 4; i++)
			if (j + i < a.v)
				m.plain += u[i];
			else
				u[i] = -INF;
		add(m, u);
	}
	float most = block_max<THREADS>(m.max);
	moved(m, most);
	float sum = block_sum<THREADS>(m.sum), weighted = block_sum<THREADS>(m.weighted);
	float mean = a.smoothing != 0.0f ? block_sum<THREADS>(m.plain) / a.v : 0.0f;
	float at = load(x, target); // before the gradient may overwrite it
	float log_sum = logf(sum), z = most + log_sum, entropy = log_sum - weighted / sum;
	__syncthreads();
	if (threadIdx.x == 0) {
		float loss = (log_sum - (at - most)) + a.smoothing * (at - mean);
		a.loss[row] = loss + a.z_loss * z * z;
		if (a.entropy) a.entropy[row] = entropy;
	}
	if (!dx.p) return;
	float w = a.weights ? a.weights[row] : 1.0f, e = a.entropy_weights ? a.entropy_weights[row] : 0.0f;
	// The gradient is w·((1+2·z_loss·z)·p - t) - e·p·(x-z + entropy), where t mixes the target with the uniform distribution.
	float scale = w * (1.0f + 2.0f * a.z_loss * z), uniform = w * a.smoothing / a.v, inverse = 1.0f / sum;
	for (int j = threadIdx.x * 4; j < a.v; j += THREADS * 4) {
		float g[4];
		load4(x, j, a.v, g);
#pragma unroll
		for (int i = 0; i < 4; i++) {
			float d = g[i] - most, p = expf(d) * inverse;
			g[i] = scale * p - uniform;
			if (e != 0.0f && p != 0.0f) g[i] -= e * p * ((d - log_sum) + entropy);
			if (j + i == target) g[i] -= w * (1.0f - a.smoothing);
		}
		store4(dx, j, a.v, g);
	}
}

KERNEL(cross_entropy_32, 32, CrossEntropyArgs) { cross_entropy<32>(a); }
KERNEL(cross_entropy_512, 512, CrossEntropyArgs) { cross_entropy<512>(a); }
