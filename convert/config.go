package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// config is a config.json.
type config map[string]any

// real is a number that config.json has as a float, whole or not: transformers 5 refuses a soft cap of 30 and takes 30.0.
type real float64

// MarshalJSON writes the number with a point or an exponent.
func (r real) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(float64(r))
	if err == nil && !bytes.ContainsAny(text, ".e") {
		text = append(text, ".0"...)
	}
	return text, err
}

func parseConfig(text []byte) (config, error) {
	c := config{}
	err := json.Unmarshal(text, &c)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, fmt.Errorf("config.json is no object of keys and values, but of the type %s", wrong.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("read config.json: %w", err)
	}
	if c == nil { // encoding/json takes null for a map that is none
		return nil, errors.New("config.json is no object of keys and values, but null")
	}
	return c, nil
}

// number is the value of the first of keys that is there, and whether one is.
func (c config) number(keys ...string) (float64, bool) {
	for _, k := range keys {
		if v, ok := c[k].(float64); ok {
			return v, true
		}
	}
	return 0, false
}

func (c config) whole(absent int, keys ...string) int {
	if v, ok := c.number(keys...); ok && v >= 0 && v <= math.MaxInt32 {
		return int(v)
	}
	return absent
}

func (c config) object(key string) config {
	o, _ := c[key].(map[string]any)
	return o
}

// shape is the sizes of a model that conversions need.
type shape struct {
	layers, hidden, experts, dim int // dim: channels of a head
	heads                        heads
}

// fromMetadata makes the config.json of a GGUF file, apart from vocabulary and special tokens.
func (a architecture) fromMetadata(m *reader, ropeFactors map[string][]float32) (config, shape, error) {
	c := config{"model_type": a.hf, "architectures": []string{a.class}, a.actKey: a.act}
	for k, v := range a.always {
		c[k] = v
	}
	for _, f := range a.fields {
		key := a.gguf + "." + f.gguf
		if !m.has(key) {
			if f.absent == nil && !f.optional {
				return nil, shape{}, fmt.Errorf("the metadata lacks %s", key)
			}
			if f.absent != nil {
				c[f.hf] = f.absent
			}
		} else {
			c[f.hf] = m.number(key, 0)
		}
		if v, ok := c[f.hf].(float64); ok && isReal(f) {
			if c[f.hf] = real(v); v == 0 && strings.HasSuffix(f.hf, "softcapping") { // none, for llama.cpp
				c[f.hf] = nil
			}
		}
	}
	s := shape{layers: m.whole(a.gguf+".block_count", 0), hidden: m.whole(a.gguf+".embedding_length", 0), experts: m.whole(a.gguf+".expert_count", 0)}
	s.heads.query = m.whole(a.gguf+".attention.head_count", 0)
	s.heads.key = m.whole(a.gguf+".attention.head_count_kv", s.heads.query)
	if m.err != nil {
		return nil, s, m.err
	}
	if s.heads.query < 1 || s.heads.key < 1 || s.hidden < 1 || s.layers < 1 {
		return nil, s, fmt.Errorf("the metadata claims %d layers of %d channels with %d and %d heads, which is no model", s.layers, s.hidden, s.heads.query, s.heads.key)
	}
	s.dim = m.whole(a.gguf+".attention.key_length", s.hidden/s.heads.query)
	if s.dim < 1 {
		return nil, s, fmt.Errorf("the metadata claims %d heads in %d channels and none in each, which is no model", s.heads.query, s.hidden)
	}
	if v := m.whole(a.gguf+".attention.value_length", s.dim); v != s.dim {
		return nil, s, fmt.Errorf("keys have %d channels and values %d, which is not supported", s.dim, v)
	}
	if a.hf != "gpt2" && a.hf != "gpt_neox" {
		c["num_key_value_heads"], c["head_dim"] = s.heads.key, s.dim
	}
	if w, ok := c["sliding_window"].(float64); ok && w == 0 { // phi3's way of saying none
		delete(c, "sliding_window")
	}
	if err := a.ropeFromMetadata(m, c, s, ropeFactors); err != nil {
		return nil, s, err
	}
	if err := a.special(m, c, s); err != nil {
		return nil, s, err
	}
	return c, s, m.err
}

// special sets what one architecture alone has.
func (a architecture) special(m *reader, c config, s shape) error {
	switch a.hf {
	case "gemma2", "gemma3_text":
		c["query_pre_attn_scalar"] = a.queryScalar(s)
		if types, err := a.layerTypes(m, s); err != nil || types != nil {
			delete(c, "sliding_window_pattern") // which is another way to say it
			c["layer_types"] = types
			return err
		}
	case "gpt_neox":
		c["use_parallel_residual"] = m.flag("gptneox.use_parallel_residual", true)
	}
	return nil
}

// layerTypes says which of Gemma's layers have a window, where the file does: by the period of those that have none, or by a truth value for each layer.
func (a architecture) layerTypes(m *reader, s shape) ([]string, error) {
	key := a.gguf + ".attention.sliding_window_pattern"
	v, ok := m.Get(key)
	if !ok {
		return nil, nil
	}
	if s.layers > maxLayers { // before a value is made for each
		return nil, fmt.Errorf("the metadata claims %d layers, which is no model", s.layers)
	}
	windowed := make([]bool, s.layers)
	if list, each := v.([]bool); each {
		if len(list) != s.layers {
			return nil, fmt.Errorf("the metadata has %d layers and %d values in %s", s.layers, len(list), key)
		}
		windowed = list
	} else {
		period := m.whole(key, 0)
		for i := range windowed { // 0: every layer has one, for llama.cpp
			windowed[i] = period == 0 || i%period < period-1
		}
	}
	types := make([]string, s.layers)
	for i, w := range windowed {
		types[i] = pick(w, "sliding_attention", "full_attention")
	}
	return types, nil
}

// queryScalar is what llama.cpp divides Gemma's scores by the root of: the models of 27 billion parameters, told by their layers, do not
// take the channels of a head.
func (a architecture) queryScalar(s shape) int {
	if s.layers == map[string]int{"gemma2": 46, "gemma3_text": 62}[a.hf] {
		return s.hidden / s.heads.query
	}
	return s.dim
}

// ropeFromMetadata writes the rotary part of config.json, as transformers 4 does; newer versions read it too.
func (a architecture) ropeFromMetadata(m *reader, c config, s shape, factors map[string][]float32) error {
	if a.hf == "gpt2" {
		return nil
	}
	prefix := a.gguf + ".rope."
	theta := m.number(prefix+"freq_base", 10000)
	rotary := m.whole(prefix+"dimension_count", s.dim)
	switch {
	case a.hf == "gpt_neox":
		c["rotary_emb_base"], c["rotary_pct"] = real(theta), real(float64(rotary)/float64(s.dim))
	case rotary != s.dim:
		c["partial_rotary_factor"] = real(float64(rotary) / float64(s.dim))
		fallthrough
	default:
		c["rope_theta"] = real(theta)
	}
	if key := prefix + "freq_base_swa"; a.hf == "gemma3_text" && m.has(key) {
		c["rope_local_base_freq"] = real(m.number(key, 0))
	}
	original := m.whole(prefix+"scaling.original_context_length", 0)
	kind, factor := m.text(prefix+"scaling.type"), m.number(prefix+"scaling.factor", m.number(prefix+"scale_linear", 0)) // scale_linear: older files
	scaling := config{}
	switch {
	case factors["rope_factors_long.weight"] != nil:
		scaling = config{"rope_type": "longrope", "long_factor": floats(factors["rope_factors_long.weight"]), "short_factor": floats(factors["rope_factors_short.weight"])}
		c["original_max_position_embeddings"] = original
	case factors["rope_freqs.weight"] != nil:
		found, ok := llama3Scaling(factors["rope_freqs.weight"], theta, s.dim)
		if !ok {
			return errors.New("rope_freqs.weight holds factors that are not those of Llama 3, which config.json cannot say")
		}
		scaling = found
	case kind == "linear" && factor > 0 || kind == "" && factor > 1:
		scaling = config{"rope_type": "linear", "factor": real(factor)}
	case kind == "yarn" && !(factor > 0):
		return errors.New("the rotary positions are scaled by yarn, and the metadata lacks the factor")
	case kind == "yarn":
		scaling = config{"rope_type": "yarn", "factor": real(factor), "original_max_position_embeddings": original}
		for key, to := range map[string]string{"yarn_attn_factor": "attention_factor", "yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow"} {
			if m.has(prefix + "scaling." + key) {
				scaling[to] = real(m.number(prefix+"scaling."+key, 0))
			}
		}
	case kind != "" && kind != "none" && kind != "linear" && kind != "longrope":
		return fmt.Errorf("the rotary positions are scaled by %q, which is not supported", kind)
	}
	if len(scaling) > 0 {
		c["rope_scaling"] = scaling
	}
	return nil
}

// floats are numbers as JSON should show them.
func floats(list []float32) []float64 {
	out := make([]float64, len(list))
	for i, f := range list {
		out[i] = shortest(f)
	}
	return out
}

// llama3 is the scaling of rotary positions of Llama 3.1 and later, by its keys in config.json: factor, low_freq_factor, high_freq_factor and
// original_max_position_embeddings.
type llama3 struct{ factor, low, high, original float64 }

// divisors are what the frequencies are divided by (transformers' modeling_rope_utils.py), one for each pair of the dim channels of a head.
func (s llama3) divisors(theta float64, dim int) []float32 {
	out := make([]float32, dim/2)
	for i := range out {
		length := 2 * math.Pi * math.Pow(theta, float64(2*i)/float64(dim)) // tokens of a full turn
		switch smooth := (s.original/length - s.low) / (s.high - s.low); {
		case length < s.original/s.high:
			out[i] = 1
		case length > s.original/s.low:
			out[i] = float32(s.factor)
		default:
			out[i] = float32(1 / ((1-smooth)/s.factor + smooth))
		}
	}
	return out
}

// llama3Scaling finds the settings that give these factors. The file holds the factors alone; the settings in use are few.
func llama3Scaling(factors []float32, theta float64, dim int) (config, bool) {
	if len(factors) != dim/2 {
		return nil, false
	}
	factor := float64(slices.Max(factors))
	for original := 8.0; original <= 1<<20; original *= 2 {
		// low_freq_factor and high_freq_factor are 1 and 4 in every model of the family; the largest divisor is the factor
		want := llama3{factor, 1, 4, original}.divisors(theta, dim)
		same := true
		for i, f := range factors {
			same = same && math.Abs(float64(f-want[i])) <= 1e-4*math.Abs(float64(f))
		}
		if same {
			return config{"rope_type": "llama3", "factor": real(shortest(float32(factor))), "low_freq_factor": real(1), "high_freq_factor": real(4),
				"original_max_position_embeddings": int(original)}, true
		}
	}
	return nil, false
}
