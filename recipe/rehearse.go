package recipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"hone/data"
	"hone/plan"
	"hone/tensor"
	"hone/train"
)

// A rehearsal runs a stage as it is - its data, models, adapters, rewards and objective, and an iteration of
// its steps - on a device that only counts. What it writes is in a folder that is removed. Models are opened
// but not read, rules and programs that score answers are not asked, and answers are as long as they may be.

// Rehearse plans the run that r would make on a machine with the rates. Where the recipe says how much memory
// there is, that is with the fewest layers run again with which it fits.
func (r *Run) Rehearse(ctx context.Context, stage string, env Env) (p *Planned, err error) {
	err = r.rehearsing(env, func() error {
		if err := r.Stage.OpenData(ctx, r); err != nil {
			return err
		}
		p, err = r.ahead(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.Stage = stage
	return p, nil
}

// ahead plans a run whose data is open, and sets its Recompute where the recipe says how much memory there is.
func (r *Run) ahead(ctx context.Context) (p *Planned, err error) {
	s := r.Stage.(Rehearsed)
	err = r.Training.fit(slices.Concat(r.Training.lower(r.From), s.Lower()), func() (int64, int, error) {
		other := &Run{Training: r.Training, Recipe: r.Recipe, From: r.From, Tokenizer: r.Tokenizer, Begin: r.Begin}
		other.Stage = s.Repeat(other)
		env := Env{Meter: r.Env.Meter, Arranged: r.Env.Arranged}
		if err := other.rehearsing(env, func() (err error) { p, err = other.rehearse(ctx); return err }); err != nil {
			return 0, 0, fmt.Errorf("plan the run: %w", err)
		}
		return p.Needed(), p.layers, nil
	})
	return p, err
}

// rehearsing calls f with a device that only counts and a folder that is removed after it.
func (r *Run) rehearsing(env Env, f func() error) (err error) {
	dir, err := os.MkdirTemp("", "hone-plan-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r.Rehearsal, r.Folder, r.Env = true, Folder{dir}, env.WithDefaults()
	dev := plan.NewDevice()
	dev.OnCard, dev.Arranged = r.Training.onCard(), r.Env.Arranged
	r.Env.Device, r.Env.Events = dev, func(train.Event) {}
	defer r.free()
	failed := tensor.Try(func() { err = f() })
	return errors.Join(failed, err)
}

// rehearse opens what a run does, on data that is open already, and makes an iteration of steps.
func (r *Run) rehearse(ctx context.Context) (*Planned, error) {
	p, dev := &Planned{}, r.Env.Device.(*plan.Device)
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
	p.Steps, p.layers = r.Training.Steps, r.Model.Shape().Layers
	p.Notes = r.notes()
	if p.Recompute, err = r.Training.RecomputedLayers(p.layers); err != nil {
		return nil, err
	}
	return p, r.rehearseSteps(ctx, dev, p)
}

// looked is how many steps' batches a rehearsal looks at to find the largest and the mean.
const looked = 100

// dealt is what a rehearsal knows of the batches of a run.
type dealt struct {
	largest     []data.Batch // of the step with the most rows
	at          int          // number of that step
	most        int          // its rows
	rows, steps int          // of all steps that were looked at
}

// spread are up to looked steps over the whole run, because sources may be sorted by length.
func (r *Run) spread() (steps []int) {
	for step := 0; step < r.Training.Steps && len(steps) < looked; step += max(1, r.Training.Steps/looked) {
		steps = append(steps, step)
	}
	return steps
}

// look draws the batches of steps that are spread over the run. Where steps are not alike, as in PPO, the
// first one is enough: it writes all that the other steps of its iteration learn from.
func (d *dealt) look(ctx context.Context, r *Run, alike bool) error {
	for _, step := range r.spread() {
		batches, err := r.Loop.Batches(ctx, step)
		if err != nil {
			return err
		}
		n := 0
		for i := range batches {
			n += batches[i].Rows()
		}
		if d.rows, d.steps = d.rows+n, d.steps+1; n > d.most {
			d.largest, d.most, d.at = batches, n, step
		}
		if !alike {
			return nil
		}
	}
	return nil
}

// mean is the rows of a step.
func (d *dealt) mean() float64 { return float64(d.rows) / float64(d.steps) }

// workOf runs f and returns the work that the device counted meanwhile.
func workOf(dev *plan.Device, f func() error) (plan.Work, error) {
	before := dev.Work()
	err := f()
	work := dev.Work()
	work.Add(before, -1)
	return work, err
}

// rehearseSteps counts an iteration of steps and its memory. Where steps are alike the largest of those that
// were looked at stands for all of them, its work is brought to the mean, and for their memory the others are
// made, too; where they are not, as in PPO, the iteration is run as it is, and for their memory the heaviest.
func (r *Run) rehearseSteps(ctx context.Context, dev *plan.Device, p *Planned) error {
	stage := r.Stage.(Rehearsed)
	together, alike := stage.Rehearse(r)
	p.KVCache = stage.KVCache(r)
	r.Loop.Evaluate, r.Loop.Every, r.Loop.Checkpoints, r.Loop.Stopping, r.Loop.Metrics = nil, nil, nil, train.EarlyStopping{}, nil
	base := dev.Memory().InUse
	dev.ResetPeak()
	var seen dealt
	wrote, err := workOf(dev, func() error { return seen.look(ctx, r, alike) })
	if err != nil {
		return err
	}
	// In PPO the mean is of one iteration's first step, whose answers are as long as they may be.
	p.Tokens = int64(seen.mean() * float64(p.Steps))
	deal := r.Loop.Batches
	first, spared := r.rehearseForward(dev, p, seen.largest[0], base), plan.Work{}
	// the first pass after answers were written takes results of the writing, which it uses up; the second
	// computes them
	if !alike {
		spared = r.rehearseForward(dev, p, seen.largest[0], base)
		spared.Add(first, -1)
	} else {
		wrote = plan.Work{} // batches were looked at, and nothing was written
		r.Loop.Batches = func(ctx context.Context, _ int) ([]data.Batch, error) { return deal(ctx, seen.at) }
	}
	r.Loop.Steps = together
	// a run that is interrupted has no error
	if p.Work, err = workOf(dev, func() error { _, err := r.Loop.Run(ctx); return errors.Join(err, ctx.Err()) }); err != nil {
		return err
	}
	p.Work.Add(spared, -1)
	if alike {
		if err := r.rehearseOthers(ctx, deal); err != nil {
			return err
		}
	}
	if s, ok := stage.(Uneven); ok {
		if err := r.rehearseAlso(ctx, deal, s.Heaviest(r)); err != nil {
			return err
		}
	}
	p.Peak, p.Own, p.Logits, p.Offloaded = dev.Memory().Peak, dev.Own(), dev.Logits(), dev.Stashed()
	work := p.Work
	if alike {
		work = work.Filled(seen.mean() / float64(seen.most))
	}
	p.FLOPs = work.FLOPs()
	p.perToken = float64(p.FLOPs.Total()) / (seen.mean() * float64(together))
	return r.rehearseTime(p, work, wrote, together)
}

// rehearseOthers makes the steps that were looked at and those with the most rows of all, for their
// memory alone: rows are not all that it depends on, but also what is learned of them, how they lie in
// sequences and what of those is alike.
func (r *Run) rehearseOthers(ctx context.Context, deal func(context.Context, int) ([]data.Batch, error)) error {
	return r.rehearseAlso(ctx, deal, append(r.spread(), r.longest()...))
}

// rehearseAlso makes further steps, for their memory alone.
func (r *Run) rehearseAlso(ctx context.Context, deal func(context.Context, int) ([]data.Batch, error), steps []int) error {
	made := r.Loop.Step()
	r.Loop.Steps = made + len(steps)
	r.Loop.Batches = func(ctx context.Context, step int) ([]data.Batch, error) { return deal(ctx, steps[step-made]) }
	_, err := r.Loop.Run(ctx)
	return errors.Join(err, ctx.Err())
}

// longest are the steps with the most rows in a micro-batch, of a stage that knows these.
func (r *Run) longest() (steps []int) {
	s, ok := r.Stage.(Sized)
	if !ok || r.Training.Steps <= looked { // all were looked at
		return nil
	}
	const most = 16
	rows := map[int]int{} // of steps
	for step := range r.Training.Steps {
		n := s.Rows(r, step)
		if len(steps) == most && n <= rows[steps[most-1]] {
			continue
		}
		rows[step] = n
		steps = append(steps, step)
		slices.SortStableFunc(steps, func(a, b int) int { return cmp.Compare(rows[b], rows[a]) })
		steps = steps[:min(most, len(steps))]
	}
	return steps
}

// rehearseForward runs a forward pass, sets p.Activations to the memory above base that it keeps for the
// backward pass, and returns its work.
func (r *Run) rehearseForward(dev *plan.Device, p *Planned, b data.Batch, base int64) plan.Work {
	work, _ := workOf(dev, func() error {
		r.Tape.Train(0, 0, 0)
		r.Loop.Objective(r.Tape, b)
		p.Activations = dev.Memory().InUse - base
		r.Tape.Reset()
		return nil
	})
	return work
}

// rehearseTime sets the times of an iteration: work is that of all its steps, whose number is together, and
// wrote that of writing answers before them.
func (r *Run) rehearseTime(p *Planned, work, wrote plan.Work, together int) error {
	took, err := work.TimeBy(r.Env.Meter)
	if err != nil {
		return err
	}
	writing, err := wrote.TimeBy(r.Env.Meter)
	if err != nil {
		return err
	}
	p.StepSeconds, p.RolloutSeconds = took.Seconds()/float64(together), writing.Seconds()
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
