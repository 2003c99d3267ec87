package model

import (
	"encoding/json"
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
	"hone/tensor"
)

// mistake is a golden model read as somebody could read it wrongly: other values of config.json (nil takes a
// key out) or rows of weights in another order.
type mistake struct {
	name, model string
	config      map[string]any
	rope        map[string]any // keys of rope_parameters or rope_scaling
	weights     func(name string, rows [][]float32) [][]float32
}

var mistakes = []mistake{
	{name: "window one smaller", model: "mistral_window7", config: map[string]any{"sliding_window": 6}},
	{name: "window one larger", model: "mistral_window7", config: map[string]any{"sliding_window": 8}},
	{name: "window one smaller", model: "phi3_window", config: map[string]any{"sliding_window": 6}},
	{name: "window one larger", model: "qwen2_window", config: map[string]any{"sliding_window": 8}},
	{name: "window on every layer", model: "qwen2_window", config: map[string]any{"max_window_layers": 0}},
	{name: "window on no layer", model: "qwen2_window", config: map[string]any{"max_window_layers": 2}},
	{name: "window that is switched off", model: "qwen2_tied", config: map[string]any{"use_sliding_window": true, "max_window_layers": 0}},
	{name: "layer_types in the other order", model: "qwen3_layers", config: map[string]any{"layer_types": []string{"full_attention", "sliding_attention"}}},
	{name: "interleaved rotary positions", model: "llama_untied", weights: interleave},
	{name: "interleaved rotary positions", model: "qwen3_tied", weights: interleave},
	{name: "default theta", model: "mistral_window7", rope: map[string]any{"rope_theta": nil}},
	{name: "no scaling", model: "llama_linear", rope: map[string]any{"rope_type": "default"}},
	{name: "no scaling", model: "llama_dynamic", rope: map[string]any{"rope_type": "default"}},
	{name: "no scaling", model: "llama_yarn", rope: map[string]any{"rope_type": "default"}},
	{name: "no scaling", model: "llama_llama3", rope: map[string]any{"rope_type": "default"}},
	{name: "no scaling", model: "phi3_short", rope: map[string]any{"rope_type": "default"}},
	{name: "linear for yarn", model: "llama_yarn", rope: map[string]any{"rope_type": "linear"}},
	{name: "linear for llama3", model: "llama_llama3", rope: map[string]any{"rope_type": "linear"}},
	{name: "yarn without its attention factor", model: "llama_yarn", rope: map[string]any{"attention_factor": 1.0}},
	{name: "yarn without mscale", model: "llama_yarn_mscale", rope: map[string]any{"mscale": nil}},
	{name: "yarn truncated", model: "llama_yarn_mscale", rope: map[string]any{"truncate": true}},
	{name: "yarn with the usual betas", model: "llama_yarn_mscale", rope: map[string]any{"beta_fast": nil, "beta_slow": nil}},
	{name: "short factors for a long text", model: "phi3_long", config: map[string]any{"original_max_position_embeddings": 64}},
	{name: "long factors for a short text", model: "phi3_short", config: map[string]any{"original_max_position_embeddings": 22}},
	{name: "longrope without its attention factor", model: "phi3_long", rope: map[string]any{"attention_factor": 1.0}},
	{name: "up before gate", model: "phi3_window", weights: upFirst},
	{name: "erf GELU for tanh", model: "gpt2_tied", config: map[string]any{"activation_function": "gelu"}},
}

// interleave puts the rows of a head of 10 where an implementation that pairs channels 2i and 2i+1 would want
// them, which is the same mistake.
func interleave(name string, rows [][]float32) [][]float32 {
	if !strings.Contains(name, "q_proj.weight") && !strings.Contains(name, "k_proj.weight") {
		return rows
	}
	out := slices.Clone(rows)
	for i := range rows {
		head, c := i/10*10, i%10
		out[head+c%2*5+c/2] = rows[i]
	}
	return out
}

func upFirst(name string, rows [][]float32) [][]float32 {
	if !strings.Contains(name, "gate_up_proj") {
		return rows
	}
	half := len(rows) / 2
	return slices.Concat(rows[half:], rows[:half])
}

// TestMistakesShow: no golden model would be met by an implementation that makes one of these mistakes.
func TestMistakesShow(t *testing.T) {
	dev := devicetest.NewReference()
	for _, c := range mistakes {
		t.Run(c.model+"/"+c.name, func(t *testing.T) {
			m, err := Open(c.write(t), dev, device.F32)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Free()
			e := loadExample(t, goldenDir(c.model))
			tape := tensor.NewTape(dev, device.F32)
			defer tape.Reset()
			tape.Infer()
			logits, err := nn.Logits(m, m.Hidden(nn.NewInput(tape, e.ids, e.positions, e.offset)), nil).Float32s()
			if err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i, want := range e.want(t, "logits") {
				worst = max(worst, math.Abs(float64(logits[i]-want)))
			}
			if worst < 5e-4 { // five times what a right implementation may be off
				t.Errorf("the logits move by %.1e only", worst)
			}
		})
	}
}

// write makes the folder of the misread model.
func (m mistake) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(goldenDir(m.model), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	set(config, m.config)
	for _, key := range []string{"rope_parameters", "rope_scaling"} {
		if rope, ok := config[key].(map[string]any); ok {
			set(rope, m.rope)
		}
	}
	text, _ = json.Marshal(config)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o666); err != nil {
		t.Fatal(err)
	}
	m.writeWeights(t, dir)
	return dir
}

func set(to, from map[string]any) {
	for k, v := range from {
		if v == nil {
			delete(to, k)
		} else {
			to[k] = v
		}
	}
}

func (m mistake) writeWeights(t *testing.T, dir string) {
	t.Helper()
	a, err := safetensors.Open(goldenDir(m.model))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var plan []safetensors.Info
	for _, name := range a.Names() {
		x, _ := a.Tensor(name)
		plan = append(plan, x.Info)
	}
	w, err := safetensors.CreateModel(dir, plan, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range plan {
		x, _ := a.Tensor(info.Name)
		v, _ := x.Float32()
		if m.weights != nil {
			width := info.Shape[len(info.Shape)-1]
			if len(info.Shape) == 1 {
				width = 1
			}
			v = slices.Concat(m.weights(info.Name, slices.Collect(slices.Chunk(v, width)))...)
		}
		if err := w.WriteFloat32(info.Name, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}
