package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/zeebo/xxh3"

	"hone/data"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/tensor"
	"hone/train"
)

// Run trains a model on raw text: tokenizer, token stores, model, loop, and the result in
// OUT/model. When ctx is cancelled it saves, and the summary says Interrupted.
func (c *Pretrain) Run(ctx context.Context, env Env) (*Summary, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	env = env.withDefaults()
	folder := runFolder{c.Out}
	if err := folder.open(c.Resume); err != nil {
		return nil, err
	}
	text, err := c.corpus(ctx, folder, env)
	if err != nil {
		return nil, err
	}
	defer text.close()
	r := &pretrainRun{c: c, env: env, folder: folder, corpus: text}
	defer r.free()
	var sum *Summary
	failed := tensor.Try(func() { sum, err = r.all(ctx) })
	return sum, errors.Join(failed, err)
}

// pretrainRun is a run in progress.
type pretrainRun struct {
	c       *Pretrain
	env     Env
	folder  runFolder
	corpus  *corpus
	model   *model.Model
	opt     *optim.AdamW
	tape    *tensor.Tape
	windows *data.Windows
	metrics *train.Metrics
	loop    *train.Loop
	base    data.Baseline
}

func (r *pretrainRun) free() {
	if r.tape != nil {
		r.tape.Reset()
	}
	if r.opt != nil {
		r.opt.Discard()
		r.opt.Free()
	}
	if r.model != nil {
		r.model.Free()
	}
	if r.metrics != nil {
		r.metrics.Close() // every line is in the file already
	}
}

func (r *pretrainRun) all(ctx context.Context) (*Summary, error) {
	for _, part := range []func() error{r.openModel, r.openData, r.openLoop, r.start, r.describe} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	out, err := r.loop.Run(ctx)
	if err != nil {
		return nil, err
	}
	sum := r.summary(out)
	if out.Interrupted {
		return sum, r.say(fmt.Sprintf("interrupted after step %d and saved; go on with resume=true", out.Step))
	}
	sum.ModelDir = r.folder.path(modelName)
	return sum, r.saveModel(out)
}

// openModel makes or loads the model and its optimizer.
func (r *pretrainRun) openModel() (err error) {
	dtype, err := r.c.dtype()
	if err != nil {
		return err
	}
	if r.c.Model.Dir != "" {
		r.model, err = model.Open(r.c.Model.Dir, r.env.Device, dtype)
	} else {
		var config []byte
		if config, err = r.newConfig(); err != nil {
			return err
		}
		r.model, err = model.New(config, r.env.Device, dtype, r.c.Seed)
	}
	if err != nil {
		return err
	}
	shape := r.model.Shape()
	if shape.Vocab < r.corpus.tok.VocabSize() {
		return fmt.Errorf("the tokenizer has %d tokens and the model's vocabulary only %d; use the model's own tokenizer",
			r.corpus.tok.VocabSize(), shape.Vocab)
	}
	if shape.MaxPositions < r.c.SequenceLength {
		return fmt.Errorf("sequence_length is %d but the model has only %d positions; lower it", r.c.SequenceLength, shape.MaxPositions)
	}
	r.opt = optim.New(r.env.Device, trainable(r.model.Params), r.c.Optimizer.config())
	r.tape = tensor.NewTape(r.env.Device, dtype)
	return nil
}

// newConfig is the config.json of a new model with the tokenizer's special tokens.
func (r *pretrainRun) newConfig() ([]byte, error) {
	text, err := r.c.Model.NewConfig(r.corpus.tok.VocabSize(), r.c.SequenceLength)
	if err != nil {
		return nil, err
	}
	config := map[string]any{}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	for key, token := range map[string]func() (int32, bool){
		"bos_token_id": r.corpus.tok.BOS, "eos_token_id": r.corpus.tok.EOS, "pad_token_id": r.corpus.tok.PAD,
	} {
		if id, ok := token(); ok {
			config[key] = id
		}
	}
	return json.MarshalIndent(config, "", "  ")
}

// trainable lists the parameters for the optimizer; matrices decay, norms and biases do not.
func trainable(params []nn.Named) []optim.Param {
	var list []optim.Param
	for _, p := range params {
		list = append(list, optim.Param{Name: p.Name, Tensor: p.Tensor, Decay: len(p.Shape) >= 2})
	}
	return list
}

func (r *pretrainRun) openData() (err error) {
	r.windows, err = data.NewWindows(data.WindowConfig{
		Length: r.c.SequenceLength, BatchSize: r.c.BatchSize, Accumulation: r.c.GradientAccumulationSteps, Seed: r.c.Seed,
	}, data.Weighted{Store: r.corpus.train, Weight: 1})
	if err != nil || r.corpus.held == nil {
		return err
	}
	r.base, err = data.Baselines(r.corpus.train, r.corpus.held, 1<<24, int64(r.c.Eval.MaxTokens))
	return err
}

func (r *pretrainRun) openLoop() error {
	again, err := r.c.recompute(r.model.Shape().Layers)
	if err != nil {
		return err
	}
	c := r.c
	r.loop = &train.Loop{
		Steps: c.Steps, Seed: c.Seed, Tape: r.tape, Optimizer: r.opt, Rate: c.rate(),
		Batches:     func(_ context.Context, step int) ([]data.Batch, error) { return r.windows.Step(step), nil },
		Objective:   languageModel(r.model, inputOptions{dropout: float32(c.Dropout), recompute: again}, lossOptions(c)),
		OnNonFinite: c.Optimizer.OnNonFinite, MaxSkips: c.Optimizer.MaxSkips,
		Checkpoints: &train.Checkpoints{
			Dir: r.folder.path(checkpointsName), Every: c.Checkpoint.Every, Seconds: c.Checkpoint.Seconds,
			KeepLast: c.Checkpoint.KeepLast, KeepBest: r.keepBest(), Recipe: r.identity(), Extra: r.modelFiles,
		},
	}
	if r.corpus.held != nil {
		r.loop.Evaluate, r.loop.EvalEvery = r.evaluate, c.Eval.Every
	}
	if c.EarlyStopping.Metric != "" {
		r.loop.Stopping = train.EarlyStopping{Metric: c.EarlyStopping.Metric, Max: c.EarlyStopping.Mode == "max",
			Patience: c.EarlyStopping.Patience, MinDelta: c.EarlyStopping.MinDelta}
	}
	if c.Samples.Every > 0 {
		r.loop.Every = append(r.loop.Every, train.Every{Steps: c.Samples.Every, Do: r.samples})
	}
	return nil
}

// keepBest also holds with early stopping, whose result is the best checkpoint.
func (r *pretrainRun) keepBest() bool {
	return r.c.Checkpoint.KeepBest || r.c.EarlyStopping.Metric != ""
}

// start puts the run where it left off, or at its beginning, and opens the metrics.
func (r *pretrainRun) start() error {
	points := r.loop.Checkpoints
	cleaned, err := points.Clean()
	if err != nil {
		return err
	}
	step := 0
	if r.c.Resume {
		if step = points.Newest(); step > 0 {
			if err := r.loop.Resume(step, mayDiffer); err != nil {
				return err
			}
		}
	}
	kept := *r.c
	kept.Resume = false // the recipe is that of the run, to be started or resumed
	if err := r.folder.writeRecipe(&kept); err != nil {
		return err
	}
	if r.metrics, err = train.OpenMetrics(r.folder.path(metricsName), step, r.env.Events); err != nil {
		return err
	}
	r.loop.Record = r.metrics
	switch {
	case r.c.Resume && step == 0:
		err = r.say("there is no checkpoint to resume in " + r.c.Out + ": starting from the beginning")
	case step > 0:
		err = r.say(fmt.Sprintf("resumed from the checkpoint of step %d", step))
	}
	if err == nil && cleaned > 0 {
		err = r.say(fmt.Sprintf("removed %d unfinished checkpoint(s) that a crash had left", cleaned))
	}
	return err
}

// say records a message.
func (r *pretrainRun) say(text string) error {
	return r.metrics.Append(train.MessageEvent{Step: r.loop.Step(), Text: text})
}

// identity is what must be the same for a checkpoint to be gone on from: the recipe and the data.
func (r *pretrainRun) identity() map[string]string {
	id := Flatten(r.c)
	id["contents of data"] = fingerprint(r.corpus.train)
	id["tokenizer"] = r.corpus.tok.Fingerprint()
	id["config.json of the model"] = fmt.Sprintf("%016x", xxh3.Hash(r.model.Config))
	return id
}

// mayDiffer tells the keys that may change on resume: those that do not change the updates, and steps,
// which only decides where the run ends (and, where the schedule looks at it, the rates from here on).
func mayDiffer(key string) bool {
	switch key {
	case "data", "validation_data", "validation_fraction", // judged by the contents of data
		"out", "steps", "resume", "device", "threads", "recompute", "save_dtype",
		"optimizer.on_nonfinite", "optimizer.max_skips", "tokenizer.path", "model":
		return true
	}
	group, _, _ := strings.Cut(key, ".")
	return group == "eval" || group == "early_stopping" || group == "checkpoint" || group == "samples"
}

// describe records the sizes of the run.
func (r *pretrainRun) describe() error {
	values := map[string]any{
		"parameters": nn.Count(r.model.Params), "vocab_size": r.model.Shape().Vocab, "tokenizer_tokens": r.corpus.tok.VocabSize(),
		"train_tokens": r.corpus.train.Tokens(), "train_documents": r.corpus.train.Documents(),
		"bytes_per_token": r.corpus.train.BytesPerToken(), "tokens_per_step": r.windows.PerStep() * int64(r.c.SequenceLength),
		"steps_per_epoch": float64(r.windows.PerEpoch()) / float64(r.windows.PerStep()),
		"flops_per_token": flopsPerToken(r.model, r.c.SequenceLength),
		"device":          r.env.Device.Name(), "dtype": r.c.DType, "steps": r.c.Steps,
	}
	if r.corpus.held != nil {
		values["held_tokens"], values["held_documents"] = r.corpus.held.Tokens(), r.corpus.held.Documents()
		values["unigram_loss"], values["bigram_loss"] = r.base.Unigram, r.base.Bigram
	}
	if err := r.say("data: " + r.corpus.stats.String()); err != nil {
		return err
	}
	return r.metrics.Append(train.InfoEvent{Step: r.loop.Step(), Values: values})
}

// flopsPerToken is the arithmetic of training on one token: 6 per weight of a matrix product (Kaplan et al.,
// 2020), and 12·L·H·D per token that attention looks back at, half the sequence on average.
func flopsPerToken(m *model.Model, sequenceLength int) float64 {
	s := m.Shape()
	n := nn.Count(m.Params)
	if !s.Tied {
		n -= s.Vocab * s.Hidden // the embedding is looked up, not multiplied
	}
	return 6*float64(n) + 12*float64(s.Layers*s.Heads*s.HeadDim)*float64(sequenceLength)/2
}

func (r *pretrainRun) evaluate(ctx context.Context) (map[string]float64, error) {
	objective := languageModel(r.model, inputOptions{}, tensor.CrossEntropyOptions{})
	batches := data.Sequential(r.corpus.held, r.c.SequenceLength, r.c.BatchSize, int64(r.c.Eval.MaxTokens))
	loss, _, err := train.HeldOut(ctx, r.tape, batches, objective)
	return map[string]float64{
		"loss": loss, "perplexity": math.Exp(loss), "bits_per_byte": r.corpus.held.BitsPerByte(loss),
	}, err
}

func (r *pretrainRun) summary(out train.Outcome) *Summary {
	s := &Summary{
		Out: r.c.Out, Steps: out.Step, Interrupted: out.Interrupted, StoppedEarly: out.StoppedEarly, BestStep: out.BestStep,
		Skipped: out.Skipped, Parameters: nn.Count(r.model.Params), Tokens: out.Tokens, Seconds: out.Seconds,
		TrainLoss: out.Loss, Unigram: r.base.Unigram, Bigram: r.base.Bigram, BytesPerToken: r.corpus.train.BytesPerToken(),
		PeakMemoryBytes: r.env.Device.Memory().Peak, VocabSize: r.corpus.tok.VocabSize(),
	}
	if out.Seconds > 0 {
		s.TokensPerS = float64(out.Tokens) / out.Seconds
	}
	if out.Eval != nil {
		s.Validation = out.Eval.Metrics
	}
	return s
}

// inputOptions are the parts of nn.Input that a run sets.
type inputOptions struct {
	dropout   float32
	recompute int
}

func lossOptions(c *Pretrain) tensor.CrossEntropyOptions {
	return tensor.CrossEntropyOptions{ZLoss: float32(c.ZLoss), Smoothing: float32(c.LabelSmoothing)}
}

// languageModel is the objective of predicting the next token.
func languageModel(m nn.Model, in inputOptions, o tensor.CrossEntropyOptions) train.Objective {
	return func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
		x := nn.NewInput(tape, b.IDs, b.Positions, b.Offsets)
		x.Dropout, x.Recompute = in.dropout, in.recompute
		loss := o
		loss.Tokens = b.Tokens
		weight, bias := m.Head()
		return tensor.LinearCrossEntropy(m.Hidden(x), weight, bias, tape.Ints(b.Targets), loss)
	}
}
