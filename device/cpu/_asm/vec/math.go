package main

import "math"

// The formulas of package vec (generic.go), vector by vector; the constants are the same.

const (
	log2e   = 1.44269504088896341
	ln2High = 0.693359375
	ln2Low  = -2.12194440054690583e-4
)

// exp is e^x: 0 below -86.99, Inf above 88.7229, NaN stays. Adding magic to
// x·log2e leaves round(x·log2e)+126 in the low bits, which a shift makes the
// scale 2^(n-1); the polynomial yields 2·exp(r), so n = 128 needs no care.
func (b *body) exp(x value) value {
	const magic = 3<<22 + 126
	x = b.atMost(b.c(89), x)
	x = b.atLeast(b.c(-87.5), x)
	t := b.fma(x, b.c(log2e), b.c(magic))
	n := b.sub(t, b.c(magic))
	r := b.fnma(n, b.c(ln2High), x)
	r = b.fnma(n, b.c(ln2Low), r)
	p := b.poly(r, 2, 2, 2*0.4999999403953552, 2*0.1666652113199234, 2*0.04166838899254799, 2*0.008368716575205326, 2*0.001381459878757596)
	return b.mul(p, b.shl(t, 23))
}

// weight is e^d for d <= 0, 0 below -80, by the operations of device.Weight: each is rounded, so that all devices draw the same tokens.
func (b *body) weight(d value) value {
	t := b.mul(d, b.c(1.44269504))
	n := b.trunc(b.sub(t, b.c(0.5)))
	f := b.sub(t, b.float(n))
	p := b.c(1.33813025e-3)
	for _, c := range []float64{9.66636852e-3, 5.55038101e-2, 0.240223490, 0.693147181, 1} {
		p = b.add(b.mul(f, p), b.c(c))
	}
	w := b.mul(p, b.shl(b.iadd(n, b.bits(127)), 23))
	return b.sel(cmpLT, b.c(-80), d, w, b.c(0))
}

func (b *body) abs(x value) value { return b.and(x, b.bits(0x7fffffff)) }
func (b *body) neg(x value) value { return b.xor(x, b.bits(0x80000000)) }

// onePlusExpNeg is 1 + exp(-x).
func (b *body) onePlusExpNeg(x value) value { return b.add(b.exp(b.neg(x)), b.c(1)) }

func (b *body) sigmoid(x value) value { return b.div(b.c(1), b.onePlusExpNeg(x)) }
func (b *body) silu(x value) value    { return b.div(x, b.onePlusExpNeg(x)) }

// siluBoth is silu and its derivative.
func (b *body) siluBoth(x value) (act, slope value) {
	s := b.sigmoid(x)
	return b.mul(x, s), b.mul(s, b.fma(x, b.sub(b.c(1), s), b.c(1)))
}

const (
	geluA = 1.5957691216057308
	geluB = 1.5957691216057308 * 0.044715
)

// geluArgument is 2·sqrt(2/pi)·(x + 0.044715x³).
func (b *body) geluArgument(x value) value {
	return b.mul(x, b.fma(b.mul(x, x), b.c(geluB), b.c(geluA)))
}

func (b *body) gelu(x value) value { return b.div(x, b.onePlusExpNeg(b.geluArgument(x))) }

func (b *body) geluBoth(x value) (act, slope value) {
	s := b.sigmoid(b.geluArgument(x))
	act = b.mul(x, s)
	c := b.atLeast(b.c(-12), b.atMost(b.c(12), x))
	du := b.fma(b.mul(c, c), b.c(3*geluB), b.c(geluA))
	return act, b.fma(b.mul(act, b.sub(b.c(1), s)), du, s)
}

// normal is the normal distribution function at x, and exp(-x²/2).
func (b *body) normal(x value) (cdf, e value) {
	t := b.div(b.c(1), b.fma(b.abs(x), b.c(0.4*0.70710678118654752), b.c(1)))
	r := b.poly(t, 0.22563423216342926, 0.2264431118965149, 0.2018875926733017, 0.19339324533939362, 0.07975633442401886,
		0.08796468377113342, 0.08398689329624176, -0.14031898975372314, 0.0412529818713665)
	e = b.exp(b.mul(b.mul(x, b.c(-0.5)), x))
	q := b.mul(b.mul(e, b.c(0.5)), b.mul(r, t))
	return b.sel(cmpLT, b.c(0), x, b.sub(b.c(1), q), q), e
}

func (b *body) geluErfGrad(x value) value {
	cdf, e := b.normal(x)
	return b.fma(b.mul(x, b.c(0.3989422804014327)), e, cdf)
}

// tanh is sign(x)·m/(m+2) with m = exp(2|x|)-1.
func (b *body) tanh(x value) value {
	const magic = 3<<22 + 127
	a := b.abs(x)
	a = b.atMost(b.c(20), b.add(a, a))
	t := b.fma(a, b.c(log2e), b.c(magic))
	n := b.sub(t, b.c(magic))
	r := b.fnma(n, b.c(ln2High), a)
	r = b.fnma(n, b.c(ln2Low), r)
	q := b.poly(r, 0.5, 0.1666666716337204, 0.04166632518172264, 0.008333220146596432, 0.0013943209778517485, 0.0001996217470150441)
	p := b.fma(b.mul(q, r), r, r)
	s := b.shl(t, 23)
	m := b.fma(p, s, b.sub(s, b.c(1)))
	return b.or(b.div(m, b.add(m, b.c(2))), b.and(x, b.bits(0x80000000)))
}

// logPoly is log(1+f) + k·ln2.
func (b *body) logPoly(f, k value) value {
	p := b.poly(f, 0.3333333134651184, -0.2500081956386566, 0.20001226663589478, -0.16623356938362122,
		0.14201758801937103, -0.13160182535648346, 0.12761574983596802, -0.07634494453668594)
	p = b.fma(p, f, b.c(-0.5))
	t := b.fma(k, b.c(ln2Low), b.mul(b.mul(f, f), p))
	return b.fma(k, b.c(ln2High), b.add(f, t))
}

// log is ln x: -Inf for 0, NaN below it, right for denormals.
func (b *body) log(x value) value {
	tiny := b.c(math.SmallestNonzeroFloat32 * (1 << 23)) // the least normal number
	y := b.sel(cmpLT, x, tiny, b.mul(x, b.c(1<<23)), x)
	bias := b.sel(cmpLT, x, tiny, b.c(-23), b.c(0))
	e := b.and(b.isub(y, b.bits(0x3f3504f3)), b.bits(0xff800000))
	f := b.sub(b.isub(y, e), b.c(1))
	r := b.logPoly(f, b.add(b.float(b.sra(e, 23)), bias))
	inf := b.bits(0x7f800000)
	r = b.sel(cmpLT, x, inf, r, x) // also NaN stays
	r = b.sel(cmpLT, x, b.c(0), b.bits(0x7fc00000), r)
	return b.sel(cmpEQ, x, b.c(0), b.bits(0xff800000), r)
}

// logSigmoid is min(x,0) - log1p(exp(-|x|)).
func (b *body) logSigmoid(x value) value {
	e := b.exp(b.or(x, b.bits(0x80000000)))
	half := b.c(0.41421356)
	f := b.sel(cmpLT, half, e, b.mul(b.sub(e, b.c(1)), b.c(0.5)), e)
	k := b.sel(cmpLT, half, e, b.c(1), b.c(0))
	return b.sub(b.atMost(b.c(0), x), b.logPoly(f, k))
}

// fmix is the finalizer of MurmurHash3.
func (b *body) fmix(x value) value {
	x = b.xor(x, b.shr(x, 16))
	x = b.imul(x, b.bits(0x85ebca6b))
	x = b.xor(x, b.shr(x, 13))
	x = b.imul(x, b.bits(0xc2b2ae35))
	return b.xor(x, b.shr(x, 16))
}
