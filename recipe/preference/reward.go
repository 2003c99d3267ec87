package preference

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"hone/chat"
	"hone/data"
	"hone/device"
	"hone/loss"
	"hone/model"
	"hone/recipe"
	"hone/tensor"
	"hone/train"
)

// Reward is the recipe of a reward model: a model with a scalar head learns which of two answers is better.
type Reward struct {
	Preferences

	CenterRewardsCoefficient float64 `yaml:"center_rewards_coefficient" doc:"weight of the squared sum of both scores, which centres them on 0; 0: off, 0.01 is usual"`
	Margin                   bool    `yaml:"margin" doc:"ask for a gap of at least the record's margin"`
	Head                     string  `yaml:"head" doc:"layout of a fresh head: score (sequence classification of transformers) or v_head (value heads of TRL)"`

	recipe.Training
}

// DefaultReward returns the recipe with every default filled in: those of TRL's RewardConfig, but for the
// learning rate of full fine-tuning.
func DefaultReward() Reward {
	return Reward{
		Preferences: defaultPreferences(), Margin: true, Head: string(model.ScoreLayout), Training: recipe.DefaultTuning(),
	}
}

// Learning rates of reward models where the recipe names none: Ouyang et al. (2022) for all weights, TRL's
// for adapters.
const (
	rewardRate        = 1e-5
	rewardAdapterRate = 1e-4
)

// Validate fills in what depends on other keys and reports the first key that cannot be meant, and the remedy.
func (c *Reward) Validate() error {
	c.FallbackRate(rewardRate, rewardAdapterRate)
	c.SequenceLength = cmp.Or(c.SequenceLength, c.Longest(c.Model))
	switch {
	case c.Head != string(model.ScoreLayout) && c.Head != string(model.ValueLayout):
		return fmt.Errorf("head is %q; use score or v_head", c.Head)
	case !(c.CenterRewardsCoefficient >= 0):
		return fmt.Errorf("center_rewards_coefficient is %v; it must be at least 0", c.CenterRewardsCoefficient)
	case c.LabelSmoothing != 0:
		return errors.New("label_smoothing is set, which reward models do not have; leave it out")
	case c.Samples.Every != 0:
		return errors.New("samples.every is set, but a reward model writes nothing; leave it out")
	}
	return c.Preferences.validate(c.Training)
}

// Run trains a reward model; the result is OUT/model, or OUT/adapter with an adapter.
func (c *Reward) Run(ctx context.Context, env recipe.Env) (*recipe.Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return recipe.Execute(ctx, c.run(env))
}

func (c *Reward) run(env recipe.Env) *recipe.Run {
	return &recipe.Run{Stage: &rewarding{c: c, meter: train.NewMeter()}, Training: &c.Training, Recipe: c, From: c.Model, Env: env}
}

// rewarding is the stage of a reward model.
type rewarding struct {
	c        *Reward
	records  *judgements
	template *chat.Template
	scorer   *model.Scorer
	meter    *train.Meter
	seen     []scoredPair // by the evaluation at hand
}

// OpenData reads the pairs.
func (s *rewarding) OpenData(ctx context.Context, r *recipe.Run) (err error) {
	layout, err := model.HeadOf(s.c.Model, model.Layout(s.c.Head))
	if err != nil {
		return err
	}
	s.records, s.template, err = s.c.Preferences.open(ctx, r, (*reader).pairs, layout.ReadsAll())
	return err
}

// Open loads the model with its head, which an adapter trains in full.
func (s *rewarding) Open(r *recipe.Run, dtype device.DType) (*model.Model, error) {
	packed, err := r.Training.Packed()
	if err != nil {
		return nil, err
	}
	options := model.ScorerOptions{Layout: model.Layout(s.c.Head), Seed: s.c.Seed, Packed: packed}
	if s.scorer, err = model.OpenScorer(r.From, r.Env.Device, dtype, options); err != nil {
		return nil, err
	}
	r.Head = s.scorer.Score.Layout.Module()
	return s.scorer.Model, nil
}

// Config is none: the model is opened from its folder.
func (s *rewarding) Config(*recipe.Run) ([]byte, error) { return nil, nil }

// SetLoop scores both answers of a pair in one pass, as two sequences that cannot see each other.
func (s *rewarding) SetLoop(r *recipe.Run) error {
	again, err := r.Training.RecomputedLayers(r.Model.Shape().Layers)
	in := recipe.Inputs{Dropout: float32(r.Training.Dropout), Recompute: again}
	r.Loop.Batches = func(_ context.Context, step int) ([]data.Batch, error) { return s.records.step(r.Training, step), nil }
	r.Loop.Objective = func(t *tensor.Tape, b data.Batch) *tensor.Tensor { return s.objective(t, b, in) }
	r.Loop.Metrics = s.meter.Take
	if s.records.held != nil {
		r.Loop.Evaluate = func(ctx context.Context) (map[string]float64, error) { return s.evaluate(ctx, r) }
	}
	return err
}

// objective is the loss of pairs, whose sequences stand in the order chosen, rejected, chosen, …
func (s *rewarding) objective(t *tensor.Tape, b data.Batch, in recipe.Inputs) *tensor.Tensor {
	d := b.Extra.(*dealt)
	scores := s.scorer.Scores(in.Of(t, &b), b.LastRows(s.scorer.Pad))
	chosen, rejected := everySecond(scores)
	var margins *tensor.Tensor
	if s.c.Margin {
		list := make([]float32, len(d.items))
		for i, j := range d.items {
			list[i] = j.margin
		}
		margins = t.Constant(list, len(list), 1)
	}
	s.measure(d, tensor.Values(chosen), tensor.Values(rejected), !t.Recording())
	// -log σ(chosen - rejected - margin), and the coefficient times (chosen + rejected)², over the pairs of the whole batch
	return loss.BradleyTerry(chosen, rejected, margins, float32(s.c.CenterRewardsCoefficient), d.whole)
}

// measure notes TRL's metrics of a micro-batch and, with keep, the scores themselves.
func (s *rewarding) measure(d *dealt, c, r []float64, keep bool) {
	for i, j := range d.items {
		if keep {
			s.seen = append(s.seen, scoredPair{j, c[i], r[i]})
		}
		s.meter.Add("accuracy", won(c[i], r[i]))
		s.meter.Add("margin", c[i]-r[i])
		s.meter.Add("mean_reward", (c[i]+r[i])/2)
	}
}

// won is 1 where the first score is larger, ½ where they are equal: a head that knows nothing has an accuracy of ½.
func won(a, b float64) float64 {
	switch {
	case a > b:
		return 1
	case a == b:
		return 0.5
	}
	return 0
}

// everySecond parts [2P, 1] into the rows 0, 2, … and 1, 3, …
func everySecond(x *tensor.Tensor) (even, odd *tensor.Tensor) {
	n := x.Rows() / 2
	e, o := make([]int32, n), make([]int32, n)
	for i := range n {
		e[i], o[i] = int32(2*i), int32(2*i+1)
	}
	t := x.Tape()
	return tensor.Rows(x, t.Ints(e)), tensor.Rows(x, t.Ints(o))
}

// evaluate scores the held-out pairs and looks at them from all sides.
func (s *rewarding) evaluate(ctx context.Context, r *recipe.Run) (map[string]float64, error) {
	s.meter.Take()
	s.seen = nil
	total := 0.0
	for _, b := range deal(s.records.held, s.records.heldPicks(s.c.Eval.MaxTokens), s.c.BatchSize) {
		err := train.Infer(ctx, r.Tape, func() error {
			l, err := s.objective(r.Tape, b, recipe.Inputs{}).Item()
			total += l
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	metrics := s.meter.Take()
	metrics["loss"] = total
	return metrics, inspect(s.seen, metrics, func(t train.TableEvent) error {
		t.Step = r.Loop.Step()
		return r.Metrics.Append(t)
	})
}

func (s *rewarding) Identity() map[string]string { return s.records.identity() }

func (s *rewarding) Info() (map[string]any, string) { return s.records.info(&s.c.Training) }

// Notes are those of the records.
func (s *rewarding) Notes() []string { return s.records.notes }

func (s *rewarding) Example(r *recipe.Run) []train.Part { return s.records.example(r) }

func (s *rewarding) Prompts(*recipe.Run) ([][]int32, []string) { return nil, nil }
func (s *rewarding) Summarise(*recipe.Summary)                 {}
func (s *rewarding) Close() error                              { return s.records.close() }

func (s *rewarding) Beside(dir string) error { return s.template.Save(dir) }

// Repeat is the stage for another rehearsal on the same records.
func (s *rewarding) Repeat(*recipe.Run) recipe.Stage {
	return &rewarding{c: s.c, records: s.records.lent(), template: s.template, meter: train.NewMeter()}
}

func (s *rewarding) Lower() []recipe.Change           { return nil }
func (s *rewarding) Rehearse(*recipe.Run) (int, bool) { return 1, true }
func (s *rewarding) Rows(r *recipe.Run, step int) int { return s.records.rows(r.Training, step) }
func (s *rewarding) KVCache(*recipe.Run) int64        { return 0 }

// Plan says what the run will take, and starts nothing. Records are read and counted; what that writes is
// removed again.
func (c *Reward) Plan(ctx context.Context, env recipe.Env) (*recipe.Planned, error) {
	own := *c
	own.Resume = false
	return own.run(env).Rehearse(ctx, "reward", env)
}

// Unused adds to Training.Unused the keys of preferences.
func (c *Reward) Unused(key string) string { return c.unused(key, &c.Training) }
