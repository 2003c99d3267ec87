package main

import (
	"fmt"
	"strings"

	"hone/device/cpu/_asm/evex"
)

// What a tile does: the loop over k that multiplies, and what becomes of the sums.

// out asks for the place of the tile's sums in a bf16 C, which is written when those of the stripe are there.
func (t tile) out() {
	size := 2 * t.v * t.lanes
	t.op("MOVQ %s, SI", slotOut)
	t.op("TESTQ SI, SI")
	t.op("JZ apart")
	t.op("ADDQ $%d, %s", size, slotOut)
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
func (t tile) unrolls() bool { return t.r == t.isa.rows && t.r > 1 }

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
// B's strides. In a tile that streams B's stride is known, and R12 and R14 are where it asks.
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
	if !t.stream {
		t.op("LEAQ (R12)(R12*2), R14")
	}
}

// bTurn is where row i of B in a turn is, off bytes into it. An instruction that loads and computes is one micro-operation by a cursor alone,
// and two with an index: those tiles move the cursor from row to row.
func (t tile) bTurn(i, off int) string {
	switch {
	case t.stream && t.unrolls():
		return fmt.Sprintf("%d(CX)", i*t.v*t.bytes()+off)
	case t.widen || t.stored:
		return fmt.Sprintf("%d(CX)", off)
	}
	return fmt.Sprintf("%d(CX)%s", off, []string{"", "(R12*1)", "(R12*2)", "(R14*1)"}[i])
}

// turnRows is how many rows of B a turn takes.
func (t tile) turnRows() int { return turnColumns / t.columns() }

// nextB goes to the row of B behind n of them.
func (t tile) nextB(n int) {
	switch {
	case t.stream && t.unrolls():
		t.op("ADDQ $%d, CX", n*t.v*t.bytes())
	case n == 1:
		t.op("ADDQ R12, CX")
	default:
		t.op("LEAQ (CX)(R12*%d), CX", n)
	}
}

// beginAsking sets what a tile that streams asks for first: R12 for half of the rows of a turn, R14 for the others. A tile of fewer rows has in
// R14 how far behind a row of B it asks.
func (t tile) beginAsking() {
	switch {
	case t.stream && !t.unrolls():
		t.op("MOVQ %s, R14", field(argAsk))
	case t.stream:
		t.op("MOVQ %s, R12", field(argAsk))
		t.op("ADDQ CX, R12")
		t.op("MOVQ %s, R14", field(argAskHalf))
		t.op("ADDQ R12, R14")
	}
}

// ask asks, in a tile that streams, for as many lines as row i of B in a turn has.
func (t tile) ask(i int) {
	for v := range t.v {
		switch half := t.turnRows() / 2; {
		case !t.stream:
		case !t.unrolls():
			t.op("PREFETCHT0 %d(CX)(R14*1)", v*t.bytes())
		case i < half:
			t.op("PREFETCHT0 %d(R12)", (i*t.v+v)*t.bytes())
		default:
			t.op("PREFETCHT0 %d(R14)", ((i-half)*t.v+v)*t.bytes())
		}
	}
}

// turns takes as many whole turns as there are, and leaves the rest of k in AX.
func (t tile) turns() {
	rows := t.turnRows()
	t.label("turns")
	t.op("MOVQ %s, R11", field(argCS))
	t.op("SHLQ $2, R11")
	t.op("SUBQ $%d, AX", rows)
	t.op("JLT rest")
	t.label("turn")
	for i := range rows {
		t.ask(i)
		t.products(i)
		if (t.widen || t.stored) && !t.stream {
			t.nextB(1)
		}
	}
	for _, cursor := range turnCursors {
		t.op("ADDQ R11, %s", cursor)
	}
	if t.stream || !t.widen && !t.stored {
		t.nextB(rows)
	}
	if t.stream {
		t.op("ADDQ %s, R12", field(argAskStep))
		t.op("ADDQ %s, R14", field(argAskStep))
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
		t.ask(0)
		t.products(0)
	}
	t.nextB(1)
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
			t.op("VPMOVZXWD %s, %s", t.bTurn(i, v*t.bytes()/2), t.b(v))
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
		t.op(load, t.bTurn(i, v*t.bytes()), t.b(v))
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

// roundWord rounds x to the lower words of y as vec.Path.Round does, to nearest even: sums of f32 may be below the normal numbers, which
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
