package recipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"hone/chat"
	"hone/data"
	"hone/device"
	"hone/internal/atomicfile"
	"hone/loss"
	"hone/model"
	"hone/nn"
	"hone/tensor"
	"hone/train"
)

// Reward is the recipe of a reward model: a model with a scalar head learns which of two answers is better.
type Reward struct {
	Preferences

	CenterRewardsCoefficient float64 `yaml:"center_rewards_coefficient" doc:"weight of the squared sum of both scores, which centres them on 0; 0: off, 0.01 is usual"`
	Margin                   bool    `yaml:"margin" doc:"ask for a gap of at least the record's margin"`
	Head                     string  `yaml:"head" doc:"layout of a fresh head: score (sequence classification of transformers) or v_head (value heads of TRL)"`

	Training
}

// DefaultReward returns the recipe with every default filled in: those of TRL's RewardConfig, but for the learning rate of full
// fine-tuning.
func DefaultReward() Reward {
	c := Reward{Preferences: defaultPreferences(), Margin: true, Head: string(model.ScoreLayout), Training: preferenceTraining()}
	return c
}

// preferenceTraining is defaultTraining for learning from preferences.
func preferenceTraining() Training {
	t := defaultTraining()
	t.Steps, t.SequenceLength, t.BatchSize = 0, 0, 8
	t.Optimizer.LearningRate, t.Optimizer.Beta2, t.Optimizer.WeightDecay = 0, 0.999, 0
	t.Schedule = Schedule{Name: "linear", WarmupSteps: 0.03}
	t.Eval.Every = 50
	return t
}

// Learning rates of reward models where the recipe names none: Ouyang et al. (2022) for all weights, TRL's for adapters.
const (
	rewardRate        = 1e-5
	rewardAdapterRate = 1e-4
)

// Validate fills in what depends on other keys and reports the first key that cannot be meant, and the remedy.
func (c *Reward) Validate() error {
	c.fallbackRate(rewardRate, rewardAdapterRate)
	c.SequenceLength = cmp.Or(c.SequenceLength, c.longest(c.Model))
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
func (c *Reward) Run(ctx context.Context, env Env) (*Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return execute(ctx, c.run(env))
}

func (c *Reward) run(env Env) *run {
	return &run{stage: &rewarding{c: c, meter: newMeter()}, c: &c.Training, whole: c, dir: c.Model, env: env}
}

// rewarding is the stage of a reward model.
type rewarding struct {
	c        *Reward
	records  *judgements
	template *chat.Template
	scorer   *model.Scorer
	meter    *meter
	seen     []scoredPair // in passes without gradients
}

func (s *rewarding) openData(ctx context.Context, r *run) (err error) {
	s.records, s.template, err = s.c.Preferences.open(ctx, r, (*reader).pairs)
	return err
}

// open loads the model with its head, which an adapter trains in full.
func (s *rewarding) open(r *run, dtype device.DType) (*model.Model, error) {
	packed, err := r.c.packed()
	if err != nil {
		return nil, err
	}
	if s.scorer, err = model.OpenScorer(r.dir, r.env.Device, dtype, model.ScorerOptions{Layout: model.Layout(s.c.Head), Seed: s.c.Seed, Packed: packed}); err != nil {
		return nil, err
	}
	r.head = s.scorer.Score.Layout.Module()
	return s.scorer.Model, nil
}

func (s *rewarding) config(*run) ([]byte, error) { return nil, nil }

func (s *rewarding) setLoop(r *run) error {
	again, err := r.c.recompute(r.model.Shape().Layers)
	in := inputOptions{dropout: float32(r.c.Dropout), recompute: again}
	r.loop.Batches = func(_ context.Context, step int) ([]data.Batch, error) { return s.records.step(r.c, step), nil }
	r.loop.Objective = func(t *tensor.Tape, b data.Batch) *tensor.Tensor { return s.objective(t, b, in) }
	r.loop.Metrics = s.meter.take
	if s.records.held != nil {
		r.loop.Evaluate = func(ctx context.Context) (map[string]float64, error) { return s.evaluate(ctx, r) }
	}
	return err
}

// objective is the loss of pairs, whose sequences stand in the order chosen, rejected, chosen, …
func (s *rewarding) objective(t *tensor.Tape, b data.Batch, in inputOptions) *tensor.Tensor {
	d := b.Extra.(*dealt)
	scores := s.scorer.Scores(in.input(t, &b), lastRows(b.Offsets))
	chosen, rejected := everySecond(scores)
	var margins *tensor.Tensor
	if s.c.Margin {
		list := make([]float32, len(d.items))
		for i, j := range d.items {
			list[i] = j.margin
		}
		margins = t.Constant(list, len(list), 1)
	}
	s.measure(d, values(chosen), values(rejected), !t.Recording())
	return loss.BradleyTerry(chosen, rejected, margins, float32(s.c.CenterRewardsCoefficient), d.whole)
}

// measure notes TRL's metrics of a micro-batch and, with keep, the scores themselves.
func (s *rewarding) measure(d *dealt, c, r []float64, keep bool) {
	for i, j := range d.items {
		if keep {
			s.seen = append(s.seen, scoredPair{j, c[i], r[i]})
		}
		s.meter.add("accuracy", won(c[i], r[i]))
		s.meter.add("margin", c[i]-r[i])
		s.meter.add("mean_reward", (c[i]+r[i])/2)
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

// inputOptions are the parts of nn.Input that a run sets in training.
type inputOptions struct {
	dropout   float32
	recompute int // layers
}

// input is a batch as the model takes it.
func (in inputOptions) input(t *tensor.Tape, b *data.Batch) nn.Input {
	x := nn.NewInput(t, b.IDs, b.Positions, b.Offsets)
	x.Dropout, x.Recompute = in.dropout, in.recompute
	return x
}

// lastRows are the rows of the last tokens of sequences.
func lastRows(offsets []int32) []int32 {
	rows := make([]int32, len(offsets)-1)
	for s := range rows {
		rows[s] = offsets[s+1] - 1
	}
	return rows
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

// values reads a tensor; a device's failure ends the step as its other failures do.
func values(x *tensor.Tensor) []float64 {
	v, err := x.Float32s()
	if err != nil {
		panic(&tensor.Error{Op: "read", Problem: err.Error()})
	}
	wide := make([]float64, len(v))
	for i := range v {
		wide[i] = float64(v[i])
	}
	return wide
}

// evaluate scores the held-out pairs and looks at them from all sides.
func (s *rewarding) evaluate(ctx context.Context, r *run) (map[string]float64, error) {
	s.meter.take()
	s.seen = nil
	total := 0.0
	for _, b := range deal(s.records.held, s.records.heldPicks(s.c.Eval.MaxTokens), s.c.BatchSize) {
		err := inferring(ctx, r.tape, func() error {
			l, err := s.objective(r.tape, b, inputOptions{}).Item()
			total += l
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	metrics := s.meter.take()
	metrics["loss"] = total
	return metrics, judge(s.seen, metrics, func(t train.TableEvent) error {
		t.Step = r.loop.Step()
		return r.metrics.Append(t)
	})
}

// inferring runs f in a pass without gradients.
func inferring(ctx context.Context, tape *tensor.Tape, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer tape.Reset()
	var err error
	failed := tensor.Try(func() {
		tape.Infer()
		err = f()
	})
	return errors.Join(failed, err)
}

func (s *rewarding) identity() map[string]string {
	return map[string]string{"contents of data": s.records.fingerprint()}
}

func (s *rewarding) info() (map[string]any, string) { return s.records.info() }

func (s *judgements) info() (map[string]any, string) {
	values := map[string]any{"train_records": len(s.items), "held_records": len(s.held)}
	return values, fmt.Sprintf("preferences: %s; %d to learn from, %d held out", s.stats.String(), len(s.items), len(s.held))
}

func (s *rewarding) example(r *run) []train.Part { return s.records.example(r) }

// example is the first record: the answers are what is judged or learned.
func (s *judgements) example(r *run) []train.Part {
	var parts []train.Part
	for _, marks := range s.items[0].answers {
		parts = append(parts, partsOf(r.tok, marks)...)
	}
	return parts
}

func (s *rewarding) prompts(*run) ([][]int32, []string) { return nil, nil }
func (s *rewarding) summarise(*Summary)                 {}
func (s *rewarding) close() error                       { return s.records.close() }

func (s *rewarding) beside(dir string) error { return saveTemplate(dir, s.template) }

// saveTemplate puts a chat template with a model, as transformers does.
func saveTemplate(dir string, t *chat.Template) error {
	if t == nil {
		return nil
	}
	return atomicfile.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(t.Source()))
}
