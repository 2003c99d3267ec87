package adapter_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/cpu"
	"hone/device/devicetest"
	"hone/model"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// golden maps an adapter made by testdata/gen/adapters.py to its base.
var golden = map[string]string{"lora_llama": "llama_untied", "lora_gpt2": "gpt2_tied", "lora_phi3": "phi3_window",
	"dora_qwen2": "qwen2_tied", "dora_gpt2": "gpt2_tied", "pissa_llama": "llama_untied"}

func goldenPath(parts ...string) string {
	return filepath.Join(append([]string{"..", "testdata", "golden"}, parts...)...)
}

func devices(t *testing.T) map[string]device.Device {
	dev := cpu.New(cpu.Options{})
	t.Cleanup(func() { dev.Close() })
	return map[string]device.Device{"reference": devicetest.NewReference(), "cpu": dev}
}

func open(t *testing.T, dev device.Device, base string) *model.Model {
	t.Helper()
	m, err := model.Open(goldenPath(base), dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	return m
}

func archive(t *testing.T, path string) *safetensors.Archive {
	t.Helper()
	a, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func floats(t *testing.T, a *safetensors.Archive, name string) []float32 {
	t.Helper()
	x, ok := a.Tensor(name)
	if !ok {
		t.Fatalf("there is no tensor %s", name)
	}
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// input is the batch of a base's golden.safetensors.
type input struct {
	ids, targets, positions, offsets []int32
	supervised                       int
}

func batch(t *testing.T, base string) input {
	t.Helper()
	a := archive(t, goldenPath(base, "golden.safetensors"))
	ids, _ := a.Tensor("input_ids")
	labels, _ := a.Tensor("labels")
	var in input
	rows, n := ids.Shape[0], ids.Shape[1]
	at := func(x safetensors.Tensor, i int) int32 { return int32(binary.LittleEndian.Uint32(x.Data[4*i:])) }
	for i := range rows * n {
		in.ids, in.positions = append(in.ids, at(ids, i)), append(in.positions, int32(i%n))
		target := int32(-100)
		if i%n < n-1 {
			target = at(labels, i+1)
		}
		if in.targets = append(in.targets, target); target >= 0 {
			in.supervised++
		}
	}
	for r := range rows + 1 {
		in.offsets = append(in.offsets, int32(r*n))
	}
	return in
}

func (in input) logits(t *testing.T, dev device.Device, m nn.Model) []float32 {
	t.Helper()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	tape.Infer()
	v, err := nn.Logits(m, m.Hidden(nn.NewInput(tape, in.ids, in.positions, in.offsets)), nil).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func near(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	for i := range want {
		if !(math.Abs(float64(got[i]-want[i])) <= tolerance) {
			t.Fatalf("%s[%d] is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// TestGolden compares an adapter that PEFT wrote with what PEFT computes: logits, loss, gradients, merged logits.
func TestGolden(t *testing.T) {
	for kind, dev := range devices(t) {
		for name, base := range golden {
			t.Run(kind+"/"+name, func(t *testing.T) {
				m := open(t, dev, base)
				in := batch(t, base)
				l, err := adapter.Open(goldenPath(name), adapter.Model{Model: m.Model, Params: m.Params}, dev, device.F32)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Free()
				want := archive(t, goldenPath(name, "golden.safetensors"))
				near(t, "logits", in.logits(t, dev, m), floats(t, want, "logits"), 1e-4)
				in.gradients(t, dev, m, l, want)
				if err := l.Merge(); err != nil {
					t.Fatal(err)
				}
				near(t, "merged logits", in.logits(t, dev, m), floats(t, want, "merged.logits"), 1e-4)
			})
		}
	}
}

func (in input) gradients(t *testing.T, dev device.Device, m *model.Model, l *adapter.LoRA, want *safetensors.Archive) {
	t.Helper()
	for _, recompute := range []int{0, 99} {
		tape := tensor.NewTape(dev, device.F32)
		tape.Train(1, 0, 0)
		x := nn.NewInput(tape, in.ids, in.positions, in.offsets)
		x.Recompute = recompute
		loss := tensor.LinearCrossEntropy(m.Hidden(x), m.Head(), tape.Ints(in.targets), tensor.CrossEntropyOptions{Tokens: in.supervised})
		got, err := loss.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		near(t, "loss", got, floats(t, want, "loss"), 1e-5)
		tape.Backward(loss)
		tape.Reset()
		for _, p := range l.Params() {
			checkGradient(t, p, floats(t, want, "grad."+p.Name))
			p.FreeGrad()
		}
		for _, p := range m.Params {
			if !p.Grad().IsZero() {
				t.Fatalf("frozen parameter %s has a gradient", p.Name)
			}
		}
	}
}

// checkGradient allows 1e-4 of the gradient's norm.
func checkGradient(t *testing.T, p nn.Named, want []float32) {
	t.Helper()
	got, err := p.GradFloat32s()
	if err != nil {
		t.Fatal(err)
	}
	norm, diff := 0.0, 0.0
	for i, w := range want {
		norm += float64(w) * float64(w)
		diff += float64(got[i]-w) * float64(got[i]-w)
	}
	if !(math.Sqrt(diff) <= 1e-4*math.Sqrt(norm)) {
		t.Fatalf("gradient of %s differs by %.2g of its norm %.3g", p.Name, math.Sqrt(diff/norm), math.Sqrt(norm))
	}
}

// TestFresh holds what a new adapter must do: compute what the base does, train only its own
// parameters, come back from its files.
func TestFresh(t *testing.T) {
	for kind, dev := range devices(t) {
		t.Run(kind, func(t *testing.T) {
			m, in := open(t, dev, "llama_tied"), batch(t, "llama_tied")
			plain := in.logits(t, dev, m)
			target := adapter.Model{Model: m.Model, Params: m.Params}
			l, err := adapter.Attach(target, adapter.Default())
			if err != nil {
				t.Fatal(err)
			}
			l.Initialize(dev, device.F32, 3)
			near(t, "logits of a fresh adapter", in.logits(t, dev, m), plain, 0)
			if got := len(l.Params()); got != 14 { // seven layers of one block, two matrices each
				t.Fatalf("all-linear has %d parameters, want 14", got)
			}
			for _, p := range l.Params() {
				v := make([]float32, p.Len())
				for i := range v {
					v[i] = float32(math.Sin(float64(i)))
				}
				p.Write(v)
			}
			changed := in.logits(t, dev, m)
			dir := filepath.Join(t.TempDir(), "adapter")
			if err := l.Save(dir, device.F32, model.Values); err != nil {
				t.Fatal(err)
			}
			l.Free()
			near(t, "logits after Free", in.logits(t, dev, m), plain, 0)
			again, err := adapter.Open(dir, target, dev, device.F32)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Free()
			near(t, "logits of the adapter read back", in.logits(t, dev, m), changed, 0)
		})
	}
}

// TestBad holds the errors of adapters that do not fit.
func TestBad(t *testing.T) {
	dev := devicetest.NewReference()
	m := open(t, dev, "llama_tied")
	target := adapter.Model{Model: m.Model, Params: m.Params}
	for name, change := range map[string]func(c *adapter.Config){
		"target_modules selects no layer; the model has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj": func(c *adapter.Config) {
			c.TargetModules = adapter.Modules{Names: []string{"query"}}
		},
		"r is 0; it must be at least 1": func(c *adapter.Config) { c.R = 0 },
		"target_modules names the output layer lm_head, which is the embedding in this model and cannot have a low-rank update; leave it out, or merge an adapter that has it with PEFT": func(c *adapter.Config) {
			c.TargetModules.Names = []string{"q_proj", "lm_head"}
		},
		"modules_to_save names lm_head, which is the embedding in this model; name embed_tokens, or merge an adapter that has it with PEFT": func(c *adapter.Config) { c.ModulesToSave = []string{"lm_head"} },
		"target_modules is a regular expression, beside which PEFT takes no numbers of layers; say the layers in the expression, or list names": func(c *adapter.Config) {
			c.TargetModules, c.LayersToTransform = adapter.Modules{Pattern: ".*q_proj"}, []int{0}
		},
		"modules_to_save names lm_head, which the model does not have": func(c *adapter.Config) {
			c.TaskType, c.ModulesToSave = adapter.TaskSequence, []string{"lm_head"}
		},
		"modules_to_save names score, which the model does not have": func(c *adapter.Config) { c.ModulesToSave = []string{"score"} },
	} {
		c := adapter.Default()
		change(&c)
		if _, err := adapter.Attach(target, c); err == nil || err.Error() != name {
			t.Errorf("got error %v, want %s", err, name)
		}
	}
	if _, err := adapter.Open(goldenPath("lora_gpt2"), target, dev, device.F32); err == nil {
		t.Error("an adapter of GPT-2 went onto a Llama")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, adapter.ConfigName), []byte(`{"peft_type": "VERA"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := adapter.Open(dir, target, dev, device.F32); err == nil {
		t.Error("an adapter of an unknown kind was opened")
	}
}

// TestForeign refuses what PEFT computes in a way that is not here, and bears the keys as they are
// when nothing of it is asked for.
func TestForeign(t *testing.T) {
	read := func(keys string) error {
		dir := t.TempDir()
		text := `{"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"]` + keys + `}`
		if err := os.WriteFile(filepath.Join(dir, adapter.ConfigName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := adapter.ReadConfig(dir)
		return err
	}
	if err := read(`, "target_parameters": null, "use_qalora": false, "layer_replication": null, "trainable_token_indices": [], "arrow_config": {}, "init_lora_weights": "eva"`); err != nil {
		t.Error(err)
	}
	for keys, want := range map[string]string{
		`, "target_parameters": ["mlp.experts.gate_up_proj"]`: "target_parameters, an update of parameters that are no layers",
		`, "alora_invocation_tokens": [3, 4]`:                 "alora_invocation_tokens, an update from certain tokens on",
		`, "layer_replication": [[0, 2], [1, 3]]`:             "layer_replication",
		`, "init_lora_weights": "olora"`:                      "init_lora_weights is olora, which changes the base",
		`, "init_lora_weights": "corda"`:                      "init_lora_weights is corda",
		`, "init_lora_weights": "LoftQ"`:                      "init_lora_weights is LoftQ",
		`, "init_lora_weights": "lora_ga"`:                    "init_lora_weights is lora_ga",
	} {
		if err := read(keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", keys, err)
		}
	}
}

// TestSeveral puts two adapters on one base: the one that was enabled last counts, and with none the
// base is as it was, bit for bit.
func TestSeveral(t *testing.T) {
	for kind, dev := range devices(t) {
		t.Run(kind, func(t *testing.T) {
			m, in := open(t, dev, "llama_untied"), batch(t, "llama_untied")
			plain := in.logits(t, dev, m)
			target := adapter.Model{Model: m.Model, Params: m.Params}
			var list []*adapter.LoRA
			for seed := range uint64(2) {
				l, err := adapter.Attach(target, adapter.Default())
				if err != nil {
					t.Fatal(err)
				}
				if err := l.Initialize(dev, device.F32, seed); err != nil {
					t.Fatal(err)
				}
				fill(l)
				list = append(list, l)
			}
			list[0].Params()[1].Write(make([]float32, list[0].Params()[1].Len()))
			both := [2][]float32{}
			for i, l := range list {
				l.Enable(true)
				both[i] = in.logits(t, dev, m)
			}
			if slices.Equal(both[0], both[1]) || slices.Equal(both[0], plain) {
				t.Error("the adapters compute the same")
			}
			list[0].Enable(true)
			near(t, "logits of the first again", in.logits(t, dev, m), both[0], 0)
			list[0].Enable(false)
			near(t, "logits of the base", in.logits(t, dev, m), plain, 0)
			list[1].Enable(true)
			list[0].Free()
			near(t, "logits of the second, when the first is gone", in.logits(t, dev, m), both[1], 0)
			list[1].Free()
			near(t, "logits of the base, when both are gone", in.logits(t, dev, m), plain, 0)
		})
	}
}

// TestNoteOnExperts: it is said of the adapters that PEFT reads otherwise, and of no others.
func TestNoteOnExperts(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	t.Cleanup(func() { dev.Close() })
	for _, c := range []struct {
		base    string
		rsLoRA  bool
		modules []string
		want    bool
	}{
		{"mixtral", true, []string{"w1", "w2", "w3"}, true},
		{"mixtral", true, []string{"q_proj", "w3"}, true},
		{"mixtral", true, []string{"w2", "gate", "q_proj"}, false}, // w2 stays by itself
		{"mixtral", false, []string{"w1", "w2", "w3"}, false},
		{"llama_untied", true, []string{"gate_proj", "up_proj"}, false},
	} {
		m := open(t, dev, c.base)
		config := adapter.Default()
		config.TargetModules, config.UseRSLoRA = adapter.Modules{Names: c.modules}, c.rsLoRA
		l, err := adapter.Attach(adapter.Model{Model: m.Model, Params: m.Params}, config)
		if err != nil {
			t.Fatal(err)
		}
		if note := l.Note(); (note != "") != c.want {
			t.Errorf("%+v: %q", c, note)
		}
		l.Free()
	}
}
