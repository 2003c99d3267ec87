package adapter_test

import (
	"math"
	"path/filepath"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/devicetest"
	"hone/nn"
	"hone/tensor"
)

// TestEveryArchitecture attaches to all linear layers of every golden model: a fresh adapter changes nothing,
// every added matrix learns, and the merged model computes what the adapted one did.
func TestEveryArchitecture(t *testing.T) {
	configs, err := filepath.Glob(goldenPath("*", "config.json"))
	if err != nil || len(configs) < 10 {
		t.Fatalf("%d golden models, %v", len(configs), err)
	}
	for _, path := range configs {
		base := filepath.Base(filepath.Dir(path))
		t.Run(base, func(t *testing.T) {
			dev := devicetest.NewReference()
			m, in := open(t, dev, base), batch(t, base)
			plain := in.logits(t, dev, m)
			l, err := adapter.Attach(adapter.Model{Model: m.Model, Params: m.Params}, adapter.Default())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Free()
			l.Initialize(dev, device.F32, 3)
			near(t, "logits of a fresh adapter", in.logits(t, dev, m), plain, 0)
			fill(l)
			everyMatrixLearns(t, dev, m.Model, l, in)
			changed := in.logits(t, dev, m)
			if err := l.Merge(); err != nil {
				t.Fatal(err)
			}
			near(t, "merged logits", in.logits(t, dev, m), changed, 1e-4)
		})
	}
}

// fill gives the added matrices small numbers.
func fill(l *adapter.LoRA) {
	for _, p := range l.Params() {
		v := make([]float32, p.Len())
		for i := range v {
			v[i] = float32(0.05 * math.Sin(float64(i)))
		}
		p.Write(v)
	}
}

func everyMatrixLearns(t *testing.T, dev device.Device, m nn.Model, l *adapter.LoRA, in input) {
	t.Helper()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	tape.Train(1, 0, 0)
	x := nn.NewInput(tape, in.ids, in.positions, in.offsets)
	tape.Backward(nn.Loss(m, x, in.targets, tensor.CrossEntropyOptions{Tokens: in.supervised}).Total)
	for _, p := range l.Params() {
		g, err := p.GradFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		norm := 0.0
		for _, v := range g {
			norm += float64(v) * float64(v)
		}
		if !(norm > 0) || math.IsInf(norm, 0) {
			t.Errorf("the gradient of %s has the squared norm %v", p.Name, norm)
		}
		p.FreeGrad()
	}
}

// TestUpperLayersAlone: where the first layers have no update, recomputing costs no memory beyond its pass
// and changes no gradient, and they run once.
func TestUpperLayersAlone(t *testing.T) {
	dev := devicetest.NewReference()
	m, in := open(t, dev, "llama_untied"), batch(t, "llama_untied")
	c := adapter.Default()
	c.LayersToTransform = []int{1}
	l, err := adapter.Attach(adapter.Model{Model: m.Model, Params: m.Params}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	if err := l.Initialize(dev, device.F32, 3); err != nil {
		t.Fatal(err)
	}
	fill(l)
	tape := tensor.NewTape(dev, device.F32)
	var want [][]float32
	var held int64
	for i, recompute := range []int{0, 1, 2, 2} {
		tape.Train(1, 0, 0)
		x := nn.NewInput(tape, in.ids, in.positions, in.offsets)
		x.Recompute = recompute
		tape.Backward(nn.Loss(m, x, in.targets, tensor.CrossEntropyOptions{Tokens: in.supervised}).Total)
		tape.Reset()
		var got [][]float32
		for _, p := range l.Params() {
			g, err := p.GradFloat32s()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, g)
			p.FreeGrad()
		}
		if i == 0 {
			want, held = got, dev.Memory().InUse // with tables that the model made when it first ran
		}
		if now := dev.Memory().InUse; now != held {
			t.Errorf("with %d layers recomputed %d bytes are left of a pass", recompute, now-held)
		}
		for j := range want {
			near(t, l.Params()[j].Name, got[j], want[j], 1e-6)
		}
	}
}
