package vec

import "math"

// Norm computes y = (x-mean)·rstd·w + b with rstd = 1/sqrt(mean of (x-mean)² + eps), where mean is that of the row or, without
// center, 0. y may be x. b may be nil.
func (path Path) Norm(y, x, w, b []float32, center bool, eps float32) (mean, rstd float32) {
	n := len(x)
	if 0 < n && n <= Piece {
		y, w, c := y[:n], w[:n], float32(n)
		switch {
		case !center && b == nil && path.doorRMSNorm(&y[0], &x[0], &w[0], n, c, eps, &rstd):
			return 0, rstd
		case center && b != nil && path.doorLayerNorm(&y[0], &x[0], &w[0], &b[:n][0], n, c, eps, &mean, &rstd):
			return mean, rstd
		}
	}
	if center {
		mean = path.Sum(x) / float32(n)
	}
	square := path.SumSquares(x, mean) / float32(n)
	rstd = float32(1 / math.Sqrt(float64(square+eps)))
	path.normApply(y, x, w, b, mean, rstd)
	return mean, rstd
}

// NormBF16 is Norm on rows of bf16, where the path has kernels for it, and says whether it had.
func (path Path) NormBF16(y, x []uint16, w, b []float32, center bool, eps float32, mean, rstd *float32) bool {
	n := len(x)
	if n == 0 || n > Piece || center != (b != nil) {
		return false
	}
	y, w, c := y[:n], w[:n], float32(n)
	if !center {
		return path.doorRMSNormBF16(&y[0], &x[0], &w[0], n, c, eps, rstd)
	}
	return path.doorLayerNormBF16(&y[0], &x[0], &w[0], &b[:n][0], n, c, eps, mean, rstd)
}

// normApply computes y = (x-mean)·rstd·w + b; y may be x. b may be nil.
func (path Path) normApply(y, x, w, b []float32, mean, rstd float32) {
	n := len(x)
	if n == 0 {
		return
	}
	y, w = y[:n], w[:n]
	if b == nil {
		if !path.doorNormScale(&y[0], &x[0], &w[0], n, mean, rstd) {
			genericNormApply(y, x, w, nil, mean, rstd)
		}
		return
	}
	b = b[:n]
	if !path.doorNormAffine(&y[0], &x[0], &w[0], &b[0], n, mean, rstd) {
		genericNormApply(y, x, w, b, mean, rstd)
	}
}

// NormGrad are the operands of Path.NormGrad: rows of the same length and, of the row that was normed, mean and rstd.
type NormGrad struct {
	DX, DY, X, W, DW []float32
	Mean, Rstd       float32
	Center           bool
}

// NormGrad computes the gradient of a row that Norm computed, with g = dy·w and x' = x-mean,
//
//	dx = rstd·(g - x'·rstd²·mean(g·x')), with Center also less rstd·mean(g)
//
// and adds dy·x'·rstd to dw. dx may be dy.
func (path Path) NormGrad(g *NormGrad) {
	if len(g.DY) > 0 {
		s, sx := path.normDots(g.DY, g.W, g.X, g.Mean)
		path.normGradApply(g, coefficientsOf(s, sx, len(g.DY), g.Rstd, g.Center))
	}
}

// normCoefficients are those of dx = a·dy·w + b·(x-mean) + c.
type normCoefficients struct{ a, b, c float32 }

// coefficientsOf are those of a row of n elements, for the sums of dy·w and dy·w·(x-mean).
func coefficientsOf(sum, dot float32, n int, rstd float32, center bool) (k normCoefficients) {
	mean, along := sum/float32(n), dot/float32(n)
	k.a = rstd
	k.b = -rstd * rstd * rstd * along
	if center {
		k.c = -rstd * mean
	}
	return k
}

// normDots returns Σ dy·w and Σ dy·w·(x-mean).
func (path Path) normDots(dy, w, x []float32, mean float32) (s, sx float32) {
	n := len(dy)
	w, x = w[:n], x[:n]
	var t, tx SumTree
	for lo := 0; lo < n; lo += Piece {
		hi := min(lo+Piece, n)
		if !path.doorNormDots(&dy[lo], &w[lo], &x[lo], hi-lo, mean, &s, &sx) {
			s, sx = genericNormDots(dy[lo:hi], w[lo:hi], x[lo:hi], mean)
		}
		if n <= Piece {
			return s, sx
		}
		t.Add(s)
		tx.Add(sx)
	}
	return t.Total(), tx.Total()
}

// normGradApply computes dx and, before it, adds to dw: dx may be dy.
func (path Path) normGradApply(g *NormGrad, k normCoefficients) {
	n := len(g.DY)
	if n > 0 && !path.doorNormGrad(&g.DX[:n][0], &g.DY[0], &g.X[:n][0], &g.W[:n][0], &g.DW[:n][0], n, g.Mean, g.Rstd, k.a, k.b, k.c) {
		genericNormGrad(g, k)
	}
}

// NormGradBF16 are the operands of Path.NormGradAddBF16.
type NormGradBF16 struct {
	DX, DY, X  []uint16
	W, DW, DB  []float32
	Mean, Rstd float32
	Center     bool
}

// NormGradAddBF16 is NormGrad on rows of bf16 that adds to dx, and dy to db, where the path has kernels for it, and says whether it had.
func (path Path) NormGradAddBF16(g *NormGradBF16) bool {
	n := len(g.DY)
	if n == 0 || n > Piece {
		return n == 0
	}
	var s, sx float32
	if !path.doorNormDotsBF16(&g.DY[0], &g.W[:n][0], &g.X[:n][0], n, g.Mean, &s, &sx) {
		return false
	}
	k := coefficientsOf(s, sx, n, g.Rstd, g.Center)
	return path.doorNormGradAddBF16(&g.DX[:n][0], &g.DY[0], &g.X[0], &g.W[0], &g.DW[:n][0], &g.DB[:n][0], n, g.Mean, g.Rstd, k.a, k.b, k.c)
}
