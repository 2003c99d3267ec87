package devicetest

import (
	"math"
	"math/rand/v2"
	"testing"

	"hone/device"
)

// gradientCheck compares what grad puts into dx with central differences of
// Σ weights·forward by the elements of x.
type gradientCheck struct {
	r             *Reference
	x, y, dy, dx  device.Buffer
	forward, grad func()
}

func (c gradientCheck) run(t *testing.T, name string) {
	t.Helper()
	c.forward()
	c.grad()
	x, dy, y := floats(c.x), floats(c.dy), floats(c.y)
	loss := func() float64 {
		c.forward()
		return dot(y, dy)
	}
	for i, v := range x {
		const h = 1e-5
		x[i] = v + h
		up := loss()
		x[i] = v - h
		down := loss()
		x[i] = v
		want, got := (up-down)/(2*h), floats(c.dx)[i]
		if math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
			t.Errorf("%s: derivative %d is %g, differences give %g", name, i, got, want)
			return
		}
	}
}

func randomBuffer(r *Reference, n int, seed uint64) device.Buffer {
	g := rand.New(rand.NewPCG(seed, 9))
	b := r.Alloc(n, device.F32)
	for i := range n {
		floats(b)[i] = g.NormFloat64()
	}
	return b
}

func TestReferenceUnaryGradients(t *testing.T) {
	for _, u := range unaryOps {
		r, n := NewReference(), 20
		c := gradientCheck{r: r, x: randomBuffer(r, n, 1), y: r.Alloc(n, device.F32), dy: randomBuffer(r, n, 2), dx: r.Alloc(n, device.F32)}
		if u.op == device.Log {
			for i, v := range floats(c.x) {
				floats(c.x)[i] = 0.1 + v*v
			}
		}
		c.forward = func() { r.Unary(u.op, c.y, c.x) }
		c.grad = func() { r.UnaryGrad(u.op, c.dx, c.x, c.dy, false) }
		c.run(t, u.name)
	}
}

func TestReferenceNormGradients(t *testing.T) {
	for _, center := range []bool{false, true} {
		r, n, width := NewReference(), 3, 7
		x, w, b := randomBuffer(r, n*width, 1), randomBuffer(r, width, 2), randomBuffer(r, width, 3)
		y, dy := r.Alloc(n*width, device.F32), randomBuffer(r, n*width, 4)
		a := device.Norm{C: width, X: x, Y: y, Weight: w, Bias: b, Mean: r.Alloc(n, device.F32), Rstd: r.Alloc(n, device.F32), Eps: 1e-3, Center: center, WeightOffset: 1}
		g := device.NormGrad{
			C: width, X: x, DY: dy, Weight: w, Mean: a.Mean, Rstd: a.Rstd, Center: center, WeightOffset: 1,
			DX: r.Alloc(n*width, device.F32), DWeight: r.Alloc(width, device.F32), DBias: r.Alloc(width, device.F32),
		}
		for _, c := range []struct {
			name  string
			x, dx device.Buffer
		}{{"dx", x, g.DX}, {"dweight", w, g.DWeight}, {"dbias", b, g.DBias}} {
			gradientCheck{r, c.x, y, dy, c.dx, func() { r.Norm(a) }, func() { r.NormGrad(g) }}.run(t, c.name)
		}
	}
}

func TestReferenceGatedGradients(t *testing.T) {
	r, n := NewReference(), 9
	gate, up, y, dy := randomBuffer(r, n, 1), randomBuffer(r, n, 2), r.Alloc(n, device.F32), randomBuffer(r, n, 3)
	dgate, dup := r.Alloc(n, device.F32), r.Alloc(n, device.F32)
	for name, x := range map[string][2]device.Buffer{"dgate": {gate, dgate}, "dup": {up, dup}} {
		gradientCheck{r, x[0], y, dy, x[1], func() { r.Gated(device.SiLU, y, gate, up) },
			func() { r.GatedGrad(device.SiLU, dgate, dup, gate, up, dy) }}.run(t, name)
	}
}

func TestReferenceAttentionGradients(t *testing.T) {
	for _, softCap := range []float32{0, 1.5} {
		r, n, heads, kv, d := NewReference(), 6, 4, 2, 3
		q, k, v := randomBuffer(r, n*heads*d, 1), randomBuffer(r, n*kv*d, 2), randomBuffer(r, n*kv*d, 3)
		o, do := r.Alloc(n*heads*d, device.F32), randomBuffer(r, n*heads*d, 4)
		a := device.Attention{O: o, Q: q, K: k, V: v, Heads: heads, KVHeads: kv, D: d, Scale: 0.7, Window: 3, SoftCap: softCap, Sequences: packed(n)}
		g := device.AttentionGrad{Attention: a, DO: do, DQ: r.Alloc(n*heads*d, device.F32), DK: r.Alloc(n*kv*d, device.F32), DV: r.Alloc(n*kv*d, device.F32)}
		for name, x := range map[string][2]device.Buffer{"dq": {q, g.DQ}, "dk": {k, g.DK}, "dv": {v, g.DV}} {
			gradientCheck{r, x[0], o, do, x[1], func() { r.Attention(a) }, func() { r.AttentionGrad(g) }}.run(t, name)
		}
	}
}

func TestReferenceRopeGradient(t *testing.T) {
	r, n, heads, d := NewReference(), 3, 2, 6
	x, y, dy, dx := randomBuffer(r, n*heads*d, 1), r.Alloc(n*heads*d, device.F32), randomBuffer(r, n*heads*d, 2), r.Alloc(n*heads*d, device.F32)
	at := r.Alloc(n, device.I32)
	r.Write(at, []int32{4, 0, 2})
	cos, sin := r.Alloc(5*2, device.F32), r.Alloc(5*2, device.F32)
	for i := range 10 {
		floats(cos)[i], floats(sin)[i] = math.Cos(float64(i)), math.Sin(float64(i))
	}
	a := device.Rope{X: x, Y: y, Cos: cos, Sin: sin, Positions: at, Heads: heads, D: d, Rotary: 4}
	b := a
	b.X, b.Y, b.Inverse = dy, dx, true
	gradientCheck{r, x, y, dy, dx, func() { r.Rope(a) }, func() { r.Rope(b) }}.run(t, "dx")
}

func TestReferenceCrossEntropyGradients(t *testing.T) {
	r, n, width := NewReference(), 3, 5
	x, dx := randomBuffer(r, n*width, 1), r.Alloc(n*width, device.F32)
	// The rows' losses and entropies are one output, weighted as the gradient is.
	y, dy := r.Alloc(2*n, device.F32), randomBuffer(r, 2*n, 2)
	ids := r.Alloc(n, device.I32)
	r.Write(ids, []int32{4, -1, 0})
	a := device.CrossEntropy{
		V: width, Logits: x, Targets: ids, Loss: y.Slice(0, n), Entropy: y.Slice(n, 2*n),
		Weights: dy.Slice(0, n), EntropyWeights: dy.Slice(n, 2*n), ZLoss: 0.1, Smoothing: 0.2,
	}
	b := a
	b.DLogits = dx
	gradientCheck{r, x, y, dy, dx, func() { r.CrossEntropy(a) }, func() { r.CrossEntropy(b) }}.run(t, "dlogits")
}

// TestSuiteOnReference runs the suite on the reference itself: a device that is right passes.
func TestSuiteOnReference(t *testing.T) {
	Run(t, func(*testing.T) device.Device { return rounding{NewReference()} })
}

// rounding is the reference with memory that rounds what is written to BF16, as the suite demands of a device.
type rounding struct{ *Reference }

func (r rounding) Write(dst device.Buffer, src any) {
	if s, ok := src.([]float32); ok && dst.DType == device.BF16 {
		h := make([]uint16, len(s))
		for i, v := range s {
			h[i] = RoundBF16(v)
		}
		r.Reference.Write(dst, h)
		return
	}
	r.Reference.Write(dst, src)
}
