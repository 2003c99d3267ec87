package cpu

import (
	"hone/device"
	"hone/device/cpu/vec"
)

// normWeights returns the effective weight of each channel in scratch.
func (d *Device) normWeights(op string, s []float32, weight device.Buffer, c int, offset float32) []float32 {
	s = s[:c]
	if weight.IsZero() {
		vec.Fill(s, 1)
		return s
	}
	copy(s, d.floats(op, weight, c).Load(0, c, s))
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
	x, y := d.floats("Norm", k.X, n*k.C), d.floats("Norm", k.Y, n*k.C)
	s := d.vectors.get(2 * k.C)
	defer d.vectors.put(s)
	means, rstds := optionalF32s("Norm", k.Mean, n), optionalF32s("Norm", k.Rstd, n)
	w := d.normWeights("Norm", s.f, k.Weight, k.C, k.WeightOffset)
	var bias []float32
	if !k.Bias.IsZero() {
		bias = s.f[k.C : 2*k.C]
		copy(bias, d.floats("Norm", k.Bias, k.C).Load(0, k.C, bias))
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
	x, y         vec.Floats
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
	y, x, w, bias := r.y.Slice(i*r.c, (i+1)*r.c), r.x.Slice(i*r.c, (i+1)*r.c), r.w, r.bias
	if y.H != nil && x.H != nil && y.Path.NormBF16(y.H, x.H, w, bias, r.center, r.eps, &mean, &rstd) {
		return mean, rstd
	}
	out := y.Out(0, r.c, buf)
	mean, rstd = y.Path.Norm(out, x.Load(0, r.c, buf), w, bias, r.center, r.eps)
	y.Store(0, out)
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
		x: d.floats("NormGrad", k.X, n*k.C), dy: d.floats("NormGrad", k.DY, n*k.C), dx: d.floats("NormGrad", k.DX, n*k.C),
		rstd: f32sOf("NormGrad", k.Rstd, n),
	}
	if k.Center {
		g.mean = f32sOf("NormGrad", k.Mean, n)
	}
	count, _ := rowParts(n, k.C)
	s := d.vectors.get((2*count + 1) * k.C)
	defer d.vectors.put(s)
	g.w = d.normWeights("NormGrad", s.f, k.Weight, k.C, k.WeightOffset)
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
	d.addParts(optionalF32s("NormGrad", k.DWeight, k.C), g.parts, 2*k.C, k.AccW)
	d.addParts(optionalF32s("NormGrad", k.DBias, k.C), g.parts[min(k.C, len(g.parts)):], 2*k.C, k.AccW) // no parts, no rows: zeros
}

// normGradCall is one call of NormGrad.
type normGradCall struct {
	k          device.NormGrad
	rows       int
	x, dy, dx  vec.Floats
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
	dy := g.dy.Load(lo, hi, buf)
	r := vec.NormGrad{DY: dy, X: g.x.Load(lo, hi, buf[c:]), W: g.w, DW: dw, Rstd: g.rstd[i], Center: g.k.Center}
	if g.mean != nil {
		r.Mean = g.mean[i]
	}
	if !g.k.DBias.IsZero() {
		g.dx.Path.Add(db, db, dy)
	}
	if !g.k.AccX {
		r.DX = g.dx.Out(lo, hi, buf[2*c:])
		g.dx.Path.NormGrad(&r)
		g.dx.Store(lo, r.DX)
		return
	}
	r.DX = buf[2*c : 3*c]
	g.dx.Path.NormGrad(&r)
	out := g.dx.Load(lo, hi, buf) // dy is used up; when DX is F32 this is its memory
	g.dx.Path.Add(out, out, r.DX)
	g.dx.Store(lo, out)
}

// rowBF16 is row on bf16 that is added to dx, where the machine has kernels for it.
func (g *normGradCall) rowBF16(i int, dw, db []float32) bool {
	if g.x.H == nil || g.dy.H == nil || g.dx.H == nil || !g.k.AccX {
		return false
	}
	lo, hi := i*g.k.C, (i+1)*g.k.C
	r := vec.NormGradBF16{DX: g.dx.H[lo:hi], DY: g.dy.H[lo:hi], X: g.x.H[lo:hi], W: g.w, DW: dw, DB: db, Rstd: g.rstd[i], Center: g.k.Center}
	if g.mean != nil {
		r.Mean = g.mean[i]
	}
	return g.dx.Path.NormGradAddBF16(&r)
}

// addParts computes y (+)= the sum of the rows of parts, stride apart, in order. y may be nil.
func (d *Device) addParts(y, parts []float32, stride int, acc bool) {
	if y == nil {
		return
	}
	if !acc {
		clear(y)
	}
	for ; len(parts) >= len(y) && len(y) > 0; parts = parts[min(stride, len(parts)):] {
		d.path.Add(y, y, parts[:len(y)])
	}
}
