package preference

import (
	"context"
	"slices"

	"hone/data"
	"hone/loss"
	"hone/recipe"
	"hone/tensor"
	"hone/train"
)

// kto is the loss of answers with a verdict of their own.
const kto = "kto"

// mismatch puts to the prompt of each item the answer of the one before it that has another prompt, as KTO
// estimates the KL divergence (Ethayarajh et al., 2024, section 4.1).
func mismatch(items []judged, most int, add func(judged) error) error {
	n := len(items)
	prompts, hashes, before := make([]int, n), make([]uint64, n), make([]int, n)
	for i := range items {
		marks := items[i].answers[0]
		for prompts[i] < len(marks) && marks[prompts[i]]&1 == 0 {
			prompts[i]++
		}
		hashes[i], before[i] = data.HashMarks(marks[:prompts[i]]), i
	}
	// before[i] is the last item before i, around the end, whose prompt is another: its own neighbour, or
	// where that has the same prompt what the neighbour's is.
	for at := range 2 * n { // the second time around, what is before the first ones is known
		i, last := at%n, (at+n-1)%n
		if before[i] = last; hashes[last] == hashes[i] {
			before[i] = before[last]
		}
		if hashes[before[i]] == hashes[i] { // of the first ones the first time, and where all prompts are one
			before[i] = i
		}
	}
	for i, j := range before {
		marks := slices.Concat(items[i].answers[0][:prompts[i]], items[j].answers[0][prompts[j]:])
		if err := add(judged{answers: [][]int32{marks[:min(len(marks), most)]}}); err != nil {
			return err
		}
	}
	return nil
}

// divergence estimates the KL divergence for KTO over the whole batch, from answers to prompts that are not theirs.
func (s *preferring) divergence(ctx context.Context, r *recipe.Run, batches []data.Batch, wrong []judged) error {
	if s.c.LossType != kto {
		return nil
	}
	sum, n := 0.0, 0
	for _, b := range batches {
		d := b.Extra.(*dealt)
		for _, w := range deal(wrong, d.index, len(d.index)) {
			err := train.Infer(ctx, r.Tape, func() error {
				for i, logp := range tensor.Values(answerLogProbs(r.Model, r.Tape, &w)) {
					sum += logp - float64(w.Extra.(*dealt).items[i].ref[0])
					n++
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	// The estimate of log π - log π_ref on wrong answers is a baseline and no loss: it has no gradient, and
	// below 0 it would reward moving away (Ethayarajh et al., 2024, section 4.1).
	kl := max(sum/float64(n), 0)
	s.meter.Add("kl", kl)
	for _, b := range batches {
		b.Extra.(*dealt).kl = float32(kl)
	}
	return nil
}

// unpaired is the loss of answers with a verdict of their own.
func (s *preferring) unpaired(t *tensor.Tape, logp *tensor.Tensor, d *dealt) *tensor.Tensor {
	u := loss.Unpaired{LogProbs: logp, KL: d.kl}
	var ref []float32
	host := tensor.Values(logp)
	for i, j := range d.items {
		ref, u.Desirable = append(ref, j.ref[0]), append(u.Desirable, j.desirable)
		name := "rejected"
		if j.desirable {
			name = "chosen"
		}
		s.meter.Add("rewards/"+name, s.reward(j, 0, host[i]))
		s.meter.Add("logps/"+name, host[i])
	}
	u.Ref = t.Constant(ref, len(ref), 1)
	return loss.KTO(u, loss.KTOOptions{
		Beta: float32(s.c.Beta), Desirable: float32(s.c.DesirableWeight), Unwanted: float32(s.c.UndesirableWeight), Examples: d.whole,
	})
}
