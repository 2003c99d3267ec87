package recipe

import (
	"context"
	"errors"
	"fmt"
	"math"

	"hone/chat"
	"hone/data"
	"hone/tokenizer"
	"hone/train"
)

// Run fine-tunes a model on examples; the result is OUT/model, or OUT/adapter with method=lora. When ctx is cancelled it saves,
// and the summary says Interrupted.
func (c *SFT) Run(ctx context.Context, env Env) (*Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return execute(ctx, &run{stage: &tuning{c: c}, c: &c.Training, whole: c, dir: c.Model, env: env, plans: true})
}

// tuning is the stage of fine-tuning on examples.
type tuning struct {
	c           *SFT
	sources     []*examples
	replay      *corpus       // nil without replay
	text        *corpus       // of forgetting.data, nil without it
	general     *data.Windows // text to measure forgetting on, nil without any
	generalText string        // its fingerprint
	base        baseLoss
	mixture     *data.Mixture
	template    *chat.Template // nil when the model has none
	stats       data.Stats
}

func (s *tuning) close() error {
	var errs []error
	for _, e := range s.sources {
		errs = append(errs, e.close())
	}
	if s.replay != nil {
		errs = append(errs, s.replay.close())
	}
	if s.text != nil {
		errs = append(errs, s.text.close())
	}
	return errors.Join(errs...)
}

func (s *tuning) openData(ctx context.Context, r *run) (err error) {
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

func (s *tuning) openTokenizer(r *run) (err error) {
	if r.tok, err = tokenizer.Load(s.c.Model); err != nil {
		return err
	}
	if bos, ok := r.tok.BOS(); ok {
		r.begin = []int32{bos}
	}
	s.template, err = s.c.template(r.tok)
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
func (s *tuning) mix(r *run) (err error) {
	ours := s.ours()
	var weighted []data.Weighted
	for i, share := range s.shares() {
		weighted = append(weighted, data.Weighted{Units: s.sources[i].packs, Weight: ours * share})
	}
	if s.replay != nil {
		windows, err := data.NewWindows(s.replay.train, s.c.SequenceLength)
		if err != nil {
			return err
		}
		weighted = append(weighted, data.Weighted{Units: windows, Weight: s.c.Replay.Ratio})
	}
	if s.mixture, err = data.NewMixture(r.c.mixture(), weighted...); err != nil {
		return err
	}
	if r.c.Steps == 0 {
		r.c.Steps = s.stepsOf(s.c.Epochs)
	}
	return nil
}

// ours is the share of the sequences that are examples; the others are replayed text.
func (s *tuning) ours() float64 {
	if len(s.c.Replay.Data) == 0 && !s.c.Replay.Self {
		return 1
	}
	return 1 - s.c.Replay.Ratio
}

// stepsOf is how many steps show every example so many times.
func (s *tuning) stepsOf(epochs float64) int {
	packs, perStep := int64(0), s.c.BatchSize*s.c.GradientAccumulationSteps
	for _, e := range s.sources {
		packs += e.packs.Count()
	}
	return max(1, int(math.Ceil(epochs*float64(packs)/s.ours()/float64(perStep))))
}

func (s *tuning) config(*run) ([]byte, error) { return nil, nil }

func (s *tuning) setLoop(r *run) (err error) {
	r.loop.Batches = func(_ context.Context, step int) ([]data.Batch, error) { return s.mixture.Step(step), nil }
	if s.heldOut() || s.general != nil {
		r.loop.Evaluate = func(ctx context.Context) (map[string]float64, error) { return s.evaluate(ctx, r) }
	}
	return r.objective()
}

// evaluate is the loss on held-out examples, and on general text as far as there is any, whose rise is what is forgotten.
func (s *tuning) evaluate(ctx context.Context, r *run) (map[string]float64, error) {
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

// measures are the names in what evaluate returns.
func (s *tuning) measures() []string {
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

// ignores tells the keys of sources and replay that are not in use.
func (s *tuning) ignores(key string) bool {
	switch {
	case key == "data_weights" || key == "data_temperature":
		return !s.c.mixes()
	case key == "replay.data": // judged by its contents
		return s.replay != nil
	case key == "replay.ratio":
		return s.replay == nil
	case key == "replay.self_tokens":
		return !s.c.Replay.Self
	}
	return false
}

func (s *tuning) identity() map[string]string {
	id := map[string]string{"contents of data": s.fingerprint()}
	if s.replay != nil {
		id["contents of replay.data"] = fingerprint(s.replay.train)
	}
	return id
}

// example is the first one, in parts that are learned or not.
func (s *tuning) example(r *run) []train.Part {
	return partsOf(r.tok, s.marks(s.sources[0].train, 0))
}

// partsOf is a sequence of marked tokens as text that is learned or not.
func partsOf(tok *tokenizer.Tokenizer, marks []int32) (parts []train.Part) {
	for at := 0; at < len(marks); {
		_, learned := data.Unmark(marks[at])
		var ids []int32
		for ; at < len(marks); at++ {
			id, same := data.Unmark(marks[at])
			if same != learned {
				break
			}
			ids = append(ids, id)
		}
		parts = append(parts, train.Part{Text: string(tok.Decode(ids)), Supervised: learned})
	}
	return parts
}

func (s *tuning) info() (map[string]any, string) {
	values := map[string]any{"steps_per_epoch": float64(s.mixture.PerEpoch()) / float64(s.mixture.PerStep())}
	packs := int64(0)
	sum := func(key string, n int64) { before, _ := values[key].(int64); values[key] = before + n }
	for _, e := range s.sources {
		packs += e.packs.Count()
		sum("train_tokens", e.train.Tokens())
		sum("train_examples", e.train.Documents())
		if e.held != nil {
			sum("held_tokens", e.held.Tokens())
			sum("held_examples", e.held.Documents())
		}
	}
	fill := s.packFill()
	values["packs"], values["pack_fill"] = packs, fill
	cut, left := cutAndLeft(&s.stats)
	values["examples_cut"], values["examples_left_out"] = cut, left
	return values, fmt.Sprintf("examples: %s; %d sequences, %.0f%% full", counted(&s.stats), packs, 100*fill)
}

// packFill is the share of the packs of examples that tokens fill.
func (s *tuning) packFill() float64 {
	tokens, packs := int64(0), int64(0)
	for _, e := range s.sources {
		tokens, packs = tokens+e.train.Tokens(), packs+e.packs.Count()
	}
	return float64(tokens) / float64(packs*int64(s.c.SequenceLength))
}

// fill counts replayed text as full.
func (s *tuning) fill() float64 {
	ours := s.ours()
	return s.packFill()*ours + 1 - ours
}

func (s *tuning) summarise(*Summary) {}

// beside puts the chat template with the model, as transformers does.
func (s *tuning) beside(dir string) error {
	return saveTemplate(dir, s.template)
}

// prompts are those of the recipe, or the beginnings of held-out examples up to the first token to be learned.
func (s *tuning) prompts(r *run) (ids [][]int32, texts []string) {
	if len(r.c.Samples.Prompts) > 0 {
		return r.givenPrompts()
	}
	held := s.sources[0].held
	if held == nil {
		return nil, nil
	}
	most := r.model.Shape().MaxPositions - 1
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
		ids, texts = append(ids, prompt), append(texts, string(r.tok.Decode(prompt)))
	}
	return ids, texts
}
