package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/model/gemma2"
	"hone/model/gemma3"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// goldenConfig is the config.json of a golden folder with some keys changed; nil takes a key out.
func goldenConfig(t *testing.T, name string, changes map[string]any) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldenDir(name), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	for key, v := range changes {
		if config[key] = v; v == nil {
			delete(config, key)
		}
	}
	text, err = json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// openWith opens the weights of a golden folder by another config.json.
func openWith(t *testing.T, dev device.Device, name string, config []byte) *Model {
	t.Helper()
	m, err := Declare(config, dev)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := safetensors.Open(goldenDir(name))
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	if err := m.load(weights, device.F32); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	return m
}

// misses says by how many times the tolerances of TestGolden a model is off: in its loss or its worst logit.
func (e example) misses(t *testing.T, m *Model, dev device.Device) float64 {
	t.Helper()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	tape.Infer()
	in := nn.NewInput(tape, e.ids, e.positions, e.offset)
	loss, err := nn.Loss(m, in, e.targets, tensor.CrossEntropyOptions{Tokens: e.supervised}).Total.Item()
	if err != nil {
		t.Fatal(err)
	}
	logits, err := nn.Logits(m, m.Hidden(in), nil).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	worst := math.Abs(loss-float64(e.want(t, "loss")[0])) / 1e-5
	for i, want := range e.want(t, "logits") {
		worst = max(worst, math.Abs(float64(logits[i]-want))/1e-4)
	}
	return worst
}

// TestMistakesAreSeen makes typical mistakes and wants the golden numbers missed by far.
func TestMistakesAreSeen(t *testing.T) {
	dev := devicetest.NewReference()
	v5 := map[string]any{"rope_scaling": nil, "rope_theta": nil, "rope_local_base_freq": nil}
	for _, c := range []struct {
		golden, mistake string
		changes         map[string]any
		alter           func(nn.Model)
	}{
		{golden: "phi_partial", mistake: "whole heads rotated", changes: map[string]any{"partial_rotary_factor": 1.0}},
		{golden: "phi_partial", mistake: "erf GELU", changes: map[string]any{"hidden_act": "gelu"}},
		{golden: "phi_tied", mistake: "tanh GELU", changes: map[string]any{"hidden_act": "gelu_new"}},
		{golden: "gpt_neox_parallel", mistake: "one after the other", changes: map[string]any{"use_parallel_residual": false}},
		{golden: "gpt_neox_parallel", mistake: "tanh GELU", changes: map[string]any{"hidden_act": "gelu_new"}},
		{golden: "gpt_neox_parallel", mistake: "rotary_pct of Pythia", changes: map[string]any{"rotary_pct": nil}},
		{golden: "gpt_neox_sequential", mistake: "side by side", changes: map[string]any{"use_parallel_residual": true}},
		{golden: "gemma2", mistake: "window one too small", changes: map[string]any{"sliding_window": 5}},
		{golden: "gemma2", mistake: "window one too large", changes: map[string]any{"sliding_window": 7}},
		{golden: "gemma2", mistake: "windows in the other layers", changes: map[string]any{"layer_types": []string{"full_attention", "sliding_attention", "full_attention"}}},
		{golden: "gemma2", mistake: "no cap on scores", changes: map[string]any{"attn_logit_softcapping": nil}},
		{golden: "gemma2", mistake: "no cap on logits", alter: func(m nn.Model) { m.(*gemma2.Model).Config.FinalLogitSoftcapping = nil }},
		{golden: "gemma2", mistake: "scale of the head's size", changes: map[string]any{"query_pre_attn_scalar": 10}},
		{golden: "gemma2", mistake: "erf GELU", changes: map[string]any{"hidden_activation": "gelu"}},
		{golden: "gemma2", mistake: "w for 1+w", alter: func(m nn.Model) { m.(*gemma2.Model).Body.Layers[1].PostFeedforwardLayerNorm.Offset = 0 }},
		{golden: "gemma2", mistake: "embeddings not scaled", alter: func(m nn.Model) { m.(*gemma2.Model).Config.HiddenSize = 1 }},
		{golden: "gemma3", mistake: "window one too small", changes: map[string]any{"sliding_window": 5}},
		{golden: "gemma3", mistake: "another pattern", changes: map[string]any{"sliding_window_pattern": 2}},
		{golden: "gemma3", mistake: "no rope scaling", changes: map[string]any{"rope_scaling": nil}},
		{golden: "gemma3", mistake: "one theta for all layers", changes: map[string]any{"rope_local_base_freq": 500}},
		{golden: "gemma3", mistake: "default thetas", changes: v5},
		{golden: "gemma3", mistake: "w for 1+w of keys", alter: func(m nn.Model) { m.(*gemma3.Model).Body.Layers[0].SelfAttn.KNorm.Offset = 0 }},
		{golden: "gemma3_capped", mistake: "no cap on logits", changes: map[string]any{"final_logit_softcapping": nil}},
		{golden: "mixtral", mistake: "one expert less", changes: map[string]any{"num_experts_per_tok": 1}},
		{golden: "mixtral", mistake: "no load-balancing loss", changes: map[string]any{"output_router_logits": false}},
		{golden: "mixtral_window", mistake: "window one too large", changes: map[string]any{"sliding_window": 8}},
	} {
		e := loadExample(t, goldenDir(c.golden))
		m := openWith(t, dev, c.golden, goldenConfig(t, c.golden, c.changes))
		if c.alter != nil {
			c.alter(m.Model)
		}
		if far := e.misses(t, m, dev); far < 5 {
			t.Errorf("%s with the mistake %q is off by %.2g times the tolerance alone", c.golden, c.mistake, far)
		} else {
			t.Logf("%s, %s: %.0f", c.golden, c.mistake, far)
		}
	}
}
