package adapter_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// TestEmbeddingsUnnamed: PEFT's save_embedding_layers puts the embedding and the output layer into the file and names
// neither in modules_to_save; both take the places of the base's. Of another vocabulary they are told as that.
func TestEmbeddingsUnnamed(t *testing.T) {
	for base, saved := range map[string][]string{"llama_untied": {"embed_tokens", "lm_head"}, "gpt2_tied": {"wte"}, "gpt_neox_parallel": {"embed_in", "embed_out"}, "phi_partial": {"lm_head"}} {
		dir := written(t, base, 1, func(c *adapter.Config) {
			c.TargetModules, c.ModulesToSave = adapter.Modules{Pattern: adapter.AllLinear}, saved
		})
		path := filepath.Join(dir, adapter.ConfigName)
		text, err := os.ReadFile(path)
		if err == nil {
			text = regexp.MustCompile(`(?s)"modules_to_save": \[.*?\]`).ReplaceAll(text, []byte(`"modules_to_save": null`))
			err = os.WriteFile(path, text, 0o666)
		}
		if err != nil || !strings.Contains(string(text), `"modules_to_save": null`) {
			t.Fatal(string(text), err)
		}
		// other values than the base's, twice the same where both are one
		vocab := resave(t, dir, 0)
		dev := devicetest.NewReference()
		m := open(t, dev, base)
		target := adapter.Model{Model: m.Model, Params: m.Params}
		l, err := adapter.Open(dir, target, dev, device.F32)
		if err != nil {
			t.Fatalf("%s: %v", base, err)
		}
		file := archive(t, filepath.Join(dir, adapter.WeightsName))
		for _, p := range l.Own() {
			if v, err := p.Float32s(); err != nil || !slices.Equal(v, floats(t, file, p.Name)) {
				t.Errorf("%s: %s has not the file's values (%v)", base, p.Name, err)
			}
		}
		if len(l.Own()) < len(saved) {
			t.Errorf("%s: of the base are %v", base, names(l.Own()))
		}
		l.Free()
		resave(t, dir, 1)
		if _, err := adapter.Open(dir, target, dev, device.F32); err == nil || !strings.Contains(err.Error(), fmt.Sprintf(" has %d rows and the model's vocabulary %d tokens; merge", vocab+1, vocab)) {
			t.Errorf("%s, a larger vocabulary: %v", base, err)
		}
	}
}

// resave writes what is not of a LoRA in the file of an adapter anew, with that many more rows, and returns how many the last had.
func resave(t *testing.T, dir string, more int) (rows int) {
	t.Helper()
	path := filepath.Join(dir, adapter.WeightsName)
	old := archive(t, path)
	var plan []safetensors.Info
	values := map[string][]float32{}
	for _, name := range old.Names() {
		x, _ := old.Tensor(name)
		info, v := x.Info, slices.Clone(floats(t, old, name))
		if !strings.Contains(name, ".lora_") {
			rows = info.Shape[0]
			info.Shape = slices.Clone(info.Shape)
			info.Shape[0] += more
			v = append(v, make([]float32, info.Elements()-len(v))...)
			for i := range v {
				v[i] = float32(i) / 100
			}
		}
		plan, values[name] = append(plan, info), v
	}
	w, err := safetensors.Create(path, plan, nil)
	for name, v := range values {
		err = cmp.Or(err, w.WriteFloat32(name, v))
	}
	if err = cmp.Or(err, w.Commit()); err != nil {
		t.Fatal(err)
	}
	return rows
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
