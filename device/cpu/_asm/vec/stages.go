package main

import "fmt"

// stage is one pass over a row. Its accumulators are folded, and after makes of the totals what the next stages need.
type stage struct {
	body  func(b *body)
	after func(e *emitter) // nil: the totals are results
}

// total is the register in whose lowest lane the total of accumulator i is.
func (e *emitter) total(i int) int { return e.accReg[i][0] }

// spare is a register that is free between stages.
func (e *emitter) spare() int { return e.accReg[0][1] }

// keep puts the lowest lane of x into all lanes of a scalar.
func (e *emitter) keep(name string, x int) {
	if e.arm {
		e.two("spread", x, e.scalars[name])
		return
	}
	e.op("VBROADCASTSS X%d, %s", x, e.reg(e.scalars[name]))
}

// write stores the lowest lane of x at a pointer argument.
func (e *emitter) write(result string, x int) {
	if e.arm {
		e.op("MOVD %s, R11", e.argument(result))
		e.op("FMOVS F%d, (R11)", x)
		return
	}
	e.op("MOVQ %s, DX", e.argument(result))
	e.op("VMOVSS X%d, (DX)", x)
}

// argument is a number among the arguments as an operand.
func (e *emitter) argument(name string) string {
	return fmt.Sprintf("%s+%d(FP)", name, e.frame[name].off)
}

// withArgument writes x = x op a number among the arguments, in the lowest lane: ADD, MUL or DIV.
func (e *emitter) withArgument(op string, x int, name string) {
	if e.arm {
		e.op("FMOVS %s, F%d", e.argument(name), e.regs-1)
		e.op("F%sS F%d, F%d", op, e.regs-1, x)
		return
	}
	e.op("V%sSS %s, X%d, X%d", op, e.argument(name), x, x)
}

// inverse writes y = 1/x in the lowest lane.
func (e *emitter) inverse(x, y int) {
	if e.arm {
		e.set(0x3f800000, y)
		e.op("FDIVS F%d, F%d", x, y)
		return
	}
	e.op("VMOVSS %s, X%d", e.pool.ref(0x3f800000), y)
	e.op("VDIVSS X%d, X%d, X%d", x, y, y)
}

func stagedKernels() []*kernel {
	return []*kernel{
		{name: "Softmax", args: signature("y *float32, x *float32, n int"), unroll: [2]int{3, 4}, scalars: []string{"top", "factor"}, stages: []stage{
			{highest, func(e *emitter) { e.keepHighest("top") }},
			{func(b *body) { b.expSum(b.sub(b.load("x"), b.p("top"))) }, func(e *emitter) {
				e.inverse(e.total(0), e.spare())
				e.keep("factor", e.spare())
			}},
			{func(b *body) { b.store("y", b.mul(b.load("y"), b.p("factor"))) }, nil},
		}},
		{name: "MaxExpSum", args: signature("y *float32, x *float32, n int, scale float32, m *float32, s *float32"), unroll: [2]int{3, 4},
			scalars: []string{"top"}, results: []string{"m", "s"}, stages: []stage{
				{highest, func(e *emitter) {
					e.keepHighest("top")
					x := e.scalars["top"]
					e.withArgument("MUL", x, "scale")
					e.write("m", x)
					e.keep("top", x)
				}},
				{func(b *body) { b.expSum(b.fms(b.load("x"), b.p("scale"), b.p("top"))) }, func(e *emitter) { e.write("s", e.total(0)) }},
			}},
		{name: "RMSNorm", args: signature("y *float32, x *float32, w *float32, n int, c float32, eps float32, rstd *float32"), unroll: [2]int{4, 4},
			scalars: []string{"factor"}, results: []string{"rstd"}, stages: []stage{
				{func(b *body) {
					x := b.load("x")
					b.into("accfma", b.acc(reduction{op: "add"}), x, x)
				}, (*emitter).keepRstd},
				{func(b *body) { b.store("y", b.mul(b.mul(b.load("x"), b.p("factor")), b.load("w"))) }, nil},
			}},
		{name: "LayerNorm", args: signature("y *float32, x *float32, w *float32, b *float32, n int, c float32, eps float32, mean *float32, rstd *float32"), unroll: [2]int{4, 4},
			scalars: []string{"center", "factor"}, results: []string{"mean", "rstd"}, stages: []stage{
				{func(b *body) { b.into("accadd", b.acc(reduction{op: "add"}), b.load("x")) }, func(e *emitter) {
					e.withArgument("DIV", e.total(0), "c")
					e.write("mean", e.total(0))
					e.keep("center", e.total(0))
				}},
				{func(b *body) {
					d := b.live(b.sub(b.load("x"), b.p("center")))
					b.into("accfma", b.acc(reduction{op: "add"}), d, d)
				}, (*emitter).keepRstd},
				{func(b *body) {
					d := b.mul(b.sub(b.load("x"), b.p("center")), b.p("factor"))
					b.store("y", b.fma(d, b.load("w"), b.load("b")))
				}, nil},
			}},
	}
}

// highest looks for the largest x and for NaN.
func highest(b *body) {
	unord := b.acc(reduction{op: "or", unord: true})
	m := b.acc(reduction{op: "max", init: 0xff800000})
	x := b.liveOr(b.load("x"), b.bits(0xff800000))
	b.into("accunord", unord, x)
	b.into("accmax", m, x)
}

// keepHighest keeps what highest found: NaN if there was one.
func (e *emitter) keepHighest(name string) {
	e.keep(name, e.total(1))
	if e.arm {
		e.op("CBZW R12, ordered")
		e.set(0x7fc00000, e.scalars[name])
	} else {
		e.op("TESTL R12, R12")
		e.op("JEQ ordered")
		e.op("VBROADCASTSS %s, %s", e.pool.ref(0x7fc00000), e.reg(e.scalars[name]))
	}
	fmt.Fprintf(e, "\nordered:\n")
}

// expSum stores exp(d) and sums it.
func (b *body) expSum(d value) {
	e := b.exp(d)
	b.store("y", e)
	b.into("accadd", b.acc(reduction{op: "add"}), b.live(e))
}

// keepRstd keeps 1/sqrt(total/c + eps) as factor and stores it.
func (e *emitter) keepRstd() {
	s, t := e.total(0), e.spare()
	e.withArgument("DIV", s, "c")
	e.withArgument("ADD", s, "eps")
	if e.arm {
		e.op("FSQRTS F%d, F%d", s, s)
	} else {
		e.op("VSQRTSS X%d, X%d, X%d", s, s, s)
	}
	e.inverse(s, t)
	e.write("rstd", t)
	e.keep("factor", t)
}
