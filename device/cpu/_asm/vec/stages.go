package main

import "fmt"

// stage is one pass over a row. Its accumulators are folded, and after makes of the totals what the next stages need.
type stage struct {
	body  func(b *body)
	after func(e *emitter) // nil: the totals are results
}

// total is the register in whose lowest lane the total of accumulator i is.
func (e *emitter) total(i int) string { return fmt.Sprintf("X%d", e.accReg[i][0]) }

// spare is a register that is free between stages.
func (e *emitter) spare() string { return fmt.Sprintf("X%d", e.accReg[0][1]) }

// keep puts the lowest lane of x into all lanes of a scalar.
func (e *emitter) keep(name, x string) { e.op("VBROADCASTSS %s, %s", x, e.reg(e.scalars[name])) }

// write stores the lowest lane of x at a pointer argument.
func (e *emitter) write(result, x string) {
	e.op("MOVQ %s+%d(FP), DX", result, e.frame[result].off)
	e.op("VMOVSS %s, (DX)", x)
}

// argument is a number among the arguments as an operand.
func (e *emitter) argument(name string) string {
	return fmt.Sprintf("%s+%d(FP)", name, e.frame[name].off)
}

// unit puts 1 into the lowest lane of x.
func (e *emitter) unit(x string) { e.op("VMOVSS %s, %s", e.pool.ref(0x3f800000), x) }

func stagedKernels() []*kernel {
	return []*kernel{
		{name: "Softmax", args: signature("y *float32, x *float32, n int"), unroll: [2]int{3, 4}, scalars: []string{"top", "factor"}, stages: []stage{
			{highest, func(e *emitter) { e.keepHighest("top") }},
			{func(b *body) { b.expSum(b.sub(b.load("x"), b.p("top"))) }, func(e *emitter) {
				e.unit(e.spare())
				e.op("VDIVSS %s, %s, %s", e.total(0), e.spare(), e.spare())
				e.keep("factor", e.spare())
			}},
			{func(b *body) { b.store("y", b.mul(b.load("y"), b.p("factor"))) }, nil},
		}},
		{name: "MaxExpSum", args: signature("y *float32, x *float32, n int, scale float32, m *float32, s *float32"), unroll: [2]int{3, 4},
			scalars: []string{"top"}, results: []string{"m", "s"}, stages: []stage{
				{highest, func(e *emitter) {
					e.keepHighest("top")
					x := fmt.Sprintf("X%d", e.scalars["top"])
					e.op("VMULSS %s, %s, %s", e.argument("scale"), x, x)
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
					e.op("VDIVSS %s, %s, %s", e.argument("c"), e.total(0), e.total(0))
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
	e.op("TESTL R12, R12")
	e.op("JEQ ordered")
	e.op("VBROADCASTSS %s, %s", e.pool.ref(0x7fc00000), e.reg(e.scalars[name]))
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
	e.op("VDIVSS %s, %s, %s", e.argument("c"), s, s)
	e.op("VADDSS %s, %s, %s", e.argument("eps"), s, s)
	e.op("VSQRTSS %s, %s, %s", s, s, s)
	e.unit(t)
	e.op("VDIVSS %s, %s, %s", s, t, t)
	e.write("rstd", t)
	e.keep("factor", t)
}
