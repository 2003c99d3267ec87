// What the kernels of attention.cu and flash.cuh share.

// Tile is the part of a sequence that a block works on.
struct Tile {
	int q, q_len, k, k_len; // device.Sequence
	int first;              // of the block's queries or keys, within the sequence
};

struct AttentionArgs {
	Floats o, q, k, v;             // o, q [rows, heads·d]; k, v [rows, kv_heads·d]; o and grad_o are dense
	Floats grad_o, dq, dk, dv;
	float *lse;                    // [rows, heads], optional in the forward pass
	float *delta;                  // [rows, heads]: Σ grad_o·o
	const Tile *tiles;
	int heads, kv_heads, d;
	int ldq, ldkv;                 // row strides of q and dq, and of k, v, dk and dv
	int window;
	float scale, cap;
};

// Score is what becomes of scale·q·k.
__device__ __forceinline__ float score(const AttentionArgs &a, float dot) {
	float s = a.scale * dot;
	return a.cap > 0.0f ? a.cap * tanhf(s / a.cap) : s;
}

// slope is the derivative of a score by q·k.
__device__ __forceinline__ float slope(const AttentionArgs &a, float s) {
	if (!(a.cap > 0.0f)) return a.scale;
	float t = s / a.cap;
	return a.scale * (1.0f - t * t);
}

// visible says whether query i sees key j.
__device__ __forceinline__ bool visible(const AttentionArgs &a, const Tile &t, int i, int j) {
	int last = t.k_len - t.q_len + i;
	return i < t.q_len && j < t.k_len && j <= last && (a.window == 0 || j > last - a.window);
}
