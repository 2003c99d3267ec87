package cpu

import (
	"fmt"
	"math"

	"hone/device"
)

// AdamW updates parameters in place; see device.AdamW. All its memory streams
// through once; the bf16 copy is made while a piece of Param is in the cache.
func (d *Device) AdamW(k device.AdamW) {
	if k.Step < 1 {
		panic(fmt.Sprintf("cpu: AdamW at step %d", k.Step))
	}
	n := k.Param.Len
	p := f32sOf("AdamW", k.Param, n)
	var m, v []float32
	var coded *moments8
	if k.MScale.IsZero() {
		m, v = f32sOf("AdamW", k.M, n), f32sOf("AdamW", k.V, n)
	} else {
		coded = d.moments8(k, n)
	}
	g := floatsOf("AdamW", k.Grad, n)
	var half []uint16
	if !k.Half.IsZero() {
		half = floatsOf("AdamW", k.Half, n).h
		if half == nil && n > 0 {
			panic("cpu: AdamW with a half copy that is not bf16")
		}
	}
	a := adamwNumbers(k)
	d.each(n, func(lo, hi int) {
		var buf chunk
		for ; lo < hi; lo += vecChunk {
			end := min(lo+vecChunk, hi)
			if coded != nil {
				coded.update(p[lo:end], g.load(lo, end, buf[:]), lo, end, &a)
			} else {
				vecAdamW(p[lo:end], g.load(lo, end, buf[:]), m[lo:end], v[lo:end], &a)
			}
			if half != nil {
				vecF32ToBF16(half[lo:end], p[lo:end])
			}
		}
	})
}

// adamwNumbers folds the bias corrections, computed in float64, into the step.
func adamwNumbers(k device.AdamW) adamw {
	corr1 := 1 / (1 - math.Pow(float64(k.Beta1), float64(k.Step)))
	corr2 := 1 / (1 - math.Pow(float64(k.Beta2), float64(k.Step)))
	return adamw{
		scale: k.Scale, beta1: k.Beta1, rest1: 1 - k.Beta1, beta2: k.Beta2, rest2: 1 - k.Beta2,
		step: float32(float64(k.LR) * corr1), corr2: float32(corr2), eps: k.Eps,
		keep: float32(1 - float64(k.LR)*float64(k.Decay)),
	}
}
