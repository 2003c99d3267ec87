package rl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"hone/loss"
	"hone/recipe"
	"hone/recipe/config"
	"hone/tensor"
	"hone/train"
)

// PPO is the recipe of proximal policy optimisation from a reward model or rules.
type PPO struct {
	Rollouts

	NumPPOEpochs   int     `yaml:"num_ppo_epochs" doc:"times that the answers of an iteration are learned from"`
	KLCoef         float64 `yaml:"kl_coef" doc:"weight of the KL divergence from the reference"`
	KLEstimator    string  `yaml:"kl_estimator" doc:"of a token's KL divergence: k1, k2 or k3; not set: the one whose gradient is that of the divergence, in the reward k1 and in the loss k2"`
	KLIn           string  `yaml:"kl_in" doc:"where the divergence counts: reward (of each token) or loss"`
	KLTarget       float64 `yaml:"kl_target" doc:"steer kl_coef to this KL an answer; 0: kl_coef is fixed"`
	KLHorizon      float64 `yaml:"kl_horizon" doc:"answers over which kl_coef is steered"`
	Gamma          float64 `yaml:"gamma" doc:"discount"`
	Lam            float64 `yaml:"lam" doc:"lambda of generalised advantage estimation"`
	Cliprange      float64 `yaml:"cliprange" doc:"the ratio counts from 1-cliprange"`
	CliprangeHigh  float64 `yaml:"cliprange_high" doc:"to 1+cliprange_high; 0: cliprange"`
	DualClip       float64 `yaml:"dual_clip" doc:"limit of the loss of bad tokens, in advantages, such as 3; 0: none"`
	CliprangeValue float64 `yaml:"cliprange_value" doc:"values may change by this much in an iteration; 0: by any"`
	VFCoef         float64 `yaml:"vf_coef" doc:"weight of the value loss"`
	EntropyCoef    float64 `yaml:"entropy_coef" doc:"weight of the entropy bonus"`
	WhitenRewards  bool    `yaml:"whiten_rewards" doc:"scale rewards to unit variance over the iteration"`
	WhitenAdv      bool    `yaml:"whiten_advantages" doc:"scale advantages to mean 0 and unit variance over the iteration"`
	Critic         Critic  `yaml:"critic"`
	PTX            PTX     `yaml:"ptx"`

	recipe.Training
}

// Critic says what gives values.
type Critic struct {
	Kind         string  `yaml:"kind" doc:"head (on the policy's hidden states) or separate (a model of its own)"`
	Model        string  `yaml:"model" doc:"separate: folder to start from, such as the reward model; not set: model"`
	Warmup       int     `yaml:"warmup" doc:"iterations in which only the critic learns"`
	LearningRate float64 `yaml:"learning_rate" doc:"of the critic; 0: optimizer.learning_rate"`
}

// DefaultPPO returns the recipe with every default filled in: TRL's, but for the temperature.
func DefaultPPO() PPO {
	return PPO{
		Rollouts: defaultRollouts(), NumPPOEpochs: 4,
		KLCoef: 0.05, KLIn: "reward", KLHorizon: 10000, Gamma: 1, Lam: 0.95,
		Cliprange: 0.2, CliprangeValue: 0.2, VFCoef: 0.1, WhitenAdv: true,
		Critic: Critic{Kind: "head"}, PTX: PTX{Coef: 1}, Training: rolloutTraining(),
	}
}

// Learning rates of PPO where the recipe names none: TRL's, and ten times that for adapters.
const (
	ppoRate        = 3e-6
	ppoAdapterRate = 3e-5
)

// Validate fills in what depends on other keys and reports the first key that cannot be meant, and the remedy.
func (c *PPO) Validate() error {
	c.FallbackRate(ppoRate, ppoAdapterRate)
	c.SequenceLength = cmp.Or(c.SequenceLength, c.Longest(c.Model))
	c.KLEstimator = cmp.Or(c.KLEstimator, map[string]string{"loss": loss.K2}[c.KLIn], loss.K1)
	if c.NumPPOEpochs < 1 {
		return fmt.Errorf("num_ppo_epochs is %d; it must be at least 1", c.NumPPOEpochs)
	}
	return cmp.Or(validEstimator(c.KLEstimator), c.validateLoss(), c.validateCritic(), c.PTX.validate(),
		c.Rollouts.validate(c.Training, c.NumPPOEpochs))
}

func (c *PPO) validateLoss() error {
	switch {
	case c.KLIn != "reward" && c.KLIn != "loss":
		return fmt.Errorf("kl_in is %q; use reward or loss", c.KLIn)
	case !(c.KLCoef >= 0):
		return fmt.Errorf("kl_coef is %v; it must be at least 0", c.KLCoef)
	case !(c.KLTarget >= 0):
		return fmt.Errorf("kl_target is %v; it must be above 0, in nats an answer, and 0 keeps kl_coef as it is", c.KLTarget)
	case c.KLTarget > 0 && !(c.KLHorizon > 0 && c.KLCoef > 0):
		return fmt.Errorf("kl_target needs kl_coef and kl_horizon above 0, which are %v and %v", c.KLCoef, c.KLHorizon)
	case !(c.Gamma >= 0 && c.Gamma <= 1 && c.Lam >= 0 && c.Lam <= 1):
		return fmt.Errorf("gamma is %v and lam %v; they must be from 0 to 1", c.Gamma, c.Lam)
	case !(c.Cliprange > 0 && c.Cliprange < 1) || !(c.CliprangeHigh >= 0) || !(c.CliprangeValue >= 0):
		return fmt.Errorf("cliprange is %v, cliprange_high %v and cliprange_value %v; the first must be between 0 and 1, the others at least 0",
			c.Cliprange, c.CliprangeHigh, c.CliprangeValue)
	case c.DualClip != 0 && !(c.DualClip > 1):
		return fmt.Errorf("dual_clip is %v; it must be above 1, and 0 is off", c.DualClip)
	case !(c.VFCoef >= 0 && c.EntropyCoef >= 0):
		return fmt.Errorf("vf_coef is %v and entropy_coef %v; they must be at least 0", c.VFCoef, c.EntropyCoef)
	}
	return nil
}

func (c *PPO) validateCritic() error {
	switch {
	case c.Critic.Kind != "head" && c.Critic.Kind != "separate":
		return fmt.Errorf("critic.kind is %q; use head or separate", c.Critic.Kind)
	case c.Critic.Kind == "head" && c.Critic.Model != "":
		return errors.New("critic.model is set, but critic.kind is head; set critic.kind=separate or leave it out")
	case c.Critic.Warmup < 0 || !(c.Critic.LearningRate >= 0):
		return fmt.Errorf("critic.warmup is %d and critic.learning_rate %v; they must be at least 0", c.Critic.Warmup,
			c.Critic.LearningRate)
	case c.Critic.LearningRate > math.MaxFloat32: // weights are f32
		return fmt.Errorf("critic.learning_rate is %v; it must be at most %.2g", c.Critic.LearningRate, math.MaxFloat32)
	case c.Critic.Warmup > 0 && c.PTX.used():
		return errors.New("critic.warmup freezes the policy, which ptx would train; leave one of them out")
	}
	return nil
}

// Run trains a policy; the result is OUT/model, or OUT/adapter with an adapter.
func (c *PPO) Run(ctx context.Context, env recipe.Env) (*recipe.Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return recipe.Execute(ctx, c.run(env))
}

func (c *PPO) run(env recipe.Env) *recipe.Run {
	s := &rolling{c: &c.Rollouts, t: &c.Training, epochs: c.NumPPOEpochs, algorithm: &ppo{c}, meter: train.NewMeter()}
	s.critic = &critic{
		separate: c.Critic.Kind == "separate", dir: cmp.Or(c.Critic.Model, c.Model),
		warmup: c.Critic.Warmup, rate: c.Critic.LearningRate,
	}
	s.state.KL = loss.KLControl{Coefficient: c.KLCoef, Target: c.KLTarget, Horizon: c.KLHorizon}
	if c.PTX.used() {
		s.ptx = &ptx{c: &c.PTX}
	}
	return &recipe.Run{Stage: s, Training: &c.Training, Recipe: c, From: c.Model, Env: env}
}

// ppo is the algorithm (Schulman et al., 2017; for language models Ziegler et al., 2019, and Ouyang et al., 2022).
type ppo struct{ c *PPO }

func (p *ppo) needsReference() bool { return true } // its KL divergence is a metric in any case
func (p *ppo) entropyBonus() bool   { return p.c.EntropyCoef > 0 }

func (p *ppo) note() string {
	if p.c.KLCoef == 0 {
		return ""
	}
	return weakKL(p.c.KLEstimator, p.c.KLIn == "reward")
}

// advantages are those of GAE over rewards for each token: minus the weighted KL estimate, and the score at
// the last one:
//
//	r_t = -kl_coef·kl_t  [+ score, where t is the answer's last token]
//
// or, with kl_in=loss, the score alone.
func (p *ppo) advantages(s *rolling, answers []*rollout) map[string]float64 {
	// The estimate is of log π(token) - log π_ref(token) as they were when the answer was written, so the
	// penalty is a part of the reward and has no gradient of its own (Ziegler et al., 2019, section 2).
	coefficient := s.state.KL.Coefficient
	rewards, advantages := make([][]float64, len(answers)), make([][]float64, len(answers))
	var kl, total, penalty average
	for i, a := range answers {
		rewards[i] = make([]float64, a.tokens())
		if p.c.KLIn == "reward" {
			for t := range rewards[i] {
				rewards[i][t] = -coefficient * loss.EstimateKL(p.c.KLEstimator, float64(a.LogProbs[t])-float64(a.Ref[t]))
			}
		}
		sum := 0.0
		for _, r := range rewards[i] {
			sum += r
		}
		penalty.add(sum)
		total.add(sum + a.Score)
		kl.add(a.kl(loss.K1))
		rewards[i][a.tokens()-1] += a.Score
	}
	// Without shift: taking the mean off would turn an answer's every token into a reward or a penalty for being there.
	if p.c.WhitenRewards {
		loss.Whiten(rewards, false)
	}
	for i, a := range answers {
		values := make([]float64, len(a.Values))
		for t, v := range a.Values {
			values[t] = float64(v)
		}
		a.Advantages, a.Returns = loss.GAE(rewards[i], values, p.c.Gamma, p.c.Lam)
		advantages[i] = a.Advantages
	}
	metrics := map[string]float64{
		"objective/non_score_reward": penalty.mean(), "objective/rlhf_reward": total.mean(),
		"objective/kl_coef": coefficient, "val/explained_variance": explained(answers),
	}
	// Returns are what values learn and stay as they are; explained variance is told of them, too.
	if p.c.WhitenAdv {
		loss.Whiten(advantages, true)
	}
	s.state.KL.Update(kl.mean(), len(answers)) // for the next iteration; this one's rewards have the coefficient of before
	if p.c.KLIn == "loss" {                    // whose updates are to come
		metrics["objective/kl_coef"] = s.state.KL.Coefficient
	}
	return metrics
}

// explained is the share of the returns' variance that the values foretold.
func explained(answers []*rollout) float64 {
	var returns, off loss.Moments
	for _, a := range answers {
		for t, r := range a.Returns {
			returns.Add([]float64{r})
			off.Add([]float64{r - float64(a.Values[t])})
		}
	}
	if returns.M2 == 0 {
		// of equal returns there is nothing to explain; NaN is left out of the metrics
		return math.NaN()
	}
	return 1 - off.M2/returns.M2
}

// loss is policy + vf_coef·value [+ kl_coef·KL] [- entropy_coef·entropy], each a mean over the tokens of the
// whole batch; while the critic warms up the value's part alone.
func (p *ppo) loss(s *rolling, x *pass) *tensor.Tensor {
	perToken := x.perToken()
	values := s.critic.forward(x, recipe.Inputs{Recompute: s.again})
	old := x.constant(func(a *rollout, i int) float64 { return float64(a.Values[i]) })
	returns := x.constant(func(a *rollout, i int) float64 { return a.Returns[i] })
	vf := loss.Value(values, old, returns, perToken, float32(p.c.CliprangeValue))
	s.part("loss/value_avg", vf, x)
	// One backward pass serves both: with a head on the policy's states the value's gradient reaches the
	// policy's layers, too, which vf_coef weighs against the policy's own.
	total := tensor.Scale(vf, float32(p.c.VFCoef))
	if s.critic.warming(s.state.Iteration) {
		return total
	}
	clip := loss.Clip{
		Low: float32(p.c.Cliprange), High: float32(cmp.Or(p.c.CliprangeHigh, p.c.Cliprange)), Dual: float32(p.c.DualClip),
	}
	tokens := loss.Tokens{LogProbs: x.logProbs, Old: x.old(), Advantages: x.advantages(), Weights: perToken}
	pg, ratio := loss.Policy(tokens, clip)
	s.part("loss/policy_avg", pg, x)
	s.clipped(ratio, clip)
	total = tensor.Add(total, pg)
	if p.c.KLIn == "loss" && p.c.KLCoef > 0 {
		kl := loss.KL(p.c.KLEstimator, x.logProbs, x.ref(), perToken)
		total = tensor.Add(total, tensor.Scale(kl, float32(s.state.KL.Coefficient)))
	}
	if p.entropyBonus() {
		total = tensor.Add(total, tensor.Scale(loss.Entropy(x.entropy, perToken), float32(p.c.EntropyCoef)))
	}
	return total
}

// part notes a part of the loss, scaled from the share of the whole batch that it is to a mean.
func (s *rolling) part(name string, l *tensor.Tensor, p *pass) {
	// A micro-batch's loss is divided by the tokens of the whole batch. Its mean is had by dividing by the
	// part of the tokens that it has, and counts for as many tokens, so that what is told of an update
	// does not depend on how it was cut.
	share := float64(len(p.owner)) / float64(p.tokens)
	s.meter.AddMean(name, tensor.Values(l)[0]/share, len(p.owner))
}

// Plan says what the run will take, as (*Reward).Plan does, with the time that the answers of an iteration
// take to be written and scored beside that of a step. They are taken to be as long as they may be; what
// programs take that score them is not in it.
func (c *PPO) Plan(ctx context.Context, env recipe.Env) (*recipe.Planned, error) {
	own := *c
	own.Resume = false
	return own.run(env).Rehearse(ctx, "ppo", env)
}

// Models is as of Rollouts, with the critic's.
func (c *PPO) Models() []*string {
	return append(c.Rollouts.Models(), config.Given(&c.Critic.Model)...)
}

// Unused adds to Training.Unused the keys of rollouts and those of parts that are off.
func (c *PPO) Unused(key string) string {
	switch {
	case key == "kl_horizon" && c.KLTarget == 0:
		return "kl_target=0"
	case key == "ptx.coef" && !c.PTX.used():
		return "ptx.data not set"
	}
	return c.unused(key, &c.Training)
}
