package main

import (
	"fmt"
	"strings"
)

// This file spells the operations for arm64's vector unit. Go's assembler knows few of its instructions on numbers, so they are written as
// words. There are no masks: what is left of a row at its end is taken element by element, as vectors whose other lanes are 0.
//
// Registers: R0 to R9 the pointers, R10 how many elements are left, R11 where a result goes, R12 whether there was a NaN, R13 scratch; V31
// selects the lowest lane. V0 to V30 are dealt out: what a stage leaves to the next has the highest, and the one below is scratch between stages.

var neon = isa{name: "NEON", lanes: 4, prefix: "V", regs: 31, arm: true}

const lowestLane = 31

// words are the instructions with three registers, d = n op m, by the operations of a body.
var words = map[string]uint32{
	"add": 0x4e20d400, "sub": 0x4ea0d400, "mul": 0x6e20dc00, "div": 0x6e20fc00, "min": 0x4ea0f400, "max": 0x4e20f400,
	"and": 0x4e201c00, "or": 0x4ea01c00, "xor": 0x6e201c00, "iadd": 0x4ea08400, "isub": 0x6ea08400, "imul": 0x4ea09c00,
	"fma": 0x4e20cc00, "fnma": 0x4ea0cc00, // d += n·m, d -= n·m
	"eq": 0x4e20e400, "gt": 0x6ea0e400, "ge": 0x6e20e400, "uge": 0x6ea03c00, // comparisons: all bits of a lane or none
	"imax": 0x4ea06400, "ornot": 0x4ee01c00, // n | ^m
	"select": 0x6e601c00, // d = n where d has bits, else m

	// of two registers
	"sqrt": 0x6ea1f800, "float": 0x4e21d800, "trunc": 0x4ea1b800, "neg": 0x6ea0f800,
	"spread": 0x4e040400, "second": 0x4e0c0400, "upper": 0x4e180400, // all lanes of n's first, of its second, its upper half twice
	"umaxv": 0x6eb0a800, // the largest lane as an unsigned integer
}

// word writes an instruction with the registers d, n and m.
func (e *emitter) word(op string, m, n, d int) {
	w, ok := words[op]
	must(ok, "no word for %s", op)
	e.op("WORD $0x%08x // V%d = %s V%d V%d", w|uint32(m<<16|n<<5|d), d, op, n, m)
}

// two writes an instruction with the registers d and n.
func (e *emitter) two(op string, n, d int) {
	w, ok := words[op]
	must(ok, "no word for %s", op)
	e.op("WORD $0x%08x // V%d = %s V%d", w|uint32(n<<5|d), d, op, n)
}

// move copies a register.
func (e *emitter) move(from, to int) {
	if from != to {
		e.word("or", from, from, to)
	}
}

// set puts a constant into all lanes.
func (e *emitter) set(bits uint32, r int) {
	e.op("MOVD $0x%08x, R13", bits)
	e.op("VDUP R13, V%d.S4", r)
}

// armPointers loads the arguments that point to vectors.
func (e *emitter) armPointers() {
	next := 0
	for _, a := range e.k.args {
		if strings.HasPrefix(a.typ, "*") && !e.isResult(a.name) {
			e.ptrReg[a.name] = fmt.Sprintf("R%d", next)
			e.op("MOVD %s+%d(FP), R%d", a.name, e.frame[a.name].off, next)
			next++
		}
	}
	must(next <= 10, "%s has too many pointers", e.k.name)
}

func (e *emitter) armPrologue() {
	e.armPointers()
	e.op("MOVD %s, R10", e.argument("n"))
	e.op("MOVD $0xffffffff, R13")
	e.op("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", lowestLane)
	e.op("VMOV R13, V%d.S[0]", lowestLane)
	for v := value(0); int(v) < e.b.values; v++ {
		name, ok := e.b.params[v]
		if _, left := e.scalars[name]; ok && left {
			continue
		}
		if ok {
			e.op("FMOVS %s, F%d", e.argument(name), e.pinned[v])
			e.two("spread", e.pinned[v], e.pinned[v])
		} else if bits, ok := e.b.consts[v]; ok {
			if r, ok := e.pinned[v]; ok {
				e.set(bits, r)
			}
		}
	}
	for i, a := range e.b.accs {
		for _, r := range e.accReg[i] {
			e.set(a.init, r)
		}
	}
	if e.b.counter {
		t := e.freeMin
		e.op("FMOVS %s, F%d", e.argument("index"), e.idxReg)
		e.two("spread", e.idxReg, e.idxReg)
		e.op("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", t)
		for i := 1; i < e.lanes; i++ {
			e.op("MOVD $%d, R13", i)
			e.op("VMOV R13, V%d.S[%d]", t, i)
		}
		e.word("iadd", t, e.idxReg, e.idxReg)
	}
}

// armLoops writes the body for unroll vectors, then for one, then for single elements.
func (e *emitter) armLoops() {
	if e.unroll > 1 {
		e.armLoop("many", e.unroll, e.unroll*e.lanes)
	}
	e.armLoop("single", 1, e.lanes)
	e.armLoop("element", 1, 1)
}

func (e *emitter) armLoop(label string, vectors, step int) {
	label += e.suffix
	e.op("SUBS $%d, R10", step)
	e.op("BLT %s_end", label)
	fmt.Fprintf(e, "\n%s:\n", label)
	e.bodyCode(vectors, step == 1)
	if e.b.counter {
		e.set(uint32(step), e.freeMin)
		e.word("iadd", e.freeMin, e.idxReg, e.idxReg)
	}
	for _, a := range e.k.args {
		if r, ok := e.ptrReg[a.name]; ok {
			e.op("ADD $%d, %s", 4*step, r)
		}
	}
	e.op("SUBS $%d, R10", step)
	e.op("BGE %s", label)
	fmt.Fprintf(e, "\n%s_end:\n", label)
	e.op("ADD $%d, R10", step)
}

// arm writes an operation.
func (s *step) arm() {
	args := s.in.args
	switch s.in.op {
	case "load", "store":
		s.armMemory()
	case "add", "sub", "mul", "div", "min", "max", "and", "or", "xor", "iadd", "isub", "imul":
		x, y := s.armReg(args[0]), s.armReg(args[1])
		s.word(s.in.op, y, x, s.armDst())
	case "sqrt", "float", "trunc":
		x := s.armReg(args[0])
		s.two(s.in.op, x, s.armDst())
	case "shl", "shr", "sra":
		x := s.armReg(args[0])
		d := s.armDst()
		w := map[string]int{"shl": 0x4f005400 | (32+s.in.imm)<<16, "shr": 0x6f000400 | (64-s.in.imm)<<16, "sra": 0x4f000400 | (64-s.in.imm)<<16}[s.in.op]
		s.op("WORD $0x%08x // V%d = %s V%d %d", w|x<<5|d, d, s.in.op, x, s.in.imm)
	case "fma", "fnma", "fms":
		s.armFMA()
	case "sel":
		s.armSel()
	case "keepge":
		m := s.scratch()
		s.word("uge", s.armReg(args[1]), s.armReg(args[0]), m)
		s.word("and", s.armReg(args[2]), m, s.armDst())
	case "live", "liveor":
		s.armLive()
	case "index":
		s.armIndex()
	default:
		s.armAccumulate()
	}
}

// armReg is the number of the register of v.
func (s *step) armReg(v value) (r int) {
	if bits := s.b.consts[v]; s.inMemory(v) {
		r = s.scratch()
		s.set(bits, r)
		return r
	}
	fmt.Sscanf(s.r(v), "V%d", &r)
	return r
}

func (s *step) armDst() (r int) {
	fmt.Sscanf(s.dst(), "V%d", &r)
	return r
}

// fresh is a register of the result alone.
func (s *step) fresh() int {
	r := s.alloc()
	s.where[[2]int{int(s.in.dst), s.lane}] = r
	return r
}

// scratch is a register until the operation is written.
func (s *step) scratch() int {
	r := s.alloc()
	s.tmp = append(s.tmp, r)
	return r
}

func (s *step) armMemory() {
	move, at := "FMOVQ", fmt.Sprintf("%d(%s)", s.lane*4*s.lanes, s.ptrReg[s.in.ptr])
	if s.tail {
		move = "FMOVS"
	}
	if s.in.op == "load" {
		s.op("%s %s, F%d", move, at, s.armDst())
		return
	}
	s.op("%s F%d, %s", move, s.armReg(s.in.args[0]), at)
}

func (s *step) armFMA() {
	a, b, c := s.in.args[0], s.in.args[1], s.in.args[2]
	x, y, z := s.armReg(a), s.armReg(b), s.armReg(c)
	var d int
	if s.dying(c) {
		fmt.Sscanf(s.take(c), "V%d", &d)
	} else {
		d = s.fresh()
	}
	op := s.in.op
	if op == "fms" {
		s.two("neg", z, d)
		op = "fma"
	} else {
		s.move(z, d)
	}
	s.word(op, y, x, d)
}

func (s *step) armSel() {
	x, y, yes, no := s.armReg(s.in.args[0]), s.armReg(s.in.args[1]), s.armReg(s.in.args[2]), s.armReg(s.in.args[3])
	d := s.fresh()
	switch s.in.imm {
	case cmpEQ:
		s.word("eq", y, x, d)
	case cmpLT:
		s.word("gt", x, y, d)
	case cmpLE:
		s.word("ge", x, y, d)
	case cmpUnord:
		must(x == y, "%s compares two numbers for order", s.k.name)
		s.word("eq", x, x, d)
		yes, no = no, yes
	}
	s.word("select", no, yes, d)
}

// armLive clears or replaces the lanes beyond the end.
func (s *step) armLive() {
	x := s.armReg(s.in.args[0])
	switch {
	case !s.tail:
		s.move(x, s.armDst())
	case s.in.op == "live":
		s.word("and", lowestLane, x, s.armDst())
	default:
		other := s.armReg(s.in.args[1])
		d := s.fresh()
		s.move(lowestLane, d)
		s.word("select", other, x, d)
	}
}

func (s *step) armIndex() {
	d := s.armDst()
	s.set(uint32(s.lane*s.lanes), d)
	s.word("iadd", d, s.idxReg, d)
}

func (s *step) armAccumulate() {
	a, x := s.accReg[s.in.acc][s.lane], s.armReg(s.in.args[0])
	switch s.in.op {
	case "accfma":
		s.word("fma", s.armReg(s.in.args[1]), x, a)
	case "accunord":
		m := s.scratch()
		s.word("eq", x, x, m)
		s.word("ornot", m, a, a)
	default:
		s.word(strings.TrimPrefix(s.in.op, "acc"), x, a, a)
	}
}

// armTotals is foldAll.
func (e *emitter) armTotals() (nan bool) {
	for i, a := range e.b.accs {
		lanes := e.accReg[i]
		for n := len(lanes); n > 1; n = (n + 1) / 2 {
			for j := (n + 1) / 2; j < n; j++ {
				e.word(a.op, lanes[j], lanes[j-(n+1)/2], lanes[j-(n+1)/2])
			}
		}
		r, t := lanes[0], e.regs-1
		if a.unord {
			e.two("umaxv", r, r)
			e.op("FMOVS F%d, R12", r)
			nan = true
			continue
		}
		for _, half := range []string{"upper", "second"} {
			e.two(half, r, t)
			e.word(a.op, t, r, r)
		}
	}
	return nan
}

// armResults stores the totals.
func (e *emitter) armResults() {
	nan := e.armTotals()
	for i, a := range e.b.accs {
		if a.result == "" {
			continue
		}
		r := e.accReg[i][0]
		if nan {
			e.op("CBZW R12, ordered")
			e.set(0x7fc00000, r)
			fmt.Fprintf(e, "\nordered:\n")
		}
		e.write(a.result, r)
	}
}

// neonWiden widens 16 elements a turn.
func neonWiden() string {
	var b strings.Builder
	b.WriteString("\tMOVD y+0(FP), R0\n\tMOVD x+8(FP), R1\n\tMOVD n+16(FP), R2\n\nwiden:\n\tFLDPQ (R1), (F0, F1)\n")
	for i := range 2 {
		for half, w := range []int{0x2e613800, 0x6e613800} { // SHLL, SHLL2
			fmt.Fprintf(&b, "\tWORD $0x%08x // V%d = 4 of V%d, shifted left by 16\n", w|i<<5|2+2*i+half, 2+2*i+half, i)
		}
	}
	b.WriteString("\tFSTPQ (F2, F3), (R0)\n\tFSTPQ (F4, F5), 32(R0)\n\tADD $32, R1\n\tADD $64, R0\n\tSUBS $16, R2\n\tBNE widen\n\tRET\n")
	return b.String()
}

// neonRound rounds 16 elements a turn: (x + 0x7fff + (x>>16 & 1)) >> 16, and for a NaN x>>16 | 0x40.
func neonRound() string {
	e := &emitter{isa: neon}
	fmt.Fprint(e, "\tMOVD y+0(FP), R0\n\tMOVD x+8(FP), R1\n\tMOVD n+16(FP), R2\n")
	const one, most, quiet = 28, 29, 30
	e.set(1, one)
	e.set(0x7fff, most)
	e.set(0x40, quiet)
	fmt.Fprint(e, "\nround:\n\tFLDPQ (R1), (F0, F1)\n\tFLDPQ 32(R1), (F2, F3)\n")
	for x := range 4 {
		up, d, m := 4+x, 8+x, 12+x
		e.op("VUSHR $16, V%d.S4, V%d.S4", x, up)
		e.word("and", one, up, d)
		e.word("iadd", most, d, d)
		e.word("iadd", x, d, d)
		e.op("VUSHR $16, V%d.S4, V%d.S4", d, d)
		e.word("or", quiet, up, up)
		e.word("eq", x, x, m)
		e.word("select", up, d, m)
	}
	for i := range 2 { // the lower halves of all lanes
		e.op("VUZP1 V%d.H8, V%d.H8, V%d.H8", 13+2*i, 12+2*i, i)
	}
	fmt.Fprint(e, "\tFSTPQ (F0, F1), (R0)\n\tADD $64, R1\n\tADD $32, R0\n\tSUBS $16, R2\n\tBNE round\n\tRET\n")
	return e.String()
}
