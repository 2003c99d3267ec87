package recipe

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"hone/data"
	"hone/generate"
	"hone/internal/atomicfile"
	"hone/nn"
	"hone/optim"
	"hone/safetensors"
	"hone/train"
)

// modelFiles makes a checkpoint a model folder: what stands beside the weights.
func (r *pretrainRun) modelFiles(dir string) error {
	if err := atomicfile.WriteFile(filepath.Join(dir, "config.json"), r.model.Config); err != nil {
		return err
	}
	return r.corpus.tok.Save(dir)
}

// saveModel writes OUT/model: the last weights, or with early stopping those of the best evaluation.
func (r *pretrainRun) saveModel(out train.Outcome) (err error) {
	values := r.masters()
	best := r.loop.Checkpoints.Path(out.BestStep)
	if r.c.EarlyStopping.Metric != "" && out.BestStep > 0 && out.BestStep != out.Step {
		weights, err := safetensors.Open(filepath.Join(best, safetensors.SingleName))
		if err != nil {
			return fmt.Errorf("open the best checkpoint: %w", err)
		}
		defer weights.Close()
		values = fromArchive(weights)
		if err := r.say(fmt.Sprintf("%s holds the weights of step %d, the best by early_stopping.metric", modelName, out.BestStep)); err != nil {
			return err
		}
	}
	dtype, err := r.c.saveDType()
	if err != nil {
		return err
	}
	return r.folder.replace(modelName, func(dir string) error {
		return errors.Join(r.model.Save(dir, dtype, values), r.corpus.tok.Save(dir))
	})
}

// masters reads the optimizer's f32 values of the parameters.
func (r *pretrainRun) masters() func(nn.Named) ([]float32, error) {
	byName := make(map[string]optim.State)
	for _, s := range r.opt.State() {
		if s.Kind == optim.Master {
			byName[s.Name] = s
		}
	}
	return func(p nn.Named) ([]float32, error) {
		v := make([]float32, p.Len())
		return v, r.env.Device.Read(v, byName[p.Name].Buffer)
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
func (r *pretrainRun) samples(ctx context.Context, step int) ([]train.Event, error) {
	prompts, texts := r.prompts()
	if len(prompts) == 0 {
		return nil, nil
	}
	o := generate.DefaultOptions()
	o.MaxNewTokens, o.Temperature, o.Seed = r.c.Samples.MaxTokens, r.c.Samples.Temperature, r.c.Seed
	if eos, ok := r.corpus.tok.EOS(); ok {
		o.EOS = []int32{eos}
	}
	outs, err := generate.New(r.env.Device, r.tape.DType, r.model, r.corpus.tok).Run(ctx, prompts, o, nil)
	if err != nil {
		return nil, fmt.Errorf("samples after step %d: %w", step, err)
	}
	events := make([]train.Event, len(outs))
	for i := range outs {
		events[i] = train.SampleEvent{Step: step, Prompt: texts[i], Text: outs[i].Text}
	}
	return events, nil
}

// prompts are those of the recipe or the beginnings of held-out documents, as tokens and as text.
// They leave room for at least one new token.
func (r *pretrainRun) prompts() (ids [][]int32, texts []string) {
	most := r.model.Shape().MaxPositions - 1
	for _, p := range r.c.Samples.Prompts {
		t := r.corpus.tok.Encode(append([]int32(nil), r.corpus.begin...), []byte(p))
		ids, texts = append(ids, t[:min(most, len(t))]), append(texts, p)
	}
	if len(ids) > 0 || r.corpus.held == nil {
		return ids, texts
	}
	for d := range min(3, r.corpus.held.Documents()) {
		t := beginning(r.corpus.held, d, min(most, 16))
		ids = append(ids, t)
		texts = append(texts, string(r.corpus.tok.Decode(t[min(len(t), len(r.corpus.begin)):])))
	}
	return ids, texts
}

func beginning(s *data.Store, d int64, most int) []int32 {
	from, to := s.Document(d)
	t := make([]int32, min(int64(most), to-from))
	s.Read(t, from)
	return t
}
