package convert

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"hone/gguf"
)

// complete fills in what a config.json means without a key. Null is the same as no key, but where it says something: as many heads of keys as of queries,
// or no window.
func (a architecture) complete(c config) {
	for key, v := range a.absent {
		said, given := c[key]
		if !given || said == nil && key != "num_key_value_heads" && key != "sliding_window" {
			c[key] = v
		}
	}
}

// shapeOf reads the sizes of a config.json.
func (a architecture) shapeOf(c config) (shape, error) {
	s := shape{layers: c.whole(0, "num_hidden_layers", "n_layer"), hidden: c.whole(0, "hidden_size", "n_embd")}
	s.heads.query = c.whole(0, "num_attention_heads", "n_head")
	s.heads.key = c.whole(s.heads.query, "num_key_value_heads")
	if s.layers < 1 || s.hidden < 1 || s.heads.query < 1 || s.heads.key < 1 {
		return s, fmt.Errorf("config.json lacks the sizes of a %s model", a.hf)
	}
	s.dim = c.whole(s.hidden/s.heads.query, "head_dim")
	if s.dim < 1 {
		return s, fmt.Errorf("config.json has %d heads in %d channels and none in each", s.heads.query, s.hidden)
	}
	if a.hf == "mixtral" {
		s.experts = c.whole(8, "num_local_experts")
	}
	return s, nil
}

// toMetadata says in metadata what config.json says, in the keys of llama.cpp, and lists what other programs will not see.
func (a architecture) toMetadata(c config, s shape) (meta gguf.Metadata, notes []string, err error) {
	if act, ok := c[a.actKey].(string); ok && act != a.act && !(a.act == "silu" && act == "swish") {
		return nil, nil, fmt.Errorf("the activation is %s and GGUF files of %s mean %s; the model cannot be exported", act, a.hf, a.act)
	}
	if err := a.refuse(c, s); err != nil {
		return nil, nil, err
	}
	put := func(key string, v any) { meta = append(meta, gguf.Pair{Key: a.gguf + "." + key, Value: v}) }
	// numbers first, by the table; what follows are the keys whose presence or value depends on more than one number
	for _, f := range a.fields {
		v, ok := c.number(f.hf)
		switch {
		case ok:
		case f.hf == "n_inner": // null in every GPT-2
			v = float64(4 * s.hidden)
		case f.absent != nil:
			v = toFloat(f.absent)
		case f.optional:
			continue
		default:
			return nil, nil, fmt.Errorf("config.json lacks %s", f.hf)
		}
		switch {
		case isReal(f):
			put(f.gguf, float32(v))
		case v >= 0 && v <= math.MaxUint32 && v == math.Trunc(v):
			put(f.gguf, uint32(v))
		default:
			return nil, nil, fmt.Errorf("config.json says %s is %v", f.hf, v)
		}
	}
	if a.hf != "gpt2" && a.hf != "gpt_neox" { // which have as many heads of keys as of queries, always
		put("attention.head_count_kv", uint32(s.heads.key))
	}
	if s.dim*s.heads.query != s.hidden || c["head_dim"] != nil {
		put("attention.key_length", uint32(s.dim))
		put("attention.value_length", uint32(s.dim))
	}
	if a.hf == "phi3" && c.whole(0, "sliding_window") == 0 { // said, so that no reader takes the window of a model that has one
		put("attention.sliding_window", uint32(0))
	}
	if a.hf == "gpt_neox" {
		parallel, given := c["use_parallel_residual"].(bool)
		put("use_parallel_residual", parallel || !given)
	}
	if w := c.whole(0, "sliding_window"); w > 0 && (a.gguf == "llama" || a.gguf == "phi3") {
		notes = append(notes, fmt.Sprintf("attention is limited to %d tokens; llama.cpp does not limit that of %s models", w, a.gguf))
	}
	if s.dim*s.heads.query != s.hidden && (a.gguf == "qwen2" || a.gguf == "phi2") {
		notes = append(notes, fmt.Sprintf("heads have %d channels; llama.cpp reads %s models only with hidden_size/num_attention_heads", s.dim, a.gguf))
	}
	rope, err := a.ropeToMetadata(c, s)
	return append(meta, rope...), notes, err
}

// toFloat is the number that stands for an absent one in the table of fields, whole or not.
func toFloat(v any) float64 {
	if i, ok := v.(int); ok {
		return float64(i)
	}
	return v.(float64)
}

// isReal reports whether a field holds a float; all others are whole.
func isReal(f field) bool {
	return slices.Contains([]string{"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "attn_logit_softcapping", "final_logit_softcapping"}, f.hf)
}

// refuse names what a model has and GGUF files cannot say, where leaving it out would give another model.
func (a architecture) refuse(c config, s shape) error {
	is := func(key string) bool { b, _ := c[key].(bool); return b }
	scalar := c.whole(0, "query_pre_attn_scalar")
	switch {
	case is("use_sliding_window"):
		return fmt.Errorf("the attention windows of %s have no place in a GGUF file", a.hf)
	case is("attention_bias") && (a.hf == "qwen3" || a.hf == "gemma2" || a.hf == "gemma3_text"):
		return fmt.Errorf("the biases in attention (attention_bias) of this %s have no place in a GGUF file", a.hf)
	case is("qk_layernorm"):
		return fmt.Errorf("the norms of queries and keys of %s (qk_layernorm) have no place in a GGUF file", a.hf)
	case a.hf == "gpt2" && (is("scale_attn_by_inverse_layer_idx") || c["scale_attn_weights"] == false):
		return errors.New("GPT-2's scores by another scale (scale_attn_weights, scale_attn_by_inverse_layer_idx) have no place in a GGUF file")
	case is("use_bidirectional_attention"):
		return fmt.Errorf("attention in both directions has no place in a GGUF file")
	case (a.hf == "gemma2" || a.hf == "gemma3_text") && scalar != 0 && scalar != a.queryScalar(s):
		return fmt.Errorf("query_pre_attn_scalar is %d, and GGUF files of such a %s mean %d", scalar, a.hf, a.queryScalar(s))
	case a.hf == "gemma3_text":
		return refuseGemma3(c, s)
	case a.hf == "gemma2":
		for _, key := range []string{"attn_logit_softcapping", "final_logit_softcapping"} {
			if v, given := c[key]; given && v == nil {
				return fmt.Errorf("%s is null, and GGUF files of gemma2 mean that there is one", key)
			}
		}
		return refuseLayers(c, s, 2)
	}
	return nil
}

// refuseGemma3 refuses what differs from that which llama.cpp takes for granted and the file has no key for.
func refuseGemma3(c config, s shape) error {
	if p := c.whole(6, "sliding_window_pattern", "_sliding_window_pattern"); p != 6 {
		return fmt.Errorf("sliding_window_pattern is %d, and GGUF files of gemma3 mean 6", p)
	}
	local := 10000.0
	if v, ok := c.number("rope_local_base_freq"); ok {
		local = v
	} else if v, ok := c.object("rope_parameters").object("sliding_attention").number("rope_theta"); ok {
		local = v
	}
	if local != 10000 {
		return fmt.Errorf("the rotary base of layers with a window is %v, and GGUF files of gemma3 mean 10000", local)
	}
	return refuseLayers(c, s, 6)
}

// refuseLayers wants every so-many-th layer to be global, where layer_types lists them.
func refuseLayers(c config, s shape, every int) error {
	types, _ := c["layer_types"].([]any)
	for i, t := range types {
		want := "sliding_attention"
		if (i+1)%every == 0 {
			want = "full_attention"
		}
		if t != want {
			return fmt.Errorf("layer %d has %v, and GGUF files mean that every %d. layer looks at all tokens and no other", i, t, every)
		}
	}
	return nil
}

// rope is the rotary part of config.json with the defaults of the architecture.
func (a architecture) rope(c config) (theta, partial float64, scaling config) {
	scaling = c.object("rope_scaling")
	if len(scaling) == 0 {
		scaling = c.object("rope_parameters")
	}
	if full := scaling.object("full_attention"); full != nil {
		scaling = full
	}
	theta = map[string]float64{"gemma3_text": 1e6, "mixtral": 1e6}[a.hf]
	if theta == 0 {
		theta = 10000
	}
	partial = map[string]float64{"phi": 0.5, "gpt_neox": 0.25}[a.hf]
	if partial == 0 {
		partial = 1
	}
	for _, from := range []config{c, scaling} { // the inner one counts
		if v, ok := from.number("rope_theta", "rotary_emb_base"); ok {
			theta = v
		}
		if v, ok := from.number("partial_rotary_factor", "rotary_pct"); ok {
			partial = v
		}
	}
	return theta, partial, scaling
}

// ropeKind is the way rotary positions are scaled, "" for none: rope_type in newer files, type in older ones, which call longrope su.
func ropeKind(scaling config) string {
	for _, key := range []string{"rope_type", "type"} {
		if kind, _ := scaling[key].(string); kind != "" {
			if kind == "default" {
				return ""
			}
			return pick(kind == "su", "longrope", kind)
		}
	}
	return ""
}

// ropeToMetadata says how positions rotate: the base, the channels that do, and the scaling where numbers can say it.
func (a architecture) ropeToMetadata(c config, s shape) (meta gguf.Metadata, err error) {
	if a.hf == "gpt2" {
		return nil, nil
	}
	put := func(key string, v any) { meta = append(meta, gguf.Pair{Key: a.gguf + ".rope." + key, Value: v}) }
	theta, partial, scaling := a.rope(c)
	put("freq_base", float32(theta))
	put("dimension_count", uint32(float64(s.dim)*partial))
	context := c.whole(0, "max_position_embeddings")
	// longrope has the length of pre-training at the top of config.json, the others in rope_scaling
	original := c.whole(scaling.whole(context, "original_max_position_embeddings"), "original_max_position_embeddings")
	factor, given := scaling.number("factor")
	if !given && original > 0 {
		factor = float64(context) / float64(original)
	}
	switch kind := ropeKind(scaling); kind {
	case "", "llama3": // llama3 goes into a tensor
		if a.hf == "phi3" {
			put("scaling.original_context_length", uint32(original))
		}
	case "linear":
		put("scaling.type", kind)
		put("scaling.factor", float32(factor))
	case "yarn":
		if _, ok := scaling.number("mscale", "mscale_all_dim"); ok {
			return nil, fmt.Errorf("yarn's mscale has no place in a GGUF file of %s", a.hf)
		}
		if scaling["truncate"] == false {
			return nil, fmt.Errorf("yarn without truncate has no place in a GGUF file of %s", a.hf)
		}
		put("scaling.type", kind)
		put("scaling.factor", float32(factor))
		put("scaling.original_context_length", uint32(original))
		for _, k := range [][2]string{{"attention_factor", "yarn_attn_factor"}, {"beta_fast", "yarn_beta_fast"}, {"beta_slow", "yarn_beta_slow"}} {
			if v, ok := scaling.number(k[0]); ok {
				put("scaling."+k[1], float32(v))
			}
		}
	case "longrope":
		put("scaling.original_context_length", uint32(original))
		scale := 1.0
		if context > original && original > 1 {
			scale = math.Sqrt(1 + math.Log(float64(context)/float64(original))/math.Log(float64(original)))
		}
		if v, ok := scaling.number("attention_factor"); ok && math.Abs(v-scale) > 1e-6 {
			return nil, fmt.Errorf("longrope's attention_factor is %v, and GGUF files mean %v", v, scale)
		}
		put("scaling.attn_factor", float32(scale))
	default:
		return nil, fmt.Errorf("rope_type %q has no place in a GGUF file", kind)
	}
	return meta, nil
}

// ropeTensors are the vectors that hold scaled rotary positions, by name.
func (a architecture) ropeTensors(c config, s shape) (map[string][]float32, error) {
	theta, partial, scaling := a.rope(c)
	number := func(key string, absent float64) float64 {
		if v, ok := scaling.number(key); ok {
			return v
		}
		return absent
	}
	switch ropeKind(scaling) {
	case "llama3":
		own := llama3{number("factor", 8), number("low_freq_factor", 1), number("high_freq_factor", 4), number("original_max_position_embeddings", 8192)}
		if v, ok := c.number("original_max_position_embeddings"); ok { // which counts for more than the one inside
			own.original = v
		}
		return map[string][]float32{"rope_freqs.weight": own.divisors(theta, s.dim)}, nil
	case "longrope":
		out := map[string][]float32{}
		for key, name := range map[string]string{"long_factor": "rope_factors_long.weight", "short_factor": "rope_factors_short.weight"} {
			list, _ := scaling[key].([]any)
			for _, v := range list {
				if f, ok := v.(float64); ok && f > 0 {
					out[name] = append(out[name], float32(f))
				}
			}
			if pairs := (int(float64(s.dim)*partial) + 1) / 2; len(list) != pairs || len(out[name]) != pairs {
				return nil, fmt.Errorf("longrope needs %d positive numbers in %s, one for each rotated pair of channels", pairs, key)
			}
		}
		return out, nil
	}
	return nil, nil
}
