package rl

import (
	"context"
	"fmt"

	"hone/data"
	"hone/model"
	"hone/nn"
	"hone/recipe"
	"hone/recipe/lm"
	"hone/tensor"
)

// PTX mixes text of pre-training into the updates of PPO, against forgetting (Ouyang et al., 2022, section 3.5).
type PTX struct {
	Data []string `yaml:"data" doc:"files of text; not set: none"`
	Coef float64  `yaml:"coef" doc:"weight of the loss of the next token on it"`
}

func (c *PTX) used() bool { return len(c.Data) > 0 }

func (c *PTX) validate() error {
	if c.used() && !(c.Coef > 0) {
		return fmt.Errorf("ptx.coef is %v; it must be above 0", c.Coef)
	}
	return nil
}

// ptx is the stream of text.
type ptx struct {
	c       *PTX
	corpus  *lm.Corpus
	mixture *data.Mixture
}

// ptxPart marks a micro-batch of text.
type ptxPart struct{ tokens int }

// open makes token stores of the text, with the policy's tokenizer.
func (p *ptx) open(ctx context.Context, r *recipe.Run, rollouts *Rollouts) (err error) {
	if p.corpus, err = (lm.Text{Paths: p.c.Data, Model: rollouts.Model, OnBadRecord: rollouts.OnBadRecord}).Open(ctx, r); err != nil {
		return err
	}
	windows, err := data.NewWindows(p.corpus.Train, r.Training.SequenceLength)
	if err != nil {
		return err
	}
	p.mixture, err = data.NewMixture(r.Training.MixtureConfig(), data.Weighted{Units: windows, Weight: 1})
	return err
}

func (p *ptx) close() error {
	if p.corpus == nil {
		return nil
	}
	return p.corpus.Close()
}

// mix adds a micro-batch of text to those of a step.
func (p *ptx) mix(batches []data.Batch, step int) []data.Batch {
	for _, b := range p.mixture.Step(step) {
		// Its own count stays the normaliser of its loss, so that coef weighs two means whatever the numbers of tokens.
		b.Extra = &ptxPart{b.Tokens} // tells the objective that this is text and not answers
		b.Tokens = batches[0].Tokens // the count that the loop reports; the loss has its own
		batches = append(batches, b)
	}
	return batches
}

// loss is the mean loss of the next token on a micro-batch of text, times ptx.coef.
func (p *ptx) loss(t *tensor.Tape, m *model.Model, b *data.Batch, part *ptxPart, in recipe.Inputs) *tensor.Tensor {
	l := nn.Loss(m, in.Of(t, b), b.Targets, tensor.CrossEntropyOptions{Tokens: part.tokens})
	return tensor.Scale(l.Total, float32(p.c.Coef))
}
