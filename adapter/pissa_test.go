package adapter_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/devicetest"
	"hone/model"
	"hone/nn"
)

// TestPiSSA: a fresh update is the principal part of the base and changes nothing; trained and saved it is an
// ordinary LoRA that computes the same on the base as it is; taken off it leaves the base bit for bit.
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
				c.RankPattern, c.AlphaPattern = map[string]int{"q_proj": 2, "c_fc": 4}, map[string]float64{"v_proj": 5, "c_attn": 4}
				if base == "gpt2_tied" {
					c.ModulesToSave = []string{"wte"} // which is the output layer, too
				}
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
				known := map[string]bool{}
				for _, p := range l.Params() {
					known[p.Name] = true
				}
				values := func(p nn.Named) ([]float32, error) { // an optimizer has them by these names
					if !known[p.Name] {
						return nil, fmt.Errorf("there is no %s", p.Name)
					}
					return model.Values(p)
				}
				if err := l.Save(dir, device.F32, values); err != nil {
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

// TestDropoutOfTheUpdate: in training it acts on what the update sees and on nothing else, neither the base
// nor the part that PiSSA takes off it.
func TestDropoutOfTheUpdate(t *testing.T) {
	for _, init := range []any{true, "pissa"} {
		dev := devicetest.NewReference()
		m, in := open(t, dev, "llama_untied"), batch(t, "llama_untied")
		c := adapter.Default()
		c.R, c.InitLoraWeights, c.LoraDropout = 3, init, 0.5
		in.logits(t, dev, m) // which makes the tables of positions
		before := dev.Memory().InUse
		l, err := adapter.Attach(target(m), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Initialize(dev, device.F32, 3); err != nil {
			t.Fatal(err)
		}
		for _, p := range l.Added() {
			p.Write(make([]float32, p.Len()))
		}
		near(t, "logits in training of an update of zeros", in.trained(t, dev, m.Model), in.logits(t, dev, m), 1e-6)
		fill(l)
		if far := distance(in.trained(t, dev, m.Model), in.logits(t, dev, m)); far < 1e-3 {
			t.Errorf("start %v: dropout changes the logits by %v", init, far)
		}
		held := dev.Memory().InUse
		everyMatrixLearns(t, dev, m.Model, l, in)
		if more := dev.Memory().InUse - held; more != 0 {
			t.Errorf("start %v: a pass leaves %d bytes, such as gradients of what is not trained", init, more)
		}
		l.Free()
		if left := dev.Memory().InUse - before; left != 0 {
			t.Errorf("start %v: %d bytes are left", init, left)
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
	plain := open(t, dev, "llama_untied")
	target := adapter.Model{Model: plain.Model, Params: plain.Params}
	for _, init := range []string{"pissa", "pissa_niter_1"} {
		for r, want := range map[int]string{20: "", 21: "the weight of model.layers.0.self_attn.k_proj has no decomposition of rank 21; lower r"} {
			c := adapter.Default()
			c.InitLoraWeights, c.R, c.TargetModules = init, r, adapter.Modules{Names: []string{"k_proj"}} // [20, 60]
			l, err := adapter.Attach(target, c)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Initialize(dev, device.F32, 1); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s of rank %d: %v, want %q", init, r, err, want)
			}
			l.Free()
		}
	}
	dir := written(t, "llama_untied", 1, func(*adapter.Config) {})
	path := filepath.Join(dir, adapter.ConfigName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), `"init_lora_weights": true`, `"init_lora_weights": "pissa_niter_4"`, 1))
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := adapter.Open(dir, target, dev, device.F32); err == nil || !strings.Contains(err.Error(), "init_lora_weights is pissa_niter_4, whose random start the files do not tell") {
		t.Errorf("a start by chance that is read: %v", err)
	}
}
