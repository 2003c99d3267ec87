package main

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// isa is an instruction set: its registers and the spelling of what differs.
type isa struct {
	name   string
	lanes  int
	prefix string
	regs   int // allocatable; AVX2 keeps Y15 for the tail mask
	wide   bool
	arm    bool // spelled in neon.go
}

var (
	avx2   = isa{name: "AVX2", lanes: 8, prefix: "Y", regs: 15}
	avx512 = isa{name: "AVX512", lanes: 16, prefix: "Z", regs: 32, wide: true}
)

// arg is one argument of an assembly function.
type arg struct {
	name, typ string // typ as in Go
	off       int
}

// layout assigns the frame offsets; total is the size of the arguments.
func layout(args []arg) (out []arg, total int) {
	for _, a := range args {
		size := 8
		if a.typ == "float32" || a.typ == "uint32" {
			size = 4
		}
		total = (total + size - 1) &^ (size - 1)
		a.off = total
		total += size
		out = append(out, a)
	}
	return out, total
}

// emitter writes one kernel.
type emitter struct {
	bytes.Buffer
	isa
	k       *kernel
	b       *body
	pool    *constPool
	unroll  int
	pinned  map[value]int // constants and parameters in registers
	accReg  [][]int       // per accumulator and lane
	idxReg  int
	ptrReg  map[string]string
	frame   map[string]arg
	freeMin int            // first register for temporaries
	scalars map[string]int // registers of numbers that one stage leaves to the next, in all lanes
	suffix  string         // of the stage's labels

	// state of the body being written
	lanesNow int
	tail     bool
	free     []int
	where    map[[2]int]int // value, lane -> register
	last     map[value]int  // instruction of the last use
}

// constPool is the table of constants of one file.
type constPool struct {
	isa
	order []uint32
	at    map[uint32]int
}

func (p *constPool) ref(bits uint32) string {
	i, ok := p.at[bits]
	if !ok {
		i = len(p.order)
		p.at[bits] = i
		p.order = append(p.order, bits)
	}
	return fmt.Sprintf("vecConst%s<>+%d(SB)", p.name, i*p.stride())
}

// stride is the size of an entry: AVX-512 broadcasts from memory, AVX2 needs the vector.
func (p *constPool) stride() int {
	if p.wide {
		return 4
	}
	return 32
}

func (p *constPool) data() string {
	var b strings.Builder
	for i, bits := range p.order {
		for j := 0; j < p.stride(); j += 4 {
			fmt.Fprintf(&b, "DATA vecConst%s<>+%d(SB)/4, $0x%08x\n", p.name, i*p.stride()+j, bits)
		}
	}
	fmt.Fprintf(&b, "GLOBL vecConst%s<>(SB), RODATA|NOPTR, $%d\n", p.name, len(p.order)*p.stride())
	return b.String()
}

func (e *emitter) op(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	name, operands, _ := strings.Cut(line, " ")
	fmt.Fprintf(e, "\t%-13s %s\n", name, operands)
}

func (e *emitter) reg(i int) string { return fmt.Sprintf("%s%d", e.prefix, i) }

var pointerRegs = []string{"DI", "SI", "R8", "R9", "R10", "R11"}

// emitKernel writes k for an instruction set.
func emitKernel(set isa, pool *constPool, k *kernel) string {
	e := &emitter{isa: set, k: k, pool: pool, ptrReg: map[string]string{}, frame: map[string]arg{}, scalars: map[string]int{}}
	args, total := layout(k.args)
	for _, a := range args {
		e.frame[a.name] = a
	}
	e.unroll = k.unroll[0]
	if set.wide || set.arm {
		e.unroll = k.unroll[1]
	}
	for _, name := range k.scalars {
		e.regs--
		e.scalars[name] = e.regs
	}
	fmt.Fprintf(e, "\n// func %s(%s)\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", k.asmName(set), k.goArgs(), k.asmName(set), total)
	stages := k.stages
	if k.body != nil {
		stages = []stage{{k.body, nil}}
	}
	for i, stage := range stages {
		if i > 0 {
			e.suffix = fmt.Sprint(i + 1)
		}
		e.b = record(stage.body)
		e.plan()
		if i == 0 && !e.arm {
			e.pointers()
		}
		e.prologue()
		e.loops()
		if stage.after != nil {
			e.foldAll()
			stage.after(e)
			continue
		}
		e.results()
	}
	if !e.arm {
		e.op("VZEROUPPER")
	}
	e.op("RET")
	return e.String()
}

// plan pins parameters, accumulators and as many constants as leave room for the temporaries.
func (e *emitter) plan() {
	need := map[value]int{}
	for _, in := range e.b.code {
		for i, a := range in.args {
			if _, ok := e.b.consts[a]; ok {
				need[a]++
				if i == 0 && (in.op == "min" || in.op == "max" || in.op == "sub" || in.op == "div" || in.op == "sel") || in.op == "sel" && i == 3 {
					need[a] += 4 // only a register will do
				}
			}
		}
	}
	var order []value
	for v := range need {
		order = append(order, v)
	}
	sort.Slice(order, func(i, j int) bool {
		if need[order[i]] != need[order[j]] {
			return need[order[i]] > need[order[j]]
		}
		return order[i] < order[j]
	})
	for n := len(order); n >= 0; n-- {
		e.assign(order[:n])
		if e.fits() {
			return
		}
	}
	panic("no registers left in " + e.k.name)
}

func (e *emitter) assign(consts []value) {
	e.pinned = map[value]int{}
	e.accReg = nil
	r := 0
	for range e.b.accs {
		var lanes []int
		for range e.unroll {
			lanes = append(lanes, r)
			r++
		}
		e.accReg = append(e.accReg, lanes)
	}
	if e.b.counter {
		e.idxReg = r
		r++
	}
	for v := value(0); int(v) < e.b.values; v++ {
		name, ok := e.b.params[v]
		if s, left := e.scalars[name]; ok && left {
			e.pinned[v] = s
		} else if ok {
			e.pinned[v] = r
			r++
		}
	}
	for _, v := range consts {
		e.pinned[v] = r
		r++
	}
	e.freeMin = r
}

// fits tries the body without keeping what it writes.
func (e *emitter) fits() (ok bool) {
	if e.freeMin > e.regs {
		return false
	}
	keep, order := e.Buffer, e.pool.order
	defer func() {
		e.Buffer, e.pool.order = keep, order
		for bits, i := range e.pool.at {
			if i >= len(order) {
				delete(e.pool.at, bits)
			}
		}
		if r := recover(); r != nil {
			must(r == errNoRegister, "%v", r)
			ok = false
		}
	}()
	e.Buffer = bytes.Buffer{}
	e.bodyCode(e.unroll, false)
	e.bodyCode(1, true)
	return true
}

// pointers loads the arguments that point to vectors.
func (e *emitter) pointers() {
	next := 0
	for _, a := range e.k.args {
		if strings.HasPrefix(a.typ, "*") && !e.isResult(a.name) {
			e.ptrReg[a.name] = pointerRegs[next]
			next++
			e.op("MOVQ %s+%d(FP), %s", a.name, e.frame[a.name].off, e.ptrReg[a.name])
		}
	}
}

func (e *emitter) prologue() {
	if e.arm {
		e.armPrologue()
		return
	}
	e.op("MOVQ n+%d(FP), CX", e.frame["n"].off)
	e.op("XORQ AX, AX")
	for v := value(0); int(v) < e.b.values; v++ {
		name, ok := e.b.params[v]
		if _, left := e.scalars[name]; ok && left {
			continue
		}
		if ok {
			e.op("VBROADCASTSS %s+%d(FP), %s", name, e.frame[name].off, e.reg(e.pinned[v]))
		} else if bits, ok := e.b.consts[v]; ok {
			if r, ok := e.pinned[v]; ok {
				e.op("VBROADCASTSS %s, %s", e.pool.ref(bits), e.reg(r))
			}
		}
	}
	for i, a := range e.b.accs {
		for _, r := range e.accReg[i] {
			if a.init == 0 {
				e.zero(r)
			} else {
				e.op("VBROADCASTSS %s, %s", e.pool.ref(a.init), e.reg(r))
			}
		}
	}
	if e.wide && e.hasUnord() {
		e.op("KXORW K7, K7, K7")
	}
	if e.b.counter {
		e.op("VBROADCASTSS index+%d(FP), %s", e.frame["index"].off, e.reg(e.idxReg))
		e.op("VPADDD vecIota<>+0(SB), %s, %s", e.reg(e.idxReg), e.reg(e.idxReg))
	}
}

// isResult reports whether an argument is where a number goes.
func (e *emitter) isResult(name string) bool {
	for _, r := range e.b.accs {
		if r.result == name {
			return true
		}
	}
	return slices.Contains(e.k.results, name)
}

func (e *emitter) hasUnord() bool {
	for _, a := range e.b.accs {
		if a.unord {
			return true
		}
	}
	return false
}

func (e *emitter) zero(r int) {
	if e.wide {
		e.op("VPXORD %s, %s, %s", e.reg(r), e.reg(r), e.reg(r))
	} else {
		e.op("VXORPS %s, %s, %s", e.reg(r), e.reg(r), e.reg(r))
	}
}

// loops writes the body for unroll vectors, then for one, then for the rest under a mask.
func (e *emitter) loops() {
	if e.arm {
		e.armLoops()
		return
	}
	if e.unroll > 1 {
		e.loop("many", e.unroll)
	}
	e.loop("single", 1)
	fmt.Fprintf(e, "\nrest%s:\n", e.suffix)
	e.op("TESTQ CX, CX")
	e.op("JEQ done%s", e.suffix)
	if e.wide {
		e.op("MOVL $1, DX")
		e.op("SHLL CX, DX")
		e.op("DECL DX")
		e.op("KMOVW DX, K1")
	} else {
		e.op("LEAQ vecTail<>+32(SB), DX")
		e.op("SHLQ $2, CX")
		e.op("SUBQ CX, DX")
		e.op("VMOVUPS (DX), Y15")
	}
	e.bodyCode(1, true)
	fmt.Fprintf(e, "\ndone%s:\n", e.suffix)
}

func (e *emitter) loop(label string, lanes int) {
	label += e.suffix
	step := lanes * e.lanes
	e.op("SUBQ $%d, CX", step)
	e.op("JLT %s_end", label)
	fmt.Fprintf(e, "\n%s:\n", label)
	e.bodyCode(lanes, false)
	if e.b.counter {
		e.op("VPADDD%s, %s, %s", e.mem(uint32(step)), e.reg(e.idxReg), e.reg(e.idxReg))
	}
	e.op("ADDQ $%d, AX", e.k.size()*step)
	e.op("SUBQ $%d, CX", step)
	e.op("JGE %s", label)
	fmt.Fprintf(e, "\n%s_end:\n", label)
	e.op("ADDQ $%d, CX", step)
}

// mem is a constant in memory as the first operand, with the suffix of the instruction before it.
func (e *emitter) mem(bits uint32) string {
	if e.wide {
		return ".BCST " + e.pool.ref(bits)
	}
	return " " + e.pool.ref(bits)
}

// results folds the accumulators and stores them.
func (e *emitter) results() {
	if e.arm {
		e.armResults()
		return
	}
	nan := e.foldAll()
	for i, a := range e.b.accs {
		if a.result == "" {
			continue
		}
		e.write(a.result, e.accReg[i][0])
		if nan {
			e.op("TESTL R12, R12")
			e.op("JEQ ordered")
			e.op("MOVL $0x7fc00000, (DX)")
			fmt.Fprintf(e, "\nordered:\n")
		}
	}
}

// foldAll leaves the total of each accumulator in the lowest lane of its first register. Where one watches for NaN, that is what R12 says.
func (e *emitter) foldAll() (nan bool) {
	if e.arm {
		return e.armTotals()
	}
	for i, a := range e.b.accs {
		lanes := e.accReg[i]
		for n := len(lanes); n > 1; n = (n + 1) / 2 {
			for j := (n + 1) / 2; j < n && !(a.unord && e.wide); j++ {
				e.fold(a, e.reg(lanes[j]), e.reg(lanes[j-(n+1)/2]))
			}
		}
		if a.unord {
			if e.wide {
				e.op("KMOVW K7, R12")
			} else {
				e.op("VMOVMSKPS %s, R12", e.reg(lanes[0]))
			}
			nan = true
			continue
		}
		r := lanes[0]
		t := e.regs - 1
		for t == r {
			t--
		}
		if e.wide {
			e.op("VEXTRACTF64X4 $1, Z%d, Y%d", r, t)
			e.fold(a, fmt.Sprintf("Y%d", t), fmt.Sprintf("Y%d", r))
		}
		e.narrow(a, r, t)
	}
	return nan
}

// narrow folds the 8 elements of register r into its lowest, with t as scratch.
func (e *emitter) narrow(a reduction, r, t int) {
	ext := "VEXTRACTF128 $1, Y%d, X%d"
	if r > 15 || t > 15 {
		ext = "VEXTRACTF32X4 $1, Y%d, X%d"
	}
	e.op(ext, r, t)
	x, y := fmt.Sprintf("X%d", r), fmt.Sprintf("X%d", t)
	e.fold(a, y, x)
	e.op("VPERMILPS $0x4e, %s, %s", x, y)
	e.fold(a, y, x)
	e.op("VPERMILPS $0xb1, %s, %s", x, y)
	e.fold(a, y, x)
}

// fold writes y = y and x.
func (e *emitter) fold(a reduction, x, y string) {
	name := map[string]string{"add": "VADDPS", "max": "VMAXPS", "imax": "VPMAXSD", "or": "VORPS"}[a.op]
	e.op("%s %s, %s, %s", name, x, y, y)
}
