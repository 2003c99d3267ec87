package rl

import (
	"fmt"
	"math"
	"slices"

	"hone/loss"
	"hone/train"
)

// watch is what the stop rules remember of a run.
type watch struct {
	Seen        int         `json:"seen"`         // iterations
	First       observation `json:"first"`        // iteration, with the entropy of its updates, known in the next
	NegativeRow int         `json:"negative_row"` // iterations in a row whose KL was below 0
	Told        []string    `json:"told"`         // rules that were warned of already
}

// observation is what the rules look at in an iteration.
type observation struct {
	Score      float64 `json:"score"`
	Length     float64 `json:"length"`
	KL         float64 `json:"kl"`
	Entropy    float64 `json:"entropy"`     // of the updates before; 0 when not known
	FollowsLen float64 `json:"follows_len"` // correlation of score and length
}

// observe is an iteration seen by the rules.
func (s *rolling) observe(answers []*rollout) observation {
	var o observation
	var scores, lengths []float64
	var kl average
	for _, a := range answers {
		scores, lengths = append(scores, a.Raw), append(lengths, float64(a.tokens()))
		kl.add(a.kl(loss.K1))
	}
	for i := range scores {
		o.Score += scores[i] / float64(len(scores))
		o.Length += lengths[i] / float64(len(lengths))
	}
	if o.FollowsLen = loss.Correlation(scores, lengths); math.IsNaN(o.FollowsLen) {
		o.FollowsLen = 0
	}
	o.KL, o.Entropy = kl.mean(), s.state.Entropy.mean()
	return o
}

// finding is a rule that holds and what it means.
type finding struct{ rule, text string }

// see looks at an iteration and returns what is wrong, if anything.
func (w *watch) see(d *Diagnosis, o observation) *finding {
	w.Seen++
	switch {
	case w.Seen == 1:
		w.First = o
	case w.First.Entropy == 0:
		w.First.Entropy = o.Entropy // of the first iteration's updates
	}
	if w.NegativeRow++; o.KL >= -d.NegativeKL { // an estimate may be a little below 0 by chance; without a reference it is 0
		w.NegativeRow = 0
	}
	// Counting goes on where no rule counts yet, so that a run that is resumed with rules on knows where it began.
	if d.On == "off" || w.Seen < d.MinIterations {
		return nil
	}
	switch {
	// KL is never negative, but its estimate from samples is: once is chance, twice in a row a mistake in
	// what is compared.
	case w.NegativeRow >= 2:
		return &finding{"negative KL", fmt.Sprintf(
			"the KL divergence from the reference is estimated at %.2f nats an answer, which cannot be: "+
				"the answers are not drawn from the policy that is trained; "+
				"check that temperature is the one of training and that nothing filters what is drawn", o.KL)}
	// Reward models are right near what they have seen (Gao et al., "Scaling Laws for Reward Model
	// Overoptimization", 2023): far from the reference a score that rises is of their mistakes. Where it
	// falls, too, the run has other troubles, which its metrics show.
	case d.MaxKL > 0 && o.KL > d.MaxKL && o.Score > w.First.Score:
		return &finding{"KL exploding", fmt.Sprintf(
			"the score has risen from %.3f to %.3f while the policy went %.1f nats an answer away from the reference: "+
				"it is learning what the reward overlooks; raise kl_coef (or beta), set kl_target, or lower optimizer.learning_rate",
			w.First.Score, o.Score, o.KL)}
	// Longer answers alone are no fault: reasoning grows by itself. That scores follow the length within an
	// iteration is.
	case d.LengthRatio > 0 && o.Length > d.LengthRatio*w.First.Length && o.FollowsLen > d.LengthReward && o.Score > w.First.Score:
		return &finding{"length hacking", fmt.Sprintf(
			"answers have grown from %.0f to %.0f tokens and the score follows their length (correlation %.2f): "+
				"the reward pays for length; look at length_gap_correlation of the reward model, add reward=length:N, "+
				"or lower max_completion_length", w.First.Length, o.Length, o.FollowsLen)}
	case d.EntropyRatio > 0 && w.First.Entropy > 0 && o.Entropy < d.EntropyRatio*w.First.Entropy:
		return &finding{"entropy collapse", fmt.Sprintf(
			"the entropy of the policy has fallen from %.4f to %.4f nats a token: "+
				"it always writes the same and cannot find anything better; "+
				"set entropy_coef, raise kl_coef (or beta), or lower optimizer.learning_rate", w.First.Entropy, o.Entropy)}
	}
	return nil
}

// diagnose ends the run at a finding, or tells of it once.
func (s *rolling) diagnose(step int, f *finding) error {
	if f == nil {
		return nil
	}
	text := f.rule + ": " + f.text
	if s.c.Diagnosis.On == "stop" {
		return &train.Stop{Reason: text}
	}
	if slices.Contains(s.state.Watch.Told, f.rule) {
		return nil
	}
	s.state.Watch.Told = append(s.state.Watch.Told, f.rule)
	s.state.Warning = "warning: " + text
	return s.warn(step, s.state.Warning)
}

// warn says something about the answers that the step after so many learns from, if there is anything to say. It is an event of that
// step, as theirs is: of the step before, a run that goes on from there would have it twice.
func (s *rolling) warn(step int, text string) error {
	if text == "" {
		return nil
	}
	return s.tell(train.MessageEvent{Step: step + 1, Text: text})
}
