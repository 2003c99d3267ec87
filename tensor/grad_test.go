package tensor

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

// leaf is an input of a graph whose gradient is checked.
type leaf struct {
	shape  []int
	values []float64
}

// random returns a leaf of numbers away from 0, so that kinks (ReLU) are not straddled.
func random(seed uint64, shape ...int) leaf {
	n := 1
	for _, d := range shape {
		n *= d
	}
	r := NewRandom(seed)
	l := leaf{shape, make([]float64, n)}
	for i := range l.values {
		l.values[i] = 2*r.Float64() - 1
		l.values[i] += math.Copysign(0.05, l.values[i])
	}
	return l
}

// gradCase is a graph from leaves to any tensors; the test reduces those to a scalar by further,
// non-linear operations, so that an operation that ignores its incoming gradient fails.
type gradCase struct {
	name   string
	leaves []leaf
	graph  func(t *Tape, x []*Tensor) []*Tensor
}

func one(f func(t *Tape, x []*Tensor) *Tensor) func(*Tape, []*Tensor) []*Tensor {
	return func(t *Tape, x []*Tensor) []*Tensor { return []*Tensor{f(t, x)} }
}

// constant is a tensor of the tape that wants no gradient, of the numbers of random.
func constant(t *Tape, seed uint64, shape ...int) *Tensor {
	c := t.empty(t.DType, shape...)
	t.Dev.Write(c.Buffer(), random(seed, shape...).values)
	return c
}

// expertOf makes expert e a linear layer of rows e*out to (e+1)*out of w.
func expertOf(w *Tensor, out int) func(int, *Tensor) *Tensor {
	return func(e int, x *Tensor) *Tensor {
		index := make([]int32, out)
		for i := range index {
			index[i] = int32(e*out + i)
		}
		return Linear(x, Rows(w, x.Tape().Ints(index)), nil)
	}
}

func gradCases() []gradCase {
	attention := func(s AttentionShape) func(*Tape, []*Tensor) []*Tensor {
		s.Scale = 0.6
		s.Sequences = []device.Sequence{{Q: 0, QLen: 5, K: 0, KLen: 5}, {Q: 5, QLen: 3, K: 5, KLen: 3}}
		return one(func(t *Tape, x []*Tensor) *Tensor { return Attention(x[0], x[1], x[2], s) })
	}
	qkv := func(h, k, d int) []leaf { return []leaf{random(1, 8, h*d), random(2, 8, k*d), random(3, 8, k*d)} }
	targets := []int32{3, -100, 0, 6, 2}
	cases := []gradCase{
		{"Linear", []leaf{random(1, 4, 3), random(2, 5, 3), random(3, 5)}, one(func(t *Tape, x []*Tensor) *Tensor { return Linear(x[0], x[1], x[2]) })},
		{"Linears", []leaf{random(1, 4, 3), random(2, 5, 3), random(3, 5), random(4, 2, 3)}, func(t *Tape, x []*Tensor) []*Tensor {
			return Linears(x[0], Weights{x[1], x[2]}, Weights{W: x[3]})
		}},
		{"Linear without bias", []leaf{random(1, 4, 3), random(2, 5, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Linear(x[0], x[1], nil) })},
		{"Conv1D", []leaf{random(1, 4, 3), random(2, 3, 5), random(3, 5)}, one(func(t *Tape, x []*Tensor) *Tensor { return Conv1D(x[0], x[1], x[2]) })},
		{"LowRank", []leaf{random(1, 4, 3), random(2, 5, 3), random(3, 2, 3), random(4, 5, 2)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return LowRank(Linear(x[0], x[1], nil), x[0], x[2], x[3], 0.7)
		})},
		{"Updated", []leaf{random(1, 4, 3), random(2, 5, 3), random(5, 5), random(3, 2, 3), random(4, 5, 2)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Updated(x[0], x[1], x[2], true, Update{x[0], x[3], x[4], 0.7})
		})},
		{"Updated Conv1D of another input", []leaf{random(1, 4, 3), random(2, 3, 5), random(6, 4, 3), random(3, 2, 3), random(4, 5, 2)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Updated(x[0], x[1], nil, false, Update{Scale(x[2], 2), x[3], x[4], 0.7})
		})},
		{"Updated in Recompute", []leaf{random(1, 4, 3), random(2, 3, 3), random(3, 2, 3), random(4, 3, 2)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Recompute(x[0], func(h *Tensor) *Tensor {
				h = Scale(h, 2)
				return Updated(h, x[1], nil, true, Update{Dropout(h, 0.3), x[2], x[3], 0.7})
			})
		})},
		{"Updated behind a dropped activation", []leaf{random(1, 4, 3), random(2, 5, 3), random(5, 4, 5), random(3, 2, 5), random(4, 4, 2)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return t.Scope(func() *Tensor {
				h := Unary(device.SiLU, Linear(x[0], x[1], nil))
				return Updated(h, x[2], nil, true, Update{h, x[3], x[4], 0.7})
			})
		})},
		{"LowRank in Recompute", []leaf{random(1, 4, 3), random(3, 2, 3), random(4, 3, 2)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Recompute(x[0], func(h *Tensor) *Tensor { return LowRank(Scale(h, 2), Dropout(h, 0.3), x[1], x[2], 0.7) })
		})},
		{"Prepend", []leaf{random(1, 5, 3), random(2, 2, 7)}, one(func(t *Tape, x []*Tensor) *Tensor { return Prepend(x[0], x[1], []int{0, 3, 5}, 2) })},
		{"Prepend nowhere", []leaf{random(1, 5, 3), random(2, 2, 7)}, func(t *Tape, x []*Tensor) []*Tensor {
			return []*Tensor{Prepend(x[0], x[1], nil, 2), Scale(x[1], 2)}
		}},
		{"Prepend in Recompute", []leaf{random(1, 4, 3), random(2, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			e := Scale(x[1], 2)
			return Recompute(x[0], func(h *Tensor) *Tensor { return Prepend(h, e, []int{1}, 0) }, e)
		})},
		{"Magnitude", []leaf{random(1, 4, 3), random(2, 3), random(3, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Magnitude(x[0], x[1], t.Constant([]float32{0.5, 2, 1.5}, 3), x[2])
		})},
		{"Magnitude without bias", []leaf{random(1, 4, 3), random(2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Magnitude(Scale(x[0], 2), x[1], t.Constant([]float32{0.5, 2, 1.5}, 3), nil)
		})},
		{"Add", []leaf{random(1, 2, 3), random(2, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Add(x[0], x[1]) })},
		{"Add of one to itself", []leaf{random(1, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Add(x[0], Add(x[0], Scale(x[0], 3))) })},
		{"Add of an activation", []leaf{random(1, 2, 3), random(2, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Add(Unary(device.SiLU, x[0]), x[1]) // whose gradient is one memory, until the activation's changes
		})},
		{"Residual", []leaf{random(1, 2, 3), random(2, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Residual(x[0], Scale(x[1], 2)) })},
		{"Residual with a branch that another reads", []leaf{random(1, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			branch := Scale(x[0], 2)
			square := Mul(branch, branch)
			return Add(Residual(x[0], branch), square)
		})},
		{"Residual of a layer's norm that is made again", []leaf{random(1, 3, 5), random(2, 5)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return t.Scope(func() *Tensor { return Residual(x[0], RMSNorm(x[0], x[1], 1e-3, 0)) })
		})},
		{"Mul", []leaf{random(1, 2, 3), random(2, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Mul(x[0], x[1]) })},
		{"Scale", []leaf{random(1, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Scale(x[0], -1.5) })},
		{"Sub", []leaf{random(1, 2, 3), random(2, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Sub(x[0], x[1]) })},
		{"Sub of one from itself", []leaf{random(1, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Sub(Scale(x[0], 3), x[0]) })},
		{"Affine", []leaf{random(1, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Affine(x[0], -1.5, 0.3) })},
		{"Max", []leaf{random(1, 2, 3), random(2, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Max(x[0], x[1]) })},
		{"Min", []leaf{random(1, 2, 3), random(2, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Min(x[0], x[1]) })},
		{"Max with a constant", []leaf{random(1, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Max(t.Constant([]float32{0, 2, -2, 0, 1, -1}, 2, 3), x[0])
		})},
		{"Clamp", []leaf{random(1, 4, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Clamp(x[0], -0.4, 0.3) })},
		{"SumBy", []leaf{random(1, 6)}, one(func(t *Tape, x []*Tensor) *Tensor { return SumBy(x[0], t.Ints([]int32{2, 0, 2, 2, 3, 0}), 4) })},
		{"Float32", []leaf{random(1, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Scale(Float32(x[0]), 2) })},
		{"Sum", []leaf{random(1, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Sum(x[0]) })},
		{"Gated silu", []leaf{random(1, 2, 3), random(2, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Gated(device.SiLU, x[0], x[1]) })},
		{"Gated gelu", []leaf{random(1, 2, 3), random(2, 2, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Gated(device.GELU, x[0], x[1]) })},
		{"Noise", []leaf{random(1, 6, 7)}, one(func(t *Tape, x []*Tensor) *Tensor { return Noise(x[0], []float32{0, 1, 2, 0.1, 3, 0}) })},
		{"Dropout", []leaf{random(1, 6, 7)}, one(func(t *Tape, x []*Tensor) *Tensor { return Dropout(x[0], 0.4) })},
		{"RMSNorm", []leaf{random(1, 3, 5), random(2, 5)}, one(func(t *Tape, x []*Tensor) *Tensor { return RMSNorm(x[0], x[1], 1e-3, 0) })},
		{"RMSNorm with offset", []leaf{random(1, 3, 5), random(2, 5)}, one(func(t *Tape, x []*Tensor) *Tensor { return RMSNorm(x[0], x[1], 1e-3, 1) })},
		{"RMSNorm of heads", []leaf{random(1, 3, 8), random(2, 4)}, one(func(t *Tape, x []*Tensor) *Tensor { return RMSNorm(x[0], x[1], 1e-3, 0) })},
		{"LayerNorm", []leaf{random(1, 3, 5), random(2, 5), random(3, 5)}, one(func(t *Tape, x []*Tensor) *Tensor { return LayerNorm(x[0], x[1], x[2], 1e-3) })},
		{"a norm used twice", []leaf{random(1, 3, 5), random(2, 5)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Add(RMSNorm(x[0], x[1], 1e-3, 0), RMSNorm(Scale(x[0], 2), x[1], 1e-1, 0))
		})},
		{"Rope", []leaf{random(1, 4, 12)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Rope(Scale(x[0], 2), NewRopeTable(t.Dev, []float64{1, 0.1}, 9, 1), t.Ints([]int32{0, 1, 8, 3}), 2)
		})},
		{"Attention", qkv(2, 2, 3), attention(AttentionShape{Heads: 2, KVHeads: 2, D: 3})},
		{"Attention grouped", qkv(4, 2, 3), attention(AttentionShape{Heads: 4, KVHeads: 2, D: 3})},
		{"Attention windowed", qkv(2, 1, 3), attention(AttentionShape{Heads: 2, KVHeads: 1, D: 3, Window: 2})},
		{"Attention soft-capped", qkv(2, 1, 3), attention(AttentionShape{Heads: 2, KVHeads: 1, D: 3, SoftCap: 0.7})},
		{"Attention grouped, windowed and soft-capped", qkv(4, 2, 3), attention(AttentionShape{Heads: 4, KVHeads: 2, D: 3, Window: 3, SoftCap: 0.7})},
		{"Attention of a dropped norm", append(qkv(2, 2, 3), random(4, 6)), one(func(t *Tape, x []*Tensor) *Tensor {
			f := attention(AttentionShape{Heads: 2, KVHeads: 2, D: 3})
			return t.Scope(func() *Tensor { return f(t, []*Tensor{RMSNorm(x[0], x[3], 1e-3, 0), x[1], x[2]})[0] })
		})},
		{"AttentionColumns", []leaf{random(1, 8, 16)}, one(func(t *Tape, x []*Tensor) *Tensor {
			s := AttentionShape{Heads: 4, KVHeads: 2, D: 2, Scale: 0.6, Sequences: []device.Sequence{{QLen: 3, KLen: 3}, {Q: 3, QLen: 5, K: 3, KLen: 5}}}
			return Add(AttentionColumns(x[0], s), SplitCols(x[0], 8, 8)[0])
		})},
		{"Embedding", []leaf{random(1, 5, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Embedding(t.Ints([]int32{4, 0, 4, 2}), x[0]) })},
		{"Rows", []leaf{random(1, 5, 3)}, one(func(t *Tape, x []*Tensor) *Tensor { return Rows(x[0], t.Ints([]int32{1, 1, 3})) })},
		{"Experts", []leaf{random(1, 6, 3), random(2, 6, 4), random(3, 20, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Experts(x[0], Route(x[1], 2, nil), expertOf(x[2], 5))
		})},
		{"Experts, all of them", []leaf{random(1, 4, 3), random(2, 4, 2), random(3, 4, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Experts(x[0], Route(x[1], 2, nil), expertOf(x[2], 2))
		})},
		{"Experts, one each, in Recompute", []leaf{random(1, 6, 3), random(2, 4, 3), random(3, 12, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Recompute(x[0], func(h *Tensor) *Tensor { return Experts(h, Route(Linear(h, x[1], nil), 1, nil), expertOf(x[2], 3)) })
		})},
		{"Experts whose balance nobody asks for", []leaf{random(1, 6, 3), random(2, 6, 4)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Experts(x[0], Route(x[1], 2, new(Balance)), func(e int, rows *Tensor) *Tensor { return Scale(rows, float32(e+1)) })
		})},
		{"Experts with a load-balancing loss over recomputed layers", []leaf{random(1, 6, 3), random(2, 4, 3), random(3, 12, 3)}, func(t *Tape, x []*Tensor) []*Tensor {
			var b Balance
			layer := func(h *Tensor) *Tensor { return Experts(h, Route(Linear(h, x[1], nil), 2, &b), expertOf(x[2], 3)) }
			y := Recompute(t.Scope(func() *Tensor { return layer(x[0]) }), layer)
			return []*Tensor{y, b.Loss()}
		}},
		{"a load-balancing loss alone", []leaf{random(1, 6, 3), random(2, 4, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			var b Balance
			y := Experts(x[0], Route(Linear(x[0], x[1], nil), 2, &b), func(_ int, rows *Tensor) *Tensor { return rows })
			return Mul(b.Loss(), Sum(y))
		})},
		{"SplitCols", []leaf{random(1, 2, 6)}, func(t *Tape, x []*Tensor) []*Tensor { return SplitCols(x[0], 1, 3, 2) }},
		{"SplitHeads", []leaf{random(1, 2, 12)}, func(t *Tape, x []*Tensor) []*Tensor { return SplitHeads(x[0], 2, 1, 3, 2) }},
		{"SplitCols, one part unused", []leaf{random(1, 2, 6)}, func(t *Tape, x []*Tensor) []*Tensor { return SplitCols(x[0], 1, 3, 2)[1:2] }},
		{"Recompute", []leaf{random(1, 3, 4), random(2, 4, 4)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Recompute(x[0], func(h *Tensor) *Tensor {
				return Add(h, Dropout(Unary(device.GELU, Linear(h, x[1], nil)), 0.3))
			})
		})},
		{"Recompute of what is not read", []leaf{random(1, 2, 3), random(2, 2, 3)}, func(t *Tape, x []*Tensor) []*Tensor {
			y := Recompute(Scale(x[0], 2), func(*Tensor) *Tensor { return Mul(x[1], x[1]) }, x[1])
			return []*Tensor{y, Scale(x[0], 3)}
		}},
		{"Recompute within Recompute", []leaf{random(1, 3, 4), random(2, 4, 4)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Recompute(x[0], func(h *Tensor) *Tensor {
				inner := func(h *Tensor) *Tensor { return Unary(device.SiLU, Linear(h, x[1], nil)) }
				return Mul(Recompute(h, inner), h)
			})
		})},
		{"Between", []leaf{random(1, 3, 4), random(2, 4, 4)}, one(func(t *Tape, x []*Tensor) *Tensor {
			factor := float32(1) // what layers that run again find switched on
			layer := func(h *Tensor) *Tensor { return Unary(device.SiLU, Scale(Linear(h, x[1], nil), factor)) }
			switched := func(f float32) func() { return func() { factor = f } }
			inner := t.Between(switched(2), switched(1), func() *Tensor { return Recompute(x[0], layer) })
			return Mul(Recompute(inner, layer), Recompute(x[0], layer))
		})},
		{"Scope", []leaf{random(1, 3, 4), random(2, 4)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return t.Scope(func() *Tensor { // the norm's output is dropped and rebuilt twice over
				n := RMSNorm(x[0], x[1], 1e-3, 0)
				return Add(Mul(n, Unary(device.SiLU, n)), n)
			})
		})},
		{"a dropped activation of a dropped norm", []leaf{random(1, 3, 4), random(2, 4)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return t.Scope(func() *Tensor {
				y := Unary(device.SiLU, RMSNorm(x[0], x[1], 1e-3, 0))
				return Mul(y, y)
			})
		})},
		{"a dropped activation of a dropped norm before a linear layer", []leaf{random(1, 3, 4), random(2, 4), random(3, 5, 4)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return t.Scope(func() *Tensor { return Linear(Unary(device.SiLU, RMSNorm(x[0], x[1], 1e-3, 0)), x[2], nil) })
		})},
		{"a dropped activation before a linear layer", []leaf{random(1, 3, 4), random(2, 4, 4), random(3, 4, 4)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return t.Scope(func() *Tensor { // value and gradient come in one go
				return Linear(Unary(device.GELU, Linear(x[0], x[1], nil)), x[2], nil)
			})
		})},
		{"a dropped gate before a linear layer", []leaf{random(1, 3, 4), random(2, 5, 4), random(3, 5, 4), random(4, 4, 5)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return t.Scope(func() *Tensor {
				return Linear(Gated(device.SiLU, Linear(x[0], x[1], nil), Linear(x[0], x[2], nil)), x[3], nil)
			})
		})},
		{"a dropped gate of one number twice", []leaf{random(1, 3, 4), random(2, 5, 4), random(4, 4, 5)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return t.Scope(func() *Tensor {
				h := Linear(x[0], x[1], nil)
				return Linear(Gated(device.GELU, h, h), x[2], nil)
			})
		})},
		{"a dropped activation used three times", []leaf{random(1, 3, 4), random(2, 4, 4), random(3, 4, 4)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return t.Scope(func() *Tensor {
				h := Linear(x[0], x[1], nil)
				y := Unary(device.GELU, h)
				first := Add(Scale(y, 2), Scale(h, 3))
				return Add(first, Mul(Linear(y, x[2], nil), y))
			})
		})},
		{"LinearCrossEntropy", []leaf{random(1, 5, 3), random(2, 7, 3), random(3, 7)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return LinearCrossEntropy(x[0], Head{x[1], x[2], 0}, t.Ints(targets), CrossEntropyOptions{Tokens: 4})
		})},
		{"LinearCrossEntropy with z-loss and smoothing", []leaf{random(1, 5, 3), random(2, 7, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return LinearCrossEntropy(x[0], Head{x[1], nil, 0}, t.Ints(targets), CrossEntropyOptions{Tokens: 4, ZLoss: 0.1, Smoothing: 0.2})
		})},
		{"LinearCrossEntropy, soft-capped", []leaf{random(1, 5, 3), random(2, 7, 3), random(3, 7)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return LinearCrossEntropy(x[0], Head{x[1], x[2], 1.5}, t.Ints(targets), CrossEntropyOptions{Tokens: 4, ZLoss: 0.1})
		})},
		{"LogProbs, soft-capped", []leaf{random(1, 5, 3), random(2, 7, 3)}, func(t *Tape, x []*Tensor) []*Tensor {
			l, e := LogProbsAndEntropy(x[0], Head{x[1], nil, 0.8}, t.Ints(targets))
			return []*Tensor{l, e}
		}},
		{"Head.Logits, soft-capped", []leaf{random(1, 5, 3), random(2, 7, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			return Head{x[1], nil, 0.8}.Logits(x[0])
		})},
		{"LogProbs, both", []leaf{random(1, 5, 3), random(2, 7, 3), random(3, 7)}, func(t *Tape, x []*Tensor) []*Tensor {
			l, e := LogProbsAndEntropy(x[0], Head{x[1], x[2], 0}, t.Ints(targets))
			return []*Tensor{l, e}
		}},
		{"LogProbs, entropy alone", []leaf{random(1, 5, 3), random(2, 7, 3)}, func(t *Tape, x []*Tensor) []*Tensor {
			_, e := LogProbsAndEntropy(x[0], Head{x[1], nil, 0}, t.Ints(targets))
			return []*Tensor{e}
		}},
		{"LogProbs, log-probability alone", []leaf{random(1, 5, 3), random(2, 7, 3)}, func(t *Tape, x []*Tensor) []*Tensor {
			l, _ := LogProbs(x[0], Head{x[1], nil, 0}, t.Ints(targets))
			return []*Tensor{l}
		}},
		{"LogProbs, frozen head", []leaf{random(1, 5, 3)}, func(t *Tape, x []*Tensor) []*Tensor {
			l, _ := LogProbs(x[0], Head{constant(t, 2, 7, 3), constant(t, 3, 7), 0}, t.Ints(targets))
			return []*Tensor{l, x[0]} // whose gradient has more than one part
		}},
		{"LogProbs, frozen head, soft-capped", []leaf{random(1, 5, 3)}, one(func(t *Tape, x []*Tensor) *Tensor {
			l, _ := LogProbs(x[0], Head{constant(t, 2, 7, 3), nil, 0.8}, t.Ints(targets))
			return l
		})},
	}
	for op := device.Identity; op < device.UnaryOps; op++ {
		l := random(uint64(op), 3, 4)
		if op == device.Log {
			for i, v := range l.values {
				l.values[i] = math.Abs(v)
			}
		}
		cases = append(cases, gradCase{fmt.Sprintf("Unary %d", op), []leaf{l}, one(func(t *Tape, x []*Tensor) *Tensor { return Unary(op, x[0]) })})
	}
	return cases
}

// TestGradients checks every operation by central differences in double precision.
func TestGradients(t *testing.T) {
	const eps, tolerance = 1e-5, 2e-6
	for _, c := range gradCases() {
		t.Run(c.name, func(t *testing.T) {
			dev := devicetest.NewReference()
			tape := NewTape(dev, device.F32)
			_, grads := c.run(t, tape, c.leaves, true)
			for i, l := range c.leaves {
				for j := range l.values {
					v := l.values[j]
					l.values[j] = v + eps
					up, _ := c.run(t, tape, c.leaves, false)
					l.values[j] = v - eps
					down, _ := c.run(t, tape, c.leaves, false)
					l.values[j] = v
					want := (up - down) / (2 * eps)
					if got := grads[i][j]; !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
						t.Fatalf("d/dx%d[%d] = %.9f, central difference %.9f", i, j, got, want)
					}
				}
			}
		})
	}
}

// run evaluates the case's scalar and, when asked, its gradients; it also checks that the pass leaves no memory behind.
func (c gradCase) run(t *testing.T, tape *Tape, leaves []leaf, backward bool) (loss float64, grads [][]float64) {
	t.Helper()
	return c.runAs(t, tape, leaves, gradOptions{backward: backward})
}

// gradOptions are ways to run a case that must not change its gradients.
type gradOptions struct {
	backward bool
	frozen   []int   // these leaves want no gradient
	params   bool    // all leaves but the first, or the first activations, are parameters
	also     []*leaf // weights of another use of each leaf, whose gradient they are; nil: none, of a leaf or of all
	first    bool    // that use comes before the graph, else behind it
}

// runAs is run in one of the ways.
func (c gradCase) runAs(t *testing.T, tape *Tape, leaves []leaf, o gradOptions) (loss float64, grads [][]float64) {
	t.Helper()
	tape.Train(7, 0, 0)
	before := tape.Dev.Memory().InUse
	xs := make([]*Tensor, len(leaves))
	for i, l := range leaves {
		if o.params && i >= activations[c.name] && i > 0 {
			xs[i] = NewParam(l.shape...)
			xs[i].Set(tape.Dev, tape.DType, l.values)
		} else {
			xs[i] = tape.empty(tape.DType, l.shape...)
			tape.Dev.Write(xs[i].Buffer(), l.values)
		}
		xs[i].needsGrad = !slices.Contains(o.frozen, i)
	}
	var total *Tensor
	add := func(y *Tensor, combine func(a, b *Tensor) *Tensor) {
		if total == nil {
			total = y
		} else {
			total = combine(total, y)
		}
	}
	use := func() *Tensor {
		var sum *Tensor
		for i, l := range o.also {
			if l == nil {
				continue
			}
			w := tape.empty(tape.DType, l.shape...)
			tape.Dev.Write(w.Buffer(), l.values)
			if y := Sum(Mul(w, xs[i])); sum == nil {
				sum = y
			} else {
				sum = Add(sum, y)
			}
		}
		return sum
	}
	var other *Tensor
	if o.also != nil && o.first {
		other = use()
	}
	for i, y := range c.graph(tape, xs) {
		w := tape.empty(device.F32, y.Shape...)
		tape.Dev.Write(w.Buffer(), random(uint64(50+i), y.Shape...).values)
		add(Sum(Mul(Mul(y, y), Add(w, y))), Mul)
	}
	if o.also != nil && !o.first {
		other = use()
	}
	if other != nil {
		add(other, Add)
	}
	var v [1]float64
	if err := tape.Dev.Read(v[:], total.Buffer()); err != nil {
		t.Fatal(err)
	}
	if o.backward {
		tape.Backward(total)
		for i, x := range xs {
			g := make([]float64, len(leaves[i].values))
			if x.grad != nil {
				if want := x.Grad().DType; x.tape == nil && want != device.F32 || x.tape != nil && want != x.dtype {
					t.Fatalf("the gradient of leaf %d, %v, is %v; of a parameter: %v", i, x.dtype, want, x.tape == nil)
				}
				if err := tape.Dev.Read(g, x.Grad()); err != nil {
					t.Fatal(err)
				}
			}
			if (x.grad != nil) == slices.Contains(o.frozen, i) {
				t.Fatalf("leaf %d has a gradient: %v; frozen are %v", i, x.grad != nil, o.frozen)
			}
			grads = append(grads, g)
			x.FreeGrad()
		}
	}
	tape.Reset()
	for _, x := range xs {
		if x.tape == nil {
			x.Free()
		}
	}
	if c.name != "Rope" && tape.Dev.Memory().InUse != before { // the rope table is the case's own
		t.Fatalf("%d bytes in use after the pass, %d before", tape.Dev.Memory().InUse, before)
	}
	return v[0], grads
}

// activations are how many leaves of a case have to be of the tape, where one is not enough.
var activations = map[string]int{"Updated Conv1D of another input": 3, "Prepend in Recompute": 2, "Prepend nowhere": 2, "Residual": 2,
	"Recompute of what is not read": 2, "Experts": 2, "Experts, all of them": 2, "Experts whose balance nobody asks for": 2}

// TestGradientsDoNotDependOnOthers: a gradient is the same when another leaf is frozen, which then has none;
// when leaves are parameters, whose gradients are F32 beside activations in BF16; and it adds up with what
// another use of the leaf gives, before or after.
func TestGradientsDoNotDependOnOthers(t *testing.T) {
	for _, c := range gradCases() {
		t.Run(c.name, func(t *testing.T) {
			dev := devicetest.NewReference()
			tape := NewTape(dev, device.F32)
			_, want := c.run(t, tape, c.leaves, true)
			check := func(how string, tape *Tape, o gradOptions) {
				o.backward = true
				_, got := c.runAs(t, tape, c.leaves, o)
				for i, g := range got {
					for j, v := range g {
						w := want[i][j]
						if slices.Contains(o.frozen, i) {
							w = 0
						} else if o.also != nil && o.also[i] != nil {
							w += o.also[i].values[j]
						}
						if !(math.Abs(v-w) <= 1e-9*max(1, math.Abs(w))) {
							t.Fatalf("%s: d/dx%d[%d] = %.12f, want %.12f", how, i, j, v, w)
						}
					}
				}
			}
			for i := range c.leaves {
				check(fmt.Sprintf("leaf %d frozen", i), tape, gradOptions{frozen: []int{i}})
				var others []int
				for j := range c.leaves {
					if j != i {
						others = append(others, j)
					}
				}
				check(fmt.Sprintf("all but leaf %d frozen", i), tape, gradOptions{frozen: others})
				also, twice := make([]*leaf, len(c.leaves)), random(uint64(90+i), c.leaves[i].shape...)
				also[i] = &twice
				check(fmt.Sprintf("all but leaf %d, which is used before, too, frozen", i), tape, gradOptions{frozen: others, also: also})
			}
			for _, dtype := range []device.DType{device.F32, device.BF16} {
				tape := NewTape(dev, dtype)
				check(fmt.Sprintf("parameters beside %v", dtype), tape, gradOptions{params: true})
				all := make([]*leaf, len(c.leaves))
				for i, l := range c.leaves {
					other := random(uint64(90+i), l.shape...)
					all[i] = &other
				}
				for one := -1; one < len(all); one++ { // all leaves are used twice, or one of them
					also := all
					if one >= 0 {
						also = make([]*leaf, len(all))
						also[one] = all[one]
					}
					for _, o := range []gradOptions{{first: true}, {}, {first: true, params: true}, {params: true}} {
						o.also = also
						check(fmt.Sprintf("leaf %d (-1: all) used twice, first there: %v, parameters: %v, %v", one, o.first, o.params, dtype), tape, o)
					}
				}
			}
		})
	}
}
