package main

// widenRow is the tile of a single row by three vectors of pairs of bf16 that are widened, for a token that reads an arranged weight. It is written
// for a core whose other thread is busy, which then issues presumably half as many instructions at a time: four rows of B a turn, at fixed distances, and
// shift and AND read B themselves, 7 instructions for a line of 64 bytes where tile needs 9. Its sums are those of tile.
//
// Registers are those of tile; R13, R14 and R15 are three, five and seven times A's column stride. BS must be that of three vectors.
type widenRow struct{ tile }

// widenTurn is how many rows of B a turn of the loop takes, each with two columns of A.
const widenTurn = 4

// widenRows writes it.
func widenRows() string {
	var a asm
	a.WriteString(roundConstants())
	widenRow{tile{avx512widen, &a, 1, 3}}.write()
	return a.String()
}

func (t widenRow) write() {
	t.load("widenRowAVX512", 104)
	t.op("MOVQ %s, AX", field(argOut))
	t.op("MOVQ AX, %s", slotOut)
	t.op("VPTERNLOGD $255, %[1]s, %[1]s, %[1]s", t.upper())
	t.op("VPSLLD $16, %[1]s, %[1]s", t.upper())
	t.op("LEAQ (R11)(R11*4), R14")
	t.label("next")
	t.begin()
	t.op("LEAQ (R11)(R11*2), R13")
	t.op("LEAQ (R13)(R11*4), R15")
	t.op("MOVQ %s, DX", field(argUnits))
	t.op("SUBQ AX, DX")
	t.op("MOVQ DX, %s", slotLeft)
	t.setPlus(slotAdd, field(argLDAdd))
	t.label("column")
	t.op("SUBQ $%d, AX", widenTurn)
	t.op("JLT rest")
	t.label("turn")
	for u := range widenTurn {
		t.pairs(u)
	}
	t.forward(widenTurn)
	t.op("SUBQ $%d, AX", widenTurn)
	t.op("JGE turn")
	t.label("rest")
	t.op("ADDQ $%d, AX", widenTurn)
	t.op("JZ summed")
	t.label("single")
	t.pairs(0)
	t.forward(1)
	t.op("DECQ AX")
	t.op("JNZ single")
	t.label("summed")
	t.finish()
	t.block()
	t.advance()
	t.op("VZEROUPPER")
	t.op("RET")
}

// forward moves the cursors by n rows of B.
func (t widenRow) forward(n int) {
	t.op("ADDQ $%d, CX", n*t.v*t.bytes())
	t.op("LEAQ (BX)(R11*%d), BX", 2*n)
}

// pairs adds the products of row u of B from the cursor on with its two columns of A.
func (t widenRow) pairs(u int) {
	columns := []string{"(BX)", "(BX)(R11*1)", "(BX)(R11*2)", "(BX)(R13*1)", "(BX)(R11*4)", "(BX)(R14*1)", "(BX)(R13*2)", "(BX)(R15*1)"}
	t.op("VBROADCASTSS %s, %s", columns[2*u], t.bcast(0))
	t.op("VBROADCASTSS %s, %s", columns[2*u+1], t.bcast(1))
	for v := range t.v {
		off := (u*t.v + v) * t.bytes()
		t.op("VPSLLD $16, %d(CX), %s", off, t.bcast(2))
		t.op("VPANDD %d(CX), %s, %s", off, t.upper(), t.b(v))
		t.once(off)
		t.op("VFMADD231PS %s, %s, %s", t.bcast(2), t.bcast(0), t.acc(0, v))
		t.op("VFMADD231PS %s, %s, %s", t.b(v), t.bcast(1), t.acc(0, v))
	}
}
