package cluster

import (
	"cmp"
	"context"
	"fmt"

	"hone/device"
	"hone/generate"
	"hone/model"
	"hone/plan"
)

// Rollout holds what a plan of ppo and grpo needs beside the keys of other stages. A sequence is a prompt and its answer.
type Rollout struct {
	MaxCompletionLength int     `yaml:"max_completion_length" doc:"ppo, grpo: tokens of an answer, all of which are taken to be as long; the rest of a sequence is its prompt"`
	RolloutBatchSize    int     `yaml:"rollout_batch_size" doc:"ppo, grpo: answers that a GPU, or those that share its layers, writes side by side"`
	Epochs              int     `yaml:"epochs" doc:"ppo, grpo: times that an answer is learned from; 0: 4 in ppo and 1 in grpo"`
	Reference           string  `yaml:"reference" doc:"ppo, grpo: a frozen policy that answers are held to: yes, no, or auto: in ppo, and in grpo not, as its beta is 0"`
	Reward              string  `yaml:"reward" doc:"ppo, grpo: the reward model, as model; rule: none; not set: one like the policy"`
	Critic              string  `yaml:"critic" doc:"ppo: head (on the policy's states) or separate (a model like the policy)"`
	MBU                 float64 `yaml:"mbu" doc:"ppo, grpo: share of the GPU's bandwidth at which weights, keys and values are read while answers are written"`
}

// defaultRollout assumes, of writing answers, what is commonly quoted of TensorRT-LLM with one sequence on A100 and H100: 55 to 60 % of the bandwidth.
func defaultRollout() Rollout {
	return Rollout{MaxCompletionLength: 256, RolloutBatchSize: 64, Reference: "auto", Critic: "head", MBU: 0.55}
}

// writes tells a stage that writes what it learns from.
func (c *Estimate) writes() bool { return c.Stage == "ppo" || c.Stage == "grpo" }

// epochs is how often a token is learned from.
func (c *Estimate) epochs() int {
	if !c.writes() {
		return 1
	}
	return cmp.Or(c.Rollout.Epochs, map[string]int{"ppo": 4}[c.Stage], 1)
}

// referred tells that a reference is asked.
func (c *Estimate) referred() bool {
	return c.Stage == "dpo" || c.writes() && (c.Rollout.Reference == "yes" || c.Rollout.Reference == "auto" && c.Stage == "ppo")
}

// critic tells that there is one with a model of its own.
func (c *Estimate) critic() bool { return c.Stage == "ppo" && c.Rollout.Critic == "separate" }

func (r *Rollout) validate() error {
	switch {
	case r.MaxCompletionLength < 1 || r.RolloutBatchSize < 1 || r.RolloutBatchSize > 1<<16 || r.Epochs < 0 || r.Epochs > 1<<10:
		return fmt.Errorf("rollout.max_completion_length is %d, rollout_batch_size %d and epochs %d; the first two must be at least 1, and epochs at least 0", r.MaxCompletionLength, r.RolloutBatchSize, r.Epochs)
	case r.Reference != "yes" && r.Reference != "no" && r.Reference != "auto":
		return fmt.Errorf("rollout.reference is %q; use yes, no or auto", r.Reference)
	case r.Critic != "head" && r.Critic != "separate":
		return fmt.Errorf("rollout.critic is %q; use head or separate", r.Critic)
	case !(r.MBU > 0 && r.MBU <= 1):
		return fmt.Errorf("rollout.mbu is %v; it is a share of the bandwidth, above 0 and at most 1", r.MBU)
	}
	return nil
}

// written is what writing answers takes, and what judging a sequence does.
type written struct {
	prompt  float64 // operations of reading the prompt of a sequence
	flops   float64 // of writing its answer
	weights float64 // bytes that are read for all that are written side by side
	cache   float64 // bytes of keys and values that are read for each
	scoring float64 // operations of judging a sequence: of the reference, the reward model and a critic of its own
}

// readRollout counts the models beside the policy.
func (e *estimator) readRollout() error {
	c := e.c
	if c.referred() && c.Method == "full" {
		e.base.Reference = e.base.Params // an adapter's is the model without it
	}
	if !c.writes() {
		return nil
	}
	if c.Rollout.MaxCompletionLength >= e.out.SequenceLength {
		return fmt.Errorf("rollout.max_completion_length is %d and sequence_length, for prompt and answer, %d; lower the first or, if the model reads more, raise the second",
			c.Rollout.MaxCompletionLength, e.out.SequenceLength)
	}
	if c.critic() {
		e.base.Critic = e.base.Params
	}
	if e.reward = e.config; c.Rollout.Reward == "rule" {
		e.reward = nil
		return nil
	}
	if c.Rollout.Reward != "" {
		var err error
		if e.reward, err = shapeOf(c.Rollout.Reward, c.SequenceLength); err != nil {
			return fmt.Errorf("rollout.reward: %w", err)
		}
	}
	m, err := model.Declare(e.reward, plan.NewDevice())
	if err != nil {
		return fmt.Errorf("rollout.reward %s: %w", c.Rollout.Reward, err)
	}
	for _, p := range m.Params {
		e.base.Reward += int64(p.Len())
	}
	e.out.reward = e.base.Reward
	return nil
}

// measureRollout counts the writing of answers by the engine that runs write with, and their judging.
func (e *estimator) measureRollout() error {
	if !e.c.writes() {
		return nil
	}
	read, err := e.write(1, 1)
	if err != nil {
		return err
	}
	one, err := e.write(1, e.c.Rollout.MaxCompletionLength)
	if err != nil {
		return err
	}
	two, err := e.write(2, e.c.Rollout.MaxCompletionLength)
	if err != nil {
		return err
	}
	// Writing alone reads all weights for one sequence, and a second one shares that reading: the difference is what each sequence adds.
	two.Add(one, -1)
	prompt, all := read.FLOPs(), two.FLOPs()
	e.wrote = written{prompt: float64(prompt.Total()), flops: float64(all.Total() - prompt.Total()), weights: float64(one.BF16.Weights), cache: float64(two.Read)}
	n, step := float64(e.out.BatchSize), e.steps["none"]
	if e.c.referred() {
		e.wrote.scoring += float64(step.FLOPs.Total()) / 3 / n
	}
	if e.c.critic() {
		e.wrote.scoring += float64(step.Forward.Total()) / n
	}
	if e.reward == nil {
		return nil
	}
	p, err := e.step(e.reward, "none")
	if err != nil {
		return fmt.Errorf("rollout.reward: %w", err)
	}
	e.wrote.scoring += float64(p.Forward.Total()) / n
	return nil
}

// write is the work of writing answers of so many tokens to so many prompts.
func (e *estimator) write(sequences, tokens int) (plan.Work, error) {
	dev := plan.NewDevice()
	dev.OnCard = true
	m, err := model.Declare(e.config, dev)
	if err != nil {
		return plan.Work{}, err
	}
	m.Alloc(device.BF16, model.Packed{})
	o := generate.DefaultOptions()
	o.MaxNewTokens, o.Temperature, o.BatchSize = tokens, 0, sequences
	prompts := make([][]int32, sequences)
	for i := range prompts {
		prompts[i] = make([]int32, e.out.SequenceLength-e.c.Rollout.MaxCompletionLength)
		prompts[i][0] = int32(i) // prompts that are alike would be read once
	}
	_, err = generate.New(dev, device.BF16, m, nil).Run(context.Background(), prompts, o, nil)
	return dev.Work(), err
}

// writingHours are GPU hours of writing all answers: prompts at the share mfu of the peak, then for each token the arithmetic at that or the
// reading, whichever is longer.
func (e *estimator) writingHours(g plan.GPU, mfu float64) float64 {
	if !e.c.writes() {
		return 0
	}
	n := float64(e.c.Rollout.RolloutBatchSize)
	batches := e.out.Tokens / float64(e.out.SequenceLength) / n
	peak := mfu * g.TFLOPS * 1e12
	seconds := n*e.wrote.prompt/peak + max(n*e.wrote.flops/peak, (e.wrote.weights+n*e.wrote.cache)/(e.c.Rollout.MBU*g.Bandwidth*1e9)) // of one GPU; those that share layers share both, in less time but no fewer hours
	return batches * seconds / 3600
}
