package rl

import (
	"context"
	"errors"
	"fmt"

	"hone/data"
	"hone/recipe/example"
)

// questions reads prompts and leaves out and counts those that leave no room for an answer.
func (s *rolling) questions(ctx context.Context, paths []string, stats *data.Stats) (list []example.Prompt, err error) {
	enc := example.NewEncoder(s.r.Tokenizer, s.template)
	spoken, err := example.PromptsAs(s.c.PromptsAs).Spoken(s.template != nil)
	if err != nil {
		return nil, err
	}
	for e, err := range data.Prompts(data.Sources{Paths: paths, OnBadRecord: data.BadRecord(s.c.OnBadRecord)}, stats) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		q, err := enc.Prompt(&e, spoken)
		if err != nil {
			return nil, fmt.Errorf("prompt %d: %w", len(list)+1, err)
		}
		if len(q.IDs)+s.c.MaxCompletionLength > s.t.SequenceLength || len(q.IDs) == 0 {
			if stats.Skipped == nil {
				stats.Skipped = map[data.Reason]int{}
			}
			stats.Skipped[example.LongPrompt]++
			continue
		}
		list = append(list, q)
	}
	return list, nil
}

// taken says what texts among the prompts are.
func (s *rolling) taken() string {
	for _, q := range s.prompt {
		switch {
		case q.Spoken:
			return "; texts are what the user says, by the chat template (prompts_as)"
		case q.Messages == nil:
			return "; texts are gone on from as they are (prompts_as)"
		}
	}
	return ""
}
