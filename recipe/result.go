package recipe

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"hone/generate"
	"hone/nn"
	"hone/optim"
	"hone/safetensors"
	"hone/train"
)

// saveResult writes OUT/model or what else is trained: the last weights, or with early stopping those of the best evaluation.
func (r *run) saveResult(out train.Outcome) (err error) {
	values := r.masters()
	best := r.loop.Checkpoints.Path(out.BestStep)
	if r.keepsBest(out) {
		weights, err := safetensors.Open(filepath.Join(best, r.trained.weights()))
		if err != nil {
			return fmt.Errorf("open the best checkpoint: %w", err)
		}
		defer weights.Close()
		values = fromArchive(weights)
		err = errors.Join(r.say(fmt.Sprintf("%s holds the weights of step %d, the best by early_stopping.metric (%s %.4f)",
			r.trained.name(), out.BestStep, r.c.EarlyStopping.Metric, out.Best)),
			r.metrics.Append(train.InfoEvent{Step: out.Step, Values: map[string]any{"kept_step": out.BestStep}}))
		if err != nil {
			return err
		}
	}
	dtype, err := r.c.saveDType()
	if err != nil {
		return err
	}
	err = r.folder.replace(r.trained.name(), func(dir string) error {
		return errors.Join(r.trained.save(dir, dtype, values), r.stage.beside(dir))
	})
	if f, ok := r.stage.(finisher); ok && err == nil {
		err = f.finish(r)
	}
	return err
}

// keepsBest tells whether the result is weights of an earlier step than the last.
func (r *run) keepsBest(out train.Outcome) bool {
	return r.c.EarlyStopping.Metric != "" && out.BestStep > 0 && out.BestStep != out.Step
}

// masters reads the optimizer's f32 values of the parameters.
func (r *run) masters() func(nn.Named) ([]float32, error) {
	byName := make(map[string]optim.State)
	for _, s := range r.opt.State() {
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
func (r *run) samples(ctx context.Context, step int) ([]train.Event, error) {
	prompts, texts := r.stage.prompts(r)
	if len(prompts) == 0 {
		return nil, nil
	}
	o := generate.DefaultOptions()
	o.MaxNewTokens, o.Temperature, o.Seed = r.c.Samples.MaxTokens, r.c.Samples.Temperature, r.c.Seed
	if eos, ok := r.tok.EOS(); ok {
		o.EOS = []int32{eos}
	}
	outs, err := generate.New(r.env.Device, r.tape.DType, r.model, r.tok).Run(ctx, prompts, o, nil)
	if err != nil {
		return nil, fmt.Errorf("samples after step %d: %w", step, err)
	}
	events := make([]train.Event, len(outs))
	for i := range outs {
		events[i] = train.SampleEvent{Step: step, Prompt: texts[i], Text: outs[i].Text}
	}
	return events, nil
}

// givenPrompts are the recipe's, as tokens and as text. They leave room for at least one new token.
func (r *run) givenPrompts() (ids [][]int32, texts []string) {
	most := r.model.Shape().MaxPositions - 1
	for _, text := range r.c.Samples.Prompts {
		t := r.tok.Encode(append([]int32(nil), r.begin...), []byte(text))
		ids, texts = append(ids, t[:min(most, len(t))]), append(texts, text)
	}
	return ids, texts
}
