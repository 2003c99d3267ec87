package device

// Summer is a device that can sum the columns of a product's B while it multiplies by it. It is optional: see MatMulSums.
type Summer interface {
	MatMulSums(m MatMul, sums Buffer, acc bool)
}

// MatMulSums computes m on d and, into sums, F32 [N], the sums of the columns of its B: sums (+)= Σ over k of B[k, n]. B is dense and not transposed, m has
// no Bias and no Batch. So the gradient of the bias of x·w + b comes with that of w.
func MatMulSums(d Device, m MatMul, sums Buffer, acc bool) {
	if s, ok := d.(Summer); ok {
		s.MatMulSums(m, sums, acc)
		return
	}
	d.MatMul(m)
	d.ColumnSum(sums, m.B.Slice(0, m.K*m.N), acc)
}
