package vec

import "hone/device"

// Weigh computes y = e^((x-top)·inverse), the weights of tokens to be drawn (device.Weight), and 0 for e^-80 and less. top is the
// largest x, and finite.
func (path Path) Weigh(y, x []float32, top, inverse float32) {
	if len(x) == 0 || path.doorWeigh(&y[:len(x)][0], &x[0], len(x), top, inverse) {
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

// ExpSum computes y = exp(x-sub) and returns the sum of y; y may be x.
func (path Path) ExpSum(y, x []float32, sub float32) float32 {
	y = y[:len(x)]
	if len(x) <= Piece {
		return path.expSumPiece(y, x, sub)
	}
	return pairwise(len(x), func(lo, hi int) float32 { return path.expSumPiece(y[lo:hi], x[lo:hi], sub) })
}

// Softmax computes y = softmax(x) of one row; y may be x.
func (path Path) Softmax(y, x []float32) {
	if n := len(x); 0 < n && n <= Piece && path.doorSoftmax(&y[:n][0], &x[0], n) {
		return
	}
	sum := path.ExpSum(y, x, path.Max(x))
	path.Scale(y[:len(x)], 1/sum)
}

// MaxExpSum finds m, the largest x·scale, computes y = exp(x·scale-m) and returns m and the sum of y; y may be x.
// scale is above 0, and len(x) at most Piece.
func (path Path) MaxExpSum(y, x []float32, scale float32) (m, sum float32) {
	n := len(x)
	if n > 0 && path.doorMaxExpSum(&y[:n][0], &x[0], n, scale, &m, &sum) {
		return m, sum
	}
	m = path.Max(x) * scale
	for i, v := range x {
		y[i] = v * scale
	}
	return m, path.ExpSum(y[:n], y[:n], m)
}

// ScoreGrad computes p = exp(p·scale-sub) and g = (g-delta)·p.
func (path Path) ScoreGrad(p, g []float32, scale, sub, delta float32) {
	n := len(p)
	if n == 0 || path.doorScoreGrad(&p[0], &g[:n][0], n, scale, sub, delta) {
		return
	}
	path.Scale(p, scale)
	path.ExpSum(p, p, sub)
	for i, v := range p {
		g[i] = (g[i] - delta) * v
	}
}

// ExpMoments returns Σ exp(x-sub) and Σ exp(x-sub)·(x-sub); a term of the
// second with x = -Inf is 0. len(x) is at most Piece.
func (path Path) ExpMoments(x []float32, sub float32) (sum, weighted float32) {
	n := len(x)
	if n > 0 && !path.doorExpMoments(&x[0], n, sub, &sum, &weighted) {
		return genericExpMoments(x, sub)
	}
	return sum, weighted
}

// SoftmaxGrad are the numbers of Path.SoftmaxGrad.
type SoftmaxGrad struct{ Sub, A, B, C float32 }

// SoftmaxGrad computes y = exp(x-sub)·(a + b·(x-sub)) + c; y may be x.
func (path Path) SoftmaxGrad(y, x []float32, g SoftmaxGrad) {
	n := len(x)
	if n == 0 {
		return
	}
	y = y[:n]
	if !path.doorSoftmaxGrad(&y[0], &x[0], n, g.Sub, g.A, g.B, g.C) {
		genericSoftmaxGrad(y, x, g)
	}
}

func (path Path) expSumPiece(y, x []float32, sub float32) (s float32) {
	if len(x) > 0 && !path.doorExpSum(&y[0], &x[0], len(x), sub, &s) {
		s = genericExpSum(y, x, sub)
	}
	return s
}
