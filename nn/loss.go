package nn

import "hone/tensor"

// Losses are what Loss computes.
type Losses struct {
	Hidden  *tensor.Tensor // of the model, [N, C]
	Total   *tensor.Tensor // what is trained on, a scalar [1]
	Balance *tensor.Tensor // the load-balancing loss before its coefficient, a scalar [1]; nil when there is none
}

// Loss runs a language model for training: the mean negative log-probability of targets [N] (negative for none) as
// tensor.LinearCrossEntropy has it and, for a model that asks for it, its load-balancing loss times Shape's RouterLoss.
// The second counts by the input's share of the o.Tokens supervised tokens, so that micro-batches add up to their average.
func Loss(m Model, in Input, targets []int32, o tensor.CrossEntropyOptions) Losses {
	c := m.Shape().RouterLoss
	if c > 0 {
		in.Balance = new(tensor.Balance)
	}
	h := m.Hidden(in)
	l := Losses{Hidden: h, Total: tensor.LinearCrossEntropy(h, m.Head(), h.Tape().Ints(targets), o)}
	if c > 0 {
		l.Balance = in.Balance.Loss()
		l.Total = tensor.Add(l.Total, tensor.Scale(l.Balance, c*share(targets, o.Tokens)))
	}
	return l
}

// share is the part of the tokens that targets supervise.
func share(targets []int32, tokens int) float32 {
	n := 0
	for _, t := range targets {
		if t >= 0 {
			n++
		}
	}
	return float32(n) / float32(tokens)
}
