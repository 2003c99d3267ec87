package main

import "fmt"

// neon is a kernel of arm64's vector unit being written: a tile of r rows by v vectors, which are 8 columns as AVX2's are and two registers.
// An element of A is loaded to lane 0 of a register, which costs no multiplier what copying it to all lanes would, and multiplied from there.
//
// Registers: R0 the arguments, R1 to R5 A, B, C, Add and Count of the current tile, R6 scratch and a cursor in C, R7 A's column stride, R8 B's
// stride, R9 the count of k and R10 how many units are behind it, R11 to R16 the rows of A, R17 the cursor in B, R19 to R22 how far the next
// four columns of A are from its first, R23 four column strides, R24 and R25 what is added and its row stride, R26 scratch and C's row stride.
type neon struct {
	*asm
	r, v  int
	widen bool // B is pairs of bf16, which become f32, each for two columns of A
}

const (
	neonRows    = 6
	neonVecs    = 2
	neonColumns = 4 // of A in a turn
	neonMask    = "V31"
	neonSums    = neonRows * 2 * neonVecs // registers of sums
)

// neonAll writes the kernels of products on arm64.
func neonAll() string {
	var a asm
	for _, widen := range []bool{false, true} {
		for r := 1; r <= neonRows; r++ {
			for v := 1; v <= neonVecs; v++ {
				neon{&a, r, v, widen}.write()
			}
		}
	}
	neonTranspose(&a)
	return a.String()
}

func (n neon) name() string {
	if n.widen {
		return fmt.Sprintf("tileNEONWiden%dx%d", n.r, n.v)
	}
	return fmt.Sprintf("tileNEON%dx%d", n.r, n.v)
}

// neonField is the address of field i of the arguments.
func neonField(i int) string { return fmt.Sprintf("%d(R0)", 8*i) }

// regs is how many registers a row of B fills.
func (n neon) regs() int { return 2 * n.v }

// acc is the register of the sums of columns 4i to 4i+4 of row r.
func (n neon) acc(r, i int) int { return r*n.regs() + i }

// b is the register of columns 4i to 4i+4 of the current row of B.
func (n neon) b(i int) int { return neonSums + i }

// a is the register of row r's element of A.
func (n neon) a(r int) int { return neonSums + 2*neonVecs + r%3 }

func (n neon) row(r int) string    { return fmt.Sprintf("R%d", 11+r) }
func (n neon) column(c int) string { return fmt.Sprintf("R%d", 19+c) }

// multiplyAdd is FMLA Vd.4S, Vn.4S, Vm.S[0], which Go's assembler does not know.
func (a *asm) multiplyAdd(m, n, d int) {
	a.op("WORD $0x%08x // FMLA V%d.4S, V%d.4S, V%d.S[0]", 0x4f801000|m<<16|n<<5|d, d, n, m)
}

// addFloats is FADD Vd.4S, Vd.4S, Vm.4S, which it does not know either.
func (a *asm) addFloats(m, d int) {
	a.op("WORD $0x%08x // FADD V%d.4S, V%[2]d.4S, V%d.4S", 0x4e20d400|m<<16|d<<5|d, d, m)
}

func (n neon) write() {
	n.text(n.name(), "t *TileArgs", 48)
	n.op("MOVD t+0(FP), R0")
	for i, arg := range []int{argA, argB, argC, argAdd, argCount} {
		n.op("MOVD %s, R%d", neonField(arg), i+1)
	}
	n.op("MOVD %s, R7", neonField(argCS))
	n.op("MOVD %s, R8", neonField(argBS))
	n.op("LSL $2, R7, R23")
	if n.widen {
		n.op("MOVD $0xffff0000, R6")
		n.op("VDUP R6, %s.S4", neonMask)
	}
	n.label("next")
	n.begin()
	n.label("block")
	for i := range n.r * n.regs() {
		n.op("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", i)
	}
	n.loop()
	n.finish()
	n.op("CMP $0, R10")
	n.op("BLE whole")
	n.op("MOVD %s, R9", neonField(argK))
	n.op("CMP R9, R10")
	n.op("CSEL LT, R10, R9, R9")
	n.op("SUB R9, R10")
	n.op("MOVD R3, R24")
	n.op("MOVD %s, R25", neonField(argLDC))
	n.op("B block")
	n.label("whole")
	for i, arg := range []int{argAInc, argBInc, argCInc, argAddInc} {
		n.op("MOVD %s, R6", neonField(arg))
		n.op("ADD R6, R%d", i+1)
	}
	n.op("SUBS $1, R5")
	n.op("BNE next")
	n.op("RET")
}

// begin sets the cursors to a tile.
func (n neon) begin() {
	n.op("MOVD %s, R6", neonField(argRS))
	n.op("MOVD R1, %s", n.row(0))
	for r := 1; r < n.r; r++ {
		n.op("ADD R6, %s, %s", n.row(r-1), n.row(r))
	}
	n.op("MOVD R2, R17")
	n.op("MOVD ZR, %s", n.column(0))
	for c := 1; c < neonColumns; c++ {
		n.op("ADD R7, %s, %s", n.column(c-1), n.column(c))
	}
	n.op("MOVD %s, R9", neonField(argK))
	n.op("MOVD %s, R10", neonField(argUnits))
	n.op("SUB R9, R10")
	n.op("MOVD R4, R24")
	n.op("MOVD %s, R25", neonField(argLDAdd))
}

// perRow is how many columns of A a row of B is multiplied with.
func (n neon) perRow() int {
	if n.widen {
		return 2
	}
	return 1
}

// loop adds the products of a block of k: turns of four columns of A, then the rest.
func (n neon) loop() {
	rows := neonColumns / n.perRow()
	n.op("SUBS $%d, R9", rows)
	n.op("BLT rest")
	n.label("turn")
	for i := range rows {
		n.products(i * n.perRow())
	}
	n.forward("R23")
	n.op("SUBS $%d, R9", rows)
	n.op("BGE turn")
	n.label("rest")
	n.op("ADDS $%d, R9", rows)
	n.op("BEQ through")
	step := "R7"
	if n.widen {
		step = "R6"
		n.op("LSL $1, R7, R6")
	}
	n.label("column")
	n.products(0)
	n.forward(step)
	n.op("SUBS $1, R9")
	n.op("BNE column")
	n.label("through")
}

// forward moves the columns of A on.
func (n neon) forward(step string) {
	for c := range neonColumns {
		n.op("ADD %s, %s", step, n.column(c))
	}
}

// products adds the product of the next row of B and column c of A, or the two from it on.
func (n neon) products(c int) {
	n.loadB()
	if !n.widen {
		n.op("ADD R8, R17")
		n.multiply(c)
		return
	}
	for i := range n.regs() {
		n.op("VSHL $16, V%[1]d.S4, V%[1]d.S4", n.b(i))
	}
	n.multiply(c)
	n.loadB()
	n.op("ADD R8, R17")
	for i := range n.regs() {
		n.op("VAND %[1]s.B16, V%[2]d.B16, V%[2]d.B16", neonMask, n.b(i))
	}
	n.multiply(c + 1)
}

func (n neon) loadB() {
	for i := 0; i < n.regs(); i += 2 {
		n.op("FLDPQ %d(R17), (F%d, F%d)", 16*i, n.b(i), n.b(i+1))
	}
}

// multiply adds the product of column c of A and what loadB brought.
func (n neon) multiply(c int) {
	for r := range n.r {
		n.op("FMOVS (%s)(%s), F%d", n.row(r), n.column(c), n.a(r))
		for i := range n.regs() {
			n.multiplyAdd(n.a(r), n.b(i), n.acc(r, i))
		}
	}
}

// finish adds what is to be added and stores the sums. Only the lanes of the mask count in the last vector.
func (n neon) finish() {
	n.op("MOVD R3, R6")
	n.op("MOVD %s, R26", neonField(argLDC))
	n.op("MOVD %s, R9", neonField(argMask))
	n.op("CBNZ R9, masked")
	n.op("CBZ R24, store")
	for r := range n.r {
		n.addRow(r, n.regs())
		n.op("ADD R25, R24")
	}
	n.label("store")
	for r := range n.r {
		n.storeRow(r, n.regs())
		n.op("ADD R26, R6")
	}
	n.op("B stored")
	n.label("masked") // R9 is how many lanes count, by Bits
	n.op("MOVD %s, R9", neonField(argBits))
	n.op("MVN R9, R9")
	n.op("RBIT R9, R9")
	n.op("CLZ R9, R9")
	for r := range n.r {
		n.maskedRow(r)
	}
	for c := 1; c < neonColumns; c++ {
		n.op("ADD R7, %s, %s", n.column(c-1), n.column(c))
	}
	if n.r > 1 {
		n.op("MOVD %s, R12", neonField(argRS))
		n.op("ADD R11, R12")
	}
	n.label("stored")
}

// addRow adds to the first registers of row r what is at R24.
func (n neon) addRow(r, regs int) {
	for i := 0; i < regs; i += 2 {
		n.op("FLDPQ %d(R24), (F%d, F%d)", 16*i, n.b(0), n.b(1))
		n.addFloats(n.b(0), n.acc(r, i))
		n.addFloats(n.b(1), n.acc(r, i+1))
	}
}

// storeRow stores the first registers of row r at R6.
func (n neon) storeRow(r, regs int) {
	for i := 0; i < regs; i += 2 {
		n.op("FSTPQ (F%d, F%d), %d(R6)", n.acc(r, i), n.acc(r, i+1), 16*i)
	}
}

// maskedRow adds to row r and stores it: all vectors but the last whole, of that one lane after the other by way of the frame. R9 is how
// many lanes count, R12 how many are left, R20 to R22 walk over the frame, C and what is added: finish sets them again afterwards.
func (n neon) maskedRow(r int) {
	whole, off := n.regs()-2, 32*(n.v-1)
	n.op("FSTPQ (F%d, F%d), 16(RSP)", n.acc(r, whole), n.acc(r, whole+1))
	n.op("CBZ R24, bare%d", r)
	n.addRow(r, whole)
	n.label(fmt.Sprintf("bare%d", r))
	n.storeRow(r, whole)
	n.op("ADD $16, RSP, R20")
	n.op("ADD $%d, R6, R21", off)
	n.op("ADD $%d, R24, R22", off)
	n.op("MOVD R9, R12")
	n.label(fmt.Sprintf("lane%d", r))
	n.op("FMOVS.P 4(R20), F%d", n.b(0))
	n.op("CBZ R24, alone%d", r)
	n.op("FMOVS.P 4(R22), F%d", n.b(1))
	n.op("FADDS F%d, F%d", n.b(1), n.b(0))
	n.label(fmt.Sprintf("alone%d", r))
	n.op("FMOVS.P F%d, 4(R21)", n.b(0))
	n.op("SUBS $1, R12")
	n.op("BNE lane%d", r)
	n.op("ADD R26, R6")
	n.op("CBZ R24, through%d", r)
	n.op("ADD R25, R24")
	n.label(fmt.Sprintf("through%d", r))
}

// neonTranspose writes the packer that makes 8·Vecs rows of 8 f32 of 8 rows: eight by eight, as four blocks of four by four.
func neonTranspose(a *asm) {
	a.text("transposeNEON", "p *PackArgs", 0)
	a.op("MOVD p+0(FP), R0")
	for i, field := range []int{0, 1, 2, 3, 5} { // Dst, Src, DstStride, SrcStride, Vecs
		a.op("MOVD %s, R%d", neonField(field), i+1)
	}
	a.label("eight")
	a.op("MOVD R2, R6")
	for row := range 8 {
		a.op("FLDPQ (R6), (F%d, F%d)", 2*row, 2*row+1)
		a.op("ADD R4, R6")
	}
	for k := range 8 { // the registers of the 4 × 4 of rows 0 to 4 and 4 to 8 that have column k
		if k%4 == 0 {
			for half := range 2 {
				r := func(i int) int { return 8*half + 2*i + k/4 }
				for i := range 2 {
					a.op("VTRN1 V%d.S4, V%d.S4, V%d.S4", r(2*i+1), r(2*i), 16+4*half+2*i)
					a.op("VTRN2 V%d.S4, V%d.S4, V%d.S4", r(2*i+1), r(2*i), 17+4*half+2*i)
				}
			}
		}
		for half := range 2 {
			from := 16 + 4*half + k%2
			a.op("VTRN%d V%d.D2, V%d.D2, V%d.D2", 1+k%4/2, from+2, from, 24+half)
		}
		a.op("FSTPQ (F24, F25), (R1)")
		a.op("ADD R3, R1")
	}
	a.op("ADD $32, R2")
	a.op("SUBS $1, R5")
	a.op("BNE eight")
	a.op("RET")
}

// neonChains is the number of multiply-adds in a turn of the loop that measures the most that a core does: more than the four units of the
// widest core have on their way in four cycles.
const neonChains = 24

func neonPeak() string {
	var a asm
	a.text("peakNEON", "iterations int", 0)
	a.op("MOVD iterations+0(FP), R0")
	for i := range neonChains + 2 {
		a.op("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", i)
	}
	a.label("again")
	for i := range neonChains {
		a.op("VFMLA V%d.S4, V%d.S4, V%d.S4", neonChains, neonChains+1, i)
	}
	a.op("SUBS $1, R0")
	a.op("BNE again")
	a.op("RET")
	return a.String()
}

// neonDeclarations are those of the kernels of arm64.
func neonDeclarations() string {
	var a asm
	for _, widen := range []bool{false, true} {
		what, of := "f32", ""
		if widen {
			what, of = "an f32 A and pairs of bf16 that they widen", "Widen"
		}
		fmt.Fprintf(&a, "// The kernels of NEON for %s: rows by vectors of 8 columns.\nvar tilesNEON%s = [][]TileFunc{\n", what, of)
		for r := 1; r <= neonRows; r++ {
			fmt.Fprint(&a, "{")
			for v := 1; v <= neonVecs; v++ {
				fmt.Fprint(&a, neon{r: r, v: v, widen: widen}.name(), ",")
			}
			fmt.Fprint(&a, "},\n")
		}
		fmt.Fprint(&a, "}\n\n")
		for r := 1; r <= neonRows; r++ {
			for v := 1; v <= neonVecs; v++ {
				fmt.Fprintf(&a, "//go:noescape\nfunc %s(t *TileArgs)\n\n", neon{r: r, v: v, widen: widen}.name())
			}
		}
	}
	fmt.Fprint(&a, "//go:noescape\nfunc transposeNEON(p *PackArgs)\n")
	return a.String()
}
