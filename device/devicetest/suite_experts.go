package devicetest

import (
	"math"

	"hone/device"
)

func testRoute(p *pair) {
	for _, s := range sample([]struct{ n, e, k int }{{1, 1, 1}, {3, 2, 1}, {5, 4, 4}, {7, 8, 2}, {33, 60, 4}, {2500, 8, 2}, {300, 130, 9}}) {
		for _, t := range floatTypes {
			logits := p.normal(s.n*s.e, t, 2)
			p.route(label("Route %v %s", s, t), logits, s.n, s.e, s.k)
			p.freeAll()
		}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	edges := []float32{2, 1, 2, 2 /**/, -1, -inf, -inf, -2 /**/, 1, nan, nan, 3 /**/, 80, -80, 79, 0}
	p.route("Route with ties and NaN", p.floats(device.F32, edges), 4, 4, 2)
}

// route checks the kernel and its gradient; what is picked must be the same.
func (p *pair) route(name string, logits operand, n, e, k int) {
	t := logits.dev.DType
	index, weights, sum := p.indices(n*k, e), p.empty(n*k, device.F32), p.empty(e, device.F32)
	dlogits, plain := p.empty(n*e, t), p.empty(n*e, t)
	dweights, dsum := p.normal(n*k, device.F32, 1), p.normal(e, device.F32, 1)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		r := device.Route{E: e, K: k, Logits: at(logits), Index: at(index), Weights: at(weights)}
		d.Route(r)
		r.ProbSum = at(sum)
		d.Route(r)
		g := device.RouteGrad{Route: r, DLogits: at(plain), DWeights: at(dweights)}
		d.RouteGrad(g)
		g.DLogits, g.DProbSum = at(dlogits), at(dsum)
		d.RouteGrad(g)
	})
	got, want := make([]int32, n*k), make([]int32, n*k)
	if err := p.dev.Read(got, index.dev); err != nil {
		p.Fatal(err)
	}
	if err := p.ref.Read(want, index.ref); err != nil {
		p.Fatal(err)
	}
	for i, w := range want {
		if got[i] != w {
			p.Fatalf("%s: choice %d of row %d is %d, want %d", name, i%k, i/k, got[i], w)
		}
	}
	p.check(name+": weights", weights, tight)
	p.check(name+": sum of probabilities", sum, sums)
	p.check(name+": dlogits of the weights", plain, sums)
	p.check(name+": dlogits", dlogits, sums)
}

func testCombine(p *pair) {
	for _, s := range []struct{ n, k, c, rest int }{{1, 1, 1, 0}, {3, 2, 7, 1}, {17, 3, 40, 0}, {200, 2, 130, 5}, {9, 4, 1100, 0}} {
		p.eachTypes(2, func(types string, t []device.DType) {
			p.combine(label("Combine %v%s", s, types), s.n, s.k, s.c, s.rest, t)
		})
	}
}

// combine checks the kernel and its gradient, with weights and without; rest rows are named by no index.
func (p *pair) combine(name string, n, k, c, rest int, t []device.DType) {
	order := make([]int32, n*k)
	for i, v := range p.rand.Perm(n*k + rest)[:n*k] {
		order[i] = int32(v)
	}
	index, weights, x := p.ints(order), p.normal(n*k, device.F32, 1), p.normal((n*k+rest)*c, t[0], 1)
	y, dy, dx := p.empty(n*c, t[1]), p.normal(n*c, t[1], 1), p.normal((n*k+rest)*c, t[0], 1)
	plainY, plainDX, dweights := p.empty(n*c, t[1]), p.normal((n*k+rest)*c, t[0], 1), p.empty(n*k, device.F32)
	p.both(func(d device.Device, at func(operand) device.Buffer) {
		a := device.Combine{C: c, K: k, Y: at(plainY), X: at(x), Index: at(index)}
		d.Combine(a)
		d.CombineGrad(device.CombineGrad{Combine: a, DY: at(dy), DX: at(plainDX)})
		a.Y, a.Weights = at(y), at(weights)
		d.Combine(a)
		d.CombineGrad(device.CombineGrad{Combine: a, DY: at(dy), DX: at(dx), DWeights: at(dweights)})
	})
	p.check(name+": y", y, sums)
	p.check(name+": y without weights", plainY, sums)
	p.check(name+": dx", dx, tight)
	p.check(name+": dx without weights", plainDX, tight)
	p.check(name+": dweights", dweights, sums)
}
