package rl

import (
	"context"
	"fmt"
	"math"
	"slices"

	"hone/chat"
	"hone/device"
	"hone/recipe"
	"hone/recipe/example"
	"hone/recipe/judge"
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
	judge *judge.Judge
	same  bool // it has the policy's tokenizer and template, so that tokens are scored as they were written
}

// openRewards opens what the recipe names.
func (s *rolling) openRewards(run *recipe.Run, dtype device.DType) (r *rewards, err error) {
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
			if source.judge, err = judge.Open(spec, run.Env.Device, dtype, judge.Options{Base: s.frozen(run)}); err != nil {
				return r, fmt.Errorf("reward %s is no rule (%s) and cannot be opened as a reward model: %w", spec, reward.Rules, err)
			}
			source.same = source.judge.Tokenizer().Fingerprint() == run.Tokenizer.Fingerprint() &&
				sourceOf(source.judge.Template()) == sourceOf(s.template)
			if !source.same {
				r.note += fmt.Sprintf("; the reward model %s has another tokenizer or chat template, so it reads the answers as text", spec)
			}
		}
		r.sources = append(r.sources, source)
	}
	return r, nil
}

// sourceOf is the text of a template, "" without one.
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
func (r *rewards) score(ctx context.Context, from []example.Prompt, answers []*rollout) error {
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

// score asks one source. A reward model with the policy's own tokenizer is given the tokens that were
// drawn, where they end as what it has learned from, any other one the text.
func (s *rewardSource) score(ctx context.Context, from []example.Prompt, answers []*rollout) ([]float64, error) {
	switch {
	case s.rule != nil:
		list := make([]reward.Answer, len(answers))
		for i, a := range answers {
			list[i] = reward.Answer{Prompt: from[a.Prompt].Text, Text: a.Text, Tokens: a.tokens(), Ended: a.Ended}
		}
		return s.rule.Score(ctx, list)
	case s.same: // ids go as they are: decoded and encoded again they may be others
		list := make([][]int32, len(answers))
		for i, a := range answers {
			var err error
			if list[i], err = s.tokens(from, a); err != nil {
				return nil, err
			}
		}
		return s.judge.ScoreTokens(ctx, list)
	}
	list := make([]judge.Text, len(answers))
	for i, a := range answers {
		list[i] = s.text(from, a)
	}
	return s.judge.Score(ctx, list)
}

// tokens are an answer as a reward model of the policy's tokenizer and template reads it.
func (s *rewardSource) tokens(from []example.Prompt, a *rollout) ([]int32, error) {
	text := s.text(from, a)
	switch {
	case a.cutOff: // it has learned to score at the end of a text, which a stop of the recipe is not
		return s.judge.Tokens(&text)
	case !a.Ended:
		return s.judge.Fit(a.IDs), nil
	}
	behind, err := s.judge.Behind(&text)
	return s.judge.Fit(slices.Concat(a.IDs, behind)), err
}

// text is an answer as a reward model reads what others wrote.
func (s *rewardSource) text(from []example.Prompt, a *rollout) judge.Text {
	q := from[a.Prompt]
	text := judge.Text{Prompt: q.Text, Messages: slices.Clone(q.Messages), Answer: a.Text}
	if q.Spoken && s.judge.Template() == nil { // it knows texts alone
		text.Messages = nil
	}
	return text
}
