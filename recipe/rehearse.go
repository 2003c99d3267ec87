package recipe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"hone/data"
	"hone/plan"
	"hone/tensor"
	"hone/train"
)

// A rehearsal runs a stage as it is - its data, models, adapters, rewards and objective, and an iteration of its steps - on a device
// that only counts. What it writes is in a folder that is removed. Models are opened but not read, rules and programs that
// score answers are not asked, and answers are as long as they may be.

// ahead rehearses a run whose data is open.
func (r *Run) ahead(ctx context.Context, s Rehearsed) (*Planned, error) {
	other := &Run{Training: r.Training, Recipe: r.Recipe, From: r.From, Tokenizer: r.Tokenizer, Begin: r.Begin, lent: true}
	other.Stage = s.Repeat(other)
	return other.Rehearse(ctx, "", Env{Rates: r.Env.Rates})
}

// Rehearse plans the run that r would make on a machine with the rates.
func (r *Run) Rehearse(ctx context.Context, stage string, env Env) (p *Planned, err error) {
	dir, err := os.MkdirTemp("", "hone-plan-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	dev := plan.NewDevice()
	r.Rehearsal, r.Folder, r.Env = true, Folder{dir}, env.WithDefaults()
	r.Env.Device, r.Env.Events = dev, func(train.Event) {}
	defer r.free()
	failed := tensor.Try(func() { p, err = r.rehearseOn(ctx, dev) })
	if err := errors.Join(failed, err); err != nil {
		return nil, fmt.Errorf("plan the run: %w", err)
	}
	p.Stage = stage
	return p, nil
}

func (r *Run) rehearseOn(ctx context.Context, dev *plan.Device) (*Planned, error) {
	if !r.lent {
		if err := r.Stage.OpenData(ctx, r); err != nil {
			return nil, err
		}
	}
	p := &Planned{}
	if err := r.openModel(ctx); err != nil {
		return nil, err
	}
	p.Weights = dev.Memory().InUse
	if err := r.openOptimizer(); err != nil {
		return nil, err
	}
	p.Optimizer, p.Paged = dev.Memory().InUse-p.Weights, dev.Paged()
	for _, part := range []func() error{r.openLoop, func() error { return r.beforehand(ctx) }} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	var err error
	if r.Metrics, err = train.OpenMetrics(r.Folder.Path(metricsName), 0, nil); err != nil {
		return nil, err
	}
	for _, param := range Trainable(r.Trained.Params()) {
		p.Gradients += 4 * int64(param.Tensor.Len())
	}
	p.Steps = r.Training.Steps
	if p.Recompute, err = r.Training.RecomputedLayers(r.Model.Shape().Layers); err != nil {
		return nil, err
	}
	return p, r.rehearseSteps(ctx, dev, p)
}

// looked is how many steps' batches a rehearsal looks at to find the largest and the mean.
const looked = 100

// rehearseSteps counts an iteration of steps, and the memory of the largest of those that were looked at.
func (r *Run) rehearseSteps(ctx context.Context, dev *plan.Device, p *Planned) error {
	stage := r.Stage.(Rehearsed)
	together, alike := stage.Rehearse(r)
	p.KVCache = stage.KVCache(r)
	r.Loop.Evaluate, r.Loop.Every, r.Loop.Checkpoints, r.Loop.Stopping, r.Loop.Metrics = nil, nil, nil, train.EarlyStopping{}, nil
	base, before := dev.Memory().InUse, dev.Work()
	dev.ResetPeak()
	var largest []data.Batch
	rows, most, steps, at := 0, 0, 0, 0
	for step := 0; step < r.Training.Steps && steps < looked; step += max(1, r.Training.Steps/looked) {
		batches, err := r.Loop.Batches(ctx, step)
		if err != nil {
			return err
		}
		n := 0
		for i := range batches {
			n += batches[i].Rows()
		}
		if rows, steps = rows+n, steps+1; n > most {
			largest, most, at = batches, n, step
		}
		if !alike { // the first of an iteration has what the others learn from
			break
		}
	}
	mean := float64(rows) / float64(steps)
	p.Tokens = int64(mean * float64(p.Steps))
	wrote := dev.Work() // what an iteration begins with, where steps are not alike
	wrote.Add(before, -1)
	r.Tape.Train(0, 0, 0)
	r.Loop.Objective(r.Tape, largest[0])
	p.Activations = dev.Memory().InUse - base
	r.Tape.Reset()
	before = dev.Work()
	if alike {
		wrote = plan.Work{}
		deal := r.Loop.Batches
		r.Loop.Batches = func(ctx context.Context, _ int) ([]data.Batch, error) { return deal(ctx, at) }
	}
	r.Loop.Steps = together
	if _, err := r.Loop.Run(ctx); err != nil {
		return err
	}
	p.Peak, p.Logits, p.Offloaded = dev.Memory().Peak, dev.Logits(), dev.Stashed()
	work := dev.Work()
	work.Add(before, -1)
	p.Work = work
	if alike {
		work = work.Filled(mean / float64(most))
	}
	p.FLOPs = work.FLOPs()
	p.perToken = float64(p.FLOPs.Total()) / (mean * float64(together))
	p.StepSeconds = work.Time(r.Env.Rates).Seconds() / float64(together)
	p.RolloutSeconds = wrote.Time(r.Env.Rates).Seconds()
	p.Seconds = p.StepSeconds*float64(p.Steps) + p.RolloutSeconds*math.Ceil(float64(p.Steps)/float64(together))
	return nil
}

// CacheBytes are those of the keys and values of sequences of n tokens.
func (r *Run) CacheBytes(sequences, n int) int64 {
	s := r.Model.Shape()
	return 2 * int64(s.Layers) * int64(s.KVHeads*s.HeadDim) * int64(r.Tape.DType.Size()) * int64(sequences) * int64(n)
}

// SampleCache is that of the samples that are written while a model is trained.
func (r *Run) SampleCache() int64 {
	if r.Training.Samples.Every == 0 {
		return 0
	}
	ids, _ := r.Stage.Prompts(r)
	longest := 0
	for _, prompt := range ids {
		longest = max(longest, len(prompt))
	}
	return r.CacheBytes(len(ids), longest+r.Training.Samples.MaxTokens)
}
