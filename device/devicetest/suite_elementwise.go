package devicetest

import (
	"math"

	"hone/device"
)

var unaryOps = []struct {
	name string
	op   device.UnaryOp
	gate bool // also an activation of Gated
}{
	{"identity", device.Identity, true}, {"silu", device.SiLU, true}, {"gelu", device.GELU, true}, {"gelu_erf", device.GELUErf, true},
	{"relu", device.ReLU, true}, {"tanh", device.Tanh, false}, {"sigmoid", device.Sigmoid, true}, {"exp", device.Exp, false},
	{"log", device.Log, false}, {"square", device.Square, true}, {"log_sigmoid", device.LogSigmoid, false},
}

// special are values at which functions saturate, overflow or are not numbers.
var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 20, -20, 88, -88, 200, -200, 1e-30, -1e-30,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}

func testFill(p *pair) {
	for _, n := range sizesFor(nil) {
		for _, t := range floatTypes {
			y := p.empty(n, t)
			p.both(func(d device.Device, at func(operand) device.Buffer) { d.Fill(at(y), 1.25) })
			p.check(label("Fill %d %s", n, t), y, exact)
		}
		p.fillInts(n)
		p.freeAll()
	}
}

func (p *pair) fillInts(n int) {
	b := p.dev.Alloc(n, device.I32)
	defer p.dev.Free(b)
	p.dev.Fill(b, -7)
	got := make([]int32, n)
	if err := p.dev.Read(got, b); err != nil {
		p.Fatal(err)
	}
	for i, v := range got {
		if v != -7 {
			p.Errorf("Fill of %d i32: element %d is %d, want -7", n, i, v)
			return
		}
	}
}

// arguments makes n arguments for op, positive ones for the logarithm.
func (p *pair) arguments(op device.UnaryOp, n int, t device.DType) operand {
	if op == device.Log {
		return p.positive(n, t)
	}
	return p.normal(n, t, 3)
}

func testUnary(p *pair) {
	if len(unaryOps) != int(device.UnaryOps) {
		p.Fatalf("the suite has %d unary functions and package device %d: add what is new to unaryOps", len(unaryOps), device.UnaryOps)
	}
	for _, u := range unaryOps {
		p.eachTypes(2, func(types string, t []device.DType) {
			for _, n := range sizesFor(t) {
				x, y, z := p.arguments(u.op, n, t[0]), p.empty(n, t[1]), p.arguments(u.op, n, t[0])
				p.both(func(d device.Device, at func(operand) device.Buffer) {
					d.Unary(u.op, at(y), at(x))
					d.Unary(u.op, at(z), at(z))
				})
				p.check(label("%s %d%s", u.name, n, types), y, tight)
				p.check(label("%s %d%s in place", u.name, n, types), z, tight)
			}
		})
		p.unaryGrad(u.name, u.op)
		p.unarySpecial(u.name, u.op)
	}
}

func (p *pair) unaryGrad(name string, op device.UnaryOp) {
	p.eachTypes(3, func(types string, t []device.DType) {
		for _, n := range sizesFor(t) {
			x, dy := p.arguments(op, n, t[0]), p.normal(n, t[1], 1)
			dx, sum, same := p.empty(n, t[2]), p.normal(n, t[2], 1), p.normal(n, t[1], 1)
			y, both := p.empty(n, t[2]), p.normal(n, t[1], 1)
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				d.UnaryGrad(op, at(dx), at(x), at(dy), false)
				d.UnaryGrad(op, at(sum), at(x), at(dy), true)
				d.UnaryGrad(op, at(same), at(x), at(same), false)
				d.UnaryBoth(op, at(y), at(both), at(x))
			})
			tol := tolerance{rel: 1e-5, abs: 3e-6, ofMax: 1e-6}
			p.check(label("%s gradient %d%s", name, n, types), dx, tol)
			p.check(label("%s gradient %d%s accumulated", name, n, types), sum, tolerance{rel: 1e-5, abs: 3e-6, ofMax: 1e-6})
			p.check(label("%s gradient %d%s in place", name, n, types), same, tol)
			p.check(label("%s %d%s with its gradient", name, n, types), y, tight)
			p.check(label("%s gradient %d%s with the value", name, n, types), both, tol)
		}
	})
}

// unarySpecial checks the ends of the range, where only NaN, Inf and zero count.
func (p *pair) unarySpecial(name string, op device.UnaryOp) {
	v := make([]float32, 0, 4*len(special))
	for range 4 {
		v = append(v, special...)
	}
	x, y := p.floats(device.F32, v), p.empty(len(v), device.F32)
	p.both(func(d device.Device, at func(operand) device.Buffer) { d.Unary(op, at(y), at(x)) })
	got, want := make([]float32, len(v)), make([]float64, len(v))
	if err := p.dev.Read(got, y.dev); err != nil {
		p.Fatal(err)
	}
	if err := p.ref.Read(want, y.ref); err != nil {
		p.Fatal(err)
	}
	for i, w := range want {
		if nanIn := v[i] != v[i]; nanIn && got[i] == got[i] {
			p.Errorf("%s(NaN) is %g", name, got[i])
		}
		g, f := float64(got[i]), float64(float32(w)) // with what overflows in float32
		if finite := !math.IsInf(float64(v[i]), 0); finite && f == f && g != f && math.Abs(g-f) > 1e-5*math.Abs(f)+1e-36 {
			p.Errorf("%s(%g) is %g, want %g", name, v[i], g, f)
		}
	}
	p.freeAll()
}

func testBinary(p *pair) {
	ops := []struct {
		name string
		op   device.BinaryOp
	}{{"add", device.Add}, {"sub", device.Sub}, {"mul", device.Mul}, {"div", device.Div}, {"max", device.Max}, {"min", device.Min}}
	if len(ops) != int(device.BinaryOps) {
		p.Fatalf("the suite has %d binary functions and package device %d: add what is new to ops", len(ops), device.BinaryOps)
	}
	p.eachTypes(3, func(types string, t []device.DType) {
		for _, o := range ops {
			for _, n := range sizesFor(t) {
				a, b, y := p.normal(n, t[0], 1), p.positive(n, t[1]), p.empty(n, t[2])
				c, e := p.normal(n, t[0], 1), p.positive(n, t[1])
				p.both(func(d device.Device, at func(operand) device.Buffer) {
					d.Binary(o.op, at(y), at(a), at(b))
					d.Binary(o.op, at(c), at(c), at(b))
					d.Binary(o.op, at(e), at(a), at(e))
				})
				p.check(label("%s %d%s", o.name, n, types), y, tight)
				p.check(label("%s %d%s in place of a", o.name, n, types), c, tight)
				p.check(label("%s %d%s in place of b", o.name, n, types), e, tight)
			}
			p.freeAll()
		}
	})
	for _, o := range ops {
		p.binaryNaN(o.name, o.op)
	}
	p.eachTypes(2, func(types string, t []device.DType) {
		for _, n := range sizesFor(t) {
			y, x, z := p.normal(n, t[0], 1), p.normal(n, t[1], 1), p.normal(n, t[0], 1)
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				d.AddScaled(at(y), -0.75, at(x))
				d.Scale(at(z), 1.7)
			})
			p.check(label("AddScaled %d%s", n, types), y, tight)
			p.check(label("Scale %d%s", n, types), z, tight)
		}
	})
}

// binaryNaN checks that a NaN on either side comes through.
func (p *pair) binaryNaN(name string, op device.BinaryOp) {
	const n = 70
	a, b, y := p.normal(n, device.F32, 1), p.positive(n, device.F32), p.empty(n, device.F32)
	nan := []float32{float32(math.NaN())}
	for _, i := range []int{0, 31, 69} {
		p.dev.Write(a.dev.Slice(i, i+1), nan)
	}
	p.dev.Write(b.dev.Slice(33, 34), nan)
	p.dev.Binary(op, y.dev, a.dev, b.dev)
	got := make([]float32, n)
	if err := p.dev.Read(got, y.dev); err != nil {
		p.Fatal(err)
	}
	for _, i := range []int{0, 31, 33, 69} {
		if got[i] == got[i] {
			p.Errorf("%s with a NaN at %d is %g", name, i, got[i])
		}
	}
	p.freeAll()
}

func testGated(p *pair) {
	gates := 0
	for _, u := range unaryOps {
		if !u.gate {
			continue
		}
		p.eachTypes(2, func(types string, t []device.DType) {
			for _, n := range sizesOf(gates, t) {
				p.gated(label("Gated %s %d%s", u.name, n, types), u.op, n, t)
			}
		})
		gates++
	}
}

func (p *pair) gated(name string, op device.UnaryOp, n int, t []device.DType) {
	gate, up, dy := p.normal(n, t[0], 2), p.normal(n, t[0], 1), p.normal(n, t[1], 1)
	y, dgate, dup := p.empty(n, t[1]), p.empty(n, t[1]), p.empty(n, t[0])
	g2, u2, d2 := p.normal(n, t[0], 2), p.normal(n, t[0], 1), p.normal(n, t[1], 1)
	g3 := p.normal(n, t[0], 2)
	value, slope, both := p.empty(n, t[0]), p.empty(n, t[1]), p.normal(n, t[1], 1)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		d.Gated(op, at(y), at(gate), at(up))
		d.GatedGrad(op, at(dgate), at(dup), at(gate), at(up), at(dy))
		d.GatedGrad(op, at(g2), at(u2), at(g2), at(u2), at(dy))
		d.GatedGrad(op, at(g3), at(d2), at(g3), at(up), at(d2))
		d.GatedBoth(op, at(value), at(slope), at(both), at(gate), at(up))
	})
	tol := tolerance{rel: 1e-5, abs: 3e-6, ofMax: 1e-6}
	p.check(name, y, tight)
	p.check(name+": dgate", dgate, tol)
	p.check(name+": dup", dup, tol)
	p.check(name+": dgate in place of gate", g2, tol)
	p.check(name+": dup in place of up", u2, tol)
	p.check(name+": dgate in place of gate, dup of dy", g3, tol)
	p.check(name+": dup in place of dy", d2, tol)
	p.check(name+": y with its gradients", value, tight)
	p.check(name+": dgate with y", slope, tol)
	p.check(name+": dup with y", both, tol)
}

func testCopy2D(p *pair) {
	shapes := [][4]int{{1, 1, 1, 1}, {3, 5, 5, 5}, {3, 5, 9, 7}, {17, 64, 64, 192}, {40, 1030, 1030, 1031}, {300, 65, 130, 65}}
	p.eachTypes(2, func(types string, t []device.DType) {
		for _, s := range shapes {
			rows, cols, ds, ss := s[0], s[1], s[2], s[3]
			src, dst, sum := p.normal(rows*ss, t[0], 1), p.normal(rows*ds, t[1], 1), p.normal(rows*ds, t[1], 1)
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				c := device.Copy2D{Dst: at(dst), Src: at(src), DstStride: ds, SrcStride: ss, Rows: rows, Cols: cols}
				d.Copy2D(c)
				c.Dst, c.Acc = at(sum), true
				d.Copy2D(c)
			})
			p.check(label("Copy2D %v%s", s, types), dst, exact)
			p.check(label("Copy2D %v%s accumulated", s, types), sum, tight)
		}
	})
}

func testDropout(p *pair) {
	p.eachTypes(2, func(types string, t []device.DType) {
		for _, n := range sizesFor(t) {
			for _, rate := range []float32{0, 0.1, 0.5, 0.9} {
				x, y, z := p.normal(n, t[0], 1), p.empty(n, t[1]), p.normal(n, t[0], 1)
				key := p.rand.Uint64()
				p.both(func(d device.Device, at func(operand) device.Buffer) {
					d.Dropout(at(y), at(x), rate, key)
					d.Dropout(at(z), at(z), rate, key)
				})
				p.check(label("Dropout %g %d%s", rate, n, types), y, tight)
				p.check(label("Dropout %g %d%s in place", rate, n, types), z, tight)
			}
			p.freeAll()
		}
	})
}

func testReduce(p *pair) {
	ops := []struct {
		name string
		op   device.ReduceOp
		tol  tolerance
	}{
		{"Sum", device.Sum, tolerance{rel: 1e-5, abs: 2e-3}}, {"SumSquares", device.SumSquares, sums},
		{"MaxAbs", device.MaxAbs, exact}, {"NonFinite", device.NonFinite, exact},
	}
	for _, t := range floatTypes {
		for _, n := range append(sizesFor(nil), 100003) {
			for _, o := range ops {
				x, y := p.normal(n, t, 1), p.empty(1, device.F32)
				p.both(func(d device.Device, at func(operand) device.Buffer) { d.Reduce(o.op, at(y), at(x)) })
				p.check(label("%s %d %s", o.name, n, t), y, o.tol)
				for _, bad := range []float64{math.NaN(), math.Inf(-1)} {
					at := p.rand.IntN(n)
					p.dev.Write(x.dev.Slice(at, at+1), []float32{float32(bad)})
					p.ref.Write(x.ref.Slice(at, at+1), []float64{bad})
					p.both(func(d device.Device, at func(operand) device.Buffer) { d.Reduce(o.op, at(y), at(x)) })
					p.check(label("%s %d %s with %g", o.name, n, t, bad), y, o.tol)
				}
			}
			p.freeAll()
		}
	}
}

func testColumnSum(p *pair) {
	for _, t := range floatTypes {
		for _, s := range [][2]int{{1, 1}, {1, 70}, {3, 5}, {33, 64}, {100, 17}, {257, 384}, {1030, 33}, {2, 1030}} {
			n, c := s[0], s[1]
			x, y, sum := p.normal(n*c, t, 1), p.empty(c, device.F32), p.normal(c, device.F32, 1)
			p.both(func(d device.Device, at func(operand) device.Buffer) {
				d.ColumnSum(at(y), at(x), false)
				d.ColumnSum(at(sum), at(x), true)
			})
			p.check(label("ColumnSum %v %s", s, t), y, sums)
			p.check(label("ColumnSum %v %s accumulated", s, t), sum, sums)
		}
		p.freeAll()
	}
}
