package cpu

import (
	"fmt"

	"hone/device"
	"hone/device/cpu/gemm"
)

var (
	_ device.Adder   = (*Device)(nil)
	_ device.Summer  = (*Device)(nil)
	_ device.Grouper = (*Device)(nil)
)

// MatMul computes C (+)= op(A)·op(B) (+ Bias). The product checks that its operands fit.
func (d *Device) MatMul(m device.MatMul) { d.matMul(m, gemm.Plus{}) }

// MatMuls computes products side by side.
func (d *Device) MatMuls(products []device.MatMul) {
	var args [4]gemm.Args
	var each [len(args)]*gemm.Args
	var biases [len(args)]*scratch
	for len(products) > 0 {
		n := min(len(products), len(args))
		for i := range n {
			args[i], each[i] = gemmOf(products[i]), &args[i]
			biases[i] = d.setBias(each[i], &products[i])
		}
		d.engine.Multiply(each[:n]...)
		for _, s := range biases[:n] {
			d.scratch.put(s)
		}
		products = products[n:]
	}
}

// MatMulPlus computes m, to which plus is added. One of very many k is a product of its own.
func (d *Device) MatMulPlus(m, plus device.MatMul) {
	if plus.A.DType != plus.B.DType {
		panic(fmt.Sprintf("cpu: MatMulPlus of %s by %s", plus.A.DType, plus.B.DType))
	}
	if plus.K > gemm.PlusMax {
		d.matMul(m, gemm.Plus{})
		plus.M, plus.N, plus.C, plus.LDC, plus.Accumulate = m.M, m.N, m.C, m.LDC, true
		d.MatMul(plus)
		return
	}
	d.matMul(m, gemm.Plus{K: plus.K, A: matOf(plus.A), B: matOf(plus.B), LDA: plus.LDA, LDB: plus.LDB, TransA: plus.TransA, TransB: plus.TransB})
}

// MatMulSums computes m and sums the columns of its B, which are packed anyway.
func (d *Device) MatMulSums(m device.MatMul, sums device.Buffer, acc bool) {
	g := gemmOf(m)
	if g.M == 0 || g.K == 0 {
		d.MatMul(m)
		d.ColumnSum(sums, m.B.Slice(0, m.K*m.N), acc)
		return
	}
	g.Sums, g.AddSums = f32sOf("MatMulSums", sums, g.N), acc
	d.engine.Multiply(&g)
}

func (d *Device) matMul(m device.MatMul, plus gemm.Plus) {
	g := gemmOf(m)
	g.Plus = plus
	s := d.setBias(&g, &m)
	d.engine.Multiply(&g)
	d.scratch.put(s)
}

// setBias gives g the bias of m, in scratch if there is one.
func (d *Device) setBias(g *gemm.Args, m *device.MatMul) *scratch {
	if m.Bias.IsZero() {
		return nil
	}
	bias := d.floats("MatMul", m.Bias, m.N)
	s := d.scratch.get(m.N)
	g.Bias = bias.Load(0, m.N, s.f)
	return s
}

// gemmOf is m without its bias.
func gemmOf(m device.MatMul) gemm.Args {
	if m.A.DType != m.B.DType {
		panic(fmt.Sprintf("cpu: MatMul of %s by %s", m.A.DType, m.B.DType))
	}
	return gemm.Args{
		M: m.M, N: m.N, K: m.K,
		A: matOf(m.A), B: matOf(m.B), C: matOf(m.C),
		LDA: m.LDA, LDB: m.LDB, LDC: m.LDC, TransA: m.TransA, TransB: m.TransB, Arranged: m.Arranged,
		Accumulate: m.Accumulate,
		Batch:      m.Batch, StrideA: m.StrideA, StrideB: m.StrideB, StrideC: m.StrideC,
	}
}

// matOf views an F32 or BF16 buffer as an operand.
func matOf(b device.Buffer) gemm.Mat {
	if b.DType == device.BF16 {
		return gemm.BF16(bf16s(b))
	}
	return gemm.F32(f32s(b))
}
