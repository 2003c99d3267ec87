package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"hone/chat"
	"hone/data"
	"hone/tokenizer"
)

// Reasons for which examples are left out or changed.
const (
	unanswered data.Reason = "examples without a token to learn"
	cutShort   data.Reason = "examples cut at sequence_length"
	tooLong    data.Reason = "examples over sequence_length"
)

// cutAndLeft are how many examples were cut, and how many left out for each reason.
func cutAndLeft(stats *data.Stats) (cut int, left map[string]int) {
	left = map[string]int{}
	for reason, n := range stats.Skipped {
		if reason == cutShort {
			cut = n
		} else {
			left[string(reason)] = n
		}
	}
	return cut, left
}

// counted says what became of the records.
func counted(stats *data.Stats) string {
	cut, left := cutAndLeft(stats)
	text := fmt.Sprintf("%d records of %d files", stats.Documents, stats.Files)
	if cut > 0 {
		text += fmt.Sprintf(", %d %s", cut, cutShort)
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

// exampleEncoder makes marked tokens of records.
type exampleEncoder struct {
	c        *SFT
	tok      *tokenizer.Tokenizer
	enc      *tokenizer.Encoder
	template *chat.Template // nil: conversations are errors
}

// Encode appends the example's tokens, each marked with whether it is supervised.
func (e *exampleEncoder) Encode(dst []int32, d data.Document, note func(data.Reason)) ([]int32, error) {
	ids, supervised, err := e.example(d.Text)
	if err != nil {
		if e.c.OnBadRecord == string(data.SkipBadRecord) {
			return nil, &data.Left{Reason: data.Malformed}
		}
		return nil, fmt.Errorf("%w; repair it or set on_bad_record=skip", err)
	}
	if most := e.c.SequenceLength; len(ids) > most {
		switch e.c.TooLong {
		case "error":
			return nil, fmt.Errorf("the example has %d tokens and sequence_length is %d; raise it, or set too_long to cut or drop", len(ids), most)
		case "drop":
			return nil, &data.Left{Reason: tooLong}
		}
		note(cutShort)
		ids, supervised = ids[:most], supervised[:most]
	}
	some := false
	for i, id := range ids {
		learned := i > 0 && (supervised[i] || e.c.LossOn == "all")
		some = some || learned
		dst = append(dst, data.Mark(id, learned))
	}
	if !some {
		return nil, &data.Left{Reason: unanswered}
	}
	return dst, nil
}

// example is the record as tokens and which of them are learned.
func (e *exampleEncoder) example(record []byte) (ids []int32, supervised []bool, err error) {
	ex, err := data.ParseExample(record)
	if err != nil {
		return nil, nil, err
	}
	if ex.Messages == nil {
		ids, supervised = e.completion(&ex)
		return ids, supervised, nil
	}
	return e.conversation(&ex)
}

// conversation renders a conversation by the chat template; the assistant's tokens are learned.
func (e *exampleEncoder) conversation(ex *data.Example) (ids []int32, supervised []bool, err error) {
	return e.turns(ex, 0)
}

// turns renders a conversation by the chat template; the assistant's tokens in the messages from number first on are learned.
func (e *exampleEncoder) turns(ex *data.Example, first int) (ids []int32, supervised []bool, err error) {
	if e.template == nil {
		return nil, nil, fmt.Errorf("the example is a conversation and the model has no chat template; set chat_template to a file or one of %s",
			strings.Join(chat.Names(), ", "))
	}
	messages, err := chatMessages(ex)
	if err != nil {
		return nil, nil, err
	}
	enc, err := e.template.Encode(e.tok, messages, chat.Options{Tools: ex.Tools})
	if err != nil {
		return nil, nil, err
	}
	supervised = make([]bool, len(enc.IDs))
	for i, message := range enc.Answer {
		supervised[i] = int(message) >= first
	}
	return enc.IDs, supervised, nil
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

// completion puts the tokenizer's begin and end marks around a prompt with its completion, or a plain text, all of which is
// learned. Prompt and completion are tokenised apart, as they are when the model is used.
func (e *exampleEncoder) completion(ex *data.Example) (ids []int32, supervised []bool) {
	if bos, ok := e.tok.BOS(); ok {
		ids = append(ids, bos)
	}
	ids = e.enc.Encode(ids, []byte(ex.Prompt))
	prompt := len(ids)
	ids = e.enc.Encode(ids, []byte(ex.Completion+ex.Text))
	if eos, ok := e.tok.EOS(); ok {
		ids = append(ids, eos)
	}
	supervised = make([]bool, len(ids))
	for i := prompt; i < len(ids); i++ {
		supervised[i] = true
	}
	return ids, supervised
}

// template is the one that the recipe names, or else the model's own; nil when there is none.
func (c *SFT) template(tok *tokenizer.Tokenizer) (*chat.Template, error) {
	return chatTemplate(c.ChatTemplate, c.Model, tok)
}

// chatTemplate is the template of the given name or file, or without one that of the model in dir; nil when it has none.
func chatTemplate(name, dir string, tok *tokenizer.Tokenizer) (*chat.Template, error) {
	config := tok.Config()
	tokens := chat.Tokens{BOS: config.BOS, EOS: config.EOS, PAD: config.PAD, UNK: config.UNK}
	if name == "" {
		t, err := chat.Load(dir, tokens)
		if errors.Is(err, chat.ErrNoTemplate) {
			return nil, nil
		}
		return t, err
	}
	source, err := os.ReadFile(name)
	if err == nil {
		return chat.New(string(source), "", tokens)
	}
	t, err := chat.Builtin(name, tokens)
	if err != nil {
		return nil, fmt.Errorf("chat_template: %w", err)
	}
	return t, nil
}
