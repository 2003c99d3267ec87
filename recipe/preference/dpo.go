package preference

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"hone/chat"
	"hone/data"
	"hone/loss"
	"hone/nn"
	"hone/recipe"
	"hone/tensor"
	"hone/train"
)

// DPO is the recipe of learning from preferences directly, without a reward model: DPO and its kin.
type DPO struct {
	Preferences

	LossType          string  `yaml:"loss_type" doc:"sigmoid (DPO; with label_smoothing cDPO), hinge, ipo (per token, as TRL), ipo_sum (per answer, as the paper), robust, simpo, orpo or kto"`
	Beta              float64 `yaml:"beta" doc:"how strongly the model is held to the reference; for simpo and orpo the weight of the preference"`
	SimPOGamma        float64 `yaml:"simpo_gamma" doc:"simpo: the margin"`
	DesirableWeight   float64 `yaml:"desirable_weight" doc:"kto: weight of good answers"`
	UndesirableWeight float64 `yaml:"undesirable_weight" doc:"kto: weight of bad answers"`

	recipe.Training
}

// DefaultDPO returns the recipe with every default filled in, those of TRL.
func DefaultDPO() DPO {
	return DPO{
		Preferences: defaultPreferences(), LossType: "sigmoid", Beta: 0.1, SimPOGamma: 0.5,
		DesirableWeight: 1, UndesirableWeight: 1, Training: recipe.DefaultTuning(),
	}
}

// Learning rates of DPO where the recipe names none: TRL's, and ten times that for adapters.
const (
	dpoRate        = 1e-6
	dpoAdapterRate = 1e-5
)

// Validate fills in what depends on other keys and reports the first key that cannot be meant, and the remedy.
func (c *DPO) Validate() error {
	c.FallbackRate(dpoRate, dpoAdapterRate)
	c.SequenceLength = cmp.Or(c.SequenceLength, c.Longest(c.Model))
	if types := append(loss.PreferenceTypes(), kto); !slices.Contains(types, c.LossType) {
		return fmt.Errorf("loss_type is %q; use one of %s", c.LossType, strings.Join(types, ", "))
	}
	smooth := slices.Contains([]string{"sigmoid", "robust", "simpo"}, c.LossType)
	switch {
	case !(c.Beta > 0):
		return fmt.Errorf("beta is %v; it must be above 0", c.Beta)
	case !(c.SimPOGamma >= 0):
		return fmt.Errorf("simpo_gamma is %v; it must be at least 0", c.SimPOGamma)
	case !(c.DesirableWeight >= 0 && c.UndesirableWeight >= 0):
		return fmt.Errorf("desirable_weight is %v and undesirable_weight %v; they must be at least 0", c.DesirableWeight,
			c.UndesirableWeight)
	case c.LabelSmoothing != 0 && !smooth:
		return fmt.Errorf("label_smoothing is set, which loss_type %s does not have; leave it out", c.LossType)
	case !(c.LabelSmoothing < 0.5):
		return fmt.Errorf("label_smoothing is %v; it is the chance that a label is wrong and must be below 0.5", c.LabelSmoothing)
	case c.LossType == kto && c.BatchSize*c.GradientAccumulationSteps < 2:
		return errors.New("loss_type kto estimates the KL divergence over the batch; raise batch_size to at least 2")
	}
	return c.Preferences.validate(c.Training)
}

// Run trains a model on preferences; the result is OUT/model, or OUT/adapter with an adapter.
func (c *DPO) Run(ctx context.Context, env recipe.Env) (*recipe.Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return recipe.Execute(ctx, c.run(env))
}

func (c *DPO) run(env recipe.Env) *recipe.Run {
	return &recipe.Run{Stage: &preferring{c: c, meter: train.NewMeter()}, Training: &c.Training, Recipe: c, From: c.Model, Env: env}
}

// preferring is the stage of DPO.
type preferring struct {
	c          *DPO
	records    *judgements
	mismatched []judged // KTO: answers put to prompts that are not theirs, of the items in order
	heldWrong  []judged // the same of the held-out items
	template   *chat.Template
	meter      *train.Meter
	in         recipe.Inputs // of training passes
}

// OpenData reads pairs, or for KTO verdicts, with answers on prompts that are not theirs beside them.
func (s *preferring) OpenData(ctx context.Context, r *recipe.Run) (err error) {
	parse := (*reader).pairs
	if s.c.LossType == kto {
		parse = (*reader).verdicts
	}
	if s.records, s.template, err = s.c.Preferences.open(ctx, r, parse, false); err != nil {
		return err
	}
	if s.c.LossType != kto {
		return nil
	}
	for _, list := range []struct {
		of    []judged
		wrong *[]judged
	}{{s.records.items, &s.mismatched}, {s.records.held, &s.heldWrong}} {
		var file *markFile
		*list.wrong, file, err = onDisk(r.Folder.Dir, func(add func(judged) error) error {
			return mismatch(list.of, r.Training.SequenceLength, add)
		})
		if s.records.files = append(s.records.files, file); err != nil {
			return err
		}
	}
	return nil
}

// Config is none: the model is opened from its folder.
func (s *preferring) Config(*recipe.Run) ([]byte, error) { return nil, nil }

// SetLoop sets the batches, for KTO with the divergence that their losses need, and the objective.
func (s *preferring) SetLoop(r *recipe.Run) error {
	again, err := r.Training.RecomputedLayers(r.Model.Shape().Layers)
	if err != nil {
		return err
	}
	s.in = recipe.Inputs{Dropout: float32(r.Training.Dropout), Recompute: again}
	r.Loop.Batches = func(ctx context.Context, step int) ([]data.Batch, error) {
		batches := s.records.step(r.Training, step)
		return batches, s.divergence(ctx, r, batches, s.mismatched)
	}
	r.Loop.Objective = func(t *tensor.Tape, b data.Batch) *tensor.Tensor { return s.objective(r.Model, t, b) }
	r.Loop.Metrics = s.meter.Take
	if s.records.held != nil {
		r.Loop.Evaluate = func(ctx context.Context) (map[string]float64, error) { return s.evaluate(ctx, r) }
	}
	return nil
}

// BeforeTraining computes the log-probabilities of the reference, which is the model as it is before training, once.
func (s *preferring) BeforeTraining(ctx context.Context, r *recipe.Run) error {
	if s.c.LossType != kto && !loss.NeedsReference(s.c.LossType) {
		return nil
	}
	lists := map[string][]judged{
		"items": s.records.items, "held": s.records.held, "mismatched": s.mismatched, "held_mismatched": s.heldWrong,
	}
	return reference(ctx, r, s.records.fingerprint(), lists)
}

// answerLogProbs are the log-probabilities of the supervised tokens of each sequence of b, summed: [S, 1].
func answerLogProbs(m nn.Model, t *tensor.Tape, b *data.Batch) *tensor.Tensor {
	return logProbsOf(m, recipe.Inputs{}.Of(t, b), b)
}

// logProbsOf is answerLogProbs with an input made of b.
func logProbsOf(m nn.Model, in nn.Input, b *data.Batch) *tensor.Tensor {
	// Only rows that predict an answer's token go through the head: a prompt may be most of a sequence.
	rows, targets, owner := b.SupervisedRows()
	t := in.IDs.Tape()
	h := nn.HiddenAt(m, in, rows)
	logp, _ := tensor.LogProbs(h, m.Head(), t.Ints(targets))
	return tensor.SumBy(logp, t.Ints(owner), len(b.Offsets)-1)
}

// objective is the loss of a micro-batch; in training with the load-balancing loss of a model that asks for
// it, as TRL adds it.
func (s *preferring) objective(m nn.Model, t *tensor.Tape, b data.Batch) *tensor.Tensor {
	if !t.Recording() {
		return s.preference(t, answerLogProbs(m, t, &b), b.Extra.(*dealt))
	}
	d, in := b.Extra.(*dealt), s.in.Of(t, &b).Balanced(m)
	l := s.preference(t, logProbsOf(m, in, &b), d)
	return recipe.Balanced(m, in, l, float32(len(d.items))/float32(d.whole), s.meter)
}

// preference is the loss of answers with the log-probabilities logp.
func (s *preferring) preference(t *tensor.Tape, logp *tensor.Tensor, d *dealt) *tensor.Tensor {
	if s.c.LossType == kto {
		return s.unpaired(t, logp, d)
	}
	p := loss.Pairs{}
	p.Chosen, p.Rejected = everySecond(logp)
	var ref [2][]float32
	for _, j := range d.items {
		p.ChosenTokens, p.RejectedTokens = append(p.ChosenTokens, j.supervised(0)), append(p.RejectedTokens, j.supervised(1))
		for i := range j.ref {
			ref[i] = append(ref[i], j.ref[i])
		}
	}
	if loss.NeedsReference(s.c.LossType) {
		p.RefChosen, p.RefRejected = t.Constant(ref[0], len(ref[0]), 1), t.Constant(ref[1], len(ref[1]), 1)
	}
	s.measure(d, tensor.Values(p.Chosen), tensor.Values(p.Rejected))
	return loss.Preference(s.c.LossType, p, loss.PreferenceOptions{
		Beta: float32(s.c.Beta), Smoothing: float32(s.c.LabelSmoothing), Gamma: float32(s.c.SimPOGamma),
		Pairs: d.whole, Tokens: d.chosen,
	})
}

// measure notes TRL's metrics: an answer's implicit reward is beta times its log-ratio, without a reference
// beta times its log-probability per token.
func (s *preferring) measure(d *dealt, chosen, rejected []float64) {
	for i, j := range d.items {
		c, r := s.reward(j, 0, chosen[i]), s.reward(j, 1, rejected[i])
		s.meter.Add("rewards/chosen", c)
		s.meter.Add("rewards/rejected", r)
		s.meter.Add("rewards/margins", c-r)
		s.meter.Add("rewards/accuracies", won(c, r))
		s.meter.Add("logps/chosen", chosen[i])
		s.meter.Add("logps/rejected", rejected[i])
	}
}

// reward is the implicit reward of an answer (Rafailov et al., 2023, section 4), logp its log-probability in nats.
func (s *preferring) reward(j *judged, answer int, logp float64) float64 {
	// SimPO's reward is per token (Meng et al., 2024, section 2.2), which is what is optimised without a reference.
	if j.ref == nil {
		return s.c.Beta * logp / float64(j.supervised(answer))
	}
	return s.c.Beta * (logp - float64(j.ref[answer]))
}

// evaluate is the loss and the metrics on held-out records.
func (s *preferring) evaluate(ctx context.Context, r *recipe.Run) (map[string]float64, error) {
	s.meter.Take()
	total := 0.0
	batches := deal(s.records.held, s.records.heldPicks(s.c.Eval.MaxTokens), s.c.BatchSize)
	if err := s.divergence(ctx, r, batches, s.heldWrong); err != nil {
		return nil, err
	}
	for _, b := range batches {
		err := train.Infer(ctx, r.Tape, func() error {
			l, err := s.objective(r.Model, r.Tape, b).Item()
			total += l
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	metrics := s.meter.Take()
	metrics["loss"] = total
	return metrics, nil
}

func (s *preferring) Identity() map[string]string { return s.records.identity() }

func (s *preferring) Info() (map[string]any, string)     { return s.records.info(&s.c.Training) }
func (s *preferring) Notes() []string                    { return s.records.notes }
func (s *preferring) Example(r *recipe.Run) []train.Part { return s.records.example(r) }

func (s *preferring) Prompts(r *recipe.Run) (ids [][]int32, texts []string) {
	return s.records.prompts(r)
}

func (s *preferring) Beside(dir string) error   { return s.template.Save(dir) }
func (s *preferring) Summarise(*recipe.Summary) {}
func (s *preferring) Close() error              { return s.records.close() }

// Repeat is the stage for another rehearsal on the same records.
func (s *preferring) Repeat(*recipe.Run) recipe.Stage {
	other := *s
	other.records, other.meter = s.records.lent(), train.NewMeter()
	return &other
}

func (s *preferring) Lower() []recipe.Change           { return nil }
func (s *preferring) Rehearse(*recipe.Run) (int, bool) { return 1, true }
func (s *preferring) Rows(r *recipe.Run, step int) int { return s.records.rows(r.Training, step) }
func (s *preferring) KVCache(r *recipe.Run) int64      { return r.SampleCache() }

// Plan says what the run will take, as (*Reward).Plan does. The pass of the reference over all records
// before the first step is not in it.
func (c *DPO) Plan(ctx context.Context, env recipe.Env) (*recipe.Planned, error) {
	own := *c
	own.Resume = false
	return own.run(env).Rehearse(ctx, "dpo", env)
}

// Unused adds to Training.Unused the keys of preferences and those that only other losses have.
func (c *DPO) Unused(key string) string {
	of := map[string]string{"simpo_gamma": "simpo", "desirable_weight": kto, "undesirable_weight": kto}[key]
	if of != "" && of != c.LossType {
		return "loss_type=" + c.LossType
	}
	return c.unused(key, &c.Training)
}
