package recipe

import (
	"fmt"
	"math"

	"hone/optim"
	"hone/train"
)

// The groups of keys that every recipe of training shares.

// Optimizer holds the constants of AdamW and what happens when gradients are not finite.
type Optimizer struct {
	Name         string  `yaml:"name" doc:"adamw, or adamw8bit (moments in 8 bits: a quarter of the memory)"`
	Paged        bool    `yaml:"paged" doc:"keep the optimizer's state in files in out, beside a card in the host's memory; a few MiB of it are on the device at a time"`
	LearningRate float64 `yaml:"learning_rate" doc:"peak learning rate; schedule.* shapes it; 0, where it is the default: one for the method"`
	Beta1        float64 `yaml:"beta1" doc:"decay of the first moment"`
	Beta2        float64 `yaml:"beta2" doc:"decay of the second moment"`
	Eps          float64 `yaml:"eps" doc:"added to the root of the second moment"`
	WeightDecay  float64 `yaml:"weight_decay" doc:"decoupled weight decay of matrices; norms and biases have none"`
	MaxGradNorm  float64 `yaml:"max_grad_norm" doc:"gradients are scaled down to this global norm; 0: not"`
	OnNonFinite  string  `yaml:"on_nonfinite" doc:"at NaN or infinite gradients: stop, or skip the step"`
	MaxSkips     int     `yaml:"max_skips" doc:"with skip: stop after more than this many skipped steps in a row"`
}

// defaultOptimizer has what pre-training of GPT-3 and Llama had, but for the learning rate, which is one for
// small models.
func defaultOptimizer() Optimizer {
	d := optim.Default()
	// Beta2 of 0.95 forgets the large gradients of the first steps sooner than 0.999 does, as GPT-3 and Llama have it.
	return Optimizer{Name: "adamw", LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1,
		MaxGradNorm: d.MaxGradNorm, OnNonFinite: train.StopOnNonFinite, MaxSkips: 5}
}

func (o *Optimizer) validate() error {
	switch {
	case o.Name != "adamw" && o.Name != "adamw8bit":
		return fmt.Errorf("optimizer.name is %q; use adamw or adamw8bit", o.Name)
	case !(o.LearningRate > 0 && o.LearningRate <= math.MaxFloat32): // weights are f32
		return fmt.Errorf("optimizer.learning_rate is %v; it must be above 0 and at most %.2g", o.LearningRate, math.MaxFloat32)
	case !(o.Beta1 >= 0 && o.Beta1 < 1):
		return fmt.Errorf("optimizer.beta1 is %v; it must be at least 0 and below 1", o.Beta1)
	case !(o.Beta2 >= 0 && o.Beta2 < 1):
		return fmt.Errorf("optimizer.beta2 is %v; it must be at least 0 and below 1", o.Beta2)
	case !(o.Eps > 0):
		return fmt.Errorf("optimizer.eps is %v; it must be above 0", o.Eps)
	case !(o.WeightDecay >= 0):
		return fmt.Errorf("optimizer.weight_decay is %v; it must be at least 0", o.WeightDecay)
	case !(o.MaxGradNorm >= 0):
		return fmt.Errorf("optimizer.max_grad_norm is %v; it must be at least 0, and 0 means no clipping", o.MaxGradNorm)
	case o.OnNonFinite != train.StopOnNonFinite && o.OnNonFinite != train.SkipOnNonFinite:
		return fmt.Errorf("optimizer.on_nonfinite is %q; use stop or skip", o.OnNonFinite)
	case o.MaxSkips < 0:
		return fmt.Errorf("optimizer.max_skips is %d; it must be at least 0", o.MaxSkips)
	}
	return nil
}

func (o *Optimizer) config() optim.Config {
	return optim.Config{Beta1: float32(o.Beta1), Beta2: float32(o.Beta2), Eps: float32(o.Eps),
		WeightDecay: float32(o.WeightDecay), MaxGradNorm: o.MaxGradNorm, EightBit: o.Name == "adamw8bit"}
}

// Schedule is train.Schedule with the names that recipes use.
type Schedule struct {
	Name        string  `yaml:"name" doc:"after the warm-up: constant, linear, cosine, wsd (stable, then decay) or inverse_sqrt"`
	WarmupSteps float64 `yaml:"warmup_steps" doc:"steps of linear warm-up; below 1 a fraction of steps"`
	DecaySteps  float64 `yaml:"decay_steps" doc:"steps of the decay; below 1 a fraction of steps; 0: to the end of the run (wsd: its last fifth)"`
	MinLRRatio  float64 `yaml:"min_lr_ratio" doc:"share of the learning rate that the decay ends at"`
}

func (s *Schedule) validate() error {
	if err := train.Schedule(*s).Validate(); err != nil {
		return fmt.Errorf("schedule.%w", err)
	}
	return nil
}

// Eval says when the held-out data is looked at.
type Eval struct {
	Every     int  `yaml:"every" doc:"steps between evaluations; 0: only at the end"`
	OnStart   bool `yaml:"on_start" doc:"also evaluate before the first step"`
	MaxTokens int  `yaml:"max_tokens" doc:"held-out tokens per evaluation; 0: all of them"`
}

// EarlyStopping ends a run that does not get better.
type EarlyStopping struct {
	Metric   string  `yaml:"metric" doc:"metric of the evaluations to watch, such as loss; not set: never stop early"`
	Mode     string  `yaml:"mode" doc:"what is better: min or max"`
	Patience int     `yaml:"patience" doc:"stop after this many evaluations in a row without a better value"`
	MinDelta float64 `yaml:"min_delta" doc:"a value is better only by more than this"`
}

func (e *EarlyStopping) validate() error {
	switch {
	case e.Mode != "min" && e.Mode != "max":
		return fmt.Errorf("early_stopping.mode is %q; use min or max", e.Mode)
	case e.Patience < 1:
		return fmt.Errorf("early_stopping.patience is %d; it must be at least 1", e.Patience)
	case !(e.MinDelta >= 0):
		return fmt.Errorf("early_stopping.min_delta is %v; it must be at least 0", e.MinDelta)
	}
	return nil
}

// Checkpoint says when the state of a run is kept, and how much of it.
type Checkpoint struct {
	Every    int     `yaml:"every" doc:"steps between checkpoints; 0: not by steps; one is always written at the end"`
	Seconds  float64 `yaml:"seconds" doc:"seconds between checkpoints, at the latest; 0: not by time"`
	KeepLast int     `yaml:"keep_last" doc:"newest checkpoints to keep; 0: all"`
	KeepBest bool    `yaml:"keep_best" doc:"also keep the checkpoint with the best held-out loss (or early_stopping.metric)"`
}

func (c *Checkpoint) validate() error {
	switch {
	case c.Every < 0:
		return fmt.Errorf("checkpoint.every is %d; it must be at least 0", c.Every)
	case !(c.Seconds >= 0):
		return fmt.Errorf("checkpoint.seconds is %v; it must be at least 0", c.Seconds)
	case c.KeepLast < 0:
		return fmt.Errorf("checkpoint.keep_last is %d; it must be at least 0, and 0 keeps all", c.KeepLast)
	}
	return nil
}

// Samples says when the model writes something to show how far it is.
type Samples struct {
	Every       int      `yaml:"every" doc:"steps between samples; 0: never"`
	Prompts     []string `yaml:"prompts" doc:"texts to go on from; none: the beginnings of held-out documents"`
	MaxTokens   int      `yaml:"max_tokens" doc:"new tokens of a sample"`
	Temperature float64  `yaml:"temperature" doc:"0: always the most likely token"`
}

func (s *Samples) validate() error {
	switch {
	case s.Every < 0:
		return fmt.Errorf("samples.every is %d; it must be at least 0", s.Every)
	case s.MaxTokens < 1:
		return fmt.Errorf("samples.max_tokens is %d; it must be at least 1", s.MaxTokens)
	case !(s.Temperature >= 0):
		return fmt.Errorf("samples.temperature is %v; it must be at least 0", s.Temperature)
	}
	return nil
}
