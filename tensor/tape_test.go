package tensor

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

func param(dev device.Device, shape ...int) *Tensor {
	p := NewParam(shape...)
	p.Set(dev, device.F32, random(uint64(len(shape)+shape[0]), shape...).values)
	return p
}

// TestScopeKeepsOnlyWhatBackwardNeeds: of a norm and a linear layer, the norm's output is
// dropped (it is rebuilt from x), so x, the norm's statistics and the result remain.
func TestScopeKeepsOnlyWhatBackwardNeeds(t *testing.T) {
	const n, c, out = 10, 8, 4
	dev := devicetest.NewReference()
	w, m := param(dev, c), param(dev, out, c)
	tape := NewTape(dev, device.F32)
	before := dev.Memory().InUse
	tape.Train(1, 0, 0)
	x := tape.Floats(make([]float32, n*c), n, c)
	tape.Scope(func() *Tensor { return Linear(RMSNorm(x, w, 1e-5, 0), m, nil) })
	if got, want := dev.Memory().InUse-before, int64(4*(n*c+n+n*out)); got != want {
		t.Errorf("%d bytes in use after the scope, want %d", got, want)
	}
	tape.Infer()
	tape.Scope(func() *Tensor { return Linear(RMSNorm(tape.Floats(make([]float32, n*c), n, c), w, 1e-5, 0), m, nil) })
	if got, want := dev.Memory().InUse-before, int64(4*n*out); got != want {
		t.Errorf("%d bytes in use after an unrecorded scope, want %d", got, want)
	}
	for _, train := range []bool{false, true} {
		if tape.Infer(); train {
			tape.Train(1, 0, 0)
		}
		x := tape.Floats(make([]float32, n*c), n, c)
		statistics := map[bool][2]int64{true: {n, 2 * n}}[train] // a number a row, and of a LayerNorm two
		for i, norm := range []func() *Tensor{func() *Tensor { return RMSNorm(x, w, 1e-5, 0) }, func() *Tensor { return LayerNorm(x, w, nil, 1e-5) }} {
			held := dev.Memory().InUse
			norm()
			if got, want := dev.Memory().InUse-held, 4*(n*c+statistics[i]); got != want {
				t.Errorf("norm %d takes %d bytes, training %v, want %d", i, got, train, want)
			}
		}
	}
	tape.Reset()
	if got := dev.Memory().InUse - before; got != 0 {
		t.Errorf("%d bytes in use after Reset", got)
	}
}

// both counts activations that are made again together with their gradient.
type both struct {
	*devicetest.Reference
	count int
}

func (b *both) UnaryBoth(op device.UnaryOp, y, dx, x device.Buffer) {
	b.count++
	b.Reference.UnaryBoth(op, y, dx, x)
}

func (b *both) GatedBoth(op device.UnaryOp, y, dgate, dup, gate, up device.Buffer) {
	b.count++
	b.Reference.GatedBoth(op, y, dgate, dup, gate, up)
}

// TestScopeDropsActivations: the output of an activation or a gate goes with its scope, too, for its inputs
// are enough to make it again, which a linear layer above it wants done together with its gradient.
func TestScopeDropsActivations(t *testing.T) {
	const n, c, out = 10, 8, 4
	dev := &both{Reference: devicetest.NewReference()}
	m := param(dev, out, c)
	tape := NewTape(dev, device.F32)
	for name, act := range map[string]func(x, y *Tensor) *Tensor{
		"Unary": func(x, _ *Tensor) *Tensor { return Unary(device.SiLU, x) },
		"Gated": func(x, y *Tensor) *Tensor { return Gated(device.SiLU, x, y) },
	} {
		tape.Train(1, 0, 0)
		x, y := tape.Floats(floats(n*c), n, c), tape.Floats(floats(n*c), n, c)
		x.needsGrad = true
		before := dev.Memory().InUse
		result := tape.Scope(func() *Tensor { return Linear(act(x, y), m, nil) })
		if got := dev.Memory().InUse - before; got != 4*n*out {
			t.Errorf("%s: %d bytes are kept, want the %d of the scope's result", name, got, 4*n*out)
		}
		dev.count = 0
		if tape.Backward(Sum(result)); dev.count != 1 {
			t.Errorf("%s: value and gradient were made together %d times", name, dev.count)
		}
		x.FreeGrad()
		m.FreeGrad()
		tape.Reset()
	}
}

// joining is a device on which operations want places of their own.
type joining struct{ *devicetest.Reference }

func (joining) Joins() bool { return true }

// TestInPlace: the result of Rope and Residual is where their operand was, which is gone then, but not where
// a backward pass or another tensor still wants the operand, nor on a device that joins operations.
func TestInPlace(t *testing.T) {
	dev := devicetest.NewReference()
	table := NewRopeTable(dev, []float64{1}, 4, 1)
	rope := func(tape *Tape, x *Tensor) *Tensor { return Rope(x, table, tape.Ints([]int32{1, 2}), 2) }
	residual := func(tape *Tape, x *Tensor) *Tensor { return Residual(tape.Floats(make([]float32, 8), 2, 4), x) }
	for name, op := range map[string]func(*Tape, *Tensor) *Tensor{"Rope": rope, "Residual": residual} {
		tape, joined, w := NewTape(dev, device.F32), NewTape(joining{dev}, device.F32), param(dev, 2, 4)
		for _, c := range []struct {
			what    string
			tape    *Tape
			operand func(x *Tensor) *Tensor
			want    bool
		}{
			{"a sum", tape, func(x *Tensor) *Tensor { return Add(x, w) }, true},
			{"a sum that is squared", tape, func(x *Tensor) *Tensor { x = Add(x, w); Mul(x, x); return x }, false},
			{"a sum that another is a part of", tape, func(x *Tensor) *Tensor { x = Add(x, w); tape.rowSlice(x, 0, 1); return x }, false},
			{"a part of another", tape, func(x *Tensor) *Tensor { return tape.over(x.data.slice(0, 8), x.dtype, 2, 4) }, false},
			{"what is lent", tape, func(x *Tensor) *Tensor { x = tape.Lend(x.Buffer()); x.Shape = []int{2, 4}; return x }, false},
			{"a sum on a device that joins", joined, func(x *Tensor) *Tensor { return Add(x, w) }, false},
		} {
			tape := c.tape
			tape.Train(1, 0, 0)
			x := c.operand(tape.Floats(make([]float32, 8), 2, 4))
			before := x.Buffer()
			y := op(tape, x)
			if taken := y.Buffer() == before; taken != c.want || (x.data == nil) != c.want {
				t.Errorf("%s of %s: taken over %v, its operand gone %v, want %v", name, c.what, taken, x.data == nil, c.want)
			}
			if err := Try(func() { Scale(x, 1) }); (err != nil) != c.want { // what is gone is not read unnoticed
				t.Errorf("%s of %s, which is read again: %v", name, c.what, err)
			}
			tape.Reset()
		}
	}
}

// TestScopesReuseTensors: without a backward pass, what a scope made is what the next one makes; a scope's
// result and what others still read stay as they are, and nothing is reused in a pass that is recorded.
func TestScopesReuseTensors(t *testing.T) {
	tape := NewTape(devicetest.NewReference(), device.F32)
	layer := func(x *Tensor) (inner, out *Tensor) {
		out = tape.Scope(func() *Tensor {
			inner = Scale(x, 2)
			return Scale(inner, 3)
		})
		return inner, out
	}
	pass := func() (inner [2]*Tensor, outs [2]*Tensor) {
		x := tape.Floats([]float32{1, 2}, 1, 2)
		inner[0], outs[0] = layer(x)
		inner[1], outs[1] = layer(outs[0])
		return inner, outs
	}
	tape.Infer()
	inner, outs := pass()
	if (inner[0] == inner[1]) != reuses {
		t.Errorf("the second scope made a tensor anew where the first had left one: %v, want %v", inner[0] != inner[1], !reuses)
	}
	if err := Try(func() { Scale(inner[1], 2) }); err == nil {
		t.Error("a tensor whose scope is over was taken for an operand")
	}
	for i, want := range [][]float32{{6, 12}, {36, 72}} {
		if got, err := outs[i].Float32s(); err != nil || !slices.Equal(got, want) || !slices.Equal(outs[i].Shape, []int{1, 2}) {
			t.Errorf("scope %d gives %v of shape %v, %v, want %v", i, got, outs[i].Shape, err, want)
		}
	}
	tape.Infer()
	part := tape.Scope(func() *Tensor { return tape.rowSlice(Scale(tape.Floats([]float32{1, 2, 3, 4}, 2, 2), 2), 1, 2) })
	pass()
	if got, err := part.Float32s(); err != nil || !slices.Equal(got, []float32{6, 8}) {
		t.Errorf("a part of what a scope made is %v, %v, want [6 8]", got, err)
	}
	tape.Reset()
	if held := tape.Dev.Memory().InUse; held != 0 {
		t.Errorf("%d bytes are held", held)
	}
	tape.Train(1, 0, 0)
	if inner, _ := pass(); inner[0] == inner[1] {
		t.Error("a recorded pass reuses tensors")
	}
	tape.Reset()
}

// unpacks counts what it unpacks.
type unpacks struct {
	*devicetest.Reference
	count int
}

func (u *unpacks) Unpack(y device.Buffer, p device.Packed) {
	u.count++
	u.Reference.Unpack(y, p)
}

// TestRecomputeUnpacksTwice: a packed weight is unpacked for the forward pass, and once more for the layer
// that runs again and its gradient, which is that of a layer that runs once.
func TestRecomputeUnpacksTwice(t *testing.T) {
	dev := &unpacks{Reference: devicetest.NewReference()}
	w, v, a, b := NewParam(8, 64), param(dev, 64, 64), param(dev, 2, 64), param(dev, 8, 2)
	w.Pack(dev, device.F32, device.NF4, floats(8*64))
	before := dev.Memory().InUse
	run := func(recompute bool) (grads [][]float32) {
		tape := NewTape(dev, device.F32)
		tape.Train(1, 0, 0)
		layer := func(h *Tensor) *Tensor {
			return Unary(device.SiLU, Updated(h, w, nil, true, Update{X: h, A: a, B: b, Scale: 2}))
		}
		x := Linear(tape.Floats(floats(3*64), 3, 64), v, nil)
		if recompute {
			x = Recompute(x, layer)
		} else {
			x = layer(x)
		}
		tape.Backward(Sum(x))
		for _, p := range []*Tensor{v, a, b} {
			g, err := p.GradFloat32s()
			if err != nil {
				t.Fatal(err)
			}
			grads = append(grads, g)
			p.FreeGrad()
		}
		tape.Reset()
		return grads
	}
	plain := run(false)
	dev.count = 0
	low := run(true)
	if dev.count != 2 {
		t.Errorf("the weight was unpacked %d times", dev.count)
	}
	for i := range plain {
		if !slices.Equal(plain[i], low[i]) {
			t.Errorf("gradient %d is %v recomputed and %v kept", i, low[i], plain[i])
		}
	}
	if got := dev.Memory().InUse; got != before {
		t.Errorf("%d bytes in use after Reset, %d before", got, before)
	}
}

// TestRecomputeOfFrozenLayers: layers below the first that learns run once, hold nothing beyond their pass, neither
// here nor on the host, and change no gradient; nor does one that learns and whose result has no part in that.
func TestRecomputeOfFrozenLayers(t *testing.T) {
	dev := newApart()
	frozen, w := param(dev, 4, 4), param(dev, 4, 4)
	frozen.Freeze()
	tape := NewTape(dev, device.F32)
	before := dev.Memory().InUse
	pass := func(layer func(*Tensor, func(*Tensor) *Tensor) *Tensor) (grad []float32, runs int) {
		tape.Train(1, 0, 0)
		x := Scale(tape.Floats(floats(12), 3, 4), 2)
		for range 2 {
			x = layer(x, func(h *Tensor) *Tensor { runs++; return Dropout(Linear(h, frozen, nil), 0.3) })
		}
		x = layer(x, func(h *Tensor) *Tensor { Linear(h, w, nil); return Linear(h, frozen, nil) })
		x = layer(x, func(h *Tensor) *Tensor { return Dropout(Linear(h, w, nil), 0.3) })
		tape.Backward(Sum(Mul(x, x)))
		grad, err := w.GradFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		w.FreeGrad()
		tape.Reset()
		return grad, runs
	}
	want, _ := pass(func(x *Tensor, f func(*Tensor) *Tensor) *Tensor { return f(x) })
	for _, offload := range []device.Apart{nil, dev} {
		tape.Offload = offload
		grad, runs := pass(func(x *Tensor, f func(*Tensor) *Tensor) *Tensor { return Recompute(x, f) })
		if !slices.Equal(grad, want) || runs != 2 {
			t.Errorf("offloading %v: the gradient is %v, %v without recomputing; frozen layers run %d times", offload != nil, grad, want, runs)
		}
		if held := dev.Memory().InUse - before; held != 0 || len(dev.held) > 0 || len(dev.coming) > 0 {
			t.Errorf("offloading %v: %d bytes are held, %d buffers on the host", offload != nil, held, len(dev.held))
		}
	}
	tape.Train(1, 0, 0)
	x := Scale(tape.Floats(floats(12), 3, 4), 2)
	y := Linear(x, w, nil) // whose gradient needs x, which a frozen layer does not
	if err := Try(func() { tape.Backward(Sum(Add(y, Recompute(x, func(h *Tensor) *Tensor { return Scale(h, 2) })))) }); err != nil {
		t.Error(err)
	}
	tape.Reset()
}

// TestRecomputeHoldsLess: the peak of many layers falls when they are recomputed, and the gradient is the same.
func TestRecomputeHoldsLess(t *testing.T) {
	dev := devicetest.NewReference()
	w := param(dev, 16, 16)
	run := func(recompute bool) (peak int64, grad []float32) {
		tape := NewTape(dev, device.F32)
		tape.Train(1, 0, 0)
		layer := func(h *Tensor) *Tensor {
			return Add(h, Dropout(Unary(device.GELU, Linear(Unary(device.SiLU, Linear(h, w, nil)), w, nil)), 0.2))
		}
		dev.ResetPeak()
		x := Linear(tape.Floats(make([]float32, 64*16), 64, 16), w, nil)
		x = Add(x, tape.Floats(floats(64*16), 64, 16))
		for range 24 {
			if recompute {
				x = Recompute(x, layer)
			} else {
				in := x
				x = tape.Scope(func() *Tensor { return layer(in) })
			}
		}
		tape.Backward(Sum(Mul(x, x)))
		grad, err := w.GradFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		w.FreeGrad()
		tape.Reset()
		return dev.Memory().Peak, grad
	}
	plainPeak, plain := run(false)
	lowPeak, low := run(true)
	if lowPeak*2 > plainPeak {
		t.Errorf("recomputing has a peak of %d bytes, keeping one of %d", lowPeak, plainPeak)
	}
	for i := range plain {
		if plain[i] != low[i] {
			t.Fatalf("gradient %d is %v recomputed and %v kept", i, low[i], plain[i])
		}
	}
}

func floats(n int) []float32 {
	v := make([]float32, n)
	r := NewRandom(3)
	r.Normal(v, 1)
	return v
}

// TestGradientsAccumulate: two passes add up in a parameter; FreeGrad starts over.
func TestGradientsAccumulate(t *testing.T) {
	dev := devicetest.NewReference()
	w := param(dev, 3, 3)
	tape := NewTape(dev, device.F32)
	pass := func() []float32 {
		tape.Train(1, 0, 0)
		h := tape.Floats(floats(6), 2, 3)
		tape.Backward(LinearCrossEntropy(h, Head{Weight: w}, tape.Ints([]int32{2, 1}), CrossEntropyOptions{Tokens: 2}))
		g, _ := w.GradFloat32s()
		return g
	}
	first, second := pass(), pass()
	for i := range first {
		if math.Abs(float64(second[i]-2*first[i])) > 1e-6 {
			t.Fatalf("gradient %d is %v after two passes, %v after one", i, second[i], first[i])
		}
	}
	w.FreeGrad()
	if third := pass(); third[0] != first[0] {
		t.Errorf("after FreeGrad the gradient is %v, want %v", third[0], first[0])
	}
	w.FreeGrad()
	w.Freeze()
	if frozen := pass(); frozen[0] != 0 || !w.Grad().IsZero() {
		t.Errorf("a frozen parameter got the gradient %v", frozen[0])
	}
}

// TestNormGradientsAccumulate: weight and bias of a norm share a kernel, and each adds to what it has, also
// where the other is frozen or begins anew.
func TestNormGradientsAccumulate(t *testing.T) {
	dev := devicetest.NewReference()
	w, b := param(dev, 3), param(dev, 3)
	tape := NewTape(dev, device.F32)
	pass := func() [2][]float32 {
		tape.Train(1, 0, 0)
		x := tape.Floats(floats(6), 2, 3)
		tape.Backward(Sum(Mul(LayerNorm(x, w, b, 1e-5), x)))
		dw, _ := w.GradFloat32s()
		db, _ := b.GradFloat32s()
		return [2][]float32{dw, db}
	}
	once := pass()
	for name, c := range map[string]struct {
		between func()
		times   [2]float32 // that the gradients of once are in w and b
	}{
		"both":               {func() {}, [2]float32{2, 2}},
		"a new weight":       {w.FreeGrad, [2]float32{1, 2}},
		"a new bias":         {b.FreeGrad, [2]float32{2, 1}},
		"the bias alone":     {func() { w.FreeGrad(); w.Freeze() }, [2]float32{0, 2}},
		"the weight alone":   {func() { b.FreeGrad(); b.Freeze() }, [2]float32{2, 0}},
		"a bias that begins": {func() { w.FreeGrad(); w.Freeze(); b.FreeGrad() }, [2]float32{0, 1}},
	} {
		for _, p := range []*Tensor{w, b} {
			p.FreeGrad()
			p.Thaw()
		}
		pass()
		c.between()
		got := pass()
		for i, g := range got {
			for j := range g {
				if want := c.times[i] * once[i][j]; math.Abs(float64(g[j]-want)) > 1e-6 {
					t.Errorf("%s: gradient %d is %v, want %v times %v", name, i, g, c.times[i], once[i])
					break
				}
			}
		}
	}
	tape.Reset()
}

func TestDropoutIsAFunctionOfSeedStepAndMicro(t *testing.T) {
	tape := NewTape(devicetest.NewReference(), device.F32)
	mask := func(seed uint64, step, micro int) string {
		tape.Train(seed, step, micro)
		x := tape.Floats(slicesOf(1, 64), 64, 1)
		v, _ := Dropout(x, 0.5).Float32s()
		var b strings.Builder
		for _, f := range v {
			b.WriteByte("01"[min(1, int(f))])
		}
		return b.String()
	}
	base := mask(1, 2, 3)
	if mask(1, 2, 3) != base {
		t.Error("the same numbers give another mask")
	}
	for _, other := range []string{mask(2, 2, 3), mask(1, 3, 3), mask(1, 2, 4)} {
		if other == base {
			t.Error("other numbers give the same mask")
		}
	}
	for name, start := range map[string]func(){"without gradients": tape.Infer, "with them": tape.Differentiate} {
		start()
		if x := tape.Floats(slicesOf(1, 4), 4, 1); Dropout(x, 0.5) != x || Noise(x, slicesOf(1, 4)) != x {
			t.Errorf("dropout or noise acts outside training, %s", name)
		}
	}
	if mask(1, 2, 3) != base {
		t.Error("dropout does not act in training again")
	}
}

func slicesOf(v float32, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func TestMisuseIsATypedError(t *testing.T) {
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	tape.Infer()
	x := tape.Floats(floats(6), 2, 3)
	err := Try(func() { Linear(x, param(dev, 4, 5), nil) })
	var e *Error
	if !errors.As(err, &e) || e.Op != "Linear" || !strings.Contains(err.Error(), "[2 3]") || !strings.Contains(err.Error(), "[4 5]") {
		t.Errorf("Linear of [2 3] and [4 5] gives %v", err)
	}
	for name, f := range map[string]func(){
		"Add":      func() { Add(x, tape.Floats(floats(4), 2, 2)) },
		"Backward": func() { tape.Backward(Sum(x)) },
		"Embedding": func() {
			Embedding(param(dev, 2), param(dev, 2, 2))
		},
	} {
		if err := Try(f); !errors.As(err, &e) || e.Op != name {
			t.Errorf("%s: got %v", name, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Try swallowed a panic that is not an operation's")
		}
	}()
	_ = Try(func() { panic("other") })
}

func TestOutOfMemoryIsAnError(t *testing.T) {
	want := &device.OutOfMemory{Device: "cpu", Asked: 1 << 30}
	err := Try(func() { panic(want) })
	var oom *device.OutOfMemory
	if !errors.As(err, &oom) || !strings.Contains(err.Error(), "1024 MiB") {
		t.Errorf("got %v", err)
	}
}

// TestLossDoesNotDependOnChunks: the chunks of the head are an implementation detail, for the loss and for
// each row's own numbers, and for all gradients.
func TestLossDoesNotDependOnChunks(t *testing.T) {
	const n, c, v = 300, 6, 11
	dev := devicetest.NewReference()
	w, b := param(dev, v, c), param(dev, v)
	tape := NewTape(dev, device.F32)
	targets := make([]int32, n)
	for i := range targets {
		targets[i] = int32(i%(v+1)) - 1
	}
	weights := func(step int) *Tensor { // of each row another, so that a row's numbers cannot stand for another's
		list := make([]float32, n)
		for i := range list {
			list[i] = float32(i*step%23) / n
		}
		return tape.Constant(list, n)
	}
	run := func(chunk int, bias *Tensor, rows bool) []float32 {
		tape.Train(1, 0, 0)
		h := tape.Floats(floats(n*c), n, c)
		h.needsGrad = true
		k := chunkHead("test", tape, h, Head{Weight: w, Bias: bias}, tape.Ints(targets))
		if chunk > 0 {
			k.chunk = chunk
		}
		var loss *Tensor
		if rows {
			logp, entropy := k.logProbs(true)
			loss = Add(Sum(Mul(logp, weights(7))), Sum(Mul(entropy, weights(5))))
		} else {
			loss = k.loss(CrossEntropyOptions{Tokens: 250})
		}
		l, _ := loss.Item()
		tape.Backward(loss)
		got := []float32{float32(l)}
		for _, x := range []*Tensor{w, b, h} {
			g, _ := x.GradFloat32s()
			got = append(got, g...)
			x.FreeGrad()
		}
		return got
	}
	for _, rows := range []bool{false, true} {
		for _, bias := range []*Tensor{nil, b} {
			whole := run(0, bias, rows)
			for i, got := range run(64, bias, rows) {
				if math.Abs(float64(got-whole[i])) > 2e-6*max(1, math.Abs(float64(whole[i]))) {
					t.Fatalf("rows %v, bias %v: number %d is %v in one piece, %v in chunks", rows, bias, i, whole[i], got)
				}
			}
		}
	}
}

// TestLogProbsOfFrozenWeight: a bias that is trained alone gets its gradient, which the way for a frozen head
// would leave out.
func TestLogProbsOfFrozenWeight(t *testing.T) {
	dev := devicetest.NewReference()
	w, b := param(dev, 5, 3), param(dev, 5)
	tape := NewTape(dev, device.F32)
	run := func() []float32 {
		tape.Train(1, 0, 0)
		h := tape.Floats(floats(12), 4, 3)
		h.needsGrad = true
		logp, _ := LogProbs(h, Head{Weight: w, Bias: b}, tape.Ints([]int32{0, 4, 2, 1}))
		tape.Backward(Sum(logp))
		g, err := b.GradFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		b.FreeGrad()
		w.FreeGrad()
		return g
	}
	want := run()
	w.Freeze()
	if got := run(); !slices.Equal(got, want) || slices.Max(got) == 0 {
		t.Errorf("the gradient of the bias is %v under a frozen weight, and %v under a trained one", got, want)
	}
	tape.Reset()
}

// TestEmbeddingsType: activations are of the tape's type, whatever the table is kept in.
func TestEmbeddingsType(t *testing.T) {
	dev := devicetest.NewReference()
	table := param(dev, 4, 3)
	tape := NewTape(dev, device.BF16)
	tape.Train(1, 0, 0)
	ids := tape.Ints([]int32{2, 0})
	if got := Embedding(ids, table).DType(); table.DType() != device.F32 || got != device.BF16 {
		t.Errorf("a table of %v gives activations of %v on a tape of %v", table.DType(), got, tape.DType)
	}
	if got := Rows(table, ids).DType(); got != device.F32 {
		t.Errorf("rows of a matrix of %v are %v", table.DType(), got)
	}
	tape.Reset()
}

// TestFreezeKeepsTheGradient that a parameter has.
func TestFreezeKeepsTheGradient(t *testing.T) {
	dev := devicetest.NewReference()
	w := param(dev, 3)
	tape := NewTape(dev, device.F32)
	tape.Train(1, 0, 0)
	tape.Backward(Sum(Mul(w, tape.Floats(floats(3), 3))))
	w.Freeze()
	if w.Grad().IsZero() || w.NeedsGrad() {
		t.Error("freezing takes the gradient, or the parameter is not frozen")
	}
	w.Thaw()
	w.FreeGrad()
	tape.Reset()
}

// TestHeadIsInterrupted between its chunks, of which one has the rows of a whole batch, forward and backward;
// what it held is free after Reset.
func TestHeadIsInterrupted(t *testing.T) {
	const n, c, v = 300, 6, 11
	dev := devicetest.NewReference()
	w := param(dev, v, c)
	tape := NewTape(dev, device.F32)
	stop, asked := errors.New("stop"), 0
	tape.Interrupt = func() error {
		if asked++; asked > 3 {
			return stop
		}
		return nil
	}
	for name, f := range map[string]func(k *chunkedHead) *Tensor{
		"loss": func(k *chunkedHead) *Tensor { return k.loss(CrossEntropyOptions{Tokens: n}) },
		"log-probabilities": func(k *chunkedHead) *Tensor {
			logp, _ := k.logProbs(false)
			return Sum(logp)
		},
		"gradients": func(k *chunkedHead) *Tensor {
			asked = -5 - 2 - 3 // chunks, operations and entries before
			logp, _ := k.logProbs(false)
			return Sum(logp)
		},
	} {
		asked = 0
		before := dev.Memory().InUse
		err := Try(func() {
			tape.Train(1, 0, 0)
			h := tape.Floats(floats(n*c), n, c)
			h.needsGrad = true
			k := chunkHead("test", tape, h, Head{Weight: w}, tape.Ints(make([]int32, n)))
			k.chunk = 64
			tape.Backward(f(k))
		})
		tape.Reset()
		w.FreeGrad()
		if !errors.Is(err, stop) || err.Error() != "stop" || asked != 4 {
			t.Errorf("%s: %v after %d questions", name, err, asked)
		}
		if held := dev.Memory().InUse; held != before {
			t.Errorf("%s: %d bytes are held, %d before", name, held, before)
		}
	}
}

// TestInterruptedAnywhere: at whatever question a pass ends, Reset frees all that it held: also where a
// recomputed layer is the first entry, as it is over frozen embeddings, and where the gradient of an entropy
// waits for that of its log-probability.
func TestInterruptedAnywhere(t *testing.T) {
	const n, c, v = 130, 4, 9
	dev := newApart()
	w, top := param(dev, c, c), param(dev, v, c)
	for _, offload := range []device.Apart{nil, dev} {
		tape := NewTape(dev, device.F32)
		tape.Offload = offload
		left := 0
		tape.Interrupt = func() error {
			if left--; left < 0 {
				return errors.New("stop")
			}
			return nil
		}
		before, ends := dev.Memory().InUse, 0
		for at := 0; ; at++ {
			left = at
			err := Try(func() {
				tape.Train(1, 0, 0)
				x := tape.Floats(floats(n*c), n, c)
				for range 2 {
					x = Recompute(x, func(h *Tensor) *Tensor {
						return Add(h, Dropout(Linear(Unary(device.SiLU, Linear(h, w, nil)), w, nil), 0.2))
					})
				}
				k := chunkHead("test", tape, x, Head{Weight: top}, tape.Ints(make([]int32, n)))
				k.chunk = 64
				logp, entropy := k.logProbs(true)
				tape.Backward(Sum(Add(logp, entropy)))
			})
			tape.Reset()
			w.FreeGrad()
			top.FreeGrad()
			if held := dev.Memory().InUse; held != before || len(dev.held)+len(dev.coming) > 0 {
				t.Errorf("offloading %v: ended by question %d a pass leaves %d bytes and %d on the host", offload != nil, at, held-before, len(dev.held)+len(dev.coming))
			}
			if err == nil {
				break
			}
			ends++
		}
		if ends < 20 {
			t.Errorf("a pass is asked for %d times", ends)
		}
	}
}

// wide is a device that asks for many rows of logits at a time.
type wide struct {
	*devicetest.Reference
	rows int
}

func (w wide) LogitRows(int) int { return w.rows }

// TestChunksOfTheHead: rows of logits come in equal chunks of a multiple of 64, as large as chunkBytes,
// chunkRows or the device has it, and begin on 16 bytes each, unless a bias wants them without gaps.
func TestChunksOfTheHead(t *testing.T) {
	const million = 1 << 20 // columns that chunkBytes has too few rows of
	for _, c := range []struct {
		n, v      int
		dtype     device.DType
		bias      bool
		wide      int
		chunk, ld int
	}{
		{n: 300, v: 11, chunk: 320, ld: 16},
		{n: 320, v: 16, chunk: 320, ld: 16},
		{n: 300, v: 11, bias: true, chunk: 320, ld: 11},
		{n: 256, v: million, chunk: 256, ld: million},
		{n: 257, v: million, chunk: 192, ld: million},
		{n: 1000, v: million, chunk: 256, ld: million},
		{n: 1025, v: million, chunk: 256, ld: million},
		{n: 600, v: 52 << 10, chunk: 256, ld: 52 << 10},
		{n: 600, v: 52 << 10, dtype: device.BF16, chunk: 320, ld: 52 << 10}, // whose gradients take half
		{n: 1000, v: million, wide: 2000, chunk: 1024, ld: million},
		{n: 1000, v: million, wide: 100, chunk: 256, ld: million},
	} {
		dev := device.Device(devicetest.NewReference())
		if c.wide > 0 {
			dev = wide{devicetest.NewReference(), c.wide}
		}
		top := Head{Weight: &Tensor{Shape: []int{c.v, 1}, dtype: c.dtype}}
		if c.bias {
			top.Bias = NewParam(c.v)
		}
		k := chunkHead("test", NewTape(dev, c.dtype), &Tensor{Shape: []int{c.n, 1}, dtype: c.dtype}, top, &Tensor{Shape: []int{c.n}})
		if k.chunk != c.chunk || k.ld != c.ld {
			t.Errorf("%+v: chunks of %d rows, %d elements apart", c, k.chunk, k.ld)
		}
	}
}

// TestTiedGradientExistsOnce: the gradient of a table that is embedding and head at once is never copied, so the
// pass holds it and one set of logits, less than two tables.
func TestTiedGradientExistsOnce(t *testing.T) {
	const n, v, c = 8, 64, 64
	dev := devicetest.NewReference()
	table := param(dev, v, c)
	tape := NewTape(dev, device.F32)
	before := dev.Memory().InUse
	dev.ResetPeak()
	tape.Train(1, 0, 0)
	ids := tape.Ints(make([]int32, n))
	loss := LinearCrossEntropy(Embedding(ids, table), Head{Weight: table}, ids, CrossEntropyOptions{Tokens: n})
	tape.Backward(loss)
	if held, one := dev.Memory().Peak-before, int64(4*v*c); held >= 2*one {
		t.Errorf("the pass held %d bytes beside the table, whose gradient has %d", held, one)
	}
	tape.Reset()
	if got, want := dev.Memory().InUse-before, int64(4*v*c); got != want {
		t.Errorf("%d bytes in use after Reset, want the gradient's %d", got, want)
	}
}
