// Package example turns records of fine-tuning - conversations, prompts with answers, prompts alone - into tokens, by chat template,
// and says which of them are learned.
package example

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hone/chat"
	"hone/data"
	"hone/tokenizer"
)

// Reasons for which examples and prompts are left out or changed.
const (
	Unanswered data.Reason = "examples without a token to learn"
	CutShort   data.Reason = "examples cut at sequence_length"
	TooLong    data.Reason = "examples over sequence_length"
	LongPrompt data.Reason = "prompts that leave no room for an answer"
)

// CutAndLeft are how many examples were cut, and how many left out for each reason.
func CutAndLeft(stats *data.Stats) (cut int, left map[string]int) {
	left = map[string]int{}
	for reason, n := range stats.Skipped {
		if reason == CutShort {
			cut = n
		} else {
			left[string(reason)] = n
		}
	}
	return cut, left
}

// Counted says what became of the records.
func Counted(stats *data.Stats) string {
	cut, left := CutAndLeft(stats)
	text := fmt.Sprintf("%d records of %d files", stats.Documents, stats.Files)
	if stats.InvalidUTF8 > 0 {
		text += fmt.Sprintf(", %d with invalid UTF-8 (read as U+FFFD)", stats.InvalidUTF8)
	}
	if cut > 0 {
		text += fmt.Sprintf(", %d %s", cut, CutShort)
	}
	for i, reason := range slices.Sorted(maps.Keys(left)) {
		if i == 0 {
			text += "; left out: "
		} else {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", left[reason], reason)
	}
	return text
}

// Encoder makes tokens of records. It is not for several goroutines at once.
type Encoder struct {
	Tokenizer *tokenizer.Tokenizer
	Template  *chat.Template // nil: conversations are errors
	enc       *tokenizer.Encoder
}

// NewEncoder returns one for a model with the tokenizer and the template, nil where it has none.
func NewEncoder(tok *tokenizer.Tokenizer, template *chat.Template) *Encoder {
	return &Encoder{Tokenizer: tok, Template: template, enc: tok.NewEncoder()}
}

// Example is the record as tokens and which of them are learned.
func (e *Encoder) Example(record []byte) (ids []int32, supervised []bool, err error) {
	ex, err := data.ParseExample(record)
	if err != nil {
		return nil, nil, err
	}
	if ex.Messages == nil {
		ids, supervised = e.Completion(&ex)
		return ids, supervised, nil
	}
	return e.Turns(&ex, 0)
}

// ErrNoTemplate says that there is nothing to render a conversation by. That is no fault of the record.
var ErrNoTemplate = errors.New("the example is a conversation and the model has no chat template")

// Turns renders a conversation by the chat template; the assistant's tokens in the messages from number first on are learned, but for
// messages that are not to be.
func (e *Encoder) Turns(ex *data.Example, first int) (ids []int32, supervised []bool, err error) {
	if e.Template == nil {
		return nil, nil, fmt.Errorf("%w; set chat_template=zephyr, which suits a tokenizer that hone trained, another of %s, or a file",
			ErrNoTemplate, strings.Join(chat.Names(), ", "))
	}
	messages, err := chatMessages(ex)
	if err != nil {
		return nil, nil, err
	}
	enc, err := e.Template.Encode(e.Tokenizer, messages, chat.Options{Tools: ex.Tools})
	if err != nil {
		return nil, nil, blame(ex.Messages, err)
	}
	supervised = make([]bool, len(enc.IDs))
	for i, message := range enc.Answer {
		_, unlearned := slices.BinarySearch(ex.Unlearned, int(message))
		supervised[i] = int(message) >= first && !unlearned
	}
	return enc.IDs, supervised, nil
}

// blame names the first message without a text, such as one of blocks, which most templates cannot write.
func blame(messages []json.RawMessage, err error) error {
	for i, m := range messages {
		var has struct {
			Content *string `json:"content"`
		}
		if json.Unmarshal(m, &has) != nil || has.Content == nil {
			return fmt.Errorf("the content of message %d is no text, which the chat template may want: %w", i+1, err)
		}
	}
	return err
}

func chatMessages(ex *data.Example) ([]chat.Message, error) {
	messages := make([]chat.Message, len(ex.Messages))
	for i, m := range ex.Messages {
		if err := json.Unmarshal(m, &messages[i]); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// Completion puts what the tokenizer's post-processor begins texts with, and the end token, around a prompt with its completion, or a plain text, all
// of which is learned. Prompt and completion are tokenised apart, as they are when the model is used: an empty prompt has what Tokenizer.Prompt gives it.
func (e *Encoder) Completion(ex *data.Example) (ids []int32, supervised []bool) {
	if ids, _ = e.Tokenizer.Special(); ex.Text == "" {
		ids = e.Tokenizer.Prompt([]byte(ex.Prompt))
	}
	prompt := len(ids)
	ids = e.enc.Encode(ids, []byte(ex.Completion+ex.Text))
	if eos, ok := e.Tokenizer.EOS(); ok {
		ids = append(ids, eos)
	}
	supervised = make([]bool, len(ids))
	for i := prompt; i < len(ids); i++ {
		supervised[i] = true
	}
	return ids, supervised
}
