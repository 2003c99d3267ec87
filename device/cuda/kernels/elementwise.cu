// Elementwise kernels. A thread handles four neighbouring elements, or eight where training spends its time: 16 bytes of BF16, all of
// which it reads before it computes.

#include "unary.cuh"

// The numbers of device.BinaryOp.
enum { ADD, SUB, MUL, DIV, MAX, MIN };

__device__ __forceinline__ i64 quad() { return ((i64)blockIdx.x * blockDim.x + threadIdx.x) * 4; }
__device__ __forceinline__ i64 octet() { return ((i64)blockIdx.x * blockDim.x + threadIdx.x) * 8; }

// WITH_OP does something with the operation as a constant OP, so that a thread decides once and not for each element.
#define WITH_OP(op, something)                                                                       \
	switch (op) {                                                                                       \
		OP_CASE(SILU, something) OP_CASE(GELU, something) OP_CASE(GELU_ERF, something)                     \
		OP_CASE(RELU, something) OP_CASE(TANH, something) OP_CASE(SIGMOID, something)                      \
		OP_CASE(EXP, something) OP_CASE(LOG, something) OP_CASE(SQUARE, something)                         \
		OP_CASE(LOG_SIGMOID, something) OP_CASE(IDENTITY, something)                                       \
	}
#define OP_CASE(name, something)                                                                     \
	case name: {                                                                                        \
		constexpr int OP = name;                                                                           \
		_Pragma("unroll") for (int j = 0; j < 8; j++) something;                                           \
		break;                                                                                             \
	}

__device__ float binary_of(int op, float a, float b) {
	switch (op) {
	case ADD: return a + b;
	case SUB: return a - b;
	case MUL: return a * b;
	case DIV: return a / b;
	case MAX: return a != a || a > b ? a : b;
	default: return a != a || a < b ? a : b;
	}
}

struct FillArgs {
	void *y;
	i64 n;
	u32 bits;
	int size; // bytes of an element
};

KERNEL(fill, 256, FillArgs) {
	for (i64 i = quad(); i < a.n && i < quad() + 4; i++) {
		if (a.size == 4)
			((u32 *)a.y)[i] = a.bits;
		else if (a.size == 2)
			((u16 *)a.y)[i] = (u16)a.bits;
		else
			((u8 *)a.y)[i] = (u8)a.bits;
	}
}

struct UnaryArgs {
	Floats y, x, dy, value; // value: of unary_grad, optional
	i64 n;
	int op, acc;
};

template <bool PACKED> __device__ __forceinline__ void unary8(const UnaryArgs &a, i64 i) {
	float x[8];
	load8<PACKED>(a.x, i, a.n, x);
	WITH_OP(a.op, x[j] = unary_of(OP, x[j]))
	store8<PACKED>(a.y, i, a.n, x);
}

KERNEL(unary, 256, UnaryArgs) {
	i64 i = octet();
	if (i >= a.n) return;
	if (i + 8 <= a.n && packed(a.x) && packed(a.y))
		unary8<true>(a, i);
	else
		unary8<false>(a, i);
}

// unary_grad also computes op(x) where that is asked for.
template <bool PACKED> __device__ __forceinline__ void unary_grad8(const UnaryArgs &a, i64 i) {
	Eight<PACKED> ex, edy;
	float x[8], dy[8], sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
	read8(ex, a.x, i, a.n);
	read8(edy, a.dy, i, a.n);
	if (a.acc) load8<PACKED>(a.y, i, a.n, sum);
	widen8(ex, x);
	widen8(edy, dy);
	if (a.value.p) {
		WITH_OP(a.op, (sum[j] += unary_slope(OP, x[j]) * dy[j], x[j] = unary_of(OP, x[j])))
		store8<PACKED>(a.value, i, a.n, x);
	} else
		WITH_OP(a.op, sum[j] += unary_slope(OP, x[j]) * dy[j])
	store8<PACKED>(a.y, i, a.n, sum);
}

KERNEL(unary_grad, 256, UnaryArgs) {
	i64 i = octet();
	if (i >= a.n) return;
	if (i + 8 <= a.n && packed(a.x) && packed(a.dy) && packed(a.y) && (!a.value.p || packed(a.value)))
		unary_grad8<true>(a, i);
	else
		unary_grad8<false>(a, i);
}

struct BinaryArgs {
	Floats y, a, b;
	i64 n;
	int op;
};

template <bool PACKED> __device__ __forceinline__ void binary8(const BinaryArgs &a, i64 i) {
	Eight<PACKED> eu, ev;
	float u[8], v[8];
	read8(eu, a.a, i, a.n);
	read8(ev, a.b, i, a.n);
	widen8(eu, u);
	widen8(ev, v);
#pragma unroll
	for (int j = 0; j < 8; j++) u[j] = binary_of(a.op, u[j], v[j]);
	store8<PACKED>(a.y, i, a.n, u);
}

KERNEL(binary, 256, BinaryArgs) {
	i64 i = octet();
	if (i >= a.n) return;
	if (i + 8 <= a.n && packed(a.a) && packed(a.b) && packed(a.y))
		binary8<true>(a, i);
	else
		binary8<false>(a, i);
}

struct ScaledArgs {
	Floats y, x; // x absent: y is scaled
	i64 n;
	float a;
};

KERNEL(add_scaled, 256, ScaledArgs) {
	i64 i = quad();
	if (i >= a.n) return;
	float y[4], x[4];
	load4(a.y, i, a.n, y);
	if (a.x.p) {
		load4(a.x, i, a.n, x);
#pragma unroll
		for (int j = 0; j < 4; j++) y[j] += a.a * x[j];
	} else {
#pragma unroll
		for (int j = 0; j < 4; j++) y[j] *= a.a;
	}
	store4(a.y, i, a.n, y);
}

struct GatedArgs {
	Floats y, gate, up, dgate, dup, dy; // y is optional in gated_grad
	i64 n;
	int op;
};

template <bool PACKED> __device__ __forceinline__ void gated8(const GatedArgs &a, i64 i) {
	Eight<PACKED> eg, eu;
	float g[8], u[8];
	read8(eg, a.gate, i, a.n);
	read8(eu, a.up, i, a.n);
	widen8(eg, g);
	widen8(eu, u);
	WITH_OP(a.op, g[j] = unary_of(OP, g[j]) * u[j])
	store8<PACKED>(a.y, i, a.n, g);
}

KERNEL(gated, 256, GatedArgs) {
	i64 i = octet();
	if (i >= a.n) return;
	if (i + 8 <= a.n && packed(a.gate) && packed(a.up) && packed(a.y))
		gated8<true>(a, i);
	else
		gated8<false>(a, i);
}

template <bool PACKED> __device__ __forceinline__ void gated_grad8(const GatedArgs &a, i64 i) {
	Eight<PACKED> eg, eu, edy;
	float g[8], u[8], dy[8], value[8];
	read8(eg, a.gate, i, a.n);
	read8(eu, a.up, i, a.n);
	read8(edy, a.dy, i, a.n);
	widen8(eg, g);
	widen8(eu, u);
	widen8(edy, dy);
	// act(gate) first, for it is in two of the three results.
	WITH_OP(a.op, (value[j] = unary_of(OP, g[j]), g[j] = unary_slope(OP, g[j]) * u[j] * dy[j], u[j] *= value[j], dy[j] *= value[j]))
	store8<PACKED>(a.dgate, i, a.n, g);
	store8<PACKED>(a.dup, i, a.n, dy);
	if (a.y.p) store8<PACKED>(a.y, i, a.n, u);
}

KERNEL(gated_grad, 256, GatedArgs) {
	i64 i = octet();
	if (i >= a.n) return;
	if (i + 8 <= a.n && packed(a.gate) && packed(a.up) && packed(a.dy) && packed(a.dgate) && packed(a.dup) && (!a.y.p || packed(a.y)))
		gated_grad8<true>(a, i);
	else
		gated_grad8<false>(a, i);
}

struct CopyArgs {
	Floats dst, src;
	i64 dst_stride, src_stride, rows;
	int cols, acc;
	int quads; // of a row
};

KERNEL(copy2d, 256, CopyArgs) {
	i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
	i64 r = at / a.quads;
	int c = (int)(at - r * a.quads) * 4;
	if (r >= a.rows) return;
	Floats dst = from(a.dst, r * a.dst_stride), src = from(a.src, r * a.src_stride);
	float x[4], y[4];
	load4(src, c, a.cols, x);
	if (a.acc) {
		load4(dst, c, a.cols, y);
#pragma unroll
		for (int j = 0; j < 4; j++) x[j] += y[j];
	}
	store4(dst, c, a.cols, x);
}

struct DropoutArgs {
	Floats y, x;
	i64 n;
	u32 lo, hi; // of the mixed key
	u32 threshold;
	float scale;
};

__device__ __forceinline__ u32 fmix(u32 x) {
	x = (x ^ x >> 16) * 0x85ebca6bu;
	x = (x ^ x >> 13) * 0xc2b2ae35u;
	return x ^ x >> 16;
}

KERNEL(dropout, 256, DropoutArgs) {
	i64 i = quad();
	if (i >= a.n) return;
	float x[4];
	load4(a.x, i, a.n, x);
#pragma unroll
	for (int j = 0; j < 4; j++) {
		u64 at = (u64)(i + j);
		u32 r = fmix(fmix((u32)at ^ a.lo) + (a.hi ^ (u32)(at >> 32)));
		x[j] = r < a.threshold ? 0.0f : x[j] * a.scale;
	}
	store4(a.y, i, a.n, x);
}
