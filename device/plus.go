package device

// Adder is a device that can add a second product to a first one while the sums are at hand. It is optional: see MatMulPlus.
type Adder interface {
	// MatMulPlus computes m and adds to its C a product of the same M and N. A BF16 C is rounded once, or once more with plus alone in it.
	MatMulPlus(m, plus MatMul)
}

// MatMulPlus computes m on d and adds plus to its C. Of plus count K, A, B, TransA, TransB, LDA and LDB; m's Batch is 1.
func MatMulPlus(d Device, m, plus MatMul) {
	if a, ok := d.(Adder); ok {
		a.MatMulPlus(m, plus)
		return
	}
	d.MatMul(m)
	plus.M, plus.N, plus.C, plus.LDC, plus.Accumulate = m.M, m.N, m.C, m.LDC, true
	d.MatMul(plus)
}

// Scaler is a device that can scale a product while the sums are at hand. It is optional: see MatMulScaled.
type Scaler interface {
	// MatMulScaled computes m, which neither accumulates nor has a bias, times a. A BF16 C may be rounded before it is scaled as well.
	MatMulScaled(m MatMul, a float32)
}

// MatMulScaled computes C = a·op(A)·op(B) on d. C is dense; Accumulate and Bias are absent, and Batch is 1.
func MatMulScaled(d Device, m MatMul, a float32) {
	if s, ok := d.(Scaler); ok {
		s.MatMulScaled(m, a)
		return
	}
	d.MatMul(m)
	d.Scale(m.C, a)
}

// LowRankGrad is what the gradient DY [N, Out] of u·Bᵀ gives, with u = Scale·z for some z: DU [N, R] = Scale·DY·B, and DB [Out, R] = DYᵀ·U, in F32, which is
// added to what is there when AccB. DY, U [N, R], B [Out, R] and DU have one type.
type LowRankGrad struct {
	N, R, Out int
	DY, U, B  Buffer
	DU, DB    Buffer
	Scale     float32
	AccB      bool
}

// LowRanker is a device that reads DY once for both products. It is optional: see LowRankGrads.
type LowRanker interface {
	// LowRankGrad computes g. It does nothing and reports false where it is not able to, or where two products are faster.
	LowRankGrad(g LowRankGrad) bool
}

// LowRankGrads computes g on d.
func LowRankGrads(d Device, g LowRankGrad) {
	if l, ok := d.(LowRanker); ok && l.LowRankGrad(g) {
		return
	}
	d.MatMul(MatMul{M: g.Out, N: g.R, K: g.N, A: g.DY, B: g.U, TransA: true, C: g.DB, Accumulate: g.AccB})
	MatMulScaled(d, MatMul{M: g.N, N: g.R, K: g.Out, A: g.DY, B: g.B, C: g.DU}, g.Scale)
}
