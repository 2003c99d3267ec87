package model

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hone/device"
	"hone/internal/atomicfile"
	"hone/nn"
	"hone/safetensors"
)

// checkNames compares the model's parameters with the checkpoint's tensors and lists what is missing or misshapen.
func (m *Model) checkNames(weights *safetensors.Archive) error {
	var missing []string
	for _, p := range m.Params {
		t, ok, err := m.lookup(weights, p.Name, p.Shape)
		if err != nil {
			return err
		}
		switch {
		case !ok:
			missing = append(missing, p.Name)
		case !slices.Equal(t.Shape, p.Shape):
			return fmt.Errorf("tensor %s has shape %v in the checkpoint and %v in config.json", p.Name, t.Shape, p.Shape)
		}
	}
	if len(missing) > 0 {
		shown := missing[:min(4, len(missing))]
		return fmt.Errorf("the checkpoint lacks %d of %d tensors that config.json asks for (%s …); is it of another model?",
			len(missing), len(m.Params), strings.Join(shown, ", "))
	}
	return nil
}

// elsewhere is a model that also reads checkpoints of other layouts.
type elsewhere interface{ Elsewhere(name string) []nn.Place }

// lookup finds the tensor of the named parameter, or its part of one, by its name or else where checkpoints of other layouts have it.
func (m *Model) lookup(weights *safetensors.Archive, name string, shape []int) (t safetensors.Tensor, ok bool, err error) {
	if t, ok = weights.Tensor(name); ok {
		return t, true, nil
	}
	other, _ := m.Model.(elsewhere)
	if other == nil {
		return t, false, nil
	}
	for _, place := range other.Elsewhere(name) {
		if t, ok = weights.Tensor(place.Name); !ok {
			continue
		}
		if place.Shape == nil {
			return t, true, nil
		}
		if !slices.Equal(t.Shape, place.Shape) {
			return t, false, fmt.Errorf("tensor %s has shape %v in the checkpoint and %v by config.json", place.Name, t.Shape, place.Shape)
		}
		size := t.DType.Size()
		t.Shape = shape
		t.Data = t.Data[place.Offset*size:][:t.Elements()*size]
		return t, true, nil
	}
	return t, false, nil
}

// load fills the parameters from a checkpoint, one tensor at a time.
func (m *Model) load(weights *safetensors.Archive, dtype device.DType) error {
	if err := m.checkNames(weights); err != nil {
		return err
	}
	return nn.Load(m.Params, m.dev, dtype, func(name string, shape []int) ([]float32, error) {
		t, _, err := m.lookup(weights, name, shape)
		if err != nil {
			return nil, err
		}
		return t.Float32()
	})
}

// Values reads a parameter: the default source of Save.
func Values(p nn.Named) ([]float32, error) { return p.Float32s() }

// Save writes config.json, generation_config.json and the weights to dir, which it makes. dtype is that of
// matrices in the file, F32 or BF16; vectors follow it. values gives each parameter's numbers: Values, or
// the optimizer's f32 masters.
func (m *Model) Save(dir string, dtype device.DType, values func(nn.Named) ([]float32, error)) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	if err := m.saveWeights(dir, dtype, values); err != nil {
		return fmt.Errorf("save model %s: %w", dir, err)
	}
	if err := m.saveConfig(dir, dtype); err != nil {
		return fmt.Errorf("save model %s: %w", dir, err)
	}
	return nil
}

func (m *Model) saveWeights(dir string, dtype device.DType, values func(nn.Named) ([]float32, error)) error {
	stored := safetensors.F32
	if dtype == device.BF16 {
		stored = safetensors.BF16
	}
	var plan []safetensors.Info
	for _, p := range m.Params {
		plan = append(plan, safetensors.Info{Name: p.Name, DType: stored, Shape: p.Shape})
	}
	w, err := safetensors.CreateModel(dir, plan, 0)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, p := range m.Params {
		v, err := values(p)
		if err != nil {
			return fmt.Errorf("read %s: %w", p.Name, err)
		}
		if err := w.WriteFloat32(p.Name, v); err != nil {
			return err
		}
	}
	return w.Commit()
}

// saveConfig writes the configuration back with what other programs need beside it.
func (m *Model) saveConfig(dir string, dtype device.DType) error {
	config := map[string]any{}
	if err := json.Unmarshal(m.Config, &config); err != nil {
		return err
	}
	key := "torch_dtype" // transformers 5 writes dtype and reads both
	if _, ok := config["dtype"]; ok {
		key = "dtype"
	}
	config[key] = map[device.DType]string{device.F32: "float32", device.BF16: "bfloat16"}[dtype]
	if config["architectures"] == nil {
		config["architectures"] = []string{classes[m.Type]}
	}
	generation := map[string]any{"_from_model_config": true}
	for _, k := range []string{"bos_token_id", "eos_token_id", "pad_token_id"} {
		if v := config[k]; v != nil {
			generation[k] = v
		}
	}
	if err := writeJSON(filepath.Join(dir, "generation_config.json"), generation); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, "config.json"), config)
}

// classes are the names of the architectures in transformers.
var classes = map[string]string{
	"gemma2": "Gemma2ForCausalLM", "gemma3_text": "Gemma3ForCausalLM", "gpt2": "GPT2LMHeadModel", "gpt_neox": "GPTNeoXForCausalLM",
	"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "mixtral": "MixtralForCausalLM", "phi": "PhiForCausalLM",
	"phi3": "Phi3ForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(text, '\n'))
}
