// Package lm has the recipes that learn to predict the next token: pre-training on text, and
// supervised fine-tuning on examples.
//
// Both turn their sources into token stores below OUT/tokens (corpus.go, sft_sources.go), cut these into
// windows or packs of sequence_length tokens, and deal them out as a function of the step (data.Mixture).
// Which tokens are learned is marked in the stores: all of a text, of examples the answers.
//
//	pretrain.go, pretrain_config.go   pre-training: the stage; its keys
//	model.go, corpus.go               a new model's config.json; text as tokens, and the tokenizer
//	sft.go, sft_config.go             fine-tuning: the stage; its keys
//	sft_sources.go, sft_encode.go     several sources of examples, and their shares; records as marked tokens
//	sft_check.go                      what is refused before the first step: no answer that ends, packing that leaks
//	replay.go, forgetting.go          text of pre-training mixed in, and how much is forgotten
package lm

import (
	"context"
	"math"
	"slices"

	"hone/data"
	"hone/model"
	"hone/nn"
	"hone/recipe"
	"hone/tokenizer"
	"hone/train"
)

// Run trains a model on raw text: tokenizer, token stores, model, loop, and the result in
// OUT/model. When ctx is cancelled it saves, and the summary says Interrupted.
func (c *Pretrain) Run(ctx context.Context, env recipe.Env) (*recipe.Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return recipe.Execute(ctx, &recipe.Run{
		Stage: &pretraining{c: c}, Training: &c.Training, Recipe: c, From: c.Model.Dir, Env: env, NextToken: true,
	})
}

// pretraining is the stage of training on raw text.
type pretraining struct {
	c       *Pretrain
	corpus  *Corpus
	mixture *data.Mixture // windows of the text, dealt out by step
	base    data.Baseline // what a model must beat
}

func (p *pretraining) Close() error {
	if p.corpus == nil { // OpenData failed
		return nil
	}
	return p.corpus.Close()
}

// OpenData makes token stores, deals windows of them out, and counts what a model must beat.
func (p *pretraining) OpenData(ctx context.Context, r *recipe.Run) (err error) {
	if p.corpus, err = p.c.Open(ctx, r.Folder, r.Env); err != nil {
		return err
	}
	r.Tokenizer, r.Begin = p.corpus.Tokenizer, p.corpus.Begin
	windows, err := data.NewWindows(p.corpus.Train, p.c.SequenceLength)
	if err != nil {
		return err
	}
	p.mixture, err = data.NewMixture(r.Training.MixtureConfig(), data.Weighted{Units: windows, Weight: 1})
	if err != nil || p.corpus.Held == nil {
		return err
	}
	// what a model must beat to have learned anything: predictions by counts of tokens and of pairs in the
	// first 16 million tokens of the training text
	p.base, err = data.Baselines(p.corpus.Train, p.corpus.Held, 1<<24, int64(p.c.Eval.MaxTokens))
	return err
}

// Config is that of a new model, with the tokenizer's special tokens.
func (p *pretraining) Config(r *recipe.Run) ([]byte, error) {
	if p.c.Model.Dir != "" {
		return nil, nil
	}
	text, err := p.c.Model.NewConfig(r.Tokenizer.VocabSize(), p.c.SequenceLength)
	if err != nil {
		return nil, err
	}
	return withSpecialTokens(text, r.Tokenizer)
}

// SetLoop gives the loop its windows and, where text is held out, its evaluation.
func (p *pretraining) SetLoop(r *recipe.Run) (err error) {
	r.Loop.Batches = func(_ context.Context, step int) ([]data.Batch, error) { return p.mixture.Step(step), nil }
	if p.corpus.Held != nil {
		// always on the same windows from the first on, so that evaluations compare
		r.Loop.Evaluate = func(ctx context.Context) (map[string]float64, error) { return p.evaluate(ctx, r) }
	}
	return r.TrainNextToken()
}

// evaluate is the mean loss of a held-out token in nats, and the same per byte, which compares between tokenizers.
func (p *pretraining) evaluate(ctx context.Context, r *recipe.Run) (map[string]float64, error) {
	windows, err := data.NewWindows(p.corpus.Held, p.c.SequenceLength)
	if err != nil {
		return nil, err
	}
	loss, _, err := train.HeldOut(ctx, r.Tape, data.Sequential(windows, p.c.BatchSize, int64(p.c.Eval.MaxTokens)),
		recipe.HeldOut(r.Model))
	return map[string]float64{
		"loss": loss, "perplexity": math.Exp(loss), "bits_per_byte": p.corpus.Held.BitsPerByte(loss),
	}, err
}

// Measures are the names in what evaluate returns.
func (p *pretraining) Measures() []string { return []string{"loss", "perplexity", "bits_per_byte"} }

// Identity is the text as tokens: a file that moved or was cut into others goes on, one that changed does not.
func (p *pretraining) Identity() map[string]string {
	return identity(p.corpus.Train.Fingerprint())
}

// Info tells how much text there is, and what counts of tokens and of pairs of tokens predict of it.
func (p *pretraining) Info() (map[string]any, string) {
	values := map[string]any{
		"train_tokens": p.corpus.Train.Tokens(), "train_documents": p.corpus.Train.Documents(),
		"bytes_per_token": p.corpus.Train.BytesPerToken(), "tokens_per_step": p.mixture.PerStep() * int64(p.c.SequenceLength),
		"steps_per_epoch": float64(p.mixture.PerEpoch()) / float64(p.mixture.PerStep()),
	}
	if p.corpus.Held != nil {
		values["held_tokens"], values["held_documents"] = p.corpus.Held.Tokens(), p.corpus.Held.Documents()
		values["unigram_loss"], values["bigram_loss"] = p.base.Unigram, p.base.Bigram
	}
	return values, "data: " + p.corpus.Stats.String()
}

// Beside has nothing: tokenizer and weights are all.
func (p *pretraining) Beside(string) error { return nil }

// Example has nothing: all of a text is learned.
func (p *pretraining) Example(*recipe.Run) []train.Part { return nil }

func (p *pretraining) Summarise(s *recipe.Summary) {
	s.Unigram, s.Bigram, s.BytesPerToken = p.base.Unigram, p.base.Bigram, p.corpus.Train.BytesPerToken()
}

// Prompts are those of the recipe or the beginnings of held-out documents, as tokens and as text.
// They leave room for at least one new token.
func (p *pretraining) Prompts(r *recipe.Run) (ids [][]int32, texts []string) {
	if len(r.Training.Samples.Prompts) > 0 || p.corpus.Held == nil {
		return r.GivenPrompts()
	}
	most := r.Model.Shape().MaxPositions - 1
	for d := range min(3, p.corpus.Held.Documents()) {
		t := beginning(p.corpus.Held, d, min(most, 16))
		ids = append(ids, t)
		texts = append(texts, string(r.Tokenizer.Decode(t[min(len(t), len(r.Begin)):])))
	}
	return ids, texts
}

// beginning is the first tokens of a document, at most most.
func beginning(s *data.Store, d int64, most int) []int32 {
	from, to := s.Document(d)
	t := make([]int32, min(int64(most), to-from))
	s.Read(t, from)
	return t
}

// withSpecialTokens adds the tokenizer's special tokens to a config.json.
func withSpecialTokens(text []byte, tok *tokenizer.Tokenizer) ([]byte, error) {
	set := map[string]any{}
	for key, token := range map[string]func() (int32, bool){
		"bos_token_id": tok.BOS, "eos_token_id": tok.EOS, "pad_token_id": tok.PAD,
	} {
		if id, ok := token(); ok {
			set[key] = id
		}
	}
	return nn.EditConfig(text, set)
}

// Plan says what the run will take, as (*SFT).Plan does. The vocabulary of a tokenizer that is not
// trained yet is taken to be as large as was asked for.
func (c *Pretrain) Plan(_ context.Context, env recipe.Env) (*recipe.Planned, error) {
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	size, err := c.sources(c.Data).Size() // the data is not read, but it is there
	if err != nil {
		return nil, err
	}
	m, err := c.Training.PlanStep(config, c.Model.Dir, c.fill)
	if err != nil {
		return nil, err
	}
	p, err := c.Training.Planned("pretrain", m, c.Steps, 1, env.Meter)
	if err == nil {
		const bytes = 4 // of a token, about
		p.Notes = c.Notes(c.Steps, float64(size)/float64(bytes*c.BatchSize*c.SequenceLength*c.GradientAccumulationSteps))
	}
	return p, err
}

// fill is full batches, the largest of which a document ends in: its last token predicts nothing, and the
// hidden states of the others are copied for the output layer, which a batch of one document does without.
func (c *Pretrain) fill() (recipe.Fill, error) {
	f, err := c.Full()
	if err == nil {
		f.Largest.Targets = slices.Clone(f.Largest.Targets) // of the typical batch, too
		f.Largest.Targets[0] = data.Ignore
		f.Largest.Tokens--
	}
	return f, err
}

// Fill is that of the run.
func (p *pretraining) Fill() (recipe.Fill, error) { return p.c.fill() }

// config is that of the model, before there is a tokenizer.
func (c *Pretrain) config() ([]byte, error) {
	if c.Model.Dir != "" {
		return model.ReadConfig(c.Model.Dir)
	}
	vocab := c.Tokenizer.VocabSize
	if c.Tokenizer.Path != "" {
		tok, err := tokenizer.Load(c.Tokenizer.Path)
		if err != nil {
			return nil, err
		}
		vocab = tok.VocabSize()
	}
	return c.Model.NewConfig(vocab, c.SequenceLength)
}
