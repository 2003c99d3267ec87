package rl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hone/adapter"
	"hone/device"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/recipe"
	"hone/recipe/judge"
	"hone/tensor"
)

// critic says what the rest of an answer is worth: a scalar head on the policy's own hidden
// states, or a model of its own.
type critic struct {
	separate bool
	dir      string  // of a model of its own
	warmup   int     // iterations in which only the critic learns
	rate     float64 // its learning rate; 0: the policy's
	head     *model.ScoreHead
	scorer   *model.Scorer   // separate
	adapter  adapter.Adapter // separate, where not all its weights are trained
	shared   bool            // the adapter is on the policy's base, and off but for giving values
	policy   adapter.Adapter // what is off that base then
	frozen   []nn.Named      // of the policy, while the critic warms up
}

// criticPrefix stands before the names of the critic's parameters.
const criticPrefix = "critic."

// withCritic trains a critic beside the policy. What is saved in the end is the policy.
type withCritic struct {
	recipe.Trained
	critic *critic
}

func (w *withCritic) Params() []nn.Named { return append(w.Trained.Params(), w.critic.params()...) }

func (w *withCritic) Free() {
	w.critic.free()
	w.Trained.Free()
}

// open makes or loads the critic, whose adapter goes on base where that is what it is of. The head of a fresh
// one starts near 0.
func (c *critic) open(r *recipe.Run, base *model.Model, dtype device.DType) error {
	dev := r.Env.Device
	if !c.separate {
		c.head = model.NewScoreHead(r.Model.Shape().Hidden, model.ValueLayout)
		// small numbers: a critic that begins at 0 makes the first advantages the rewards themselves
		nn.Initialize(c.head.Params(), dev, dtype, r.Training.Seed)
		return nil
	}
	// A model of its own: all its weights where the method trains all, else an adapter on a base, which may
	// be the policy's own in memory.
	options := model.ScorerOptions{Layout: model.ScoreLayout, Seed: r.Training.Seed}
	_, err := os.Stat(filepath.Join(c.dir, adapter.ConfigName))
	started := err == nil // from an adapter
	if !started && r.Training.Method == "full" {
		if c.scorer, err = model.OpenScorer(c.dir, dev, dtype, options); err == nil {
			c.head = c.scorer.Score
		}
		return err
	}
	if options.Packed, err = r.Training.Packed(); err != nil {
		return err
	}
	var s judge.Scorer
	if started {
		s, err = judge.OpenScorer(c.dir, dev, dtype, judge.Options{Packed: options.Packed, Base: base})
		c.adapter = s.Adapter
	} else if s.Scorer, s.Shared, err = judge.OnBase(c.dir, base, dev, dtype, options); err == nil {
		c.adapter, err = criticAdapter(r, s.Scorer, c.dir, dtype)
	}
	if err != nil {
		return fmt.Errorf("open the critic: %w", err)
	}
	c.scorer, c.head, c.shared, c.policy = s.Scorer, s.Score, s.Shared, r.Trained.PEFT()
	c.adapter.Enable(!c.shared)
	return nil
}

// criticAdapter puts a LoRA by the recipe's keys on a critic, also where the policy's adapter is of another kind.
func criticAdapter(r *recipe.Run, s *model.Scorer, dir string, dtype device.DType) (adapter.Adapter, error) {
	config, err := r.Training.LoRA.Config(dir)
	if err != nil {
		return nil, err
	}
	config.TaskType, config.ModulesToSave = adapter.TaskSequence, []string{s.Score.Layout.Module()}
	l, err := adapter.Attach(adapter.Model{Model: s.Model.Model, Params: s.Params}, config)
	if err == nil {
		err = l.Initialize(r.Env.Device, dtype, r.Training.Seed+1)
	}
	if err != nil {
		s.Free()
		return nil, err
	}
	return l, nil
}

// on puts the critic's adapter on the base that it shares with the policy, in place of the
// policy's, and off takes it off.
func (c *critic) on() { c.turn(true) }

func (c *critic) off() { c.turn(false) }

// turn puts the critic's adapter on or off, and the policy's the other way, on the base that both stand on.
func (c *critic) turn(on bool) {
	// A layer has one adapter at a time. So the policy's goes off before the critic's comes on,
	// and back in the reverse order.
	if c.policy != nil && on {
		c.policy.Enable(false)
	}
	c.adapter.Enable(on)
	if c.policy != nil && !on {
		c.policy.Enable(true)
	}
}

// params are the critic's, by names that no parameter of the policy has.
func (c *critic) params() []nn.Named {
	var list []nn.Named
	switch {
	case c.head == nil:
		return nil
	case !c.separate:
		list = c.head.Params()
	case c.adapter != nil:
		list = c.adapter.Params()
	default:
		list = c.scorer.Params
	}
	named := make([]nn.Named, len(list))
	for i, p := range list {
		named[i] = nn.Named{Name: criticPrefix + p.Name, Param: p.Param}
	}
	return named
}

// free gives back the adapter first: it hangs on the model's layers.
func (c *critic) free() {
	if c.adapter != nil {
		c.adapter.Free()
	}
	switch {
	case c.scorer != nil:
		c.scorer.Free()
	case c.head != nil:
		nn.Free(c.head.Params())
	}
}

// forward gives the value [M, 1] of each token's state, which is what stood before the token.
func (c *critic) forward(p *pass, in recipe.Inputs) *tensor.Tensor {
	if !c.separate {
		return c.head.Forward(p.hidden)
	}
	values := func() *tensor.Tensor { return c.head.Forward(p.run(c.scorer, in)) }
	if !c.shared {
		return values()
	}
	return p.tape.Between(c.on, c.off, values) // also in the backward pass, which may run layers again
}

// warming tells whether the policy waits for the critic.
func (c *critic) warming(iteration int) bool { return iteration < c.warmup }

// warm freezes the policy while the critic warms up, so that a value head does not move what it stands on.
func (c *critic) warm(r *recipe.Run, iteration int) {
	switch {
	case c.warming(iteration) && c.frozen == nil:
		w := r.Trained.(*withCritic)
		c.frozen = w.Trained.Params()
		for _, p := range c.frozen {
			p.Freeze()
		}
	case !c.warming(iteration) && c.frozen != nil:
		for _, p := range c.frozen {
			p.Thaw()
		}
		c.frozen = nil
	}
}

// learningRates gives the critic its own learning rate.
func (c *critic) learningRates(list []optim.Param, policy float64) {
	if c.rate <= 0 {
		return
	}
	for i := range list {
		if strings.HasPrefix(list[i].Name, criticPrefix) {
			// the schedule moves both: the critic's rate is a factor on the one of the step
			list[i].LRScale = float32(c.rate / policy)
		}
	}
}
