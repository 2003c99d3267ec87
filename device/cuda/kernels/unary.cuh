// The functions of device.UnaryOp, by their numbers, and their slopes.

enum { IDENTITY, SILU, GELU, GELU_ERF, RELU, TANH, SIGMOID, EXP, LOG, SQUARE, LOG_SIGMOID };

__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + expf(-x)); } // to two units in the last place, and 0 for 1/Inf

// gelu_inner is √(2/π)·(x+0.044715x³).
__device__ __forceinline__ float gelu_inner(float x) { return 0.7978845608028654f * (x + 0.044715f * x * x * x); }

// times is a·b for a factor that vanishes faster than x grows: 0·Inf is 0.
__device__ __forceinline__ float times(float small, float x) { return small == 0.0f ? 0.0f : small * x; }

__device__ __forceinline__ float unary_of(int op, float x) {
	switch (op) {
	case SILU: {
		float s = sigmoid(x);
		return times(s, x);
	}
	case GELU: // x/2·(1+tanh(u)) is x·sigmoid(2u), which does not cancel where tanh is near -1
		return times(sigmoid(2.0f * gelu_inner(x)), x);
	case GELU_ERF: // 1+erf(z) is erfc(-z), which does not cancel either
		return times(0.5f * erfcf(-0.70710678118654752f * x), x);
	case RELU: return x > 0.0f || x != x ? x : 0.0f;
	case TANH: return tanhf(x);
	case SIGMOID: return sigmoid(x);
	case EXP: return expf(x);
	case LOG: return logf(x);
	case SQUARE: return x * x;
	case LOG_SIGMOID: return (x > 0.0f ? 0.0f : x) - log1pf(expf(-fabsf(x)));
	}
	return x;
}

__device__ __forceinline__ float unary_slope(int op, float x) {
	switch (op) {
	case SILU: {
		float s = sigmoid(x);
		return s + times(s * (1.0f - s), x);
	}
	case GELU: {
		float s = sigmoid(2.0f * gelu_inner(x)), d = 2.0f * s * (1.0f - s);
		return d == 0.0f ? s : s + x * d * 0.7978845608028654f * (1.0f + 3.0f * 0.044715f * x * x);
	}
	case GELU_ERF: return 0.5f * erfcf(-0.70710678118654752f * x) + times(0.3989422804014327f * expf(-0.5f * x * x), x);
	case RELU: return x > 0.0f ? 1.0f : x != x ? x : 0.0f;
	case TANH: {
		float t = tanhf(x);
		return 1.0f - t * t;
	}
	case SIGMOID: {
		float s = sigmoid(x);
		return s * (1.0f - s);
	}
	case EXP: return expf(x);
	case LOG: return 1.0f / x;
	case SQUARE: return 2.0f * x;
	case LOG_SIGMOID: return sigmoid(-x);
	}
	return 1.0f;
}
