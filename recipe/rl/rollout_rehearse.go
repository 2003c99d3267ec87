package rl

import (
	"context"
	"fmt"

	"hone/recipe"
	"hone/reward"
	"hone/train"
)

// Repeat returns the stage for another rehearsal on the same prompts. It makes models, critic and state anew;
// the text of ptx stays open until the first one is closed.
func (s *rolling) Repeat(r *recipe.Run) recipe.Stage {
	other := *s
	other.r, other.meter, other.lent, other.state, other.kept = r, train.NewMeter(), true, rollingState{KL: s.state.KL}, nil
	if c := s.critic; c != nil {
		other.critic = &critic{separate: c.separate, dir: c.dir, warmup: c.warmup, rate: c.rate}
	}
	return &other
}

// Rehearse lets answers run to their end and has no rule or program score them.
func (s *rolling) Rehearse(*recipe.Run) (int, bool) {
	// A device that only counts draws token 0 for ever, which may be an end: without ends every
	// answer is as long as it may be.
	s.stop.EOS, s.stop.Stop, s.stop.Temperature, s.stop.BatchSize = nil, nil, 0, s.c.RolloutBatchSize
	for i := range s.rewards.sources {
		if s.rewards.sources[i].rule != nil {
			s.rewards.sources[i].rule = unasked{}
		}
	}
	return s.c.updates(s.epochs), false
}

// KVCache is that of a batch of the longest prompt and answer.
func (s *rolling) KVCache(r *recipe.Run) int64 {
	longest := 0
	for _, q := range s.prompt {
		longest = max(longest, len(q.IDs))
	}
	return r.CacheBytes(min(s.c.RolloutBatchSize, s.c.answers()), longest+s.c.MaxCompletionLength)
}

// unasked scores nothing.
type unasked struct{}

// Score is 0 for each.
func (unasked) Score(_ context.Context, answers []reward.Answer) ([]float64, error) {
	return make([]float64, len(answers)), nil
}

// Lower writes fewer answers side by side.
func (s *rolling) Lower() (list []recipe.Change) {
	was := s.c.RolloutBatchSize
	for n := min(was, s.c.answers()) / 2; n >= 1; n /= 2 {
		list = append(list, recipe.Change{
			Key:  fmt.Sprintf("rollout_batch_size=%d", n),
			Make: func() { s.c.RolloutBatchSize = n }, Undo: func() { s.c.RolloutBatchSize = was },
		})
	}
	return list
}
