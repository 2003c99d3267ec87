package example

import (
	"errors"
	"fmt"

	"hone/chat"
	"hone/data"
)

// Prompt is a prompt to answer.
type Prompt struct {
	IDs      []int32
	Text     string         // as it was given; of messages as they are rendered
	Messages []chat.Message // of a conversation; nil where the text is gone on from as it is
	Spoken   bool           // the text was given, and became what the user says
}

// PromptsAs says what a prompt that is a text is to a model.
type PromptsAs string

// What a text can be.
const (
	PromptsAuto PromptsAs = "auto" // PromptsUser where there is a chat template, else PromptsText
	PromptsUser PromptsAs = "user" // what the user says, by the chat template
	PromptsText PromptsAs = "text" // gone on from as it is
)

// Valid tells whether p is one of these.
func (p PromptsAs) Valid() bool { return p == PromptsAuto || p == PromptsUser || p == PromptsText }

// Spoken tells whether a text is what the user says to a model that has a template or has none.
func (p PromptsAs) Spoken(template bool) (bool, error) {
	switch {
	case !p.Valid():
		return false, fmt.Errorf("prompts are taken as %q; use auto, user or text", string(p))
	case p == PromptsUser && !template:
		return false, errors.New("prompts are to be what the user says, and the model has no chat template; name one, or take prompts as text")
	}
	return p == PromptsUser || p == PromptsAuto && template, nil
}

// Prompt renders a prompt up to where its answer begins; spoken says that a text is what the user says.
func (e *Encoder) Prompt(ex *data.Example, spoken bool) (q Prompt, err error) {
	if ex.Messages == nil && spoken {
		q = Prompt{Text: ex.Prompt, Messages: []chat.Message{chat.NewMessage("user", ex.Prompt)}, Spoken: true}
		enc, err := e.Template.Encode(e.Tokenizer, q.Messages, chat.Options{AddGenerationPrompt: true})
		q.IDs = enc.IDs
		return q, err
	}
	if ex.Messages == nil {
		q.IDs, q.Text = e.Tokenizer.Prompt([]byte(ex.Prompt)), ex.Prompt
		return q, nil
	}
	if e.Template == nil {
		return q, errors.New("it is a conversation and the model has no chat template; set chat_template")
	}
	if q.Messages, err = chatMessages(ex); err != nil {
		return q, err
	}
	enc, err := e.Template.Encode(e.Tokenizer, q.Messages, chat.Options{Tools: ex.Tools, AddGenerationPrompt: true})
	q.IDs, q.Text = enc.IDs, enc.Text
	return q, err
}
