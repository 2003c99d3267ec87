package main

import "fmt"

// few is a kernel for few rows of A: B is stored [N, K] and read as it lies. As
// many units of k as a vector has lanes, of as many rows of B, are transposed in
// registers, so each sum runs over k in the order that the tiles have. A row's
// part is read by one load: rows a multiple of 4 KiB apart share a set of the first
// cache, where a line does not stay.
//
// Registers are those of tile; SI walks over rows of B, R13 is three times
// B's stride, R11 the units of k behind the current block.
type few struct {
	tile
	widen bool // B is bf16 and A f32: a unit of B is two of k
}

// What is added to the sums of the current block of k: its address and row stride.
const (
	slotAddNow   = "40(SP)"
	slotLDAddNow = "48(SP)"
)

// fewAhead is how far ahead of its use each row of B is asked for, in bytes.
const fewAhead = 768

// fewKinds are the kernels for few rows: instruction set, and whether B is widened.
var fewKinds = []few{{tile{isa: avx2, v: 1}, false}, {tile{isa: avx2, v: 1}, true}, {tile{isa: avx512, v: 1}, false}, {tile{isa: avx512, v: 1}, true},
	{tile{isa: avx512bf16, v: 1}, false}}

// kind is the name of the kernels of an instruction set.
func (f few) kind() string {
	if f.widen {
		return "Widen" + f.isa.name
	}
	return f.isa.name
}

// fews writes the kernels for few rows.
func fews() string {
	var a asm
	for _, f := range fewKinds {
		f.asm = &a
		for f.r = 1; f.r <= f.isa.rows; f.r++ {
			f.write()
		}
	}
	return a.String()
}

// The sums are in the first registers, then come the rows of B, which become units.
func (f few) unit(i int) string { return fmt.Sprintf("%s%d", f.reg, f.isa.rows+i) }
func (f few) temp(i int) string { return fmt.Sprintf("%s%d", f.reg, f.isa.rows+f.lanes+i) }
func (f few) spread(r int) string {
	return f.temp(r % (f.registers() - f.isa.rows - f.lanes - 2))
}
func (f few) low() string  { return fmt.Sprintf("%s%d", f.reg, f.registers()-2) }
func (f few) high() string { return fmt.Sprintf("%s%d", f.reg, f.registers()-1) }

// perUnit is how many of k a unit of B is.
func (f few) perUnit() int {
	if f.widen {
		return 2
	}
	return 1
}

func (f few) write() {
	f.load(fmt.Sprintf("few%s%d", f.kind(), f.r), 56)
	if f.lanes == 16 {
		f.op("MOVL $255, AX")
		f.op("KMOVW AX, K3")
	}
	f.op("LEAQ (R12)(R12*2), R13")
	f.label("next")
	f.begins()
	f.threes()
	f.op("MOVQ %s, R11", field(argUnits))
	f.setAdd(slotAdd, field(argLDAdd))
	f.label("block")
	f.clear()
	f.op("MOVQ %s, AX", field(argK))
	f.op("CMPQ R11, AX")
	f.op("CMOVQLT R11, AX")
	f.op("SUBQ AX, R11")
	if f.widen {
		f.op("SHRQ $1, AX")
	}
	if f.lanes == 16 {
		f.op("KXNORW K2, K2, K2")
	}
	f.label("units")
	if f.lanes == 16 { // eight units may be left at the end
		f.op("CMPQ AX, $16")
		f.op("JGE whole")
		f.op("KMOVW K3, K2")
		f.label("whole")
	}
	f.transpose()
	for u := range f.lanes {
		if u == 8 {
			f.op("CMPQ AX, $8")
			f.op("JLE half")
		}
		f.multiply(u)
	}
	f.forward(f.lanes)
	f.op("SUBQ $%d, AX", f.lanes)
	f.op("JNZ units")
	if f.lanes == 16 {
		f.op("JMP finish")
		f.label("half")
		f.forward(8)
		f.label("finish")
	}
	f.finish()
	f.setAdd(slotC, field(argLDC))
	f.op("TESTQ R11, R11")
	f.op("JNZ block")
	f.advance()
	f.op("VZEROUPPER")
	f.op("RET")
}

// setAdd says what is added to the next block's sums.
func (f few) setAdd(add, ld string) {
	f.op("MOVQ %s, AX", add)
	f.op("MOVQ AX, %s", slotAddNow)
	f.op("MOVQ %s, AX", ld)
	f.op("MOVQ AX, %s", slotLDAddNow)
}

// forward moves the cursors by n units of B.
func (f few) forward(n int) {
	f.op("ADDQ $%d, CX", 4*n)
	for i := 0; i < f.r; i += 3 {
		f.op("ADDQ $%d, %s", 4*n*f.perUnit(), []string{"BX", "R8", "R9"}[i/3])
	}
}

// finish stores the sums of a block, added to what there is to add.
func (f few) finish() {
	f.op("MOVQ %s, SI", slotC)
	f.op("MOVQ %s, DX", slotAddNow)
	f.op("TESTQ DX, DX")
	f.op("JZ store")
	f.op("MOVQ %s, AX", slotLDAddNow)
	f.eachRow("DX", "AX", func(r, v int, at string) { f.op("VADDPS %s, %s, %s", at, f.acc(r, v), f.acc(r, v)) })
	f.label("store")
	f.op("MOVQ %s, AX", field(argLDC))
	f.eachRow("SI", "AX", func(r, v int, at string) { f.op("VMOVUPS %s, %s", f.acc(r, v), at) })
}

// transpose reads a vector of each row and leaves unit i of all rows in unit(i).
func (f few) transpose() {
	f.op("MOVQ CX, SI")
	for i := 0; i < f.lanes; i += 4 {
		for j, at := range []string{"(SI)", "(SI)(R12*1)", "(SI)(R12*2)", "(SI)(R13*1)"} {
			if f.lanes == 16 {
				f.op("VMOVUPS.Z %s, K2, %s", at, f.unit(i+j))
			} else {
				f.op("VMOVUPS %s, %s", at, f.unit(i+j))
			}
			f.op("PREFETCHT1 %d%s", fewAhead, at)
		}
		if i+4 < f.lanes {
			f.op("LEAQ (SI)(R12*4), SI")
		}
		f.quads(i)
	}
	for u := range 4 {
		f.lanesOf(u)
	}
	if f.widen { // ones in the upper half of each lane
		if f.lanes == 16 {
			f.op("VPTERNLOGD $255, %[1]s, %[1]s, %[1]s", f.high())
		} else {
			f.op("VPCMPEQD %[1]s, %[1]s, %[1]s", f.high())
		}
		f.op("VPSLLD $16, %[1]s, %[1]s", f.high())
	}
}

// quads transposes rows i to i+4 within each 128 bits.
func (f few) quads(i int) {
	for j := range 2 {
		a, b := f.unit(i+2*j), f.unit(i+2*j+1)
		f.op("VUNPCKLPS %s, %s, %s", b, a, f.temp(2*j))
		f.op("VUNPCKHPS %s, %s, %s", b, a, f.temp(2*j+1))
	}
	for j := range 2 {
		f.op("VUNPCKLPD %s, %s, %s", f.temp(2+j), f.temp(j), f.unit(i+2*j))
		f.op("VUNPCKHPD %s, %s, %s", f.temp(2+j), f.temp(j), f.unit(i+2*j+1))
	}
}

// lanesOf transposes the 128 bits of units u, 4+u, ...
func (f few) lanesOf(u int) {
	if f.lanes == 8 {
		a, b := f.unit(u), f.unit(4+u)
		f.op("VPERM2F128 $0x20, %s, %s, %s", b, a, f.temp(0))
		f.op("VPERM2F128 $0x31, %s, %s, %s", b, a, b)
		f.op("VMOVAPS %s, %s", f.temp(0), a)
		return
	}
	for j := range 2 {
		a, b := f.unit(8*j+u), f.unit(8*j+4+u)
		f.op("VSHUFF32X4 $0x44, %s, %s, %s", b, a, f.temp(j))
		f.op("VSHUFF32X4 $0xEE, %s, %s, %s", b, a, f.temp(2+j))
	}
	for j := range 2 {
		f.op("VSHUFF32X4 $0x88, %s, %s, %s", f.temp(2*j+1), f.temp(2*j), f.unit(8*j+u))
		f.op("VSHUFF32X4 $0xDD, %s, %s, %s", f.temp(2*j+1), f.temp(2*j), f.unit(8*j+4+u))
	}
}

// multiply adds the products with unit u.
func (f few) multiply(u int) {
	if !f.widen {
		f.multiplyBy(f.unit(u), 4*u)
		return
	}
	f.op("VPSLLD $16, %s, %s", f.unit(u), f.low())
	f.multiplyBy(f.low(), 8*u)
	if f.lanes == 16 {
		f.op("VPANDD %[1]s, %[2]s, %[2]s", f.high(), f.unit(u))
	} else {
		f.op("VPAND %[1]s, %[2]s, %[2]s", f.high(), f.unit(u))
	}
	f.multiplyBy(f.unit(u), 8*u+4)
}

func (f few) multiplyBy(b string, off int) {
	for r := range f.r {
		f.op("VBROADCASTSS %d%s, %s", off, rowByThrees(r), f.spread(r))
		if f.bf16 {
			f.dotBF16(b, f.spread(r), f.acc(r, 0))
		} else {
			f.op("VFMADD231PS %s, %s, %s", b, f.spread(r), f.acc(r, 0))
		}
	}
}
