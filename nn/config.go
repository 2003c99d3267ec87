package nn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"

	"hone/device"
)

// ReadConfig decodes the keys of a config.json that into points to has. Errors name the key.
func ReadConfig(config []byte, into any) error {
	err := json.Unmarshal(config, into)
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	damage, damaged := errors.AsType[*json.SyntaxError](err)
	switch {
	case damaged && int(damage.Offset) >= len(config):
		return errors.New("config.json is empty or cut short; copy the model's folder anew")
	case damaged && keyBefore.Match(config[:damage.Offset-1]): // Python writes NaN and Infinity, which are no JSON
		return fmt.Errorf("config key %s has a value that JSON does not have, such as NaN; give it a number",
			keyBefore.FindSubmatch(config[:damage.Offset-1])[1])
	case ok && wrong.Field == "":
		return fmt.Errorf("config.json is no object of keys and values, but of the type %s", wrong.Value)
	case ok:
		return fmt.Errorf("config key %s is of the wrong type (%s); is config.json damaged?", wrong.Field, wrong.Value)
	case err != nil:
		return fmt.Errorf("read config.json: %w", err)
	case string(bytes.TrimSpace(config)) == "null": // which encoding/json takes for any type
		return errors.New("config.json is no object of keys and values, but null")
	}
	return nil
}

// keyBefore finds the key whose value follows.
var keyBefore = regexp.MustCompile(`"([^"]*)"\s*:\s*-?$`)

// aboveZero are keys of numbers that every model divides by, takes a root or a logarithm of, or scales with,
// at the top or among the rotary ones.
var aboveZero = []string{"rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon",
	"query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping",
	"rope_theta", "rope_local_base_freq", "rotary_emb_base", "rotary_pct", "partial_rotary_factor", "factor", "attention_factor"}

// ropeGroups are the keys of rotary positions whose values are groups of keys; version 5 of transformers has
// the second ones inside the first.
var ropeGroups = [][]string{{"rope_scaling", "rope_parameters"}, {"full_attention", "sliding_attention"}}

// CheckNumbers refuses numbers of a config.json with which no model computes anything. In single precision
// they are still above 0 and finite.
func CheckNumbers(config []byte) error { return checkNumbers(config, ropeGroups) }

// checkNumbers looks into as many levels of groups as are given.
func checkNumbers(config []byte, groups [][]string) error {
	values := map[string]json.RawMessage{}
	if err := ReadConfig(config, &values); err != nil {
		return err
	}
	for _, key := range aboveZero {
		var v *float64
		if text := values[key]; text == nil || json.Unmarshal(text, &v) != nil || v == nil {
			continue // absent, null, or no number, which those who read it refuse
		}
		if f := float32(*v); !(f > 0) || math.IsInf(float64(f), 0) {
			return fmt.Errorf("config key %s is %v; it must be above 0 and a number of single precision", key, *v)
		}
	}
	if len(groups) == 0 {
		return nil
	}
	for _, key := range groups[0] {
		if inner := values[key]; len(inner) > 0 && inner[0] == '{' {
			if err := checkNumbers(inner, groups[1:]); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return nil
}

// EditConfig is a config.json with some keys set anew, or taken out where set has nil. All others stay as
// they are written: a soft cap of 30.0 is still no whole number, which transformers 5 refuses there.
func EditConfig(config []byte, set map[string]any) ([]byte, error) {
	values := map[string]json.RawMessage{}
	if err := ReadConfig(config, &values); err != nil {
		return nil, err
	}
	for key, v := range set {
		if v == nil {
			delete(values, key)
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("config key %s: %w", key, err)
		}
		values[key] = text
	}
	return json.MarshalIndent(values, "", "  ")
}

// Activation is the function that a config.json names in hidden_act or activation_function.
func Activation(name string) (device.UnaryOp, error) {
	switch name {
	case "silu", "swish":
		return device.SiLU, nil
	case "gelu_new", "gelu_pytorch_tanh", "gelu_fast":
		return device.GELU, nil
	case "gelu":
		return device.GELUErf, nil
	case "relu":
		return device.ReLU, nil
	}
	return 0, fmt.Errorf("activation %q is unknown; use silu, gelu, gelu_new, gelu_pytorch_tanh or relu", name)
}

// Heads checks the sizes of attention and completes those that config.json may leave out: as many key/value heads as
// heads, also where they are null, whatever their default is; and channels divided evenly among the heads.
func Heads(config []byte, hidden, heads int, kvHeads, headDim *int) error {
	var given struct {
		KVHeads json.RawMessage `json:"num_key_value_heads"`
	}
	if err := ReadConfig(config, &given); err != nil {
		return err
	}
	if *kvHeads == 0 || string(given.KVHeads) == "null" {
		*kvHeads = heads
	}
	if err := Positive("hidden_size", hidden, "num_attention_heads", heads, "num_key_value_heads", *kvHeads); err != nil {
		return err
	}
	if *headDim == 0 {
		if hidden%heads != 0 {
			return fmt.Errorf("hidden_size %d is not a multiple of num_attention_heads %d; change one or give head_dim", hidden, heads)
		}
		*headDim = hidden / heads
	}
	if heads%*kvHeads != 0 {
		return fmt.Errorf("num_attention_heads %d is not a multiple of num_key_value_heads %d", heads, *kvHeads)
	}
	return Positive("head_dim", *headDim)
}

// LayerWindows are the windows of attention of each layer, 0 where a layer sees everything: layer_types of config.json
// says of each whether it is full_attention or sliding_attention, whose window is given.
func LayerWindows(layerTypes []string, layers, window int) ([]int, error) {
	if len(layerTypes) != layers {
		return nil, fmt.Errorf("layer_types has %d entries for num_hidden_layers %d; give one for each layer", len(layerTypes), layers)
	}
	windows := make([]int, layers)
	for i, kind := range layerTypes {
		switch kind {
		case "full_attention":
		case "sliding_attention":
			if window < 1 {
				return nil, fmt.Errorf("layer_types has sliding_attention at layer %d, but sliding_window is %d; it must be at least 1",
					i, window)
			}
			windows[i] = window
		default:
			return nil, fmt.Errorf("layer_types has %q at layer %d, which is not supported; hone knows full_attention and sliding_attention",
				kind, i)
		}
	}
	return windows, nil
}

// UpperWindows are the layer_types of a model whose layers from the first-th on have a sliding
// window, if there is one at all.
func UpperWindows(layers, first, window int) []string {
	types := make([]string, layers)
	for i := range types {
		types[i] = "full_attention"
		if window > 0 && i >= first {
			types[i] = "sliding_attention"
		}
	}
	return types
}

// PatternedLayers are the layer_types of a model in which every n-th layer sees everything and the others
// have a window.
func PatternedLayers(layers, n int) []string {
	types := make([]string, layers)
	for i := range types {
		types[i] = "sliding_attention"
		if (i+1)%n == 0 {
			types[i] = "full_attention"
		}
	}
	return types
}

// Window is a sliding_window of config.json, 0 when it is null.
func Window(w *int) int {
	if w == nil {
		return 0
	}
	return *w
}

// SoftCap is a soft cap of config.json, 0 when it is null.
func SoftCap(c *float64) float32 {
	if c == nil {
		return 0
	}
	return float32(*c)
}

// Sizes beyond which config.json is taken for damaged: a model is declared before its checkpoint is looked at.
const (
	maxSize    = 1 << 30
	maxModules = 1 << 14 // layers, heads, experts
	maxHeadDim = 1 << 12
)

// Positive checks pairs of a config key and its value, which must be at least 1 and may not be such that no
// model has it.
func Positive(pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		key, v, most := pairs[i].(string), pairs[i+1].(int), maxSize
		switch {
		case key == "head_dim":
			most = maxHeadDim
		case strings.Contains(key, "layer") || strings.Contains(key, "heads") || strings.Contains(key, "experts"):
			most = maxModules
		}
		switch {
		case v < 1:
			return fmt.Errorf("config key %s is %d; it must be at least 1", key, v)
		case v > most:
			return fmt.Errorf("config key %s is %d, and no model has more than %d; is config.json damaged?", key, v, most)
		}
	}
	return nil
}
