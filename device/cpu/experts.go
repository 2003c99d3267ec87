package cpu

import (
	"fmt"

	"hone/device"
	"hone/device/cpu/vec"
)

// route is a checked call of Route or RouteGrad.
type route struct {
	e, k    int
	logits  vec.Floats
	index   []int32
	weights []float32
}

func (d *Device) newRoute(op string, a device.Route) (r route, rows int) {
	rows = rowsOf(op, a.Logits, a.E)
	if a.K < 1 || a.K > a.E || a.Index.Len != rows*a.K {
		panic(fmt.Sprintf("cpu: %s of %d rows to %d of %d experts with %d places", op, rows, a.K, a.E, a.Index.Len))
	}
	return route{e: a.E, k: a.K, logits: d.floats(op, a.Logits, rows*a.E), index: i32s(a.Index), weights: f32sOf(op, a.Weights, rows*a.K)}, rows
}

// Route picks the K largest logits of each row. Sums of probabilities are made per part of the rows and then added
// in the order of the parts, whose bounds depend on the sizes alone.
func (d *Device) Route(a device.Route) {
	r, n := d.newRoute("Route", a)
	sum := optionalF32s("Route", a.ProbSum, a.E)
	parts, _ := rowParts(n, a.E)
	sums := make([]float64, parts*a.E) // thousands of rows are added up, of which an f32 would lose digits
	d.eachRows(n, a.E, func(part, lo, hi int) {
		buf, p := make([]float32, a.E), make([]float32, a.E)
		for i := lo; i < hi; i++ {
			x := r.logits.Load(i*a.E, (i+1)*a.E, buf)
			r.pick(i, x)
			if sum == nil {
				continue
			}
			d.path.Softmax(p, x)
			for e, v := range p {
				sums[part*a.E+e] += float64(v)
			}
		}
	})
	for e := range sum {
		s := 0.0
		for part := range parts {
			s += sums[part*a.E+e]
		}
		sum[e] = float32(s)
	}
}

// pick sets the experts of row i and their weights. Experts are put in by insertion: K is small.
func (r *route) pick(i int, x []float32) {
	picked := r.index[i*r.k : i*r.k : (i+1)*r.k]
	for e, v := range x {
		at := len(picked)
		for at > 0 && above(v, x[picked[at-1]]) {
			at--
		}
		if at == r.k {
			continue
		}
		if len(picked) < r.k {
			picked = picked[:len(picked)+1]
		}
		copy(picked[at+1:], picked[at:])
		picked[at] = int32(e)
	}
	logits := make([]float32, 0, 16)
	for _, e := range picked {
		logits = append(logits, x[e])
	}
	r.logits.Path.Softmax(r.weights[i*r.k:(i+1)*r.k], logits)
}

// above orders logits: NaN stands above all others.
func above(v, w float32) bool { return v > w || v != v && w == w }

// RouteGrad is the gradient of Route.
func (d *Device) RouteGrad(a device.RouteGrad) {
	const op = "RouteGrad"
	r, n := d.newRoute(op, a.Route)
	dlogits, dweights := d.floats(op, a.DLogits, n*a.E), f32sOf(op, a.DWeights, n*a.K)
	dsum := optionalF32s(op, a.DProbSum, a.E)
	d.eachRows(n, a.E, func(_, lo, hi int) {
		buf, out, p := make([]float32, a.E), make([]float32, a.E), make([]float32, a.E)
		for i := lo; i < hi; i++ {
			y := dlogits.Out(i*a.E, (i+1)*a.E, out)
			clear(y) // most experts of a row are not picked and have no gradient but that of ProbSum
			if dsum != nil {
				d.path.Softmax(p, r.logits.Load(i*a.E, (i+1)*a.E, buf))
				addSoftmaxGrad(y, p, dsum)
			}
			r.addWeightGrad(y, i, dweights[i*a.K:(i+1)*a.K])
			dlogits.Store(i*a.E, y)
		}
	})
}

// addSoftmaxGrad adds the gradient of x, for p = softmax(x) and the gradient dp of p: p·(dp - Σ p·dp). The difference is taken in float64, for
// where one expert has nearly all of the probability both terms are nearly the same.
func addSoftmaxGrad(y, p, dp []float32) {
	mean := 0.0
	for e, v := range p {
		mean += float64(v) * float64(dp[e])
	}
	for e, v := range p {
		y[e] += float32(float64(v) * (float64(dp[e]) - mean))
	}
}

// addWeightGrad adds to the gradient y of row i's logits what the weights of its experts give.
func (r *route) addWeightGrad(y []float32, i int, dw []float32) {
	w, index := r.weights[i*r.k:(i+1)*r.k], r.index[i*r.k:(i+1)*r.k]
	mean := 0.0
	for j, v := range w {
		mean += float64(v) * float64(dw[j])
	}
	for j, v := range w {
		y[index[j]] += float32(float64(v) * (float64(dw[j]) - mean))
	}
}

// rowSums is a checked call of Combine or CombineGrad.
type rowSums struct {
	c, k    int
	x       vec.Floats
	index   []int32
	weights []float32 // nil for ones
}

// newCombine checks every index before any work: a panic in a worker could not be recovered.
func (d *Device) newCombine(op string, a device.Combine) (m rowSums, rows int) {
	from := rowsOf(op, a.X, a.C)
	m = rowSums{c: a.C, k: a.K, x: d.floats(op, a.X, a.X.Len), index: i32s(a.Index), weights: optionalF32s(op, a.Weights, a.Index.Len)}
	if a.K < 1 || a.Index.Len%a.K != 0 {
		panic(fmt.Sprintf("cpu: %s of %d rows, %d at a time", op, a.Index.Len, a.K))
	}
	for j, row := range m.index {
		if row < 0 || int(row) >= from {
			panic(fmt.Sprintf("cpu: %s of row %d at %d, there are %d", op, row, j, from))
		}
	}
	return m, a.Index.Len / a.K
}

// weight is that of the j-th index.
func (m *rowSums) weight(j int) float32 {
	if m.weights == nil {
		return 1
	}
	return m.weights[j]
}

// Combine adds rows up, a piece of a row at a time.
func (d *Device) Combine(a device.Combine) {
	m, n := d.newCombine("Combine", a)
	y := d.floats("Combine", a.Y, n*a.C)
	d.eachRows(n, a.C*a.K, func(_, lo, hi int) {
		var xs, ys chunk
		for i := lo; i < hi; i++ {
			for c := 0; c < a.C; c += vec.Chunk {
				end := min(c+vec.Chunk, a.C)
				out := y.Out(i*a.C+c, i*a.C+end, ys[:])
				clear(out)
				for j := i * a.K; j < (i+1)*a.K; j++ {
					at := int(m.index[j]) * a.C
					d.path.Axpy(out, m.weight(j), m.x.Load(at+c, at+end, xs[:]))
				}
				y.Store(i*a.C+c, out)
			}
		}
	})
}

// CombineGrad is the gradient of Combine.
func (d *Device) CombineGrad(a device.CombineGrad) {
	const op = "CombineGrad"
	m, n := d.newCombine(op, a.Combine)
	dy, dx, dw := d.floats(op, a.DY, n*a.C), d.floats(op, a.DX, a.X.Len), optionalF32s(op, a.DWeights, a.Index.Len)
	d.eachRows(n, a.C*a.K, func(_, lo, hi int) {
		var xs, ys, out chunk
		for j := lo * a.K; j < hi*a.K; j++ {
			from, at, dot := j/a.K*a.C, int(m.index[j])*a.C, float32(0)
			for c := 0; c < a.C; c += vec.Chunk {
				end := min(c+vec.Chunk, a.C)
				g := dy.Load(from+c, from+end, ys[:])
				dot += d.path.Dot(g, m.x.Load(at+c, at+end, xs[:]))
				to := dx.Out(at+c, at+end, out[:])
				copy(to, g)
				d.path.Scale(to, m.weight(j))
				dx.Store(at+c, to)
			}
			if dw != nil {
				dw[j] = dot
			}
		}
	})
}
