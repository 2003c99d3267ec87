package main

import (
	"slices"
	"strings"
)

// kernel is one assembly function per instruction set, behind the door of its family.
type kernel struct {
	name   string // of the function, e.g. SiLU
	family string // of the door, e.g. Unary; name when empty
	op     string // the case in the family's switch
	args   []arg
	unroll [2]int // vectors side by side: of AVX2, and of AVX-512 and NEON, which have 32 registers
	body   func(b *body)
	text   func(set isa) string // instead of body
	bf16   bool                 // vectors of uint16 are bf16; for AVX-512 with VCVTNEPS2BF16 alone

	// Or a row is passed over several times.
	stages  []stage
	scalars []string // that stages leave to later ones, by which these call them as parameters
	results []string // arguments that stages store numbers to
}

func (k *kernel) asmName(set isa) string { return "vec" + k.name + set.name }

func (k *kernel) goArgs() string {
	var s []string
	for _, a := range k.args {
		s = append(s, a.name+" "+a.typ)
	}
	return strings.Join(s, ", ")
}

// in says whether k is written for an instruction set.
func (k *kernel) in(set isa) bool { return set.wide || !k.bf16 }

// size is that of the smallest elements, in bytes.
func (k *kernel) size() int {
	if k.bf16 {
		return 2
	}
	return 4
}

// inBF16 is k on bf16 in the vectors that are named: the same function of f32, rounded.
func inBF16(k *kernel, vectors ...string) *kernel {
	twin := *k
	twin.name, twin.bf16 = k.name+"BF16", true
	if k.family != "" {
		twin.family += "BF16"
	}
	twin.args = slices.Clone(k.args)
	for i := range twin.args {
		if slices.Contains(vectors, twin.args[i].name) {
			twin.args[i].typ = "*uint16"
		}
	}
	return &twin
}

// vectors are the arguments of k that point to numbers.
func (k *kernel) vectors() (names []string) {
	for _, a := range k.args {
		if a.typ == "*float32" {
			names = append(names, a.name)
		}
	}
	return names
}

// signature reads "y *float32, n int".
func signature(s string) []arg {
	var out []arg
	for _, f := range strings.Split(s, ", ") {
		name, typ, _ := strings.Cut(f, " ")
		out = append(out, arg{name: name, typ: typ})
	}
	return out
}

const (
	sigUnary  = "y *float32, x *float32, n int"
	sigGrad   = "d *float32, x *float32, dy *float32, n int"
	sigBinary = "y *float32, a *float32, b *float32, n int"
	sigBack   = "dgate *float32, dup *float32, gate *float32, up *float32, dy *float32, n int"
)

// unary is y = f(x).
func unary(op string, unroll [2]int, f func(b *body, x value) value) *kernel {
	return &kernel{name: op, family: "Unary", op: "device." + op, args: signature(sigUnary), unroll: unroll,
		body: func(b *body) { b.store("y", f(b, b.load("x"))) }}
}

// grad is d = f'(x)·dy.
func grad(op string, unroll [2]int, f func(b *body, x value) value) *kernel {
	return &kernel{name: op + "Grad", family: "UnaryGrad", op: "device." + op, args: signature(sigGrad), unroll: unroll,
		body: func(b *body) { b.store("d", b.mul(f(b, b.load("x")), b.load("dy"))) }}
}

func binary(op string, unroll int, f func(b *body, x, y value) value) *kernel {
	return &kernel{name: op + "Binary", family: "Binary", op: "device." + op, args: signature(sigBinary), unroll: [2]int{unroll, 4},
		body: func(b *body) { x := b.load("a"); b.store("y", f(b, x, b.load("b"))) }}
}

// gated is y = act(gate)·up.
func gated(op string, f func(b *body, x value) value) *kernel {
	return &kernel{name: op + "Gated", family: "Gated", op: "device." + op, args: signature("y *float32, gate *float32, up *float32, n int"), unroll: [2]int{2, 4},
		body: func(b *body) { b.store("y", b.mul(f(b, b.load("gate")), b.load("up"))) }}
}

// gatedBack is its gradient; f returns act and act'.
func gatedBack(op string, f func(b *body, x value) (value, value)) *kernel {
	return &kernel{name: op + "GatedGrad", family: "GatedGrad", op: "device." + op, args: signature(sigBack), unroll: [2]int{2, 3},
		body: func(b *body) {
			act, slope := f(b, b.load("gate"))
			dy := b.load("dy")
			up := b.mul(b.load("up"), dy)
			b.store("dup", b.mul(act, dy))
			b.store("dgate", b.mul(slope, up))
		}}
}

// gatedBoth is y = f(gate)·up beside what gatedBack computes, whose dup takes the place of dy.
func gatedBoth(op string, f func(b *body, x value) (value, value)) *kernel {
	return &kernel{name: op + "GatedBoth", family: "GatedBoth", op: "device." + op,
		args: signature("y *float32, dgate *float32, d *float32, gate *float32, up *float32, n int"), unroll: [2]int{2, 3},
		body: func(b *body) {
			act, slope := f(b, b.load("gate"))
			up, d := b.load("up"), b.load("d")
			b.store("y", b.mul(act, up))
			b.store("dgate", b.mul(slope, b.mul(up, d)))
			b.store("d", b.mul(act, d))
		}}
}

// plain is a kernel that is its own family.
func plain(name, sig string, unroll [2]int, f func(b *body)) *kernel {
	return &kernel{name: name, args: signature(sig), unroll: unroll, body: f}
}

func kernels() []*kernel {
	var all []*kernel
	all = append(all, unaryKernels()...)
	all = append(all, gradKernels()...)
	all = append(all, bothKernels()...)
	all = append(all, binaryKernels()...)
	all = append(all, gated("SiLU", (*body).silu), gated("GELU", (*body).gelu))
	all = append(all, gatedBack("SiLU", (*body).siluBoth), gatedBack("GELU", (*body).geluBoth))
	all = append(all, gatedBoth("SiLU", (*body).siluBoth), gatedBoth("GELU", (*body).geluBoth))
	for _, k := range all {
		switch k.family {
		case "Unary", "UnaryBoth", "Gated", "GatedBoth":
			if strings.HasPrefix(k.op, "device.SiLU") || strings.HasPrefix(k.op, "device.GELU") {
				all = append(all, inBF16(k, k.vectors()...))
			}
		case "Binary":
			if k.op == "device.Add" {
				all = append(all, inBF16(k, k.vectors()...))
			}
		}
	}
	rows := slices.Concat(rowKernels(), sumKernels(), stagedKernels())
	for _, k := range rows {
		switch k.name {
		case "RMSNorm", "LayerNorm":
			rows = append(rows, inBF16(k, "y", "x"))
		case "NormDots":
			rows = append(rows, inBF16(k, "dy", "x"))
		}
	}
	return slices.Concat(all, rows, convertKernels())
}

func unaryKernels() []*kernel {
	return []*kernel{
		unary("SiLU", [2]int{2, 4}, (*body).silu),
		unary("GELU", [2]int{2, 4}, (*body).gelu),
		unary("GELUErf", [2]int{2, 3}, func(b *body, x value) value { cdf, _ := b.normal(x); return b.mul(x, cdf) }),
		unary("ReLU", [2]int{4, 4}, func(b *body, x value) value { return b.atLeast(b.c(0), x) }),
		unary("Tanh", [2]int{2, 4}, (*body).tanh),
		unary("Sigmoid", [2]int{2, 4}, (*body).sigmoid),
		unary("Exp", [2]int{3, 4}, (*body).exp),
		unary("Log", [2]int{2, 3}, (*body).log),
		unary("Square", [2]int{4, 4}, func(b *body, x value) value { return b.mul(x, x) }),
		unary("LogSigmoid", [2]int{2, 3}, (*body).logSigmoid),
	}
}

func gradKernels() []*kernel {
	return []*kernel{
		grad("SiLU", [2]int{2, 4}, func(b *body, x value) value { _, s := b.siluBoth(x); return s }),
		grad("GELU", [2]int{2, 3}, func(b *body, x value) value { _, s := b.geluBoth(x); return s }),
		grad("GELUErf", [2]int{2, 3}, (*body).geluErfGrad),
		{name: "ReLUGrad", family: "UnaryGrad", op: "device.ReLU", args: signature(sigGrad), unroll: [2]int{4, 4},
			body: func(b *body) { b.store("d", b.sel(cmpLE, b.load("x"), b.c(0), b.c(0), b.load("dy"))) }},
		grad("Tanh", [2]int{2, 3}, func(b *body, x value) value { t := b.tanh(x); return b.fnma(t, t, b.c(1)) }),
		grad("Sigmoid", [2]int{2, 4}, func(b *body, x value) value { s := b.sigmoid(x); return b.mul(s, b.sub(b.c(1), s)) }),
		grad("Exp", [2]int{3, 4}, (*body).exp),
		{name: "LogGrad", family: "UnaryGrad", op: "device.Log", args: signature(sigGrad), unroll: [2]int{4, 4},
			body: func(b *body) { x := b.load("x"); b.store("d", b.div(b.load("dy"), x)) }},
		grad("Square", [2]int{4, 4}, func(b *body, x value) value { return b.add(x, x) }),
		grad("LogSigmoid", [2]int{2, 4}, func(b *body, x value) value { return b.sigmoid(b.neg(x)) }),
	}
}

// bothKernels are y = f(x) and d = f'(x)·d, for those functions whose outputs are rebuilt in a backward pass.
func bothKernels() []*kernel {
	both := func(op string, f func(b *body, x value) (act, slope value)) *kernel {
		return &kernel{name: op + "Both", family: "UnaryBoth", op: "device." + op, args: signature("y *float32, d *float32, x *float32, n int"), unroll: [2]int{2, 3},
			body: func(b *body) {
				act, slope := f(b, b.load("x"))
				b.store("y", act)
				b.store("d", b.mul(slope, b.load("d")))
			}}
	}
	return []*kernel{both("SiLU", (*body).siluBoth), both("GELU", (*body).geluBoth), both("GELUErf", func(b *body, x value) (value, value) {
		cdf, e := b.normal(x)
		return b.mul(x, cdf), b.fma(b.mul(x, b.c(0.3989422804014327)), e, cdf)
	})}
}

func binaryKernels() []*kernel {
	return []*kernel{
		binary("Add", 4, (*body).add), binary("Sub", 4, (*body).sub), binary("Mul", 4, (*body).mul), binary("Div", 4, (*body).div),
		// max gives y for a NaN in y; a NaN in x is put back. Of zeros it takes the positive one.
		binary("Max", 2, func(b *body, x, y value) value {
			m := b.sel(cmpEQ, x, y, b.and(x, y), b.emit("max", 0, x, y))
			return b.sel(cmpUnord, x, x, x, m)
		}),
		binary("Min", 2, func(b *body, x, y value) value {
			m := b.sel(cmpEQ, x, y, b.or(x, y), b.emit("min", 0, x, y))
			return b.sel(cmpUnord, x, x, x, m)
		}),
	}
}

func rowKernels() []*kernel {
	return []*kernel{
		plain("Axpy", "y *float32, x *float32, n int, a float32", [2]int{4, 4}, func(b *body) {
			b.store("y", b.fma(b.load("x"), b.p("a"), b.load("y")))
		}),
		plain("Scale", "x *float32, n int, a float32", [2]int{4, 4}, func(b *body) {
			b.store("x", b.mul(b.load("x"), b.p("a")))
		}),
		plain("Weigh", "y *float32, x *float32, n int, top float32, inverse float32", [2]int{2, 4}, func(b *body) {
			b.store("y", b.weight(b.mul(b.sub(b.load("x"), b.p("top")), b.p("inverse"))))
		}),
		plain("Dropout", "y *float32, x *float32, n int, scale float32, lo uint32, hi uint32, threshold uint32, index uint32", [2]int{4, 4}, func(b *body) {
			r := b.fmix(b.xor(b.index(), b.p("lo")))
			r = b.fmix(b.iadd(r, b.p("hi")))
			b.store("y", b.keepGE(r, b.p("threshold"), b.mul(b.load("x"), b.p("scale"))))
		}),
		plain("SoftmaxGrad", "y *float32, x *float32, n int, sub float32, a float32, b float32, c float32", [2]int{2, 4}, func(b *body) {
			d := b.sub(b.load("x"), b.p("sub"))
			e := b.exp(d)
			f := b.fma(b.atLeast(b.c(-1e30), d), b.p("b"), b.p("a"))
			b.store("y", b.fma(e, f, b.p("c")))
		}),
		// p = exp(p·scale - sub), dp = (dp - delta)·p: what attention's backward pass makes of a row of scores.
		plain("ScoreGrad", "p *float32, dp *float32, n int, scale float32, sub float32, delta float32", [2]int{2, 4}, func(b *body) {
			p := b.exp(b.fms(b.load("p"), b.p("scale"), b.p("sub")))
			b.store("dp", b.mul(b.sub(b.load("dp"), b.p("delta")), p))
			b.store("p", p)
		}),
		// y1 = x1·cos - x2·sin, y2 = x2·cos + x1·sin with the sine times sign, each product rounded.
		plain("Rotate", "y1 *float32, y2 *float32, x1 *float32, x2 *float32, cos *float32, sin *float32, n int, sign float32", [2]int{2, 2}, func(b *body) {
			x1, x2, cos, sin := b.load("x1"), b.load("x2"), b.load("cos"), b.mul(b.load("sin"), b.p("sign"))
			b.store("y1", b.sub(b.mul(x1, cos), b.mul(x2, sin)))
			b.store("y2", b.add(b.mul(x2, cos), b.mul(x1, sin)))
		}),
		plain("NormScale", "y *float32, x *float32, w *float32, n int, mean float32, rstd float32", [2]int{4, 4}, func(b *body) {
			d := b.mul(b.sub(b.load("x"), b.p("mean")), b.p("rstd"))
			b.store("y", b.mul(d, b.load("w")))
		}),
		plain("NormAffine", "y *float32, x *float32, w *float32, b *float32, n int, mean float32, rstd float32", [2]int{4, 4}, func(b *body) {
			d := b.mul(b.sub(b.load("x"), b.p("mean")), b.p("rstd"))
			b.store("y", b.fma(d, b.load("w"), b.load("b")))
		}),
		plain("NormGrad", "dx *float32, dy *float32, x *float32, w *float32, dw *float32, n int, mean float32, rstd float32, a float32, b float32, c float32", [2]int{2, 4}, func(b *body) {
			dy := b.load("dy")
			d := b.sub(b.load("x"), b.p("mean"))
			b.store("dw", b.fma(dy, b.mul(d, b.p("rstd")), b.load("dw")))
			g := b.mul(dy, b.load("w"))
			b.store("dx", b.fma(g, b.p("a"), b.fma(d, b.p("b"), b.p("c"))))
		}),
		normGradAddBF16(), narrowBF16(),
		plain("AdamW", "p *float32, grad *float32, m *float32, v *float32, n int, scale float32, beta1 float32, rest1 float32, beta2 float32, rest2 float32, step float32, corr2 float32, eps float32, keep float32", [2]int{1, 2}, adamw),
	}
}

// normGradAddBF16 is NormGrad on rows of bf16 that adds to dx, and dy to db, too.
func normGradAddBF16() *kernel {
	k := plain("NormGradAddBF16", "dx *uint16, dy *uint16, x *uint16, w *float32, dw *float32, db *float32, n int, mean float32, rstd float32, a float32, b float32, c float32",
		[2]int{0, 4}, func(b *body) {
			dy := b.load("dy")
			d := b.sub(b.load("x"), b.p("mean"))
			b.store("dw", b.fma(dy, b.mul(d, b.p("rstd")), b.load("dw")))
			b.store("db", b.add(b.load("db"), dy))
			g := b.mul(dy, b.load("w"))
			b.store("dx", b.add(b.load("dx"), b.fma(g, b.p("a"), b.fma(d, b.p("b"), b.p("c")))))
		})
	k.bf16 = true
	return k
}

// narrowBF16 rounds as VCVTNEPS2BF16 does; y may begin where x does, or before it.
func narrowBF16() *kernel {
	k := plain("Narrow", "y *uint16, x *float32, n int", [2]int{0, 4}, func(b *body) { b.store("y", b.load("x")) })
	k.bf16 = true
	return k
}

func adamw(b *body) {
	g := b.mul(b.load("grad"), b.p("scale"))
	m := b.fma(b.load("m"), b.p("beta1"), b.mul(g, b.p("rest1")))
	v := b.fma(b.load("v"), b.p("beta2"), b.mul(b.mul(g, g), b.p("rest2")))
	b.store("m", m)
	b.store("v", v)
	down := b.add(b.sqrt(b.mul(v, b.p("corr2"))), b.p("eps"))
	up := b.div(b.mul(m, b.p("step")), down)
	b.store("p", b.sub(b.mul(b.load("p"), b.p("keep")), up))
}

func sumKernels() []*kernel {
	sum := func(result string) reduction { return reduction{result: result, op: "add"} }
	return []*kernel{
		plain("Sum", "x *float32, n int, s *float32", [2]int{6, 8}, func(b *body) {
			b.into("accadd", b.acc(sum("s")), b.load("x"))
		}),
		plain("SumSquares", "x *float32, n int, sub float32, s *float32", [2]int{4, 8}, func(b *body) {
			d := b.live(b.sub(b.load("x"), b.p("sub")))
			b.into("accfma", b.acc(sum("s")), d, d)
		}),
		plain("Dot", "a *float32, b *float32, n int, s *float32", [2]int{4, 8}, func(b *body) {
			b.into("accfma", b.acc(sum("s")), b.load("a"), b.load("b"))
		}),
		plain("Max", "x *float32, n int, s *float32", [2]int{4, 4}, func(b *body) {
			unord := b.acc(reduction{op: "or", unord: true})
			m := b.acc(reduction{result: "s", op: "max", init: 0xff800000})
			x := b.liveOr(b.load("x"), b.bits(0xff800000))
			b.into("accunord", unord, x)
			b.into("accmax", m, x)
		}),
		// The bits of |x| order like integers, NaN above Inf.
		plain("MaxAbs", "x *float32, n int, s *float32", [2]int{4, 4}, func(b *body) {
			b.into("accimax", b.acc(reduction{result: "s", op: "imax"}), b.abs(b.load("x")))
		}),
		plain("NonFinite", "x *float32, n int, s *float32", [2]int{4, 4}, func(b *body) {
			x := b.load("x")
			d := b.sub(x, x)
			b.into("accadd", b.acc(sum("s")), b.sel(cmpUnord, d, d, b.c(1), b.c(0)))
		}),
		plain("ExpSum", "y *float32, x *float32, n int, sub float32, s *float32", [2]int{3, 4}, func(b *body) {
			e := b.exp(b.sub(b.load("x"), b.p("sub")))
			b.store("y", e)
			b.into("accadd", b.acc(sum("s")), b.live(e))
		}),
		plain("ExpMoments", "x *float32, n int, sub float32, s *float32, w *float32", [2]int{2, 4}, func(b *body) {
			d := b.sub(b.load("x"), b.p("sub"))
			e := b.live(b.exp(d))
			b.into("accadd", b.acc(sum("s")), e)
			b.into("accfma", b.acc(sum("w")), e, b.atLeast(b.c(-1e30), d))
		}),
		plain("NormDots", "dy *float32, w *float32, x *float32, n int, mean float32, s *float32, sx *float32", [2]int{3, 4}, func(b *body) {
			g := b.mul(b.load("dy"), b.load("w"))
			b.into("accadd", b.acc(sum("s")), g)
			b.into("accfma", b.acc(sum("sx")), g, b.sub(b.load("x"), b.p("mean")))
		}),
	}
}
