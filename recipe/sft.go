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
	return execute(ctx, &run{stage: &tuning{c: c}, c: &c.Training, whole: c, dir: c.Model, env: env})
}

// tuning is the stage of fine-tuning on examples.
type tuning struct {
	c           *SFT
	train, held *data.Store // marked tokens; held is nil when nothing is held out
	packs       *data.Packs
	heldPacks   *data.Packs
	replay      *corpus // nil without replay
	mixture     *data.Mixture
	template    *chat.Template // nil when the model has none
	stats       data.Stats
}

func (s *tuning) close() error {
	var errs []error
	for _, store := range []*data.Store{s.train, s.held} {
		if store != nil {
			errs = append(errs, store.Close())
		}
	}
	if s.replay != nil {
		errs = append(errs, s.replay.close())
	}
	return errors.Join(errs...)
}

func (s *tuning) openData(ctx context.Context, r *run) (err error) {
	if r.tok, err = tokenizer.Load(s.c.Model); err != nil {
		return err
	}
	if bos, ok := r.tok.BOS(); ok {
		r.begin = []int32{bos}
	}
	if s.template, err = s.c.template(r.tok); err != nil {
		return err
	}
	if err := s.openExamples(ctx, r); err != nil {
		return err
	}
	if err := s.openReplay(ctx, r); err != nil {
		return err
	}
	if err := s.mix(r); err != nil {
		return err
	}
	return s.checkEnds(r)
}

// checkEnds refuses examples from which a model cannot learn to end its answer: none of the first ones has a special token
// among what is learned.
func (s *tuning) checkEnds(r *run) error {
	const looked = 200
	eos, _ := r.tok.EOS()
	for d := range min(looked, s.train.Documents()) {
		for _, mark := range s.marks(s.train, d) {
			if id, learned := data.Unmark(mark); learned && (id == eos || r.tok.IsSpecial(id)) {
				return nil
			}
		}
	}
	return errors.New("no example teaches the model to end its answer: the template ends turns with what is no special token of the tokenizer, or sequence_length cuts " +
		"every answer; use a template that ends turns with the tokenizer's own end token, such as chat_template=zephyr, or raise sequence_length")
}

// marks are the marked tokens of an example.
func (s *tuning) marks(store *data.Store, d int64) []int32 {
	from, to := store.Document(d)
	marks := make([]int32, to-from)
	store.Read(marks, from)
	return marks
}

// openExamples turns the records into stores of marked tokens.
func (s *tuning) openExamples(ctx context.Context, r *run) (err error) {
	fraction := s.c.ValidationFraction
	if len(s.c.ValidationData) > 0 {
		fraction = 0
	}
	if s.train, s.held, err = s.build(ctx, r, s.c.Data, fraction, &s.stats); err != nil {
		return err
	}
	if len(s.c.ValidationData) > 0 {
		if s.held, _, err = s.build(ctx, r, s.c.ValidationData, 0, &data.Stats{}); err != nil {
			return err
		}
	}
	if s.train.Documents() == 0 || s.held != nil && s.held.Documents() == 0 {
		return fmt.Errorf("no example is left to learn from or to hold out (%s); raise sequence_length or give more examples", s.stats.String())
	}
	if s.packs, err = data.NewPacks(s.train, s.c.SequenceLength, s.c.Packing); err != nil {
		return err
	}
	if s.held == nil {
		return nil
	}
	s.heldPacks, err = data.NewPacks(s.held, s.c.SequenceLength, s.c.Packing)
	return err
}

func (s *tuning) build(ctx context.Context, r *run, paths []string, fraction float64, stats *data.Stats) (train, held *data.Store, err error) {
	src := data.Sources{Paths: paths, OnBadRecord: data.BadRecord(s.c.OnBadRecord), Records: true}
	key, err := src.Key()
	if err != nil {
		return nil, nil, err
	}
	how := ""
	if s.template != nil {
		how = s.template.Source()
	}
	return data.Build(ctx, src.Documents(stats), data.BuildConfig{
		Dir: r.folder.path(tokensName), Vocab: 2 * r.tok.VocabSize(),
		Fingerprint: fmt.Sprintf("%s examples %s %s %d %q", r.tok.Fingerprint(), s.c.LossOn, s.c.TooLong, s.c.SequenceLength, how),
		Encoder: func() data.Encoder {
			return &exampleEncoder{c: s.c, tok: r.tok, enc: r.tok.NewEncoder(), template: s.template}
		},
		Validation: fraction, SourceKey: key, Stats: stats, Workers: s.c.workers(),
		Progress: func(p data.Progress) { r.env.Progress("examples", p.Bytes, 0) },
	})
}

// openReplay opens the text to be mixed in.
func (s *tuning) openReplay(ctx context.Context, r *run) (err error) {
	if len(s.c.Replay.Data) == 0 {
		return nil
	}
	c := DefaultPretrain()
	c.Data, c.Training, c.Model.Dir, c.OnBadRecord = s.c.Replay.Data, s.c.Training, s.c.Model, s.c.OnBadRecord
	s.replay, err = c.corpus(ctx, r.folder, r.env)
	return err
}

// mix deals out packs of examples and windows of replayed text, and fixes the number of steps.
func (s *tuning) mix(r *run) (err error) {
	sources := []data.Weighted{{Units: s.packs, Weight: 1}}
	if s.replay != nil {
		windows, err := data.NewWindows(s.replay.train, s.c.SequenceLength)
		if err != nil {
			return err
		}
		sources = []data.Weighted{{Units: s.packs, Weight: 1 - s.c.Replay.Ratio}, {Units: windows, Weight: s.c.Replay.Ratio}}
	}
	if s.mixture, err = data.NewMixture(r.c.mixture(), sources...); err != nil {
		return err
	}
	if r.c.Steps == 0 {
		units := s.c.Epochs * float64(s.packs.Count()) / sources[0].Weight
		r.c.Steps = max(1, int(math.Ceil(units/float64(s.mixture.PerStep()))))
	}
	return nil
}

func (s *tuning) config(*run) ([]byte, error) { return nil, nil }

func (s *tuning) setLoop(r *run) (err error) {
	r.loop.Batches = func(_ context.Context, step int) ([]data.Batch, error) { return s.mixture.Step(step), nil }
	if s.held != nil {
		r.loop.Evaluate = func(ctx context.Context) (map[string]float64, error) { return s.evaluate(ctx, r) }
	}
	return r.objective()
}

// evaluate is the loss on held-out examples and, with replay, on held-out text, whose rise is what is forgotten.
func (s *tuning) evaluate(ctx context.Context, r *run) (map[string]float64, error) {
	objective := heldOut(r.model)
	loss, _, err := train.HeldOut(ctx, r.tape, data.Sequential(s.heldPacks, s.c.BatchSize, int64(s.c.Eval.MaxTokens)), objective)
	metrics := map[string]float64{"loss": loss, "perplexity": math.Exp(loss)}
	if err != nil || s.replay == nil || s.replay.held == nil {
		return metrics, err
	}
	windows, err := data.NewWindows(s.replay.held, s.c.SequenceLength)
	if err != nil {
		return nil, err
	}
	text, _, err := train.HeldOut(ctx, r.tape, data.Sequential(windows, s.c.BatchSize, int64(s.c.Eval.MaxTokens)), objective)
	metrics["replay_loss"] = text
	return metrics, err
}

func (s *tuning) identity() map[string]string {
	id := map[string]string{"contents of data": fingerprint(s.train)}
	if s.replay != nil {
		id["contents of replay.data"] = fingerprint(s.replay.train)
	}
	return id
}

// example is the first one, in parts that are learned or not.
func (s *tuning) example(r *run) []train.Part {
	return partsOf(r.tok, s.marks(s.train, 0))
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
	values := map[string]any{
		"train_tokens": s.train.Tokens(), "train_examples": s.train.Documents(), "packs": s.packs.Count(), "pack_fill": s.packs.Fill(),
		"steps_per_epoch": float64(s.mixture.PerEpoch()) / float64(s.mixture.PerStep()),
	}
	if s.held != nil {
		values["held_tokens"], values["held_examples"] = s.held.Tokens(), s.held.Documents()
	}
	return values, fmt.Sprintf("examples: %s; %d sequences, %.0f%% full", s.stats.String(), s.packs.Count(), 100*s.packs.Fill())
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
	if s.held == nil {
		return nil, nil
	}
	most := r.model.Shape().MaxPositions - 1
	for d := range min(3, s.held.Documents()) {
		marks := s.marks(s.held, d)
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
