package vec

import (
	"math"

	"hone/device"
	"hone/internal/splitmix"
)

// AdamW are the numbers of Path.AdamW, with the bias corrections folded in.
type AdamW struct {
	scale, beta1, rest1, beta2, rest2 float32 // rest = 1-beta
	step, corr2, eps, keep            float32 // step = lr/(1-beta1^t), corr2 = 1/(1-beta2^t), keep = 1-lr·decay
}

// NewAdamW folds the bias corrections into the step. They are computed in float64: 1-β2^t is a difference of nearly equal numbers at first, and
// 1 - rate·decay of numbers of which the second is about 1e-5 of the first.
func NewAdamW(k device.AdamW) AdamW {
	corr1 := 1 / (1 - math.Pow(float64(k.Beta1), float64(k.Step)))
	corr2 := 1 / (1 - math.Pow(float64(k.Beta2), float64(k.Step)))
	return AdamW{
		scale: k.Scale, beta1: k.Beta1, rest1: 1 - k.Beta1, beta2: k.Beta2, rest2: 1 - k.Beta2,
		step: float32(float64(k.LR) * corr1), corr2: float32(corr2), eps: k.Eps,
		keep: float32(1 - float64(k.LR)*float64(k.Decay)),
	}
}

// AdamW computes g = scale·g; m = beta1·m + rest1·g; v = beta2·v + rest2·g²;
// p = p·keep - step·m/(sqrt(v·corr2)+eps). The gradient in memory stays.
func (path Path) AdamW(p, g, m, v []float32, a *AdamW) {
	n := len(p)
	if n == 0 {
		return
	}
	g, m, v = g[:n], m[:n], v[:n]
	if !path.doorAdamW(&p[0], &g[0], &m[0], &v[0], n,
		a.scale, a.beta1, a.rest1, a.beta2, a.rest2, a.step, a.corr2, a.eps, a.keep) {
		genericAdamW(p, g, m, v, a)
	}
}

// Dropout is what Path.Dropout needs besides the index: the halves of the
// mixed key, the scale of kept elements and the bound below which an element is dropped.
type Dropout struct {
	scale     float32
	lo, hi    uint32
	threshold uint32
}

// NewDropout is for elements that are dropped with probability p, by the random numbers of a key.
func NewDropout(p float32, key uint64) Dropout {
	k := splitmix.At(key)
	// The sum of scale and mask is exact in float64, so every device rounds 1/(1-p) alike.
	return Dropout{
		scale: float32(1 / (1 - float64(p))), lo: uint32(k), hi: uint32(k >> 32),
		threshold: uint32(float64(p) * (1 << 32)),
	}
}

// Dropout computes y[i] = x[i]·scale where the random number of element index+i is at least the bound, else 0. A row counts up the low half
// of the index alone: it must not cross a multiple of 2³².
func (path Path) Dropout(y, x []float32, d Dropout, index int) {
	n := len(x)
	if n == 0 {
		return
	}
	y = y[:n]
	d.hi ^= uint32(index >> 32)
	if !path.doorDropout(&y[0], &x[0], n, d.scale, d.lo, d.hi, d.threshold, uint32(index)) {
		genericDropout(y, x, d, uint32(index))
	}
}
