// Package rl has the recipes that learn from rewards on answers which the model writes itself: PPO and the GRPO family.
//
// Both are one stage, rolling, with an algorithm that gives advantages and a loss. An iteration, when
// train.Loop asks for the batches of its first step (rolling.step):
//
//	collect: write (generate.Engine) ─► recall (reference, critic) ─► score (rewards) ─► shape ─► advantages   ─► state.Answers
//	then, each of its steps:  turn ─► dealAnswers ─► objective: forward ─► algorithm.loss
//
// So the loop knows nothing of rollouts, and a checkpoint in the middle of an iteration needs the answers and
// a few counts (rollingState) to go on bit for bit.
//
//	ppo.go, grpo.go              the algorithms: keys, advantages, loss
//	critic.go                    what PPO's values come from
//	rollout.go                   the stage: its state, its place in the loop, what is dealt out when
//	rollout_config.go            keys of both algorithms
//	rollout_collect.go           the beginning of an iteration, as above
//	rollout_pass.go              a micro-batch on its way through the policy; the objective
//	rollout_keep.go              what writing computed already
//	rollout_rehearse.go          planning
//	questions.go, rewards.go     prompts; what scores answers
//	diagnose.go, ptx.go, ema.go  stop rules; text of pre-training mixed in; an average of the weights
//
// Letters: M the tokens of the answers of a micro-batch, C channels.
package rl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hone/chat"
	"hone/data"
	"hone/device"
	"hone/generate"
	"hone/internal/atomicfile"
	"hone/loss"
	"hone/model"
	"hone/optim"
	"hone/plan"
	"hone/recipe"
	"hone/recipe/example"
	"hone/tensor"
	"hone/tokenizer"
	"hone/train"
)

// algorithm is what PPO and the GRPO family do not share.
type algorithm interface {
	// advantages says how good each token of the answers was, and what of it is worth a metric.
	advantages(s *rolling, answers []*rollout) map[string]float64
	// loss is that of a micro-batch; p holds the policy's log-probabilities.
	loss(s *rolling, p *pass) *tensor.Tensor
	needsReference() bool
	entropyBonus() bool // the loss has a term of the entropy
	note() string       // what a person should know of the keys
}

// rolling is the stage of learning from rollouts: in each iteration the model writes answers, they are scored, and the
// following steps learn from them. Which answers a step learns from, and in which order, is a function of the step.
type rolling struct {
	c         *Rollouts
	t         *recipe.Training
	epochs    int
	algorithm algorithm
	r         *recipe.Run

	template *chat.Template
	prompt   []example.Prompt
	held     []example.Prompt // prompts of evaluations; nil without
	stats    data.Stats
	stop     generate.Options // what ends an answer
	end      generate.Options // of it, what ends any text of this tokenizer and template
	ptx      *ptx             // nil without text that is mixed in
	lent     bool             // ptx's text is another stage's, which closes it

	// A copy of the model as it is before training; nil with an adapter, which is switched off, or without reference.
	ref     *model.Model
	critic  *critic // nil without one
	rewards *rewards
	ema     *ema  // nil without one
	again   int   // layers to run again in the backward pass
	base    int64 // bytes that the model's weights take

	kept  *tensor.Results // what the policy's layers computed when it wrote, until the first update; or nil
	keeps map[int]bool    // numbers of the answers of which it is

	state    rollingState
	meter    *train.Meter
	approxKL average            // of the update at hand, from the policy that wrote
	entropy  average            // of its tokens
	last     map[string]float64 // metrics of the last iteration of this session
}

// rollingState is what a run needs besides the weights to go on bit for bit.
type rollingState struct {
	Iteration int            `json:"iteration"` // that Answers are of, from 0
	Answers   []*rollout     `json:"answers"`   // nil before the first iteration
	Stopped   bool           `json:"stopped"`   // the policy is target_kl away from the one that wrote
	KL        loss.KLControl `json:"kl"`
	Scores    loss.Moments   `json:"scores"`
	ApproxKL  average        `json:"far"`     // approximate KL of the last update
	Entropy   average        `json:"entropy"` // over the updates of the iteration
	Watch     watch          `json:"watch"`
	// Told is the event of Answers but for its times, and Warning what was said about them. They belong to a step that is not made
	// yet, so a run that is stopped before it and goes on has lost them from its metrics, and tells them again.
	Told    *train.RolloutEvent `json:"told,omitempty"`
	Warning string              `json:"warning,omitempty"`
}

// average is a mean on its way: a sum and a count.
type average struct {
	Sum   float64 `json:"sum"`
	Count float64 `json:"count"`
}

func (a *average) add(v ...float64) {
	for _, x := range v {
		a.Sum += x
		a.Count++
	}
}

func (a average) mean() float64 { return a.Sum / max(a.Count, 1) }

// rollout is an answer that the policy wrote.
type rollout struct {
	Prompt     int       `json:"prompt"`     // number of the example.Prompt
	IDs        []int32   `json:"ids"`        // prompt and answer
	From       int       `json:"from"`       // the first token of the answer
	LogProbs   []float32 `json:"logprobs"`   // of its tokens when it was written
	Ref        []float32 `json:"ref"`        // under the reference
	Values     []float32 `json:"values"`     // of the critic
	Text       string    `json:"text"`       // of the answer
	Ended      bool      `json:"ended"`      // by an end token or a stop string
	Raw        float64   `json:"raw"`        // the score as it was given
	Score      float64   `json:"score"`      // as it counts
	Advantages []float64 `json:"advantages"` // of its tokens, or one for all of them
	Returns    []float64 `json:"returns"`

	cutOff bool    // by a stop of the recipe
	kept   []int32 // of its tokens but for the last: row in rolling.kept
}

// tokens is the length of the answer.
func (a *rollout) tokens() int { return len(a.IDs) - a.From }

// kl is the divergence from the reference over the whole answer, in nats: the sum of its tokens' estimates.
func (a *rollout) kl(estimator string) float64 {
	sum := 0.0
	for i := range a.Ref {
		sum += loss.EstimateKL(estimator, float64(a.LogProbs[i])-float64(a.Ref[i]))
	}
	return sum
}

// OpenData reads prompts, held-out ones too, and knows from then on how many steps the run has.
func (s *rolling) OpenData(ctx context.Context, r *recipe.Run) (err error) {
	s.r = r
	if r.Tokenizer, err = tokenizer.Load(s.c.Model); err != nil {
		return err
	}
	r.Begin, _ = r.Tokenizer.Special()
	if s.template, err = chat.Choose(s.c.ChatTemplate, s.c.Model, r.Tokenizer); err != nil {
		return err
	}
	if s.prompt, err = s.questions(ctx, s.c.Prompts, &s.stats); err != nil {
		return err
	}
	if len(s.c.ValidationPrompts) > 0 {
		if s.held, err = s.questions(ctx, s.c.ValidationPrompts, &data.Stats{}); err != nil {
			return err
		}
	}
	if len(s.prompt) == 0 || len(s.c.ValidationPrompts) > 0 && len(s.held) == 0 {
		return fmt.Errorf("no prompt is left (%s); raise sequence_length, lower max_completion_length, or give other prompts",
			s.stats.String())
	}
	s.setStops()
	if s.t.Steps == 0 {
		s.t.Steps = s.c.Iterations * s.c.updates(s.epochs)
	}
	if s.ptx != nil {
		return s.ptx.open(ctx, r, s.c)
	}
	return nil
}

// setStops collects what ends an answer.
func (s *rolling) setStops() {
	if eos, ok := s.r.Tokenizer.EOS(); ok {
		s.end.EOS = []int32{eos}
	}
	if s.template != nil {
		ids, texts := s.template.Stops(s.r.Tokenizer)
		s.end.EOS, s.end.Stop = append(s.end.EOS, ids...), texts
	}
	s.stop = generate.DefaultOptions()
	own, _ := s.c.stopIDs() // validated
	s.stop.EOS, s.stop.Stop = slices.Concat(own, s.end.EOS), slices.Concat(s.c.StopStrings, s.end.Stop)
	s.stop.Temperature, s.stop.MaxNewTokens, s.stop.BatchSize = s.c.Temperature, s.c.MaxCompletionLength, s.c.RolloutBatchSize
}

// cutOff tells whether an answer ended by a stop of the recipe, and so not as texts do that a reward model learned from.
func (s *rolling) cutOff(out *generate.Output) bool {
	switch out.Finish {
	case generate.FinishEOS:
		return !slices.Contains(s.end.EOS, out.Tokens[len(out.Tokens)-1])
	case generate.FinishStop:
		text := string(s.r.Tokenizer.Decode(out.Tokens))
		return !slices.ContainsFunc(s.end.Stop, func(end string) bool { return strings.Contains(text, end) })
	}
	return false
}

// Config is none: the policy is opened from its folder.
func (s *rolling) Config(*recipe.Run) ([]byte, error) { return nil, nil }

// Open loads the policy and, where its own weights are trained, a copy for the reference.
func (s *rolling) Open(r *recipe.Run, dtype device.DType) (m *model.Model, err error) {
	packed, err := r.Training.Packed()
	if err != nil {
		return nil, err
	}
	before := r.Env.Device.Memory().InUse
	if m, err = model.OpenPacked(r.From, r.Env.Device, dtype, packed); err != nil {
		return nil, err
	}
	s.base = r.Env.Device.Memory().InUse - before
	if top := m.Head(); s.c.Temperature != 1 && (top.Bias != nil || top.SoftCap != 0) {
		m.Free()
		return nil, fmt.Errorf("temperature is %v, which this model's output layer (with a bias or a soft cap) cannot be trained at; use 1",
			s.c.Temperature)
	}
	// An adapter that trains nothing of the base is its own reference when it is off. Where weights of the
	// base are trained, what they were is kept as a second model, in the same packing.
	if s.t.TrainsBase() && s.algorithm.needsReference() {
		if s.ref, err = model.OpenPacked(r.From, r.Env.Device, dtype, packed); err != nil {
			m.Free()
			return nil, err
		}
	}
	return m, nil
}

// frozen is the model before training, as it lies in memory; nil when it does not.
func (s *rolling) frozen(r *recipe.Run) *model.Model {
	if !s.t.TrainsBase() {
		return r.Model
	}
	return s.ref
}

// With adds the critic to what is trained and opens what gives rewards; adapters of both go on the
// policy's base where it is theirs.
func (s *rolling) With(r *recipe.Run, t recipe.Trained, dtype device.DType) (recipe.Trained, error) {
	// Other adapters are put on the bare base: one of the policy's that is on would be under them.
	err := r.WithoutAdapter(func() (err error) {
		if s.rewards, err = s.openRewards(r, dtype); err == nil && s.critic != nil {
			err = s.critic.open(r, s.frozen(r), dtype)
		}
		return err
	})
	if err != nil || s.critic == nil {
		return t, err
	}
	return &withCritic{t, s.critic}, nil
}

// Close gives back what hangs on the models before they are; a rehearsal's text is another's.
func (s *rolling) Close() error {
	s.forget()
	if s.ema != nil {
		s.ema.free()
	}
	if s.ref != nil {
		s.ref.Free()
	}
	if s.rewards != nil {
		s.rewards.free()
	}
	if s.ptx != nil && !s.lent {
		return s.ptx.close()
	}
	return nil
}

// SetLoop lets the loop ask for batches, which are where answers are written. The average of weights
// follows each update that was made.
func (s *rolling) SetLoop(r *recipe.Run) (err error) {
	s.again, err = r.Training.RecomputedLayers(r.Model.Shape().Layers)
	r.Loop.Batches = s.step
	r.Loop.Objective = s.objective
	r.Loop.Metrics = s.made
	if s.held != nil {
		r.Loop.Evaluate = s.evaluate
	}
	if s.c.EMADecay > 0 {
		policy := r.Trained
		if w, ok := policy.(*withCritic); ok {
			policy = w.Trained
		}
		s.ema = newEMA(r.Env.Device, s.c.EMADecay, policy.Params(), r.Optimizer)
		r.Loop.Every = append(r.Loop.Every, train.Every{Steps: 1, Do: func(context.Context, int) ([]train.Event, error) {
			if !s.state.Stopped {
				s.ema.update()
			}
			return nil, nil
		}})
	}
	return err
}

// step is the stream of batches: it writes answers when an iteration begins and then deals them out.
func (s *rolling) step(ctx context.Context, step int) ([]data.Batch, error) {
	per := s.c.updates(s.epochs) // updates of an iteration: epochs × mini-batches
	iteration, update := step/per, step%per
	if s.state.Answers == nil || s.state.Iteration != iteration {
		if err := s.collect(ctx, iteration, step); err != nil {
			return nil, err
		}
	} else if told := s.state.Told; update == 0 && told != nil {
		if err := errors.Join(s.tell(*told), s.warn(step, s.state.Warning)); err != nil {
			return nil, err
		}
	} else if s.c.TargetKL > 0 && s.state.ApproxKL.mean() > s.c.TargetKL {
		s.state.Stopped = true // as measured in the update before, which costs no pass of its own
	}
	if s.state.Stopped {
		return nil, train.ErrNoUpdate
	}
	s.approxKL, s.entropy = average{}, average{}
	if s.critic != nil {
		s.critic.warm(s.r, iteration)
	}
	var list []*rollout
	for _, i := range s.turn(iteration, update) {
		list = append(list, s.state.Answers[i])
	}
	// Answers of a mini-batch go through the model batch_size at a time and make one update.
	batches := dealAnswers(list, s.t.BatchSize)
	if s.ptx != nil {
		batches = s.ptx.mix(batches, step)
	}
	return batches, nil
}

// turn are the numbers of the answers that an update of an iteration learns from, in its order.
func (s *rolling) turn(iteration, update int) (list []int) {
	n, part := s.c.answers(), update%s.c.NumMiniBatches
	// data.Draw permutes n numbers, anew every n draws, so that each epoch goes through all
	// answers in an order of its own
	epoch := iteration*s.epochs + update/s.c.NumMiniBatches
	for i := part * n / s.c.NumMiniBatches; i < (part+1)*n/s.c.NumMiniBatches; i++ {
		list = append(list, int(data.Draw(s.t.Seed, int64(n), int64(epoch*n+i))))
	}
	return list
}

// Keep writes the state into a checkpoint.
func (s *rolling) Keep(dir string) error {
	text, err := json.Marshal(&s.state)
	if err == nil && s.ema != nil {
		err = s.ema.keep(dir)
	}
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, rolloutsName), text)
}

// rolloutsName is the file of a checkpoint with the answers that are being learned from.
const rolloutsName = "rollouts.json"

// Restore reads the state of a checkpoint.
func (s *rolling) Restore(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, rolloutsName))
	if err != nil {
		return err
	}
	s.state = rollingState{}
	if err := json.Unmarshal(text, &s.state); err != nil || s.ema == nil {
		return err
	}
	return s.ema.restore(dir)
}

// Identity is the prompts and the text that is mixed in, as tokens: rewards may change on the way, what is asked may not.
func (s *rolling) Identity() map[string]string {
	list := make([][]int32, len(s.prompt))
	for i := range s.prompt {
		list[i] = s.prompt[i].IDs
	}
	id := map[string]string{"contents of prompts": fmt.Sprintf("%016x", data.HashMarks(list...))}
	if s.ptx != nil {
		id["contents of ptx.data"] = s.ptx.corpus.Train.Fingerprint()
	}
	return id
}

// Ignores tells that without a reference there is no divergence to estimate, and that text is judged by its contents.
func (s *rolling) Ignores(key string) bool {
	return key == "kl_estimator" && !s.algorithm.needsReference() || key == "ptx.data" && s.ptx != nil
}

// Info tells how much is asked and answered, and which adapters stand on one base.
func (s *rolling) Info() (map[string]any, string) {
	who, saved := s.sharing()
	values := map[string]any{
		"prompts": len(s.prompt), "validation_prompts": len(s.held),
		"answers_per_iteration": s.c.answers(), "updates_per_iteration": s.c.updates(s.epochs),
	}
	note := fmt.Sprintf("prompts: %s; %d to answer%s%s", s.stats.String(), len(s.prompt), s.taken(),
		s.rewards.note+s.algorithm.note())
	if len(who) > 0 {
		values["shared_base_bytes"] = saved
		note += fmt.Sprintf("; adapters on one base in memory, with the policy or its reference: %s (%s less)",
			strings.Join(who, ", "), plan.Bytes(saved))
	}
	return values, note
}

// sharing says what is put on the policy's base and how many bytes that saves: the weights that each would have loaded.
func (s *rolling) sharing() (who []string, saved int64) {
	add := func(name string, m *model.Scorer) {
		who, saved = append(who, name), saved+s.base
		if top := m.Head().Weight; m.Score.Layout == model.ScoreLayout && !m.Shape().Tied { // it would have no output layer
			saved -= int64(top.Len()) * int64(top.DType().Size())
		}
	}
	for _, source := range s.rewards.sources {
		if source.judge != nil && source.judge.Shared {
			add("the reward model "+source.name, source.judge.Scorer.Scorer)
		}
	}
	if s.critic != nil && s.critic.shared {
		add("the critic", s.critic.scorer)
	}
	return who, saved
}

// Example has nothing: there is none before the policy has written.
func (s *rolling) Example(*recipe.Run) []train.Part { return nil }

// Prompts of samples are the recipe's, else the first held-out ones, so that what is shown is what is measured.
func (s *rolling) Prompts(r *recipe.Run) (ids [][]int32, texts []string) {
	if len(r.Training.Samples.Prompts) > 0 {
		return r.GivenPrompts()
	}
	list := s.held
	if list == nil {
		list = s.prompt
	}
	for _, q := range list[:min(3, len(list))] {
		ids, texts = append(ids, q.IDs), append(texts, q.Text)
	}
	return ids, texts
}

// Beside puts the chat template with the model, as transformers does.
func (s *rolling) Beside(dir string) error { return s.template.Save(dir) }

// Summarise adds the metrics of the last iteration, which a session before may have begun.
func (s *rolling) Summarise(sum *recipe.Summary) {
	sum.Metrics = s.last
	if s.last == nil && s.state.Told != nil {
		sum.Metrics = s.state.Told.Metrics
	}
}

// LearningRates scales the learning rate of the critic.
func (s *rolling) LearningRates(list []optim.Param) {
	if s.critic != nil {
		s.critic.learningRates(list, s.t.Optimizer.LearningRate)
	}
}

// Aside tells the critic's parameters.
func (s *rolling) Aside(name string) bool { return strings.HasPrefix(name, criticPrefix) }
