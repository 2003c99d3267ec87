package model

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/nn"
	"hone/safetensors"
)

// wide is a model whose embedding is more than one piece of loading.
const wide = `{"model_type":"llama","vocab_size":301,"hidden_size":250,"intermediate_size":7,"num_hidden_layers":1,"num_attention_heads":1,
	"num_key_value_heads":1,"head_dim":6,"max_position_embeddings":16}`

// planOf are the tensors of a model, stored in one type.
func planOf(m *Model, stored safetensors.DType) []safetensors.Info {
	var plan []safetensors.Info
	for _, p := range m.Params {
		plan = append(plan, safetensors.Info{Name: p.Name, DType: stored, Shape: p.Shape})
	}
	return plan
}

// numbers are n values that bf16 and f16 round, another sequence for each name.
func numbers(name string, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(math.Sin(float64(i*len(name)+1))) / float32(1+i%7)
	}
	return v
}

// writeFolder makes a model folder with the given tensors.
func writeFolder(t *testing.T, config string, plan []safetensors.Info, shardSize int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	w, err := safetensors.CreateModel(dir, plan, shardSize)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, p := range plan {
		if p.DType.Float() {
			err = w.WriteFloat32(p.Name, numbers(p.Name, p.Elements()))
		} else {
			err = w.Write(p.Name, make([]byte, p.Bytes()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLoadTypes: every floating-point type loads onto both types of weights, rounded once, from one file and
// from shards.
func TestLoadTypes(t *testing.T) {
	for kind, dev := range devices(t) {
		if kind == "reference" { // it keeps bf16 unrounded
			continue
		}
		for _, stored := range []safetensors.DType{safetensors.F64, safetensors.F32, safetensors.F16, safetensors.BF16} {
			for _, dtype := range []device.DType{device.F32, device.BF16} {
				m, err := Declare([]byte(wide), dev)
				if err != nil {
					t.Fatal(err)
				}
				m.Free()
				dir := writeFolder(t, wide, planOf(m, stored), 200_000)
				if m, err = Open(dir, dev, dtype); err != nil {
					t.Fatal(err)
				}
				for _, p := range m.Params {
					got, _ := p.Float32s()
					raw := make([]byte, p.Len()*stored.Size())
					safetensors.FromFloat32(raw, numbers(p.Name, p.Len()), stored)
					want := make([]float32, p.Len())
					safetensors.ToFloat32(want, raw, stored)
					if p.DType() == device.BF16 {
						half := make([]byte, 2*p.Len())
						safetensors.FromFloat32(half, want, safetensors.BF16)
						safetensors.ToFloat32(want, half, safetensors.BF16)
					}
					for i := range got {
						if got[i] != want[i] {
							t.Fatalf("%v onto %v: %s[%d] is %v, want %v", stored, dtype, p.Name, i, got[i], want[i])
						}
					}
				}
				m.Free()
			}
		}
	}
}

// TestOtherTensors: what carries nothing is passed over, a second copy of a tied output layer, too; what belongs
// to a part that the model computes is an error that names all that does not fit; the rest is left out and named.
func TestOtherTensors(t *testing.T) {
	dev := devicetest.NewReference()
	tied := strings.Replace(tiny, `{`, `{"tie_word_embeddings":true,`, 1)
	info := func(name string, d safetensors.DType, shape ...int) safetensors.Info {
		return safetensors.Info{Name: name, DType: d, Shape: shape}
	}
	for name, c := range map[string]struct {
		config string
		change func([]safetensors.Info) []safetensors.Info
		want   []string // parts of the error
		left   int      // tensors left out
	}{
		"buffers and heads": {tiny, func(p []safetensors.Info) []safetensors.Info {
			return append(p, info("model.layers.0.self_attn.rotary_emb.inv_freq", safetensors.F32, 2), info("h.0.attn.masked_bias", safetensors.F32),
				info("h.0.attn.bias", safetensors.Bool, 1, 1, 4, 4), info("v_head.summary.weight", safetensors.F32, 1, 8), info("score.weight", safetensors.F32, 1, 8))
		}, nil, 0},
		"layers that predict further tokens": {tiny, func(p []safetensors.Info) []safetensors.Info {
			return append(p, info("model.layers.9.self_attn.q_proj.weight", safetensors.F32, 2, 3), info("mtp.fc.weight", safetensors.I32, 1))
		}, nil, 2},
		"layers that predict further tokens, beside a tied layer": {tied, func(p []safetensors.Info) []safetensors.Info {
			return append(p, info("mtp.fc.weight", safetensors.I32, 1))
		}, nil, 1},
		"a head on a tied layer": {tied, func(p []safetensors.Info) []safetensors.Info {
			return append(p, info("score.weight", safetensors.F32, 1, 8))
		}, []string{"this is a reward model"}, 0},
		"a head on a tied layer of a classifier": {strings.Replace(tied, `{`, `{"architectures":["LlamaForSequenceClassification"],`, 1), func(p []safetensors.Info) []safetensors.Info {
			return append(p, info("score.weight", safetensors.F32, 1, 8))
		}, []string{"this is a reward model"}, 0},
		"a head beside a tied layer": {strings.Replace(tied, `{`, `{"architectures":["LlamaForCausalLM"],`, 1), func(p []safetensors.Info) []safetensors.Info {
			return append(p, info("score.weight", safetensors.F32, 1, 8))
		}, nil, 0},
		"a head in the place of two tensors": {tiny, func(p []safetensors.Info) []safetensors.Info {
			p = slices.DeleteFunc(p, func(x safetensors.Info) bool { return x.Name == "lm_head.weight" || x.Name == "model.norm.weight" })
			return append(p, info("score.weight", safetensors.F32, 1, 8))
		}, []string{"it lacks 2 of 21 tensors"}, 0},
		"a bias that config.json does not have": {tiny, func(p []safetensors.Info) []safetensors.Info {
			return append(p, info("model.layers.0.self_attn.q_proj.bias", safetensors.F32, 8), info("lm_head.bias", safetensors.F32, 11))
		}, []string{"2 tensors that config.json does not ask for (model.layers.0.self_attn.q_proj.bias, lm_head.bias)"}, 0},
		"a tied layer of other numbers": {tied, func(p []safetensors.Info) []safetensors.Info {
			return append(p, info("lm_head.weight", safetensors.F32, 11, 8)) // numbers differ by the length of the name
		}, []string{"an output layer that is not the embedding, so tie_word_embeddings should be false in config.json (lm_head.weight)"}, 0},
		"all at once": {tiny, func(p []safetensors.Info) []safetensors.Info {
			for i, x := range p {
				switch x.Name {
				case "model.norm.weight":
					p[i].Name = "model.norm.scale"
				case "lm_head.weight":
					p[i].Shape = []int{12, 8}
				case "model.layers.0.input_layernorm.weight":
					p[i].DType = safetensors.I32
				}
			}
			return p
		}, []string{"lacks 1 of 21 tensors (model.norm.weight)", "lm_head.weight has shape [12 8] in the checkpoint and [11 8]",
			"input_layernorm.weight holds I32", "does not ask for (model.norm.scale)"}, 0},
		"many": {tiny, func(p []safetensors.Info) []safetensors.Info {
			for i := range 20 {
				p = append(p, info(fmt.Sprintf("lm_head.extra_%02d", i), safetensors.F32, 1))
			}
			return p
		}, []string{"20 tensors", "extra_05 and 14 more"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Declare([]byte(c.config), dev)
			if err != nil {
				t.Fatal(err)
			}
			m.Free()
			dir := writeFolder(t, c.config, c.change(planOf(m, safetensors.F32)), 0)
			got, err := Open(dir, dev, device.F32)
			if checked := Check(dir, dev); fmt.Sprint(checked) != fmt.Sprint(err) {
				t.Errorf("Check says %v, and Open %v", checked, err)
			}
			if err == nil {
				if len(got.LeftOut) != c.left || (got.Note() != "") != (c.left > 0) {
					t.Errorf("left out are %v, want %d; the note is %q", got.LeftOut, c.left, got.Note())
				}
				got.Free()
			}
			if (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want an error of %q", err, c.want)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
		})
	}
	if n := dev.Memory().InUse; n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// TestTiedNames: under these the output layer of a model that shares it with the embedding may be stored beside it.
func TestTiedNames(t *testing.T) {
	for config, tied := range map[string]bool{tiny: false, strings.Replace(tiny, `{`, `{"tie_word_embeddings":true,`, 1): true} {
		m, err := Declare([]byte(config), devicetest.NewReference())
		if err != nil {
			t.Fatal(err)
		}
		for name, output := range map[string]bool{"lm_head.weight": true, "language_model.lm_head.weight": true, "embed_out.weight": true, "lm_head.bias": false, "model.embed_out.weight": false} {
			if got := m.tiedName(name); got != (tied && output) {
				t.Errorf("%s of a model that is tied, %v: %v", name, tied, got)
			}
		}
	}
}

// TestTiedCopy: an output layer that is stored beside the embedding it is tied to loads when it is the same.
func TestTiedCopy(t *testing.T) {
	dev := devicetest.NewReference()
	m, err := New([]byte(tiny), dev, device.F32, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	embedding, err := m.Params[0].Float32s()
	if err != nil || m.Params[0].Name != "model.embed_tokens.weight" {
		t.Fatal(m.Params[0].Name, err)
	}
	for _, p := range m.Params {
		if p.Name == "lm_head.weight" {
			p.Write(embedding)
		}
	}
	dir := t.TempDir()
	if err := m.Save(dir, device.F32, Values); err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(tiny, `{`, `{"tie_word_embeddings":true,`, 1)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	back, err := Open(dir, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Free()
	if len(back.Params) != len(m.Params)-1 {
		t.Errorf("a tied model has %d parameters, an untied one %d", len(back.Params), len(m.Params))
	}
}

// TestSaveShards: a model saved in shards has the names of the field and loads again.
func TestSaveShards(t *testing.T) {
	dev := devicetest.NewReference()
	m, err := New([]byte(tiny), dev, device.F32, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	m.ShardSize = 1000
	dir := t.TempDir()
	if err := m.Save(dir, device.F32, Values); err != nil {
		t.Fatal(err)
	}
	shards, _ := filepath.Glob(filepath.Join(dir, "model-*-of-*.safetensors"))
	if len(shards) < 3 || filepath.Base(shards[0]) != fmt.Sprintf("model-00001-of-%05d.safetensors", len(shards)) {
		t.Fatalf("the folder has %q", shards)
	}
	index, err := os.ReadFile(filepath.Join(dir, safetensors.IndexName))
	if err != nil || !strings.Contains(string(index), fmt.Sprintf(`"total_size": %d`, 4*nn.Count(m.Params))) {
		t.Errorf("index %.80s …, %v", index, err)
	}
	back, err := Open(dir, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Free()
	for i, p := range m.Params {
		a, _ := p.Float32s()
		b, _ := back.Params[i].Float32s()
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%s came back changed", p.Name)
		}
	}
}

// TestNearestType: a model_type that hone does not have is met with the one spelled most like it.
func TestNearestType(t *testing.T) {
	for given, want := range map[string]string{"qwen2_moe": "qwen2", "llama4": "llama", "phi4": "phi", "gpt-neox": "gpt_neox", "mistral3": "mistral", "gemma": "gemma2"} {
		_, err := Declare([]byte(`{"model_type":"`+given+`"}`), devicetest.NewReference())
		if err == nil || !strings.Contains(err.Error(), "the nearest that is would be "+want+";") {
			t.Errorf("%s: %v", given, err)
		}
	}
	for config, want := range map[string]string{
		`{}`: "no model_type",
		`{"model_type":"llama","quantization_config":{"quant_method":"gptq"}}`:                                "quantised",
		`{"model_type":"gpt2","add_cross_attention":true}`:                                                    "decoders alone",
		`{"model_type":"llama","sliding_window":4}`:                                                           "use model_type mistral",
		`{"model_type":"mistral","num_hidden_layers":2,"layer_types":["full_attention","sliding_attention"]}`: "layer_types mixes",
		`{"model_type":"qwen2","num_hidden_layers":1,"layer_types":["chunked_attention"]}`:                    `"chunked_attention" at layer 0`,
		`{"model_type":"qwen3","num_hidden_layers":2,"layer_types":["full_attention"]}`:                       "1 entries for num_hidden_layers 2",
		`{"model_type":"qwen2","partial_rotary_factor":0.5}`:                                                  "rotates whole heads",
		`{"model_type":"mistral","sliding_window":0}`:                                                         "sliding_window is 0",
	} {
		if _, err := Declare([]byte(config), devicetest.NewReference()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %q", config, err, want)
		}
	}
}
