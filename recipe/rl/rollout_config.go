package rl

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"hone/loss"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/example"
	"hone/reward"
)

// Rollouts holds the keys of recipes that learn from answers which the model writes itself.
type Rollouts struct {
	Prompts           []string `yaml:"prompts" doc:"files, folders or globs of prompts: prompt, a text or messages, or messages; a line of text each"`
	ValidationPrompts []string `yaml:"validation_prompts" doc:"the same, to be answered and scored in evaluations; not set: none"`
	OnBadRecord       string   `yaml:"on_bad_record" doc:"at a record that cannot be used: error, or skip and count it"`
	Model             string   `yaml:"model" doc:"folder of the model to start from, which also is the reference"`
	ChatTemplate      string   `yaml:"chat_template" doc:"a template's name or file; not set: the model's own"`
	PromptsAs         string   `yaml:"prompts_as" doc:"what a prompt that is a text is: user (what the user says), text (gone on from as it is), or auto: user where there is a chat template, else text"`

	Reward        []string `yaml:"reward" doc:"what scores answers, summed: folders of reward models, go_parser, gofmt, length:TOKENS, format:REGEX, program:PATH ARGUMENTS"`
	RewardWeights []string `yaml:"reward_weights" doc:"factors on the rewards, in their order; not set: 1"`
	RewardTimeout float64  `yaml:"reward_timeout" doc:"seconds that a program has for the answers of an iteration"`
	RewardRetries int      `yaml:"reward_retries" doc:"further tries of a program that fails"`
	UseScoreNorm  bool     `yaml:"use_score_norm" doc:"subtract the running mean of scores; with use_score_scaling"`
	ScoreScaling  bool     `yaml:"use_score_scaling" doc:"divide scores by their running standard deviation"`
	ScoreClip     float64  `yaml:"score_clip" doc:"limit scores to this size; 0: not"`
	MissingEOS    float64  `yaml:"missing_eos_penalty" doc:"taken from the score of an answer that does not end by itself"`

	Iterations          int      `yaml:"iterations" doc:"times that answers are written and learned from; counts when steps is 0"`
	PromptsPerIteration int      `yaml:"prompts_per_iteration" doc:"prompts answered in each iteration"`
	NumGenerations      int      `yaml:"num_generations" doc:"answers to each prompt"`
	NumMiniBatches      int      `yaml:"num_mini_batches" doc:"updates that the answers of an iteration are parted into, in each epoch"`
	RolloutBatchSize    int      `yaml:"rollout_batch_size" doc:"answers that are written side by side"`
	MaxCompletionLength int      `yaml:"max_completion_length" doc:"tokens of an answer at most"`
	Temperature         float64  `yaml:"temperature" doc:"of writing and, as the distribution that is trained is the one that writes, of training"`
	StopStrings         []string `yaml:"stop_strings" doc:"texts that end an answer"`
	StopTokenIDs        []string `yaml:"stop_token_ids" doc:"tokens that end an answer besides the tokenizer's and the chat template's"`
	TargetKL            float64  `yaml:"target_kl" doc:"leave the rest of an iteration's updates out once the policy is this far (approximate KL a token) from the one that wrote; 0: never"`
	EMADecay            float64  `yaml:"ema_decay" doc:"also keep the moving average of the weights with this decay, such as 0.992, in OUT/model_ema; 0: not"`

	Diagnosis Diagnosis `yaml:"diagnosis"`
}

// Diagnosis says what ends a run that goes wrong.
type Diagnosis struct {
	On            string  `yaml:"on" doc:"at a rule below: stop (with the weights as they are), warn or off"`
	MaxKL         float64 `yaml:"max_kl" doc:"nats an answer from the reference while the score rises"`
	LengthRatio   float64 `yaml:"length_ratio" doc:"growth of answers whose score follows their length"`
	EntropyRatio  float64 `yaml:"entropy_ratio" doc:"share of the first iteration's entropy that must be left"`
	NegativeKL    float64 `yaml:"negative_kl" doc:"nats an answer below 0, twice in a row"`
	LengthReward  float64 `yaml:"length_correlation" doc:"correlation of score and length from which length_ratio counts"`
	MinIterations int     `yaml:"min_iterations" doc:"iterations before any rule counts"`
}

func defaultRollouts() Rollouts {
	return Rollouts{
		OnBadRecord: "error", PromptsAs: string(example.PromptsAuto), RewardTimeout: 60, RewardRetries: 2,
		Iterations: 100, PromptsPerIteration: 16, NumGenerations: 1, NumMiniBatches: 1,
		RolloutBatchSize: 64, MaxCompletionLength: 256, Temperature: 1,
		Diagnosis: Diagnosis{
			On: "stop", MaxKL: 100, LengthRatio: 3, EntropyRatio: 0.02, NegativeKL: 1, LengthReward: 0.7, MinIterations: 5,
		},
	}
}

// rolloutTraining is recipe.DefaultTuning for learning from rollouts.
func rolloutTraining() recipe.Training {
	t := recipe.DefaultTuning()
	t.Optimizer.Beta2 = 0.95
	t.Schedule = recipe.Schedule{Name: "constant"}
	t.Checkpoint.Every = 50
	return t
}

// updates is the number of updates of an iteration.
func (c *Rollouts) updates(epochs int) int { return epochs * c.NumMiniBatches }

// answers is the number of answers of an iteration.
func (c *Rollouts) answers() int { return c.PromptsPerIteration * c.NumGenerations }

func (c *Rollouts) validate(t recipe.Training, epochs int) error {
	// t is a copy: how many steps there are is set when the data is open, and checked here as if it were
	if t.Steps == 0 {
		t.Steps = c.Iterations * c.updates(epochs)
	}
	for _, check := range []func() error{c.validateInput, c.validateSizes, func() error { return c.validateTraining(&t) },
		c.Diagnosis.validate} {
		if err := check(); err != nil {
			return err
		}
	}
	if _, err := c.weights(); err != nil {
		return err
	}
	return cmp.Or(t.ApartFrom("prompts", c.Prompts), t.ValidateTraining(len(c.ValidationPrompts) > 0))
}

func (c *Rollouts) validateInput() error {
	switch {
	case len(c.Prompts) == 0:
		return errors.New("prompts is not set; name files of prompts, as in prompts=prompts.jsonl")
	case c.Model == "":
		return errors.New("model is not set; name the folder of the model to start from, as in model=runs/tuned/model")
	case len(c.Reward) == 0:
		return fmt.Errorf("reward is not set; name the folder of a reward model or a rule: %s", reward.Rules)
	case c.OnBadRecord != "error" && c.OnBadRecord != "skip":
		return fmt.Errorf("on_bad_record is %q; use error or skip", c.OnBadRecord)
	case !example.PromptsAs(c.PromptsAs).Valid():
		return fmt.Errorf("prompts_as is %q; use auto, user or text", c.PromptsAs)
	case !(c.RewardTimeout >= 0 && c.RewardTimeout < 1e9) || c.RewardRetries < 0:
		return fmt.Errorf("reward_timeout is %v and reward_retries %d; they must be at least 0, and the seconds below 1e9",
			c.RewardTimeout, c.RewardRetries)
	case !(c.ScoreClip >= 0):
		return fmt.Errorf("score_clip is %v; it must be at least 0, and 0 does not clip", c.ScoreClip)
	}
	for _, spec := range c.Reward {
		if _, _, err := reward.Parse(spec, reward.Options{}); err != nil {
			return err
		}
	}
	return nil
}

func (c *Rollouts) validateSizes() error {
	const most = 1 << 20
	for _, size := range []struct {
		key string
		n   int
	}{
		{"iterations", c.Iterations}, {"prompts_per_iteration", c.PromptsPerIteration},
		{"num_generations", c.NumGenerations}, {"num_mini_batches", c.NumMiniBatches},
		{"rollout_batch_size", c.RolloutBatchSize}, {"max_completion_length", c.MaxCompletionLength},
	} {
		if size.n < 1 || size.n > most {
			return fmt.Errorf("%s is %d; it must be at least 1 and at most %d", size.key, size.n, most)
		}
	}
	switch {
	case c.NumMiniBatches > c.answers():
		return fmt.Errorf("num_mini_batches is %d, more than the %d answers of an iteration; lower it", c.NumMiniBatches, c.answers())
	case !(c.EMADecay >= 0 && c.EMADecay < 1):
		return fmt.Errorf("ema_decay is %v; it must be at least 0 and below 1", c.EMADecay)
	case !(c.Temperature > 0):
		return fmt.Errorf("temperature is %v; it must be above 0, for answers are drawn", c.Temperature)
	case slices.Contains(c.StopStrings, ""):
		return errors.New("stop_strings has an empty text; leave it out")
	}
	_, err := c.stopIDs()
	return err
}

// validateTraining refuses keys of the common group that would break what learning from one's own answers rests on.
func (c *Rollouts) validateTraining(t *recipe.Training) error {
	switch {
	case t.GradientAccumulationSteps != 1:
		return errors.New("gradient_accumulation_steps is set; an update takes its part of the answers, batch_size at a time: " +
			"set num_mini_batches and batch_size")
	// The first ratio of an iteration is exactly 1 because writing and training compute the same; noise would
	// make it another.
	case t.Dropout != 0 || t.LoRA.Dropout != 0 || t.NEFTuneNoiseAlpha != 0:
		return errors.New("dropout or neftune_noise_alpha is set; with it the policy that is trained is not the one that wrote: leave it 0")
	case c.EMADecay > 0 && t.Optimizer.Paged:
		return errors.New("ema_decay needs the weights at hand and optimizer.paged keeps them in files; leave one of them out")
	case t.ZLoss != 0 || t.LabelSmoothing != 0:
		return errors.New("z_loss or label_smoothing is set, which learning from rewards does not have; leave it out")
	case c.MaxCompletionLength >= t.SequenceLength:
		return fmt.Errorf("max_completion_length is %d and sequence_length, for prompt and answer, %d; lower the first or, if the model reads more, raise the second",
			c.MaxCompletionLength, t.SequenceLength)
	}
	return nil
}

func (d *Diagnosis) validate() error {
	if !slices.Contains([]string{"stop", "warn", "off"}, d.On) {
		return fmt.Errorf("diagnosis.on is %q; use stop, warn or off", d.On)
	}
	return nil
}

// stopIDs are the numbers of stop_token_ids.
func (c *Rollouts) stopIDs() (ids []int32, err error) {
	for _, text := range c.StopTokenIDs {
		id, err := strconv.ParseInt(text, 10, 32)
		if err != nil || id < 0 {
			return nil, fmt.Errorf("stop_token_ids has %q; give numbers of tokens", text)
		}
		ids = append(ids, int32(id))
	}
	return ids, nil
}

// weights are the factors on the rewards.
func (c *Rollouts) weights() ([]float64, error) {
	if len(c.RewardWeights) != 0 && len(c.RewardWeights) != len(c.Reward) {
		return nil, fmt.Errorf("reward_weights has %d numbers for %d rewards; give one for each", len(c.RewardWeights), len(c.Reward))
	}
	w := slices.Repeat([]float64{1}, len(c.Reward))
	for i, text := range c.RewardWeights {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) { // a score that is no number would reach every weight
			return nil, fmt.Errorf("reward_weights has %q; give numbers, as in 1,0.5", text)
		}
		w[i] = v
	}
	return w, nil
}

// programs are the options of rewards that are programs.
func (c *Rollouts) programs() reward.Options {
	return reward.Options{Timeout: time.Duration(c.RewardTimeout * float64(time.Second)), Retries: c.RewardRetries}
}

// validEstimator reports a name that is no estimator of the KL divergence.
func validEstimator(name string) error {
	if !slices.Contains([]string{loss.K1, loss.K2, loss.K3}, name) {
		return fmt.Errorf("kl_estimator is %q; use k1, k2 or k3", name)
	}
	return nil
}

// weakKL warns of an estimator that does not hold the policy to the reference where it counts; "" is sound.
// In the reward a sample's estimate is a constant beside the gradient of its likelihood, whose mean for k1 is
// the gradient of KL(policy‖reference), and for k2 and k3 of second order in the distance. In the loss the
// estimate itself is differentiated: of k2 that is the gradient of KL(policy‖reference), of k3 that of
// KL(reference‖policy), and of k1 that of the log-likelihood, whose mean is 0.
func weakKL(estimator string, inReward bool) string {
	switch {
	case inReward && estimator != loss.K1:
		return fmt.Sprintf("; warning: kl_estimator=%s in the reward hardly holds the policy to the reference, "+
			"as its gradient vanishes near it: k1 is the divergence there", estimator)
	case !inReward && estimator == loss.K1:
		return "; warning: kl_estimator=k1 in the loss does not hold the policy to the reference, " +
			"as its gradient is 0 on average: use k2 or k3"
	}
	return ""
}

// Models points at the keys that name folders of models, as (*lm.Pretrain).Models does: the policy
// and rewards that are no rules.
func (c *Rollouts) Models() []*string {
	models := config.Given(&c.Model)
	for i, spec := range c.Reward {
		if _, rule, err := reward.Parse(spec, c.programs()); err == nil && !rule && strings.Contains(spec, "/") {
			models = append(models, &c.Reward[i])
		}
	}
	return models
}

// unused adds to Training.Unused the keys that ppo and grpo share.
func (c *Rollouts) unused(key string, t *recipe.Training) string {
	if with := recipe.UnusedEval(key, len(c.ValidationPrompts) > 0); with != "" {
		return with
	}
	programs := slices.ContainsFunc(c.Reward, func(spec string) bool { return strings.HasPrefix(spec, "program:") })
	switch {
	case key == "iterations":
		return t.UnusedEpochs()
	case (key == "reward_timeout" || key == "reward_retries") && !programs:
		return "a reward that is no program"
	case key == "eval.max_tokens":
		return "validation_prompts, all of which are answered"
	case key == "use_score_norm" && !c.ScoreScaling:
		return "use_score_scaling=false"
	case strings.HasPrefix(key, "diagnosis.") && key != "diagnosis.on" && c.Diagnosis.On == "off":
		return "diagnosis.on=off"
	}
	return t.Unused(key)
}
