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
