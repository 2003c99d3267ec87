package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"hone/device"
	"hone/internal/atomicfile"
	"hone/nn"
	"hone/safetensors"
)

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

// saveWeights streams the parameters into one file or shards: the headers are known before any value.
func (m *Model) saveWeights(dir string, dtype device.DType, values func(nn.Named) ([]float32, error)) error {
	stored := safetensors.F32
	if dtype == device.BF16 {
		stored = safetensors.BF16
	}
	var plan []safetensors.Info
	for _, p := range m.Params {
		plan = append(plan, safetensors.Info{Name: p.Name, DType: stored, Shape: p.Shape})
	}
	w, err := safetensors.CreateModel(dir, plan, m.ShardSize)
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
	set := map[string]any{key: map[device.DType]string{device.F32: "float32", device.BF16: "bfloat16"}[dtype]} // torch's names
	if config["architectures"] == nil {
		set["architectures"] = []string{architectures[m.Type].class}
	}
	generation := m.Generation
	if generation == nil {
		ids := map[string]any{"_from_model_config": true}
		for _, k := range []string{"bos_token_id", "eos_token_id", "pad_token_id"} {
			if v := config[k]; v != nil {
				ids[k] = v
			}
		}
		var err error
		if generation, err = json.MarshalIndent(ids, "", "  "); err != nil {
			return err
		}
	}
	generation = slices.Concat(bytes.TrimSpace(generation), []byte("\n"))
	if err := atomicfile.WriteFile(filepath.Join(dir, generationName), generation); err != nil {
		return err
	}
	text, err := nn.EditConfig(m.Config, set)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, "config.json"), append(text, '\n'))
}
