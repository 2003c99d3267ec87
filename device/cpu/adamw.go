package cpu

import (
	"fmt"

	"hone/device"
	"hone/device/cpu/vec"
)

// AdamW updates parameters in place; see device.AdamW. All its memory streams
// through once; halves are joined and split while a piece of them is in the cache.
func (d *Device) AdamW(k device.AdamW) {
	if k.Step < 1 {
		panic(fmt.Sprintf("cpu: AdamW at step %d", k.Step))
	}
	n := k.Param.Len
	p := d.paramsOf(k)
	var m, v []float32
	var coded *moments8
	if k.MScale.IsZero() {
		m, v = f32sOf("AdamW", k.M, n), f32sOf("AdamW", k.V, n)
	} else {
		coded = d.moments8(k, n)
	}
	g := d.floats("AdamW", k.Grad, n)
	a := vec.NewAdamW(k)
	d.each(n, func(lo, hi int) {
		var grads, params chunk
		for ; lo < hi; lo += vec.Chunk {
			end := min(lo+vec.Chunk, hi)
			x := p.load(lo, end, params[:])
			if coded != nil {
				coded.update(x, g.Load(lo, end, grads[:]), lo, end, &a)
			} else {
				d.path.AdamW(x, g.Load(lo, end, grads[:]), m[lo:end], v[lo:end], &a)
			}
			p.store(lo, end, x)
		}
	})
}

// params are F32 parameters, whole or in halves.
type params struct {
	whole  []float32
	halves vec.Halves
	path   vec.Path
}

func (d *Device) paramsOf(k device.AdamW) params {
	if k.Rest.IsZero() {
		return params{whole: f32sOf("AdamW", k.Param, k.Param.Len)}
	}
	return params{halves: pairOfHalves("AdamW", k.Param, k.Rest), path: d.path}
}

// load returns parameters lo to hi, in buf if they are in halves.
func (p params) load(lo, hi int, buf []float32) []float32 {
	if p.whole != nil {
		return p.whole[lo:hi]
	}
	p.path.Join(buf[:hi-lo], p.halves, lo)
	return buf[:hi-lo]
}

// store puts x back, which load returned.
func (p params) store(lo, hi int, x []float32) {
	if p.whole == nil {
		p.path.Split(p.halves, lo, x)
	}
}
