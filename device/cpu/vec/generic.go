package vec

import (
	"fmt"
	"math"

	"hone/device"
)

// The portable functions. The assembly follows the same formulas (see
// _asm/vec), so that both have the same error bounds.

var (
	inf32 = float32(math.Inf(1))
	nan32 = float32(math.NaN())
)

// Constants of exp32: x = n·ln2 + r with ln2 in two parts, of which the first
// has so few bits that n times it is exact, and exp(r) = 1 + r + r²·q(r) with a minimax q (relative error 3e-9).
const (
	log2e   = 1.44269504088896341
	ln2High = 0.693359375
	ln2Low  = -2.12194440054690583e-4
	expMax  = 89     // exp is Inf from 88.7229
	expMin  = -87.5  // exp is 0 below -86.99, where it is 1.66e-38
	twoOver = 1 << 1 // the polynomial yields 2·exp(r), the scale 2^(n-1), so that n = 128 has no overflow of its own
)

const (
	expQ0 = 0.4999999403953552
	expQ1 = 0.1666652113199234
	expQ2 = 0.04166838899254799
	expQ3 = 0.008368716575205326
	expQ4 = 0.001381459878757596
)

// exp32 is e^x within 2 ulp: +Inf above 88.7229, 0 below -86.99 (results under
// 1.66e-38 are flushed), NaN for NaN.
func exp32(x float32) float32 {
	if x > expMax {
		x = expMax
	}
	if x < expMin {
		x = expMin
	}
	n := float32(math.RoundToEven(float64(x * log2e)))
	r := x - n*ln2High
	r -= n * ln2Low
	q := (((expQ4*r+expQ3)*r+expQ2)*r+expQ1)*r + expQ0
	p := ((q*r+1)*r + 1) * twoOver
	if n != n {
		return x
	}
	return p * math.Float32frombits(uint32(int32(n)+126)<<23)
}

const (
	em1Q1 = 0.1666666716337204
	em1Q2 = 0.04166632518172264
	em1Q3 = 0.008333220146596432
	em1Q4 = 0.0013943209778517485
	em1Q5 = 0.0001996217470150441
)

// tanh32 is tanh x = sign(x)·m/(m+2), m = exp(2|x|)-1, computed without
// cancellation near 0.
func tanh32(x float32) float32 {
	a := 2 * abs32(x)
	if a > 20 {
		a = 20 // tanh 10 is 1
	}
	n := float32(math.RoundToEven(float64(a * log2e)))
	if n != n {
		return x
	}
	r := a - n*ln2High
	r -= n * ln2Low
	q := ((((em1Q5*r+em1Q4)*r+em1Q3)*r+em1Q2)*r+em1Q1)*r + 0.5
	p := q*r*r + r
	s := math.Float32frombits(uint32(int32(n)+127) << 23)
	m := p*s + (s - 1)
	return copysign32(m/(m+2), x)
}

func sigmoid32(x float32) float32 { return 1 / (1 + exp32(-x)) }
func silu32(x float32) float32    { return x / (1 + exp32(-x)) }

// silu's derivative is s·(1 + x·(1-s)) with s = sigmoid(x).
func siluGrad32(x float32) float32 {
	s := sigmoid32(x)
	return s * (1 + x*(1-s))
}

// GELU's tanh form is x·sigmoid(2u), u = sqrt(2/pi)·(x + 0.044715x³): no
// cancellation for negative x.
const (
	geluA = 1.5957691216057308            // 2·sqrt(2/pi)
	geluB = 1.5957691216057308 * 0.044715 // and of the cubic term
)

func gelu32(x float32) float32 { return x / (1 + exp32(-x*(geluA+geluB*x*x))) }

func geluGrad32(x float32) float32 {
	s := sigmoid32(x * (geluA + geluB*x*x))
	c := min(max(x, -12), 12) // beyond it s·(1-s) is 0, but x² may be Inf
	return s + x*(s*(1-s))*(geluA+3*geluB*c*c)
}

// erfcx(z) = exp(z²)·erfc(z) = t·R(t) with t = 1/(1+0.4z), minimax on z in [0, 10] (relative error 6e-8).
const (
	erfcR0 = 0.22563423216342926
	erfcR1 = 0.2264431118965149
	erfcR2 = 0.2018875926733017
	erfcR3 = 0.19339324533939362
	erfcR4 = 0.07975633442401886
	erfcR5 = 0.08796468377113342
	erfcR6 = 0.08398689329624176
	erfcR7 = -0.14031898975372314
	erfcR8 = 0.0412529818713665

	halfErfcStep = 0.4 * 0.70710678118654752 // 0.4/sqrt(2)
	normalDense  = 0.3989422804014327        // 1/sqrt(2pi)
)

// normal32 returns the normal distribution function at x and exp(-x²/2).
func normal32(x float32) (cdf, e float32) {
	a := abs32(x)
	t := 1 / (1 + halfErfcStep*a)
	r := (((((((erfcR8*t+erfcR7)*t+erfcR6)*t+erfcR5)*t+erfcR4)*t+erfcR3)*t+erfcR2)*t+erfcR1)*t + erfcR0
	e = exp32(-0.5 * x * x)
	q := 0.5 * e * (r * t)
	if x > 0 {
		q = 1 - q
	}
	return q, e
}

func geluErf32(x float32) float32 {
	cdf, _ := normal32(x)
	return x * cdf
}

func geluErfGrad32(x float32) float32 {
	cdf, e := normal32(x)
	return cdf + x*(e*normalDense)
}

// relu32 keeps NaN.
func relu32(x float32) float32 {
	if x < 0 {
		return 0
	}
	return x
}

// log of 1+f for 1+f in [sqrt(1/2), sqrt 2] is f - f²/2 + f³·P(f) with a minimax P.
const (
	logP0 = 0.3333333134651184
	logP1 = -0.2500081956386566
	logP2 = 0.20001226663589478
	logP3 = -0.16623356938362122
	logP4 = 0.14201758801937103
	logP5 = -0.13160182535648346
	logP6 = 0.12761574983596802
	logP7 = -0.07634494453668594

	sqrtHalfBits = 0x3f3504f3
	minNormal    = 0x1p-126
)

// logPoly is log(1+f) + k·ln2.
func logPoly(f, k float32) float32 {
	p := ((((((logP7*f+logP6)*f+logP5)*f+logP4)*f+logP3)*f+logP2)*f+logP1)*f + logP0
	f2 := f * f
	t := f2*(p*f-0.5) + k*ln2Low
	return f + t + k*ln2High
}

// log32 is ln x: -Inf for 0, NaN below it, also right for denormals.
func log32(x float32) float32 {
	switch {
	case x != x || x == inf32:
		return x
	case x < 0:
		return nan32
	case x == 0:
		return -inf32
	}
	var k float32
	if x < minNormal {
		x *= 1 << 23
		k = -23
	}
	b := math.Float32bits(x)
	e := (b - sqrtHalfBits) & 0xff800000
	f := math.Float32frombits(b-e) - 1
	return logPoly(f, k+float32(int32(e)>>23))
}

// logSigmoid32 is min(x,0) - log1p(exp(-|x|)).
func logSigmoid32(x float32) float32 {
	e := exp32(-abs32(x))
	f, k := e, float32(0)
	if e > 0.41421356 {
		f, k = (e-1)*0.5, 1 // 1+e = 2·(1+f)
	}
	return min(x, 0) - logPoly(f, k)
}

func abs32(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func copysign32(x, sign float32) float32 {
	const s = 1 << 31
	return math.Float32frombits(math.Float32bits(x)&^s | math.Float32bits(sign)&s)
}

// unary32 is the scalar function of op.
func unary32(op device.UnaryOp) func(float32) float32 {
	switch op {
	case device.SiLU:
		return silu32
	case device.GELU:
		return gelu32
	case device.GELUErf:
		return geluErf32
	case device.ReLU:
		return relu32
	case device.Tanh:
		return tanh32
	case device.Sigmoid:
		return sigmoid32
	case device.Exp:
		return exp32
	case device.Log:
		return log32
	case device.Square:
		return func(x float32) float32 { return x * x }
	case device.LogSigmoid:
		return logSigmoid32
	}
	panic(badOp("unary", uint8(op)))
}

func genericUnary(op device.UnaryOp, y, x []float32) {
	f := unary32(op)
	for i, v := range x {
		y[i] = f(v)
	}
}

// grad32 is op'(x)·dy.
func grad32(op device.UnaryOp) func(x, dy float32) float32 {
	switch op {
	case device.SiLU:
		return func(x, dy float32) float32 { return siluGrad32(x) * dy }
	case device.GELU:
		return func(x, dy float32) float32 { return geluGrad32(x) * dy }
	case device.GELUErf:
		return func(x, dy float32) float32 { return geluErfGrad32(x) * dy }
	case device.ReLU:
		return reluGrad32
	case device.Tanh:
		return func(x, dy float32) float32 { t := tanh32(x); return (1 - t*t) * dy }
	case device.Sigmoid:
		return func(x, dy float32) float32 { s := sigmoid32(x); return s * (1 - s) * dy }
	case device.Exp:
		return func(x, dy float32) float32 { return exp32(x) * dy }
	case device.Log:
		return func(x, dy float32) float32 { return dy / x }
	case device.Square:
		return func(x, dy float32) float32 { return 2 * x * dy }
	case device.LogSigmoid:
		return func(x, dy float32) float32 { return sigmoid32(-x) * dy }
	}
	panic(badOp("unary", uint8(op)))
}

// reluGrad32 is 0 up to 0; a NaN x lets dy through.
func reluGrad32(x, dy float32) float32 {
	if x <= 0 {
		return 0
	}
	return dy
}

func genericUnaryGrad(op device.UnaryOp, d, x, dy []float32) {
	f := grad32(op)
	for i, v := range x {
		d[i] = f(v, dy[i])
	}
}

func genericBinary(op device.BinaryOp, y, a, b []float32) {
	switch op {
	case device.Add:
		for i, v := range a {
			y[i] = v + b[i]
		}
	case device.Sub:
		for i, v := range a {
			y[i] = v - b[i]
		}
	case device.Mul:
		for i, v := range a {
			y[i] = v * b[i]
		}
	case device.Div:
		for i, v := range a {
			y[i] = v / b[i]
		}
	case device.Max:
		for i, v := range a {
			y[i] = max(v, b[i])
		}
	case device.Min:
		for i, v := range a {
			y[i] = min(v, b[i])
		}
	default:
		panic(badOp("binary", uint8(op)))
	}
}

func genericAxpy(y []float32, a float32, x []float32) {
	for i, v := range x {
		y[i] += a * v
	}
}

func genericScale(x []float32, a float32) {
	for i := range x {
		x[i] *= a
	}
}

// fmix is the finalizer of MurmurHash3 (Appleby).
func fmix(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x85ebca6b
	x ^= x >> 13
	x *= 0xc2b2ae35
	return x ^ x>>16
}

func genericDropout(y, x []float32, d Dropout, index uint32) {
	for i, v := range x {
		r := fmix(fmix((index+uint32(i))^d.lo) + d.hi)
		if r < d.threshold {
			y[i] = 0
		} else {
			y[i] = v * d.scale
		}
	}
}

// badOp says which operation there is not.
func badOp(kind string, op uint8) string {
	return fmt.Sprintf("vec: no %s operation %d", kind, op)
}
