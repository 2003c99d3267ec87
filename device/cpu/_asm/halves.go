package main

// Fields of vec.halvesArgs, in order.
const (
	halvesX = iota
	halvesHigh
	halvesRest
	halvesN
)

// halves writes the functions that join and split values of two halves, 16 in a step.
func halves() string {
	var a asm
	a.halves("joinAVX2", func() {}, func(i int) {
		a.op("VPMOVZXWD %d(SI), Y0", 16*i)
		a.op("VPMOVSXWD %d(BX), Y1", 16*i)
		a.op("VPSLLD $16, Y0, Y0")
		a.op("VPADDD Y1, Y0, Y0")
		a.op("VMOVDQU Y0, %d(DX)", 32*i)
	})
	// Packing takes the lower 8 bytes of each lane first: VPERMQ puts them in order.
	a.halves("splitAVX2", func() {
		a.op("VPCMPEQD Y15, Y15, Y15")
		a.op("VPSRLD $31, Y15, Y14")
		a.op("VPSLLD $15, Y14, Y13") // 0x8000
		a.op("VPSLLD $22, Y14, Y14") // the quiet bit of a NaN
		a.op("VPSRLD $16, Y15, Y12") // 0xffff
		a.op("VPSLLD $16, Y15, Y15") // 0xffff0000
	}, func(i int) {
		x, high, rest := 3*i, 3*i+1, 3*i+2
		a.op("VMOVUPS %d(DX), Y%d", 32*i, x)
		a.op("VCMPPS $3, Y%[1]d, Y%[1]d, Y%[2]d", x, high)
		a.op("VANDPS Y15, Y%d, Y%d", x, rest)
		a.op("VORPS Y14, Y%[1]d, Y%[1]d", rest)
		a.op("VBLENDVPS Y%d, Y%d, Y%[3]d, Y%[3]d", high, rest, x)
		a.op("VPADDD Y13, Y%d, Y%d", x, high)
		a.op("VPSRLD $16, Y%[1]d, Y%[1]d", high)
		a.op("VPAND Y12, Y%d, Y%d", x, rest)
		if i == 0 {
			return
		}
		for _, m := range []struct {
			first int
			at    string
		}{{1, "SI"}, {2, "BX"}} {
			a.op("VPACKUSDW Y%d, Y%d, Y%d", m.first+3, m.first, m.first)
			a.op("VPERMQ $0xd8, Y%[1]d, Y%[1]d", m.first)
			a.op("VMOVDQU Y%d, (%s)", m.first, m.at)
		}
	})
	return a.String()
}

// halves writes a function over values at DX and their halves at SI and BX; begin sets constants and body handles 8 of 16 values.
func (a *asm) halves(name string, begin func(), body func(i int)) {
	a.text(name, "a *halvesArgs", 0)
	a.op("MOVQ a+0(FP), DI")
	a.op("MOVQ %s, DX", field(halvesX))
	a.op("MOVQ %s, SI", field(halvesHigh))
	a.op("MOVQ %s, BX", field(halvesRest))
	a.op("MOVQ %s, CX", field(halvesN))
	begin()
	a.label("values")
	body(0)
	body(1)
	a.op("ADDQ $64, DX")
	a.op("ADDQ $32, SI")
	a.op("ADDQ $32, BX")
	a.op("SUBQ $16, CX")
	a.op("JNZ values")
	a.op("VZEROUPPER")
	a.op("RET")
}
