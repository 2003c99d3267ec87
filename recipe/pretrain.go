package recipe

import (
	"context"
	"math"

	"hone/data"
	"hone/train"
)

// Run trains a model on raw text: tokenizer, token stores, model, loop, and the result in
// OUT/model. When ctx is cancelled it saves, and the summary says Interrupted.
func (c *Pretrain) Run(ctx context.Context, env Env) (*Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return execute(ctx, &run{stage: &pretraining{c: c}, c: &c.Training, whole: c, dir: c.Model.Dir, env: env, plans: true})
}

// pretraining is the stage of training on raw text.
type pretraining struct {
	c       *Pretrain
	corpus  *corpus
	mixture *data.Mixture
	base    data.Baseline
}

func (p *pretraining) close() error {
	if p.corpus == nil {
		return nil
	}
	return p.corpus.close()
}

func (p *pretraining) openData(ctx context.Context, r *run) (err error) {
	if p.corpus, err = p.c.corpus(ctx, r.folder, r.env); err != nil {
		return err
	}
	r.tok, r.begin = p.corpus.tok, p.corpus.begin
	windows, err := data.NewWindows(p.corpus.train, p.c.SequenceLength)
	if err != nil {
		return err
	}
	if p.mixture, err = data.NewMixture(r.c.mixture(), data.Weighted{Units: windows, Weight: 1}); err != nil || p.corpus.held == nil {
		return err
	}
	p.base, err = data.Baselines(p.corpus.train, p.corpus.held, 1<<24, int64(p.c.Eval.MaxTokens))
	return err
}

// config is that of a new model, with the tokenizer's special tokens.
func (p *pretraining) config(r *run) ([]byte, error) {
	if p.c.Model.Dir != "" {
		return nil, nil
	}
	text, err := p.c.Model.NewConfig(r.tok.VocabSize(), p.c.SequenceLength)
	if err != nil {
		return nil, err
	}
	return withSpecialTokens(text, r.tok)
}

func (p *pretraining) setLoop(r *run) (err error) {
	r.loop.Batches = func(_ context.Context, step int) ([]data.Batch, error) { return p.mixture.Step(step), nil }
	if p.corpus.held != nil {
		r.loop.Evaluate = func(ctx context.Context) (map[string]float64, error) { return p.evaluate(ctx, r) }
	}
	return r.objective()
}

func (p *pretraining) evaluate(ctx context.Context, r *run) (map[string]float64, error) {
	objective := heldOut(r.model)
	windows, err := data.NewWindows(p.corpus.held, p.c.SequenceLength)
	if err != nil {
		return nil, err
	}
	loss, _, err := train.HeldOut(ctx, r.tape, data.Sequential(windows, p.c.BatchSize, int64(p.c.Eval.MaxTokens)), objective)
	return map[string]float64{
		"loss": loss, "perplexity": math.Exp(loss), "bits_per_byte": p.corpus.held.BitsPerByte(loss),
	}, err
}

// measures are the names in what evaluate returns.
func (p *pretraining) measures() []string { return []string{"loss", "perplexity", "bits_per_byte"} }

func (p *pretraining) identity() map[string]string {
	return map[string]string{"contents of data": fingerprint(p.corpus.train)}
}

func (p *pretraining) info() (map[string]any, string) {
	values := map[string]any{
		"train_tokens": p.corpus.train.Tokens(), "train_documents": p.corpus.train.Documents(),
		"bytes_per_token": p.corpus.train.BytesPerToken(), "tokens_per_step": p.mixture.PerStep() * int64(p.c.SequenceLength),
		"steps_per_epoch": float64(p.mixture.PerEpoch()) / float64(p.mixture.PerStep()),
	}
	if p.corpus.held != nil {
		values["held_tokens"], values["held_documents"] = p.corpus.held.Tokens(), p.corpus.held.Documents()
		values["unigram_loss"], values["bigram_loss"] = p.base.Unigram, p.base.Bigram
	}
	return values, "data: " + p.corpus.stats.String()
}

func (p *pretraining) beside(string) error { return nil }

func (p *pretraining) example(*run) []train.Part { return nil }

func (p *pretraining) summarise(s *Summary) {
	s.Unigram, s.Bigram, s.BytesPerToken = p.base.Unigram, p.base.Bigram, p.corpus.train.BytesPerToken()
}

// prompts are those of the recipe or the beginnings of held-out documents, as tokens and as text.
// They leave room for at least one new token.
func (p *pretraining) prompts(r *run) (ids [][]int32, texts []string) {
	if len(r.c.Samples.Prompts) > 0 || p.corpus.held == nil {
		return r.givenPrompts()
	}
	most := r.model.Shape().MaxPositions - 1
	for d := range min(3, p.corpus.held.Documents()) {
		t := beginning(p.corpus.held, d, min(most, 16))
		ids = append(ids, t)
		texts = append(texts, string(r.tok.Decode(t[min(len(t), len(r.begin)):])))
	}
	return ids, texts
}

func beginning(s *data.Store, d int64, most int) []int32 {
	from, to := s.Document(d)
	t := make([]int32, min(int64(most), to-from))
	s.Read(t, from)
	return t
}
