package lm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sort"

	"hone/chat"
	"hone/data"
	"hone/model"
	"hone/recipe"
	"hone/recipe/example"
	"hone/tokenizer"
	"hone/train"
)

// Run fine-tunes a model on examples; the result is OUT/model, or OUT/adapter with method=lora. When ctx is
// cancelled it saves, and the summary says Interrupted.
func (c *SFT) Run(ctx context.Context, env recipe.Env) (*recipe.Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return recipe.Execute(ctx, &recipe.Run{
		Stage: &tuning{c: c}, Training: &c.Training, Recipe: c, From: c.Model, Env: env, NextToken: true,
	})
}

// tuning is the stage of fine-tuning on examples.
type tuning struct {
	c           *SFT
	sources     []*examples
	packed      int           // the length that they are packed to
	replay      *Corpus       // nil without replay
	text        *Corpus       // of forgetting.data, nil without it
	general     *data.Windows // text to measure forgetting on, nil without any
	generalText string        // its fingerprint
	base        baseLoss
	mixture     *data.Mixture
	template    *chat.Template // nil when the model has none
	stats       data.Stats
}

func (s *tuning) Close() error {
	var errs []error
	for _, e := range s.sources {
		errs = append(errs, e.close())
	}
	if s.replay != nil {
		errs = append(errs, s.replay.Close())
	}
	if s.text != nil {
		errs = append(errs, s.text.Close())
	}
	return errors.Join(errs...)
}

// OpenData opens examples, and text to replay and to measure forgetting on, and refuses examples that teach no end.
func (s *tuning) OpenData(ctx context.Context, r *recipe.Run) (err error) {
	if err := s.openTokenizer(r); err != nil {
		return err
	}
	if err := s.openExamples(ctx, r); err != nil {
		return err
	}
	if err := s.openReplay(ctx, r); err != nil {
		return err
	}
	if err := s.openGeneral(ctx, r); err != nil {
		return err
	}
	if err := s.mix(r); err != nil {
		return err
	}
	return s.checkExamples(r)
}

// openTokenizer takes the model's own tokenizer, and the template that the recipe names or else the model's.
func (s *tuning) openTokenizer(r *recipe.Run) (err error) {
	if r.Tokenizer, err = tokenizer.Load(s.c.Model); err != nil {
		return err
	}
	r.Begin, _ = r.Tokenizer.Special()
	s.template, err = chat.Choose(s.c.ChatTemplate, s.c.Model, r.Tokenizer)
	return err
}

// marks are the marked tokens of an example.
func (s *tuning) marks(store *data.Store, d int64) []int32 {
	from, to := store.Document(d)
	marks := make([]int32, to-from)
	store.Read(marks, from)
	return marks
}

// mix deals out packs of examples and windows of replayed text, and fixes the number of steps.
func (s *tuning) mix(r *recipe.Run) (err error) {
	var replayed data.Units
	if s.replay != nil {
		if replayed, err = data.NewWindows(s.replay.Train, s.c.SequenceLength); err != nil {
			return err
		}
	}
	if s.mixture, err = s.mixed(replayed); err != nil {
		return err
	}
	if r.Training.Steps == 0 {
		r.Training.Steps = s.stepsOf(s.mixture, s.c.Epochs)
	}
	return nil
}

// mixed deals out packs of examples and, where there is any, replayed text.
func (s *tuning) mixed(replayed data.Units) (*data.Mixture, error) {
	var weighted []data.Weighted
	for i, share := range s.shares() {
		weighted = append(weighted, data.Weighted{Units: s.sources[i].packs, Weight: s.ours() * share})
	}
	if replayed != nil {
		weighted = append(weighted, data.Weighted{Units: replayed, Weight: s.c.Replay.Ratio})
	}
	return data.NewMixture(s.c.MixtureConfig(), weighted...)
}

// ours is the share of the sequences that are examples; the others are replayed text.
func (s *tuning) ours() float64 {
	if len(s.c.Replay.Data) == 0 && !s.c.Replay.Self {
		return 1
	}
	return 1 - s.c.Replay.Ratio
}

// stepsOf is how many whole steps show every example so many times; where sources have shares of their own, on average.
func (s *tuning) stepsOf(m *data.Mixture, epochs float64) int {
	steps := epochs * s.epoch()
	if len(s.sources) == 1 { // to the last pack: the share of replayed text is not quite what was asked for
		packs := int64(math.Ceil(epochs * float64(s.sources[0].packs.Count())))
		steps = float64(m.Until(0, packs)) / float64(m.PerStep())
	}
	// a step more rather than examples that are never seen
	return max(1, int(math.Ceil(steps)))
}

// epoch is about the steps that show every example once.
func (s *tuning) epoch() float64 {
	packs, perStep := int64(0), s.c.BatchSize*s.c.GradientAccumulationSteps
	for _, e := range s.sources {
		packs += e.packs.Count()
	}
	return float64(packs) / s.ours() / float64(perStep) // replayed sequences make it longer
}

// Config is none: the model is opened from its folder.
func (s *tuning) Config(*recipe.Run) ([]byte, error) { return nil, nil }

// SetLoop gives the loop its packs and, where there is something to measure on, its evaluation.
func (s *tuning) SetLoop(r *recipe.Run) (err error) {
	r.Loop.Batches = func(_ context.Context, step int) ([]data.Batch, error) { return s.mixture.Step(step), nil }
	if s.heldOut() || s.general != nil {
		r.Loop.Evaluate = func(ctx context.Context) (map[string]float64, error) { return s.evaluate(ctx, r) }
	}
	return r.TrainNextToken()
}

// evaluate is the loss on held-out examples, and on general text as far as there is any, whose rise is what
// is forgotten.
func (s *tuning) evaluate(ctx context.Context, r *recipe.Run) (map[string]float64, error) {
	metrics := map[string]float64{}
	if s.heldOut() {
		loss, err := s.heldLoss(ctx, r, metrics)
		if err != nil {
			return nil, err
		}
		metrics["loss"], metrics["perplexity"] = loss, math.Exp(loss)
	}
	return metrics, s.forgotten(ctx, r, metrics)
}

// Measures are the names in what evaluate returns.
func (s *tuning) Measures() []string {
	var names []string
	if s.heldOut() {
		names = append(names, "loss", "perplexity")
		for _, e := range s.sources {
			if len(s.sources) > 1 && e.held != nil {
				names = append(names, "loss/"+e.name)
			}
		}
	}
	if s.general != nil {
		names = append(names, "general_loss", "forgetting")
	}
	return names
}

// Ignores tells the keys of sources and replay that are not in use.
func (s *tuning) Ignores(key string) bool {
	switch {
	case key == "data_weights" || key == "data_temperature":
		return s.c.Unused(key) != ""
	case key == "replay.data": // judged by its contents
		return s.replay != nil
	case key == "replay.ratio":
		return s.replay == nil
	case key == "replay.self_tokens":
		return !s.c.Replay.Self
	}
	return false
}

// Identity is the examples and texts as tokens, and the order in which sources alternate.
func (s *tuning) Identity() map[string]string {
	id := identity(s.fingerprint())
	if s.replay != nil {
		id["contents of replay.data"] = s.replay.Train.Fingerprint()
	}
	// which checkpoints of mixed sources lack that were made when sources alternated otherwise
	if order := s.mixture.Order(); order != "" {
		id["order of the sources"] = order
	}
	return id
}

// Example is the first one, in parts that are learned or not.
func (s *tuning) Example(r *recipe.Run) []train.Part {
	return recipe.Parts(r.Tokenizer, s.marks(s.sources[0].train, 0))
}

// Info tells how many examples there are, how full they make sequences, and how many were cut or left out, and why.
func (s *tuning) Info() (map[string]any, string) {
	values := map[string]any{"steps_per_epoch": s.epoch()}
	packs := int64(0)
	sum := func(key string, n int64) { before, _ := values[key].(int64); values[key] = before + n }
	for _, e := range s.sources {
		packs += e.packs.Count()
		sum("train_tokens", e.packs.Tokens())
		sum("train_examples", e.packs.Examples())
		if e.held != nil {
			sum("held_tokens", e.held.Tokens())
			sum("held_examples", e.held.Documents())
		}
	}
	fill := s.packFill()
	values["packs"], values["pack_fill"] = packs, fill
	cut, left := example.CutAndLeft(&s.stats)
	values["examples_cut"], values["examples_left_out"] = cut, left
	return values, fmt.Sprintf("examples: %s; %d sequences, %.0f%% full", example.Counted(&s.stats), packs, 100*fill)
}

// packFill is the share of the packs of examples that tokens fill.
func (s *tuning) packFill() float64 {
	tokens, packs := int64(0), int64(0)
	for _, e := range s.sources {
		tokens, packs = tokens+e.packs.Tokens(), packs+e.packs.Count()
	}
	return float64(tokens) / float64(packs*int64(s.c.SequenceLength))
}

// looked is how many steps' examples are looked at to find the largest and a typical batch of them.
const looked = 100

// Fill looks at batches of examples. Text that is replayed is not there beforehand: with it batches count as
// full and learned throughout, as they do at another length than examples were packed to.
func (s *tuning) Fill() (recipe.Fill, error) {
	if s.ours() < 1 || s.c.SequenceLength != s.packed {
		return s.c.Full()
	}
	mixture, err := s.mixed(nil)
	if err != nil {
		return recipe.Fill{}, err
	}
	var batches []data.Batch
	// Of one epoch, whatever the run's: the others have the same packs in another order.
	steps, sum := s.stepsOf(mixture, 1), 0
	size := func(b *data.Batch) int { return b.Rows() + b.Supervised() } // the head computes logits of learned tokens alone
	for step := 0; step < steps; step += max(1, steps/looked) {
		for _, b := range mixture.Step(step) {
			batches, sum = append(batches, b), sum+size(&b)
		}
	}
	slices.SortFunc(batches, func(a, b data.Batch) int { return size(&a) - size(&b) })
	typical := sort.Search(len(batches)-1, func(i int) bool { return size(&batches[i]) >= sum/len(batches) })
	return recipe.Fill{Rows: s.packFill(), Largest: batches[len(batches)-1], Typical: batches[typical]}, nil
}

// Summarise adds nothing.
func (s *tuning) Summarise(*recipe.Summary) {}

// Beside puts the chat template with the model, as transformers does.
func (s *tuning) Beside(dir string) error {
	return s.template.Save(dir)
}

// Prompts are those of the recipe, or the beginnings of held-out examples up to the first token to be learned.
func (s *tuning) Prompts(r *recipe.Run) (ids [][]int32, texts []string) {
	if len(r.Training.Samples.Prompts) > 0 {
		return r.GivenPrompts()
	}
	held := s.sources[0].held
	if held == nil {
		return nil, nil
	}
	most := r.Model.Shape().MaxPositions - 1
	for d := range min(3, held.Documents()) {
		marks := s.marks(held, d)
		var prompt []int32
		for _, mark := range marks[:min(len(marks), most)] {
			id, learned := data.Unmark(mark)
			if learned {
				break
			}
			prompt = append(prompt, id)
		}
		ids, texts = append(ids, prompt), append(texts, string(r.Tokenizer.Decode(prompt)))
	}
	return ids, texts
}

// Plan says what the run will take, and starts nothing. With memory set it is with the chosen recompute, and
// an error when nothing fits. Examples are read and counted; what that writes is removed again.
func (c *SFT) Plan(ctx context.Context, env recipe.Env) (p *recipe.Planned, err error) {
	config, err := model.ReadConfig(c.Model)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hone-plan-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &tuning{c: c}
	r := &recipe.Run{Stage: s, Training: &c.Training, From: c.Model, Env: env.WithDefaults(), Folder: recipe.Folder{Dir: dir}}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.openTokenizer(r); err != nil {
		return nil, err
	}
	if err := s.openExamples(ctx, r); err != nil {
		return nil, err
	}
	m, err := c.Training.PlanStep(config, c.Model, s.Fill)
	if err != nil {
		return nil, err
	}
	ours, replayed := s.ours(), data.Units(nil)
	if ours < 1 {
		replayed = s.sources[0].packs // whatever the text will be, its turns are the same
	}
	mixture, err := s.mixed(replayed)
	if err != nil {
		return nil, err
	}
	steps := cmp.Or(c.Steps, s.stepsOf(mixture, c.Epochs))
	if p, err = c.Training.Planned("sft", m, steps, s.packFill()*ours+1-ours, env.Meter); err == nil {
		p.Notes = c.Notes(steps, s.epoch())
	}
	return p, err
}
