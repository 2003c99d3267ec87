package recipe

import (
	"strings"

	"hone/adapter"
	"hone/device"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/tensor"
)

// critic says what the rest of an answer is worth: a scalar head on the policy's own hidden states, or a model of its own.
type critic struct {
	separate bool
	dir      string // of a model of its own
	warmup   int    // iterations in which only the critic learns
	rate     float64
	head     *model.ScoreHead
	scorer   *model.Scorer // separate
	lora     *adapter.LoRA // separate, with method=lora
	frozen   []nn.Named    // of the policy, while the critic warms up
}

// criticPrefix stands before the names of the critic's parameters.
const criticPrefix = "critic."

// withCritic trains a critic beside the policy. What is saved in the end is the policy.
type withCritic struct {
	trained
	critic *critic
}

func (w *withCritic) params() []nn.Named { return append(w.trained.params(), w.critic.params()...) }

func (w *withCritic) free() {
	w.critic.free()
	w.trained.free()
}

// open makes or loads the critic. The head of a fresh one starts near 0.
func (c *critic) open(r *run, dtype device.DType) (err error) {
	dev := r.env.Device
	if !c.separate {
		c.head = model.NewScoreHead(r.model.Shape().Hidden, model.ValueLayout)
		nn.Initialize(c.head.Params(), dev, dtype, r.c.Seed)
		return nil
	}
	if c.scorer, err = model.OpenScorer(c.dir, model.ScoreLayout, dev, dtype, r.c.Seed); err != nil {
		return err
	}
	c.head = c.scorer.Score
	if r.c.Method == "full" {
		return nil
	}
	config, err := r.c.LoRA.config(c.dir)
	if err == nil {
		config.ModulesToSave = []string{c.head.Layout.Module()}
		c.lora, err = adapter.Attach(adapter.Model{Model: c.scorer.Model.Model, Params: c.scorer.Params}, config)
	}
	if err != nil {
		c.scorer.Free()
		c.scorer, c.head = nil, nil
		return err
	}
	return c.lora.Initialize(dev, dtype, r.c.Seed+1)
}

func (c *critic) params() []nn.Named {
	var list []nn.Named
	switch {
	case c.head == nil:
		return nil
	case !c.separate:
		list = c.head.Params()
	case c.lora != nil:
		list = c.lora.Params()
	default:
		list = c.scorer.Params
	}
	named := make([]nn.Named, len(list))
	for i, p := range list {
		named[i] = nn.Named{Name: criticPrefix + p.Name, Param: p.Param}
	}
	return named
}

func (c *critic) free() {
	if c.lora != nil {
		c.lora.Free()
	}
	switch {
	case c.scorer != nil:
		c.scorer.Free()
	case c.head != nil:
		nn.Free(c.head.Params())
	}
}

// forward gives the value [M, 1] of each token's state, which is what stood before the token.
func (c *critic) forward(p *pass, in inputOptions) *tensor.Tensor {
	if !c.separate {
		return c.head.Forward(p.hidden)
	}
	return c.head.Forward(p.run(c.scorer, in))
}

// warming tells whether the policy waits for the critic.
func (c *critic) warming(iteration int) bool { return iteration < c.warmup }

// warm freezes the policy while the critic warms up, so that a value head does not move what it stands on.
func (c *critic) warm(r *run, iteration int) {
	switch {
	case c.warming(iteration) && c.frozen == nil:
		w := r.trained.(*withCritic)
		c.frozen = w.trained.params()
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
			list[i].LRScale = float32(c.rate / policy)
		}
	}
}
