package rl

import (
	"cmp"
	"context"
	"fmt"
	"slices"

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

// Heaviest are steps of the iterations, of up to heavyLooked, in which the longest prompts are answered and in
// which the largest micro-batches are learned from, and the first step of the second one, which begins with
// what all models have by then. Those of an iteration follow each other, so that its answers are written once;
// the last iterations come first, so that those of the very first are written anew.
func (s *rolling) Heaviest(r *recipe.Run) (steps []int) {
	per := s.c.updates(s.epochs)
	var longest, most top
	for iteration := range min((r.Training.Steps+per-1)/per, heavyLooked) {
		asked, first, prompt := s.asked(iteration), iteration*per, 0
		for _, q := range asked {
			prompt = max(prompt, len(s.prompt[q].IDs))
		}
		longest.add(first, prompt)
		for update := range min(per, r.Training.Steps-first) {
			most.add(first+update, s.rows(asked, s.turn(iteration, update)))
		}
	}
	steps = append(steps, longest.steps...)
	for _, step := range most.steps {
		steps = append(steps, step-step%per, step)
	}
	if r.Training.Steps > per {
		steps = append(steps, per)
	}
	slices.SortFunc(steps, func(a, b int) int { return cmp.Or(cmp.Compare(b/per, a/per), cmp.Compare(a, b)) })
	return slices.Compact(steps)
}

const (
	heavyLooked = 1000 // iterations of which the heaviest are found
	heavy       = 2    // of each kind that are made
)

// rows are those of the largest micro-batch of an update that learns from these answers to questions, each as
// long as it may be.
func (s *rolling) rows(questions, answers []int) (most int) {
	for part := range slices.Chunk(answers, s.t.BatchSize) {
		n := 0
		for _, i := range part {
			n += len(s.prompt[questions[i/s.c.NumGenerations]].IDs) + s.c.MaxCompletionLength
		}
		most = max(most, n)
	}
	return most
}

// top are the heavy steps with the largest sizes, the largest first.
type top struct{ steps, sizes []int }

func (t *top) add(step, size int) {
	at, _ := slices.BinarySearchFunc(t.sizes, size, func(a, b int) int { return cmp.Compare(b, a) })
	t.steps, t.sizes = slices.Insert(t.steps, at, step), slices.Insert(t.sizes, at, size)
	n := min(heavy, len(t.steps))
	t.steps, t.sizes = t.steps[:n], t.sizes[:n]
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
