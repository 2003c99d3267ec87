package adapter_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/devicetest"
	"hone/model"
)

// TestPiSSA: a fresh update is the principal part of the base and changes nothing; trained and saved it is an ordinary LoRA that
// computes the same on the base as it is; taken off it leaves the base bit for bit.
func TestPiSSA(t *testing.T) {
	for _, init := range []string{"pissa", "pissa_niter_16"} {
		for _, base := range []string{"llama_untied", "gpt2_tied"} {
			t.Run(init+"/"+base, func(t *testing.T) {
				dev := devicetest.NewReference()
				m, in := open(t, dev, base), batch(t, base)
				plain := in.logits(t, dev, m)
				target := adapter.Model{Model: m.Model, Params: m.Params}
				c := adapter.Default()
				c.R, c.LoraAlpha, c.InitLoraWeights, c.UseRSLoRA = 3, 6, init, init == "pissa"
				l, err := adapter.Attach(target, c)
				if err != nil {
					t.Fatal(err)
				}
				if err := l.Initialize(dev, device.F32, 3); err != nil {
					t.Fatal(err)
				}
				near(t, "logits of a fresh adapter", in.logits(t, dev, m), plain, 1e-5)
				for _, p := range l.Added() {
					v, err := p.Float32s()
					if err != nil {
						t.Fatal(err)
					}
					size := 0.0
					for i := range v {
						size += float64(v[i]) * float64(v[i])
						v[i] += float32(0.05 * math.Sin(float64(i)))
					}
					if !(size > 0.01) {
						t.Errorf("%s starts with the squared norm %v", p.Name, size)
					}
					p.Write(v)
				}
				changed := in.logits(t, dev, m)
				dir := filepath.Join(t.TempDir(), "adapter")
				if err := l.Save(dir, device.F32, model.Values); err != nil {
					t.Fatal(err)
				}
				l.Free()
				near(t, "logits of the base", in.logits(t, dev, m), plain, 0)
				again, err := adapter.Open(dir, target, dev, device.F32)
				if err != nil {
					t.Fatal(err)
				}
				defer again.Free()
				if again.Config.R != 6 || again.Config.InitLoraWeights != true {
					t.Errorf("saved with rank %d and start %v", again.Config.R, again.Config.InitLoraWeights)
				}
				near(t, "logits of the saved adapter", in.logits(t, dev, m), changed, 1e-5)
			})
		}
	}
}

// TestPiSSABad holds what cannot be decomposed.
func TestPiSSABad(t *testing.T) {
	dev := devicetest.NewReference()
	m, err := model.OpenPacked(goldenPath("llama_untied"), dev, device.F32, model.Packed{Packing: device.NF4})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	c := adapter.Default()
	c.InitLoraWeights = "pissa_niter_x"
	if _, err := adapter.Attach(adapter.Model{Model: m.Model, Params: m.Params}, c); err == nil {
		t.Error("pissa_niter_x was taken")
	}
	c.InitLoraWeights = "pissa"
	l, err := adapter.Attach(adapter.Model{Model: m.Model, Params: m.Params}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Free()
	if err := l.Initialize(dev, device.F32, 1); err == nil || !strings.Contains(err.Error(), "packed") {
		t.Errorf("PiSSA of a packed base: %v", err)
	}
}
