package cpu

import "hone/device"

// normWeights returns the effective weight of each channel in scratch.
func normWeights(op string, s []float32, weight device.Buffer, c int, offset float32) []float32 {
	s = s[:c]
	if weight.IsZero() {
		vecFill(s, 1)
		return s
	}
	copy(s, floatsOf(op, weight, c).load(0, c, s))
	if offset != 0 {
		for i := range s {
			s[i] += offset
		}
	}
	return s
}

// Norm computes RMSNorm or LayerNorm of each row.
func (d *Device) Norm(k device.Norm) {
	n := rowsOf("Norm", k.X, k.C)
	x, y := floatsOf("Norm", k.X, n*k.C), floatsOf("Norm", k.Y, n*k.C)
	s := d.vectors.get(2 * k.C)
	defer d.vectors.put(s)
	means, rstds := optionalF32s("Norm", k.Mean, n), optionalF32s("Norm", k.Rstd, n)
	w := normWeights("Norm", s.f, k.Weight, k.C, k.WeightOffset)
	var bias []float32
	if !k.Bias.IsZero() {
		bias = s.f[k.C : 2*k.C]
		copy(bias, floatsOf("Norm", k.Bias, k.C).load(0, k.C, bias))
	}
	d.eachRows(n, k.C, func(_, lo, hi int) {
		t := d.vectors.get(k.C)
		defer d.vectors.put(t)
		for i := lo; i < hi; i++ {
			row := x.load(i*k.C, (i+1)*k.C, t.f)
			out := y.out(i*k.C, (i+1)*k.C, t.f)
			mean, rstd := vecNorm(out, row, w, bias, k.Center, k.Eps)
			if means != nil {
				means[i] = mean
			}
			if rstds != nil {
				rstds[i] = rstd
			}
			y.store(i*k.C, out)
		}
	})
}

// NormGrad is the gradient of Norm. With g = dy·w and x' = x-Mean it is
//
//	RMSNorm:   dx = Rstd·(g - x·Rstd²·mean(g·x))
//	LayerNorm: dx = Rstd·(g - mean(g) - x'·Rstd²·mean(g·x'))
//	dw = Σ dy·x'·Rstd,  db = Σ dy
//
// Each part of the rows sums its own dw and db; the parts are then added in order.
func (d *Device) NormGrad(k device.NormGrad) {
	n := rowsOf("NormGrad", k.X, k.C)
	g := normGradCall{
		k: k, rows: n,
		x: floatsOf("NormGrad", k.X, n*k.C), dy: floatsOf("NormGrad", k.DY, n*k.C), dx: floatsOf("NormGrad", k.DX, n*k.C),
		rstd: f32sOf("NormGrad", k.Rstd, n),
	}
	if k.Center {
		g.mean = f32sOf("NormGrad", k.Mean, n)
	}
	count, _ := rowParts(n, k.C)
	s := d.vectors.get((2*count + 1) * k.C)
	defer d.vectors.put(s)
	g.w = normWeights("NormGrad", s.f, k.Weight, k.C, k.WeightOffset)
	g.parts = s.f[k.C : (2*count+1)*k.C]
	d.eachRows(n, k.C, func(part, lo, hi int) {
		t := d.vectors.get(3 * k.C)
		defer d.vectors.put(t)
		dw := g.parts[2*part*k.C : (2*part+1)*k.C]
		db := g.parts[(2*part+1)*k.C : (2*part+2)*k.C]
		clear(dw)
		clear(db)
		for i := lo; i < hi; i++ {
			g.row(i, dw, db, t.f)
		}
	})
	addParts(optionalF32s("NormGrad", k.DWeight, k.C), g.parts, 2*k.C, k.AccW)
	if count > 0 {
		addParts(optionalF32s("NormGrad", k.DBias, k.C), g.parts[k.C:], 2*k.C, k.AccW)
	}
}

// normGradCall is one call of NormGrad.
type normGradCall struct {
	k          device.NormGrad
	rows       int
	x, dy, dx  floats
	mean, rstd []float32
	w, parts   []float32
}

// row computes dx of row i and adds its share of dw and db. buf holds 3 rows.
func (g *normGradCall) row(i int, dw, db, buf []float32) {
	c := g.k.C
	lo, hi := i*c, (i+1)*c
	dy := g.dy.load(lo, hi, buf)
	x := g.x.load(lo, hi, buf[c:])
	r := normGradRow{dy: dy, x: x, w: g.w, dw: dw, rstd: g.rstd[i]}
	if g.mean != nil {
		r.mean = g.mean[i]
	}
	sum, dot := vecNormDots(dy, g.w, x, r.mean)
	r.a = r.rstd
	r.b = -r.rstd * r.rstd * r.rstd * (dot / float32(c))
	if g.k.Center {
		r.c = -r.rstd * (sum / float32(c))
	}
	if !g.k.DBias.IsZero() {
		vecAdd(db, db, dy)
	}
	if !g.k.AccX {
		r.dx = g.dx.out(lo, hi, buf[2*c:])
		vecNormGradApply(r)
		g.dx.store(lo, r.dx)
		return
	}
	r.dx = buf[2*c : 3*c]
	vecNormGradApply(r)
	out := g.dx.load(lo, hi, buf) // dy is used up; when DX is F32 this is its memory
	vecAdd(out, out, r.dx)
	g.dx.store(lo, out)
}

// addParts computes y (+)= the sum of the rows of parts, stride apart, in order. y may be nil.
func addParts(y, parts []float32, stride int, acc bool) {
	if y == nil {
		return
	}
	if !acc {
		clear(y)
	}
	for ; len(parts) >= len(y) && len(y) > 0; parts = parts[min(stride, len(parts)):] {
		vecAdd(y, y, parts[:len(y)])
	}
}
