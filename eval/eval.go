// Package eval measures language models on text: loss, perplexity and bits per byte.
//
//	m := eval.Model{Dev: dev, DType: device.F32, Model: model, Tokenizer: tok}
//	result, err := eval.Run(ctx, m, documents, eval.Config{Length: 1024, Stride: 512, BatchSize: 8})
//
// Documents are cut into windows, windows packed into batches, and each token is scored once, by the
// first window that has it. Sums are in float64, and perplexity is that of all tokens together, not a
// mean of documents' perplexities.
package eval

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"

	"hone/data"
	"hone/device"
	"hone/nn"
	"hone/tensor"
	"hone/tokenizer"
)

// Model is what is measured.
type Model struct {
	Dev   device.Device
	DType device.DType // of the activations
	nn.Model
	Tokenizer *tokenizer.Tokenizer
}

// Config says how documents are cut. A document longer than Length tokens is read through windows of Length
// that move by Stride; in each only the tokens that no window before has scored count. With Stride equal to
// Length windows do not overlap, which is fastest and gives the tokens after each cut no context; a smaller
// Stride gives each token at least Length-Stride tokens of context.
type Config struct {
	Length    int   // tokens of a window, at least 2
	Stride    int   // from 1 to Length
	BatchSize int   // windows that run side by side
	MaxTokens int64 // stop after about this many scored tokens; 0: all
	First     int   // score only so many tokens of each document; 0: all
	// Progress is called now and then with the tokens scored so far; may be nil.
	Progress func(tokens int64)
}

// Validate reports the first setting out of its range.
func (c Config) Validate() error {
	switch {
	case c.Length < 2:
		return fmt.Errorf("sequence_length is %d: use at least 2", c.Length)
	case c.Stride < 1 || c.Stride > c.Length:
		return fmt.Errorf("stride is %d: use 1 to sequence_length, which is %d", c.Stride, c.Length)
	case c.BatchSize < 1:
		return fmt.Errorf("batch_size is %d: use at least 1", c.BatchSize)
	case c.MaxTokens < 0:
		return fmt.Errorf("max_tokens is %d: use 0 (all) or more", c.MaxTokens)
	case c.First < 0:
		return fmt.Errorf("of each document %d tokens are to be scored: use 0 (all) or more", c.First)
	}
	return nil
}

// Result is the outcome over all documents; every token weighs the same.
type Result struct {
	Loss        float64 `json:"loss"`          // mean negative log-probability of a token, in nats
	Perplexity  float64 `json:"perplexity"`    // e^Loss
	BitsPerByte float64 `json:"bits_per_byte"` // of the text that the scored tokens spell: comparable between tokenizers
	Tokens      int64   `json:"tokens"`        // scored
	Bytes       int64   `json:"bytes"`         // that these tokens spell
	Documents   int     `json:"documents"`
	Length      int     `json:"sequence_length"`
	Stride      int     `json:"stride"`
}

// Document is the outcome for one document.
type Document struct {
	Nats   float64 // negative log-probability of the scored tokens
	Tokens int
	Bytes  int // that these tokens spell
}

// BitsPerByte is comparable between tokenizers; 0 when nothing was scored.
func (d Document) BitsPerByte() float64 {
	if d.Bytes == 0 {
		return 0
	}
	return d.Nats / math.Ln2 / float64(d.Bytes)
}

// Perplexity is that of a token; 1 when nothing was scored.
func (d Document) Perplexity() float64 { return math.Exp(d.Nats / float64(max(1, d.Tokens))) }

// Run measures m on documents. Each starts after what the tokenizer's post-processor puts before a text, or
// else the end-of-text (or else beginning-of-text) token, so that its first token is scored too; with a
// tokenizer that has neither, the first token only gives context.
func Run(ctx context.Context, m Model, docs iter.Seq2[data.Document, error], cfg Config) (Result, error) {
	r, err := newRunner(m, cfg)
	if err != nil {
		return Result{}, err
	}
	defer r.tape.Reset()
	for doc, err := range docs {
		if err != nil {
			return Result{}, err
		}
		if err := r.document(ctx, doc.Text); err != nil {
			return Result{}, fmt.Errorf("evaluate %s: %w", doc.Place(), err)
		}
		if cfg.MaxTokens > 0 && r.result.Tokens+int64(r.pending) >= cfg.MaxTokens {
			break
		}
	}
	if err := r.flush(ctx); err != nil {
		return Result{}, fmt.Errorf("evaluate: %w", err)
	}
	return r.finish()
}

// Each measures m on every text by itself. Texts run side by side in batches, which changes no more than
// the rounding of what one scores.
func Each(ctx context.Context, m Model, texts [][]byte, cfg Config) ([]Document, error) {
	r, err := newRunner(m, cfg)
	if err != nil {
		return nil, err
	}
	defer r.tape.Reset()
	r.each = make([]Document, len(texts))
	for i, text := range texts {
		r.current = i
		if err := r.document(ctx, text); err != nil {
			return nil, fmt.Errorf("evaluate: %w", err)
		}
	}
	if err := r.flush(ctx); err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	return r.each, nil
}

// newRunner checks the configuration.
func newRunner(m Model, cfg Config) (*runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if most := m.Shape().MaxPositions; most > 0 && cfg.Length > most {
		return nil, fmt.Errorf("sequence_length is %d, but the model's context is %d: lower it", cfg.Length, most)
	}
	return &runner{Model: m, cfg: cfg, tape: tensor.NewTape(m.Dev, m.DType),
		result: Result{Length: cfg.Length, Stride: cfg.Stride}}, nil
}

// runner collects windows and runs them a batch at a time.
type runner struct {
	Model
	cfg     Config
	tape    *tensor.Tape
	tokens  []int32 // of the document at hand
	batch   batch
	pending int // scored tokens in the batch
	nats    float64
	result  Result
	each    []Document // nil when only all documents together are measured
	current int        // the document at hand
}

// batch is windows packed one after the other.
type batch struct {
	ids, targets, positions []int32
	owners                  []int32 // the document of each, when they are measured one by one
	offsets                 []int32
}

// document cuts a text into windows; see Config.
func (r *runner) document(ctx context.Context, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	r.result.Documents++
	r.tokens = r.Tokenizer.Encode(append(r.tokens[:0], r.Tokenizer.Start()...), text)
	if r.cfg.First > 0 {
		r.tokens = r.tokens[:min(len(r.tokens), r.cfg.First+1)]
	}
	scored := 1 // tokens before it need no more scoring; the first has nothing before it
	for from := 0; scored < len(r.tokens); from += r.cfg.Stride {
		to := min(from+r.cfg.Length, len(r.tokens)-1) // inputs; the last target is token to
		if to+1 > scored {
			if err := r.window(ctx, from, to, scored); err != nil {
				return err
			}
			scored = to + 1
		}
		if r.cfg.MaxTokens > 0 && r.result.Tokens+int64(r.pending) >= r.cfg.MaxTokens {
			return nil
		}
	}
	return nil
}

// window adds inputs from to to; targets before token scored do not count.
func (r *runner) window(ctx context.Context, from, to, scored int) error {
	b := &r.batch
	if len(b.offsets) == 0 {
		b.offsets = append(b.offsets, 0)
	}
	for i := from; i < to; i++ {
		target := int32(-1) // a token of the context, which is not scored
		if i+1 >= scored {
			target = r.tokens[i+1]
			r.pending++
			n := len(r.Tokenizer.TokenBytes(target))
			r.result.Bytes += int64(n)
			if r.each != nil {
				d := &r.each[r.current]
				d.Tokens, d.Bytes = d.Tokens+1, d.Bytes+n
			}
		}
		b.owners = append(b.owners, int32(r.current))
		b.ids = append(b.ids, r.tokens[i])
		b.targets = append(b.targets, target)
		b.positions = append(b.positions, int32(i-from))
	}
	b.offsets = append(b.offsets, int32(len(b.ids)))
	if len(b.offsets)-1 == r.cfg.BatchSize || len(b.ids) >= r.cfg.BatchSize*r.cfg.Length {
		return r.flush(ctx)
	}
	return nil
}

// flush runs the batch and adds up its losses in double precision.
func (r *runner) flush(ctx context.Context) error {
	b := &r.batch
	if len(b.ids) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.checkIDs(); err != nil {
		return err
	}
	var losses []float32
	var read error
	r.tape.Interrupt = ctx.Err // a pass of a large model takes long
	err := tensor.Try(func() {
		r.tape.Infer()
		h := r.Hidden(nn.NewInput(r.tape, b.ids, b.positions, b.offsets))
		logp, _ := tensor.LogProbs(h, r.Head(), r.tape.Ints(b.targets))
		losses, read = logp.Float32s()
	})
	if err := cmp.Or(err, read); err != nil {
		return err
	}
	for i, t := range b.targets {
		if t >= 0 {
			r.nats -= float64(losses[i])
			if r.each != nil {
				r.each[b.owners[i]].Nats -= float64(losses[i])
			}
		}
	}
	r.result.Tokens += int64(r.pending)
	r.pending = 0
	*b = batch{b.ids[:0], b.targets[:0], b.positions[:0], b.owners[:0], b.offsets[:0]}
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.result.Tokens)
	}
	return nil
}

// checkIDs refuses tokens that the model has no row for.
func (r *runner) checkIDs() error {
	vocab := r.Shape().Vocab
	for i, id := range r.batch.ids {
		if max(id, r.batch.targets[i]) >= int32(vocab) {
			return fmt.Errorf("token %d is outside the model's vocabulary of %d: use the model's own tokenizer",
				max(id, r.batch.targets[i]), vocab)
		}
	}
	return nil
}

// finish makes means of sums. A loss that is no number is an error and no result: every later comparison
// with it would be silently false.
func (r *runner) finish() (Result, error) {
	res := r.result
	if res.Tokens == 0 {
		return res, fmt.Errorf("there is no text to evaluate: the data has no document with at least one token to predict")
	}
	res.Loss = r.nats / float64(res.Tokens)
	res.Perplexity = math.Exp(res.Loss)
	if res.Bytes > 0 {
		res.BitsPerByte = r.nats / math.Ln2 / float64(res.Bytes)
	}
	if math.IsNaN(res.Loss) || math.IsInf(res.Loss, 0) {
		return res, fmt.Errorf("the loss is %v: the model's weights are damaged or training diverged; take an earlier checkpoint, or copy them anew", res.Loss)
	}
	return res, nil
}
