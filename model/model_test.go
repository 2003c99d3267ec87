package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/model/gemma3"
	"hone/nn"
)

const tiny = `{"model_type":"llama","vocab_size":11,"hidden_size":8,"intermediate_size":12,"num_hidden_layers":2,"num_attention_heads":2,"num_key_value_heads":1,"max_position_embeddings":16,"eos_token_id":3}`

func TestSaveAndOpen(t *testing.T) {
	dev := devicetest.NewReference()
	for _, dtype := range []device.DType{device.F32, device.BF16} {
		m, err := New([]byte(tiny), dev, device.F32, 1)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := m.Save(dir, dtype, Values); err != nil {
			t.Fatal(err)
		}
		back, err := Open(dir, dev, device.F32)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range m.Params {
			a, _ := p.Float32s()
			b, _ := back.Params[i].Float32s()
			for j := range a {
				if d := a[j] - b[j]; d != 0 && (dtype == device.F32 || d*d > a[j]*a[j]/(256*256)) {
					t.Fatalf("%v: %s[%d] was %v and is %v", dtype, p.Name, j, a[j], b[j])
				}
			}
		}
		var config map[string]any
		text, _ := os.ReadFile(filepath.Join(dir, "config.json"))
		if err := json.Unmarshal(text, &config); err != nil || config["hidden_size"] != 8.0 || config["architectures"] == nil {
			t.Errorf("config.json is %s (%v)", text, err)
		}
		generation, _ := os.ReadFile(filepath.Join(dir, "generation_config.json"))
		if !strings.Contains(string(generation), `"eos_token_id": 3`) {
			t.Errorf("generation_config.json is %s", generation)
		}
	}
}

// TestSaveKeepsWhatItWasGiven: readers with typed keys refuse 30 where they want 30.0, and
// generation_config.json says more than config.json.
func TestSaveKeepsWhatItWasGiven(t *testing.T) {
	dev, dir, again := devicetest.NewReference(), t.TempDir(), t.TempDir()
	const config = `{"final_logit_softcapping":30.0,"attention_dropout":0.0,"big":12345678901234567890,"_name_or_path":"x/y",`
	m, err := New([]byte(strings.Replace(strings.Replace(tiny, `{`, config, 1), "llama", "gemma2", 1)), dev, device.F32, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Save(dir, device.F32, Values); err != nil {
		t.Fatal(err)
	}
	const generation = `{"eos_token_id": [3, 5], "temperature": 0.6}`
	path := filepath.Join(dir, "generation_config.json")
	if err := os.WriteFile(path, []byte(generation), 0o666); err != nil {
		t.Fatal(err)
	}
	if m, err = Open(dir, dev, device.F32); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(again, device.F32, Values); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(filepath.Join(again, "config.json"))
	for _, want := range []string{`"final_logit_softcapping": 30.0,`, `"attention_dropout": 0.0,`, `"big": 12345678901234567890,`, `"_name_or_path": "x/y",`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("config.json lacks %s: %s", want, text)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(again, "generation_config.json")); string(text) != generation+"\n" {
		t.Errorf("generation_config.json is %s", text)
	}
	if err := os.WriteFile(path, []byte(generation[:9]), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, dev, device.F32); err == nil || !strings.Contains(err.Error(), "generation_config.json") {
		t.Errorf("a damaged generation_config.json gives %v", err)
	}
}

// TestFreshWeightsDependOnSeedAndNameAlone: adding a layer leaves the others' weights as they were.
func TestFreshWeightsDependOnSeedAndNameAlone(t *testing.T) {
	dev := devicetest.NewReference()
	values := func(config string, seed uint64) map[string]float32 {
		m, err := New([]byte(config), dev, device.F32, seed)
		if err != nil {
			t.Fatal(err)
		}
		first := map[string]float32{}
		for _, p := range m.Params {
			v, _ := p.Float32s()
			first[p.Name] = v[0]
		}
		return first
	}
	two, three := values(tiny, 1), values(strings.Replace(tiny, `"num_hidden_layers":2`, `"num_hidden_layers":3`, 1), 1)
	for name, v := range two {
		if three[name] != v {
			t.Errorf("%s is %v with two layers and %v with three", name, v, three[name])
		}
	}
	if other := values(tiny, 2); other["model.embed_tokens.weight"] == two["model.embed_tokens.weight"] {
		t.Error("another seed gives the same weights")
	}
}

func TestBadModels(t *testing.T) {
	dev := devicetest.NewReference()
	for name, c := range map[string]struct{ config, want string }{
		"not JSON":         {`{`, "config.json"},
		"a list":           {`[]`, "config.json is no object of keys and values, but of the type array"},
		"a text":           {strings.Replace(tiny, `"hidden_size":8`, `"hidden_size":"big"`, 1), "config key hidden_size is of the wrong type (string)"},
		"unknown type":     {`{"model_type":"bert"}`, `"bert" is not supported`},
		"no heads":         {strings.Replace(tiny, `"num_attention_heads":2`, `"num_attention_heads":0`, 1), "num_attention_heads is 0"},
		"heads do not fit": {strings.Replace(tiny, `"hidden_size":8`, `"hidden_size":9`, 1), "hidden_size 9 is not a multiple"},
		"odd head":         {strings.Replace(tiny, `"hidden_size":8`, `"hidden_size":6`, 1), "head_dim is 3"},
		"kv heads":         {strings.Replace(tiny, `"num_key_value_heads":1`, `"num_key_value_heads":3`, 1), "not a multiple of num_key_value_heads"},
		"rope scaling":     {strings.Replace(tiny, `{`, `{"rope_scaling":{"rope_type":"spiral","factor":4},`, 1), `rope_type "spiral"`},
		"activation":       {strings.Replace(tiny, `{`, `{"hidden_act":"mish",`, 1), `activation "mish"`},
		"endless layers":   {strings.Replace(tiny, `"num_hidden_layers":2`, `"num_hidden_layers":1000000000`, 1), "is config.json damaged?"},
		"endless channels": {strings.Replace(tiny, `"hidden_size":8`, `"hidden_size":8000000000000`, 1), "is config.json damaged?"},
		"endless experts":  {`{"model_type":"mixtral","num_hidden_layers":1000,"num_local_experts":1000}`, "num_local_experts is 1000000"},
		"too few experts":  {`{"model_type":"mixtral","num_experts_per_tok":9}`, "num_local_experts is only 8"},
		"mixtral window":   {strings.Replace(tiny, `"llama"`, `"mixtral","num_local_experts":2,"sliding_window":-1`, 1), "sliding_window is -1"},
		"phi3 window":      {strings.Replace(tiny, `"llama"`, `"phi3","sliding_window":-1`, 1), "sliding_window is -1"},
		"mistral window":   {strings.Replace(tiny, `"llama"`, `"mistral","sliding_window":0`, 1), "sliding_window is 0"},
		"qwen2 window":     {strings.Replace(tiny, `"llama"`, `"qwen2","use_sliding_window":true,"sliding_window":-1,"layer_types":["sliding_attention","full_attention"]`, 1), "sliding_window is -1"},
		"encoder":          {`{"model_type":"gemma3_text","use_bidirectional_attention":true}`, "predict the next token"},
		"gemma3 pattern":   {`{"model_type":"gemma3_text","sliding_window_pattern":0}`, "sliding_window_pattern is 0"},
		"gemma3 text":      {`{"model_type":"gemma3"}`, "no text_config"},
		"gemma3 in itself": {`{"model_type":"gemma3","text_config":{"sliding_window":0}}`, "sliding_window is 0"},
		"gemma2 layers":    {`{"model_type":"gemma2","layer_types":["full_attention"]}`, "layer_types has 1 entries"},
		"gemma2 scalar":    {`{"model_type":"gemma2","query_pre_attn_scalar":0}`, "query_pre_attn_scalar is 0"},
		"neox heads":       {`{"model_type":"gpt_neox","hidden_size":10,"num_attention_heads":3}`, "hidden_size 10 is not a multiple"},
		"phi rotary":       {`{"model_type":"phi","partial_rotary_factor":0.01}`, "partial_rotary_factor"},
		"negative eps":     {strings.Replace(tiny, `{`, `{"rms_norm_eps":-1e-6,`, 1), "config key rms_norm_eps is -1e-06; it must be above 0"},
		"tiny eps":         {strings.Replace(tiny, `{`, `{"rms_norm_eps":1e-60,`, 1), "config key rms_norm_eps is 1e-60"},
		"eps of Python":    {strings.Replace(tiny, `{`, `{"rms_norm_eps": NaN,`, 1), "config key rms_norm_eps has a value that JSON does not have"},
		"theta of Python":  {strings.Replace(tiny, `{`, `{"rope_theta":-Infinity,`, 1), "config key rope_theta has a value that JSON does not have"},
		"no theta":         {strings.Replace(tiny, `{`, `{"rope_parameters":{"rope_theta":0},`, 1), "rope_parameters: config key rope_theta is 0"},
		"gemma3 thetas":    {`{"model_type":"gemma3_text","rope_parameters":{"sliding_attention":{"rope_theta":-1}}}`, "sliding_attention: config key rope_theta is -1"},
		"gemma3 flat":      {`{"model_type":"gemma3_text","rope_parameters":{"rope_theta":5}}`, "rope_parameters has rope_theta"},
		"gemma3 partial":   {`{"model_type":"gemma3_text","rope_parameters":{"sliding_attention":{"partial_rotary_factor":0.5}}}`, "partial_rotary_factor is 0.5"},
		"gemma3 length":    {`{"model_type":"gemma3_text","rope_parameters":{"sliding_attention":{"rope_type":"dynamic","factor":2}}}`, "rope_type dynamic of sliding_attention"},
		"gemma3 partly":    {`{"model_type":"gemma3_text","partial_rotary_factor":0.5}`, "partial_rotary_factor is 0.5"},
		"gemma2 partly":    {`{"model_type":"gemma2","partial_rotary_factor":0.5}`, "partial_rotary_factor is 0.5"},
		"mixtral partly":   {`{"model_type":"mixtral","partial_rotary_factor":0.5}`, "partial_rotary_factor is 0.5"},
		"mixtral noise":    {`{"model_type":"mixtral","router_jitter_noise":0.1}`, "router_jitter_noise is 0.1"},
		"neox theta":       {`{"model_type":"gpt_neox","rope_theta":5}`, "rope_theta is 5 and rotary_emb_base 10000"},
		"neox part":        {`{"model_type":"gpt_neox","partial_rotary_factor":0.5}`, "partial_rotary_factor is 0.5 and rotary_pct 0.25"},
		"neox head":        {`{"model_type":"gpt_neox","hidden_size":16,"num_attention_heads":2,"head_dim":4}`, "head_dim is 4"},
		"qwen2 no window":  {`{"model_type":"qwen2","use_sliding_window":true,"sliding_window":0}`, "sliding_window is 0"},
		"qwen3 no window":  {`{"model_type":"qwen3","use_sliding_window":true,"sliding_window":-1}`, "sliding_window is -1"},
		"not causal":       {strings.Replace(tiny, `{`, `{"is_causal":false,`, 1), "is_causal is false"},
		"gpt2 heads twice": {`{"model_type":"gpt2","n_head":12,"num_attention_heads":6}`, "n_head is 12 and num_attention_heads, its other name, 6"},
		"gemma2 cap":       {`{"model_type":"gemma2","final_logit_softcapping":0}`, "final_logit_softcapping is 0"},
		"gpt2 eps":         {`{"model_type":"gpt2","layer_norm_epsilon":0}`, "layer_norm_epsilon is 0"},
		"neox eps":         {`{"model_type":"gpt_neox","layer_norm_eps":-1}`, "layer_norm_eps is -1"},
		"cut short":        {tiny[:50], "config.json is empty or cut short"},
		"gpt2 heads":       {`{"model_type":"gpt2","n_embd":10,"n_head":3}`, "n_embd 10"},
	} {
		if _, err := New([]byte(c.config), dev, device.F32, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", name, err, c.want)
		}
	}
}

// TestOtherNamesOfSizes: GPT-2's sizes are found by the names that other architectures have for them, and
// GPT-NeoX may have both of its own.
func TestOtherNamesOfSizes(t *testing.T) {
	dev := devicetest.NewReference()
	for config, want := range map[string]nn.Shape{
		`{"model_type":"gpt2","hidden_size":12,"num_attention_heads":3,"num_hidden_layers":2,"max_position_embeddings":9}`: {Layers: 2, Hidden: 12, Heads: 3, MaxPositions: 9},
		`{"model_type":"gpt2","n_embd":12,"n_head":2,"num_attention_heads":2,"n_layer":1}`:                                 {Layers: 1, Hidden: 12, Heads: 2, MaxPositions: 1024},
		`{"model_type":"gpt_neox","hidden_size":16,"num_attention_heads":2,"num_hidden_layers":1,"rotary_emb_base":5,"rope_theta":5,"rotary_pct":1,"partial_rotary_factor":1}`: {
			Layers: 1, Hidden: 16, Heads: 2, MaxPositions: 2048},
	} {
		m, err := Declare([]byte(config), dev)
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		if s := m.Shape(); s.Layers != want.Layers || s.Hidden != want.Hidden || s.Heads != want.Heads || s.MaxPositions != want.MaxPositions {
			t.Errorf("%s: %+v", config, s)
		}
	}
}

// TestThetasOfGemma3: rope_theta and rope_scaling are of global layers alone, and a layer's own entry wins
// but for rope_scaling, as in transformers.
func TestThetasOfGemma3(t *testing.T) {
	dev := devicetest.NewReference()
	for config, want := range map[string][4]float64{ // theta and factor of global layers, then of those with a window
		`{"model_type":"gemma3_text"}`: {1e6, 0, 1e4, 0},
		`{"model_type":"gemma3_text","rope_theta":5,"rope_local_base_freq":3,"rope_scaling":{"rope_type":"linear","factor":8}}`:                                                                                     {5, 8, 3, 0},
		`{"model_type":"gemma3_text","rope_theta":5,"rope_local_base_freq":3,"rope_parameters":{"full_attention":null,"sliding_attention":{"rope_type":"linear","factor":2}}}`:                                      {5, 0, 3, 2},
		`{"model_type":"gemma3_text","rope_theta":5,"rope_scaling":{"rope_type":"linear","factor":8},"rope_parameters":{"full_attention":{"rope_theta":7,"factor":4},"sliding_attention":{"rope_type":"default"}}}`: {7, 8, 1e4, 0},
	} {
		m, err := Declare([]byte(config), dev)
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		c := m.Model.(*gemma3.Model).Config
		if got := [4]float64{c.Global.Theta, c.Global.Factor, c.Local.Theta, c.Local.Factor}; got != want {
			t.Errorf("%s: %v, want %v", config, got, want)
		}
	}
	m, err := Declare([]byte(`{"model_type":"gemma3_text","original_max_position_embeddings":8,"rope_scaling":{"rope_type":"yarn","factor":2}}`), dev)
	if err != nil || m.Model.(*gemma3.Model).Config.Global.Original != 131072 {
		t.Errorf("an original context at the top, which no kind of layer has: %v", err)
	}
}

func TestBadCheckpoints(t *testing.T) {
	dev := devicetest.NewReference()
	m, err := New([]byte(tiny), dev, device.F32, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := Open(dir, dev, device.F32); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("an empty folder gives %v", err)
	}
	if err := m.Save(dir, device.F32, Values); err != nil {
		t.Fatal(err)
	}
	rewrite := func(old, new string) {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(strings.Replace(tiny, old, new, 1)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	held := dev.Memory().InUse
	rewrite(`"num_hidden_layers":2`, `"num_hidden_layers":4`)
	if _, err := Open(dir, dev, device.F32); err == nil || !strings.Contains(err.Error(), "lacks 18 of") {
		t.Errorf("a checkpoint with too few layers gives %v", err)
	}
	rewrite(`"vocab_size":11`, `"vocab_size":12`)
	if _, err := Open(dir, dev, device.F32); err == nil || !strings.Contains(err.Error(), "[11 8]") {
		t.Errorf("a checkpoint of another vocabulary gives %v", err)
	}
	if now := dev.Memory().InUse; now != held {
		t.Errorf("failed opens left %d bytes behind", now-held)
	}
}

func TestCacheOverflowIsAnError(t *testing.T) {
	dev := devicetest.NewReference()
	cache := nn.NewCache(dev, device.F32, nn.Shape{Layers: 1, KVHeads: 1, HeadDim: 2}, 1, 4)
	if _, err := cache.Feed(nil, []int{0}, [][]int32{{1, 2, 3, 4, 5}}); err == nil || !strings.Contains(err.Error(), "does not fit the cache of 4") {
		t.Errorf("got %v", err)
	}
}

// TestNullKeyValueHeads: where num_key_value_heads is null there are as many as heads; where it is
// absent, the default of transformers.
func TestNullKeyValueHeads(t *testing.T) {
	for _, modelType := range []string{"llama", "mistral", "mixtral", "phi", "phi3", "qwen2", "qwen3"} {
		null := fmt.Sprintf(`{"model_type":%q,"num_hidden_layers":1,"hidden_size":512,"num_attention_heads":64,"num_key_value_heads":null}`, modelType)
		absent := strings.Replace(null, `,"num_key_value_heads":null`, "", 1)
		want := map[string]int{"mistral": 8, "mixtral": 8, "qwen2": 32, "qwen3": 32}[modelType]
		for config, heads := range map[string]int{null: 64, absent: cmp.Or(want, 64)} {
			m, err := Declare([]byte(config), devicetest.NewReference())
			if err != nil {
				t.Fatalf("%s: %v", config, err)
			}
			if got := m.Shape().KVHeads; got != heads {
				t.Errorf("%s: %d key/value heads, want %d", config, got, heads)
			}
		}
	}
}
