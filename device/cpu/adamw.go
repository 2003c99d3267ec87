package cpu

import (
	"fmt"
	"math"

	"hone/device"
)

// AdamW updates parameters in place; see device.AdamW. All its memory streams
// through once; halves are joined and split while a piece of them is in the cache.
func (d *Device) AdamW(k device.AdamW) {
	if k.Step < 1 {
		panic(fmt.Sprintf("cpu: AdamW at step %d", k.Step))
	}
	n := k.Param.Len
	p := paramsOf(k)
	var m, v []float32
	var coded *moments8
	if k.MScale.IsZero() {
		m, v = f32sOf("AdamW", k.M, n), f32sOf("AdamW", k.V, n)
	} else {
		coded = d.moments8(k, n)
	}
	g := floatsOf("AdamW", k.Grad, n)
	a := adamwNumbers(k)
	d.each(n, func(lo, hi int) {
		var grads, params chunk
		for ; lo < hi; lo += vecChunk {
			end := min(lo+vecChunk, hi)
			x := p.load(lo, end, params[:])
			if coded != nil {
				coded.update(x, g.load(lo, end, grads[:]), lo, end, &a)
			} else {
				vecAdamW(x, g.load(lo, end, grads[:]), m[lo:end], v[lo:end], &a)
			}
			p.store(lo, end, x)
		}
	})
}

// params are F32 parameters, whole or in halves.
type params struct {
	whole []float32
	halves
}

func paramsOf(k device.AdamW) params {
	if k.Rest.IsZero() {
		return params{whole: f32sOf("AdamW", k.Param, k.Param.Len)}
	}
	return params{halves: pairOfHalves("AdamW", k.Param, k.Rest)}
}

// load returns parameters lo to hi, in buf if they are in halves.
func (p params) load(lo, hi int, buf []float32) []float32 {
	if p.whole != nil {
		return p.whole[lo:hi]
	}
	p.join(buf[:hi-lo], lo)
	return buf[:hi-lo]
}

// store puts x back, which load returned.
func (p params) store(lo, hi int, x []float32) {
	if p.whole == nil {
		p.split(x, lo)
	}
}

// adamwNumbers folds the bias corrections into the step. They are computed in float64: 1-β2^t is a difference of nearly equal numbers at first, and
// 1 - rate·decay of numbers of which the second is about 1e-5 of the first.
func adamwNumbers(k device.AdamW) adamw {
	corr1 := 1 / (1 - math.Pow(float64(k.Beta1), float64(k.Step)))
	corr2 := 1 / (1 - math.Pow(float64(k.Beta2), float64(k.Step)))
	return adamw{
		scale: k.Scale, beta1: k.Beta1, rest1: 1 - k.Beta1, beta2: k.Beta2, rest2: 1 - k.Beta2,
		step: float32(float64(k.LR) * corr1), corr2: float32(corr2), eps: k.Eps,
		keep: float32(1 - float64(k.LR)*float64(k.Decay)),
	}
}
