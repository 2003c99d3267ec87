package chat

import (
	"fmt"
	"strings"

	"hone/tokenizer"
)

// Encoded is a conversation as token ids.
type Encoded struct {
	IDs    []int32
	Answer []int32 // of each id: the number of the message, from 0, that the model writes with it; -1 for the rest
	Text   string
}

// Encode renders a conversation and encodes it. The template's own special tokens become their ids, and no others are added: what a
// message says is text, even where it spells a special token. A token belongs to an answer when one of its bytes does.
func (t *Template) Encode(tok *tokenizer.Tokenizer, messages []Message, opt Options) (Encoded, error) {
	r, err := t.Render(messages, opt)
	if err != nil {
		return Encoded{}, err
	}
	e := Encoded{Text: r.Text}
	spans := e.encode(tok, r)
	if bos, ok := tok.BOS(); ok {
		if err := CheckBOS(e.IDs, bos); err != nil {
			return Encoded{}, fmt.Errorf("encode chat: %w", err)
		}
	}
	e.Answer = make([]int32, len(e.IDs))
	k := 0
	for i, s := range spans {
		for k < len(r.Answers) && r.Answers[k].End <= s.Start {
			k++
		}
		e.Answer[i] = -1
		if k < len(r.Answers) && r.Answers[k].Start < s.End && s.Start < s.End {
			e.Answer[i] = int32(r.Answers[k].Message)
		}
	}
	return e, nil
}

// CheckBOS refuses ids that begin with the beginning-of-text token twice, which no model has seen in training.
func CheckBOS(ids []int32, bos int32) error {
	if len(ids) > 1 && ids[0] == bos && ids[1] == bos {
		return fmt.Errorf("the text begins with the beginning-of-text token (id %d) twice: once from the chat template and once more; "+
			"take it out of the template, or encode the rendered text without adding special tokens", bos)
	}
	return nil
}

// encode sets the ids and returns which bytes of the text each stands for.
func (e *Encoded) encode(tok *tokenizer.Tokenizer, r Rendered) (spans []Span) {
	at := 0
	add := func(end int, special bool) {
		ids, parts := tok.EncodeSpans([]byte(r.Text[at:end]), tokenizer.Options{ParseSpecial: special})
		e.IDs = append(e.IDs, ids...)
		for _, p := range parts {
			spans = append(spans, Span{at + p.Start, at + p.End})
		}
		at = end
	}
	// what a user wrote is encoded with special tokens off, so that nobody can end a turn from inside of it
	for _, s := range smuggled(tok, r) {
		add(s.Start, true)
		add(s.End, false)
	}
	add(len(r.Text), true)
	return spans
}

// smuggled finds special tokens that are spelled inside of what was copied from the input.
func smuggled(tok *tokenizer.Tokenizer, r Rendered) []Span {
	var out []Span
	for _, in := range r.Input {
		for at := in.Start; at < in.End; {
			next := Span{Start: in.End}
			for _, a := range tok.AddedTokens() {
				if i := strings.Index(r.Text[at:in.End], a.Content); i >= 0 && a.Special && (at+i < next.Start || at+i == next.Start && at+i+len(a.Content) > next.End) {
					next = Span{at + i, at + i + len(a.Content)}
				}
			}
			if next.Start == in.End {
				break
			}
			out = append(out, next)
			at = next.End
		}
	}
	return out
}
