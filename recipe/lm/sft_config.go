package lm

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"hone/data"
	"hone/recipe"
	"hone/recipe/config"
)

// SFT is the recipe of supervised fine-tuning: a model learns answers from examples.
type SFT struct {
	Data               []string   `yaml:"data" doc:"files, folders or globs of examples: .jsonl, .json, .parquet, .csv; messages, prompt and completion, alpaca, ShareGPT or text"`
	DataWeights        []string   `yaml:"data_weights" doc:"with several entries of data: the share of the sequences that each gets, relative to the others, as in 3,1"`
	DataTemperature    float64    `yaml:"data_temperature" doc:"flattens the shares (or the sizes, without data_weights) by a power of 1/temperature: 1 keeps them, large ones make them equal"`
	ValidationData     []string   `yaml:"validation_data" doc:"the same, to be held out; not set: a share of data"`
	ValidationFraction float64    `yaml:"validation_fraction" doc:"share of the examples to hold out when validation_data is not set; 0: none"`
	OnBadRecord        string     `yaml:"on_bad_record" doc:"at a record that cannot be used: error, or skip and count it"`
	Model              string     `yaml:"model" doc:"folder of the model to start from"`
	ChatTemplate       string     `yaml:"chat_template" doc:"a template's name or file; not set: the model's own"`
	LossOn             string     `yaml:"loss_on" doc:"which tokens are learned: answers (the assistant's, or the completion) or all"`
	TooLong            string     `yaml:"too_long" doc:"examples over sequence_length: cut their end, drop, or error"`
	Packing            bool       `yaml:"packing" doc:"put several examples into a sequence; they cannot see each other"`
	Epochs             float64    `yaml:"epochs" doc:"times that each example is seen, on average where data_weights or data_temperature give shares; counts when steps is 0"`
	Replay             Replay     `yaml:"replay"`
	Forgetting         Forgetting `yaml:"forgetting"`

	recipe.Training
}

// Replay mixes text of pre-training in, against forgetting.
type Replay struct {
	Data       []string `yaml:"data" doc:"files of text to mix in; a share of them is held out to measure forgetting"`
	Self       bool     `yaml:"self" doc:"mix in text that the base writes before it is trained, when its own training text is not at hand"`
	SelfTokens int      `yaml:"self_tokens" doc:"with self: tokens to write, kept in out"`
	Ratio      float64  `yaml:"ratio" doc:"share of the sequences that are such text"`
}

// DefaultSFT returns the recipe with every default filled in.
func DefaultSFT() SFT {
	c := SFT{
		DataTemperature: 1, ValidationFraction: 0.05, OnBadRecord: "error", LossOn: "answers", TooLong: "cut",
		Packing: true, Epochs: 1, Replay: Replay{Ratio: 0.1, SelfTokens: 16384}, Training: recipe.DefaultTraining(),
	}
	c.Steps, c.SequenceLength, c.BatchSize = 0, 0, 4
	c.Optimizer.LearningRate, c.Optimizer.Beta2, c.Optimizer.WeightDecay = 0, 0.999, 0
	c.Schedule = recipe.Schedule{Name: "linear", WarmupSteps: 0.03}
	c.Eval.Every, c.Checkpoint.KeepBest = 50, true
	return c
}

// Learning rates where the recipe names none: TRL's for full fine-tuning, and for adapters the ten times higher one
// that "LoRA Without Regret" (Schulman et al., 2025) finds.
const (
	fullRate    = 2e-5
	adapterRate = 2e-4
)

// Validate fills in what depends on other keys and reports the first key that cannot be meant, and the remedy.
func (c *SFT) Validate() error {
	c.FallbackRate(fullRate, adapterRate)
	if c.SequenceLength == 0 {
		c.SequenceLength = c.Longest(c.Model)
	}
	heldOut := c.heldOut()
	c.Checkpoint.KeepBest = c.Checkpoint.KeepBest && heldOut
	training := c.Training
	if training.Steps == 0 && c.Epochs > 0 {
		training.Steps = 1 // known when the examples are counted
	}
	return cmp.Or(c.validateInput(), c.validateExamples(), c.ApartFrom("data", c.Data), training.ValidateTraining(heldOut))
}

func (c *SFT) heldOut() bool { return len(c.ValidationData) > 0 || c.ValidationFraction > 0 }

func (c *SFT) validateInput() error {
	switch {
	case len(c.Data) == 0:
		return errors.New("data is not set; name files of examples, as in data=examples.jsonl")
	case !(c.DataTemperature > 0):
		return fmt.Errorf("data_temperature is %v; it must be above 0", c.DataTemperature)
	case len(c.DataWeights) > 0 && len(c.DataWeights) != len(c.Data):
		return fmt.Errorf("data_weights has %d numbers and data %d entries; give each entry one", len(c.DataWeights), len(c.Data))
	case c.Model == "":
		return errors.New("model is not set; name the folder of the model to start from, as in model=runs/first/model")
	case !(c.ValidationFraction >= 0 && c.ValidationFraction < 1):
		return fmt.Errorf("validation_fraction is %v; it must be at least 0 and below 1", c.ValidationFraction)
	case len(c.Replay.Data) > 0 && c.Replay.Self:
		return errors.New("replay.data and replay.self are both set; the base's own text is for when no other is at hand, so leave one out")
	case c.Replay.Self && c.Replay.SelfTokens < 1:
		return fmt.Errorf("replay.self_tokens is %d; it must be at least 1", c.Replay.SelfTokens)
	case (len(c.Replay.Data) > 0 || c.Replay.Self) && !(c.Replay.Ratio > 0 && c.Replay.Ratio < 1):
		return fmt.Errorf("replay.ratio is %v; it must be above 0 and below 1", c.Replay.Ratio)
	case len(c.Replay.Data) == 0 && !c.Replay.Self && c.Replay.Ratio != DefaultSFT().Replay.Ratio:
		return errors.New("replay.ratio is set, but there is nothing to mix in; name texts by replay.data, or set replay.self=true")
	case !c.Replay.Self && c.Replay.SelfTokens != DefaultSFT().Replay.SelfTokens:
		return errors.New("replay.self_tokens is set, but replay.self is not; set replay.self=true, or leave it out")
	case c.Steps == 0 && !(c.Epochs > 0 && c.Epochs <= recipe.MaxEpochs):
		return fmt.Errorf("epochs is %v; set it above 0 and up to %v, or set steps", c.Epochs, recipe.MaxEpochs)
	}
	for _, w := range c.DataWeights {
		if v, err := strconv.ParseFloat(w, 64); err != nil || !(v > 0) || math.IsInf(v, 1) {
			return fmt.Errorf("data_weights has %q; give numbers above 0, as in 3,1", w)
		}
	}
	if r := data.BadRecord(c.OnBadRecord); r != data.FailOnBadRecord && r != data.SkipBadRecord {
		return fmt.Errorf("on_bad_record is %q; use error or skip", c.OnBadRecord)
	}
	return nil
}

func (c *SFT) validateExamples() error {
	if !slices.Contains([]string{"answers", "all"}, c.LossOn) {
		return fmt.Errorf("loss_on is %q; use answers or all", c.LossOn)
	}
	if !slices.Contains([]string{"cut", "drop", "error"}, c.TooLong) {
		return fmt.Errorf("too_long is %q; use cut, drop or error", c.TooLong)
	}
	return nil
}

// Models points at the keys that name folders of models, as (*Pretrain).Models does.
func (c *SFT) Models() []*string { return config.Given(&c.Model) }

// Unused adds to Training.Unused the keys of fine-tuning, such as weights of sources where there is one alone.
func (c *SFT) Unused(key string) string {
	general := len(c.Forgetting.Data) > 0 || len(c.Replay.Data) > 0 || c.Replay.Self // text on which forgetting is measured
	if with := recipe.UnusedEval(key, c.heldOut() || general); with != "" {
		return with
	}
	switch {
	case (key == "data_weights" || key == "data_temperature") && !c.mixes():
		return "a single entry of data"
	case key == "validation_fraction" && len(c.ValidationData) > 0:
		return "validation_data"
	case key == "epochs":
		return c.UnusedEpochs()
	}
	return c.Training.Unused(key)
}
