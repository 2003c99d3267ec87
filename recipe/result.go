package recipe

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"

	"hone/generate"
	"hone/internal/atomicfile"
	"hone/nn"
	"hone/optim"
	"hone/safetensors"
	"hone/train"
)

// saveResult writes OUT/model or what else is trained: the last weights, or with early stopping those of the best evaluation.
func (r *Run) saveResult(out train.Outcome) (err error) {
	values := r.masters()
	// keep_best holds with early stopping, so this checkpoint is there whatever keep_last says.
	best := r.Loop.Checkpoints.Path(out.BestStep)
	if r.keepsBest(out) {
		if err := r.Loop.Checkpoints.Verify(out.BestStep, r.Trained.Weights()); err != nil {
			return fmt.Errorf("take the weights of the best evaluation: %w; put a copy in its place, or take those of the last step by resume=true early_stopping.metric=", err)
		}
		weights, err := safetensors.Open(filepath.Join(best, r.Trained.Weights()))
		if err != nil {
			return fmt.Errorf("open the best checkpoint: %w", err)
		}
		defer weights.Close()
		values = fromArchive(weights)
		err = errors.Join(r.Say(fmt.Sprintf("%s holds the weights of step %d, the best by early_stopping.metric (%s %.4f)",
			r.Trained.Name(), out.BestStep, r.Training.EarlyStopping.Metric, out.Best)),
			r.Metrics.Append(train.InfoEvent{Step: out.Step, Values: map[string]any{"kept_step": out.BestStep}}))
		if err != nil {
			return err
		}
	}
	dtype, err := r.Training.ResultDType()
	if err != nil {
		return err
	}
	err = r.Folder.Replace(r.Trained.Name(), func(dir string) error {
		return errors.Join(r.Trained.Save(dir, dtype, values), r.Stage.Beside(dir))
	})
	if atomicfile.NoSpace(err) { // all that it is made of is in the checkpoint at the end
		return fmt.Errorf("save %s: %w; the checkpoint of step %d is kept, go on from it with resume=true after freeing some space",
			r.Folder.Path(r.Trained.Name()), syscall.ENOSPC, out.Step)
	}
	if f, ok := r.Stage.(Finisher); ok && err == nil {
		err = f.Finish(r)
	}
	return err
}

// keepsBest tells whether the result is weights of an earlier step than the last.
func (r *Run) keepsBest(out train.Outcome) bool {
	return r.Training.EarlyStopping.Metric != "" && out.BestStep > 0 && out.BestStep != out.Step
}

// masters reads the optimizer's f32 values of the parameters: a bf16 weight on the device is their upper half only.
func (r *Run) masters() func(nn.Named) ([]float32, error) {
	byName := make(map[string]optim.State)
	for _, s := range r.Optimizer.State() {
		if s.Kind == optim.Master {
			byName[s.Name] = s
		}
	}
	return func(p nn.Named) ([]float32, error) {
		v := make([]float32, p.Len())
		s := byName[p.Name]
		defer s.Done()
		return v, s.Read(v)
	}
}

// fromArchive reads parameters from a checkpoint's file, one at a time.
func fromArchive(a *safetensors.Archive) func(nn.Named) ([]float32, error) {
	return func(p nn.Named) ([]float32, error) {
		t, ok := a.Tensor(p.Name)
		if !ok {
			return nil, errors.New("the checkpoint lacks it")
		}
		return t.Float32()
	}
}

// samples lets the model go on from the prompts.
func (r *Run) samples(ctx context.Context, step int) ([]train.Event, error) {
	prompts, texts := r.Stage.Prompts(r)
	if len(prompts) == 0 {
		return nil, nil
	}
	o := generate.DefaultOptions()
	o.Joined = func(int) bool { return true }
	o.MaxNewTokens, o.Temperature, o.Seed = r.Training.Samples.MaxTokens, r.Training.Samples.Temperature, r.Training.Seed
	if eos, ok := r.Tokenizer.EOS(); ok {
		o.EOS = []int32{eos}
	}
	outs, err := generate.New(r.Env.Device, r.Tape.DType, r.Model, r.Tokenizer).Run(ctx, prompts, o, nil)
	if err != nil {
		return nil, fmt.Errorf("samples after step %d: %w", step, err)
	}
	events := make([]train.Event, len(outs))
	for i := range outs {
		events[i] = train.SampleEvent{Step: step, Prompt: texts[i], Text: outs[i].Text}
	}
	return events, nil
}

// GivenPrompts are the recipe's, as tokens and as text. They leave room for at least one new token.
func (r *Run) GivenPrompts() (ids [][]int32, texts []string) {
	most := r.Model.Shape().MaxPositions - 1
	for _, text := range r.Training.Samples.Prompts {
		t := r.Tokenizer.Encode(slices.Clone(r.Begin), []byte(text))
		if len(t) == 0 {
			t = r.Tokenizer.Start()
		}
		ids, texts = append(ids, t[:min(most, len(t))]), append(texts, text)
	}
	return ids, texts
}
