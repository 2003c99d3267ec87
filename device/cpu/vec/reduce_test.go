package vec

import (
	"math"
	"math/rand/v2"
	"testing"

	"hone/device"
)

func TestSums(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(21, 22))
		for _, n := range lengths() {
			a, b := make([]float32, n+1)[1:], make([]float32, n)
			fillTest(r, a, 1, false)
			fillTest(r, b, 1, false)
			var sum, abs, squares, dot, dots float64
			for i := range a {
				x, y := float64(a[i]), float64(b[i])
				sum += x
				abs += math.Abs(x)
				squares += (x - 0.25) * (x - 0.25)
				dot += x * y
				dots += math.Abs(x * y)
			}
			if got := path.Sum(a); !close32(got, sum, 0, 3e-7*abs) {
				t.Fatalf("n=%d: sum %g, want %g", n, got, sum)
			}
			if got := path.SumSquares(a, 0.25); !close32(got, squares, 1e-6, 0) {
				t.Fatalf("n=%d: squares %g, want %g", n, got, squares)
			}
			if got := path.Dot(a, b); !close32(got, dot, 0, 3e-7*dots) {
				t.Fatalf("n=%d: dot %g, want %g", n, got, dot)
			}
		}
	})
}

func TestMaxima(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(23, 24))
		for _, n := range lengths() {
			for place := -1; place < n; place += 1 + n/9 {
				x := make([]float32, n)
				for i := range x {
					x[i] = -float32(r.ExpFloat64()) - 1
				}
				if place >= 0 {
					x[place] = -0.5
				}
				want, wantAbs := -inf32, float32(0)
				for _, v := range x {
					want, wantAbs = max(want, v), max(wantAbs, -v)
				}
				if got := path.Max(x); got != want {
					t.Fatalf("n=%d: max %g, want %g", n, got, want)
				}
				if got := path.MaxAbs(x); got != wantAbs {
					t.Fatalf("n=%d: max abs %g, want %g", n, got, wantAbs)
				}
				if got := path.NonFinite(x); got != 0 {
					t.Fatalf("n=%d: %d not finite", n, got)
				}
				if place < 0 {
					continue
				}
				x[place] = nan32
				if m, a := path.Max(x), path.MaxAbs(x); m == m || a == a {
					t.Fatalf("n=%d: NaN at %d gives max %g, max abs %g", n, place, m, a)
				}
				x[n-1-place/2] = -inf32
				want = 2
				if n-1-place/2 == place {
					want = 1
				}
				if got := path.NonFinite(x); got != int(want) {
					t.Fatalf("n=%d: %d not finite, want %g", n, got, want)
				}
			}
		}
	})
}

func TestExpSums(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(25, 26))
		for _, n := range lengths() {
			x := make([]float32, n)
			fillTest(r, x, 3, false)
			if n > 2 {
				x[n/2] = -inf32
			}
			g, y := newGuarded(n, n%5)
			sub := path.Max(x)
			got := path.ExpSum(y, x, sub)
			g.check(t, "exp sum", n)
			var sum, weighted float64
			for i, v := range x {
				e := math.Exp(float64(v - sub))
				sum += e
				if e != 0 {
					weighted += e * float64(v-sub)
				}
				if !close32(y[i], e, 2*ulp, 1.7e-38) {
					t.Fatalf("exp(%g-%g) = %g, want %g", v, sub, y[i], e)
				}
			}
			if !close32(got, sum, 1e-6, 0) {
				t.Fatalf("n=%d: sum %g, want %g", n, got, sum)
			}
			if n > 0 && n <= Piece {
				s, w := path.ExpMoments(x, sub)
				if !close32(s, sum, 1e-6, 0) || !close32(w, weighted, 1e-6, 1e-6) {
					t.Fatalf("n=%d: moments %g %g, want %g %g", n, s, w, sum, weighted)
				}
			}
			path.Softmax(x, x)
			for i := range x {
				if want := float64(y[i]) / sum; !close32(x[i], want, 1e-6, 1e-37) {
					t.Fatalf("softmax %g, want %g", x[i], want)
				}
			}
			if n > 0 {
				x[n-1] = nan32
				if s := path.ExpSum(y, x, 0); s == s {
					t.Fatalf("n=%d: a sum over NaN is %g", n, s)
				}
				if s, _ := path.ExpMoments(x[max(0, n-Piece):], 0); s == s {
					t.Fatalf("n=%d: moments over NaN are %g", n, s)
				}
			}
		}
	})
}

func TestSoftmaxGradRow(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(27, 28))
		k := SoftmaxGrad{Sub: 2, A: 0.7, B: -0.3, C: -0.01}
		for _, n := range lengths() {
			x := make([]float32, n)
			fillTest(r, x, 2, false)
			if n > 1 {
				x[0], x[n-1] = -inf32, nan32
			}
			g, y := newGuarded(n, n%5)
			path.SoftmaxGrad(y, x, k)
			g.check(t, "softmax grad", n)
			for i, v := range x {
				d := float64(v) - 2
				want := math.Exp(d)*(0.7-0.3*d) - 0.01
				if v == -inf32 {
					want = -0.01
				}
				if !close32(y[i], want, 1e-6, 1e-6) {
					t.Fatalf("x %g gives %g, want %g", v, y[i], want)
				}
			}
		}
	})
}

func TestNormRows(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(29, 30))
		const mean, rstd, a, b, c = 0.25, 1.5, 0.9, -0.2, 0.05
		for _, n := range lengths() {
			x, w, bias, dy := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
			for _, s := range [][]float32{x, w, bias, dy} {
				fillTest(r, s, 1, false)
			}
			g, y := newGuarded(n, n%5)
			path.normApply(y, x, w, nil, mean, rstd)
			g.check(t, "norm", n)
			for i := range x {
				if want := (float64(x[i]) - mean) * rstd * float64(w[i]); !close32(y[i], want, 1e-6, 1e-7) {
					t.Fatalf("n=%d: norm %g, want %g", n, y[i], want)
				}
			}
			path.normApply(y, x, w, bias, mean, rstd)
			g.check(t, "norm with bias", n)
			var s, sx, size float64
			for i := range x {
				d := float64(x[i]) - mean
				if want := d*rstd*float64(w[i]) + float64(bias[i]); !close32(y[i], want, 1e-6, 1e-6) {
					t.Fatalf("n=%d: norm with bias %g, want %g", n, y[i], want)
				}
				s += float64(dy[i]) * float64(w[i])
				sx += float64(dy[i]) * float64(w[i]) * d
				size += math.Abs(float64(dy[i])*float64(w[i])) * (1 + math.Abs(d))
			}
			if gs, gx := path.normDots(dy, w, x, mean); !close32(gs, s, 0, 3e-7*size) || !close32(gx, sx, 0, 3e-7*size) {
				t.Fatalf("n=%d: dots %g %g, want %g %g", n, gs, gx, s, sx)
			}
			gd, dw := newGuarded(n, n%3)
			fillTest(r, dw, 1, false)
			dw0 := append([]float32(nil), dw...)
			path.normGradApply(&NormGrad{DX: y, DY: dy, X: x, W: w, DW: dw, Mean: mean, Rstd: rstd}, normCoefficients{a, b, c})
			g.check(t, "norm dx", n)
			gd.check(t, "norm dw", n)
			for i := range x {
				d := float64(x[i]) - mean
				dx := a*float64(dy[i])*float64(w[i]) + b*d + c
				if !close32(y[i], dx, 1e-6, 1e-6) || !close32(dw[i], float64(dw0[i])+float64(dy[i])*d*rstd, 1e-6, 1e-6) {
					t.Fatalf("n=%d: dx %g want %g, dw %g", n, y[i], dx, dw[i])
				}
			}
			path.normGradApply(&NormGrad{DX: dy, DY: dy, X: x, W: w, DW: dw0, Mean: mean, Rstd: rstd}, normCoefficients{a, b, c})
			sameBits(t, "dx into dy", dy, y)
			sameBits(t, "dw again", dw0, dw)
		}
	})
}

// TestScoreRows checks what attention makes of rows of scores, forward and backward.
func TestScoreRows(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(31, 32))
		const scale, delta = 0.125, 0.25
		for _, n := range lengths() {
			if n == 0 || n > Piece {
				continue
			}
			x, dp := make([]float32, n), make([]float32, n)
			fillTest(r, x, 8, false)
			fillTest(r, dp, 1, false)
			g, y := newGuarded(n, n%5)
			m, sum := path.MaxExpSum(y, x, scale)
			g.check(t, "max and sum of exp", n)
			if want := path.Max(x) * scale; m != want {
				t.Fatalf("n=%d: max %g, want %g", n, m, want)
			}
			total := 0.0
			for i, v := range x {
				e := math.Exp(float64(v*scale - m))
				if total += e; !close32(y[i], e, 2*ulp, 1.7e-38) {
					t.Fatalf("n=%d: exp(%g·scale-%g) = %g, want %g", n, v, m, y[i], e)
				}
			}
			if !close32(sum, total, 1e-6, 0) {
				t.Fatalf("n=%d: sum %g, want %g", n, sum, total)
			}
			gp, p := newGuarded(n, n%3)
			gd, d := newGuarded(n, n%4)
			copy(p, x)
			copy(d, dp)
			path.ScoreGrad(p, d, scale, m, delta)
			gp.check(t, "probabilities", n)
			gd.check(t, "gradients of scores", n)
			sameBits(t, "probabilities", p, y)
			for i := range d {
				if want := (float64(dp[i]) - delta) * float64(p[i]); !close32(d[i], want, 1e-6, 1e-37) {
					t.Fatalf("n=%d: gradient %g, want %g", n, d[i], want)
				}
			}
			x[n/2] = nan32
			if m, sum := path.MaxExpSum(y, x, scale); m == m || sum == sum {
				t.Fatalf("n=%d: NaN gives max %g and sum %g", n, m, sum)
			}
		}
	})
}

// TestRotate checks that each path gives the bits of the formula, in place and not, and that the opposite angle turns back.
func TestRotate(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(35, 36))
		for _, half := range lengths() {
			x, cos, sin := make([]float32, 2*half), make([]float32, half), make([]float32, half)
			fillTest(r, x, 1, false)
			for i := range cos {
				s, c := math.Sincos(r.Float64() * 100)
				cos[i], sin[i] = float32(c), float32(s)
			}
			want, back := make([]float32, 2*half), make([]float32, 2*half)
			for i, c := range cos {
				u, v, s := x[i], x[i+half], sin[i]
				want[i], want[i+half] = float32(u*c)-float32(v*s), float32(v*c)+float32(u*s)
				u, v = want[i], want[i+half]
				back[i], back[i+half] = float32(u*c)+float32(v*s), float32(v*c)-float32(u*s)
			}
			g, y := newGuarded(2*half, half%5)
			path.Rotate(y, x, cos, sin, false)
			sameBits(t, "rotated", y, want)
			copy(y, x)
			path.Rotate(y, y, cos, sin, false)
			sameBits(t, "rotated in place", y, want)
			path.Rotate(y, y, cos, sin, true)
			sameBits(t, "turned back", y, back)
			g.check(t, "rotated", 2*half)
		}
	})
}

// TestWholeNorms checks norms whose moments and outputs come from one call.
func TestWholeNorms(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(33, 34))
		const eps = 1e-5
		for _, n := range append(lengths(), Piece+5) {
			if n == 0 {
				continue
			}
			x, w, bias := make([]float32, n), make([]float32, n), make([]float32, n)
			for _, s := range [][]float32{x, w, bias} {
				fillTest(r, s, 1, false)
			}
			for _, center := range []bool{false, true} {
				for _, b := range [][]float32{nil, bias} {
					var mean, square float64
					for _, v := range x {
						mean += float64(v) / float64(n)
					}
					if !center {
						mean = 0
					}
					for _, v := range x {
						square += (float64(v) - mean) * (float64(v) - mean) / float64(n)
					}
					rstd := 1 / math.Sqrt(square+eps)
					g, y := newGuarded(n, n%5)
					gotMean, gotRstd := path.Norm(y, x, w, b, center, eps)
					g.check(t, "norm", n)
					if !close32(gotMean, mean, 1e-6, 3e-7) || !close32(gotRstd, rstd, 2e-6*rstd*rstd*max(1, mean*mean), 0) {
						t.Fatalf("n=%d: mean %g, rstd %g, want %g, %g", n, gotMean, gotRstd, mean, rstd)
					}
					for i, v := range x {
						want := (float64(v) - float64(gotMean)) * float64(gotRstd) * float64(w[i])
						if b != nil {
							want += float64(b[i])
						}
						if !close32(y[i], want, 1e-6, 1e-6) {
							t.Fatalf("n=%d: %g, want %g", n, y[i], want)
						}
					}
					same := append([]float32(nil), x...)
					path.Norm(same, same, w, b, center, eps)
					sameBits(t, "norm in place", same, y)
				}
			}
		}
	})
}

// TestWeigh: the weights of tokens have the same bits by every kernel; device.TestWeight says that they are e^d.
func TestWeigh(t *testing.T) {
	eachPath(t, func(t *testing.T, path Path) {
		r := rand.New(rand.NewPCG(3, 4))
		const top, inverse = 1.5, 0.75
		for _, n := range lengths() {
			x, want := make([]float32, n), make([]float32, n)
			for i := range x {
				x[i] = top - float32(120*r.Float64())
				if d := (x[i] - top) * inverse; d > -80 {
					want[i] = device.Weight(d)
				}
			}
			g, y := newGuarded(n, n%5)
			path.Weigh(y, x, top, inverse)
			g.check(t, "weights", n)
			sameBits(t, "weights", y, want)
		}
	})
}
