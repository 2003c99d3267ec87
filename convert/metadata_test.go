package convert

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/gguf"
)

// said is what toMetadata makes of a config.json, by key without the architecture's name.
func said(t *testing.T, text string) (keys map[string]any, notes []string, err error) {
	t.Helper()
	c, err := parseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	a, err := byModelType(c["model_type"].(string))
	if err != nil {
		t.Fatal(err)
	}
	a.complete(c)
	s, err := a.shapeOf(c)
	if err != nil {
		return nil, nil, err
	}
	meta, notes, err := a.toMetadata(c, s)
	keys = map[string]any{}
	for _, p := range meta {
		name, ok := strings.CutPrefix(p.Key, a.gguf+".")
		if _, twice := keys[name]; !ok || twice {
			t.Errorf("the key %s of %s", p.Key, a.hf)
		}
		keys[name] = p.Value
	}
	return keys, notes, err
}

// with adds keys to a config.json, or replaces them.
func with(text, more string) string {
	var a, b map[string]any
	if json.Unmarshal([]byte(text), &a) != nil || json.Unmarshal([]byte("{"+more+"}"), &b) != nil {
		panic(text + more)
	}
	maps.Copy(a, b)
	out, _ := json.Marshal(a)
	return string(out)
}

const (
	llamaConfig = `{"model_type":"llama","num_hidden_layers":2,"hidden_size":64,"num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":128,"max_position_embeddings":2048,"rms_norm_eps":1e-05}`
	gpt2Config  = `{"model_type":"gpt2","n_layer":3,"n_embd":48,"n_head":6,"n_positions":1024,"n_inner":null}`
	neoxConfig  = `{"model_type":"gpt_neox","num_hidden_layers":2,"hidden_size":64,"num_attention_heads":4,"intermediate_size":128,"max_position_embeddings":512}`
	phi3Config  = `{"model_type":"phi3","num_hidden_layers":2,"hidden_size":64,"num_attention_heads":4,"intermediate_size":128,"max_position_embeddings":131072,"original_max_position_embeddings":4096}`
)

// llamaKeys are those of llamaConfig, changed.
func llamaKeys(changes map[string]any) map[string]any {
	keys := map[string]any{"block_count": uint32(2), "context_length": uint32(2048), "embedding_length": uint32(64), "feed_forward_length": uint32(128), "attention.head_count": uint32(4),
		"attention.layer_norm_rms_epsilon": float32(1e-5), "attention.head_count_kv": uint32(2), "rope.freq_base": float32(10000), "rope.dimension_count": uint32(16)}
	for k, v := range changes {
		if keys[k] = v; v == nil {
			delete(keys, k)
		}
	}
	return keys
}

// TestMetadata holds every key that a config.json becomes, and no other, to what llama.cpp's converter writes.
func TestMetadata(t *testing.T) {
	other := func(model, more string) string { return with(llamaConfig, `"model_type":"`+model+`"`+more) }
	for name, c := range map[string]struct {
		config string
		want   map[string]any
		notes  int
	}{
		"llama":                       {llamaConfig, llamaKeys(nil), 0},
		"its own activation":          {with(llamaConfig, `"hidden_act":"swish"`), llamaKeys(nil), 0},
		"as many heads of keys":       {with(llamaConfig, `"num_key_value_heads":null`), llamaKeys(map[string]any{"attention.head_count_kv": uint32(4)}), 0},
		"an epsilon that is not said": {with(llamaConfig, `"rms_norm_eps":null`), llamaKeys(map[string]any{"attention.layer_norm_rms_epsilon": float32(1e-6)}), 0},
		"wide heads":                  {with(llamaConfig, `"head_dim":32`), llamaKeys(map[string]any{"attention.key_length": uint32(32), "attention.value_length": uint32(32), "rope.dimension_count": uint32(32)}), 0},
		"heads that are said":         {with(llamaConfig, `"head_dim":16`), llamaKeys(map[string]any{"attention.key_length": uint32(16), "attention.value_length": uint32(16)}), 0},
		"a base":                      {with(llamaConfig, `"rope_theta":500000`), llamaKeys(map[string]any{"rope.freq_base": float32(500000)}), 0},
		"a base within":               {with(llamaConfig, `"rope_theta":1,"rope_parameters":{"rope_theta":20000,"rope_type":"default"}`), llamaKeys(map[string]any{"rope.freq_base": float32(20000)}), 0},
		"a base of full attention":    {with(llamaConfig, `"rope_parameters":{"full_attention":{"rope_theta":30000},"sliding_attention":{"rope_theta":1}}`), llamaKeys(map[string]any{"rope.freq_base": float32(30000)}), 0},
		"linear":                      {with(llamaConfig, `"rope_scaling":{"type":"linear","factor":4}`), llamaKeys(map[string]any{"rope.scaling.type": "linear", "rope.scaling.factor": float32(4)}), 0},
		"yarn": {with(llamaConfig, `"rope_scaling":{"rope_type":"yarn","original_max_position_embeddings":512,"attention_factor":1.5,"beta_fast":32,"beta_slow":1}`),
			llamaKeys(map[string]any{"rope.scaling.type": "yarn", "rope.scaling.factor": float32(4), "rope.scaling.original_context_length": uint32(512), "rope.scaling.yarn_attn_factor": float32(1.5),
				"rope.scaling.yarn_beta_fast": float32(32), "rope.scaling.yarn_beta_slow": float32(1)}), 0},
		"yarn with a factor": {with(llamaConfig, `"rope_scaling":{"rope_type":"yarn","factor":8,"original_max_position_embeddings":512}`),
			llamaKeys(map[string]any{"rope.scaling.type": "yarn", "rope.scaling.factor": float32(8), "rope.scaling.original_context_length": uint32(512)}), 0},
		"llama3 is a tensor": {with(llamaConfig, `"rope_scaling":{"rope_type":"llama3","factor":8}`), llamaKeys(nil), 0},
		"mistral":            {other("mistral", `,"sliding_window":7`), llamaKeys(map[string]any{"attention.sliding_window": uint32(7)}), 1},
		"mistral without":    {other("mistral", `,"sliding_window":null`), llamaKeys(nil), 0},
		"mixtral":            {other("mixtral", `,"rms_norm_eps":null`), llamaKeys(map[string]any{"attention.layer_norm_rms_epsilon": float32(1e-5), "expert_count": uint32(8), "expert_used_count": uint32(2), "rope.freq_base": float32(1e6)}), 0},
		"qwen2":              {other("qwen2", `,"head_dim":32`), llamaKeys(map[string]any{"attention.key_length": uint32(32), "attention.value_length": uint32(32), "rope.dimension_count": uint32(32)}), 1},
		"phi":                {other("phi", `,"hidden_act":"gelu_new"`), llamaKeys(map[string]any{"attention.layer_norm_rms_epsilon": nil, "attention.layer_norm_epsilon": float32(1e-5), "rope.dimension_count": uint32(8)}), 0},
		"phi with wide heads": {other("phi", `,"head_dim":32,"layer_norm_eps":0.5,"partial_rotary_factor":0.25`), llamaKeys(map[string]any{"attention.layer_norm_rms_epsilon": nil, "attention.layer_norm_epsilon": float32(0.5),
			"attention.key_length": uint32(32), "attention.value_length": uint32(32), "rope.dimension_count": uint32(8)}), 1},
		"gpt2": {gpt2Config, map[string]any{"block_count": uint32(3), "context_length": uint32(1024), "embedding_length": uint32(48), "feed_forward_length": uint32(192), "attention.head_count": uint32(6),
			"attention.layer_norm_epsilon": float32(1e-5)}, 0},
		"gpt_neox": {neoxConfig, llamaKeys(map[string]any{"context_length": uint32(512), "attention.layer_norm_rms_epsilon": nil, "attention.layer_norm_epsilon": float32(1e-5), "attention.head_count_kv": nil,
			"rope.dimension_count": uint32(4), "use_parallel_residual": true}), 0},
		"gpt_neox otherwise": {with(neoxConfig, `"rotary_pct":1,"rotary_emb_base":500,"use_parallel_residual":false`), llamaKeys(map[string]any{"context_length": uint32(512), "attention.layer_norm_rms_epsilon": nil,
			"attention.layer_norm_epsilon": float32(1e-5), "attention.head_count_kv": nil, "rope.freq_base": float32(500), "use_parallel_residual": false}), 0},
		"phi3": {phi3Config, llamaKeys(map[string]any{"context_length": uint32(131072), "attention.layer_norm_rms_epsilon": float32(1e-5), "attention.head_count_kv": uint32(4), "attention.sliding_window": uint32(0),
			"rope.scaling.original_context_length": uint32(4096)}), 0},
		"phi3 with a window": {with(phi3Config, `"sliding_window":9,"rope_scaling":{"type":"su","long_factor":[1],"short_factor":[1]}`), llamaKeys(map[string]any{"context_length": uint32(131072),
			"attention.layer_norm_rms_epsilon": float32(1e-5), "attention.head_count_kv": uint32(4), "attention.sliding_window": uint32(9), "rope.scaling.original_context_length": uint32(4096),
			"rope.scaling.attn_factor": float32(math.Sqrt(1 + 5.0/12))}), 1}, // log2(32) of log2(4096)
		"longrope that is not long": {with(phi3Config, `"max_position_embeddings":4096,"rope_scaling":{"type":"longrope","attention_factor":1}`), llamaKeys(map[string]any{"context_length": uint32(4096),
			"attention.layer_norm_rms_epsilon": float32(1e-5), "attention.head_count_kv": uint32(4), "attention.sliding_window": uint32(0), "rope.scaling.original_context_length": uint32(4096),
			"rope.scaling.attn_factor": float32(1)}), 0},
	} {
		got, notes, err := said(t, c.config)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" || len(notes) != c.notes {
			t.Errorf("%s: %v, notes %q, -want +got:\n%s", name, err, notes, diff)
		}
	}
}

// TestAbsentKeys: a key that config.json leaves out is what transformers has for it, and so what model.Open computes with.
func TestAbsentKeys(t *testing.T) {
	bare := func(model string) string {
		return `{"model_type":"` + model + `","num_hidden_layers":1,"hidden_size":64,"num_attention_heads":32,"intermediate_size":8,"max_position_embeddings":16}`
	}
	for model, want := range map[string]map[string]any{
		"llama":       {"attention.head_count_kv": uint32(32), "attention.layer_norm_rms_epsilon": float32(1e-6), "attention.sliding_window": nil, "attention.key_length": nil},
		"mistral":     {"attention.head_count_kv": uint32(8), "attention.layer_norm_rms_epsilon": float32(1e-6), "attention.sliding_window": uint32(4096)},
		"mixtral":     {"attention.head_count_kv": uint32(8), "attention.layer_norm_rms_epsilon": float32(1e-5), "attention.sliding_window": nil, "rope.freq_base": float32(1e6)},
		"qwen2":       {"attention.head_count_kv": uint32(32), "attention.key_length": nil, "attention.layer_norm_rms_epsilon": float32(1e-6)},
		"qwen3":       {"attention.head_count_kv": uint32(32), "attention.key_length": uint32(128), "rope.dimension_count": uint32(128)},
		"phi3":        {"attention.head_count_kv": uint32(32), "attention.layer_norm_rms_epsilon": float32(1e-5), "rope.scaling.original_context_length": uint32(4096)},
		"gemma2":      {"attention.head_count_kv": uint32(4), "attention.key_length": uint32(256), "attn_logit_softcapping": float32(50), "attention.sliding_window": uint32(4096)},
		"gemma3_text": {"attention.head_count_kv": uint32(4), "attention.key_length": uint32(256), "rope.freq_base": float32(1e6), "attention.sliding_window": uint32(4096)},
	} {
		got, _, err := said(t, bare(model))
		if err != nil {
			t.Errorf("%s: %v", model, err)
		}
		for key, v := range want {
			if got[key] != v {
				t.Errorf("%s: %s is %v, want %v", model, key, got[key], v)
			}
		}
	}
	none, _, err := said(t, with(bare("mistral"), `"num_key_value_heads":null,"sliding_window":null`))
	if err != nil || none["attention.head_count_kv"] != uint32(32) || none["attention.sliding_window"] != nil {
		t.Errorf("nulls of mistral: %v, %v", none, err)
	}
}

// TestLlama3Original: the length of pre-training at the top of config.json counts for more than the one within.
func TestLlama3Original(t *testing.T) {
	const within = `"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":64}`
	for more, original := range map[string]float64{within: 64, within + `,"original_max_position_embeddings":32`: 32} {
		c, err := parseConfig([]byte(with(llamaConfig, more)))
		if err != nil {
			t.Fatal(err)
		}
		a, _ := byModelType("llama")
		s, _ := a.shapeOf(c)
		got, err := a.ropeTensors(c, s)
		if diff := cmp.Diff(map[string][]float32{"rope_freqs.weight": llama3{8, 1, 4, original}.divisors(10000, 16)}, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", more, err, diff)
		}
	}
}

// TestMetadataRefuses what would be another model.
func TestMetadataRefuses(t *testing.T) {
	gemma2 := with(llamaConfig, `"model_type":"gemma2","head_dim":16`)
	for config, want := range map[string]string{
		with(llamaConfig, `"hidden_act":"gelu"`):                "the activation is gelu",
		with(gpt2Config, `"activation_function":"swish"`):       "the activation is swish",
		with(llamaConfig, `"max_position_embeddings":2048.5`):   "max_position_embeddings is 2048.5",
		with(llamaConfig, `"intermediate_size":-1`):             "intermediate_size is -1",
		with(llamaConfig, `"intermediate_size":4294967296`):     "intermediate_size is 4.294967296e+09",
		with(llamaConfig, `"num_hidden_layers":null`):           "lacks the sizes",
		with(llamaConfig, `"hidden_size":null`):                 "lacks the sizes",
		with(llamaConfig, `"num_attention_heads":null`):         "lacks the sizes",
		with(llamaConfig, `"hidden_size":1e300`):                "lacks the sizes",
		with(llamaConfig, `"num_hidden_layers":0`):              "lacks the sizes",
		with(llamaConfig, `"num_attention_heads":0`):            "lacks the sizes",
		with(llamaConfig, `"num_key_value_heads":0`):            "lacks the sizes",
		with(llamaConfig, `"hidden_size":3`):                    "4 heads in 3 channels",
		with(llamaConfig, `"head_dim":0`):                       "none in each",
		with(llamaConfig, `"qk_layernorm":true`):                "qk_layernorm",
		with(llamaConfig, `"use_bidirectional_attention":true`): "in both directions",
		with(gemma2, `"attention_bias":true`):                   "attention_bias",
		with(gemma2, `"query_pre_attn_scalar":15`):              "query_pre_attn_scalar is 15, and GGUF files of such a gemma2 mean 16",
		gemma2: "query_pre_attn_scalar is 256, and GGUF files of such a gemma2 mean 16",
		with(llamaConfig, `"model_type":"gemma3_text","head_dim":16`):                                                                        "query_pre_attn_scalar is 256, and GGUF files of such a gemma3_text mean 16",
		with(gpt2Config, `"scale_attn_weights":false`):                                                                                       "scores by another scale",
		with(gpt2Config, `"scale_attn_by_inverse_layer_idx":true`):                                                                           "scores by another scale",
		with(llamaConfig, `"rope_scaling":{"type":"yarn","factor":2,"truncate":false}`):                                                      "yarn without truncate",
		with(gemma2, `"query_pre_attn_scalar":16,"final_logit_softcapping":null`):                                                            "final_logit_softcapping is null",
		with(phi3Config, `"rope_scaling":{"type":"longrope","attention_factor":2}`):                                                          "attention_factor is 2",
		with(llamaConfig, `"rope_scaling":{"type":"yarn","factor":2,"mscale_all_dim":1}`):                                                    "mscale",
		with(llamaConfig, `"model_type":"gemma3_text","query_pre_attn_scalar":256,"rope_parameters":{"sliding_attention":{"rope_theta":5}}`): "windows is 5",
	} {
		if _, _, err := said(t, config); err == nil || !strings.Contains(err.Error(), strings.Replace(want, "windows is", "a window is", 1)) {
			t.Errorf("%s: got %v, want %q", config, err, want)
		}
	}
	if _, _, err := said(t, with(gemma2, `"query_pre_attn_scalar":16,"hidden_activation":"gelu_pytorch_tanh"`)); err != nil {
		t.Errorf("a gemma2 as it is meant: %v", err)
	}
	if _, _, err := said(t, with(gemma2, `"num_hidden_layers":46,"head_dim":8,"query_pre_attn_scalar":16`)); err != nil {
		t.Errorf("one of 46 layers takes hidden_size/num_attention_heads: %v", err)
	}
}

// read makes a config.json of metadata, of which the keys are without the architecture's name.
func read(t *testing.T, name string, keys map[string]any, factors map[string][]float32) (config, shape, error) {
	t.Helper()
	meta := gguf.Metadata{{Key: "general.architecture", Value: name}}
	for k, v := range keys {
		meta = append(meta, gguf.Pair{Key: name + "." + k, Value: v})
	}
	m := &reader{Metadata: meta}
	a, err := choose(m)
	if err != nil {
		return nil, shape{}, err
	}
	return a.fromMetadata(m, factors)
}

// TestConfigs reads metadata of other programs: older keys, other widths of numbers, and what is not said.
func TestConfigs(t *testing.T) {
	const sliding, full = "sliding_attention", "full_attention"
	for name, c := range map[string]struct {
		arch    string
		changes map[string]any
		factors map[string][]float32
		want    map[string]any // of config.json, nil for a key that is not there
	}{
		"llama":                         {"llama", nil, nil, map[string]any{"model_type": "llama", "hidden_act": "silu", "num_key_value_heads": 2.0, "head_dim": 16.0, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "rope_scaling": nil, "num_hidden_layers": 2.0}},
		"mistral":                       {"llama", map[string]any{"attention.sliding_window": uint32(7)}, nil, map[string]any{"model_type": "mistral", "sliding_window": 7.0}},
		"no window":                     {"llama", map[string]any{"attention.sliding_window": uint32(0), "expert_count": uint32(0)}, nil, map[string]any{"model_type": "llama", "sliding_window": nil}},
		"mixtral":                       {"llama", map[string]any{"attention.sliding_window": uint32(7), "expert_count": uint32(4)}, nil, map[string]any{"model_type": "mixtral", "num_local_experts": 4.0, "num_experts_per_tok": 2.0}},
		"a key of another architecture": {"qwen2", map[string]any{"expert_count": uint32(4), "attention.sliding_window": uint32(7)}, nil, map[string]any{"model_type": "qwen2", "use_sliding_window": false}},
		"other numbers":                 {"llama", map[string]any{"block_count": uint64(2), "attention.head_count_kv": int32(1), "attention.layer_norm_rms_epsilon": 0.5}, nil, map[string]any{"num_key_value_heads": 1.0, "rms_norm_eps": 0.5, "num_hidden_layers": 2.0}},
		"heads not said":                {"llama", map[string]any{"attention.head_count_kv": nil}, nil, map[string]any{"num_key_value_heads": 4.0}},
		"half of the channels":          {"llama", map[string]any{"rope.dimension_count": uint32(8)}, nil, map[string]any{"partial_rotary_factor": 0.5, "rope_theta": 10000.0}},
		"linear":                        {"llama", map[string]any{"rope.scaling.type": "linear", "rope.scaling.factor": float32(4)}, nil, map[string]any{"rope_scaling": map[string]any{"rope_type": "linear", "factor": 4.0}}},
		"linear, as it was":             {"llama", map[string]any{"rope.scale_linear": float32(2)}, nil, map[string]any{"rope_scaling": map[string]any{"rope_type": "linear", "factor": 2.0}}},
		"linear by one":                 {"llama", map[string]any{"rope.scale_linear": float32(1)}, nil, map[string]any{"rope_scaling": nil}},
		"linear by nothing":             {"llama", map[string]any{"rope.scaling.type": "linear"}, nil, map[string]any{"rope_scaling": nil}},
		"none":                          {"llama", map[string]any{"rope.scaling.type": "none", "rope.scaling.factor": float32(4)}, nil, map[string]any{"rope_scaling": nil}},
		"yarn": {"llama", map[string]any{"rope.scaling.type": "yarn", "rope.scaling.factor": float32(4), "rope.scaling.original_context_length": uint32(512), "rope.scaling.yarn_attn_factor": float32(1.5),
			"rope.scaling.yarn_beta_fast": float32(16)}, nil, map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512.0, "attention_factor": 1.5, "beta_fast": 16.0}}},
		"llama3": {"llama", map[string]any{"rope.freq_base": float32(500000)}, map[string][]float32{"rope_freqs.weight": llama3{32, 1, 4, 8192}.divisors(500000, 16)},
			map[string]any{"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192.0}}},
		"longrope": {"phi3", map[string]any{"rope.scaling.original_context_length": uint32(4096), "attention.sliding_window": uint32(0)}, map[string][]float32{"rope_factors_long.weight": {1.1}, "rope_factors_short.weight": {1}},
			map[string]any{"rope_scaling": map[string]any{"rope_type": "longrope", "long_factor": []any{1.1}, "short_factor": []any{1.0}}, "original_max_position_embeddings": 4096.0, "sliding_window": nil}},
		"gemma2":           {"gemma2", map[string]any{"final_logit_softcapping": float32(0)}, nil, map[string]any{"query_pre_attn_scalar": 16.0, "attn_logit_softcapping": 50.0, "final_logit_softcapping": nil, "sliding_window": 4096.0}},
		"gemma2 of 27":     {"gemma2", map[string]any{"block_count": uint32(46), "attention.key_length": uint32(8), "attention.value_length": uint32(8)}, nil, map[string]any{"query_pre_attn_scalar": 16.0, "head_dim": 8.0}},
		"gemma2 by threes": {"gemma2", map[string]any{"block_count": uint32(4), "attention.sliding_window_pattern": uint32(3)}, nil, map[string]any{"layer_types": []any{sliding, sliding, full, sliding}}},
		"gemma3":           {"gemma3", nil, nil, map[string]any{"layer_types": nil, "sliding_window_pattern": 6.0, "rope_local_base_freq": 10000.0}},
		"gemma3, said": {"gemma3", map[string]any{"attention.sliding_window_pattern": []bool{false, true}, "rope.freq_base": float32(1e6), "rope.freq_base_swa": float32(20000)}, nil,
			map[string]any{"layer_types": []any{full, sliding}, "sliding_window_pattern": nil, "rope_local_base_freq": 20000.0, "rope_theta": 1e6}},
		"gemma3 by ones":    {"gemma3", map[string]any{"attention.sliding_window_pattern": uint32(1)}, nil, map[string]any{"layer_types": []any{full, full}}},
		"gemma3 by noughts": {"gemma3", map[string]any{"attention.sliding_window_pattern": uint32(0)}, nil, map[string]any{"layer_types": []any{sliding, sliding}}},
		"gptneox":           {"gptneox", map[string]any{"attention.layer_norm_epsilon": float32(1e-5), "rope.dimension_count": uint32(4)}, nil, map[string]any{"rotary_pct": 0.25, "rotary_emb_base": 10000.0, "use_parallel_residual": true, "head_dim": nil, "rope_theta": nil}},
		"gptneox in a row":  {"gptneox", map[string]any{"use_parallel_residual": false}, nil, map[string]any{"rotary_pct": 1.0, "use_parallel_residual": false}},
		"gpt2":              {"gpt2", nil, nil, map[string]any{"n_layer": 2.0, "n_embd": 64.0, "n_inner": 128.0, "activation_function": "gelu_new", "rope_theta": nil, "num_key_value_heads": nil, "layer_norm_epsilon": 1e-5}},
	} {
		c0, _, err := read(t, c.arch, compactKeys(llamaKeys(c.changes)), c.factors)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := json.Marshal(c0)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		for key, want := range c.want {
			if diff := cmp.Diff(want, got[key]); diff != "" {
				t.Errorf("%s: %s, -want +got:\n%s", name, key, diff)
			}
		}
	}
}

func compactKeys(keys map[string]any) map[string]any {
	maps.DeleteFunc(keys, func(_ string, v any) bool { return v == nil })
	return keys
}

// TestConfigsRefuse what is no model, or one that config.json cannot say.
func TestConfigsRefuse(t *testing.T) {
	for want, c := range map[string]struct {
		arch    string
		changes map[string]any
		factors map[string][]float32
	}{
		`architecture "bert" cannot be converted; these can: llama, qwen2`: {"bert", nil, nil},
		"lacks llama.block_count":                                          {"llama", map[string]any{"block_count": nil}, nil},
		"claims 0 layers":                                                  {"llama", map[string]any{"block_count": uint32(0)}, nil},
		"with 0 and 2 heads":                                               {"llama", map[string]any{"attention.head_count": uint32(0)}, nil},
		"with 4 and 0 heads":                                               {"llama", map[string]any{"attention.head_count_kv": uint32(0)}, nil},
		"claims 2 layers of 0 channels":                                    {"llama", map[string]any{"embedding_length": uint32(0)}, nil},
		"4 heads in 3 channels":                                            {"llama", map[string]any{"embedding_length": uint32(3)}, nil},
		"keys have 16 channels and values 8":                               {"llama", map[string]any{"attention.value_length": uint32(8)}, nil},
		"is -1, which is not a whole number":                               {"llama", map[string]any{"block_count": int32(-1)}, nil},
		"is 2.5, which is not a whole number":                              {"llama", map[string]any{"block_count": float32(2.5)}, nil},
		"is NaN, which is not a whole number":                              {"llama", map[string]any{"block_count": math.NaN()}, nil},
		"is 4.294967295e+09, which is not a whole":                         {"llama", map[string]any{"attention.key_length": uint32(math.MaxUint32)}, nil},
		`is "a\nb", which is not a number`:                                 {"llama", map[string]any{"context_length": "a\nb"}, nil},
		"is 1, which is not a truth value":                                 {"gptneox", map[string]any{"use_parallel_residual": uint8(1)}, nil},
		"is 7, which is not text":                                          {"llama", map[string]any{"rope.scaling.type": uint32(7)}, nil},
		`scaled by "dynamic"`:                                              {"llama", map[string]any{"rope.scaling.type": "dynamic"}, nil},
		"lacks the factor":                                                 {"llama", map[string]any{"rope.scaling.type": "yarn"}, nil},
		"2 layers and 1 values in gemma3.attention.sliding_window_pattern": {"gemma3", map[string]any{"attention.sliding_window_pattern": []bool{true}}, nil},
		"claims 70000 layers, which is no model":                           {"gemma2", map[string]any{"block_count": uint32(70000), "attention.sliding_window_pattern": uint32(2)}, nil},
		`sliding_window_pattern is "text", which is not a number`:          {"gemma2", map[string]any{"attention.sliding_window_pattern": "text"}, nil},
		"not those of Llama 3":                                             {"llama", nil, map[string][]float32{"rope_freqs.weight": {1, 2, 3, 4, 5, 6, 7, 8}}},
	} {
		if _, _, err := read(t, c.arch, compactKeys(llamaKeys(c.changes)), c.factors); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, ok := llama3Scaling([]float32{1, 8}, 10000, 16); ok {
		t.Error("two factors are those of eight pairs")
	}
}

// TestLlama3Divisors: short turns stay, long ones are divided by the factor, and between the two it goes in a straight line of the turns in the original context.
func TestLlama3Divisors(t *testing.T) {
	got := llama3{8, 1, 4, 8192}.divisors(500000, 128)
	for i, v := range got {
		turns := 8192 / (2 * math.Pi * math.Pow(500000, float64(i)/64))
		want := 1.0
		switch {
		case turns < 1:
			want = 8
		case turns <= 4:
			smooth := (turns - 1) / 3
			want = 1 / ((1-smooth)/8 + smooth)
		}
		if math.Abs(float64(v)-want) > 1e-5*want {
			t.Errorf("pair %d is divided by %v, want %v", i, v, want)
		}
	}
	if got[0] != 1 || got[63] != 8 {
		t.Errorf("from %v to %v", got[0], got[63])
	}
	for _, c := range []llama3{{8, 1, 4, 8192}, {32, 1, 4, 8192}, {16, 1, 4, 8}, {4, 1, 4, 1 << 20}} {
		found, ok := llama3Scaling(c.divisors(500000, 128), 500000, 128)
		if fmt.Sprint(found["factor"], found["original_max_position_embeddings"]) != fmt.Sprint(c.factor, c.original) && c.original > 8 && c.original < 1<<20 || !ok {
			t.Errorf("%+v is found as %v, %v", c, found, ok)
		}
	}
}
