package recipe

import (
	"hone/data"
	"hone/nn"
	"hone/tensor"
	"hone/train"
)

// nextToken is the objective of predicting the next token.
type nextToken struct {
	model     nn.Model
	options   tensor.CrossEntropyOptions // but for Tokens
	dropout   float32
	noise     float32 // NEFTune's alpha
	recompute int     // layers
	balance   float64 // load-balancing loss of the step at hand, summed over its micro-batches
}

// objective sets what the loop trains: the next token, with the recipe's regularisation.
func (r *run) objective() error {
	o, err := r.nextToken()
	if err != nil {
		return err
	}
	r.loop.Objective = o.loss
	if r.model.Shape().RouterLoss > 0 {
		r.loop.Metrics = o.metrics
	}
	return nil
}

func (r *run) nextToken() (*nextToken, error) {
	again, err := r.c.recompute(r.model.Shape().Layers)
	return &nextToken{
		model: r.model, dropout: float32(r.c.Dropout), noise: float32(r.c.NEFTuneNoiseAlpha), recompute: again,
		options: tensor.CrossEntropyOptions{ZLoss: float32(r.c.ZLoss), Smoothing: float32(r.c.LabelSmoothing)},
	}, err
}

// input puts a batch on the tape's device.
func (o *nextToken) input(tape *tensor.Tape, b data.Batch) nn.Input {
	x := nn.NewInput(tape, b.IDs, b.Positions, b.Offsets)
	x.Dropout, x.Noise, x.Recompute = o.dropout, o.noise, o.recompute
	return x
}

func (o *nextToken) loss(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
	options := o.options
	options.Tokens = b.Tokens
	l := nn.Loss(o.model, o.input(tape, b), b.Targets, options)
	if l.Balance != nil {
		v, err := l.Balance.Item()
		if err != nil {
			panic(&tensor.Error{Op: "Loss", Problem: err.Error()})
		}
		o.balance += v * float64(b.Supervised()) / float64(b.Tokens)
	}
	return l.Total
}

// metrics are what a step tells beside its loss, which starts anew after them.
func (o *nextToken) metrics() map[string]float64 {
	m := map[string]float64{"router_aux_loss": o.balance}
	o.balance = 0
	return m
}

// heldOut is the objective of evaluations: the next token and nothing else.
func heldOut(m nn.Model) train.Objective {
	return func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
		h := m.Hidden(nn.NewInput(tape, b.IDs, b.Positions, b.Offsets))
		return tensor.LinearCrossEntropy(h, m.Head(), tape.Ints(b.Targets), tensor.CrossEntropyOptions{Tokens: b.Tokens})
	}
}
