package main

import (
	"errors"
	"fmt"

	"hone/device/cpu/_asm/evex"
)

var errNoRegister = errors.New("no free register")

// bodyCode writes the recorded body for some lanes side by side.
func (e *emitter) bodyCode(lanes int, tail bool) {
	e.lanesNow, e.tail = lanes, tail
	e.where = map[[2]int]int{}
	e.last = map[value]int{}
	e.free = nil
	for r := e.regs - 1; r >= e.freeMin; r-- {
		e.free = append(e.free, r)
	}
	for i, in := range e.b.code {
		for _, a := range in.args {
			e.last[a] = i
		}
	}
	for i, in := range e.b.code {
		for lane := range lanes {
			e.one(i, in, lane)
		}
	}
}

// alloc takes a register.
func (e *emitter) alloc() int {
	if len(e.free) == 0 {
		panic(errNoRegister)
	}
	r := e.free[len(e.free)-1]
	e.free = e.free[:len(e.free)-1]
	return r
}

func (e *emitter) release(r int) { e.free = append(e.free, r) }

// step is the state of writing one instruction for one lane.
type step struct {
	*emitter
	i    int
	in   instr
	lane int
	tmp  []int // registers to give back at the end
	took int   // register of a dying argument that became the result, or -1
}

// pinnedReg returns the register of a constant or parameter that has one.
func (s *step) isTemp(v value) bool {
	_, c := s.b.consts[v]
	_, p := s.b.params[v]
	return !c && !p
}

// inMemory reports whether v is a constant without a register.
func (s *step) inMemory(v value) bool {
	_, c := s.b.consts[v]
	_, p := s.pinned[v]
	return c && !p
}

// r is the register of v, loading a constant when it must be in one.
func (s *step) r(v value) string {
	if p, ok := s.pinned[v]; ok {
		return s.reg(p)
	}
	if bits, ok := s.b.consts[v]; ok {
		t := s.alloc()
		s.tmp = append(s.tmp, t)
		s.op("VBROADCASTSS %s, %s", s.pool.ref(bits), s.reg(t))
		return s.reg(t)
	}
	return s.reg(s.num(v))
}

func (s *step) num(v value) int {
	r, ok := s.where[[2]int{int(v), s.lane}]
	must(ok, "%s: value %d is not live", s.k.name, v)
	return r
}

// rm is v as a first operand, memory or register, with the instruction's suffix before it.
func (s *step) rm(v value) string {
	if s.inMemory(v) {
		return s.mem(s.b.consts[v])
	}
	return " " + s.r(v)
}

// dying reports whether v's register may be overwritten by this instruction.
func (s *step) dying(v value) bool {
	n := 0
	for _, a := range s.in.args {
		if a == v {
			n++
		}
	}
	return s.isTemp(v) && s.last[v] == s.i && n == 1
}

// dst allocates the register of the result, if possible that of a dying argument.
func (s *step) dst() string {
	for _, a := range s.in.args {
		if s.isTemp(a) && s.last[a] == s.i {
			return s.take(a)
		}
	}
	r := s.alloc()
	s.where[[2]int{int(s.in.dst), s.lane}] = r
	return s.reg(r)
}

// take makes a's register that of the result.
func (s *step) take(a value) string {
	r := s.num(a)
	s.where[[2]int{int(s.in.dst), s.lane}] = r
	s.took = r
	return s.reg(r)
}

// finish gives back registers of arguments that are used for the last time, and scratch.
func (s *step) finish() {
	done := map[value]bool{}
	for _, a := range s.in.args {
		if !s.isTemp(a) || s.last[a] != s.i || done[a] {
			continue
		}
		done[a] = true
		key := [2]int{int(a), s.lane}
		if r := s.where[key]; r != s.took {
			s.release(r)
		}
		delete(s.where, key)
	}
	if d := s.in.dst; d >= 0 {
		if _, used := s.last[d]; !used {
			s.release(s.where[[2]int{int(d), s.lane}])
		}
	}
	for _, t := range s.tmp {
		s.release(t)
	}
}

// one writes instruction i for a lane.
func (e *emitter) one(i int, in instr, lane int) {
	s := &step{emitter: e, i: i, in: in, lane: lane, took: -1}
	if e.arm {
		s.arm()
		s.finish()
		return
	}
	switch in.op {
	case "load", "store":
		s.memory()
	case "add", "sub", "mul", "div", "min", "max", "and", "or", "xor", "iadd", "isub", "imul":
		s.binary()
	case "sqrt", "float", "trunc":
		name := map[string]string{"sqrt": "VSQRTPS", "float": "VCVTDQ2PS", "trunc": "VCVTTPS2DQ"}[in.op]
		x := s.r(in.args[0])
		s.op("%s %s, %s", name, x, s.dst())
	case "shl", "shr", "sra":
		name := map[string]string{"shl": "VPSLLD", "shr": "VPSRLD", "sra": "VPSRAD"}[in.op]
		x := s.r(in.args[0])
		s.op("%s $%d, %s, %s", name, in.imm, x, s.dst())
	case "fma":
		s.fma("VFMADD")
	case "fnma":
		s.fma("VFNMADD")
	case "fms":
		s.fma("VFMSUB")
	case "sel":
		s.sel()
	case "keepge":
		s.keepGE()
	case "live", "liveor":
		s.live()
	case "index":
		s.index()
	default:
		s.accumulate()
	}
	s.finish()
}

func (s *step) memory() {
	half, size := s.frame[s.in.ptr].typ == "*uint16", 4
	if half {
		size = 2
	}
	at := fmt.Sprintf("%d(%s)(AX*%d)", s.lane*s.lanes*size, s.ptrReg[s.in.ptr], size/s.k.size())
	if half {
		s.bf16(at)
		return
	}
	if s.in.op == "load" {
		d := s.dst()
		switch {
		case !s.tail:
			s.op("VMOVUPS %s, %s", at, d)
		case s.wide:
			s.op("VMOVUPS.Z %s, K1, %s", at, d)
		default:
			s.op("VMASKMOVPS %s, Y15, %s", at, d)
		}
		return
	}
	v := s.r(s.in.args[0])
	switch {
	case !s.tail:
		s.op("VMOVUPS %s, %s", v, at)
	case s.wide:
		s.op("VMOVUPS %s, K1, %s", v, at)
	default:
		s.op("VMASKMOVPS %s, Y15, %s", v, at)
	}
}

// bf16 loads or stores vectors of bf16. A store takes numbers below the normal ones for 0.
func (s *step) bf16(at string) {
	zeroed, masked := "", ""
	if s.tail {
		zeroed, masked = ".Z", "K1, "
	}
	if s.in.op == "load" {
		d := s.dst()
		s.op("VPMOVZXWD%s %s, %s%s", zeroed, at, masked, d)
		s.op("VPSLLD $16, %s, %s", d, d)
		return
	}
	x, y := s.r(s.in.args[0]), s.alloc()
	s.tmp = append(s.tmp, y)
	s.round(x, y)
	s.op("VMOVDQU16 Y%d, %s%s", y, masked, at)
}

// round writes VCVTNEPS2BF16: register y is x rounded.
func (s *step) round(x string, y int) {
	var rm int
	fmt.Sscanf(x, "Z%d", &rm)
	long, word := evex.BF16(0x72, rm, 0, y, 512)
	s.op("%s", long)
	s.op("%s // VCVTNEPS2BF16 %s, Y%d", word, x, y)
}

func (s *step) name(op string) string {
	if s.wide {
		switch op {
		case "and":
			return "VPANDD"
		case "or":
			return "VPORD"
		case "xor":
			return "VPXORD"
		}
	}
	return map[string]string{
		"add": "VADDPS", "sub": "VSUBPS", "mul": "VMULPS", "div": "VDIVPS", "min": "VMINPS", "max": "VMAXPS",
		"and": "VPAND", "or": "VPOR", "xor": "VPXOR", "iadd": "VPADDD", "isub": "VPSUBD", "imul": "VPMULLD",
	}[op]
}

// binary writes dst = x op y; y may be in memory.
func (s *step) binary() {
	x, y := s.in.args[0], s.in.args[1]
	switch s.in.op {
	case "add", "mul", "and", "or", "xor", "iadd", "imul":
		if s.inMemory(x) {
			x, y = y, x
		}
	}
	xs := s.r(x)
	ys := s.rm(y)
	s.op("%s%s, %s, %s", s.name(s.in.op), ys, xs, s.dst())
}

// fma chooses the form that overwrites a dying operand.
func (s *step) fma(name string) {
	a, b, c := s.in.args[0], s.in.args[1], s.in.args[2]
	if !s.dying(c) && !s.dying(a) && s.dying(b) || s.inMemory(a) {
		a, b = b, a
	}
	switch {
	case s.dying(c):
		x, y := s.r(a), s.rm(b)
		s.op("%s231PS%s, %s, %s", name, y, x, s.take(c))
	case s.dying(a) && s.inMemory(b):
		z, y := s.r(c), s.rm(b)
		s.op("%s132PS%s, %s, %s", name, y, z, s.take(a))
	case s.dying(a):
		y, z := s.r(b), s.rm(c)
		s.op("%s213PS%s, %s, %s", name, z, y, s.take(a))
	default:
		x, y := s.r(a), s.rm(b)
		d := s.alloc()
		s.where[[2]int{int(s.in.dst), s.lane}] = d
		if s.inMemory(c) {
			s.op("VBROADCASTSS %s, %s", s.pool.ref(s.b.consts[c]), s.reg(d))
		} else {
			s.op("VMOVAPS %s, %s", s.r(c), s.reg(d))
		}
		s.op("%s231PS%s, %s, %s", name, y, x, s.reg(d))
	}
}

func (s *step) mask() string { return fmt.Sprintf("K%d", 2+s.lane%4) }

func (s *step) sel() {
	x, y, yes, no := s.in.args[0], s.in.args[1], s.in.args[2], s.in.args[3]
	xs, ys := s.r(x), s.rm(y)
	if s.wide {
		s.op("VCMPPS%s", fmt.Sprintf("%s, %s, %s", cmpOperand(ys, s.in.imm), xs, s.mask()))
		n, t := s.r(no), s.rm(yes)
		s.op("VBLENDMPS%s, %s, %s, %s", t, n, s.mask(), s.dst())
		return
	}
	m := s.alloc()
	s.tmp = append(s.tmp, m)
	s.op("VCMPPS $%d,%s, %s, %s", s.in.imm, ys, xs, s.reg(m))
	n, t := s.r(no), s.rm(yes)
	s.op("VBLENDVPS %s,%s, %s, %s", s.reg(m), t, n, s.dst())
}

// cmpOperand puts the predicate between the suffix and the operand.
func cmpOperand(rm string, pred int) string {
	if rm[0] == '.' {
		return fmt.Sprintf(".BCST $%d, %s", pred, rm[len(".BCST "):])
	}
	return fmt.Sprintf(" $%d,%s", pred, rm)
}

func (s *step) keepGE() {
	r, bound, x := s.r(s.in.args[0]), s.r(s.in.args[1]), s.r(s.in.args[2])
	if s.wide {
		s.op("VPCMPUD $5, %s, %s, %s", bound, r, s.mask())
		s.op("VMOVAPS.Z %s, %s, %s", x, s.mask(), s.dst())
		return
	}
	m := s.alloc()
	s.tmp = append(s.tmp, m)
	s.op("VPMAXUD %s, %s, %s", bound, r, s.reg(m))
	s.op("VPCMPEQD %s, %s, %s", r, s.reg(m), s.reg(m))
	s.op("VPAND %s, %s, %s", s.reg(m), x, s.dst())
}

// live clears or replaces the lanes beyond the end; inside it is a copy.
func (s *step) live() {
	x := s.r(s.in.args[0])
	switch {
	case !s.tail:
		if d := s.dst(); d != x {
			s.op("VMOVAPS %s, %s", x, d)
		}
	case s.in.op == "live" && s.wide:
		s.op("VMOVAPS.Z %s, K1, %s", x, s.dst())
	case s.in.op == "live":
		s.op("VANDPS Y15, %s, %s", x, s.dst())
	case s.wide:
		o := s.r(s.in.args[1])
		s.op("VBLENDMPS %s, %s, K1, %s", x, o, s.dst())
	default:
		o := s.r(s.in.args[1])
		s.op("VBLENDVPS Y15, %s, %s, %s", x, o, s.dst())
	}
}

func (s *step) index() {
	d := s.dst()
	if s.lane == 0 {
		s.op("VMOVAPS %s, %s", s.reg(s.idxReg), d)
		return
	}
	s.op("VPADDD%s, %s, %s", s.mem(uint32(s.lane*s.lanes)), s.reg(s.idxReg), d)
}

// accumulate writes the operations that change an accumulator.
func (s *step) accumulate() {
	a := s.reg(s.accReg[s.in.acc][s.lane])
	switch s.in.op {
	case "accadd":
		s.op("VADDPS %s, %s, %s", s.r(s.in.args[0]), a, a)
	case "accfma":
		s.op("VFMADD231PS %s, %s, %s", s.r(s.in.args[0]), s.r(s.in.args[1]), a)
	case "accmax":
		s.op("VMAXPS %s, %s, %s", s.r(s.in.args[0]), a, a)
	case "accimax":
		s.op("VPMAXSD %s, %s, %s", s.r(s.in.args[0]), a, a)
	case "accunord":
		x := s.r(s.in.args[0])
		if s.wide {
			s.op("VCMPPS $3, %s, %s, %s", x, x, s.mask())
			s.op("KORW %s, K7, K7", s.mask())
			return
		}
		m := s.alloc()
		s.tmp = append(s.tmp, m)
		s.op("VCMPPS $3, %s, %s, %s", x, x, s.reg(m))
		s.op("VORPS %s, %s, %s", s.reg(m), a, a)
	default:
		panic("unknown operation " + s.in.op)
	}
}
