package rl

import (
	"math"

	"hone/data"
	"hone/loss"
	"hone/nn"
	"hone/recipe"
	"hone/tensor"
)

// rolled is what a micro-batch is made of and the counts over the whole batch.
type rolled struct {
	answers []*rollout
	tokens  int // of all answers of the whole batch
	whole   int // answers of the whole batch
}

// dealAnswers makes micro-batches of size answers, each with the counts of all of them, by which its losses
// are divided.
func dealAnswers(list []*rollout, size int) (batches []data.Batch) {
	tokens := 0
	for _, a := range list {
		tokens += a.tokens()
	}
	for at := 0; at < len(list); at += size {
		d := &rolled{answers: list[at:min(at+size, len(list))], tokens: tokens, whole: len(list)}
		b := data.Batch{Tokens: tokens, Extra: d}
		for _, a := range d.answers {
			b.AppendContexts(a.marks())
		}
		batches = append(batches, b)
	}
	return batches
}

// marks are the answer's tokens as supervised ones.
func (a *rollout) marks() []int32 {
	marks := make([]int32, len(a.IDs))
	for i, id := range a.IDs {
		marks[i] = data.Mark(id, i >= a.From)
	}
	return marks
}

// pass is a micro-batch on its way through the policy; the tensors have an element for each of the M tokens
// of the answers.
type pass struct {
	*rolled
	tape              *tensor.Tape
	batch             *data.Batch
	rows, owner       []int32        // of each token: its row, and its answer in the micro-batch
	in                nn.Input       // of the policy
	hidden            *tensor.Tensor // [M, C]
	logProbs, entropy *tensor.Tensor // [M]
}

// begin lists the answers' tokens of a micro-batch.
func begin(t *tensor.Tape, b *data.Batch) (p *pass, targets []int32) {
	p = &pass{rolled: b.Extra.(*rolled), tape: t, batch: b}
	p.rows, targets, p.owner = b.SupervisedRows()
	return p, targets
}

// run computes the hidden states of a model at the answers' tokens: [M, C].
func (p *pass) run(m nn.Model, in recipe.Inputs) *tensor.Tensor {
	return nn.HiddenAt(m, in.Of(p.tape, p.batch), p.rows)
}

// forward runs a policy on the answers' tokens.
func (s *rolling) forward(t *tensor.Tape, m nn.Model, b *data.Batch, in recipe.Inputs) *pass {
	p, targets := begin(t, b)
	if p.in = in.Of(t, b); t.Recording() { // a training step: the rows that were kept from writing are those of this model
		p.in = s.known(p.in.Balanced(m), p.answers)
	}
	p.hidden = nn.HiddenAt(m, p.in, p.rows)
	if t.Recording() {
		s.forget() // kept results serve one pass: after the update they are wrong
	}
	h := p.hidden // scaled hidden states give scaled logits, as heads with a bias or a soft cap are refused in Open
	if s.c.Temperature != 1 {
		h = tensor.Scale(h, float32(1/s.c.Temperature))
	}
	logProbs := tensor.LogProbs
	if s.algorithm.entropyBonus() {
		logProbs = tensor.LogProbsAndEntropy
	}
	p.logProbs, p.entropy = logProbs(h, m.Head(), t.Ints(targets))
	return p
}

// constant puts a number for each token on the device.
func (p *pass) constant(of func(a *rollout, i int) float64) *tensor.Tensor {
	v := make([]float32, 0, len(p.owner))
	for _, a := range p.answers {
		for i := range a.tokens() {
			v = append(v, float32(of(a, i)))
		}
	}
	return p.tape.Constant(v, len(v))
}

// old are the log-probabilities [M] from when the answers were written.
func (p *pass) old() *tensor.Tensor {
	return p.constant(func(a *rollout, i int) float64 { return float64(a.LogProbs[i]) })
}

// ref are the log-probabilities [M] under the reference.
func (p *pass) ref() *tensor.Tensor {
	return p.constant(func(a *rollout, i int) float64 { return float64(a.Ref[i]) })
}

// advantages [M] are those of the tokens, or that of the whole answer at each of them.
func (p *pass) advantages() *tensor.Tensor {
	return p.constant(func(a *rollout, i int) float64 { return a.Advantages[min(i, len(a.Advantages)-1)] })
}

// perToken are weights that make a mean over the tokens of the whole batch.
func (p *pass) perToken() *tensor.Tensor {
	return p.constant(func(*rollout, int) float64 { return 1 / float64(p.tokens) })
}

// objective is the loss of a micro-batch of answers, or of text that is mixed in.
func (s *rolling) objective(t *tensor.Tape, b data.Batch) *tensor.Tensor {
	in := recipe.Inputs{Recompute: s.again}
	if text, ok := b.Extra.(*ptxPart); ok {
		return s.ptx.loss(t, s.r.Model, &b, text, in)
	}
	p := s.forward(t, s.r.Model, &b, in)
	l := s.algorithm.loss(s, p)
	s.measure(p)
	if s.critic != nil && s.critic.warming(s.state.Iteration) {
		return l
	}
	return recipe.Balanced(s.r.Model, p.in, l, float32(len(p.answers))/float32(p.whole), s.meter)
}

// measure notes how far the policy has moved from the one that wrote.
func (s *rolling) measure(p *pass) {
	now, entropy := tensor.Values(p.logProbs), tensor.Values(p.entropy)
	at := 0
	for _, a := range p.answers {
		for _, old := range a.LogProbs {
			// d²/2 is the k2 estimate of KL(π_old || π), TRL's approxkl; target_kl is compared with its mean.
			d := now[at] - float64(old)
			s.approxKL.add(d * d / 2)
			s.meter.Add("policy/approxkl_avg", d*d/2)
			s.meter.Add("val/ratio", math.Exp(d))
			at++
		}
	}
	s.entropy.add(entropy...)
	s.meter.Add("policy/entropy_avg", entropy...)
}

// made keeps what was measured in an update once it is made, so that one that is interrupted leaves nothing.
func (s *rolling) made() map[string]float64 {
	// ApproxKL is of the last update alone, Entropy of all of the iteration: the first says when to stop it,
	// the second is what a rule compares between iterations.
	s.state.ApproxKL = s.approxKL
	s.state.Entropy.Sum += s.entropy.Sum
	s.state.Entropy.Count += s.entropy.Count
	return s.meter.Take()
}

// clipped notes the share of ratios that were clipped.
func (s *rolling) clipped(ratio *tensor.Tensor, c loss.Clip) {
	for _, r := range tensor.Values(ratio) {
		out := 0.0
		if r < 1-float64(c.Low) || r > 1+float64(c.High) {
			out = 1
		}
		s.meter.Add("policy/clipfrac_avg", out)
	}
}
