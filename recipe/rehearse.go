package recipe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"hone/data"
	"hone/plan"
	"hone/reward"
	"hone/tensor"
	"hone/train"
)

// A rehearsal runs a stage as it is - its data, models, adapters, rewards and objective, and an iteration of its steps - on a device
// that only counts. What it writes is in a folder that is removed. Models are opened but not read, rules and programs that
// score answers are not asked, and answers are as long as they may be.

// rehearsed is a stage with something to leave out or to look at in a rehearsal.
type rehearsed interface {
	// rehearse prepares the stage, once its models are there, and returns the steps that belong together and whether each
	// step is alike.
	rehearse(r *run) (steps int, alike bool)
	kvCache(r *run) int64 // bytes of the keys and values of what is written
	repeat(r *run) stage  // the stage of r, before its models are there, on the same data
}

// ahead rehearses a run whose data is open.
func (r *run) ahead(ctx context.Context, s rehearsed) (*Planned, error) {
	other := &run{c: r.c, whole: r.whole, dir: r.dir, tok: r.tok, begin: r.begin, lent: true}
	other.stage = s.repeat(other)
	return other.rehearse(ctx, "", Env{Rates: r.env.Rates})
}

// rehearse plans the run that r would make on a machine with the rates.
func (r *run) rehearse(ctx context.Context, stage string, env Env) (p *Planned, err error) {
	dir, err := os.MkdirTemp("", "hone-plan-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	dev := plan.NewDevice()
	r.rehearsal, r.folder, r.env = true, runFolder{dir}, env.withDefaults()
	r.env.Device, r.env.Events = dev, func(train.Event) {}
	defer r.free()
	failed := tensor.Try(func() { p, err = r.rehearseOn(ctx, dev) })
	if err := errors.Join(failed, err); err != nil {
		return nil, fmt.Errorf("plan the run: %w", err)
	}
	p.Stage = stage
	return p, nil
}

func (r *run) rehearseOn(ctx context.Context, dev *plan.Device) (*Planned, error) {
	if !r.lent {
		if err := r.stage.openData(ctx, r); err != nil {
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
	if r.metrics, err = train.OpenMetrics(r.folder.path(metricsName), 0, nil); err != nil {
		return nil, err
	}
	for _, param := range trainable(r.trained.params()) {
		p.Gradients += 4 * int64(param.Tensor.Len())
	}
	p.Steps = r.c.Steps
	if p.Recompute, err = r.c.recompute(r.model.Shape().Layers); err != nil {
		return nil, err
	}
	return p, r.rehearseSteps(ctx, dev, p)
}

// looked is how many steps' batches a rehearsal looks at to find the largest and the mean.
const looked = 100

// rehearseSteps counts an iteration of steps, and the memory of the largest of those that were looked at.
func (r *run) rehearseSteps(ctx context.Context, dev *plan.Device, p *Planned) error {
	stage := r.stage.(rehearsed)
	together, alike := stage.rehearse(r)
	p.KVCache = stage.kvCache(r)
	r.loop.Evaluate, r.loop.Every, r.loop.Checkpoints, r.loop.Stopping, r.loop.Metrics = nil, nil, nil, train.EarlyStopping{}, nil
	base, before := dev.Memory().InUse, dev.Work()
	dev.ResetPeak()
	var largest []data.Batch
	rows, most, steps, at := 0, 0, 0, 0
	for step := 0; step < r.c.Steps && steps < looked; step += max(1, r.c.Steps/looked) {
		batches, err := r.loop.Batches(ctx, step)
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
	r.tape.Train(0, 0, 0)
	r.loop.Objective(r.tape, largest[0])
	p.Activations = dev.Memory().InUse - base
	r.tape.Reset()
	before = dev.Work()
	if alike {
		wrote = plan.Work{}
		deal := r.loop.Batches
		r.loop.Batches = func(ctx context.Context, _ int) ([]data.Batch, error) { return deal(ctx, at) }
	}
	r.loop.Steps = together
	if _, err := r.loop.Run(ctx); err != nil {
		return err
	}
	p.Peak, p.Logits = dev.Memory().Peak, dev.Logits()
	work := dev.Work()
	work.Add(before, -1)
	p.Work = work
	if alike {
		work = work.Filled(mean / float64(most))
	}
	p.FLOPs = work.FLOPs()
	p.perToken = float64(p.FLOPs.Total()) / (mean * float64(together))
	p.StepSeconds = work.Time(r.env.Rates).Seconds() / float64(together)
	p.RolloutSeconds = wrote.Time(r.env.Rates).Seconds()
	p.Seconds = p.StepSeconds*float64(p.Steps) + p.RolloutSeconds*math.Ceil(float64(p.Steps)/float64(together))
	return nil
}

// cacheBytes are those of the keys and values of sequences of n tokens.
func (r *run) cacheBytes(sequences, n int) int64 {
	s := r.model.Shape()
	return 2 * int64(s.Layers) * int64(s.KVHeads*s.HeadDim) * int64(r.tape.DType.Size()) * int64(sequences) * int64(n)
}

func (s *rewarding) repeat(*run) stage {
	return &rewarding{c: s.c, records: s.records.lent(), template: s.template, meter: newMeter()}
}

// lent are the same records, to be closed by their owner.
func (s *judgements) lent() *judgements {
	all := *s
	all.files = nil
	return &all
}

func (s *preferring) repeat(*run) stage {
	other := *s
	other.records, other.meter = s.records.lent(), newMeter()
	return &other
}

func (s *rolling) repeat(r *run) stage {
	other := *s
	other.r, other.meter, other.lent, other.state = r, newMeter(), true, rollingState{KL: s.state.KL}
	if c := s.critic; c != nil {
		other.critic = &critic{separate: c.separate, dir: c.dir, warmup: c.warmup, rate: c.rate}
	}
	return &other
}

func (s *rewarding) rehearse(*run) (int, bool) { return 1, true }
func (s *rewarding) kvCache(*run) int64        { return 0 }

func (s *preferring) rehearse(*run) (int, bool) { return 1, true }

func (s *preferring) kvCache(r *run) int64 { return r.sampleCache() }

// sampleCache is that of the samples that are written while a model is trained.
func (r *run) sampleCache() int64 {
	if r.c.Samples.Every == 0 {
		return 0
	}
	ids, _ := r.stage.prompts(r)
	longest := 0
	for _, prompt := range ids {
		longest = max(longest, len(prompt))
	}
	return r.cacheBytes(len(ids), longest+r.c.Samples.MaxTokens)
}

// rehearse lets answers run to their end and has no rule or program score them.
func (s *rolling) rehearse(*run) (int, bool) {
	s.stop.EOS, s.stop.Stop, s.stop.Temperature = nil, nil, 0
	for i := range s.rewards.sources {
		if s.rewards.sources[i].rule != nil {
			s.rewards.sources[i].rule = unasked{}
		}
	}
	return s.c.updates(s.epochs), false
}

func (s *rolling) kvCache(r *run) int64 {
	longest := 0
	for _, q := range s.prompt {
		longest = max(longest, len(q.ids))
	}
	return r.cacheBytes(min(s.c.RolloutBatchSize, s.c.answers()), longest+s.c.MaxCompletionLength)
}

// unasked scores nothing.
type unasked struct{}

// Score is 0 for each.
func (unasked) Score(_ context.Context, answers []reward.Answer) ([]float64, error) {
	return make([]float64, len(answers)), nil
}

// Plan says what the run will take, and starts nothing. Records are read and counted; what that writes is removed again.
func (c *Reward) Plan(ctx context.Context, env Env) (*Planned, error) {
	own := *c
	own.Resume = false
	return own.run(env).rehearse(ctx, "reward", env)
}

// Plan says what the run will take, as (*Reward).Plan does. The pass of the reference over all records before the first step is not in it.
func (c *DPO) Plan(ctx context.Context, env Env) (*Planned, error) {
	own := *c
	own.Resume = false
	return own.run(env).rehearse(ctx, "dpo", env)
}

// Plan says what the run will take, as (*Reward).Plan does, with the time that the answers of an iteration take to be
// written and scored beside that of a step. They are taken to be as long as they may be; what programs take that score them is not in it.
func (c *PPO) Plan(ctx context.Context, env Env) (*Planned, error) {
	own := *c
	own.Resume = false
	return own.run(env).rehearse(ctx, "ppo", env)
}

// Plan says what the run will take, as (*PPO).Plan does.
func (c *GRPO) Plan(ctx context.Context, env Env) (*Planned, error) {
	own := *c
	own.Resume = false
	return own.run(env).rehearse(ctx, "grpo", env)
}
