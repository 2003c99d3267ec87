package cpu

import (
	"math"

	"hone/device"
	"hone/internal/half"
)

// This file is the one place where kernels meet rows of float32. Each function
// handles every length and any alignment, takes the widest instructions that the
// machine has (the ...Door functions, see vec_amd64.go) and else the generic
// code of vec_generic.go. NaN and Inf pass through all of them. A sum runs in
// an order that the length alone fixes, on one machine and one vector width.
//
// For other kernels of this package, the attention ones above all:
//
//	vecExpSum(y, x, sub) sum   y = exp(x-sub), returns the sum of y; y may be x
//	vecMax(x) max              NaN if any x is; -Inf for no elements
//	vecScale(x, a)             x *= a
//	vecAxpy(y, a, x)           y += a*x
//	vecDot(a, b) dot
//	vecSoftmax(y, x)           y = softmax(x) of one row; y may be x
//	vecUnary(op, y, x)         y = op(x), e.g. device.Tanh; y may be x
//	vecUnaryGrad(op, d, x, dy) d = op'(x)*dy; d may be dy
//	vecAdd(y, a, b), vecMul(y, a, b)
//	vecBF16ToF32(y, x), vecF32ToBF16(y, x)

// vecLane is the most elements that a sum adds up in one go. Longer sums add
// the sums of such pieces in pairs, so that their error grows with the logarithm of the length.
const vecLane = 4096

// vecUnary computes y = op(x); y may be x.
func vecUnary(op device.UnaryOp, y, x []float32) {
	n := len(x)
	if n == 0 {
		return
	}
	y = y[:n]
	if op == device.Identity {
		copy(y, x)
		return
	}
	if !vecUnaryDoor(op, &y[0], &x[0], n) {
		genericUnary(op, y, x)
	}
}

// vecUnaryGrad computes d = op'(x)·dy; d may be dy or x.
func vecUnaryGrad(op device.UnaryOp, d, x, dy []float32) {
	n := len(x)
	if n == 0 {
		return
	}
	d, dy = d[:n], dy[:n]
	if op == device.Identity {
		copy(d, dy)
		return
	}
	if !vecUnaryGradDoor(op, &d[0], &x[0], &dy[0], n) {
		genericUnaryGrad(op, d, x, dy)
	}
}

// vecUnaryBoth computes y = op(x) and d = op'(x)·d.
func vecUnaryBoth(op device.UnaryOp, y, d, x []float32) {
	n := len(x)
	if n > 0 && !vecUnaryBothDoor(op, &y[:n][0], &d[:n][0], &x[0], n) {
		vecUnary(op, y, x)
		vecUnaryGrad(op, d, x, d)
	}
}

// vecBinary computes y = a op b; y may be a or b.
func vecBinary(op device.BinaryOp, y, a, b []float32) {
	n := len(a)
	if n == 0 {
		return
	}
	y, b = y[:n], b[:n]
	if !vecBinaryDoor(op, &y[0], &a[0], &b[0], n) {
		genericBinary(op, y, a, b)
	}
}

func vecAdd(y, a, b []float32) { vecBinary(device.Add, y, a, b) }
func vecMul(y, a, b []float32) { vecBinary(device.Mul, y, a, b) }

// vecAxpy computes y += a·x.
func vecAxpy(y []float32, a float32, x []float32) {
	n := len(x)
	if n == 0 {
		return
	}
	y = y[:n]
	if !vecAxpyDoor(&y[0], &x[0], n, a) {
		genericAxpy(y, a, x)
	}
}

// vecScale computes x *= a.
func vecScale(x []float32, a float32) {
	if len(x) > 0 && !vecScaleDoor(&x[0], len(x), a) {
		genericScale(x, a)
	}
}

// vecFill sets x to v.
func vecFill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

// vecGated computes y = act(gate)·up for the activations vecHasGated names; y may be any operand.
func vecGated(act device.UnaryOp, y, gate, up []float32) {
	n := len(gate)
	if n == 0 {
		return
	}
	y, up = y[:n], up[:n]
	if !vecGatedDoor(act, &y[0], &gate[0], &up[0], n) {
		vecUnary2(y, gate, up, act)
	}
}

// vecUnary2 is vecGated for every activation. It computes in pieces so that y may be up.
func vecUnary2(y, gate, up []float32, act device.UnaryOp) {
	var tmp [256]float32
	for lo := 0; lo < len(gate); lo += len(tmp) {
		hi := min(lo+len(tmp), len(gate))
		t := tmp[:hi-lo]
		vecUnary(act, t, gate[lo:hi])
		vecMul(y[lo:hi], t, up[lo:hi])
	}
}

// gatedGrad are the operands of vecGatedGrad, all of the same length.
type gatedGrad struct{ dgate, dup, gate, up, dy []float32 }

// vecGatedGrad computes dgate = act'(gate)·up·dy and dup = act(gate)·dy. Each
// output may be any input.
func vecGatedGrad(act device.UnaryOp, g gatedGrad) {
	n := len(g.gate)
	if n == 0 {
		return
	}
	if !vecGatedGradDoor(act, &g.dgate[:n][0], &g.dup[:n][0], &g.gate[0], &g.up[:n][0], &g.dy[:n][0], n) {
		genericGatedGrad(act, g)
	}
}

// vecGatedBoth computes y = act(gate)·up, dgate = act'(gate)·up·d and d = act(gate)·d.
func vecGatedBoth(act device.UnaryOp, y, dgate, d, gate, up []float32) {
	n := len(gate)
	if n > 0 && !vecGatedBothDoor(act, &y[:n][0], &dgate[:n][0], &d[:n][0], &gate[0], &up[:n][0], n) {
		vecGated(act, y, gate, up)
		vecGatedGrad(act, gatedGrad{dgate, d, gate, up, d})
	}
}

func genericGatedGrad(act device.UnaryOp, g gatedGrad) {
	var a, b [256]float32
	for lo := 0; lo < len(g.gate); lo += len(a) {
		hi := min(lo+len(a), len(g.gate))
		gate, dy := g.gate[lo:hi], g.dy[lo:hi]
		ta, tb := a[:hi-lo], b[:hi-lo]
		vecUnary(act, ta, gate)
		vecMul(ta, ta, dy)
		vecUnaryGrad(act, tb, gate, dy)
		vecMul(tb, tb, g.up[lo:hi])
		copy(g.dup[lo:hi], ta)
		copy(g.dgate[lo:hi], tb)
	}
}

// vecDropout computes y[i] = x[i]·scale where the random number of element
// index+i is at least threshold, else 0. k is splitmix64 of the key with the high half
// of the index folded into its own; index+len(x) must not pass 2³².
func vecDropout(y, x []float32, d dropoutKey, index uint32) {
	n := len(x)
	if n == 0 {
		return
	}
	y = y[:n]
	if !vecDropoutDoor(&y[0], &x[0], n, d.scale, d.lo, d.hi, d.threshold, index) {
		genericDropout(y, x, d, index)
	}
}

// vecSum is the sum of x.
func vecSum(x []float32) float32 {
	if len(x) <= vecLane {
		return sumPiece(x)
	}
	return pairwise(len(x), func(lo, hi int) float32 { return sumPiece(x[lo:hi]) })
}

// The pieces of sums: at most vecLane elements. Rows are seldom longer, and short ones cost more to divide than to add.

func sumPiece(x []float32) (s float32) {
	if len(x) > 0 && !vecSumDoor(&x[0], len(x), &s) {
		s = genericSum(x)
	}
	return s
}

func sumSquaresPiece(x []float32, sub float32) (s float32) {
	if len(x) > 0 && !vecSumSquaresDoor(&x[0], len(x), sub, &s) {
		s = genericSumSquares(x, sub)
	}
	return s
}

func dotPiece(a, b []float32) (s float32) {
	if len(a) > 0 && !vecDotDoor(&a[0], &b[0], len(a), &s) {
		s = genericDot(a, b)
	}
	return s
}

func expSumPiece(y, x []float32, sub float32) (s float32) {
	if len(x) > 0 && !vecExpSumDoor(&y[0], &x[0], len(x), sub, &s) {
		s = genericExpSum(y, x, sub)
	}
	return s
}

// vecSumSquares is the sum of (x-sub)².
func vecSumSquares(x []float32, sub float32) float32 {
	if len(x) <= vecLane {
		return sumSquaresPiece(x, sub)
	}
	return pairwise(len(x), func(lo, hi int) float32 { return sumSquaresPiece(x[lo:hi], sub) })
}

// vecDot is the sum of a·b.
func vecDot(a, b []float32) float32 {
	b = b[:len(a)]
	if len(a) <= vecLane {
		return dotPiece(a, b)
	}
	return pairwise(len(a), func(lo, hi int) float32 { return dotPiece(a[lo:hi], b[lo:hi]) })
}

// pairwise adds f over pieces of vecLane elements of [0, n) in a binary tree.
func pairwise(n int, f func(lo, hi int) float32) float32 {
	var t sumTree
	for lo := 0; lo < n; lo += vecLane {
		t.add(f(lo, min(lo+vecLane, n)))
	}
	return t.total()
}

// sumTree adds numbers in pairs, then pairs of pairs, and so on: level l holds
// the sum of 2^l numbers when bit l of count is set.
type sumTree struct {
	count uint64
	level [48]float32
}

func (t *sumTree) add(v float32) {
	l := 0
	for ; t.count>>l&1 != 0; l++ {
		v = t.level[l] + v
	}
	t.level[l] = v
	t.count++
}

func (t *sumTree) total() float32 {
	var s float32
	for l := 0; t.count>>l != 0; l++ {
		if t.count>>l&1 != 0 {
			s = t.level[l] + s
		}
	}
	return s
}

// vecMax is the largest x, NaN if any is NaN, -Inf for no elements.
func vecMax(x []float32) float32 {
	var m float32
	if len(x) == 0 || !vecMaxDoor(&x[0], len(x), &m) {
		m = genericMax(x)
	}
	return m
}

// vecWeigh computes y = e^((x-top)·inverse), the weights of tokens to be drawn (device.Weight), and 0 for e^-80 and less. top is the
// largest x, and finite.
func vecWeigh(y, x []float32, top, inverse float32) {
	if len(x) == 0 || vecWeighDoor(&y[:len(x)][0], &x[0], len(x), top, inverse) {
		return
	}
	for i, v := range x {
		if d := (v - top) * inverse; d > -80 {
			y[i] = device.Weight(d)
		} else {
			y[i] = 0
		}
	}
}

// vecMaxAbs is the largest |x|, NaN if any is NaN, 0 for no elements.
func vecMaxAbs(x []float32) float32 {
	var m float32
	if len(x) == 0 || !vecMaxAbsDoor(&x[0], len(x), &m) {
		m = genericMaxAbs(x)
	}
	return m
}

// vecNonFinite counts the NaN and Inf elements of x.
func vecNonFinite(x []float32) int {
	count := 0
	const piece = 1 << 22 // a lane counts in float32, exact far beyond this
	for ; len(x) > piece; x = x[piece:] {
		count += vecNonFinitePiece(x[:piece])
	}
	return count + vecNonFinitePiece(x)
}

func vecNonFinitePiece(x []float32) int {
	var c float32
	if len(x) > 0 && vecNonFiniteDoor(&x[0], len(x), &c) {
		return int(c)
	}
	return genericNonFinite(x)
}

// vecExpSum computes y = exp(x-sub) and returns the sum of y; y may be x.
func vecExpSum(y, x []float32, sub float32) float32 {
	y = y[:len(x)]
	if len(x) <= vecLane {
		return expSumPiece(y, x, sub)
	}
	return pairwise(len(x), func(lo, hi int) float32 { return expSumPiece(y[lo:hi], x[lo:hi], sub) })
}

// vecSoftmax computes y = softmax(x) of one row; y may be x.
func vecSoftmax(y, x []float32) {
	if n := len(x); 0 < n && n <= vecLane && vecSoftmaxDoor(&y[:n][0], &x[0], n) {
		return
	}
	sum := vecExpSum(y, x, vecMax(x))
	vecScale(y[:len(x)], 1/sum)
}

// vecMaxExpSum finds m, the largest x·scale, computes y = exp(x·scale-m) and returns m and the sum of y; y may be x.
// scale is above 0, and len(x) at most vecLane.
func vecMaxExpSum(y, x []float32, scale float32) (m, sum float32) {
	n := len(x)
	if n > 0 && vecMaxExpSumDoor(&y[:n][0], &x[0], n, scale, &m, &sum) {
		return m, sum
	}
	m = vecMax(x) * scale
	for i, v := range x {
		y[i] = v * scale
	}
	return m, vecExpSum(y[:n], y[:n], m)
}

// vecScoreGrad computes p = exp(p·scale-sub) and g = (g-delta)·p.
func vecScoreGrad(p, g []float32, scale, sub, delta float32) {
	n := len(p)
	if n == 0 || vecScoreGradDoor(&p[0], &g[:n][0], n, scale, sub, delta) {
		return
	}
	vecScale(p, scale)
	vecExpSum(p, p, sub)
	for i, v := range p {
		g[i] = (g[i] - delta) * v
	}
}

// vecExpMoments returns Σ exp(x-sub) and Σ exp(x-sub)·(x-sub); a term of the
// second with x = -Inf is 0. len(x) is at most vecLane.
func vecExpMoments(x []float32, sub float32) (sum, weighted float32) {
	n := len(x)
	if n > 0 && !vecExpMomentsDoor(&x[0], n, sub, &sum, &weighted) {
		return genericExpMoments(x, sub)
	}
	return sum, weighted
}

// softmaxGrad are the numbers of vecSoftmaxGrad: y = exp(x-sub)·(a + b·(x-sub)) + c.
type softmaxGrad struct{ sub, a, b, c float32 }

// vecSoftmaxGrad computes y = exp(x-sub)·(a + b·(x-sub)) + c; y may be x.
func vecSoftmaxGrad(y, x []float32, g softmaxGrad) {
	n := len(x)
	if n == 0 {
		return
	}
	y = y[:n]
	if !vecSoftmaxGradDoor(&y[0], &x[0], n, g.sub, g.a, g.b, g.c) {
		genericSoftmaxGrad(y, x, g)
	}
}

// vecNorm computes y = (x-mean)·rstd·w + b with rstd = 1/sqrt(mean of (x-mean)² + eps), where mean is that of the row or, without
// center, 0. y may be x. b may be nil.
func vecNorm(y, x, w, b []float32, center bool, eps float32) (mean, rstd float32) {
	n := len(x)
	if 0 < n && n <= vecLane {
		y, w, c := y[:n], w[:n], float32(n)
		switch {
		case !center && b == nil && vecRMSNormDoor(&y[0], &x[0], &w[0], n, c, eps, &rstd):
			return 0, rstd
		case center && b != nil && vecLayerNormDoor(&y[0], &x[0], &w[0], &b[:n][0], n, c, eps, &mean, &rstd):
			return mean, rstd
		}
	}
	if center {
		mean = vecSum(x) / float32(n)
	}
	square := vecSumSquares(x, mean) / float32(n)
	rstd = float32(1 / math.Sqrt(float64(square+eps)))
	vecNormApply(y, x, w, b, mean, rstd)
	return mean, rstd
}

// vecNormBF16 is vecNorm on rows of bf16, where the machine has kernels for it.
func vecNormBF16(y, x []uint16, w, b []float32, center bool, eps float32, mean, rstd *float32) bool {
	n := len(x)
	if n == 0 || n > vecLane || center != (b != nil) {
		return false
	}
	y, w, c := y[:n], w[:n], float32(n)
	if !center {
		return vecRMSNormBF16Door(&y[0], &x[0], &w[0], n, c, eps, rstd)
	}
	return vecLayerNormBF16Door(&y[0], &x[0], &w[0], &b[:n][0], n, c, eps, mean, rstd)
}

// vecNormApply computes y = (x-mean)·rstd·w + b; y may be x. b may be nil.
func vecNormApply(y, x, w, b []float32, mean, rstd float32) {
	n := len(x)
	if n == 0 {
		return
	}
	y, w = y[:n], w[:n]
	if b == nil {
		if !vecNormScaleDoor(&y[0], &x[0], &w[0], n, mean, rstd) {
			genericNormApply(y, x, w, nil, mean, rstd)
		}
		return
	}
	b = b[:n]
	if !vecNormAffineDoor(&y[0], &x[0], &w[0], &b[0], n, mean, rstd) {
		genericNormApply(y, x, w, b, mean, rstd)
	}
}

// vecNormDots returns Σ dy·w and Σ dy·w·(x-mean).
func vecNormDots(dy, w, x []float32, mean float32) (s, sx float32) {
	n := len(dy)
	w, x = w[:n], x[:n]
	var t, tx sumTree
	for lo := 0; lo < n; lo += vecLane {
		hi := min(lo+vecLane, n)
		if !vecNormDotsDoor(&dy[lo], &w[lo], &x[lo], hi-lo, mean, &s, &sx) {
			s, sx = genericNormDots(dy[lo:hi], w[lo:hi], x[lo:hi], mean)
		}
		if n <= vecLane {
			return s, sx
		}
		t.add(s)
		tx.add(sx)
	}
	return t.total(), tx.total()
}

// normGradRow are the operands of vecNormGradApply: rows of the same length and
// the numbers of the row.
type normGradRow struct {
	dx, dy, x, w, dw []float32
	mean, rstd       float32
	a, b, c          float32
}

// coefficients sets a, b and c for the means over the row of dy·w and dy·w·(x-mean).
func (g *normGradRow) coefficients(mean, dot float32, center bool) {
	g.a = g.rstd
	g.b = -g.rstd * g.rstd * g.rstd * dot
	if center {
		g.c = -g.rstd * mean
	}
}

// vecNormGradApply computes dx = a·dy·w + b·(x-mean) + c and, before it, dw += dy·(x-mean)·rstd.
// dx may be dy.
func vecNormGradApply(g normGradRow) {
	n := len(g.dy)
	if n == 0 {
		return
	}
	if !vecNormGradDoor(&g.dx[:n][0], &g.dy[0], &g.x[:n][0], &g.w[:n][0], &g.dw[:n][0], n, g.mean, g.rstd, g.a, g.b, g.c) {
		genericNormGrad(g)
	}
}

// adamw are the numbers of vecAdamW, with the bias corrections folded in.
type adamw struct {
	scale, beta1, rest1, beta2, rest2 float32 // rest = 1-beta
	step, corr2, eps, keep            float32 // step = lr/(1-beta1^t), corr2 = 1/(1-beta2^t), keep = 1-lr·decay
}

// vecAdamW computes g = scale·g; m = beta1·m + rest1·g; v = beta2·v + rest2·g²;
// p = p·keep - step·m/(sqrt(v·corr2)+eps).
func vecAdamW(p, g, m, v []float32, a *adamw) {
	n := len(p)
	if n == 0 {
		return
	}
	g, m, v = g[:n], m[:n], v[:n]
	if !vecAdamWDoor(&p[0], &g[0], &m[0], &v[0], n,
		a.scale, a.beta1, a.rest1, a.beta2, a.rest2, a.step, a.corr2, a.eps, a.keep) {
		genericAdamW(p, g, m, v, a)
	}
}

// vecBF16ToF32 widens x into y, which has at least its length.
func vecBF16ToF32(y []float32, x []uint16) {
	y = y[:len(x)]
	if n := len(x) &^ 15; n > 0 && vecWidenDoor(&y[0], &x[0], n) {
		y, x = y[n:], x[n:]
	}
	half.BWiden(y, x)
}

// vecF32ToBF16 rounds x into y, which has at least its length, to nearest even.
func vecF32ToBF16(y []uint16, x []float32) {
	y = y[:len(x)]
	if n := len(x) &^ 15; n > 0 && vecRoundDoor(&y[0], &x[0], n) {
		y, x = y[n:], x[n:]
	}
	half.BRound(y, x)
}
