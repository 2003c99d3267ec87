package device

import "cmp"

// Kernels are the operations every device must have. Float operands are F32
// or BF16 and may be mixed within a call unless stated; arithmetic and
// reductions are in f32. NaN and Inf pass through every kernel. Results do not
// depend on the number of threads: reductions have an order fixed by the sizes.
//
// "acc" means the result is added to what is in the output; otherwise the
// output is overwritten and may hold anything before.
type Kernels interface {
	// MatMul computes C (+)= op(A)·op(B), one matrix or several; see the type.
	MatMul(MatMul)

	// Fill sets every element of y to v. I32 buffers take int32(v), U8 ones uint8(v).
	Fill(y Buffer, v float32)
	// Unary computes y[i] = op(x[i]); y may be x. Identity converts between F32 and BF16.
	Unary(op UnaryOp, y, x Buffer)
	// UnaryGrad computes dx[i] (+)= op'(x[i])·dy[i]; dx may be dy when acc is false.
	UnaryGrad(op UnaryOp, dx, x, dy Buffer, acc bool)
	// UnaryBoth computes y[i] = op(x[i]) and d[i] = op'(x[i])·d[i], reading x once.
	UnaryBoth(op UnaryOp, y, d, x Buffer)
	// Binary computes y[i] = a[i] op b[i]; y may be a or b.
	Binary(op BinaryOp, y, a, b Buffer)
	// AddScaled computes y[i] += a·x[i].
	AddScaled(y Buffer, a float32, x Buffer)
	// Scale computes y[i] *= a.
	Scale(y Buffer, a float32)
	// Gated computes y[i] = act(gate[i])·up[i]: SwiGLU with SiLU, GeGLU with GELU.
	Gated(act UnaryOp, y, gate, up Buffer)
	// GatedGrad computes dgate[i] = act'(gate[i])·up[i]·dy[i] and dup[i] = act(gate[i])·dy[i].
	// dgate may be gate, dup may be up or dy.
	GatedGrad(act UnaryOp, dgate, dup, gate, up, dy Buffer)
	// GatedBoth computes y[i] = act(gate[i])·up[i], dgate[i] = act'(gate[i])·up[i]·d[i] and d[i] = act(gate[i])·d[i],
	// reading gate and up once. y, dgate and d are none of the others.
	GatedBoth(act UnaryOp, y, dgate, d, gate, up Buffer)
	// Copy2D copies rows×cols elements between matrices with row strides (in elements), adding when acc.
	Copy2D(c Copy2D)
	// Dropout computes y[i] = x[i]/(1-p) where the counter-based random number of (key, i)
	// keeps element i, else 0. The same key gives the same mask, so it is its own gradient.
	// The number is the same on every device. With 32-bit wrap-around, fmix(x) = murmur3's finalizer
	// (x ^= x>>16; x *= 0x85ebca6b; x ^= x>>13; x *= 0xc2b2ae35; x ^= x>>16) and k = splitmix64(key), that is
	// z = key + 0x9e3779b97f4a7c15; z = (z^z>>30)*0xbf58476d1ce4e5b9; z = (z^z>>27)*0x94d049bb133111eb; k = z^z>>31:
	// r = fmix(fmix(lo32(i)^lo32(k)) + (hi32(k)^hi32(i))), and i is kept when r >= uint32(p·2³²), p in [0, 1).
	Dropout(y, x Buffer, p float32, key uint64)

	// Norm is RMSNorm (Bias and Mean absent, Center false) or LayerNorm (Center true) of each row.
	Norm(Norm)
	NormGrad(NormGrad)
	// Rope rotates the heads of each row by its position; see the type.
	Rope(Rope)
	// Attention is causal grouped-query attention over packed sequences; it never holds T×T scores.
	Attention(Attention)
	AttentionGrad(AttentionGrad)
	// Embedding copies rows: y[n] = table[ids[n]], y [N, C], table [V, C], ids I32 [N].
	Embedding(y, table, ids Buffer)
	// EmbeddingGrad adds rows: dtable[ids[n]] += dy[n], in order of n; dtable is F32.
	EmbeddingGrad(dtable, dy, ids Buffer)
	// Route picks the experts of each row by their logits; see the type.
	Route(Route)
	RouteGrad(RouteGrad)
	// Combine adds rows up with weights, such as what experts made of a row; see the type.
	Combine(Combine)
	CombineGrad(CombineGrad)
	// CrossEntropy works on rows of logits; see the type.
	CrossEntropy(CrossEntropy)
	// ColumnSum computes y[c] (+)= sum over n of x[n, c]; y is F32 [C], x is [N, C]. The gradient of a bias.
	ColumnSum(y, x Buffer, acc bool)

	// Pack stores the numbers of x [Rows, Cols] in few bits, all of which it writes; see Packed.
	Pack(p Packed, x Buffer)
	// Unpack computes the numbers that p stands for: y [Rows, Cols].
	Unpack(y Buffer, p Packed)

	// Reduce computes one F32 number from x into y[0].
	Reduce(op ReduceOp, y, x Buffer)
	// Split stores an F32 x in two halves of the same size: high (BF16) is x rounded to nearest, of two as near the one
	// further from zero, and rest (U8, two bytes for each element) is what Join needs to give x back bit for bit. A NaN stays one.
	Split(high, rest, x Buffer)
	// Join computes the x (F32) that was split.
	Join(x, high, rest Buffer)
	// AdamW updates parameters in place; see the type.
	AdamW(AdamW)
}

// UnaryOp names an elementwise function of one argument.
type UnaryOp uint8

// The unary functions. GELU is the tanh form ("gelu_new", "gelu_pytorch_tanh"), GELUErf the exact one ("gelu").
const (
	Identity UnaryOp = iota
	SiLU
	GELU
	GELUErf
	ReLU
	Tanh
	Sigmoid
	Exp
	Log
	Square
	LogSigmoid

	// UnaryOps is the number of functions: devices check by it, and tests go through all of them, so that one that is new and missing
	// somewhere fails there.
	UnaryOps
)

// BinaryOp names an elementwise function of two arguments.
type BinaryOp uint8

// The binary functions.
const (
	Add BinaryOp = iota
	Sub
	Mul
	Div
	Max
	Min

	BinaryOps // the number of functions, as UnaryOps is
)

// ReduceOp names a reduction of a whole buffer to one number.
type ReduceOp uint8

// The reductions. NonFinite counts NaN and Inf elements.
const (
	Sum ReduceOp = iota
	SumSquares
	MaxAbs
	NonFinite
)

// MatMul computes C (+)= op(A)·op(B) (+ Bias in each row) for Batch independent products.
// op(A) is [M, K], op(B) is [K, N], C is [M, N]. A and B have the same dtype (F32 or BF16);
// C is F32 or BF16. The sum over K runs in an order fixed by K alone, so a row of C does not
// depend on M, N or the number of threads.
type MatMul struct {
	M, N, K          int
	A, B, C          Buffer
	TransA, TransB   bool   // A is stored [K, M], B is stored [N, K]
	Arranged         bool   // B is the Buf of an Arranged, made with the same K, N and TransB; Batch is 1
	LDA, LDB, LDC    int    // row strides in elements; 0 means dense
	Accumulate       bool   // C += instead of C =
	Bias             Buffer // optional [N]
	Batch            int    // 0 means 1
	StrideA, StrideB int    // elements between the products' operands
	StrideC          int
}

// Copy2D describes a strided copy: Dst[r*DstStride+c] (+)= Src[r*SrcStride+c].
type Copy2D struct {
	Dst, Src             Buffer
	DstStride, SrcStride int
	Rows, Cols           int
	Acc                  bool
}

// Norm computes, for each of N rows of C channels,
//
//	RMSNorm (Center false):  Rstd = 1/sqrt(mean(x²)+Eps),    y = x·Rstd·w
//	LayerNorm (Center true): Mean = mean(x), Rstd = 1/sqrt(var(x)+Eps), y = (x-Mean)·Rstd·w + b
//
// Rstd and Mean are F32 [N] outputs kept for the gradient (may be zero Buffers when not needed).
// Weight [C] and Bias [C] are optional. WeightOffset is added to each weight (1 for Gemma). y may be x.
type Norm struct {
	C            int
	Y, X         Buffer // [N, C]
	Weight, Bias Buffer // [C]
	Mean, Rstd   Buffer // [N] F32
	Eps          float32
	Center       bool
	WeightOffset float32
}

// NormGrad is the gradient of Norm. DX (+)= when AccX; DWeight and DBias (F32 [C], optional) (+)= when AccW.
type NormGrad struct {
	C              int
	DX, DY, X      Buffer // [N, C]; DX may be DY when AccX is false
	Weight         Buffer
	Mean, Rstd     Buffer
	DWeight, DBias Buffer
	Center         bool
	WeightOffset   float32
	AccX, AccW     bool
}

// Rope applies rotary position embedding to Heads heads of D channels in each of N rows, rotating pairs
// (i, i+Rotary/2) of the first Rotary channels ("rotate half", the Hugging Face layout) by the angle whose
// cosine and sine stand at row Positions[n] of Cos and Sin ([P, Rotary/2] F32). Inverse rotates back,
// which is the gradient. Y may be X.
type Rope struct {
	Y, X      Buffer // [N, Heads*D]
	Cos, Sin  Buffer
	Positions Buffer // I32 [N]
	Heads, D  int
	Rotary    int
	Inverse   bool
}

// Sequence is one packed sequence of an attention call: queries are rows Q to Q+QLen of the
// query matrix, keys and values rows K to K+KLen of theirs. Query i sees keys j with
// j <= KLen-QLen+i, and with a window w > 0 only the last w of those. KLen >= QLen.
type Sequence struct{ Q, QLen, K, KLen int }

// Attention computes O = softmax(Scale·Q·Kᵀ + mask)·V per sequence and head; head h reads key/value
// head h·KVHeads/Heads. LSE (F32 [rows of Q, Heads], optional) receives the log-sum-exp of each
// query's scaled scores, which the gradient needs. SoftCap > 0 applies cap·tanh(score/cap) before masking.
// Q, K and V may be columns of one matrix, their gradients likewise: then LDQ and LDKV are the elements between rows.
type Attention struct {
	O, Q, K, V     Buffer // O, Q [rows, Heads*D]; K, V [rows, KVHeads*D]
	LDQ, LDKV      int    // row strides of Q and DQ, and of K, V, DK and DV, in elements; 0 means dense
	LSE            Buffer
	Heads, KVHeads int
	D              int
	Scale          float32
	Window         int
	SoftCap        float32
	Sequences      []Sequence
}

// Strides are the row strides of Q, and of K and V.
func (a *Attention) Strides() (q, kv int) {
	q, kv = a.LDQ, a.LDKV
	if q == 0 {
		q = a.Heads * a.D
	}
	if kv == 0 {
		kv = a.KVHeads * a.D
	}
	return q, kv
}

// Rows are the rows of Q, and those of K and V. Where the sizes do not fit each other, or a sequence does not fit them, ok is false.
func (a *Attention) Rows() (queries, keys int, ok bool) {
	width, kvWidth := a.Heads*a.D, a.KVHeads*a.D
	q, kv := a.Strides()
	if a.Heads <= 0 || a.KVHeads <= 0 || a.Heads%a.KVHeads != 0 || a.D <= 0 || a.Window < 0 || q < width || kv < kvWidth {
		return 0, 0, false
	}
	queries, keys = rowsOf(a.Q.Len, width, q), rowsOf(a.K.Len, kvWidth, kv)
	if a.O.Len != queries*width || rowsOf(a.V.Len, kvWidth, kv) != keys {
		return 0, 0, false
	}
	for _, s := range a.Sequences {
		if s.Q < 0 || s.QLen < 0 || s.K < 0 || s.KLen < s.QLen || s.Q+s.QLen > queries || s.K+s.KLen > keys {
			return 0, 0, false
		}
	}
	return queries, keys, true
}

// rowsOf is the number of rows of width elements, stride apart, in n elements.
func rowsOf(n, width, stride int) int { return max(0, n-width+stride) / stride }

// AttentionGrad is the gradient of Attention. It overwrites DQ, DK and DV (rows outside all sequences
// are left as they are); O, Q, K, V, LSE are those of the forward pass.
type AttentionGrad struct {
	Attention
	DO, DQ, DK, DV Buffer // as long as O, Q, K, V
}

// CrossEntropy works on N rows of V logits (F32). For each row n with Targets[n] >= 0 it computes
//
//	z = logsumexp(x),  Loss[n] = z - x[target] (+ ZLoss·z²),  Entropy[n] = z - Σ softmax(x)·x
//
// and where DLogits is given, DLogits[n] = Weights[n]·dLoss[n]/dx + EntropyWeights[n]·dEntropy[n]/dx.
// A negative target gives Loss 0, Entropy 0 and a zero gradient row. Label smoothing s mixes the target
// with the uniform distribution: (1-s)·onehot + s/V.
type CrossEntropy struct {
	V              int
	LD             int    // elements from a row of Logits and DLogits to the next; 0: V. What is between rows is left alone
	Logits         Buffer // F32 [N, V]
	Targets        Buffer // I32 [N]
	Loss           Buffer // F32 [N]
	Entropy        Buffer // F32 [N], optional
	Weights        Buffer // F32 [N], optional (1 when absent)
	EntropyWeights Buffer // F32 [N], optional (0 when absent)
	DLogits        Buffer // F32 or BF16 [N, V], optional; may be Logits
	ZLoss          float32
	Smoothing      float32
}

// Stride is the number of elements from a row of logits to the next.
func (k *CrossEntropy) Stride() int { return cmp.Or(k.LD, k.V) }

// AdamW is one step of Adam with decoupled weight decay (Loshchilov & Hutter, 2019):
//
//	g = Scale·Grad;  M = Beta1·M + (1-Beta1)·g;  V = Beta2·V + (1-Beta2)·g²
//	Param -= LR·(M/(1-Beta1^Step)/(sqrt(V/(1-Beta2^Step))+Eps) + Decay·Param)
//
// Param, M and V are F32; Grad is F32 or BF16. With Rest, Param is BF16 and both are the halves of F32 parameters, as Split
// makes them. With MScale and VScale, M and V
// are U8 and the moments are kept as codes of DynamicMap(true) and DynamicMap(false): read as code·scale, and rounded
// after Param was changed, each block of DynamicBlock elements by its own largest magnitude.
type AdamW struct {
	Param, Grad, M, V Buffer
	MScale, VScale    Buffer // F32 [ceil(len/DynamicBlock)], or absent
	Rest              Buffer // U8 [2·len], or absent
	LR, Beta1, Beta2  float32
	Eps, Decay, Scale float32
	Step              int // counted from 1
}
