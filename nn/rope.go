package nn

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// RopeConfig is how a model rotates its queries and keys by their positions (Su et al., "RoFormer", 2021), as ReadRope
// finds it in config.json. Formulas of the scaled types are those of transformers' modeling_rope_utils.py.
type RopeConfig struct {
	Type            string    `json:"rope_type"` // default, linear, dynamic, yarn, llama3 or longrope
	Theta           float64   `json:"rope_theta"`
	Partial         float64   `json:"partial_rotary_factor"` // share of a head's channels that is rotated
	Factor          float64   `json:"factor"`                // how many times longer contexts are than in pre-training
	Original        int       `json:"original_max_position_embeddings"`
	AttentionFactor float64   `json:"attention_factor"` // multiplies cosines and sines; computed when 0
	BetaFast        float64   `json:"beta_fast"`        // yarn: pairs that turn more often than this are left alone, 32 when 0
	BetaSlow        float64   `json:"beta_slow"`        // yarn: pairs that turn less often than this are interpolated, 1 when 0
	MScale          float64   `json:"mscale"`
	MScaleAllDim    float64   `json:"mscale_all_dim"`
	Truncate        *bool     `json:"truncate"` // yarn: the bounds of the ramp are whole channels; true when absent
	LowFreqFactor   float64   `json:"low_freq_factor"`
	HighFreqFactor  float64   `json:"high_freq_factor"`
	ShortFactor     []float64 `json:"short_factor"` // longrope: one divisor for each pair of channels
	LongFactor      []float64 `json:"long_factor"`

	HeadDim      int `json:"-"` // D
	MaxPositions int `json:"-"` // max_position_embeddings
}

// RopeDefaults is what ReadRope takes from the architecture.
type RopeDefaults struct {
	HeadDim      int     // D
	MaxPositions int     // max_position_embeddings
	Theta        float64 // where config.json has none; 10000 when 0
	Partial      float64 // where config.json has none; 1 when 0
	// original_max_position_embeddings where the top has none; when 0 that of the scaling, or MaxPositions
	Original int
	OldTypes map[string]string // older spellings of rope_type that the architecture knows
}

// ReadRope reads the rotary part of config.json: rope_theta, rope_scaling and partial_rotary_factor as
// transformers 4 writes them, or rope_parameters as transformers 5 does. What stands inside rope_scaling or
// rope_parameters wins over the same key at the top, but for original_max_position_embeddings, where the top
// wins. An entry for each kind of layer is refused: an architecture that has such entries gives them one by one.
func ReadRope(config []byte, d RopeDefaults) (RopeConfig, error) {
	var top struct {
		Theta      float64         `json:"rope_theta"`
		Partial    float64         `json:"partial_rotary_factor"`
		Original   int             `json:"original_max_position_embeddings"`
		Scaling    json.RawMessage `json:"rope_scaling"`
		Parameters json.RawMessage `json:"rope_parameters"`
	}
	if err := ReadConfig(config, &top); err != nil {
		return RopeConfig{}, err
	}
	c, err := ropeParameters(top.Scaling, top.Parameters)
	if err != nil {
		return c, fmt.Errorf("read rope_parameters of config.json: %w", err)
	}
	c.Type = firstOf(d.OldTypes[c.Type], c.Type)
	c.HeadDim, c.MaxPositions = d.HeadDim, d.MaxPositions
	c.Theta = firstOf(c.Theta, top.Theta, d.Theta, 10000)
	c.Partial = firstOf(c.Partial, top.Partial, d.Partial, 1)
	c.Original = firstOf(top.Original, d.Original, c.Original, d.MaxPositions)
	if c.Factor == 0 && (c.Type == "yarn" || c.Type == "longrope") && c.Original > 0 {
		c.Factor = float64(c.MaxPositions) / float64(c.Original)
	}
	return c, c.check()
}

// ropeParameters decodes the first of rope_scaling and rope_parameters that has any keys.
func ropeParameters(groups ...json.RawMessage) (c RopeConfig, err error) {
	var old struct {
		Type string `json:"type"` // the older spelling of rope_type
	}
	for _, text := range groups {
		var keys map[string]json.RawMessage
		if len(text) == 0 {
			continue
		}
		if err := json.Unmarshal(text, &keys); err != nil {
			return c, errors.New("it is no group of keys and values; is config.json damaged?")
		}
		for _, kind := range ropeGroups[1] {
			if keys[kind] != nil {
				return c, fmt.Errorf("it has an entry for %s, and this model_type rotates all layers alike", kind)
			}
		}
		if len(keys) > 0 {
			if err = ReadConfig(text, &c); err == nil {
				err = ReadConfig(text, &old)
			}
			break
		}
	}
	c.Type = firstOf(c.Type, old.Type, "default")
	return c, err
}

// firstOf is the first value that is set.
func firstOf[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

// ropeTypes are the supported ones.
var ropeTypes = []string{"default", "linear", "dynamic", "yarn", "llama3", "longrope"}

// check refuses what would give other numbers than the reference, or none.
func (c *RopeConfig) check() error {
	if !slices.Contains(ropeTypes, c.Type) {
		return fmt.Errorf("rope_type %q is not supported; hone knows %q", c.Type, ropeTypes)
	}
	if !(c.Theta > 0) || math.IsInf(c.Theta, 0) {
		return fmt.Errorf("rope_theta is %v; it must be positive", c.Theta)
	}
	if n := c.rotary(); !(c.Partial > 0 && c.Partial <= 1) || n < 2 || n+n%2 > c.HeadDim {
		return fmt.Errorf("head_dim is %d and partial_rotary_factor %v; rotary positions need at least one whole pair of channels in each head",
			c.HeadDim, c.Partial)
	}
	switch {
	case c.Type != "default" && !(c.Factor > 0):
		return fmt.Errorf("rope_type %s needs a positive factor in config.json, not %v", c.Type, c.Factor)
	case c.Type == "dynamic" && c.rotary() < 3:
		return fmt.Errorf("rope_type dynamic needs more than one pair of channels in each head")
	case c.Type == "llama3" && !(c.LowFreqFactor > 0 && c.HighFreqFactor > c.LowFreqFactor):
		return fmt.Errorf("rope_type llama3 needs 0 < low_freq_factor < high_freq_factor, not %v and %v",
			c.LowFreqFactor, c.HighFreqFactor)
	case c.Type == "yarn" && (c.Original < 1 || c.Theta == 1):
		return fmt.Errorf("rope_type yarn needs original_max_position_embeddings of at least 1 and a rope_theta other than 1")
	case c.Type == "longrope" && c.Original < 2:
		return fmt.Errorf("rope_type longrope needs original_max_position_embeddings of at least 2, not %d", c.Original)
	}
	if c.Type == "longrope" {
		for i, list := range [][]float64{c.ShortFactor, c.LongFactor} {
			key := [2]string{"short_factor", "long_factor"}[i]
			if len(list) != c.pairs() || slices.ContainsFunc(list, func(f float64) bool { return !(f > 0) }) {
				return fmt.Errorf("rope_type longrope needs %d positive numbers in %s, one for each rotated pair of channels, not %d",
					c.pairs(), key, len(list))
			}
		}
	}
	return nil
}

// Whole refuses to rotate only a part of each head, for architectures that have no such thing.
func (c *RopeConfig) Whole() error {
	if c.Partial != 1 {
		return fmt.Errorf("partial_rotary_factor is %v, but this model_type rotates whole heads", c.Partial)
	}
	return nil
}

// rotary is the number of rotated channels as the formulas take it.
func (c *RopeConfig) rotary() int { return int(float64(c.HeadDim) * c.Partial) }

// pairs is the number of rotated pairs of channels: half of rotary, rounded up.
func (c *RopeConfig) pairs() int { return (c.rotary() + 1) / 2 }

// Context is the number of positions that the model is made for. Linear and dynamic scaling leave
// max_position_embeddings at the length of pre-training, and so do some configurations of yarn.
func (c *RopeConfig) Context() int {
	switch c.Type {
	case "linear", "dynamic":
		return max(c.MaxPositions, int(c.Factor*float64(c.MaxPositions)))
	case "yarn":
		return max(c.MaxPositions, int(c.Factor*float64(c.Original)))
	}
	return c.MaxPositions
}

// LongAfter is the length beyond which longrope rotates all of a sequence by its long factors, 0 for other types.
func (c *RopeConfig) LongAfter() int {
	if c.Type == "longrope" {
		return c.Original
	}
	return 0
}

// OwnAfter is the length beyond which a sequence is rotated by frequencies that depend on its length, 0 where none is.
func (c *RopeConfig) OwnAfter() int {
	if c.Type == "dynamic" {
		return c.MaxPositions
	}
	return c.LongAfter()
}

// regime tells sequences apart that are rotated by different frequencies: it is 0, or a length for which frequencies
// are the sequence's own.
func (c *RopeConfig) regime(length int) int {
	switch {
	case c.Type == "dynamic" && length > c.MaxPositions:
		return length
	case c.Type == "longrope" && length > c.Original:
		return c.Original + 1
	}
	return 0
}

// frequencies are the radians by which each pair of channels turns from one position to the next, in a
// sequence of the given regime: Theta^(-2i/dim) for pair i of dim rotated channels (Su et al., 2021, section
// 3.2.2), which the scaled types change for longer contexts than the model was pre-trained on:
//
//	dynamic   a larger Theta, the longer the sequence is ("NTK-aware" scaling)
//	linear    every frequency divided by Factor (Chen et al., "Positional Interpolation", 2023)
//	llama3    slow ones divided by Factor, fast ones kept
//	yarn      the same, with a ramp over channels (Peng et al., 2023)
//	longrope  each divided by a number of its own, found by search (Ding et al., 2024)
func (c *RopeConfig) frequencies(regime int) []float64 {
	theta, dim := c.Theta, float64(c.rotary())
	if c.Type == "dynamic" && regime > 0 {
		theta *= math.Pow(c.Factor*float64(regime)/float64(c.MaxPositions)-(c.Factor-1), dim/(dim-2))
	}
	f := make([]float64, c.pairs())
	for i := range f {
		f[i] = math.Pow(theta, -2*float64(i)/dim)
	}
	switch c.Type {
	case "linear":
		for i := range f {
			f[i] /= c.Factor
		}
	case "llama3":
		c.llama3(f)
	case "yarn":
		c.yarn(f)
	case "longrope":
		divisors := c.ShortFactor
		if regime > 0 {
			divisors = c.LongFactor
		}
		for i := range f {
			f[i] /= divisors[i]
		}
	}
	return f
}

// llama3 divides frequencies by Factor that turn less than LowFreqFactor times within the original context,
// keeps those that turn more than HighFreqFactor times, and passes linearly from one to the other between.
func (c *RopeConfig) llama3(f []float64) {
	for i := range f {
		turns := float64(c.Original) * f[i] / (2 * math.Pi) // within the original context
		keep := (turns - c.LowFreqFactor) / (c.HighFreqFactor - c.LowFreqFactor)
		keep = min(max(keep, 0), 1)
		f[i] *= keep + (1-keep)/c.Factor
	}
}

// yarn keeps pairs that turn often in the original context, divides those that turn rarely by the factor and passes
// linearly, over the channels between, from one to the other (Peng et al., "YaRN", 2023).
func (c *RopeConfig) yarn(f []float64) {
	dim := float64(c.rotary())
	channel := func(turns float64) float64 { // at which a pair makes that many turns
		return dim * math.Log(float64(c.Original)/(turns*2*math.Pi)) / (2 * math.Log(c.Theta))
	}
	low, high := channel(firstOf(c.BetaFast, 32)), channel(firstOf(c.BetaSlow, 1))
	if c.Truncate == nil || *c.Truncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, dim-1)
	if low == high {
		high += 0.001
	}
	for i := range f {
		interpolated := min(max((float64(i)-low)/(high-low), 0), 1)
		f[i] *= 1 - interpolated + interpolated/c.Factor
	}
}

// scale multiplies cosines and sines, and so the scores of attention by its square: what yarn and longrope do
// against the flatter softmax of longer contexts.
func (c *RopeConfig) scale() float64 {
	grown := func(m float64) float64 { return 0.1*m*math.Log(max(c.Factor, 1)) + 1 }
	switch {
	case c.Type != "yarn" && c.Type != "longrope":
		return 1
	case c.AttentionFactor != 0:
		return c.AttentionFactor
	case c.Type == "longrope":
		return math.Sqrt(1 + math.Log(max(c.Factor, 1))/math.Log(float64(c.Original)))
	case c.MScale != 0 && c.MScaleAllDim != 0:
		return grown(c.MScale) / grown(c.MScaleAllDim)
	}
	return grown(1)
}
