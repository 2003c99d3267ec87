package main

import (
	"fmt"
	"strings"

	"hone/device/cpu/_asm/evex"
)

// Fields of tileArgs, in order.
const (
	argA = iota
	argB
	argC
	argAdd
	argRS
	argCS
	argBS
	argLDC
	argLDAdd
	argK
	argCount
	argAInc
	argBInc
	argCInc
	argAddInc
	argMask
	argBits
	argNext
	argLines
	argUnits
	argOut
	argLDOut
	argNextRS
	argNextStep
)

// isa is an instruction set with its tile: up to rows by vecs vectors.
type isa struct {
	name       string
	rows, vecs int
	lanes      int    // f32 lanes of a vector
	reg        string // prefix of vector registers
	bf16       bool   // multiply pairs of bf16 instead of f32
	widen      bool   // B is pairs of bf16, which become f32, and A f32
	stored     bool   // B is bf16 that lies as it is stored, which becomes f32, and A f32
	ahead      int    // a single row asks this many bytes ahead of what it reads and reads whole vectors; 0: see halved
}

var (
	avx2       = isa{name: "AVX2", rows: 4, vecs: 3, lanes: 8, reg: "Y"}
	avx512     = isa{name: "AVX512", rows: 8, vecs: 3, lanes: 16, reg: "Z"}
	avx512bf16 = isa{name: "AVX512BF16", rows: 8, vecs: 3, lanes: 16, reg: "Z", bf16: true}

	avx512widen = isa{name: "AVX512Widen", rows: 8, vecs: 3, lanes: 16, reg: "Z", widen: true, ahead: rowAhead}

	avx512halves = isa{name: "AVX512Halves", rows: 8, vecs: 3, lanes: 16, reg: "Z", stored: true}

	// Of these there is a single row alone.
	avx512row     = isa{name: "AVX512Row", rows: 1, vecs: 3, lanes: 16, reg: "Z", ahead: rowAhead}
	avx512bf16row = isa{name: "AVX512BF16Row", rows: 1, vecs: 3, lanes: 16, reg: "Z", bf16: true, ahead: rowAhead}
)

// rowAhead is how far a single row asks the second cache ahead where it does, in bytes; the first it asks for what is half as far.
const rowAhead = 6144

// tileKinds are all of them.
var tileKinds = []isa{avx2, avx512, avx512bf16, avx512widen, avx512halves, avx512row, avx512bf16row}

func (s isa) function(rows, vecs int) string { return fmt.Sprintf("tile%s%dx%d", s.name, rows, vecs) }

// allTiles writes the kernels of all kinds.
func allTiles() string {
	all := roundConstants()
	for _, s := range tileKinds {
		all += tiles(s)
	}
	return all
}

// tiles writes the kernels of s for all numbers of rows and vectors.
func tiles(s isa) string {
	var a asm
	for r := 1; r <= s.rows; r++ {
		for v := 1; v <= s.vecs; v++ {
			tile{s, &a, r, v}.write()
		}
	}
	return a.String()
}

// tile is one kernel being written.
//
// Registers: DI the arguments, BX R8 R9 the cursors in A for rows 0, 3 and 6,
// R10 and R11 A's row and column strides, CX the cursor in B, R12 B's stride,
// AX the count of k. The frame holds what changes from tile to tile. Tiles that
// unroll have registers of their own, see turn.
type tile struct {
	isa
	*asm
	r, v int
}

const (
	slotA      = "0(SP)"
	slotB      = "8(SP)"
	slotC      = "16(SP)"
	slotAdd    = "24(SP)"
	slotCount  = "32(SP)"
	slotNext   = "40(SP)"
	slotLeft   = "48(SP)" // units of k behind the current block
	slotPlus   = "56(SP)" // what is added to the sums of the current block
	slotLDPlus = "64(SP)" // its row stride
	slotOut    = "72(SP)"

	// of a tile that spreads what it asks for
	slotNextRow = "80(SP)"
	slotOutRow  = "88(SP)"
	slotSome    = "96(SP)"  // units of k between two rows
	slotCRow    = "104(SP)" // the next row of C
	slotRows    = "112(SP)" // how many rows are left
	slotUnits   = "120(SP)" // how many units of k are left
)

func (t tile) acc(r, v int) string { return fmt.Sprintf("%s%d", t.reg, r*t.v+v) }
func (t tile) b(v int) string      { return fmt.Sprintf("%s%d", t.reg, t.sums()+v) }

// sums is how many registers are of sums, or stay free in kernels for fewer rows.
func (t tile) sums() int {
	if t.lanes == 16 {
		return 24
	}
	return t.isa.rows * t.isa.vecs
}

// bcast is the register of row r's broadcast element of A.
func (t tile) bcast(r int) string {
	first, last := t.sums()+t.isa.vecs, t.registers()
	if t.widen {
		last-- // upper
	}
	return fmt.Sprintf("%s%d", t.reg, first+r%(last-first))
}

// upper is the register that selects the upper halves of lanes.
func (t tile) upper() string { return "Z31" }

func (t tile) registers() int {
	if t.lanes == 16 {
		return 32
	}
	return 16
}

// aRow is the address of row r of column c of A in a turn, or of the current column where a tile does not unroll.
func (t tile) aRow(r, c int) string {
	if t.unrolls() {
		row := []string{"", "(R10*1)", "(R10*2)", "(R8*1)", "(R10*4)", "(R9*1)", "(R8*2)", "(R13*1)"}[r]
		return "(" + turnCursors[c] + ")" + row
	}
	return rowByThrees(r)
}

// rowByThrees is the address of row r from the cursors for rows 0, 3 and 6.
func rowByThrees(r int) string {
	cursor := []string{"BX", "R8", "R9"}[r/3]
	switch r % 3 {
	case 1:
		return "(" + cursor + ")(R10*1)"
	case 2:
		return "(" + cursor + ")(R10*2)"
	}
	return "(" + cursor + ")"
}

func (t tile) bytes() int { return 4 * t.lanes }

func (t tile) write() {
	t.load(t.function(t.r, t.v), 128)
	t.op("MOVQ %s, AX", field(argNext))
	t.op("MOVQ AX, %s", slotNext)
	t.op("MOVQ %s, AX", field(argOut))
	t.op("MOVQ AX, %s", slotOut)
	if t.widen {
		t.op("VPTERNLOGD $255, %[1]s, %[1]s, %[1]s", t.upper())
		t.op("VPSLLD $16, %[1]s, %[1]s", t.upper())
	}
	t.label("next")
	t.op("MOVQ %s, DX", field(argUnits))
	t.op("SUBQ %s, DX", field(argK))
	t.op("MOVQ DX, %s", slotLeft)
	t.setPlus(slotAdd, field(argLDAdd))
	switch {
	case t.spreads():
		t.beginSpread()
	case t.r == t.isa.rows && t.r > 1:
		t.nextA()
		t.out()
		t.begin()
	default:
		t.begin()
	}
	if t.spreads() {
		t.label("some")
		t.some()
	}
	if t.unrolls() {
		t.turns()
	}
	t.label("column")
	t.column()
	t.op("DECQ AX")
	t.op("JNZ column")
	if t.unrolls() {
		t.label("through")
	}
	if t.spreads() {
		t.op("CMPQ %s, $0", slotUnits)
		t.op("JNE some")
	}
	if t.halved() {
		t.join()
	}
	if t.unrolls() {
		t.op("MOVQ %s, R13", field(argLDC))
	}
	t.finish()
	t.block()
	t.advance()
	t.op("VZEROUPPER")
	t.op("RET")
}

// setPlus says what is added to the next sums.
func (t tile) setPlus(add, ld string) {
	t.op("MOVQ %s, DX", add)
	t.op("MOVQ DX, %s", slotPlus)
	t.op("MOVQ %s, DX", ld)
	t.op("MOVQ DX, %s", slotLDPlus)
}

// block goes to the tile's next block of k, if there is one; the cursors are there.
func (t tile) block() {
	t.op("MOVQ %s, DX", slotLeft)
	t.op("TESTQ DX, DX")
	t.op("JLE whole")
	t.op("MOVQ %s, AX", field(argK))
	t.op("CMPQ DX, AX")
	t.op("CMOVQLT DX, AX")
	t.op("SUBQ AX, DX")
	t.op("MOVQ DX, %s", slotLeft)
	t.setPlus(slotC, field(argLDC))
	switch {
	case t.unrolls():
		t.turn()
	case t.r > 6:
		t.op("LEAQ (R8)(R10*2), R9")
		t.op("ADDQ R10, R9")
	}
	t.clear()
	t.clearHalves()
	switch {
	case t.spreads():
		t.op("MOVQ AX, %s", slotUnits)
		t.op("JMP some")
	case t.unrolls():
		t.op("JMP turns")
	default:
		t.op("JMP column")
	}
	t.label("whole")
}

// load begins a kernel: what changes from tile to tile goes to the frame, the strides to registers.
func (t tile) load(name string, frame int) {
	t.text(name, "t *tileArgs", frame)
	t.op("MOVQ t+0(FP), DI")
	for _, m := range []struct {
		arg  int
		slot string
	}{{argA, slotA}, {argB, slotB}, {argC, slotC}, {argAdd, slotAdd}, {argCount, slotCount}} {
		t.op("MOVQ %s, AX", field(m.arg))
		t.op("MOVQ AX, %s", m.slot)
	}
	t.op("MOVQ %s, R10", field(argRS))
	t.op("MOVQ %s, R11", field(argCS))
	t.op("MOVQ %s, R12", field(argBS))
	if t.lanes == 16 {
		t.op("MOVQ %s, AX", field(argBits))
		t.op("KMOVW AX, K1")
	}
}

// begin sets the cursors to a tile, asks for its lines of C, and clears the sums.
func (t tile) begin() {
	t.op("MOVQ %s, SI", slotC)
	t.op("MOVQ %s, R13", field(argLDC))
	for r := range t.r {
		for off := 0; off < t.v*t.bytes(); off += 64 {
			t.op("PREFETCHT0 %d(SI)", off)
		}
		t.op("PREFETCHT0 %d(SI)", t.v*t.bytes()-4)
		if r < t.r-1 {
			t.op("ADDQ R13, SI")
		}
	}
	t.cursors()
	t.clear()
	t.clearHalves()
}

// cursors sets the cursors to a tile.
func (t tile) cursors() {
	t.begins()
	if t.unrolls() {
		t.turn()
	} else {
		t.threes()
	}
}

// begins sets the cursors at row 0 of A and at B, and the count of k.
func (t tile) begins() {
	t.op("MOVQ %s, BX", slotA)
	t.op("MOVQ %s, CX", slotB)
	t.op("MOVQ %s, AX", field(argK))
}

// threes sets the cursors at rows 3 and 6.
func (t tile) threes() {
	if t.r > 3 {
		t.op("LEAQ (BX)(R10*2), R8")
		t.op("ADDQ R10, R8")
	}
	if t.r > 6 {
		t.op("LEAQ (R8)(R10*2), R9")
		t.op("ADDQ R10, R9")
	}
}

// clear begins new sums.
func (t tile) clear() {
	for r := range t.r {
		for v := range t.v {
			if t.lanes == 16 {
				t.op("VPXORQ %[1]s, %[1]s, %[1]s", t.acc(r, v))
			} else {
				t.op("VXORPS %[1]s, %[1]s, %[1]s", t.acc(r, v))
			}
		}
	}
}

// nextA asks the second cache for part of what comes next of A.
func (t tile) nextA() {
	t.op("MOVQ %s, AX", field(argLines))
	t.op("TESTQ AX, AX")
	t.op("JZ none")
	t.op("MOVQ %s, BX", slotNext)
	t.op("MOVQ %s, R10", field(argNextRS))
	t.op("MOVQ %s, R11", field(argNextStep))
	t.op("LEAQ (BX)(R10*2), R8")
	t.op("ADDQ R10, R8")
	t.op("LEAQ (R8)(R10*2), R9")
	t.op("ADDQ R10, R9")
	t.label("line")
	for r := range t.r {
		t.op("PREFETCHT1 %s", rowByThrees(r))
	}
	for _, cursor := range []string{"BX", "R8", "R9"} {
		t.op("ADDQ R11, %s", cursor)
	}
	t.op("DECQ AX")
	t.op("JNZ line")
	t.op("MOVQ BX, %s", slotNext)
	t.op("MOVQ %s, R10", field(argRS))
	t.op("MOVQ %s, R11", field(argCS))
	t.label("none")
}

// spreads says that the tile asks for a row of what it will need at a time, between its sums, and not for all of it before them:
// a core that waits for so many lines of memory at once has no room left for those of B, which come from its second cache.
func (t tile) spreads() bool { return t.lanes == 16 && !t.bf16 && t.r == t.isa.rows && t.r > 1 }

// beginSpread sets the cursors to a tile and clears the sums.
func (t tile) beginSpread() {
	for _, m := range []struct{ from, to string }{
		{slotC, slotCRow}, {fmt.Sprintf("$%d", t.r), slotRows}, {slotNext, slotNextRow}, {slotOut, slotOutRow},
	} {
		t.op("MOVQ %s, AX", m.from)
		t.op("MOVQ AX, %s", m.to)
	}
	t.op("MOVQ %s, AX", field(argLines))
	t.op("IMULQ %s, AX", field(argNextStep))
	t.op("ADDQ AX, %s", slotNext)
	t.cursors()
	t.op("MOVQ AX, %s", slotUnits)
	t.op("MOVQ $1, R11")
	t.op("CMPQ AX, $%d", unitsApart*t.r)
	t.op("MOVQ $%d, AX", unitsApart)
	t.op("CMOVQLT R11, AX")
	t.op("MOVQ AX, %s", slotSome)
	t.clear()
}

// unitsApart is how many units of k are between two rows that a tile asks for, if there are so many.
const unitsApart = 8

// some asks for a row of what the tile needs, and sets AX to the units of k until the next.
func (t tile) some() {
	t.op("DECQ %s", slotRows)
	t.op("JLT asked")
	t.op("MOVQ %s, AX", slotCRow)
	for off := 0; off < t.v*t.bytes(); off += 64 {
		t.op("PREFETCHT0 %d(AX)", off)
	}
	t.op("PREFETCHT0 %d(AX)", t.v*t.bytes()-4)
	t.op("ADDQ %s, AX", field(argLDC))
	t.op("MOVQ AX, %s", slotCRow)
	t.op("MOVQ %s, AX", slotOutRow)
	t.op("TESTQ AX, AX")
	t.op("JZ none")
	for _, off := range []int{0, 2*t.v*t.lanes - 2} {
		t.op("BYTE $0x0f; BYTE $0x0d; BYTE $0x48; BYTE $%d // PREFETCHW %[1]d(AX)", off)
	}
	t.op("ADDQ %s, AX", field(argLDOut))
	t.op("MOVQ AX, %s", slotOutRow)
	t.label("none")
	t.op("MOVQ %s, AX", field(argLines))
	t.op("TESTQ AX, AX")
	t.op("JZ asked")
	t.op("MOVQ %s, R11", slotNextRow)
	t.label("line")
	t.op("PREFETCHT1 (R11)")
	t.op("ADDQ %s, R11", field(argNextStep))
	t.op("DECQ AX")
	t.op("JNZ line")
	t.op("MOVQ %s, AX", field(argNextRS))
	t.op("ADDQ AX, %s", slotNextRow)
	t.label("asked")
	t.op("MOVQ %s, AX", slotSome)
	t.op("MOVQ %s, R11", slotUnits)
	t.op("CMPQ R11, AX")
	t.op("CMOVQLT R11, AX")
	t.op("SUBQ AX, %s", slotUnits)
}

// out asks for the place of the tile's sums in a bf16 C, which is written when they or those of the stripe are there.
func (t tile) out() {
	size := 2 * t.v * t.lanes
	t.op("MOVQ %s, SI", slotOut)
	t.op("TESTQ SI, SI")
	t.op("JZ apart")
	if t.lanes == 8 { // others when they round
		t.op("ADDQ $%d, %s", size, slotOut)
	}
	t.op("MOVQ %s, R13", field(argLDOut))
	for r := range t.r {
		for _, off := range []int{0, size - 2} {
			t.op("BYTE $0x0f; BYTE $0x0d; BYTE $0x4e; BYTE $%d // PREFETCHW %[1]d(SI)", off)
		}
		if r < t.r-1 {
			t.op("ADDQ R13, SI")
		}
	}
	t.label("apart")
}

// unrolls says that the tile takes several columns of A in a turn of its loop. A multiply-add in 1.6 micro-operations keeps a core's multipliers
// busy, but where another thread of the core is at work, which a virtual machine does not see, there is presumably room for only some 3 a
// cycle, and the loop's own are 4 of 40: one column a turn takes 10 to 14% more time there than four, and 1% more on an idle core.
func (t tile) unrolls() bool { return t.r == t.isa.rows && t.r > 1 && !t.bf16 }

// columns is how many columns of A a row of B is multiplied with.
func (t tile) columns() int {
	if t.widen {
		return 2
	}
	return 1
}

// turnColumns is how many columns of A a turn takes.
const turnColumns = 4

// turnCursors are those of its columns, at row 0.
var turnCursors = [turnColumns]string{"BX", "DX", "SI", "R15"}

// turn sets what a tile that unrolls has in registers: a cursor for each column of A, R8, R9 and R13 3, 5 and 7 row strides, R14 3 of
// B's strides.
func (t tile) turn() {
	t.op("MOVQ %s, R11", field(argCS))
	t.op("LEAQ (BX)(R11*1), DX")
	t.op("LEAQ (BX)(R11*2), SI")
	t.op("LEAQ (DX)(R11*2), R15")
	t.op("LEAQ (R10)(R10*2), R8")
	if t.r > 4 {
		t.op("LEAQ (R10)(R10*4), R9")
		t.op("LEAQ (R8)(R10*4), R13")
	}
	t.op("LEAQ (R12)(R12*2), R14")
}

// bTurn is the index of row i of B in a turn. An instruction that loads and computes is one micro-operation by a cursor alone, and two with an
// index: those tiles move the cursor from row to row.
func (t tile) bTurn(i int) string {
	if t.widen || t.stored {
		return ""
	}
	return []string{"", "(R12*1)", "(R12*2)", "(R14*1)"}[i]
}

// turns takes as many whole turns as there are, and leaves the rest of k in AX.
func (t tile) turns() {
	rows := turnColumns / t.columns()
	t.label("turns")
	t.op("MOVQ %s, R11", field(argCS))
	t.op("SHLQ $2, R11")
	t.op("SUBQ $%d, AX", rows)
	t.op("JLT rest")
	t.label("turn")
	for i := range rows {
		t.products(i)
		if t.widen || t.stored {
			t.op("ADDQ R12, CX")
		}
	}
	for _, cursor := range turnCursors {
		t.op("ADDQ R11, %s", cursor)
	}
	if !t.widen && !t.stored {
		t.op("LEAQ (CX)(R12*%d), CX", rows)
	}
	t.op("SUBQ $%d, AX", rows)
	t.op("JGE turn")
	t.label("rest")
	t.op("MOVQ %s, R11", field(argCS))
	t.op("ADDQ $%d, AX", rows)
	t.op("JZ through")
}

// column adds the product of one column of A and one row of B, or of two columns and a row of pairs.
func (t tile) column() {
	switch {
	case t.halved():
		t.halfColumn()
	case t.widen && t.r == 1:
		t.widenedRow()
	default:
		t.products(0)
	}
	t.op("ADDQ R12, CX")
	t.nextColumn()
	if t.unrolls() && t.widen {
		t.nextColumn()
	}
}

// products adds the product of row i of B in a turn and what it is multiplied with.
func (t tile) products(i int) {
	c := i * t.columns()
	switch {
	case t.widen:
		t.loadB("VPSLLD $16, %s, %s", i)
		t.multiply(c)
		if !t.unrolls() {
			t.nextColumn()
		}
		t.loadB("VPANDD %s, "+t.upper()+", %s", i)
		t.multiply(c + 1)
	case t.stored:
		for v := range t.v {
			t.op("VPMOVZXWD %d(CX)%s, %s", v*t.bytes()/2, t.bTurn(i), t.b(v))
			t.op("VPSLLD $16, %[1]s, %[1]s", t.b(v))
		}
		t.multiply(c)
	default:
		t.loadB("VMOVUPS %s, %s", i)
		t.multiply(c)
	}
}

// loadB brings row i of B to registers by the given instruction.
func (t tile) loadB(load string, i int) {
	for v := range t.v {
		t.op(load, fmt.Sprintf("%d(CX)%s", v*t.bytes(), t.bTurn(i)), t.b(v))
		t.once(v * t.bytes())
	}
}

// multiply adds the product of column c of A and what loadB brought.
func (t tile) multiply(c int) {
	for r := range t.r {
		t.op("VBROADCASTSS %s, %s", t.aRow(r, c), t.bcast(r))
		for v := range t.v {
			if t.bf16 {
				t.dotBF16(t.b(v), t.bcast(r), t.acc(r, v))
			} else {
				t.op("VFMADD231PS %s, %s, %s", t.b(v), t.bcast(r), t.acc(r, v))
			}
		}
	}
}

// nextColumn goes to the next column of A.
func (t tile) nextColumn() {
	cursors := []string{"BX", "R8", "R9"}[:(t.r+2)/3]
	if t.unrolls() {
		cursors = turnCursors[:]
	}
	for _, cursor := range cursors {
		t.op("ADDQ R11, %s", cursor)
	}
}

// widenedRow is both columns of a single row, which loads each vector of B once.
func (t tile) widenedRow() {
	t.op("VBROADCASTSS %s, %s", t.aRow(0, 0), t.bcast(0))
	t.nextColumn()
	t.op("VBROADCASTSS %s, %s", t.aRow(0, 0), t.bcast(1))
	for v := range t.v {
		t.op("VMOVUPS %d(CX), %s", v*t.bytes(), t.b(v))
		t.once(v * t.bytes())
		t.op("VPSLLD $16, %s, %s", t.b(v), t.bcast(2))
		t.op("VPANDD %s, %s, %[1]s", t.b(v), t.upper())
		t.op("VFMADD231PS %s, %s, %s", t.bcast(2), t.bcast(0), t.acc(0, v))
		t.op("VFMADD231PS %s, %s, %s", t.b(v), t.bcast(1), t.acc(0, v))
	}
}

// halved says that the tile reads B in halves of its vectors. A single row reads B from memory and waits for nothing else: with two
// loads for a line the core looks half as far ahead of what it waits for and leaves more to its prefetchers, which keep memory busier.
func (t tile) halved() bool { return t.r == 1 && t.lanes == 16 && t.ahead == 0 && !t.stored }

// once says of the line off bytes into a row of B, while it is being read, that the caches need not keep it: a single row reads B
// once. Where the tile asks ahead, it asks for lines to come instead.
func (t tile) once(off int) {
	switch {
	case t.r > 1 || off%64 != 0:
	case t.ahead > 0:
		t.op("PREFETCHT1 %d(CX)", off+t.ahead)
		t.op("PREFETCHT0 %d(CX)", off+t.ahead/2)
	default:
		t.op("PREFETCHNTA %d(CX)", off)
	}
}

// half is the register of the sums of the lower or upper half of vector v.
func (t tile) half(v, upper int) string { return fmt.Sprintf("Y%d", v+8*upper) }

func (t tile) halfColumn() {
	x := strings.Replace(t.bcast(0), "Z", "Y", 1)
	t.op("VBROADCASTSS %s, %s", t.aRow(0, 0), x)
	for i := range 2 * t.v {
		off, sum := 32*i, t.half(i/2, i%2)
		if t.bf16 {
			t.op("VMOVUPS %d(CX), Y24", off)
			t.dotBF16("Y24", x, sum)
		} else {
			t.op("VFMADD231PS %d(CX), %s, %s", off, x, sum)
		}
		t.once(off)
	}
}

// clearHalves begins new sums of the upper halves.
func (t tile) clearHalves() {
	for v := range t.v {
		if t.halved() {
			t.op("VPXOR %[1]s, %[1]s, %[1]s", t.half(v, 1))
		}
	}
}

// join makes whole vectors of the sums of halves.
func (t tile) join() {
	for v := range t.v {
		t.op("VINSERTF64X4 $1, %s, %[2]s, %[2]s", t.half(v, 1), t.acc(0, v))
	}
}

// finish adds what is to be added and stores the tile. Only the lanes of the
// mask count in the last vector.
func (t tile) finish() {
	t.op("MOVQ %s, SI", slotC)
	t.op("MOVQ %s, DX", slotPlus)
	t.op("MOVQ %s, R9", slotLDPlus)
	if t.lanes == 16 {
		t.op("TESTQ DX, DX")
		t.op("JZ store")
		t.eachRow("DX", "R9", t.addMasked)
		t.label("store")
		t.round()
		t.eachRow("SI", "R13", t.storeMasked)
		t.label("stored")
		return
	}
	t.op("MOVQ %s, AX", field(argMask))
	t.op("TESTQ AX, AX")
	t.op("JNZ masked")
	t.op("TESTQ DX, DX")
	t.op("JZ store")
	t.eachRow("DX", "R9", func(r, v int, at string) { t.op("VADDPS %s, %s, %s", at, t.acc(r, v), t.acc(r, v)) })
	t.label("store")
	t.eachRow("SI", "R13", func(r, v int, at string) { t.op("VMOVUPS %s, %s", t.acc(r, v), at) })
	t.op("JMP stored")
	t.label("masked")
	t.op("VMOVUPS (AX), %s", t.bcast(0))
	t.op("TESTQ DX, DX")
	t.op("JZ storemasked")
	t.eachRow("DX", "R9", t.addMasked)
	t.label("storemasked")
	t.eachRow("SI", "R13", t.storeMasked)
	t.label("stored")
}

// round stores the tile in a bf16 C, if there is one, and then nowhere else.
func (t tile) round() {
	t.op("MOVQ %s, DX", slotOut)
	t.op("TESTQ DX, DX")
	t.op("JZ keep")
	t.op("ADDQ $%d, %s", 2*t.v*t.lanes, slotOut)
	t.op("MOVQ %s, R9", field(argLDOut))
	for r := range t.r {
		for v := range t.v {
			half, mask := strings.Replace(t.bcast(r*t.v+v), "Z", "Y", 1), ""
			if v == t.v-1 {
				mask = "K1, "
			}
			at := fmt.Sprintf("%s%d(DX)", mask, v*t.bytes()/2)
			if t.bf16 {
				t.roundBF16(t.acc(r, v), half)
				t.op("VMOVDQU16 %s, %s", half, at)
			} else {
				t.roundWord(t.acc(r, v), t.bcast(r*t.v+v))
				t.op("VPMOVDW %s, %s", t.bcast(r*t.v+v), at)
			}
		}
		if r < t.r-1 {
			t.op("ADDQ R9, DX")
		}
	}
	t.op("JMP stored")
	t.label("keep")
}

// roundWord rounds x to the lower words of y as vecF32ToBF16 does, to nearest even: sums of f32 may be below the normal numbers, which
// VCVTNEPS2BF16 takes for 0.
func (t tile) roundWord(x, y string) {
	t.op("VPTESTMD.BCST tileTie<>(SB), %s, K2", x)
	t.op("VCMPPS $3, %s, %s, K3", x, x)
	t.op("VPADDD.BCST tileHalf<>(SB), %s, %s", x, y)
	t.op("VPADDD.BCST tileOne<>(SB), %s, K2, %s", y, y)
	t.op("VPORD.BCST tileQuiet<>(SB), %s, K3, %s", x, y)
	t.op("VPSRLD $16, %s, %s", y, y)
}

// roundConstants are those of roundWord.
func roundConstants() string {
	var a asm
	for _, c := range []struct {
		name  string
		value int
	}{
		{"tileOne", 1}, {"tileHalf", 0x7fff}, // less than half of what the last bit kept is worth
		{"tileTie", 1 << 16},   // that bit, which decides a tie
		{"tileQuiet", 1 << 22}, // of a NaN
	} {
		fmt.Fprintf(&a, "\nDATA %s<>+0(SB)/4, $%#x\nGLOBL %[1]s<>(SB), RODATA|NOPTR, $4\n", c.name, c.value)
	}
	return a.String()
}

func (t tile) addMasked(r, v int, at string) {
	switch {
	case v < t.v-1:
		t.op("VADDPS %s, %s, %s", at, t.acc(r, v), t.acc(r, v))
	case t.lanes == 16:
		t.op("VADDPS %s, %s, K1, %s", at, t.acc(r, v), t.acc(r, v))
	default:
		t.op("VMASKMOVPS %s, %s, %s", at, t.bcast(0), t.b(0))
		t.op("VADDPS %s, %s, %s", t.b(0), t.acc(r, v), t.acc(r, v))
	}
}

func (t tile) storeMasked(r, v int, at string) {
	switch {
	case v < t.v-1:
		t.op("VMOVUPS %s, %s", t.acc(r, v), at)
	case t.lanes == 16:
		t.op("VMOVUPS %s, K1, %s", t.acc(r, v), at)
	default:
		t.op("VMASKMOVPS %s, %s, %s", t.acc(r, v), t.bcast(0), at)
	}
}

// eachRow calls f for each vector of the tile with its address, from pointer on.
func (t tile) eachRow(pointer, stride string, f func(r, v int, at string)) {
	for r := range t.r {
		for v := range t.v {
			f(r, v, fmt.Sprintf("%d(%s)", v*t.bytes(), pointer))
		}
		if r < t.r-1 {
			t.op("ADDQ %s, %s", stride, pointer)
		}
	}
}

// advance goes to the next tile, if there is one.
func (t tile) advance() {
	t.op("MOVQ %s, AX", field(argAInc))
	t.op("ADDQ AX, %s", slotA)
	t.op("MOVQ %s, AX", field(argBInc))
	t.op("ADDQ AX, %s", slotB)
	t.op("MOVQ %s, AX", field(argCInc))
	t.op("ADDQ AX, %s", slotC)
	t.op("MOVQ %s, AX", field(argAddInc))
	t.op("ADDQ AX, %s", slotAdd)
	t.op("DECQ %s", slotCount)
	t.op("JNZ next")
}

// dotBF16 writes VDPBF16PS b, a, acc: acc += the products of pairs of bf16.
func (t tile) dotBF16(b, a, acc string) { t.evexBF16("VDPBF16PS", 0x52, b, a, acc) }

// roundBF16 writes VCVTNEPS2BF16 x, y, which takes numbers below the normal ones for 0, as VDPBF16PS does.
func (t tile) roundBF16(x, y string) { t.evexBF16("VCVTNEPS2BF16", 0x72, x, y) }

// evexBF16 writes an instruction of AVX512_BF16 with its two or three registers.
func (t tile) evexBF16(name string, op int, regs ...string) {
	rm, reg, vvvv, bits := number(regs[0]), number(regs[len(regs)-1]), 0, 512
	if len(regs) == 3 {
		vvvv = number(regs[1])
	}
	if regs[0][0] == 'Y' {
		bits = 256
	}
	long, word := evex.BF16(op, rm, vvvv, reg, bits)
	t.op("%s", long)
	t.op("%s // %s %s", word, name, strings.Join(regs, ", "))
}

// number is that of a vector register.
func number(reg string) (n int) {
	fmt.Sscanf(reg[1:], "%d", &n)
	return n
}

// declarations writes the Go side of all kernels.
func declarations() string {
	var a asm
	for _, s := range tileKinds {
		fmt.Fprintf(&a, "// The kernels of %s: rows by vectors.\n", s.name)
		fmt.Fprintf(&a, "var tiles%s = [][]tileFunc{\n", s.name)
		for r := 1; r <= s.rows; r++ {
			fmt.Fprint(&a, "{")
			for v := 1; v <= s.vecs; v++ {
				fmt.Fprint(&a, s.function(r, v), ",")
			}
			fmt.Fprint(&a, "},\n")
		}
		fmt.Fprint(&a, "}\n\n")
		for r := 1; r <= s.rows; r++ {
			for v := 1; v <= s.vecs; v++ {
				fmt.Fprintf(&a, "//go:noescape\nfunc %s(t *tileArgs)\n\n", s.function(r, v))
			}
		}
	}
	for _, f := range fewKinds {
		fmt.Fprintf(&a, "var few%s = []tileFunc{", f.kind())
		for r := 1; r <= f.isa.rows; r++ {
			fmt.Fprintf(&a, "few%s%d,", f.kind(), r)
		}
		fmt.Fprint(&a, "}\n\n")
		for r := 1; r <= f.isa.rows; r++ {
			fmt.Fprintf(&a, "//go:noescape\nfunc few%s%d(t *tileArgs)\n\n", f.kind(), r)
		}
	}
	for _, p := range packFunctions {
		fmt.Fprintf(&a, "//go:noescape\nfunc %s(p *packArgs)\n\n", p)
	}
	for _, p := range peakFunctions {
		fmt.Fprintf(&a, "//go:noescape\nfunc %s\n\n", p)
	}
	return a.String()
}
