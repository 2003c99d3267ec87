package cpu

import (
	"fmt"

	"hone/device"
)

// MatMul computes C (+)= op(A)·op(B) (+ Bias). The product checks that its operands fit.
func (d *Device) MatMul(m device.MatMul) {
	if m.A.DType != m.B.DType {
		panic(fmt.Sprintf("cpu: MatMul of %s by %s", m.A.DType, m.B.DType))
	}
	g := gemmArgs{
		M: m.M, N: m.N, K: m.K,
		A: matOf(m.A), B: matOf(m.B), C: matOf(m.C),
		LDA: m.LDA, LDB: m.LDB, LDC: m.LDC, TransA: m.TransA, TransB: m.TransB, Arranged: m.Arranged,
		Accumulate: m.Accumulate,
		Batch:      m.Batch, StrideA: m.StrideA, StrideB: m.StrideB, StrideC: m.StrideC,
	}
	if !m.Bias.IsZero() {
		bias := floatsOf("MatMul", m.Bias, m.N)
		s := d.scratch.get(m.N)
		defer d.scratch.put(s)
		g.Bias = bias.load(0, m.N, s.f)
	}
	d.pool.gemm(&g)
}

// matOf views an F32 or BF16 buffer as an operand.
func matOf(b device.Buffer) mat {
	if b.DType == device.BF16 {
		return matBF16(bf16s(b))
	}
	return matF32(f32s(b))
}
