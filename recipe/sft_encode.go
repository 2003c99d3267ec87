package recipe

import (
	"encoding/json"
	"errors"
	"fmt"

	"hone/data"
	"hone/tokenizer"
)

// Reasons for which examples are left out or changed.
const (
	unanswered data.Reason = "examples without a token to learn"
	cutShort   data.Reason = "examples cut at sequence_length"
	tooLong    data.Reason = "examples over sequence_length"
)

// conversations renders conversations by a chat template, as tokens and which of them are the assistant's.
type conversations interface {
	Encode(messages []json.RawMessage, tools json.RawMessage) (ids []int32, answers []bool, err error)
}

// exampleEncoder makes marked tokens of records.
type exampleEncoder struct {
	c    *SFT
	tok  *tokenizer.Tokenizer
	enc  *tokenizer.Encoder
	chat func() (conversations, error) // asked for at the first conversation
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
	chat, err := e.chat()
	if err != nil {
		return nil, nil, err
	}
	return chat.Encode(ex.Messages, ex.Tools)
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

var errNoTemplate = errors.New("the data holds conversations and the model has no chat template; set chat_template, for example chat_template=chatml")
