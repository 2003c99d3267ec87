package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device"
	"hone/internal/cpuid"
	"hone/internal/half"
)

// guarded is a slice of n elements with guard words around it, at an offset
// that makes its alignment odd.
type guarded struct {
	all []float32
	lo  int
}

const guardWord = -12345.5

func newGuarded(n, skew int) (guarded, []float32) {
	all := make([]float32, n+64+skew)
	for i := range all {
		all[i] = guardWord
	}
	lo := 32 + skew
	return guarded{all, lo}, all[lo : lo+n : lo+n]
}

func (g guarded) check(t *testing.T, what string, n int) {
	t.Helper()
	for i, v := range g.all {
		if (i < g.lo || i >= g.lo+n) && v != guardWord {
			t.Fatalf("%s: n=%d: element %d outside the output was written", what, n, i-g.lo)
		}
	}
}

// close32 reports whether got is within rel of want, or within abs.
func close32(got float32, want, rel, abs float64) bool {
	g := float64(got)
	if math.IsNaN(want) || math.IsNaN(g) {
		return math.IsNaN(want) && math.IsNaN(g)
	}
	if w := float32(want); math.IsInf(float64(w), 0) || math.IsInf(g, 0) {
		return got == w || math.Abs(want) > 0.999999*math.MaxFloat32 && math.Abs(g) > 0.999999*math.MaxFloat32
	}
	return math.Abs(g-want) <= rel*math.Abs(want)+abs
}

const ulp = 0x1p-23 // the most that one rounding step is, relative to the value

// specials are inputs at the edges of the format.
var specials = []float32{
	0, float32(math.Copysign(0, -1)), nan32, inf32, -inf32, 1e-45, -1e-45, 1e-39, -1e-39, 0x1p-126, -0x1p-126,
	1, -1, 0.5, 88.72283, 88.7229, 88.8, 89, 100, 128, -86.98, -87.4, -88, -103.9, -104, -150, 1e30, -1e30,
	math.MaxFloat32, -math.MaxFloat32, 1e-8, -1e-8, 0.41421, 0.41422, 0.70710677, 0.7071068, 12, -12, 13.2, -13.2,
}

// lengths are all up to 200 and some beyond the pieces that kernels work in; with -short some of the former.
func lengths() []int {
	var ns []int
	for n := 0; n <= 200; n++ {
		if testing.Short() && n > 20 && n%16 > 1 && n%16 < 15 {
			continue
		}
		ns = append(ns, n)
	}
	return append(ns, 1023, 1024, 1025, 4096, 4097, 10007)
}

// fillTest mixes normal numbers with special values every so often.
func fillTest(r *rand.Rand, x []float32, scale float64, special bool) {
	for i := range x {
		x[i] = float32(r.NormFloat64() * scale)
		if special && r.IntN(4) == 0 {
			x[i] = specials[r.IntN(len(specials))]
		}
	}
}

func erfc64(x float64) float64 { return math.Erfc(x) }

func sigmoid64(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// unaryReference is op in float64, and its derivative.
func unaryReference(op device.UnaryOp) (f, df func(float64) float64) {
	const c, k = 0.7978845608028654, 0.044715 // sqrt(2/pi)
	switch op {
	case device.Identity:
		return func(x float64) float64 { return x }, func(float64) float64 { return 1 }
	case device.SiLU:
		return func(x float64) float64 { return x * sigmoid64(x) },
			func(x float64) float64 { s := sigmoid64(x); return s * (1 + x*(1-s)) }
	case device.GELU:
		return func(x float64) float64 { return x * sigmoid64(2*c*(x+k*x*x*x)) },
			func(x float64) float64 {
				s := sigmoid64(2 * c * (x + k*x*x*x))
				return s + x*(s*(1-s))*2*c*(1+3*k*x*x)
			}
	case device.GELUErf:
		return func(x float64) float64 { return x * 0.5 * erfc64(-x/math.Sqrt2) },
			func(x float64) float64 {
				return 0.5*erfc64(-x/math.Sqrt2) + x*(math.Exp(-0.5*x*x)/math.Sqrt(2*math.Pi))
			}
	case device.ReLU:
		return func(x float64) float64 {
				if x < 0 {
					return 0
				}
				return x
			}, func(x float64) float64 {
				if x <= 0 {
					return 0
				}
				return 1
			}
	case device.Tanh:
		return math.Tanh, func(x float64) float64 { t := math.Tanh(x); return 1 - t*t }
	case device.Sigmoid:
		return sigmoid64, func(x float64) float64 { s := sigmoid64(x); return s * (1 - s) }
	case device.Exp:
		return math.Exp, math.Exp
	case device.Log:
		return math.Log, func(x float64) float64 { return 1 / x }
	case device.Square:
		return func(x float64) float64 { return x * x }, func(x float64) float64 { return 2 * x }
	case device.LogSigmoid:
		return func(x float64) float64 { return math.Min(x, 0) - math.Log1p(math.Exp(-math.Abs(x))) },
			func(x float64) float64 { return sigmoid64(-x) }
	}
	panic("no such op")
}

// tolerance of a unary function: relative, in ulp, and absolute. The absolute
// part allows the flush of tiny results to 0.
func unaryTolerance(op device.UnaryOp) (rel, abs float64) {
	const flush = 1.7e-38
	switch op {
	case device.Identity, device.ReLU:
		return 0, 0
	case device.Square:
		return ulp, flush
	case device.Exp:
		return 2 * ulp, flush
	case device.Log, device.LogSigmoid, device.Tanh:
		return 4 * ulp, flush
	case device.GELU, device.GELUErf:
		return 0x1p-20, 2e-9 // the argument of exp grows with x², and its rounding with it; the value is tiny there
	}
	return 4 * ulp, 1e-36
}

func unaryOps() []device.UnaryOp {
	var ops []device.UnaryOp
	for op := device.Identity; op < device.UnaryOps; op++ {
		ops = append(ops, op)
	}
	return ops
}

// paths are all that the machine can take; of AVX-512 the one that rounds to bf16 by an instruction, if it has it, for the others are in both.
func paths() []Path {
	f := cpuid.Host()
	all := []Path{Generic, PathOf(f.WithoutAVX512()), HostPath()}
	return slices.Compact(all)
}

// eachPath runs f on every path that this machine can take.
func eachPath(t *testing.T, f func(t *testing.T, path Path)) {
	for _, p := range paths() {
		t.Run(p.String(), func(t *testing.T) { f(t, p) })
	}
}

func TestUnary(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, op := range unaryOps() {
			f, _ := unaryReference(op)
			rel, abs := unaryTolerance(op)
			for _, n := range lengths() {
				x := make([]float32, n)
				fillTest(r, x, 4, true)
				g, y := newGuarded(n, n%7)
				path.Unary(op, y, x)
				g.check(t, fmt.Sprintf("unary %d", op), n)
				for i := range x {
					if want := f(float64(x[i])); !close32(y[i], want, rel, abs) {
						t.Fatalf("op %d n=%d: f(%g) = %g, want %g", op, n, x[i], y[i], want)
					}
				}
				copy(y, x)
				want := make([]float32, n)
				path.Unary(op, want, x)
				path.Unary(op, y, y)
				sameBits(t, fmt.Sprintf("unary %d in place", op), y, want)
			}
		}
	})
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && !(got[i] != got[i] && want[i] != want[i]) {
			t.Fatalf("%s: element %d of %d is %g, want %g", what, i, len(want), got[i], want[i])
		}
	}
}

// TestExpRange goes through the floats of the whole range of exp.
func TestExpRange(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		const n = 1 << 16
		x, y := make([]float32, n), make([]float32, n)
		worst := 0.0
		for step := range 8 {
			for i := range x {
				x[i] = -105 + 195*(float32(i)+float32(step)/8)/n
			}
			path.Unary(device.Exp, y, x)
			for i, v := range x {
				want := math.Exp(float64(v))
				switch {
				case want > math.MaxFloat32:
					if y[i] != inf32 && want > math.MaxFloat32*(1+2*ulp) {
						t.Fatalf("exp(%g) = %g, want Inf", v, y[i])
					}
				case want < 1.7e-38:
					if y[i] != 0 && math.Abs(float64(y[i])-want) > 2*ulp*want {
						t.Fatalf("exp(%g) = %g", v, y[i])
					}
				default:
					_, e := math.Frexp(want)
					worst = max(worst, math.Abs(float64(y[i])-want)/math.Ldexp(1, e-24))
				}
			}
		}
		t.Logf("largest error %.2f ulp", worst)
		if worst > 2 {
			t.Errorf("exp is off by %.2f ulp", worst)
		}
	})
}

func TestUnaryGrad(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, op := range unaryOps() {
			_, df := unaryReference(op)
			for _, n := range lengths() {
				x, dy := make([]float32, n), make([]float32, n)
				fillTest(r, x, 3, n%3 == 0)
				fillTest(r, dy, 1, false)
				g, d := newGuarded(n, n%5)
				path.UnaryGrad(op, d, x, dy)
				g.check(t, fmt.Sprintf("unary grad %d", op), n)
				for i := range x {
					slope := df(float64(x[i]))
					if x[i] == -inf32 || x[i] == inf32 || math.Abs(slope) > math.MaxFloat32 {
						continue // 0·Inf for some; the slope itself is not a float32
					}
					want := slope * float64(dy[i])
					if !close32(d[i], want, 1e-5, gradAbs(op, dy[i])) {
						t.Fatalf("op %d n=%d: f'(%g)·%g = %g, want %g", op, n, x[i], dy[i], d[i], want)
					}
				}
				copy(dy, dy)
				path.UnaryGrad(op, dy, x, dy)
				sameBits(t, fmt.Sprintf("unary grad %d in place", op), dy, d)
			}
		}
	})
}

// gradAbs is the error that cancellation near a zero of the derivative leaves.
func gradAbs(op device.UnaryOp, dy float32) float64 {
	a := math.Abs(float64(dy))
	switch op {
	case device.Log, device.Square, device.Identity, device.ReLU, device.Exp:
		return 1e-36
	}
	return 5e-7 * a
}

// TestNonFinitePass: what is not finite must not become finite and ordinary
// where the function has no limit there, and NaN never.
func TestNonFinitePass(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		for _, op := range unaryOps() {
			for n := 1; n <= 40; n++ {
				x, dy, d := make([]float32, n), make([]float32, n), make([]float32, n)
				Fill(x, 0.5)
				Fill(dy, 1)
				x[n-1] = nan32
				path.Unary(op, d, x)
				if d[n-1] == d[n-1] {
					t.Fatalf("op %d of NaN is %g", op, d[n-1])
				}
				dy[n-1] = nan32
				path.UnaryGrad(op, d, x, dy)
				if d[n-1] == d[n-1] {
					t.Fatalf("gradient of op %d with NaN is %g", op, d[n-1])
				}
			}
		}
	})
}

func TestBinary(t *testing.T) {
	ref := map[device.BinaryOp]func(a, b float64) float64{
		device.Add: func(a, b float64) float64 { return a + b },
		device.Sub: func(a, b float64) float64 { return a - b },
		device.Mul: func(a, b float64) float64 { return a * b },
		device.Div: func(a, b float64) float64 { return a / b },
		device.Max: func(a, b float64) float64 { return max(a, b) },
		device.Min: func(a, b float64) float64 { return min(a, b) },
	}
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(5, 6))
		for op, f := range ref {
			for _, n := range lengths() {
				a, b := make([]float32, n), make([]float32, n)
				fillTest(r, a, 2, true)
				fillTest(r, b, 2, true)
				g, y := newGuarded(n, n%3)
				path.Binary(op, y, a, b)
				g.check(t, "binary", n)
				for i := range a {
					if want := float64(float32(f(float64(a[i]), float64(b[i])))); !close32(y[i], want, 0, 0) {
						t.Fatalf("op %d: %g, %g gives %g, want %g", op, a[i], b[i], y[i], want)
					}
				}
				keep := append([]float32(nil), a...)
				path.Binary(op, a, a, b)
				sameBits(t, "binary into a", a, y)
				path.Binary(op, b, keep, b)
				sameBits(t, "binary into b", b, y)
			}
		}
	})
}

func TestAxpyScale(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, n := range lengths() {
			x := make([]float32, n)
			fillTest(r, x, 1, true)
			g, y := newGuarded(n, n%4)
			fillTest(r, y, 1, false)
			start := append([]float32(nil), y...)
			path.Axpy(y, 0.3, x)
			g.check(t, "axpy", n)
			for i := range x {
				want := float64(start[i]) + float64(float32(0.3))*float64(x[i])
				if !close32(y[i], want, ulp, 1e-7) {
					t.Fatalf("%g + 0.3·%g = %g, want %g", start[i], x[i], y[i], want)
				}
			}
			copy(y, x)
			path.Scale(y, 1.7)
			g.check(t, "scale", n)
			for i := range x {
				if want := float64(float32(float64(x[i]) * float64(float32(1.7)))); !close32(y[i], want, 0, 0) {
					t.Fatalf("1.7·%g = %g", x[i], y[i])
				}
			}
		}
	})
}

func TestGated(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(9, 10))
		for _, act := range []device.UnaryOp{device.SiLU, device.GELU, device.GELUErf, device.ReLU, device.Sigmoid} {
			f, df := unaryReference(act)
			for _, n := range lengths() {
				gate, up, dy := make([]float32, n), make([]float32, n), make([]float32, n)
				fillTest(r, gate, 3, false)
				fillTest(r, up, 1, false)
				fillTest(r, dy, 1, false)
				gy, y := newGuarded(n, n%6)
				path.Gated(act, y, gate, up)
				gy.check(t, "gated", n)
				ga, dgate := newGuarded(n, n%6)
				gb, dup := newGuarded(n, n%5)
				path.GatedGrad(act, GatedGrad{dgate, dup, gate, up, dy})
				ga.check(t, "dgate", n)
				gb.check(t, "dup", n)
				gv, value := newGuarded(n, n%4)
				gs, slope := newGuarded(n, n%3)
				gd, both := newGuarded(n, n%7)
				copy(both, dy)
				path.GatedBoth(act, value, slope, both, gate, up)
				gv.check(t, "y with gradients", n)
				gs.check(t, "dgate with y", n)
				gd.check(t, "dup with y", n)
				sameBits(t, "dgate with y", slope, dgate)
				sameBits(t, "dup with y", both, dup)
				for i := range gate {
					a, da := f(float64(gate[i])), df(float64(gate[i]))
					u, d := float64(up[i]), float64(dy[i])
					if !close32(y[i], a*u, 1e-5, 1e-8) || !close32(value[i], a*u, 1e-5, 1e-8) || !close32(dup[i], a*d, 1e-5, 1e-8) || !close32(dgate[i], da*u*d, 1e-5, 1e-6*math.Abs(u*d)) {
						t.Fatalf("act %d n=%d at %g %g %g: y %g dup %g dgate %g", act, n, gate[i], up[i], dy[i], y[i], dup[i], dgate[i])
					}
				}
				path.Gated(act, up, gate, up)
				sameBits(t, "gated into up", up, y)
				fillTest(r, up, 1, false)
				path.GatedGrad(act, GatedGrad{dgate, dup, gate, up, dy})
				path.GatedGrad(act, GatedGrad{gate, dy, gate, up, dy})
				sameBits(t, "dgate into gate", gate, dgate)
				sameBits(t, "dup into dy", dy, dup)
			}
		}
	})
}

func TestDropoutRow(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(11, 12))
		k := Dropout{scale: 1.25, lo: 0x12345678, hi: 0x9abcdef0, threshold: 858993459}
		for _, n := range lengths() {
			x, want := make([]float32, n), make([]float32, n)
			fillTest(r, x, 1, true)
			genericDropout(want, x, k, 4294950000)
			g, y := newGuarded(n, n%3)
			path.Dropout(y, x, k, 4294950000)
			g.check(t, "dropout", n)
			sameBits(t, "dropout", y, want)
		}
	})
}

func TestAdamWRow(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(13, 14))
		k := device.AdamW{LR: 1e-2, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Scale: 0.5, Step: 3}
		a := NewAdamW(k)
		for _, n := range lengths() {
			gp, p := newGuarded(n, n%3)
			gm, m := newGuarded(n, n%5)
			gv, v := newGuarded(n, n%7)
			g := make([]float32, n)
			for i := range p {
				p[i], m[i], v[i], g[i] = float32(r.NormFloat64()), float32(r.NormFloat64()), float32(r.ExpFloat64()), float32(r.NormFloat64())
			}
			if n > 3 {
				g[n-1], g[n-2] = nan32, inf32
			}
			p0, m0, v0 := append([]float32(nil), p...), append([]float32(nil), m...), append([]float32(nil), v...)
			path.AdamW(p, g, m, v, &a)
			gp.check(t, "adamw p", n)
			gm.check(t, "adamw m", n)
			gv.check(t, "adamw v", n)
			for i := range p {
				gi := 0.5 * float64(g[i])
				mi := float64(float32(0.9))*float64(m0[i]) + (1-float64(float32(0.9)))*gi
				vi := float64(float32(0.95))*float64(v0[i]) + (1-float64(float32(0.95)))*gi*gi
				mh, vh := mi/(1-math.Pow(0.9, 3)), vi/(1-math.Pow(0.95, 3))
				pi := float64(p0[i]) - 1e-2*(mh/(math.Sqrt(vh)+1e-8)+0.1*float64(p0[i]))
				if !close32(m[i], mi, 1e-6, 1e-6) || !close32(v[i], vi, 1e-6, 1e-7) || !close32(p[i], pi, 1e-6, 1e-6) {
					t.Fatalf("n=%d element %d: p %g m %g v %g, want %g %g %g", n, i, p[i], m[i], v[i], pi, mi, vi)
				}
			}
		}
	})
}

func TestBF16(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(15, 16))
		for _, n := range lengths() {
			x := make([]float32, n)
			for i := range x {
				x[i] = math.Float32frombits(r.Uint32())
				if i%5 == 0 {
					x[i] = specials[r.IntN(len(specials))]
				}
				if i%7 == 0 {
					x[i] = math.Float32frombits(r.Uint32()&0xffff0000 | 0x8000) // a tie
				}
			}
			h := make([]uint16, n+2)
			h[0], h[n+1] = 0x1234, 0x1234
			path.Round(h[1:n+1], x)
			g, y := newGuarded(n, n%3)
			path.Widen(y, h[1:n+1])
			g.check(t, "widen", n)
			for i := range x {
				if h[i+1] != half.BFromFloat32(x[i]) || math.Float32bits(y[i]) != uint32(h[i+1])<<16 {
					t.Fatalf("n=%d: %x rounds to %x, widens to %x", n, math.Float32bits(x[i]), h[i+1], math.Float32bits(y[i]))
				}
			}
			if h[0] != 0x1234 || h[n+1] != 0x1234 {
				t.Fatalf("n=%d: written outside", n)
			}
		}
	})
}

// TestNarrow compares the rounding to bf16 with the scalar one where it is delicate.
func TestNarrow(t *testing.T) {
	var in []float32
	for hi := range uint32(1 << 16) {
		for _, lo := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
			in = append(in, math.Float32frombits(hi<<16|lo))
		}
	}
	eachPath(t, func(t *testing.T, path Path) {
		out := make([]uint16, len(in))
		path.Round(out, in)
		for i, v := range in {
			if out[i] != half.BFromFloat32(v) {
				t.Fatalf("%x rounds to %x, want %x", math.Float32bits(v), out[i], half.BFromFloat32(v))
			}
		}
	})
}
