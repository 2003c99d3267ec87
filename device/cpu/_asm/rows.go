package main

// Fields of vec.RowsArgs, in order.
const (
	rowsY = iota
	rowsA
	rowsB
	rowsStrideY
	rowsStrideA
	rowsStrideB
	rowsRows
	rowsN
)

// headRows writes the functions over rows of a head, 16 elements in a step.
func headRows() string {
	var a asm
	a.headRows("scaleRoundRowsAVX512", func() {
		a.op("VPTERNLOGD $255, Z15, Z15, Z15")
		a.op("VPSRLD $17, Z15, Z14") // 0x7fff
		a.op("VPSRLD $31, Z15, Z13") // 1
		a.op("VPSLLD $16, Z13, Z12") // the bit that decides a tie
		a.op("VPSLLD $22, Z13, Z11") // the quiet bit of a NaN
	}, func() {
		a.op("VBROADCASTSS (BX), Z10")
	}, func() {
		a.op("VMULPS (SI)(AX*4), Z10, Z0")
		a.op("VPTESTMD Z12, Z0, K1")
		a.op("VCMPPS $3, Z0, Z0, K3")
		a.op("VPADDD Z14, Z0, Z2")
		a.op("VPADDD Z13, Z2, K1, Z2")
		a.op("VPORD Z11, Z0, K3, Z2")
		a.op("VPSRLD $16, Z2, Z2")
		a.op("VPMOVDW Z2, (DX)(AX*2)")
	}, func() {})
	// The order of the sums is that of vec.Path.Dot for up to 127 elements.
	a.headRows("dotRowsBF16AVX512", func() {
		a.op("VPXORD Z15, Z15, Z15")
	}, func() {
		a.op("VMOVAPS Z15, Z0")
	}, func() {
		a.op("VPMOVZXWD (SI)(AX*2), Z8")
		a.op("VPMOVZXWD (BX)(AX*2), Z9")
		a.op("VPSLLD $16, Z8, Z8")
		a.op("VPSLLD $16, Z9, Z9")
		a.op("VFMADD231PS Z8, Z9, Z0")
	}, func() {
		a.op("VADDPS Z15, Z0, Z0")
		a.op("VEXTRACTF64X4 $1, Z0, Y1")
		a.op("VADDPS Y1, Y0, Y0")
		a.op("VEXTRACTF128 $1, Y0, X1")
		a.op("VADDPS X1, X0, X0")
		a.op("VPERMILPS $0x4e, X0, X1")
		a.op("VADDPS X1, X0, X0")
		a.op("VPERMILPS $0xb1, X0, X1")
		a.op("VADDPS X1, X0, X0")
		a.op("VMOVSS X0, (DX)")
	})
	return a.String()
}

// headRows writes a function over rows of y at DX, a at SI and b at BX: what comes once, before a row, for 16 elements from AX on, and after a row.
func (a *asm) headRows(name string, once, begin, body, end func()) {
	a.text(name, "a *rowsArgs", 0)
	a.op("MOVQ a+0(FP), DI")
	a.op("MOVQ %s, DX", field(rowsY))
	a.op("MOVQ %s, SI", field(rowsA))
	a.op("MOVQ %s, BX", field(rowsB))
	a.op("MOVQ %s, R8", field(rowsRows))
	a.op("MOVQ %s, CX", field(rowsN))
	once()
	a.label("row")
	a.op("XORQ AX, AX")
	begin()
	a.label("elements")
	body()
	a.op("ADDQ $16, AX")
	a.op("CMPQ AX, CX")
	a.op("JLT elements")
	end()
	a.op("ADDQ %s, DX", field(rowsStrideY))
	a.op("ADDQ %s, SI", field(rowsStrideA))
	a.op("ADDQ %s, BX", field(rowsStrideB))
	a.op("DECQ R8")
	a.op("JNZ row")
	a.op("VZEROUPPER")
	a.op("RET")
}
