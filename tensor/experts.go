package tensor

import "hone/device"

// Routing says which experts work on each row of a matrix, and with which weights. With k = 2, three experts
// and two rows that picked (0, 2) and (2, 1), choices by row are 0 2 2 1, and by expert they are the rows
//
//	source = 0 | 1 | 0 1    counts = 1 1 2    place = 0 2 3 1
//
// so that each expert's rows are one matrix for one product.
type Routing struct {
	k       int
	weights *Tensor // [N, k] F32
	place   *Tensor // [N*k] I32: where choice (n, i) stands when choices are ordered by expert, then by row
	source  *Tensor // [N*k] I32: the row that stands there
	counts  []int   // choices of each expert
}

// Route picks for each row the k experts of the largest logits [N, E] and weighs them by a softmax over the picked
// (Jiang et al., "Mixtral of Experts", 2024). balance, when not nil, learns what was picked.
func Route(logits *Tensor, k int, balance *Balance) *Routing {
	t := tapeOf("Route", logits)
	n, experts := logits.Rows(), logits.Cols()
	check(k >= 1 && k <= experts, "Route", "%d of %d experts cannot be picked", k, experts)
	r := &Routing{k: k, weights: t.empty(device.F32, n, k)}
	index := t.empty(device.I32, n*k)
	a := device.Route{E: experts, K: k, Logits: logits.Buffer(), Index: index.Buffer(), Weights: r.weights.Buffer()}
	var sum *Tensor
	if balance.open(t, experts) {
		sum = t.empty(device.F32, experts)
		a.ProbSum = sum.Buffer()
	}
	t.Dev.Route(a)
	r.order(t, index, experts)
	if sum != nil {
		balance.add(sum, r.counts, n)
	}
	if t.wants(logits) {
		t.push(r.weights, func() {
			a := device.Route{E: experts, K: k, Logits: logits.Buffer(), Index: index.Buffer(), Weights: r.weights.Buffer()}
			d := t.scratch(logits.Len(), logits.dtype)
			t.Dev.RouteGrad(device.RouteGrad{Route: a, DLogits: d.buf, DWeights: r.weights.grad.buf, DProbSum: balance.gradient()})
			logits.addGrad(d)
		}, logits, index, r.weights)
	}
	return r
}

// order reads what was picked and orders it by expert: matrix products need to know on the host how many rows
// they have.
func (r *Routing) order(t *Tape, index *Tensor, experts int) {
	picked := make([]int32, index.Len())
	if err := t.Dev.Read(picked, index.Buffer()); err != nil {
		panic(&Error{"Route", err.Error()})
	}
	r.counts = make([]int, experts)
	for _, e := range picked {
		r.counts[e]++
	}
	// counting sort: stable, so an expert sees its rows in their order and sums have a fixed one
	next, at := make([]int32, experts), int32(0) // next[e] is where the next choice of expert e goes
	for e, c := range r.counts {
		next[e] = at
		at += int32(c)
	}
	place, source := make([]int32, len(picked)), make([]int32, len(picked))
	for j, e := range picked {
		place[j], source[next[e]] = next[e], int32(j/r.k) // choice j is of row j/k
		next[e]++
	}
	r.place, r.source = t.Ints(place), t.Ints(source)
}

// Experts is the mixture Σ weight·f(expert, row) over the experts that r picked for each row of x [N, C]:
// [N, C']. f maps the rows of one expert [M, C] to [M, C'] and is called only for experts that have any, in
// their order. Rows are gathered, computed expert by expert and added up in an order that r alone fixes.
func Experts(x *Tensor, r *Routing, f func(expert int, rows *Tensor) *Tensor) *Tensor {
	t := tapeOf("Experts", x)
	check(x.Rows() == r.weights.Rows() && x.Rows() > 0, "Experts",
		"%v does not have the %d rows that were routed", x.Shape, r.weights.Rows())
	all := t.gather(x, r)
	var parts []*Tensor
	at := 0
	for e, m := range r.counts {
		if m > 0 {
			rows := t.rowSlice(all, at, at+m)
			part := t.Scope(func() *Tensor { return f(e, rows) })
			parts = append(parts, part)
			check(part.Rows() == m && part.Cols() == parts[0].Cols(), "Experts", "expert %d makes %v of %d rows", e, part.Shape, m)
		}
		at += m
	}
	return t.combine(t.stack(parts), r)
}

// gather copies the rows of x [N, C] to where their choices stand: [N*k, C], ordered by expert, so that
// each expert's rows are one matrix.
func (t *Tape) gather(x *Tensor, r *Routing) *Tensor {
	c := x.Cols()
	y := t.empty(x.dtype, r.source.Len(), c)
	t.Dev.Embedding(y.Buffer(), x.Buffer(), r.source.Buffer())
	if t.wants(x) {
		t.push(y, func() {
			dx := t.scratch(x.Len(), x.dtype)
			t.Dev.Combine(device.Combine{C: c, K: r.k, Y: dx.buf, X: y.grad.buf, Index: r.place.Buffer()})
			x.addGrad(dx)
		}, r.place)
	}
	return y
}

// rowSlice is rows lo to hi of x, in x's memory.
func (t *Tape) rowSlice(x *Tensor, lo, hi int) *Tensor {
	c := x.Cols()
	y := &Tensor{Shape: []int{hi - lo, c}, dtype: x.dtype, dev: x.dev, tape: t, data: x.data.slice(lo*c, hi*c)}
	t.scoped(y)
	if t.wants(x) {
		t.push(y, func() {
			dx, acc := x.gradBuffer()
			if !acc { // other rows may get nothing
				t.Dev.Fill(dx, 0)
			}
			t.Dev.AddScaled(dx.Slice(lo*c, hi*c), 1, y.grad.buf)
		})
	}
	return y
}

// stack puts matrices [Mi, C] one below the other: [ΣMi, C].
func (t *Tape) stack(parts []*Tensor) *Tensor {
	n, c := 0, parts[0].Cols()
	for _, p := range parts {
		n += p.Rows()
	}
	y, at := t.empty(parts[0].dtype, n, c), 0
	for _, p := range parts {
		t.Dev.Unary(device.Identity, y.Buffer().Slice(at, at+p.Len()), p.Buffer())
		at += p.Len()
	}
	if t.wants(parts...) {
		t.push(y, func() {
			at := 0
			for _, p := range parts {
				if p.needsGrad {
					p.addGrad(y.grad.slice(at, at+p.Len()))
				}
				at += p.Len()
			}
		})
	}
	return y
}

// combine adds up for each routed row what its experts made of it, times their weights: x [N*k, C'], result [N, C'].
func (t *Tape) combine(x *Tensor, r *Routing) *Tensor {
	n, c := r.weights.Rows(), x.Cols()
	y := t.empty(x.dtype, n, c)
	describe := func(y device.Buffer) device.Combine {
		return device.Combine{C: c, K: r.k, Y: y, X: x.Buffer(), Index: r.place.Buffer(), Weights: r.weights.Buffer()}
	}
	t.Dev.Combine(describe(y.Buffer()))
	if t.wants(x, r.weights) {
		t.push(y, func() {
			dx, dw := t.scratch(x.Len(), x.dtype), t.scratch(n*r.k, device.F32)
			t.Dev.CombineGrad(device.CombineGrad{Combine: describe(device.Buffer{}), DY: y.grad.buf, DX: dx.buf, DWeights: dw.buf})
			giveGrad(x, dx)
			giveGrad(r.weights, dw)
		}, x, r.place, r.weights)
	}
	return y
}

// Balance collects what the routers of one pass pick, for a loss that is small when experts get equal shares: with the
// rows of all layers together, f(e) the choices of expert e and P(e) the sum of its probabilities, both divided by the
// number of rows, it is E·Σ f(e)·P(e) (Fedus et al., "Switch Transformers", 2021, equation 4; as transformers'
// load_balancing_loss_func, k at equal shares of k choices).
//
// Its gradient reaches the logits through Route, so a layer that is recomputed needs no care. A
// nil *Balance collects nothing.
type Balance struct {
	sum    *Tensor // [E] F32: probabilities over all rows of all layers
	counts []int
	rows   int
	made   bool    // the loss is made: what layers pick when they are run again was counted before
	grad   *Tensor // [E] F32: gradient of each row's probabilities, once the backward pass knows it
}

// open tells whether the balance still collects.
func (b *Balance) open(t *Tape, experts int) bool {
	if b == nil || b.made {
		return false
	}
	if b.sum == nil {
		b.counts = make([]int, experts)
		b.sum = t.outermost(func() *Tensor { return t.empty(device.F32, experts) })
		t.Dev.Fill(b.sum.Buffer(), 0)
	}
	check(len(b.counts) == experts, "Route", "a layer of %d experts follows one of %d", experts, len(b.counts))
	return true
}

// add takes in what a layer picked: the sum over its rows of the probabilities [E], and the choices of each expert.
func (b *Balance) add(sum *Tensor, counts []int, rows int) {
	sum.dev.AddScaled(b.sum.Buffer(), 1, sum.Buffer())
	for e, c := range counts {
		b.counts[e] += c
	}
	b.rows += rows
}

// gradient is what Route adds to the gradient of its probabilities, the zero Buffer when there is no such loss.
func (b *Balance) gradient() device.Buffer {
	if b == nil || b.grad == nil {
		return device.Buffer{}
	}
	return b.grad.Buffer()
}

// Loss is the loss over all that was collected, a scalar [1]. It comes after the last layer and once in a pass.
func (b *Balance) Loss() *Tensor {
	check(b.sum != nil && !b.made, "Balance.Loss", "no layer has routed rows, or the loss was made before")
	b.made = true
	t := b.sum.tape
	// The counts are constants: picking has no slope. With F(e) choices and S(e) probabilities over R rows the loss is
	// E·Σ F(e)/R · S(e)/R, so its gradient by S(e), and by each row's probability of e, is E·F(e)/R².
	share := make([]float32, len(b.counts))
	for e, c := range b.counts {
		share[e] = float32(float64(len(share)) * float64(c) / (float64(b.rows) * float64(b.rows)))
	}
	f := t.outermost(func() *Tensor { return t.empty(device.F32, len(share)) })
	t.Dev.Write(f.Buffer(), share)
	product := t.empty(device.F32, len(share))
	t.Dev.Binary(device.Mul, product.Buffer(), f.Buffer(), b.sum.Buffer())
	y := t.empty(device.F32, 1)
	t.Dev.Reduce(device.Sum, y.Buffer(), product.Buffer())
	if t.record {
		t.push(y, func() {
			t.Dev.Scale(f.Buffer(), y.gradScalar())
			b.grad = f
		})
	}
	return y
}
