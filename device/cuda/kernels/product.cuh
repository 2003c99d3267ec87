// What the kernels of fewrows.cu and nf4.cu for weights in NF4 share: C (+)= A·op(B) (+ bias), A in bf16.

struct ProductArgs {
	Floats a, c, bias;        // a [m, k] bf16; bias optional
	const u8 *codes, *scales; // of b; see device.Packed
	const float *nested, *offset, *dynamic, *nf4;
	i64 lda, ldc;
	int m, n, k, acc;
};

// scale_of is the largest magnitude of a block of 64 numbers.
__device__ __forceinline__ float scale_of(const ProductArgs &x, i64 block) {
	return __fadd_rn(__fmul_rn(x.dynamic[x.scales[block]], x.nested[block / 256]), x.offset[0]);
}
