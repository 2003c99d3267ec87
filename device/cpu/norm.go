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
	r := normRows{d: d, x: x, y: y, w: w, bias: bias, means: means, rstds: rstds, c: k.C, eps: k.Eps, center: k.Center}
	if small(n, k.C) {
		r.rows(0, n)
		return
	}
	shared := r
	d.eachRows(n, k.C, func(_, lo, hi int) { shared.rows(lo, hi) })
}

// normRows is a checked call of Norm, of rows of c elements.
type normRows struct {
	d            *Device
	x, y         floats
	w, bias      []float32
	means, rstds []float32
	c            int
	eps          float32
	center       bool
}

// rows computes rows lo to hi.
func (r *normRows) rows(lo, hi int) {
	t := r.d.vectors.get(r.c)
	defer r.d.vectors.put(t)
	for i := lo; i < hi; i++ {
		mean, rstd := r.row(i, t.f)
		if r.means != nil {
			r.means[i] = mean
		}
		if r.rstds != nil {
			r.rstds[i] = rstd
		}
	}
}

// row computes row i. buf holds a row.
func (r *normRows) row(i int, buf []float32) (mean, rstd float32) {
	y, x, w, bias := r.y.slice(i*r.c, (i+1)*r.c), r.x.slice(i*r.c, (i+1)*r.c), r.w, r.bias
	if y.h != nil && x.h != nil && vecNormBF16(y.h, x.h, w, bias, r.center, r.eps, &mean, &rstd) {
		return mean, rstd
	}
	out := y.out(0, r.c, buf)
	mean, rstd = vecNorm(out, x.load(0, r.c, buf), w, bias, r.center, r.eps)
	y.store(0, out)
	return mean, rstd
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
	addParts(optionalF32s("NormGrad", k.DBias, k.C), g.parts[min(k.C, len(g.parts)):], 2*k.C, k.AccW) // no parts, no rows: zeros
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
	if g.rowBF16(i, dw, db) {
		return
	}
	dy := g.dy.load(lo, hi, buf)
	x := g.x.load(lo, hi, buf[c:])
	r := normGradRow{dy: dy, x: x, w: g.w, dw: dw, rstd: g.rstd[i]}
	if g.mean != nil {
		r.mean = g.mean[i]
	}
	sum, dot := vecNormDots(dy, g.w, x, r.mean)
	r.coefficients(sum/float32(c), dot/float32(c), g.k.Center)
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

// rowBF16 is row on bf16 that is added to dx, where the machine has kernels for it.
func (g *normGradCall) rowBF16(i int, dw, db []float32) bool {
	c := g.k.C
	if g.x.h == nil || g.dy.h == nil || g.dx.h == nil || !g.k.AccX || c > vecLane {
		return false
	}
	dx, dy, x := &g.dx.h[i*c], &g.dy.h[i*c], &g.x.h[i*c]
	r := normGradRow{rstd: g.rstd[i]}
	if g.mean != nil {
		r.mean = g.mean[i]
	}
	var sum, dot float32
	if !vecNormDotsBF16Door(dy, &g.w[0], x, c, r.mean, &sum, &dot) {
		return false
	}
	r.coefficients(sum/float32(c), dot/float32(c), g.k.Center)
	return vecNormGradAddBF16Door(dx, dy, x, &g.w[0], &dw[0], &db[0], c, r.mean, r.rstd, r.a, r.b, r.c)
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
