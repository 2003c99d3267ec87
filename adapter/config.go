package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Config is adapter_config.json of a LoRA adapter, with PEFT's names and defaults.
type Config struct {
	PeftType          string             `json:"peft_type"` // LORA
	TaskType          string             `json:"task_type,omitempty"`
	BaseModel         string             `json:"base_model_name_or_path,omitempty"`
	InferenceMode     bool               `json:"inference_mode"`
	R                 int                `json:"r"`
	LoraAlpha         float64            `json:"lora_alpha"`
	LoraDropout       float64            `json:"lora_dropout"`
	TargetModules     Modules            `json:"target_modules"`
	ExcludeModules    Modules            `json:"exclude_modules,omitzero"`
	LayersToTransform Numbers            `json:"layers_to_transform,omitempty"` // layers by number; none: all
	ModulesToSave     []string           `json:"modules_to_save,omitempty"`     // modules trained in full
	Bias              string             `json:"bias"`                          // which are trained: none, all or lora_only
	UseRSLoRA         bool               `json:"use_rslora"`                    // scale by alpha/sqrt(r) (Kalajdzievski, 2023)
	RankPattern       map[string]int     `json:"rank_pattern"`                  // ranks of modules whose name matches
	AlphaPattern      map[string]float64 `json:"alpha_pattern"`
	FanInFanOut       bool               `json:"fan_in_fan_out"` // the base stores [in, out] (GPT-2)
	InitLoraWeights   any                `json:"init_lora_weights"`
	UseDoRA           bool               `json:"use_dora"`
	LoraBias          bool               `json:"lora_bias"`
}

// Default returns PEFT's defaults, with every linear layer but the output layer as target.
func Default() Config {
	return Config{
		PeftType: "LORA", TaskType: TaskCausal, InferenceMode: true, R: 8, LoraAlpha: 8,
		TargetModules: Modules{Pattern: AllLinear}, Bias: "none", InitLoraWeights: true,
		RankPattern: map[string]int{}, AlphaPattern: map[string]float64{},
	}
}

// Modules selects modules: by the ends of their names, or by one pattern, a regular expression for whole
// names or AllLinear.
type Modules struct {
	Names   []string
	Pattern string
}

// AllLinear as a pattern selects every linear layer but the output layer.
const AllLinear = "all-linear"

// IsZero tells that nothing is selected.
func (m Modules) IsZero() bool { return len(m.Names) == 0 && m.Pattern == "" }

// MarshalJSON writes a list of names or the pattern.
func (m Modules) MarshalJSON() ([]byte, error) {
	if m.Pattern != "" {
		return json.Marshal(m.Pattern)
	}
	return json.Marshal(m.Names)
}

// UnmarshalJSON reads a list of names, a pattern or null.
func (m *Modules) UnmarshalJSON(text []byte) error {
	*m = Modules{}
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, &m.Pattern)
	}
	return json.Unmarshal(text, &m.Names)
}

// Numbers is a list of whole numbers, which a file may write as one alone.
type Numbers []int

// UnmarshalJSON reads a list, a number or null.
func (n *Numbers) UnmarshalJSON(text []byte) error {
	var one int
	if !bytes.Equal(text, []byte("null")) && json.Unmarshal(text, &one) == nil {
		*n = Numbers{one}
		return nil
	}
	return json.Unmarshal(text, (*[]int)(n))
}

// matcher is the selection as a function of a module's name.
func (m Modules) matcher() (func(name string) bool, error) {
	if m.Pattern == AllLinear {
		return func(string) bool { return true }, nil
	}
	if m.Pattern != "" {
		re, err := regexp.Compile("^(?:" + m.Pattern + ")$")
		if err != nil {
			return nil, fmt.Errorf("%q is no regular expression of Go's: %w", m.Pattern, err)
		}
		return re.MatchString, nil
	}
	return func(name string) bool {
		return slices.ContainsFunc(m.Names, func(end string) bool { return name == end || strings.HasSuffix(name, "."+end) })
	}, nil
}

// Validate reports a value that cannot be meant or is not supported.
func (c *Config) Validate() error {
	switch {
	case c.PeftType != "LORA":
		return fmt.Errorf("peft_type is %q; LORA, PROMPT_TUNING, PREFIX_TUNING and P_TUNING are supported", c.PeftType)
	case c.R < 1:
		return fmt.Errorf("r is %d; it must be at least 1", c.R)
	case !(c.LoraDropout >= 0 && c.LoraDropout < 1):
		return fmt.Errorf("lora_dropout is %v; it must be at least 0 and below 1", c.LoraDropout)
	case math.IsNaN(c.LoraAlpha) || math.IsInf(c.LoraAlpha, 0):
		return fmt.Errorf("lora_alpha is %v; it must be a number", c.LoraAlpha)
	case !slices.Contains([]string{"", "none", "all", "lora_only"}, c.Bias):
		return fmt.Errorf("bias is %q; use none, all or lora_only", c.Bias)
	case c.TargetModules.IsZero():
		return errors.New("target_modules is empty; name layers such as q_proj,v_proj or use all-linear")
	case len(c.LayersToTransform) > 0 && c.TargetModules.Pattern != "" && c.TargetModules.Pattern != AllLinear:
		return errors.New("target_modules is a regular expression, beside which PEFT takes no numbers of layers; " +
			"say the layers in the expression, or list names")
	case c.LoraBias:
		return errors.New("lora_bias is not supported; leave it false, or merge an adapter that has it with PEFT")
	}
	if _, err := c.TargetModules.matcher(); err != nil {
		return fmt.Errorf("target_modules: %w", err)
	}
	if _, err := c.ExcludeModules.matcher(); err != nil {
		return fmt.Errorf("exclude_modules: %w", err)
	}
	_, _, principal, err := c.pissa()
	switch {
	case err != nil:
		return err
	case principal && c.UseDoRA:
		return errors.New("use_dora and init_lora_weights=pissa do not go together; leave one out")
	case principal && !(c.LoraAlpha > 0): // its matrices have a root of 1/scale
		return fmt.Errorf("lora_alpha is %v; with init_lora_weights=pissa it must be above 0", c.LoraAlpha)
	}
	for _, key := range slices.Concat(slices.Collect(maps.Keys(c.RankPattern)), slices.Collect(maps.Keys(c.AlphaPattern))) {
		if _, err := moduleKey(key); err != nil {
			return fmt.Errorf("rank_pattern or alpha_pattern: %q is no regular expression of Go's: %w", key, err)
		}
	}
	for name, alpha := range c.AlphaPattern {
		if math.IsNaN(alpha) || math.IsInf(alpha, 0) || principal && !(alpha > 0) {
			return fmt.Errorf("alpha_pattern of %s is %v; it must be a number, and above 0 with init_lora_weights=pissa", name, alpha)
		}
	}
	for name, r := range c.RankPattern {
		if r < 1 {
			return fmt.Errorf("rank_pattern of %s is %d; it must be at least 1", name, r)
		}
	}
	return nil
}

// rank is the rank and the scale of the adapter of a module.
func (c *Config) rank(module string) (r int, scale float32) {
	r, alpha := c.R, c.LoraAlpha
	if v, ok := match(c.RankPattern, module); ok {
		r = v
	}
	if v, ok := match(c.AlphaPattern, module); ok {
		alpha = v
	}
	if c.UseRSLoRA {
		return r, float32(alpha / math.Sqrt(float64(r)))
	}
	return r, float32(alpha / float64(r))
}

// match finds the value whose key matches the end of the module's name, as PEFT's get_pattern_key does: a key is a
// regular expression for the whole name or what follows a dot. The first in the order of the keys counts.
func match[T any](pattern map[string]T, module string) (value T, ok bool) {
	keys := make([]string, 0, len(pattern))
	for k := range pattern {
		keys = append(keys, k)
	}
	// PEFT takes the first in the order of the file; a map has none, so ours is that of the alphabet,
	// in which SaveConfig writes it.
	slices.Sort(keys)
	for _, k := range keys {
		if re, err := moduleKey(k); err == nil && re.MatchString(module) { // Validate has refused what is none
			return pattern[k], true
		}
	}
	return value, false
}

// moduleKey is a key of rank_pattern or alpha_pattern as an expression for a module's whole name.
func moduleKey(key string) (*regexp.Regexp, error) {
	return regexp.Compile(`^(?:.*\.)?(?:` + key + `)$`)
}
