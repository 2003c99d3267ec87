package main

import "fmt"

// Fields of PackArgs, in order.
const (
	packDst = iota
	packSrc
	packDstStride
	packSrcStride
	packRows
	packVecs
	packMask
	packStripes
	packPitch
)

var packFunctions = []string{"transposeAVX2", "transposeWidenAVX2", "copyRowsAVX2", "widenRowsAVX2", "pairRowsAVX2",
	"copyStripes16AVX2", "copyStripes32AVX2", "copyStripes96AVX2", "copyStripes192AVX2",
	"widenStripes16AVX2", "widenStripes32AVX2", "widenStripes96AVX2", "widenStripes192AVX2",
	"pairStripes32AVX2", "pairStripes192AVX2"}

// packers writes the functions that rearrange and convert operands.
func packers() string {
	var a asm
	transpose(&a, "transposeAVX2", false)
	transpose(&a, "transposeWidenAVX2", true)
	rows(&a, "copyRowsAVX2", 32, 1, func(i int) {
		if i%2 == 0 {
			a.op("PREFETCHT1 %d(SI)(R10*8)", 32*i) // rows that are copied lie far apart
		}
		a.op("VMOVUPS %d(SI), Y0", 32*i)
		a.op("VMOVUPS Y0, %d(DX)", 32*i)
	})
	rows(&a, "widenRowsAVX2", 16, 1, func(i int) {
		a.op("VPMOVZXWD %d(SI), Y0", 16*i)
		a.op("VPSLLD $16, Y0, Y0")
		a.op("VMOVUPS Y0, %d(DX)", 32*i)
	})
	rows(&a, "pairRowsAVX2", 16, 2, func(i int) {
		a.op("VPMOVZXWD %d(SI), Y0", 16*i)
		a.op("VPMOVZXWD %d(SI)(R10*1), Y1", 16*i)
		a.op("VPSLLD $16, Y1, Y1")
		a.op("VPOR Y1, Y0, Y0")
		a.op("VMOVUPS Y0, %d(DX)", 32*i)
	})
	for _, width := range []int{16, 32, 96, 192} {
		stripes(&a, "copy", width)
	}
	for _, width := range []int{16, 32, 96, 192} {
		stripes(&a, "widen", width)
	}
	for _, width := range []int{32, 192} {
		stripes(&a, "pair", width)
	}
	return a.String()
}

// stripes writes a function that cuts rows into stripes of width bytes: stripe s
// of row r goes to dst + s·pitch + r·stride. Rows are read along their whole
// length, for rows far apart compete for cache lines and pages. Widening reads
// bf16 and pairing two rows of it, so both read half as many bytes of a row.
func stripes(a *asm, kind string, width int) {
	a.text(fmt.Sprintf("%sStripes%dAVX2", kind, width), "p *PackArgs", 0)
	a.op("MOVQ p+0(FP), DI")
	for _, m := range []struct {
		arg int
		reg string
	}{{packDst, "R8"}, {packSrc, "R9"}, {packDstStride, "R11"}, {packSrcStride, "R10"}, {packRows, "R12"}, {packStripes, "R13"}, {packPitch, "BX"}} {
		a.op("MOVQ %s, %s", field(m.arg), m.reg)
	}
	a.op("MOVQ R10, AX")
	a.op("SHLQ $%d, AX", rowsAhead(kind, width))
	st := stripe{a, kind, width}
	many := st.together()
	if many == 4 {
		a.op("LEAQ (BX)(BX*2), R14")
	}
	a.label("row")
	a.op("MOVQ R8, DX")
	a.op("MOVQ R9, SI")
	a.op("MOVQ R13, CX")
	if kind == "pair" {
		a.op("LEAQ (SI)(R10*1), R15")
	}
	if many > 1 {
		a.op("SUBQ $%d, CX", many)
		a.op("JLT rest")
		a.label("stripes")
		st.write(many)
		a.op("SUBQ $%d, CX", many)
		a.op("JGE stripes")
		a.label("rest")
		a.op("ADDQ $%d, CX", many)
		a.op("JZ through")
	}
	a.label("stripe")
	st.write(1)
	a.op("DECQ CX")
	a.op("JNZ stripe")
	if many > 1 {
		a.label("through")
	}
	a.op("ADDQ R11, R8")
	a.op("ADDQ R10, R9")
	if kind == "pair" {
		a.op("ADDQ R10, R9")
	}
	a.op("DECQ R12")
	a.op("JNZ row")
	a.op("VZEROUPPER")
	a.op("RET")
}

// stripe is the part of a row that goes to one stripe.
type stripe struct {
	*asm
	kind  string
	width int
}

// read is how many bytes of the row it is.
func (s stripe) read() int {
	if s.kind == "copy" {
		return s.width
	}
	return s.width / 2
}

// together is how many stripes a turn takes where there are so many: those of a line, at most 4.
func (s stripe) together() int { return max(min(64/s.read(), 4), 1) }

// write writes n stripes from SI and, of pairs, R15 to DX, all of which it moves on.
func (s stripe) write(n int) {
	reg, step := "Y", 32
	if s.width == 16 {
		reg, step = "X", 16
	}
	for off := 0; off < n*s.read(); off += 64 {
		s.op("PREFETCHT1 %d(SI)(AX*1)", off)
		if s.kind == "pair" {
			s.op("PREFETCHT1 %d(R15)(AX*1)", off)
		}
	}
	for i := range n {
		to := "(DX)" + []string{"", "(BX*1)", "(BX*2)", "(R14*1)"}[i]
		for off := 0; off < s.width; off += step {
			from := i*s.read() + off*s.read()/s.width
			switch s.kind {
			case "copy":
				s.op("VMOVUPS %d(SI), %s0", from, reg)
			case "widen":
				s.op("VPMOVZXWD %d(SI), %s0", from, reg)
				s.op("VPSLLD $16, %[1]s0, %[1]s0", reg)
			case "pair":
				s.op("VPMOVZXWD %d(SI), %s0", from, reg)
				s.op("VPMOVZXWD %d(SI)(R10*1), %s1", from, reg)
				s.op("VPSLLD $16, %[1]s1, %[1]s1", reg)
				s.op("VPOR %[1]s1, %[1]s0, %[1]s0", reg)
			}
			s.op("VMOVUPS %s0, %d%s", reg, off, to)
		}
	}
	s.op("ADDQ $%d, SI", n*s.read())
	if s.kind == "pair" {
		s.op("ADDQ $%d, R15", n*s.read())
	}
	switch n {
	case 4:
		s.op("LEAQ (DX)(BX*4), DX")
	case 2:
		s.op("LEAQ (DX)(BX*2), DX")
	default:
		s.op("ADDQ BX, DX")
	}
}

// rowsAhead is the logarithm of how many rows ahead of the one it cuts a packer asks the second cache for: a row is too
// short for the machine to foresee the next. Of wide stripes a row is long, and few of them last as long as memory takes.
func rowsAhead(kind string, width int) int {
	ahead := 4
	if width > 32 {
		ahead = 2
	}
	if kind == "pair" { // two rows a step
		ahead++
	}
	return ahead
}

// rowVectors is how many vectors of a row a turn takes where there are so many.
const rowVectors = 4

// rows writes a function over rows of vectors. SI and DX walk along a row of
// the source, by srcStep bytes a vector, and the destination, and body writes vector i from there; the source goes
// down by srcRows rows at a time. In copyRows, a mask reads part of the last vector.
func rows(a *asm, name string, srcStep, srcRows int, body func(i int)) {
	masked := name == "copyRowsAVX2"
	a.text(name, "p *PackArgs", 0)
	a.op("MOVQ p+0(FP), DI")
	a.op("MOVQ %s, R8", field(packDst))
	a.op("MOVQ %s, R9", field(packSrc))
	a.op("MOVQ %s, R11", field(packDstStride))
	a.op("MOVQ %s, R10", field(packSrcStride))
	a.op("MOVQ %s, R12", field(packRows))
	a.op("MOVQ %s, R13", field(packVecs))
	if masked {
		a.op("MOVQ %s, BX", field(packMask))
		a.op("TESTQ BX, BX")
		a.op("JZ row")
		a.op("VMOVUPS (BX), Y1")
		a.op("DECQ R13")
	}
	a.label("row")
	a.op("MOVQ R8, DX")
	a.op("MOVQ R9, SI")
	a.op("MOVQ R13, CX")
	a.op("SUBQ $%d, CX", rowVectors)
	a.op("JLT rest")
	a.label("vectors")
	for i := range rowVectors {
		body(i)
	}
	a.op("ADDQ $%d, SI", rowVectors*srcStep)
	a.op("ADDQ $%d, DX", rowVectors*32)
	a.op("SUBQ $%d, CX", rowVectors)
	a.op("JGE vectors")
	a.label("rest")
	a.op("ADDQ $%d, CX", rowVectors)
	a.op("JZ last")
	a.label("vector")
	body(0)
	a.op("ADDQ $%d, SI", srcStep)
	a.op("ADDQ $32, DX")
	a.op("DECQ CX")
	a.op("JNZ vector")
	a.label("last")
	if masked {
		a.op("TESTQ BX, BX")
		a.op("JZ whole")
		a.op("VMASKMOVPS (SI), Y1, Y0")
		a.op("VMOVUPS Y0, (DX)")
		a.label("whole")
	}
	a.op("ADDQ R11, R8")
	for range srcRows {
		a.op("ADDQ R10, R9")
	}
	a.op("DECQ R12")
	a.op("JNZ row")
	a.op("VZEROUPPER")
	a.op("RET")
}

// transpose writes a function that turns 8 rows of 32-bit units into columns:
// unit k of row i goes to lane i at dst + k·stride. With widen a unit is a pair
// of bf16 and becomes two rows of f32.
func transpose(a *asm, name string, widen bool) {
	a.text(name, "p *PackArgs", 0)
	a.op("MOVQ p+0(FP), DI")
	a.op("MOVQ %s, DX", field(packDst))
	a.op("MOVQ %s, SI", field(packSrc))
	a.op("MOVQ %s, R11", field(packDstStride))
	a.op("MOVQ %s, R10", field(packSrcStride))
	a.op("MOVQ %s, CX", field(packVecs))
	a.op("LEAQ (R10)(R10*2), R12")
	a.op("LEAQ (SI)(R10*4), R8")
	a.op("LEAQ (R11)(R11*2), R13")
	a.op("LEAQ (R8)(R10*4), R9")
	a.op("LEAQ 32(R9)(R10*4), BX")
	if widen {
		a.op("VPCMPEQD Y15, Y15, Y15")
		a.op("VPSLLD $16, Y15, Y15")
	}
	a.label("block")
	// The next 8 rows are too short for the machine to foresee them: ask for half of their lines, and for the others in the next step.
	for _, row := range []string{"(R9)", "(R9)(R10*1)", "(R9)(R10*2)", "(R9)(R12*1)"} {
		a.op("PREFETCHT1 %s", row)
	}
	a.op("ADDQ $64, R9")
	a.op("XCHGQ R9, BX")
	// Lane i of the halves: rows i and i+4 side by side, units 0-3 in Y0-Y3 and 4-7 in Y4-Y7.
	at := []string{"(%s)", "(%s)(R10*1)", "(%s)(R10*2)", "(%s)(R12*1)"}
	for half := range 2 {
		for i := range 4 {
			addr := func(base string) string {
				s := fmt.Sprintf(at[i], base)
				if half == 1 {
					s = "16" + s
				}
				return s
			}
			a.op("VMOVUPS %s, X%d", addr("SI"), 4*half+i)
			a.op("VINSERTF128 $1, %s, Y%[2]d, Y%[2]d", addr("R8"), 4*half+i)
		}
	}
	for half := range 2 {
		b := 4 * half
		a.op("VUNPCKLPS Y%d, Y%d, Y8", b+1, b)
		a.op("VUNPCKHPS Y%d, Y%d, Y9", b+1, b)
		a.op("VUNPCKLPS Y%d, Y%d, Y10", b+3, b+2)
		a.op("VUNPCKHPS Y%d, Y%d, Y11", b+3, b+2)
		a.op("VUNPCKLPD Y10, Y8, Y12")
		storeUnit(a, 0, widen, half)
		a.op("VUNPCKHPD Y10, Y8, Y12")
		storeUnit(a, 1, widen, half)
		a.op("VUNPCKLPD Y11, Y9, Y12")
		storeUnit(a, 2, widen, half)
		a.op("VUNPCKHPD Y11, Y9, Y12")
		storeUnit(a, 3, widen, half)
		if !widen {
			a.op("LEAQ (DX)(R11*4), DX")
		}
	}
	a.op("ADDQ $32, SI")
	a.op("ADDQ $32, R8")
	a.op("DECQ CX")
	a.op("JNZ block")
	a.op("VZEROUPPER")
	a.op("RET")
}

// storeUnit stores Y12 as unit i of its half.
func storeUnit(a *asm, i int, widen bool, half int) {
	if widen {
		a.op("VPSLLD $16, Y12, Y13")
		a.op("VPAND Y15, Y12, Y14")
		a.op("VMOVUPS Y13, (DX)")
		a.op("VMOVUPS Y14, (DX)(R11*1)")
		a.op("LEAQ (DX)(R11*2), DX")
		return
	}
	a.op("VMOVUPS Y12, %s", []string{"(DX)", "(DX)(R11*1)", "(DX)(R11*2)", "(DX)(R13*1)"}[i])
}
