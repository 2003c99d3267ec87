package recipe

import (
	"hone/data"
	"hone/nn"
	"hone/tensor"
	"hone/tokenizer"
	"hone/train"
)

// nextToken is the objective of predicting the next token.
type nextToken struct {
	model   nn.Model
	options tensor.CrossEntropyOptions // but for Tokens
	inputs  Inputs
	balance float64 // load-balancing loss of the step at hand, summed over its micro-batches
}

// TrainNextToken sets what the loop trains: the next token, with the recipe's regularisation.
func (r *Run) TrainNextToken() error {
	o, err := r.nextToken()
	if err != nil {
		return err
	}
	r.Loop.Objective = o.loss
	if r.Model.Shape().RouterLoss > 0 {
		r.Loop.Metrics = o.metrics
	}
	return nil
}

// nextToken is the objective with the recipe's regularisation; Tokens is set for each batch.
func (r *Run) nextToken() (*nextToken, error) {
	again, err := r.Training.RecomputedLayers(r.Model.Shape().Layers)
	return &nextToken{
		model:   r.Model,
		inputs:  Inputs{Dropout: float32(r.Training.Dropout), Noise: float32(r.Training.NEFTuneNoiseAlpha), Recompute: again},
		options: tensor.CrossEntropyOptions{ZLoss: float32(r.Training.ZLoss), Smoothing: float32(r.Training.LabelSmoothing)},
	}, err
}

// loss is that of a micro-batch: cross-entropy over the tokens of the whole batch, z-loss,
// smoothing, and what balances experts.
func (o *nextToken) loss(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
	options := o.options
	options.Tokens = b.Tokens
	l := nn.Loss(o.model, o.inputs.Of(tape, &b), b.Targets, options)
	if l.Balance != nil {
		v, err := l.Balance.Item()
		if err != nil {
			panic(&tensor.Error{Op: "Loss", Problem: err.Error()})
		}
		o.balance += v * float64(b.Supervised()) / float64(b.Tokens) // by its share of the tokens, as it counts in the loss
	}
	return l.Total
}

// metrics are what a step tells beside its loss, which starts anew after them.
func (o *nextToken) metrics() map[string]float64 {
	m := map[string]float64{"router_aux_loss": o.balance}
	o.balance = 0
	return m
}

// HeldOut is the objective of evaluations: the next token and nothing else.
func HeldOut(m nn.Model) train.Objective {
	return func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
		h := m.Hidden(nn.NewInput(tape, b.IDs, b.Positions, b.Offsets))
		return tensor.LinearCrossEntropy(h, m.Head(), tape.Ints(b.Targets), tensor.CrossEntropyOptions{Tokens: b.Tokens})
	}
}

// Inputs are the parts of nn.Input that a run sets in training.
type Inputs struct {
	Dropout   float32
	Noise     float32 // NEFTune's alpha
	Recompute int     // layers
}

// Of puts a batch on the tape's device, as the model takes it.
func (in Inputs) Of(t *tensor.Tape, b *data.Batch) nn.Input {
	x := nn.NewInput(t, b.IDs, b.Positions, b.Offsets)
	x.Dropout, x.Noise, x.Recompute = in.Dropout, in.Noise, in.Recompute
	return x
}

// Balanced adds the load-balancing loss of a run with the input, and notes it.
func Balanced(m nn.Model, in nn.Input, l *tensor.Tensor, share float32, to *train.Meter) *tensor.Tensor {
	l, balance := in.AddBalance(m, l, share)
	if balance != nil {
		to.Add("router_aux_loss", tensor.Values(balance)...)
	}
	return l
}

// Parts is a sequence of marked tokens as text that is learned or not.
func Parts(tok *tokenizer.Tokenizer, marks []int32) (parts []train.Part) {
	for at := 0; at < len(marks); {
		_, learned := data.Unmark(marks[at])
		var ids []int32
		for ; at < len(marks); at++ {
			id, same := data.Unmark(marks[at])
			if same != learned {
				break
			}
			ids = append(ids, id)
		}
		parts = append(parts, train.Part{Text: string(tok.Decode(ids)), Supervised: learned})
	}
	return parts
}
