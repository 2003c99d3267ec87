// Draws a token from each row of logits; see device.Sample. A block has a row, or of few rows, from which the most likely token is taken or one
// of all is drawn, a part. Weights are those of the CPU to the bit, and sums are of whole numbers, so that no order of adding makes a
// difference. Sets of tokens are found by halving the range of what they have in common, a logit or a weight, since both have as many values
// as their bits say and no more.

#define SAMPLERS 512
#define PART_SAMPLERS 256 // of a part of a row

struct SampleArgs {
	const float *logits;
	const int *random; // [rows, 2]
	int *ids;
	u64 top_p; // of 2^64; 0: off
	int v, k;  // k 0: off
	float inverse, min_p;
	int greedy;
	int part, parts; // of sample_largest and sample_mass: logits of a part, which are a multiple of four, and parts of a row, at most PART_SAMPLERS
	int unused;
	u64 *found; // [rows, parts]
	int *ended; // [rows], 0 before and after: how many parts are done
};

// key orders floats as integers.
__device__ __forceinline__ u32 key(float x) {
	u32 b = __float_as_uint(x);
	return b >> 31 ? ~b : b | 0x80000000u;
}

// exp_of is device.Weight, operation by operation.
__device__ __forceinline__ float exp_of(float x) {
	float t = __fmul_rn(x, 1.44269504f);
	int n = (int)__fadd_rn(t, -0.5f);
	float f = __fadd_rn(t, -(float)n);
	float p = __fadd_rn(9.66636852e-3f, __fmul_rn(f, 1.33813025e-3f));
	p = __fadd_rn(5.55038101e-2f, __fmul_rn(f, p));
	p = __fadd_rn(0.240223490f, __fmul_rn(f, p));
	p = __fadd_rn(0.693147181f, __fmul_rn(f, p));
	p = __fadd_rn(1.0f, __fmul_rn(f, p));
	return __fmul_rn(p, __uint_as_float((u32)(n + 127) << 23));
}

// mass is a weight as a whole number.
__device__ __forceinline__ u64 mass(float w) { return (u64)__fmul_rn(w, 1099511627776.0f); }

__device__ __forceinline__ u64 high64(u64 a, u64 b) {
	u64 al = (u32)a, ah = a >> 32, bl = (u32)b, bh = b >> 32;
	u64 low = al * bl, m1 = ah * bl + (low >> 32), m2 = al * bh + (u32)m1;
	return ah * bh + (m1 >> 32) + (m2 >> 32);
}

struct Row {
	const float *x;
	int v;
	float top, inverse;
	u32 least; // key of a logit: those below are out
};

// weight is that of token i, 0 of one that is out.
__device__ __forceinline__ float weight(const Row &r, int i) {
	float x = r.x[i], d = __fmul_rn(__fadd_rn(x, -r.top), r.inverse);
	return key(x) >= r.least && d > -80.0f ? exp_of(d) : 0.0f;
}

template <int THREADS> __device__ __forceinline__ u64 block_add(u64 *shared, u64 n) {
	shared[threadIdx.x] = n;
	__syncthreads();
	for (int half = THREADS / 2; half > 0; half /= 2) {
		if ((int)threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
		__syncthreads();
	}
	u64 sum = shared[0];
	__syncthreads();
	return sum;
}

template <int THREADS> __device__ __forceinline__ u64 block_most(u64 *shared, u64 n) {
	shared[threadIdx.x] = n;
	__syncthreads();
	for (int half = THREADS / 2; half > 0; half /= 2) {
		if ((int)threadIdx.x < half && shared[threadIdx.x + half] > shared[threadIdx.x]) shared[threadIdx.x] = shared[threadIdx.x + half];
		__syncthreads();
	}
	u64 most = shared[0];
	__syncthreads();
	return most;
}

// block_before is the sum of n of the threads before this one.
template <int THREADS> __device__ __forceinline__ u64 block_before(u64 *shared, u64 n) {
	shared[threadIdx.x] = n;
	__syncthreads();
	for (int step = 1; step < THREADS; step *= 2) {
		u64 more = (int)threadIdx.x >= step ? shared[threadIdx.x - step] : 0;
		__syncthreads();
		shared[threadIdx.x] += more;
		__syncthreads();
	}
	u64 before = shared[threadIdx.x] - n;
	__syncthreads();
	return before;
}

// above is the mass of all tokens whose weight, as an integer, is above bits.
__device__ __forceinline__ u64 above(const Row &r, u64 *shared, u32 bits) {
	u64 n = 0;
	for (int i = threadIdx.x; i < r.v; i += SAMPLERS) {
		float w = weight(r, i);
		if (__float_as_uint(w) > bits) n += mass(w);
	}
	return block_add<SAMPLERS>(shared, n);
}

// reach is the least bits above which there is no more than most of the mass.
__device__ __forceinline__ u32 reach(const Row &r, u64 *shared, u64 most, u64 *over) {
	u32 lo = 0, hi = 0x3f800000u; // the weight 1, above which there is none
	while (lo < hi) {
		u32 middle = lo + (hi - lo) / 2;
		if (above(r, shared, middle) <= most)
			hi = middle;
		else
			lo = middle + 1;
	}
	*over = above(r, shared, lo);
	return lo;
}

// amount is what token i adds in the order of the ids: with bits 1 if its weight is that, else its mass if its weight is at least from.
__device__ __forceinline__ u64 amount(const Row &r, int i, u32 bits, u32 from) {
	float w = weight(r, i);
	u32 b = __float_as_uint(w);
	if (bits) return b == bits;
	return b >= from ? mass(w) : 0;
}

// place is the token among lo to hi with which the amounts, added to before in the order of the ids, first exceed target.
template <int THREADS>
__device__ __forceinline__ void place(const Row &r, u64 *shared, int lo, int hi, u32 bits, u32 from, u64 before, u64 target, int *id) {
	int own = (hi - lo + THREADS - 1) / THREADS;
	lo += (int)threadIdx.x * own;
	hi = min(lo + own, hi);
	u64 n = 0;
	for (int i = lo; i < hi; i++) n += amount(r, i, bits, from);
	before += block_before<THREADS>(shared, n);
	if (before <= target && target < before + n)
		for (int i = lo; i < hi; i++) {
			before += amount(r, i, bits, from);
			if (before > target) {
				*id = i;
				break;
			}
		}
	__syncthreads();
}

// rank orders logits, and the first among equals before the others. The greatest rank is that of one with which a row is not finite.
#define NOT_FINITE (~(u64)0)
__device__ __forceinline__ u64 rank(float x, int i) {
	if (x != x || x == INF) return NOT_FINITE;
	return (u64)key(x == 0.0f ? 0.0f : x) << 32 | (u32)(0x7fffffff - i); // -0 and 0 are equals
}

// ranked is the token of the greatest rank of a row, -1 where the row is not finite.
__device__ __forceinline__ int ranked(u64 most) { return most == NOT_FINITE || most >> 32 == key(-INF) ? -1 : 0x7fffffff - (int)(u32)most; }

// largest is the greatest rank of logits lo to hi, lo being a multiple of four.
template <int THREADS, int AHEAD> __device__ __forceinline__ u64 largest(const float *x, int lo, int hi, u64 *shared) {
	u64 most = 0;
	Floats row = {(void *)x, 0, (u64)x % 16 == 0};
	for (int first = lo + 4 * threadIdx.x; first < hi; first += AHEAD * 4 * THREADS) {
		float q[AHEAD][4]; // reads under way at once
#pragma unroll
		for (int h = 0; h < AHEAD; h++) load4(row, first + h * 4 * THREADS, hi, q[h]);
#pragma unroll
		for (int h = 0; h < AHEAD; h++)
#pragma unroll
			for (int j = 0; j < 4; j++) {
				int i = first + h * 4 * THREADS + j;
				u64 n = i < hi ? rank(q[h][j], i) : 0;
				if (n > most) most = n;
			}
	}
	return block_most<THREADS>(shared, most);
}

// kth is the key of the k-th largest logit.
__device__ __forceinline__ u32 kth(const Row &r, u64 *shared, int k) {
	u32 lo = 0, hi = 0xffffffffu;
	while (lo < hi) { // the greatest key that k logits reach
		u32 middle = lo + (hi - lo) / 2 + 1;
		u64 n = 0;
		for (int i = threadIdx.x; i < r.v; i += SAMPLERS) n += key(r.x[i]) >= middle;
		if (block_add<SAMPLERS>(shared, n) >= (u64)k)
			lo = middle;
		else
			hi = middle - 1;
	}
	return lo == key(-0.0f) + 1 ? lo - 1 : lo; // 0 lets -0 in
}

__device__ __forceinline__ u64 random_of(const SampleArgs &a, int row) { return (u64)(u32)a.random[2 * row + 1] << 32 | (u32)a.random[2 * row]; }

// least_weight is that of a token that may be drawn, as an integer.
__device__ __forceinline__ u32 least_weight(const SampleArgs &a) { return a.min_p > 0.0f ? __float_as_uint(a.min_p) : 0; }

KERNEL(sample, SAMPLERS, SampleArgs) {
	__shared__ u64 shared[SAMPLERS];
	__shared__ int id;
	const float *x = a.logits + (i64)blockIdx.x * a.v;
	int best = ranked(largest<SAMPLERS, 8>(x, 0, a.v, shared));
	bool certain = best < 0 || a.greedy;
	if (!certain && a.k == 1) {
		u64 same = 0;
		for (int i = threadIdx.x; i < a.v; i += SAMPLERS) same += x[i] == x[best];
		certain = block_add<SAMPLERS>(shared, same) == 1;
	}
	if (certain) {
		if (threadIdx.x == 0) a.ids[blockIdx.x] = best;
		return;
	}
	Row r = {x, a.v, x[best], a.inverse, 0};
	if (a.k > 0 && a.k < a.v) r.least = kth(r, shared, a.k);
	u64 random = random_of(a, blockIdx.x);
	u32 from = least_weight(a);
	if (!a.top_p) {
		u64 total = 0;
		for (int i = threadIdx.x; i < a.v; i += SAMPLERS) total += amount(r, i, 0, from);
		place<SAMPLERS>(r, shared, 0, a.v, 0, from, 0, high64(random, block_add<SAMPLERS>(shared, total)), &id);
	} else {
		// The tokens in falling order of their weights, equal ones in the order of their ids, until their mass reaches limit.
		u64 limit = high64(a.top_p, above(r, shared, 0)), over, kept;
		u32 cut = reach(r, shared, limit ? limit - 1 : 0, &over);
		if (from > cut) {
			kept = above(r, shared, from - 1);
		} else {
			u64 own = mass(__uint_as_float(cut)), ties = 0;
			for (int i = threadIdx.x; i < a.v; i += SAMPLERS) ties += __float_as_uint(weight(r, i)) == cut;
			ties = block_add<SAMPLERS>(shared, ties);
			u64 wanted = own ? (limit - over + own - 1) / own : ties;
			if (wanted < 1) wanted = 1;
			kept = over + (wanted < ties ? wanted : ties) * own;
		}
		u64 target = high64(random, kept);
		u32 bits = reach(r, shared, target, &over);
		place<SAMPLERS>(r, shared, 0, a.v, bits, 0, 0, (target - over) / mass(__uint_as_float(bits)), &id);
	}
	if (threadIdx.x == 0) a.ids[blockIdx.x] = id;
}

// sample_largest takes the most likely token, each block from a part of a row, and the one that ends last from what they found.
KERNEL(sample_largest, PART_SAMPLERS, SampleArgs) {
	__shared__ u64 shared[PART_SAMPLERS];
	int row = blockIdx.y, lo = (int)blockIdx.x * a.part;
	u64 most = largest<PART_SAMPLERS, 1>(a.logits + (i64)row * a.v, lo, min(lo + a.part, a.v), shared), *found = a.found + (i64)row * a.parts;
	if (threadIdx.x == 0) found[blockIdx.x] = most;
	if (!ended_last(a.ended + row, a.parts)) return;
	most = block_most<PART_SAMPLERS>(shared, (int)threadIdx.x < a.parts ? *(const volatile u64 *)(found + threadIdx.x) : 0);
	if (threadIdx.x == 0) a.ids[row] = ranked(most);
}

// sample_mass draws from all tokens, or those that weigh enough, where sample_largest has found the most likely one: each block adds up a part of a row,
// and the one that ends last looks for the token in the part that it must be in.
KERNEL(sample_mass, PART_SAMPLERS, SampleArgs) {
	__shared__ u64 shared[PART_SAMPLERS], rest;
	__shared__ int id;
	int row = blockIdx.y, best = a.ids[row], lo = (int)blockIdx.x * a.part, hi = min(lo + a.part, a.v);
	if (best < 0) return; // all blocks of the row
	const float *x = a.logits + (i64)row * a.v;
	Row r = {x, a.v, x[best], a.inverse, 0};
	u32 from = least_weight(a);
	u64 n = 0, *found = a.found + (i64)row * a.parts;
#pragma unroll 4 // reads under way at once
	for (int i = lo + threadIdx.x; i < hi; i += PART_SAMPLERS) n += amount(r, i, 0, from);
	n = block_add<PART_SAMPLERS>(shared, n);
	if (threadIdx.x == 0) found[blockIdx.x] = n;
	if (!ended_last(a.ended + row, a.parts)) return;
	n = (int)threadIdx.x < a.parts ? *(const volatile u64 *)(found + threadIdx.x) : 0;
	u64 target = high64(random_of(a, row), block_add<PART_SAMPLERS>(shared, n)), before = block_before<PART_SAMPLERS>(shared, n);
	if (before <= target && target < before + n) id = threadIdx.x, rest = target - before;
	__syncthreads();
	lo = id * a.part;
	target = rest;
	__syncthreads();
	place<PART_SAMPLERS>(r, shared, lo, min(lo + a.part, a.v), 0, from, 0, target, &id);
	if (threadIdx.x == 0) a.ids[row] = id;
}

struct PickArgs {
	int *dst;
	const int *src, *at;
	int n, m;
};

// pick takes numbers from where they are told to be, such as the tokens of sequences that go on.
KERNEL(pick, 256, PickArgs) {
	int i = blockIdx.x * 256 + threadIdx.x;
	if (i < a.n) a.dst[i] = (unsigned)a.at[i] < (unsigned)a.m ? a.src[a.at[i]] : -1;
}
