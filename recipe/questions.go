package recipe

import (
	"context"
	"errors"
	"fmt"

	"hone/chat"
	"hone/data"
)

// question is a prompt to answer.
type question struct {
	ids      []int32
	text     string         // as it was given; of messages as they are rendered
	messages []chat.Message // of a conversation; nil where the text is gone on from as it is
	spoken   bool           // the text was given, and became what the user says
}

// PromptsAs says what a prompt that is a text is to a model.
type PromptsAs string

// What a text can be.
const (
	PromptsAuto PromptsAs = "auto" // PromptsUser where there is a chat template, else PromptsText
	PromptsUser PromptsAs = "user" // what the user says, by the chat template
	PromptsText PromptsAs = "text" // gone on from as it is
)

func (p PromptsAs) valid() bool { return p == PromptsAuto || p == PromptsUser || p == PromptsText }

// Spoken tells whether a text is what the user says to a model that has a template or has none.
func (p PromptsAs) Spoken(template bool) (bool, error) {
	switch {
	case !p.valid():
		return false, fmt.Errorf("prompts are taken as %q; use auto, user or text", string(p))
	case p == PromptsUser && !template:
		return false, errors.New("prompts are to be what the user says, and the model has no chat template; name one, or take prompts as text")
	}
	return p == PromptsUser || p == PromptsAuto && template, nil
}

// questions reads prompts and leaves out and counts those that leave no room for an answer.
func (s *rolling) questions(ctx context.Context, paths []string, stats *data.Stats) (list []question, err error) {
	enc := exampleEncoder{tok: s.r.tok, enc: s.r.tok.NewEncoder(), template: s.template}
	spoken, err := PromptsAs(s.c.PromptsAs).Spoken(s.template != nil)
	if err != nil {
		return nil, err
	}
	for e, err := range data.Prompts(data.Sources{Paths: paths, OnBadRecord: data.BadRecord(s.c.OnBadRecord)}, stats) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		q, err := enc.question(&e, spoken)
		if err != nil {
			return nil, fmt.Errorf("prompt %d: %w", len(list)+1, err)
		}
		if len(q.ids)+s.c.MaxCompletionLength > s.t.SequenceLength || len(q.ids) == 0 {
			if stats.Skipped == nil {
				stats.Skipped = map[data.Reason]int{}
			}
			stats.Skipped[longPrompt]++
			continue
		}
		list = append(list, q)
	}
	return list, nil
}

// question renders a prompt up to where its answer begins; spoken says that a text is what the user says.
func (e *exampleEncoder) question(ex *data.Example, spoken bool) (q question, err error) {
	if ex.Messages == nil && spoken {
		q = question{text: ex.Prompt, messages: []chat.Message{chat.NewMessage("user", ex.Prompt)}, spoken: true}
		enc, err := e.template.Encode(e.tok, q.messages, chat.Options{AddGenerationPrompt: true})
		q.ids = enc.IDs
		return q, err
	}
	if ex.Messages == nil {
		if bos, ok := e.tok.BOS(); ok {
			q.ids = append(q.ids, bos)
		}
		q.ids, q.text = e.enc.Encode(q.ids, []byte(ex.Prompt)), ex.Prompt
		return q, nil
	}
	if e.template == nil {
		return q, errors.New("it is a conversation and the model has no chat template; set chat_template")
	}
	if q.messages, err = chatMessages(ex); err != nil {
		return q, err
	}
	enc, err := e.template.Encode(e.tok, q.messages, chat.Options{Tools: ex.Tools, AddGenerationPrompt: true})
	q.ids, q.text = enc.IDs, enc.Text
	return q, err
}

// taken says what texts among the prompts are.
func (s *rolling) taken() string {
	for _, q := range s.prompt {
		switch {
		case q.spoken:
			return "; texts are what the user says, by the chat template (prompts_as)"
		case q.messages == nil:
			return "; texts are gone on from as they are (prompts_as)"
		}
	}
	return ""
}
