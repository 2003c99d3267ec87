package nn

import "hone/tensor"

// Losses are what Loss computes.
type Losses struct {
	Total   *tensor.Tensor // what is trained on, a scalar [1]
	Balance *tensor.Tensor // the load-balancing loss before its coefficient, a scalar [1]; nil when there is none
}

// Loss runs a language model for training: the mean negative log-probability of targets [N] (negative for
// none) as tensor.LinearCrossEntropy has it and, for a model that asks for it, its load-balancing loss times
// Shape's RouterLoss. The second counts by the input's share of the o.Tokens supervised tokens, so that
// micro-batches add up to their average.
func Loss(m Model, in Input, targets []int32, o tensor.CrossEntropyOptions) Losses {
	in = in.Balanced(m)
	h, targets, supervised := supervisedHidden(m, in, targets)
	var l Losses
	loss := tensor.LinearCrossEntropy(h, m.Head(), h.Tape().Ints(targets), o)
	l.Total, l.Balance = in.AddBalance(m, loss, float32(supervised)/float32(o.Tokens))
	return l
}

// supervisedHidden are the hidden states of the rows that have a target, and their targets.
func supervisedHidden(m Model, in Input, targets []int32) (h *tensor.Tensor, of []int32, supervised int) {
	var rows []int32
	for i, t := range targets {
		if t >= 0 {
			rows, of = append(rows, int32(i)), append(of, t)
		}
	}
	if len(rows) == 0 || len(rows) == len(targets) {
		return m.Hidden(in), targets, len(rows)
	}
	return HiddenAt(m, in, rows), of, len(rows)
}

// Balanced makes in collect what the routers of m pick, where m asks for its load-balancing loss.
func (in Input) Balanced(m Model) Input {
	if m.Shape().RouterLoss > 0 {
		in.Balance = new(tensor.Balance)
	}
	return in
}

// AddBalance adds to a loss what a run with the input collected: the load-balancing loss of m, times Shape's
// RouterLoss and share, the input's part of the whole batch, so that micro-batches add up to their average.
// balance is nil when there is none.
func (in Input) AddBalance(m Model, loss *tensor.Tensor, share float32) (total, balance *tensor.Tensor) {
	if in.Balance == nil {
		return loss, nil
	}
	balance = in.Balance.Loss()
	return tensor.Add(loss, tensor.Scale(balance, m.Shape().RouterLoss*share)), balance
}
