package tensor

import (
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

// TestBackwardFreesAsItGoes: when Backward returns, a pass holds its inputs, its loss and the gradients
// of parameters, and nothing else.
func TestBackwardFreesAsItGoes(t *testing.T) {
	const n, c, v = 6, 4, 9
	for name, objective := range map[string]struct {
		loss  func(h *Tensor, top Head, ids *Tensor) *Tensor
		bytes int64 // of what it makes beside the loss and no gradient passes through
	}{
		"LinearCrossEntropy": {func(h *Tensor, top Head, ids *Tensor) *Tensor {
			return LinearCrossEntropy(h, top, ids, CrossEntropyOptions{Tokens: 5})
		}, 0},
		"LogProbs": {func(h *Tensor, top Head, ids *Tensor) *Tensor { // and their entropy
			logp, _ := LogProbs(h, top, ids)
			return Sum(logp)
		}, 4 * n},
	} {
		dev := devicetest.NewReference()
		w, g, head := param(dev, c, c), param(dev, c), param(dev, v, c)
		tape := NewTape(dev, device.F32)
		before := dev.Memory().InUse
		tape.Train(1, 0, 0)
		x := tape.Floats(floats(n*c), n, c)
		h := x
		for range 3 {
			in := h
			h = tape.Scope(func() *Tensor { return Residual(in, Unary(device.SiLU, Linear(RMSNorm(in, g, 1e-5, 0), w, nil))) })
		}
		loss := objective.loss(h, Head{Weight: head}, tape.Ints([]int32{1, -1, 3, 4, 8, 0}))
		tape.Backward(loss)
		for _, e := range tape.entries[:cap(tape.entries)] {
			if e.backward != nil || e.out != nil {
				t.Errorf("%s: a closure that has run is held", name)
				break
			}
		}
		params := int64(4 * (c*c + c + v*c))
		if got, want := dev.Memory().InUse-before, params+4*(n*c+n+1)+objective.bytes; got != want {
			t.Errorf("%s: %d bytes in use after Backward, want %d: inputs, the loss and gradients", name, got, want)
		}
		if _, err := loss.Item(); err != nil {
			t.Errorf("%s: the loss after Backward: %v", name, err)
		}
		tape.Reset()
		if got := dev.Memory().InUse - before; got != params {
			t.Errorf("%s: %d bytes in use after Reset, want the %d of gradients", name, got, params)
		}
		for _, p := range []*Tensor{w, g, head} {
			p.Free()
			p.Free() // nothing is left to free
			if p.data != nil || !p.Grad().IsZero() {
				t.Errorf("%v has memory after Free", p)
			}
		}
		if got := dev.Memory().InUse; got != 0 {
			t.Errorf("%s: %d bytes in use after Free", name, got)
		}
	}
}

// TestPassesThatEndEarly: a pass without Backward, and one whose loss nothing depends on, leave no memory behind.
func TestPassesThatEndEarly(t *testing.T) {
	dev := devicetest.NewReference()
	w := param(dev, 3, 3)
	tape := NewTape(dev, device.F32)
	before := dev.Memory().InUse
	forward := func() *Tensor {
		x := tape.Floats(floats(6), 2, 3)
		return Sum(Recompute(tape.Scope(func() *Tensor { return Unary(device.GELU, Linear(x, w, nil)) }), func(h *Tensor) *Tensor { return Linear(h, w, nil) }))
	}
	tape.Train(1, 0, 0)
	forward()
	tape.Train(1, 1, 0) // without Reset
	if got := dev.Memory().InUse; got != before || len(tape.scopes[0]) > 0 {
		t.Errorf("%d bytes in use and %d tensors held when the next pass begins, %d bytes before", got, len(tape.scopes[0]), before)
	}
	forward()
	tape.Infer()
	if got := dev.Memory().InUse; got != before {
		t.Errorf("%d bytes in use when a pass without gradients begins, %d before", got, before)
	}
	tape.Train(1, 2, 0)
	forward()
	tape.Backward(Sum(tape.Floats(floats(2), 2))) // of constants
	tape.Reset()
	if got := dev.Memory().InUse; got != before || !w.Grad().IsZero() {
		t.Errorf("%d bytes in use after Reset, %d before; w has a gradient: %v", got, before, !w.Grad().IsZero())
	}
}

// TestScopesNest: what a scope returns lives in the scope around it, and so does what it was given and gives back.
func TestScopesNest(t *testing.T) {
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	tape.Infer()
	var inner *Tensor
	out := tape.Scope(func() *Tensor {
		x := tape.Floats([]float32{1, 2}, 1, 2)
		inner = tape.Scope(func() *Tensor { return Scale(x, 3) })
		if same := tape.Scope(func() *Tensor { Scale(inner, 5); return inner }); same != inner {
			t.Error("a scope changes what it gives back")
		}
		y := Scale(inner, 2)
		if v, err := inner.Float32s(); err != nil || !slices.Equal(v, []float32{3, 6}) {
			t.Errorf("the result of a scope is %v, %v in the scope around it", v, err)
		}
		return y
	})
	if v, err := out.Float32s(); err != nil || !slices.Equal(v, []float32{6, 12}) {
		t.Errorf("the result is %v, %v", v, err)
	}
	if got := dev.Memory().InUse; got != 8 {
		t.Errorf("%d bytes in use, want those of the result", got)
	}
	seen := map[*Tensor]bool{}
	for range 20 {
		if x := Scale(out, 1); seen[x] {
			t.Fatal("two results are one tensor")
		} else {
			seen[x] = true
		}
	}
	tape.Reset()
	if got := dev.Memory().InUse; got != 0 {
		t.Errorf("%d bytes in use after Reset", got)
	}
}

// TestLentMemoryIsTheCallers: neither a scope nor Reset frees what is lent.
func TestLentMemoryIsTheCallers(t *testing.T) {
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	b := dev.Alloc(4, device.F32)
	dev.Write(b, []float32{1, 2, 3, 4})
	for _, begin := range []func(){tape.Infer, func() { tape.Train(1, 0, 0) }} {
		begin()
		y := tape.Scope(func() *Tensor { return Scale(tape.Lend(b.Slice(1, 3)), 10) })
		if v, err := y.Float32s(); err != nil || !slices.Equal(v, []float32{20, 30}) || len(y.Shape) != 1 {
			t.Errorf("%v of shape %v, %v", v, y.Shape, err)
		}
		tape.Reset()
		if got := dev.Memory().InUse; got != 16 {
			t.Errorf("%d bytes in use after Reset, want the 16 that were lent", got)
		}
	}
	dev.Free(b)
}

// failing fails the allocation number at, counted from 1, and no other.
type failing struct {
	*devicetest.Reference
	count, at int
	unpacked  int
}

func (f *failing) Alloc(n int, t device.DType) device.Buffer {
	if f.count++; f.count == f.at {
		panic(&device.OutOfMemory{Device: "failing", Asked: int64(n)})
	}
	return f.Reference.Alloc(n, t)
}

func (f *failing) Unpack(y device.Buffer, p device.Packed) {
	f.unpacked++
	f.Reference.Unpack(y, p)
}

// TestTapeAfterFailure: wherever memory ran out in a pass, the next passes of the same tape compute
// what they compute without that.
func TestTapeAfterFailure(t *testing.T) {
	dev := &failing{Reference: devicetest.NewReference()}
	w, v, a, b := NewParam(4, 64), param(dev, 64, 4), param(dev, 2, 64), param(dev, 4, 2)
	w.Pack(dev, device.F32, device.NF4, floats(4*64))
	tape := NewTape(dev, device.F32)
	on := false // as an adapter is, by Between
	layer := func(h *Tensor) *Tensor {
		h = Linear(Unary(device.SiLU, Updated(Dropout(h, 0.1), w, nil, true, Update{X: h, A: a, B: b, Scale: 2})), v, nil)
		return Residual(h, Scale(h, 0.5))
	}
	step := func() {
		tape.Train(1, 0, 0)
		x := Scale(tape.Floats(floats(3*64), 3, 64), 1)
		x = tape.Between(func() { on = true }, func() { on = false }, func() *Tensor { return Recompute(x, layer) })
		tape.Backward(Sum(Mul(x, x)))
	}
	grads := func() (list [][]float32) {
		for _, p := range []*Tensor{v, a, b} {
			g, err := p.GradFloat32s()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, g)
			p.FreeGrad()
		}
		tape.Reset()
		return list
	}
	step()
	want := grads()
	generate := func() (count int) {
		tape.Infer()
		before := dev.unpacked
		Linear(tape.Floats(floats(64), 1, 64), w, nil)
		held := dev.Memory().InUse
		tape.Reset()
		if held -= dev.Memory().InUse; held != 4*(64+4) {
			t.Errorf("a pass without gradients holds %d bytes, want %d: input and output", held, 4*(64+4))
		}
		return dev.unpacked - before
	}
	if n := generate(); n != 1 {
		t.Fatalf("a product by packed numbers unpacks them %d times", n)
	}
	dev.count = 0
	step()
	grads()
	for at := 1; at <= dev.count; at++ {
		total := dev.count
		dev.count, dev.at = 0, at
		if err := Try(step); err == nil {
			t.Fatalf("allocation %d of %d fails and nobody says so", at, total)
		}
		dev.at = 0
		grads()
		if on {
			t.Errorf("allocation %d failed: what Between switched on is still on", at)
			on = false
		}
		generate()
		step()
		if got := grads(); !slices.EqualFunc(got, want, slices.Equal[[]float32]) {
			t.Errorf("after allocation %d failed, gradients are %v, want %v", at, got, want)
		}
		dev.count = total
	}
}

// TestFrozenLayersKeepNoInput: the gradient of a layer's weight needs the layer's input, that of the input alone
// does not: under a frozen weight the input is gone at the end of its scope, which is half of what adapters save.
func TestFrozenLayersKeepNoInput(t *testing.T) {
	const n, c, out = 10, 8, 4
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	for name, layer := range map[string]func(x, w *Tensor) *Tensor{
		"Linear":  func(x, w *Tensor) *Tensor { return Linear(x, w, nil) },
		"Linears": func(x, w *Tensor) *Tensor { return Linears(x, Weights{W: w})[0] },
		"Updated": func(x, w *Tensor) *Tensor {
			a, b := param(dev, 2, c), param(dev, out, 2)
			a.Freeze()
			return Updated(x, w, nil, true, Update{X: x, A: a, B: b, Scale: 1}) // b alone learns
		},
	} {
		w := param(dev, out, c)
		held := func() int64 {
			tape.Train(1, 0, 0)
			x := tape.Constant(floats(n*c), n, c)
			x.needsGrad = true
			before := dev.Memory().InUse
			tape.Scope(func() *Tensor { return layer(Scale(x, 2), w) })
			return dev.Memory().InUse - before
		}
		learning := held()
		w.Freeze()
		if frozen := held(); learning-frozen != 4*n*c {
			t.Errorf("%s: %d bytes are kept under a frozen weight, %d under one that learns; want the %d of the input less", name, frozen, learning, 4*n*c)
		}
		tape.Reset()
	}
}

// TestNothingIsRecordedWithoutGradients: a pass of Infer leaves no closure behind, and what
// Between switches is switched once.
func TestNothingIsRecordedWithoutGradients(t *testing.T) {
	dev := devicetest.NewReference()
	w, g := param(dev, 4, 4), param(dev, 4)
	tape := NewTape(dev, device.F32)
	on, off := 0, 0
	tape.Infer()
	x := tape.Constant(floats(8), 2, 4)
	layer := func(h *Tensor) *Tensor {
		h = RMSNorm(Linears(h, Weights{W: w})[0], g, 1e-5, 0)
		p := SplitCols(Gated(device.SiLU, Conv1D(h, w, nil), h), 2, 2)
		Prepend(Affine(p[0], 2, 1), p[1], []int{0}, 0)
		return Add(Rows(h, tape.Ints([]int32{1, 0})), Mul(h, h))
	}
	tape.Between(func() { on++ }, func() { off++ }, func() *Tensor { return Recompute(x, layer) })
	LinearCrossEntropy(x, Head{Weight: w}, tape.Ints([]int32{1, 2}), CrossEntropyOptions{Tokens: 2})
	LogProbsAndEntropy(x, Head{Weight: w}, tape.Ints([]int32{1, 2}))
	if len(tape.entries) > 0 {
		t.Errorf("%d operations are recorded", len(tape.entries))
	}
	tape.Reset()
	if on != 1 || off != 1 {
		t.Errorf("switched on %d times and off %d times", on, off)
	}
	if !w.Grad().IsZero() {
		t.Error("a pass without gradients leaves one")
	}
}

// TestNothingIsRecordedInVain: no operation leaves a closure in a pass without gradients, nor where
// none of its operands wants one.
func TestNothingIsRecordedInVain(t *testing.T) {
	for _, c := range gradCases() {
		// what is switched on, and a balance, is so whatever learns
		always := c.name == "Between" || strings.Contains(c.name, "load-balancing")
		for _, train := range []bool{false, true} {
			tape := NewTape(devicetest.NewReference(), device.F32)
			if tape.Infer(); train {
				tape.Train(1, 0, 0)
			}
			var xs []*Tensor
			for _, l := range c.leaves {
				x := tape.empty(device.F32, l.shape...)
				tape.Dev.Write(x.Buffer(), l.values)
				x.needsGrad = !train
				xs = append(xs, x)
			}
			c.graph(tape, xs)
			if n := len(tape.entries); n > 0 && !(train && always) {
				t.Errorf("%s, training %v: %d operations are recorded", c.name, train, n)
			}
			tape.Reset()
		}
	}
}

// TestParametersKeepTheirMemory: values set again take the place of those before, and a parameter that is
// thawed learns again.
func TestParametersKeepTheirMemory(t *testing.T) {
	dev := devicetest.NewReference()
	p := param(dev, 2, 2)
	before := p.Buffer()
	p.Set(dev, device.F32, []float32{1, 2, 3, 4})
	if v, err := p.Float32s(); p.Buffer() != before || dev.Memory().InUse != 16 || err != nil || !slices.Equal(v, []float32{1, 2, 3, 4}) {
		t.Errorf("values set again are %v, %v, in %d bytes", v, err, dev.Memory().InUse)
	}
	p.Freeze()
	frozen := p.NeedsGrad()
	p.Thaw()
	if frozen || !p.NeedsGrad() {
		t.Errorf("it wants a gradient when frozen: %v, when thawed: %v", frozen, p.NeedsGrad())
	}
	p.Free()
	NewRopeTable(dev, []float64{1, 0.5}, 3, 1).Free()
	if held := dev.Memory().InUse; held != 0 {
		t.Errorf("%d bytes are left of a parameter and a table", held)
	}
}

// loose is a device whose products of fewer than three rows round otherwise.
type loose struct{ *failing }

func (loose) FewRows() int { return 3 }

// TestFewRowsRunAgainAsTheyRan: where products of few rows round otherwise, a recomputed layer multiplies few rows by
// packed numbers as it did before; from FewRows on the numbers are unpacked once for the second run and its gradient.
func TestFewRowsRunAgainAsTheyRan(t *testing.T) {
	for n, want := range map[int]int{2: 3, 3: 2, 4: 2} {
		dev := loose{&failing{Reference: devicetest.NewReference()}}
		w := NewParam(4, 64)
		w.Pack(dev, device.F32, device.Int8, floats(4*64))
		tape := NewTape(dev, device.F32)
		tape.Train(1, 0, 0)
		x := tape.Constant(floats(n*64), n, 64)
		x.needsGrad = true
		tape.Backward(Sum(Recompute(x, func(h *Tensor) *Tensor { return Linear(h, w, nil) })))
		if dev.unpacked != want {
			t.Errorf("%d rows: the weight is unpacked %d times, want %d", n, dev.unpacked, want)
		}
		x.FreeGrad()
		tape.Reset()
	}
}
