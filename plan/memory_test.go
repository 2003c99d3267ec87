package plan_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"hone/device"
	"hone/optim"
	"hone/plan"
	"hone/tensor"
)

// TestMeasure: a linear layer's parts are those that can be counted by hand.
func TestMeasure(t *testing.T) {
	const n, in, out = 64, 32, 128
	for _, micros := range []int{1, 3} {
		dev := plan.NewDevice()
		w := tensor.NewParam(out, in)
		var opt *optim.AdamW
		run := func(tape *tensor.Tape) *tensor.Tensor {
			return tensor.Linear(tape.Floats(make([]float32, n*in), n, in), w, nil)
		}
		m, err := plan.Measure(dev, plan.Step{
			Weights:   func() error { w.Alloc(dev, device.F32); return nil },
			Optimizer: func() error { opt = optim.New(dev, []optim.Param{{Name: "w", Tensor: w}}, optim.Default()); return nil },
			Tape:      func() *tensor.Tape { return tensor.NewTape(dev, device.F32) },
			Forward:   func(tape *tensor.Tape) { run(tape) },
			Loss:      func(tape *tensor.Tape) *tensor.Tensor { return tensor.Sum(run(tape)) },
			Micros:    micros,
			Update:    func() error { _, err := opt.Step(1); return err },
		})
		if err != nil {
			t.Fatal(err)
		}
		const size = 4 * in * out
		want := plan.Memory{Weights: size, Optimizer: 2*size + 4, Gradients: size, Activations: 4 * (n*in + n*out)}
		want.FLOPs.MatMul = 2 * 2 * n * in * out // forward and the weight's gradient: x wants none
		// x, y, the sum's gradient, y's and w's, the root's: all at once while the layer goes back.
		want.Peak = want.Weights + want.Optimizer + want.Activations + want.Gradients + 4*n*out + 4 + 4
		got := m
		got.Peak = 0
		if p := want.Peak; m.Peak > p || m.Peak < p-4*n*out-8 {
			t.Errorf("%d micro-batches: the peak is %d, want about %d", micros, m.Peak, p)
		}
		want.Peak = 0
		want.Forward.MatMul = want.FLOPs.MatMul / 2
		want.Work.F32.Narrow, want.Work.Updated = int64(micros)*want.FLOPs.MatMul, 7*size
		if want.Work.Moved = got.Work.Moved; got.Work.Moved < int64(micros)*4*n*out {
			t.Errorf("%d micro-batches: %d bytes are moved", micros, got.Work.Moved)
		}
		want.Work.Calls = int64(3 + 5*micros)
		if got != want {
			t.Errorf("%d micro-batches: %+v, want %+v", micros, got, want)
		}
		opt.Free()
		w.Free()
		if left := dev.Memory().InUse; left != 0 {
			t.Errorf("%d bytes are left", left)
		}
	}
}

// TestMeasureFails: errors and misuse of the step come back as errors.
func TestMeasureFails(t *testing.T) {
	bad := errors.New("no such model")
	if _, err := plan.Measure(plan.NewDevice(), plan.Step{Weights: func() error { return bad }}); !errors.Is(err, bad) {
		t.Errorf("the error is %v", err)
	}
	_, err := plan.Measure(plan.NewDevice(), plan.Step{Weights: func() error { panic(&tensor.Error{Op: "Linear", Problem: "shapes"}) }})
	if err == nil || !strings.Contains(err.Error(), "tensor.Linear: shapes") {
		t.Errorf("the error is %v", err)
	}
}

// TestDevice: paged memory is not in use, and a buffer is freed once.
func TestDevice(t *testing.T) {
	dev := plan.NewDevice()
	a := dev.Alloc(10, device.BF16)
	b, err := dev.AllocPaged("", 1000, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	if m := dev.Memory(); m.InUse != 20 || m.Peak != 20 {
		t.Errorf("%+v is in use", m)
	}
	dev.Evict(b)
	dev.Free(a)
	dev.Free(b)
	if m := dev.Memory(); m.InUse != 0 || m.Peak != 20 {
		t.Errorf("%+v is in use after Free", m)
	}
	defer func() {
		if recover() == nil {
			t.Error("a buffer was freed twice")
		}
	}()
	dev.Free(a)
}

func TestPrint(t *testing.T) {
	var out bytes.Buffer
	m := plan.Memory{Weights: 3 << 30, Gradients: 5 << 20, Optimizer: 100, Paged: 1 << 20, Peak: 4 << 30, Recompute: 7}
	m.Print(&out)
	for _, want := range []string{"3.00 GiB", "5.0 MiB", "0.1 KiB", "optimizer, paged", "7 layers are run again"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}
