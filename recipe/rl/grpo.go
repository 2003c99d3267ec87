package rl

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"hone/loss"
	"hone/recipe"
	"hone/tensor"
	"hone/train"
)

// GRPO is the recipe of learning from groups of answers to the same prompt, without a critic: GRPO and its kin.
type GRPO struct {
	Rollouts

	LossType      string  `yaml:"loss_type" doc:"grpo (mean over answers), dr_grpo, dapo (mean over tokens), gspo (one ratio an answer) or rloo"`
	NumIterations int     `yaml:"num_iterations" doc:"times that the answers of an iteration are learned from"`
	Beta          float64 `yaml:"beta" doc:"weight of the KL divergence from the reference, in the loss; of rloo in the reward"`
	KLEstimator   string  `yaml:"kl_estimator" doc:"of a token's KL divergence: k1, k2 or k3; not set: k3, with rloo k1; in the loss the gradient of k2 is that of the divergence itself"`
	Epsilon       float64 `yaml:"epsilon" doc:"the ratio counts from 1-epsilon"`
	EpsilonHigh   float64 `yaml:"epsilon_high" doc:"to 1+epsilon_high; 0: epsilon"`
	ScaleRewards  string  `yaml:"scale_rewards" doc:"divide advantages by the standard deviation of the group or the batch, or none; not set: group, with dr_grpo none"`
	EntropyCoef   float64 `yaml:"entropy_coef" doc:"weight of the entropy bonus"`

	recipe.Training
}

// DefaultGRPO returns the recipe with every default filled in, those of TRL.
func DefaultGRPO() GRPO {
	c := GRPO{Rollouts: defaultRollouts(), LossType: "dapo", NumIterations: 1, Epsilon: 0.2, Training: rolloutTraining()}
	c.PromptsPerIteration, c.NumGenerations = 8, 8
	return c
}

// groupLosses are the losses of the family: whether an answer has one ratio, and the weights of its tokens.
var groupLosses = map[string]struct {
	sequence bool // one ratio an answer
	weight   func(c *GRPO, p *pass, a *rollout) float64
}{
	"grpo":    {false, perAnswer},
	"dr_grpo": {false, func(c *GRPO, p *pass, _ *rollout) float64 { return 1 / float64(p.whole*c.MaxCompletionLength) }},
	"dapo":    {false, func(_ *GRPO, p *pass, _ *rollout) float64 { return 1 / float64(p.tokens) }},
	"gspo":    {true, perAnswer},
	"rloo":    {true, perAnswer},
}

// perAnswer makes a mean over answers of means over tokens.
func perAnswer(_ *GRPO, p *pass, a *rollout) float64 { return 1 / float64(p.whole*a.tokens()) }

// Learning rates of GRPO where the recipe names none: TRL's, and ten times that for adapters.
const (
	grpoRate        = 1e-6
	grpoAdapterRate = 1e-5
)

// Validate fills in what depends on other keys and reports the first key that cannot be meant, and the remedy.
func (c *GRPO) Validate() error {
	c.FallbackRate(grpoRate, grpoAdapterRate)
	c.SequenceLength = cmp.Or(c.SequenceLength, c.Longest(c.Model))
	c.KLEstimator = cmp.Or(c.KLEstimator, map[string]string{"rloo": loss.K1}[c.LossType], loss.K3)
	if _, ok := groupLosses[c.LossType]; !ok {
		return fmt.Errorf("loss_type is %q; use grpo, dr_grpo, dapo, gspo or rloo", c.LossType)
	}
	if scales := []string{"", loss.ScaleGroup, loss.ScaleBatch, loss.ScaleNone}; !slices.Contains(scales, c.ScaleRewards) {
		return fmt.Errorf("scale_rewards is %q; use %s", c.ScaleRewards, strings.Join(scales[1:], ", "))
	}
	switch {
	case c.NumIterations < 1:
		return fmt.Errorf("num_iterations is %d; it must be at least 1", c.NumIterations)
	case c.NumGenerations < 2:
		return fmt.Errorf("num_generations is %d; a group needs at least 2 answers to compare", c.NumGenerations)
	case !(c.Beta >= 0 && c.EntropyCoef >= 0):
		return fmt.Errorf("beta is %v and entropy_coef %v; they must be at least 0", c.Beta, c.EntropyCoef)
	case !(c.Epsilon > 0 && c.Epsilon < 1) || !(c.EpsilonHigh >= 0):
		return fmt.Errorf("epsilon is %v and epsilon_high %v; the first must be between 0 and 1, the second at least 0",
			c.Epsilon, c.EpsilonHigh)
	}
	return cmp.Or(validEstimator(c.KLEstimator), c.Rollouts.validate(c.Training, c.NumIterations))
}

// Run trains a policy; the result is OUT/model, or OUT/adapter with an adapter.
func (c *GRPO) Run(ctx context.Context, env recipe.Env) (*recipe.Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return recipe.Execute(ctx, c.run(env))
}

func (c *GRPO) run(env recipe.Env) *recipe.Run {
	s := &rolling{c: &c.Rollouts, t: &c.Training, epochs: c.NumIterations, algorithm: &grpo{c}, meter: train.NewMeter()}
	return &recipe.Run{Stage: s, Training: &c.Training, Recipe: c, From: c.Model, Env: env}
}

// grpo is the algorithm: GRPO (Shao et al., 2024), Dr. GRPO (Liu et al., 2025), DAPO (Yu et al., 2025), GSPO
// (Zheng et al., 2025) or RLOO (Ahmadian et al., 2024), by loss_type.
type grpo struct{ c *GRPO }

func (g *grpo) needsReference() bool { return g.c.Beta > 0 }
func (g *grpo) entropyBonus() bool   { return g.c.EntropyCoef > 0 }

func (g *grpo) note() string {
	if g.c.Beta == 0 {
		return ""
	}
	return weakKL(g.c.KLEstimator, g.c.LossType == "rloo")
}

// advantages compares the answers to a prompt with one another: one number for each answer.
func (g *grpo) advantages(s *rolling, answers []*rollout) map[string]float64 {
	rewards, size := make([]float64, len(answers)), g.c.NumGenerations
	for i, a := range answers {
		rewards[i] = a.Score
		if g.c.LossType == "rloo" && g.c.Beta > 0 {
			rewards[i] -= g.c.Beta * a.kl(g.c.KLEstimator)
		}
	}
	var list []float64
	if g.c.LossType == "rloo" {
		list = loss.LeaveOneOut(rewards, size)
	} else {
		scale := cmp.Or(g.c.ScaleRewards, loss.ScaleGroup)
		if g.c.LossType == "dr_grpo" {
			scale = cmp.Or(g.c.ScaleRewards, loss.ScaleNone)
		}
		list = loss.GroupAdvantages(rewards, size, scale)
	}
	equal := 0
	// a group whose rewards are equal teaches nothing: a share near 1 says that prompts are too easy or too hard
	for at := 0; at < len(rewards); at += size {
		if slices.Max(rewards[at:at+size]) == slices.Min(rewards[at:at+size]) {
			equal++
		}
	}
	for i, a := range answers {
		// one number for all tokens of the answer; pass.advantages spreads it
		a.Advantages = list[i : i+1]
	}
	return map[string]float64{"frac_reward_zero_std": float64(equal*size) / float64(len(rewards))}
}

// loss is policy [+ beta·KL] [- entropy_coef·entropy]; groupLosses says what makes a mean of it.
func (g *grpo) loss(s *rolling, x *pass) *tensor.Tensor {
	kind := groupLosses[g.c.LossType]
	weights := x.constant(func(a *rollout, _ int) float64 { return kind.weight(g.c, x, a) })
	clip := loss.Clip{Low: float32(g.c.Epsilon), High: float32(cmp.Or(g.c.EpsilonHigh, g.c.Epsilon))}
	var total, ratio *tensor.Tensor
	if kind.sequence {
		total, ratio = loss.SequencePolicy(g.sequences(x), clip)
	} else {
		tokens := loss.Tokens{LogProbs: x.logProbs, Old: x.old(), Advantages: x.advantages(), Weights: weights}
		total, ratio = loss.Policy(tokens, clip)
	}
	s.clipped(ratio, clip)
	if g.c.Beta > 0 && g.c.LossType != "rloo" {
		kl := loss.KL(g.c.KLEstimator, x.logProbs, x.ref(), weights)
		total = tensor.Add(total, tensor.Scale(kl, float32(g.c.Beta)))
	}
	if g.entropyBonus() {
		total = tensor.Add(total, tensor.Scale(loss.Entropy(x.entropy, x.perToken()), float32(g.c.EntropyCoef)))
	}
	return total
}

// sequences are the answers as losses with one ratio for each take them.
func (g *grpo) sequences(x *pass) loss.Sequences {
	n := len(x.answers)
	advantages, even, scale := make([]float32, n), make([]float32, n), make([]float32, n)
	for i, a := range x.answers {
		advantages[i], even[i], scale[i] = float32(a.Advantages[0]), 1/float32(x.whole), 1
		// GSPO's ratio is the geometric mean of the tokens' ratios (Zheng et al., 2025, section 4), RLOO's
		// their product.
		if g.c.LossType == "gspo" {
			scale[i] = 1 / float32(a.tokens())
		}
	}
	return loss.Sequences{LogProbs: x.logProbs, Old: x.old(), Answer: x.tape.Ints(x.owner),
		Advantages: x.tape.Constant(advantages, n, 1), Weights: x.tape.Constant(even, n, 1), Scale: scale}
}

// Plan says what the run will take, as (*PPO).Plan does.
func (c *GRPO) Plan(ctx context.Context, env recipe.Env) (*recipe.Planned, error) {
	own := *c
	own.Resume = false
	return own.run(env).Rehearse(ctx, "grpo", env)
}

// Unused adds to Training.Unused the keys of rollouts and that of a divergence without a weight.
func (c *GRPO) Unused(key string) string {
	if key == "kl_estimator" && c.Beta == 0 {
		return "beta=0"
	}
	return c.unused(key, &c.Training)
}
