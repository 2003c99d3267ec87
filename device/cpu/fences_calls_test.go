//go:build linux

package cpu

import (
	"fmt"
	"math"

	"hone/device"
)

const (
	typeF = device.F32
	typeH = device.BF16
)

// fencedCalls are calls of all kernels: of lengths that fill no vector, and with all numbers of types that have code of their own.
func fencedCalls() []fencedCall {
	var calls []fencedCall
	for _, n := range []int{1, 7, 17, 79} {
		for _, t := range [][3]device.DType{{typeF, typeF, typeF}, {typeH, typeH, typeH}, {typeH, typeF, typeH}} {
			calls = append(calls, elementCalls(n, t[0], t[1], t[2])...)
		}
	}
	for _, c := range []int{1, 9, 16, 21, 50} {
		for _, t := range []device.DType{typeF, typeH} {
			calls = append(calls, rowCalls(3, c, t)...)
			calls = append(calls, headCalls(c, t)...)
			calls = append(calls, expertCalls(3, c, t)...)
			calls = append(calls, productCalls(c, t)...)
		}
		calls = append(calls, stateCalls(c)...)
	}
	return calls
}

// largeCalls are calls of which several workers each do a part.
func largeCalls() []fencedCall {
	const n, rows, c = 20001, 531, 50
	calls := elementCalls(n, typeF, typeH, typeF)
	for _, t := range []device.DType{typeF, typeH} {
		calls = append(calls, rowCalls(rows, c, t)...)
		calls = append(calls, expertCalls(rows, c, t)...)
		calls = append(calls, productCalls(40*c, t)...)
	}
	return append(calls, stateCalls(n)...)
}

// elementCalls work on n numbers, results of type a from numbers of types b and c.
func elementCalls(n int, a, b, c device.DType) (calls []fencedCall) {
	add := func(name string, f func(o *operands)) {
		calls = append(calls, fencedCall{name: fmt.Sprintf("%s of %d %s from %s and %s", name, n, a, b, c), run: f})
	}
	for op := device.Identity; op < device.UnaryOps; op++ {
		add(fmt.Sprintf("Unary %d", op), func(o *operands) { o.Unary(op, o.out(n, a), o.of(n, b)) })
		for _, acc := range []bool{false, true} {
			add(fmt.Sprintf("UnaryGrad %d %v", op, acc), func(o *operands) { o.UnaryGrad(op, o.of(n, a), o.of(n, b), o.of(n, c), acc) })
		}
		if op == device.Identity || op == device.Log { // whose slope at 0 is not finite
			continue
		}
		add(fmt.Sprintf("UnaryBoth %d", op), func(o *operands) { o.UnaryBoth(op, o.out(n, a), o.of(n, b), o.of(n, c)) })
	}
	for op := range device.BinaryOps {
		add(fmt.Sprintf("Binary %d", op), func(o *operands) { o.Binary(op, o.out(n, a), o.of(n, b), o.of(n, c)) })
	}
	for _, act := range []device.UnaryOp{device.SiLU, device.GELU, device.ReLU} {
		add(fmt.Sprintf("Gated %d", act), func(o *operands) { o.Gated(act, o.out(n, a), o.of(n, b), o.of(n, c)) })
		add(fmt.Sprintf("GatedGrad %d", act), func(o *operands) {
			o.GatedGrad(act, o.out(n, a), o.out(n, a), o.of(n, b), o.of(n, b), o.of(n, c))
		})
		add(fmt.Sprintf("GatedBoth %d", act), func(o *operands) {
			o.GatedBoth(act, o.out(n, a), o.out(n, a), o.of(n, b), o.of(n, c), o.of(n, c))
		})
	}
	add("AddScaled", func(o *operands) { o.AddScaled(o.of(n, a), 0.7, o.of(n, b)) })
	add("Scale", func(o *operands) { o.Scale(o.of(n, a), -1.3) })
	add("Fill", func(o *operands) { o.Fill(o.out(n, a), -1.5) })
	add("Dropout", func(o *operands) { o.Dropout(o.out(n, a), o.of(n, b), 0.3, 12345) })
	for _, acc := range []bool{false, true} {
		add(fmt.Sprintf("Copy2D %v", acc), func(o *operands) {
			o.Copy2D(device.Copy2D{Dst: o.of(2*(n+3)+n, a), DstStride: n + 3, Src: o.of(2*(n+5)+n, b), SrcStride: n + 5, Rows: 3, Cols: n, Acc: acc})
		})
	}
	for op := device.Sum; op <= device.NonFinite; op++ {
		add(fmt.Sprintf("Reduce %d", op), func(o *operands) { o.Reduce(op, o.out(1, typeF), o.of(n, a)) })
	}
	return calls
}

// rowCalls work on rows of c numbers of type t.
func rowCalls(rows, c int, t device.DType) (calls []fencedCall) {
	n := rows * c
	add := func(name string, f func(o *operands)) {
		calls = append(calls, fencedCall{name: fmt.Sprintf("%s of rows of %d %s", name, c, t), run: f})
	}
	for _, center := range []bool{false, true} {
		add(fmt.Sprintf("Norm %v", center), func(o *operands) {
			k := device.Norm{C: c, Y: o.out(n, t), X: o.of(n, t), Weight: o.of(c, t), Rstd: o.out(rows, typeF), Eps: 1e-5, Center: center, WeightOffset: 1}
			if center {
				k.Bias, k.Mean = o.of(c, t), o.out(rows, typeF)
			}
			o.Norm(k)
		})
		for mix := range 16 { // of types, of which some have code of their own
			other := func(bit int) device.DType {
				if mix&bit != 0 {
					return typeF
				}
				return t
			}
			add(fmt.Sprintf("NormGrad %v %d", center, mix), func(o *operands) {
				k := device.NormGrad{C: c, DX: o.of(n, other(1)), DY: o.of(n, other(2)), X: o.of(n, other(4)), Weight: o.of(c, t), Rstd: o.positive(rows),
					DWeight: o.f(c), Center: center, AccX: mix&8 != 0, AccW: mix&1 != 0}
				if center {
					k.Mean, k.DBias = o.f(rows), o.f(c)
				}
				o.NormGrad(k)
			})
		}
	}
	for _, acc := range []bool{false, true} {
		add(fmt.Sprintf("ColumnSum %v", acc), func(o *operands) { o.ColumnSum(o.f(c), o.of(n, t), acc) })
	}
	add("Embedding", func(o *operands) { o.Embedding(o.out(n, t), o.of(5*c, t), o.cycle(rows, 4, 0, 4)) })
	add("EmbeddingGrad", func(o *operands) { o.EmbeddingGrad(o.f(5*c), o.of(n, t), o.cycle(rows, 4, 0, 4)) })
	add("PutRows", func(o *operands) { o.PutRows(o.of((rows+2)*c, t), o.of(n, t), o.apart(rows)) })
	for _, smoothing := range []float32{0, 0.1} {
		add(fmt.Sprintf("CrossEntropy %v", smoothing), func(o *operands) {
			o.CrossEntropy(device.CrossEntropy{V: c, LD: c + 2, Logits: o.f(rows * (c + 2)), Targets: o.cycle(rows, 0, -1, int32(c-1)), Loss: o.out(rows, typeF),
				Entropy: o.out(rows, typeF), Weights: o.f(rows), EntropyWeights: o.f(rows), DLogits: o.of(rows*(c+2), t), ZLoss: 1e-3, Smoothing: smoothing})
		})
	}
	return calls
}

// headCalls work on heads of d channels of type t.
func headCalls(d int, t device.DType) (calls []fencedCall) {
	if d%2 == 0 {
		for _, inverse := range []bool{false, true} {
			calls = append(calls, fencedCall{name: fmt.Sprintf("Rope %v of heads of %d %s", inverse, d, t), run: func(o *operands) {
				o.Rope(device.Rope{Y: o.out(3*2*(d+2), t), X: o.of(3*2*(d+2), t), Cos: o.f(4 * d / 2), Sin: o.f(4 * d / 2), Positions: o.ints(3, 0, 2), Heads: 2, D: d + 2,
					Rotary: d, Inverse: inverse})
			}})
		}
	}
	for _, s := range []struct {
		heads, kv int
		sequences []device.Sequence
		window    int
		softCap   float32
	}{
		{4, 2, []device.Sequence{{Q: 0, QLen: 5, K: 0, KLen: 5}, {Q: 5, QLen: 2, K: 5, KLen: 9}}, 0, 0},
		{4, 2, []device.Sequence{{Q: 0, QLen: 5, K: 0, KLen: 5}, {Q: 5, QLen: 2, K: 5, KLen: 9}}, 3, 0},
		{4, 2, []device.Sequence{{Q: 0, QLen: 1, K: 0, KLen: 19}}, 0, 2},
		{2, 2, []device.Sequence{{Q: 0, QLen: 4, K: 0, KLen: 16}}, 0, 0}, // rows that are read where they are: of no group, in eights and in pairs
		{2, 1, []device.Sequence{{Q: 0, QLen: 11, K: 0, KLen: 16}}, 6, 0},
	} {
		heads, kv, last := s.heads, s.kv, s.sequences[len(s.sequences)-1]
		queries, keys := last.Q+last.QLen, last.K+last.KLen
		attention := func(o *operands) device.Attention {
			a := device.Attention{O: o.out(queries*heads*d, t), Q: o.of(queries*heads*d, t), LSE: o.out(queries*heads, typeF), Heads: heads, KVHeads: kv, D: d,
				Scale: 0.3, Window: s.window, SoftCap: s.softCap, Sequences: s.sequences}
			if s.window > 0 { // a value that is hidden counts 0 times, which of NaN is NaN; which ones do is left open
				o.special = 0
			}
			a.K, a.V = o.of(keys*kv*d, t), o.of(keys*kv*d, t)
			return a
		}
		name := fmt.Sprintf("of %d of %d, heads of %d %s, window %d, cap %v", queries, keys, d, t, s.window, s.softCap)
		calls = append(calls, fencedCall{name: "Attention " + name, run: func(o *operands) { o.Attention(attention(o)) }},
			fencedCall{name: "AttentionGrad " + name, finite: true, slack: gradSlack(t), run: func(o *operands) {
				a := attention(o)
				o.Attention(a)
				o.AttentionGrad(device.AttentionGrad{Attention: a, DO: o.of(queries*heads*d, t), DQ: o.out(queries*heads*d, t), DK: o.out(keys*kv*d, t),
					DV: o.out(keys*kv*d, t)})
			}})
	}
	return calls
}

// expertCalls work on rows of c channels, and on c experts.
func expertCalls(rows, c int, t device.DType) (calls []fencedCall) {
	add := func(name string, f func(o *operands)) {
		calls = append(calls, fencedCall{name: fmt.Sprintf("%s of %d %s", name, c, t), run: f})
	}
	if k := min(2, c); c > 1 {
		add("RouteGrad", func(o *operands) {
			r := device.Route{E: c, K: k, Logits: o.of(rows*c, t), Index: o.out(rows*k, device.I32), Weights: o.out(rows*k, typeF), ProbSum: o.out(c, typeF)}
			o.Route(r)
			o.RouteGrad(device.RouteGrad{Route: r, DLogits: o.out(rows*c, t), DWeights: o.f(rows * k), DProbSum: o.f(c)})
		})
	}
	for _, weighed := range []bool{false, true} {
		combine := func(o *operands) device.Combine {
			m := device.Combine{C: c, K: 2, Y: o.out(rows*c, t), X: o.of((2*rows+2)*c, t), Index: o.apart(2 * rows)}
			if weighed {
				m.Weights = o.f(2 * rows)
			}
			return m
		}
		add(fmt.Sprintf("Combine %v", weighed), func(o *operands) { o.Combine(combine(o)) })
		add(fmt.Sprintf("CombineGrad %v", weighed), func(o *operands) {
			g := device.CombineGrad{Combine: combine(o), DY: o.of(rows*c, t), DX: o.of((2*rows+2)*c, t)}
			if weighed {
				g.DWeights = o.out(2*rows, typeF)
			}
			o.CombineGrad(g)
		})
	}
	return calls
}

// productCalls multiply by 11 rows or columns of c numbers of type t.
func productCalls(c int, t device.DType) (calls []fencedCall) {
	add := func(name string, f func(o *operands)) {
		calls = append(calls, fencedCall{name: fmt.Sprintf("%s of %d %s", name, c, t), anyNaN: true, slack: 0.02, run: f})
	}
	const n = 11
	for _, m := range []int{1, 6} {
		for form := range 4 {
			product := func(o *operands) device.MatMul {
				return device.MatMul{M: m, N: n, K: c, A: o.of(m*c, t), B: o.of(n*c, t), C: o.out(m*n, t), TransA: form&1 != 0, TransB: form&2 != 0}
			}
			add(fmt.Sprintf("MatMul %d of %d rows", form, m), func(o *operands) {
				p := product(o)
				p.Bias = o.f(n)
				o.MatMul(p)
			})
			add(fmt.Sprintf("MatMulPlus %d of %d rows", form, m), func(o *operands) {
				o.MatMulPlus(product(o), device.MatMul{K: 3, A: o.of(m*3, t), B: o.of(3*n, t), TransA: form&1 != 0, TransB: form&2 != 0})
			})
			if form < 2 {
				add(fmt.Sprintf("MatMulSums %d of %d rows", form, m), func(o *operands) { o.MatMulSums(product(o), o.f(n), true) })
			}
			add(fmt.Sprintf("MatMul %d of %d rows by an arranged weight", form, m), func(o *operands) {
				p := product(o)
				p.TransA = false
				if a, ok := o.Arrange(p.B, p.K, p.N, p.TransB); ok {
					o.Rearrange(o.out(n*c, t), a)
					if p.TransB {
						o.ArrangedRows(o.out(2*c, t), a, o.ints(10, 0))
					}
					p.Arranged, p.B = true, a.Buf
					defer o.Free(a.Buf)
				}
				o.MatMul(p)
			})
		}
	}
	for _, packing := range []device.Packing{device.NF4, device.Int8} {
		calls = append(calls, fencedCall{name: fmt.Sprintf("MatMulPacked %d of %d %s", packing, c, t), finite: true, slack: 0.02, run: func(o *operands) {
			p := device.Packed{Packing: packing, Rows: n, Cols: c}
			codes, scales, nested, offset := p.Sizes()
			p.Codes, p.Nested = o.out(codes, device.U8), o.out(nested, typeF)
			if offset > 0 {
				p.Scales, p.Offset = o.out(scales, device.U8), o.out(offset, typeF)
			}
			o.Pack(p, o.of(n*c, t))
			o.Unpack(o.out(n*c, t), p)
			device.MatMulPacked(o, device.MatMul{M: 2, N: n, K: c, A: o.of(2*c, t), C: o.out(2*n, t), TransB: true}, p)
		}})
	}
	return calls
}

// stateCalls work on n numbers of an optimizer's state, and on rows of n logits.
func stateCalls(n int) (calls []fencedCall) {
	add := func(name string, f func(o *operands)) {
		calls = append(calls, fencedCall{name: fmt.Sprintf("%s of %d", name, n), run: f})
	}
	add("Join", func(o *operands) {
		high, rest := o.out(n, typeH), o.out(2*n, device.U8)
		o.Split(high, rest, o.f(n))
		o.Join(o.out(n, typeF), high, rest)
	})
	for _, t := range []device.DType{typeF, typeH} {
		adam := func(o *operands) device.AdamW {
			return device.AdamW{Grad: o.of(n, t), LR: 1e-2, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Scale: 0.5, Step: 3}
		}
		add("AdamW "+t.String(), func(o *operands) {
			k := adam(o)
			k.Param, k.M, k.V = o.f(n), o.f(n), o.positive(n)
			o.AdamW(k)
		})
		add("AdamW of halves "+t.String(), func(o *operands) {
			k := adam(o)
			k.Param, k.Rest, k.M, k.V = o.of(n, typeH), o.out(2*n, device.U8), o.f(n), o.positive(n)
			o.AdamW(k)
		})
		calls = append(calls, fencedCall{name: fmt.Sprintf("AdamW in 8 bits of %d %s", n, t), finite: true, run: func(o *operands) {
			k, blocks := adam(o), ceilDiv(n, device.DynamicBlock)
			k.Param, k.M, k.V, k.MScale, k.VScale = o.f(n), o.out(n, device.U8), o.out(n, device.U8), o.positive(blocks), o.positive(blocks)
			o.AdamW(k)
		}})
	}
	calls = append(calls, fencedCall{name: fmt.Sprintf("Sample of %d", n), finite: true, run: func(o *operands) {
		random := []int32{1, 2, math.MaxInt32, -7}
		o.Sample(device.Sample{V: n, Logits: o.f(2 * n), Random: o.ints(random...), IDs: o.out(2, device.I32), Temperature: 0.7, TopP: 1})
	}})
	return calls
}

// gradSlack is how far apart gradients of attention may be: some paths round probabilities and gradients of scores to bf16, others do not.
func gradSlack(t device.DType) float64 {
	if t == typeH {
		return 0.05
	}
	return 0
}
