package model

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/device/devicetest"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// fromGolden writes a model folder with the weights of a golden one, as change leaves them.
func fromGolden(t *testing.T, name string, config []byte, change func(map[string]safetensors.Tensor)) string {
	t.Helper()
	weights, err := safetensors.Open(goldenDir(name))
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	tensors := map[string]safetensors.Tensor{}
	for _, n := range weights.Names() {
		tensors[n], _ = weights.Tensor(n)
	}
	change(tensors)
	dir := t.TempDir()
	var plan []safetensors.Info
	for _, n := range slices.Sorted(maps.Keys(tensors)) {
		plan = append(plan, safetensors.Info{Name: n, DType: safetensors.F32, Shape: tensors[n].Shape})
	}
	w, err := safetensors.CreateModel(dir, plan, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for n, x := range tensors {
		v := make([]float32, len(x.Data)/4)
		safetensors.ToFloat32(v, x.Data, safetensors.F32)
		if err := w.WriteFloat32(n, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

func rename(tensors map[string]safetensors.Tensor, to func(string) string) {
	for name, x := range maps.Clone(tensors) {
		delete(tensors, name)
		tensors[to(name)] = x
	}
}

// fuse puts the experts into two tensors for each layer, as transformers 5 has them in memory.
func fuse(tensors map[string]safetensors.Tensor) {
	for layer := range 2 {
		before := "model.layers." + string(rune('0'+layer))
		var gateUp, down []byte
		for e := range 5 {
			expert := before + ".block_sparse_moe.experts." + string(rune('0'+e))
			gateUp = slices.Concat(gateUp, tensors[expert+".w1.weight"].Data, tensors[expert+".w3.weight"].Data)
			down = append(down, tensors[expert+".w2.weight"].Data...)
			for _, w := range []string{".w1", ".w2", ".w3"} {
				delete(tensors, expert+w+".weight")
			}
		}
		info := func(shape ...int) safetensors.Info { return safetensors.Info{DType: safetensors.F32, Shape: shape} }
		tensors[before+".mlp.experts.gate_up_proj"] = safetensors.Tensor{Info: info(5, 56, 24), Data: gateUp}
		tensors[before+".mlp.experts.down_proj"] = safetensors.Tensor{Info: info(5, 24, 28), Data: down}
	}
	rename(tensors, func(name string) string { return strings.Replace(name, "block_sparse_moe.gate", "mlp.gate", 1) })
}

// TestOtherLayouts reads checkpoints under other names than they are written with, and writes those again.
func TestOtherLayouts(t *testing.T) {
	dev := devicetest.NewReference()
	wrapped := func(t *testing.T) []byte {
		text, err := json.Marshal(map[string]any{"model_type": "gemma3", "text_config": json.RawMessage(goldenConfig(t, "gemma3", nil)),
			"eos_token_id": []int{1, 106}, "vision_config": map[string]any{"hidden_size": 16}})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, c := range map[string]struct {
		golden string
		config func(*testing.T) []byte
		change func(map[string]safetensors.Tensor)
	}{
		"gpt2 without prefix": {"gpt2_tied", nil, func(x map[string]safetensors.Tensor) {
			rename(x, func(n string) string { return strings.TrimPrefix(n, "transformer.") })
		}},
		"llama without model": {"llama_untied", nil, func(x map[string]safetensors.Tensor) {
			rename(x, func(n string) string { return strings.TrimPrefix(n, "model.") })
		}},
		"gpt_neox without gpt_neox": {"gpt_neox_sequential", nil, func(x map[string]safetensors.Tensor) {
			rename(x, func(n string) string { return strings.TrimPrefix(n, "gpt_neox.") })
		}},
		"mixtral with fused experts without model": {"mixtral", nil, func(x map[string]safetensors.Tensor) {
			fuse(x)
			rename(x, func(n string) string { return strings.TrimPrefix(n, "model.") })
		}},
		"qwen3 with the output layer for the embedding": {"qwen3_tied", nil, func(x map[string]safetensors.Tensor) {
			rename(x, func(n string) string { return strings.Replace(n, "model.embed_tokens", "lm_head", 1) })
		}},
		"gpt_neox with lm_head": {"gpt_neox_parallel", nil, func(x map[string]safetensors.Tensor) {
			rename(x, func(n string) string { return strings.Replace(n, "embed_out", "lm_head", 1) })
		}},
		"mixtral with fused experts": {"mixtral", nil, fuse},
		"gemma3 of transformers 4": {"gemma3", wrapped, func(x map[string]safetensors.Tensor) {
			rename(x, func(n string) string { return "language_model." + n })
		}},
		"gemma3 of transformers 5": {"gemma3", wrapped, func(x map[string]safetensors.Tensor) {
			rename(x, func(n string) string { return strings.Replace(n, "model.", "model.language_model.", 1) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			config := goldenConfig(t, c.golden, nil)
			if c.config != nil {
				config = c.config(t)
			}
			folder := fromGolden(t, c.golden, config, c.change)
			m, err := Open(folder, dev, device.F32)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Free()
			checkNames(t, m, folder)
			if e := loadExample(t, goldenDir(c.golden)); e.misses(t, m, dev) > 1 {
				t.Errorf("the loss or a logit is off by %v times the tolerance", e.misses(t, m, dev))
			}
			dir := t.TempDir()
			if err := m.Save(dir, device.F32, Values); err != nil {
				t.Fatal(err)
			}
			sameFiles(t, dir, goldenDir(c.golden))
		})
	}
}

// sameFiles compares the names and bytes of two model folders' weights, and their model_type.
func sameFiles(t *testing.T, got, want string) {
	t.Helper()
	a, err := safetensors.Open(got)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := safetensors.Open(want)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if len(a.Names()) != len(b.Names()) {
		t.Errorf("%d tensors were written, want %d", len(a.Names()), len(b.Names()))
	}
	for _, name := range b.Names() {
		x, _ := a.Tensor(name)
		y, _ := b.Tensor(name)
		if !slices.Equal(x.Data, y.Data) {
			t.Errorf("%s was not written as it was", name)
		}
	}
	var types [2]struct {
		ModelType string          `json:"model_type"`
		EOS       json.RawMessage `json:"eos_token_id"`
	}
	for i, dir := range []string{got, want} {
		text, _ := os.ReadFile(filepath.Join(dir, "config.json"))
		if err := json.Unmarshal(text, &types[i]); err != nil {
			t.Fatal(err)
		}
	}
	if types[0].ModelType != types[1].ModelType || types[0].EOS == nil {
		t.Errorf("config.json was written with model_type %s and eos_token_id %s", types[0].ModelType, types[0].EOS)
	}
}

// TestWrongFusedExperts: a fused tensor of other sizes is named.
func TestWrongFusedExperts(t *testing.T) {
	dir := fromGolden(t, "mixtral", goldenConfig(t, "mixtral", map[string]any{"intermediate_size": 27}), fuse)
	_, err := Open(dir, devicetest.NewReference(), device.F32)
	if err == nil || !strings.Contains(err.Error(), "gate_up_proj has shape [5 56 24] in the checkpoint and [5 54 24]") ||
		strings.Count(err.Error(), "layers.0.mlp.experts.gate_up_proj") != 1 { // in which all experts of the layer lie
		t.Errorf("the error is %v", err)
	}
}

// TestGemmaRoundsItsScale: the root of the width is rounded to bf16 when activations are, as transformers does.
func TestGemmaRoundsItsScale(t *testing.T) {
	dev := devices(t)["cpu"]
	m, err := New([]byte(`{"model_type":"gemma2","vocab_size":3,"hidden_size":10,"intermediate_size":8,"num_hidden_layers":1,
		"num_attention_heads":1,"num_key_value_heads":1,"head_dim":2}`), dev, device.BF16, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	for _, p := range m.Params {
		if p.Name == "model.embed_tokens.weight" {
			p.Write(slices.Repeat([]float32{0.625}, p.Len()))
			tape := tensor.NewTape(dev, device.BF16)
			tape.Infer()
			defer tape.Reset()
			e := nn.Embedding{Weight: p.Param}
			x, err := e.Scaled(tape.Ints([]int32{1}), math.Sqrt(10)).Float32s()
			if err != nil {
				t.Fatal(err)
			}
			const want = 1.96875 // bf16(0.625·3.15625); bf16(0.625·3.1622777) is 1.9765625
			if x[0] != want {
				t.Errorf("0.625 scaled is %v, want %v", x[0], want)
			}
		}
	}
}

// TestExpertsDoNotDependOnThreads: the same bits on one worker and on three, in logits and gradients.
func TestExpertsDoNotDependOnThreads(t *testing.T) {
	config := []byte(`{"model_type":"mixtral","vocab_size":50,"hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,
		"num_key_value_heads":2,"num_local_experts":6,"num_experts_per_tok":2,"output_router_logits":true,"router_aux_loss_coef":0.1,"tie_word_embeddings":true}`)
	n := 700
	if testing.Short() {
		n = 270
	}
	var first [][]float32
	for _, threads := range []int{1, 3} {
		dev := cpu.New(cpu.Options{Threads: threads})
		defer dev.Close()
		m, err := New(config, dev, device.BF16, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Free()
		ids, positions := make([]int32, n), make([]int32, n)
		for i := range ids {
			ids[i], positions[i] = int32(i*i%50), int32(i)
		}
		tape := tensor.NewTape(dev, device.BF16)
		tape.Train(1, 0, 0)
		l := nn.Loss(m, nn.NewInput(tape, ids, positions, []int32{0, int32(n)}), ids, tensor.CrossEntropyOptions{Tokens: n})
		v, err := l.Total.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		tape.Backward(l.Total)
		all := [][]float32{v}
		for _, p := range m.Params {
			g, err := p.GradFloat32s()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, g)
		}
		tape.Reset()
		if first == nil {
			first = all
		}
		for i := range all {
			if !slices.Equal(all[i], first[i]) {
				t.Errorf("%d threads give another loss or gradient (%d)", threads, i)
			}
		}
	}
}

// checkNames: each parameter is called as the checkpoint calls it, and those by their own name that it has as a
// part of a tensor only.
func checkNames(t *testing.T, m *Model, folder string) {
	t.Helper()
	weights, err := safetensors.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	for _, p := range m.Params {
		name := m.CheckpointName(p)
		if _, ok := weights.Tensor(name); !ok && (name != p.Name || !strings.Contains(name, ".experts.")) {
			t.Errorf("%s is called %s, which the checkpoint has not", p.Name, name)
		}
	}
}
