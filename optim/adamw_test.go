package optim_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/device/devicetest"
	"hone/optim"
	"hone/tensor"
)

// onDevices runs f on the reference and on the processor.
func onDevices(t *testing.T, f func(t *testing.T, dev device.Device)) {
	t.Run("reference", func(t *testing.T) { f(t, devicetest.NewReference()) })
	t.Run("cpu", func(t *testing.T) {
		dev := cpu.New(cpu.Options{Threads: 2})
		t.Cleanup(dev.Close)
		f(t, dev)
	})
}

func param(dev device.Device, dtype device.DType, v ...float32) *tensor.Tensor {
	p := tensor.NewParam(1, len(v))
	p.Set(dev, dtype, v)
	return p
}

// backward gives each parameter the gradient g: that of the sum of p*g.
func backward(dev device.Device, dtype device.DType, gradients map[*tensor.Tensor][]float32) {
	tape := tensor.NewTape(dev, dtype)
	for p, g := range gradients {
		tape.Train(1, 0, 0)
		// The loss p·gᵀ is a matrix product of one row with one column.
		w := tape.Floats(g, 1, len(g))
		tape.Backward(tensor.Linear(w, p, nil))
	}
	tape.Reset()
}

func values(t *testing.T, x *tensor.Tensor) []float32 {
	t.Helper()
	v, err := x.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestFirstStepByHand: with zero moments the bias-corrected update is g/(|g|+eps), so a step at rate r takes
// r·sign(g) of each weight, and decay takes r·decay·weight more.
func TestFirstStepByHand(t *testing.T) {
	onDevices(t, func(t *testing.T, dev device.Device) {
		a, b, c := param(dev, device.F32, 1, -2), param(dev, device.F32, 4, 5), param(dev, device.F32, 7)
		opt := optim.New(dev, []optim.Param{{Name: "a", Tensor: a, Decay: true}, {Name: "b", Tensor: b, LRScale: 0.5}, {Name: "c", Tensor: c}},
			optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-12, WeightDecay: 0.5, MaxGradNorm: 0})
		backward(dev, device.F32, map[*tensor.Tensor][]float32{a: {3, -4}, b: {0, 12}})
		norm, err := opt.Step(0.1)
		if err != nil || math.Abs(norm-13) > 1e-5 {
			t.Errorf("norm %v, error %v; want 13", norm, err)
		}
		for _, w := range []struct {
			name string
			got  []float32
			want []float64
		}{
			{"a decays", values(t, a), []float64{1 - 0.1 - 0.05, -2 + 0.1 + 0.1}},
			{"b at half the rate", values(t, b), []float64{4, 5 - 0.05}},
			{"c without a gradient", values(t, c), []float64{7}},
		} {
			for i := range w.want {
				if math.Abs(float64(w.got[i])-w.want[i]) > 1e-5 {
					t.Errorf("%s: %v, want %v", w.name, w.got, w.want)
					break
				}
			}
		}
		if !a.Grad().IsZero() || !b.Grad().IsZero() {
			t.Error("gradients are still there after the step")
		}
	})
}

// TestClipping: gradients over the limit act as if they had been scaled to it. Adam itself hardly sees a
// scale, so the first moment is looked at.
func TestClipping(t *testing.T) {
	onDevices(t, func(t *testing.T, dev device.Device) {
		for _, c := range []struct{ limit, want float64 }{{0, 3}, {1, 0.6}, {5, 3}, {10, 3}} {
			p := param(dev, device.F32, 0, 0)
			opt := optim.New(dev, []optim.Param{{Name: "p", Tensor: p}}, optim.Config{Beta1: 0, Beta2: 0.9, Eps: 1e-8, MaxGradNorm: c.limit})
			backward(dev, device.F32, map[*tensor.Tensor][]float32{p: {3, 4}})
			if norm, err := opt.Step(0.1); err != nil || math.Abs(norm-5) > 1e-5 {
				t.Errorf("norm %v, error %v", norm, err)
			}
			m := make([]float32, 2)
			if err := opt.State()[1].Read(m); err != nil || math.Abs(float64(m[0])-c.want) > 1e-5 {
				t.Errorf("limit %v: first moment %v, want %v", c.limit, m[0], c.want)
			}
		}
	})
}

// TestNonFinite: nothing moves, the tensors are named, the gradients are gone.
func TestNonFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	onDevices(t, func(t *testing.T, dev device.Device) {
		for _, c := range []struct {
			bad  []float32
			want string
		}{{[]float32{nan, 1, 1}, "bad (1 of 3 elements)"}, {[]float32{inf, 2, nan}, "bad (2 of 3 elements)"}, {[]float32{-inf, -inf, inf}, "bad (3 of 3"}} {
			good, bad := param(dev, device.F32, 1, 2), param(dev, device.F32, 3, 4, 5)
			opt := optim.New(dev, []optim.Param{{Name: "good", Tensor: good}, {Name: "bad", Tensor: bad, Decay: true}}, optim.Default())
			backward(dev, device.F32, map[*tensor.Tensor][]float32{good: {1, 1}, bad: c.bad})
			_, err := opt.Step(0.1)
			var e *optim.NonFinite
			if !errors.As(err, &e) || !slices.Equal(e.Names(), []string{"bad"}) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that names %s", err, c.want)
			}
			if !slices.Equal(values(t, good), []float32{1, 2}) || !slices.Equal(values(t, bad), []float32{3, 4, 5}) || opt.Updates() != 0 {
				t.Error("a refused step changed something")
			}
			if !good.Grad().IsZero() || !bad.Grad().IsZero() {
				t.Error("gradients are still there")
			}
			opt.Free()
		}
	})
}

// TestNonFiniteListIsShort: a diverged model of hundreds of tensors still gives one sentence.
func TestNonFiniteListIsShort(t *testing.T) {
	e := &optim.NonFinite{Norm: math.NaN()}
	for range 200 {
		e.Tensors = append(e.Tensors, optim.BadTensor{Name: "w", Bad: 1, Len: 2})
	}
	if s := e.Error(); len(s) > 200 || !strings.Contains(s, "and 197 more") {
		t.Error(s)
	}
}

// TestMasters: updates too small for bf16 add up in the master and reach the parameter in the end.
func TestMasters(t *testing.T) {
	onDevices(t, func(t *testing.T, dev device.Device) {
		p := param(dev, device.BF16, 1, 1)
		opt := optim.New(dev, []optim.Param{{Name: "p", Tensor: p}}, optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-12})
		for range 64 { // each takes 1e-4; bf16 has steps of 2^-8 below 1
			backward(dev, device.BF16, map[*tensor.Tensor][]float32{p: {1, 0}})
			if _, err := opt.Step(1e-4); err != nil {
				t.Fatal(err)
			}
		}
		master := make([]float32, 2)
		if err := opt.State()[0].Read(master); err != nil {
			t.Fatal(err)
		}
		if d := math.Abs(float64(master[0]) - (1 - 64e-4)); d > 1e-5 {
			t.Errorf("the master is %v, off by %v", master[0], d)
		}
		if got := values(t, p)[0]; math.Abs(float64(got-master[0])) > 1./512 || got == 1 {
			t.Errorf("the parameter is %v, its master %v", got, master[0])
		}
	})
}

// ramp is n numbers over several orders of magnitude, others for each seed.
func ramp(n, seed int) []float32 {
	v := make([]float32, n)
	r := tensor.NewRandom(uint64(seed))
	for i := range v {
		v[i] = float32(math.Exp(-5*r.Float64())) * (1 - 2*float32(i&1))
	}
	return v
}

// TestStateContinues: a second optimizer that is given the state of the first makes the same bits, wherever and however
// either keeps its state.
func TestStateContinues(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 2})
	defer dev.Close()
	const n = 5000
	for _, dtype := range []device.DType{device.F32, device.BF16} {
		for _, eight := range []bool{false, true} {
			config := optim.Default()
			config.EightBit = eight
			first, second := param(dev, dtype, ramp(n, 1)...), param(dev, dtype, ramp(n, 2)...)
			a := optim.New(dev, []optim.Param{{Name: "p", Tensor: first, Decay: true}}, config)
			b, err := optim.NewPaged(dev, []optim.Param{{Name: "p", Tensor: second, Decay: true}}, config, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			step := func(o *optim.AdamW, p *tensor.Tensor, i int) {
				backward(dev, dtype, map[*tensor.Tensor][]float32{p: ramp(n, 10+i)})
				if _, err := o.Step(0.01); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 5 {
				step(a, first, i)
			}
			carryState(t, dev, a, b)
			for i := range 5 {
				step(a, first, i+5)
				step(b, second, i+5)
				if !slices.Equal(values(t, first), values(t, second)) {
					t.Fatalf("%v, 8 bits %v: step %d differs", dtype, eight, i)
				}
			}
			a.Free()
			b.Free()
			first.Free()
			second.Free()
		}
	}
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// carryState gives b the state of a.
func carryState(t *testing.T, dev device.Device, a, b *optim.AdamW) {
	t.Helper()
	to := b.State()
	for i, s := range a.State() {
		var v any = make([]float32, s.Len())
		if s.DType() == device.U8 {
			v = make([]uint8, s.Len())
		}
		if err := s.Read(v); err != nil {
			t.Fatal(err)
		}
		to[i].Write(v)
		to[i].Done()
	}
	if err := b.Restored(a.Updates()); err != nil {
		t.Fatal(err)
	}
}

// lost is a device that fails at last.
type lost struct{ *devicetest.Reference }

func (lost) Sync() error { return errors.New("the card fell off") }

// TestRestoredTellsFailure: what was written to a device for a checkpoint that is loaded may have failed.
func TestRestoredTellsFailure(t *testing.T) {
	dev := lost{devicetest.NewReference()}
	o := optim.New(dev, []optim.Param{{Name: "w", Tensor: param(dev, device.F32, 1)}}, optim.Default())
	if err := o.Restored(3); err == nil || o.Updates() != 3 {
		t.Errorf("error %v, %d updates", err, o.Updates())
	}
}

// TestPagedNeedsPager: a device that cannot page says so.
func TestPagedNeedsPager(t *testing.T) {
	dev := devicetest.NewReference()
	if _, err := optim.NewPaged(dev, nil, optim.Default(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "page") {
		t.Errorf("the error is %v", err)
	}
}

// TestPagedWithoutDisk: a folder that is not there is an error, and nothing is left on the device.
func TestPagedWithoutDisk(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	p := param(dev, device.F32, ramp(5000, 1)...)
	if _, err := optim.NewPaged(dev, []optim.Param{{Name: "p", Tensor: p}}, optim.Default(), t.TempDir()+"/missing"); err == nil {
		t.Error("state was paged to a folder that is not there")
	}
	p.Free()
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// TestMemory: an optimizer gives back all it took.
func TestMemory(t *testing.T) {
	dev := devicetest.NewReference()
	p := param(dev, device.BF16, 1, 2, 3)
	before := dev.Memory().InUse
	opt := optim.New(dev, []optim.Param{{Name: "p", Tensor: p}}, optim.Default())
	if took := dev.Memory().InUse - before; took != 3*10+4 {
		t.Errorf("state takes %d bytes, want 10 per BF16 parameter and 4 for the norm", took)
	}
	opt.Free()
	if left := dev.Memory().InUse - before; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// TestMemory8: 8-bit moments take 2 bytes and a scale for each of both moments of a block, small tensors keep f32.
func TestMemory8(t *testing.T) {
	dev := devicetest.NewReference()
	large, small := param(dev, device.F32, ramp(4100, 1)...), param(dev, device.F32, ramp(4095, 1)...)
	before := dev.Memory().InUse
	config := optim.Default()
	config.EightBit = true
	opt := optim.New(dev, []optim.Param{{Name: "large", Tensor: large}, {Name: "small", Tensor: small}}, config)
	if took, want := dev.Memory().InUse-before, int64(2*4100+2*17*4+8*4095+8); took != want {
		t.Errorf("state takes %d bytes, want %d", took, want)
	}
	opt.Free()
	if left := dev.Memory().InUse - before; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}
