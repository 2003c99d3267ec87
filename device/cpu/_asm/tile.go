package main

import (
	"fmt"
	"math/bits"
)

// Fields of TileArgs, in order.
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
	argAsk
	argAskHalf
	argAskStep
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
	stream     bool   // B is an arranged weight that comes from memory: a tile of several rows asks for it ahead
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

// streamKinds are those of which there are the widest tiles of more than one row.
var streamKinds = []isa{
	{name: "AVX512Stream", rows: 8, vecs: 3, lanes: 16, reg: "Z", stream: true},
	{name: "AVX512BF16Stream", rows: 8, vecs: 3, lanes: 16, reg: "Z", bf16: true, stream: true},
	{name: "AVX512WidenStream", rows: 8, vecs: 3, lanes: 16, reg: "Z", widen: true, stream: true},
}

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
	for _, s := range streamKinds {
		var a asm
		for r := 2; r <= s.rows; r++ {
			tile{s, &a, r, s.vecs}.write()
		}
		all += a.String()
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
	t.text(name, "t *TileArgs", frame)
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
	t.beginAsking()
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
func (t tile) spreads() bool { return t.lanes == 16 && t.r == t.isa.rows && t.r > 1 }

// beginSpread sets the cursors to a tile and clears the sums. Between two rows that it asks for are an eighth of the units of k, in whole turns: many
// lines at a time are more than a core can have under way to it.
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
	t.op("SHRQ $%d, AX", bits.Len(uint(t.r))-1)
	t.op("ANDQ $%d, AX", -turnColumns)
	t.op("CMOVQEQ R11, AX")
	t.op("MOVQ AX, %s", slotSome)
	t.clear()
}

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

// declarations writes the Go side of all kernels.
func declarations() string {
	var a asm
	for _, s := range tileKinds {
		fmt.Fprintf(&a, "// The kernels of %s: rows by vectors.\n", s.name)
		fmt.Fprintf(&a, "var tiles%s = [][]TileFunc{\n", s.name)
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
				fmt.Fprintf(&a, "//go:noescape\nfunc %s(t *TileArgs)\n\n", s.function(r, v))
			}
		}
	}
	for _, s := range streamKinds {
		fmt.Fprintf(&a, "// The kernels of %s, from two rows on.\nvar tiles%[1]s = []TileFunc{", s.name)
		for r := 2; r <= s.rows; r++ {
			fmt.Fprint(&a, s.function(r, s.vecs), ",")
		}
		fmt.Fprint(&a, "}\n\n")
		for r := 2; r <= s.rows; r++ {
			fmt.Fprintf(&a, "//go:noescape\nfunc %s(t *TileArgs)\n\n", s.function(r, s.vecs))
		}
	}
	for _, f := range fewKinds {
		fmt.Fprintf(&a, "var few%s = []TileFunc{", f.kind())
		for r := 1; r <= f.isa.rows; r++ {
			fmt.Fprintf(&a, "few%s%d,", f.kind(), r)
		}
		fmt.Fprint(&a, "}\n\n")
		for r := 1; r <= f.isa.rows; r++ {
			fmt.Fprintf(&a, "//go:noescape\nfunc few%s%d(t *TileArgs)\n\n", f.kind(), r)
		}
	}
	for _, p := range packFunctions {
		fmt.Fprintf(&a, "//go:noescape\nfunc %s(p *PackArgs)\n\n", p)
	}
	return a.String()
}
