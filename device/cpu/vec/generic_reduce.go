package vec

import "math"

// Sums run in eight partial ones, element i in sum i%8, as a vector of AVX2 has them: one sum would wait for each addition to end before the
// next, and its error would grow with the length and not with an eighth of it.

// fold8 adds eight partial sums in pairs, halves first, as the assembly folds a vector.
func fold8(s *[8]float32) float32 {
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

func genericSum(x []float32) float32 {
	var s [8]float32
	for ; len(x) >= 8; x = x[8:] {
		for j := range s {
			s[j] += x[j]
		}
	}
	for j, v := range x {
		s[j] += v
	}
	return fold8(&s)
}

func genericSumSquares(x []float32, sub float32) float32 {
	var s [8]float32
	for ; len(x) >= 8; x = x[8:] {
		for j := range s {
			d := x[j] - sub
			s[j] += d * d
		}
	}
	for j, v := range x {
		d := v - sub
		s[j] += d * d
	}
	return fold8(&s)
}

func genericDot(a, b []float32) float32 {
	var s [8]float32
	for ; len(a) >= 8; a, b = a[8:], b[8:] {
		for j := range s {
			s[j] += a[j] * b[j]
		}
	}
	for j, v := range a {
		s[j] += v * b[j]
	}
	return fold8(&s)
}

// genericMax is NaN where one of x is: the max of the language says so, a comparison would lose it.
func genericMax(x []float32) float32 {
	m := -inf32
	for _, v := range x {
		m = max(m, v)
	}
	return m
}

func genericMaxAbs(x []float32) float32 {
	var m float32
	for _, v := range x {
		m = max(m, abs32(v))
	}
	return m
}

func genericNonFinite(x []float32) int {
	c := 0
	for _, v := range x {
		if v-v != 0 { // NaN for what is not finite, and NaN differs from all
			c++
		}
	}
	return c
}

func genericExpSum(y, x []float32, sub float32) float32 {
	var s [8]float32
	for i, v := range x {
		e := exp32(v - sub)
		y[i] = e
		s[i&7] += e
	}
	return fold8(&s)
}

// momentMin bounds x-sub in the weighted sum: exp is 0 there already, and 0·-Inf would be NaN.
const momentMin = -1e30

func genericExpMoments(x []float32, sub float32) (sum, weighted float32) {
	var s, w [8]float32
	for i, v := range x {
		d := v - sub
		e := exp32(d)
		s[i&7] += e
		w[i&7] += e * max(d, momentMin)
	}
	return fold8(&s), fold8(&w)
}

func genericSoftmaxGrad(y, x []float32, g SoftmaxGrad) {
	for i, v := range x {
		d := v - g.Sub
		y[i] = exp32(d)*(g.B*max(d, momentMin)+g.A) + g.C
	}
}

func genericNormApply(y, x, w, b []float32, mean, rstd float32) {
	if b == nil {
		for i, v := range x {
			y[i] = (v - mean) * rstd * w[i]
		}
		return
	}
	for i, v := range x {
		y[i] = (v-mean)*rstd*w[i] + b[i]
	}
}

func genericNormDots(dy, w, x []float32, mean float32) (float32, float32) {
	var s, sx [8]float32
	for i, v := range dy {
		g := v * w[i]
		s[i&7] += g
		sx[i&7] += g * (x[i] - mean)
	}
	return fold8(&s), fold8(&sx)
}

// genericNormGrad adds to dw and overwrites dx, which may be dy: an element is read before its place is written.
func genericNormGrad(g *NormGrad, k normCoefficients) {
	for i, dy := range g.DY {
		d := g.X[i] - g.Mean
		g.DW[i] += dy * (d * g.Rstd)
		g.DX[i] = k.a*(dy*g.W[i]) + (k.b*d + k.c)
	}
}

// genericAdamW reads what NewAdamW folded: 1/(1-β1^t) is in the step, 1/(1-β2^t) in corr2, and keep is 1 - rate·decay, so that decay takes of
// the parameter as it was before the step, as torch does.
func genericAdamW(p, g, m, v []float32, a *AdamW) {
	for i, gi := range g {
		gi *= a.scale
		mi := a.beta1*m[i] + a.rest1*gi
		vi := a.beta2*v[i] + a.rest2*(gi*gi)
		m[i], v[i] = mi, vi
		root := float32(math.Sqrt(float64(vi * a.corr2)))
		p[i] = p[i]*a.keep - a.step*mi/(root+a.eps)
	}
}
