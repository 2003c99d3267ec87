package recipe

import (
	"context"
	"fmt"
	"math"
	"slices"

	"hone/adapter"
	"hone/chat"
	"hone/device"
	"hone/reward"
)

// rewards are what scores the answers of a run, summed.
type rewards struct {
	sources []rewardSource
	weights []float64
	note    string // what a person should know of them
}

// rewardSource is a rule, or a reward model.
type rewardSource struct {
	name string
	rule reward.Source
	// Of a reward model:
	judge *Judge
	same  bool // it has the policy's tokenizer and template, so that tokens are scored as they were written
}

// openRewards opens what the recipe names.
func (s *rolling) openRewards(run *run, dtype device.DType) (r *rewards, err error) {
	r = &rewards{}
	defer func() {
		if err != nil {
			r.free()
		}
	}()
	if r.weights, err = s.c.weights(); err != nil {
		return r, err
	}
	for _, spec := range s.c.Reward {
		rule, ok, err := reward.Parse(spec, s.c.programs())
		if err != nil {
			return r, err
		}
		source := rewardSource{name: spec, rule: rule}
		if !ok {
			if source.judge, err = OpenJudge(spec, run.env.Device, dtype, JudgeOptions{Base: s.frozen(run)}); err != nil {
				return r, fmt.Errorf("reward %s is no rule (%s) and cannot be opened as a reward model: %w", spec, reward.Rules, err)
			}
			source.same = source.judge.tok.Fingerprint() == run.tok.Fingerprint() && sourceOf(source.judge.enc.template) == sourceOf(s.template)
			if !source.same {
				r.note += fmt.Sprintf("; the reward model %s has another tokenizer or chat template, so it reads the answers as text", spec)
			}
		}
		r.sources = append(r.sources, source)
	}
	return r, nil
}

func sourceOf(t *chat.Template) string {
	if t == nil {
		return ""
	}
	return t.Source()
}

func (r *rewards) free() {
	for _, s := range r.sources {
		if s.judge != nil {
			s.judge.Free()
		}
	}
	r.sources = nil
}

// score sets Raw of the answers to the weighted sum of the rewards, all of which must be finite.
func (r *rewards) score(ctx context.Context, from []question, answers []*rollout) error {
	for _, a := range answers {
		a.Raw = 0
	}
	for k, s := range r.sources {
		scores, err := s.score(ctx, from, answers)
		if err != nil {
			return err
		}
		for i, v := range scores {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("reward %s gives answer %d the score %v; a reward must be a number", s.name, i+1, v)
			}
			answers[i].Raw += r.weights[k] * v
		}
	}
	return nil
}

func (s *rewardSource) score(ctx context.Context, from []question, answers []*rollout) ([]float64, error) {
	switch {
	case s.rule != nil:
		list := make([]reward.Answer, len(answers))
		for i, a := range answers {
			list[i] = reward.Answer{Prompt: from[a.Prompt].text, Text: a.Text, Tokens: a.tokens(), Ended: a.Ended}
		}
		return s.rule.Score(ctx, list)
	case s.same:
		list := make([][]int32, len(answers))
		for i, a := range answers {
			list[i] = s.judge.fit(a.IDs)
		}
		return s.judge.ScoreTokens(ctx, list)
	}
	list := make([]ScoreText, len(answers))
	for i, a := range answers {
		q := from[a.Prompt]
		list[i] = ScoreText{Prompt: q.text, Messages: slices.Clone(q.messages), Answer: a.Text}
		if q.spoken && s.judge.enc.template == nil { // it knows texts alone
			list[i].Messages = nil
		}
	}
	return s.judge.Score(ctx, list)
}

// fit leaves out the beginning of what is longer than the reward model's context.
func (j *Judge) fit(ids []int32) []int32 {
	if most := j.scorer.Shape().MaxPositions; most > 0 && len(ids) > most {
		return ids[len(ids)-most:]
	}
	return ids
}

// adapter is what the run trains beside the model; nil with all weights.
func (r *run) adapter() adapter.Adapter {
	t := r.trained
	if w, ok := t.(*withCritic); ok {
		t = w.trained
	}
	switch a := t.(type) {
	case *adapted:
		return a.Adapter
	case *virtual:
		return a.Adapter
	}
	return nil
}
