package adapter_test

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/devicetest"
	"hone/safetensors"
)

// TestNamesOfPEFT holds what PEFT 0.21 on transformers 5 needs of a file to compute what hone does: the output layer
// under the name that it has in memory, also where it is the embedding, and names of layers beside their numbers.
func TestNamesOfPEFT(t *testing.T) {
	const embedding, output = "base_model.model.transformer.wte.weight", "base_model.model.lm_head.weight"
	for _, c := range []struct {
		base   string
		change func(*adapter.Config)
		config string   // in adapter_config.json
		has    []string // tensors of the file
	}{
		{"gpt2_tied", func(c *adapter.Config) { c.ModulesToSave = []string{"wte"} }, `"modules_to_save":["wte","lm_head"]`, []string{embedding, output}},
		{"gpt2_tied", func(c *adapter.Config) { c.ModulesToSave = []string{"lm_head", "wte"} }, `"modules_to_save":["lm_head","wte"]`, []string{embedding, output}},
		{"gpt_neox_parallel", func(c *adapter.Config) { c.ModulesToSave = []string{"embed_out"} }, `"modules_to_save":["lm_head"]`, []string{output}},
		{"gpt_neox_parallel", func(c *adapter.Config) { c.ModulesToSave = []string{"embed_out", "lm_head"} }, `"modules_to_save":["lm_head"]`, []string{output}},
		{"gpt_neox_parallel", func(c *adapter.Config) { c.ModulesToSave = []string{"lm_head"} }, `"modules_to_save":["lm_head"]`, []string{output}},
		{"llama_untied", func(c *adapter.Config) { c.LayersToTransform = []int{1} },
			`"target_modules":["q_proj","k_proj","v_proj","o_proj","gate_proj","up_proj","down_proj"]`, nil},
	} {
		dir := written(t, c.base, 1, func(to *adapter.Config) { to.TargetModules = adapter.Modules{Pattern: adapter.AllLinear}; c.change(to) })
		text, _ := os.ReadFile(filepath.Join(dir, adapter.ConfigName))
		if flat := strings.Join(strings.Fields(string(text)), ""); !strings.Contains(flat, c.config) {
			t.Errorf("%s: the configuration lacks %s: %s", c.base, c.config, text)
		}
		names := archive(t, filepath.Join(dir, adapter.WeightsName)).Names()
		for _, name := range c.has {
			if !slices.Contains(names, name) {
				t.Errorf("%s: %s is missing among %v", c.base, name, names)
			}
		}
		dev := devicetest.NewReference()
		m := open(t, dev, c.base)
		if l, err := adapter.Open(dir, adapter.Model{Model: m.Model, Params: m.Params}, dev, device.F32); err != nil {
			t.Errorf("%s: %v", c.base, err)
		} else {
			l.Free()
		}
	}
}

// TestEmbeddingApart refuses an embedding that PEFT trained without the output layer, which the base ties to it.
func TestEmbeddingApart(t *testing.T) {
	dir := written(t, "gpt2_tied", 1, func(c *adapter.Config) {
		c.TargetModules, c.ModulesToSave = adapter.Modules{Names: []string{"c_attn"}}, []string{"wte"}
	})
	dev := devicetest.NewReference()
	m := open(t, dev, "gpt2_tied")
	target := adapter.Model{Model: m.Model, Params: m.Params}
	path := filepath.Join(dir, adapter.WeightsName)
	rewrite := func(keep func(name string) bool, shift float32) {
		old := archive(t, path)
		var plan []safetensors.Info
		for _, name := range old.Names() {
			if x, _ := old.Tensor(name); keep(name) {
				plan = append(plan, x.Info)
			}
		}
		w, err := safetensors.Create(path, plan, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range plan {
			v := slices.Clone(floats(t, old, info.Name))
			if strings.HasSuffix(info.Name, "lm_head.weight") {
				v[0] += shift
			}
			if err := w.WriteFloat32(info.Name, v); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	want := func() {
		t.Helper()
		if _, err := adapter.Open(dir, target, dev, device.F32); err == nil || !strings.Contains(err.Error(), "trained apart from the output layer") {
			t.Errorf("got %v", err)
		}
	}
	rewrite(func(string) bool { return true }, 1)
	want()
	rewrite(func(name string) bool { return !strings.HasSuffix(name, "lm_head.weight") }, 0)
	want()
}

// TestEmbeddingUpdated: PEFT can put a LoRA on the embedding, which is told as what it is.
func TestEmbeddingUpdated(t *testing.T) {
	dir := written(t, "llama_tied", 1, func(c *adapter.Config) { c.TargetModules = adapter.Modules{Names: []string{"q_proj"}} })
	dev := devicetest.NewReference()
	m := open(t, dev, "llama_tied")
	path := filepath.Join(dir, adapter.WeightsName)
	old := archive(t, path)
	plan := []safetensors.Info{{Name: "base_model.model.model.embed_tokens.lora_embedding_A", DType: safetensors.F32, Shape: []int{2, 3}}}
	values := map[string][]float32{plan[0].Name: make([]float32, 6)}
	for _, name := range old.Names() {
		x, _ := old.Tensor(name)
		plan, values[name] = append(plan, x.Info), slices.Clone(floats(t, old, name))
	}
	w, err := safetensors.Create(path, plan, nil)
	for name, v := range values {
		err = cmp.Or(err, w.WriteFloat32(name, v))
	}
	if err = cmp.Or(err, w.Commit()); err != nil {
		t.Fatal(err)
	}
	if _, err := adapter.Open(dir, adapter.Model{Model: m.Model, Params: m.Params}, dev, device.F32); err == nil || !strings.Contains(err.Error(), "low-rank update of the embedding") {
		t.Errorf("got %v", err)
	}
}
