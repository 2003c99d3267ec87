package chat

import (
	"errors"
	"fmt"
	"slices"
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
	spans, err := e.encodeApart(tok, r)
	if err != nil {
		return Encoded{}, fmt.Errorf("encode chat: %w", err)
	}
	if bos, ok := tok.BOS(); ok {
		if err := CheckBOS(e.IDs, bos); err != nil {
			return Encoded{}, fmt.Errorf("encode chat: %w", err)
		}
	}
	e.Answer = make([]int32, len(e.IDs))
	k := 0
	for i, s := range spans {
		for k > 0 && s.Start < r.Answers[k-1].End { // an unknown character may have its token behind the bytes of the next one
			k--
		}
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

// maxRounds is how often a conversation is encoded again; one that has words of its own become special tokens each time is refused.
const maxRounds = 8

// encodeApart sets the ids and returns which bytes of the text each stands for. What a user wrote is encoded with special tokens off where it
// spells one, so that nobody can end a turn from inside of it. A tokenizer that normalises may also make a special token of what does not
// spell it ("＜/s＞" under NFKC), which only shows in the ids: such places are encoded again.
func (e *Encoded) encodeApart(tok *tokenizer.Tokenizer, r Rendered) (spans []Span, err error) {
	plain := smuggled(tok, r)
	for range maxRounds {
		e.IDs = nil
		spans = e.encode(tok, r, plain)
		more := hidden(tok, *e, spans, r.Input, plain)
		if len(more) == 0 {
			return spans, nil
		}
		plain = append(plain, more...)
		slices.SortFunc(plain, func(a, b Span) int { return a.Start - b.Start })
	}
	return nil, errors.New("a message becomes special tokens however it is cut; leave out its signs that others stand for in the tokenizer's normal form")
}

// hidden finds special tokens that stand for nothing but bytes of the input, outside of what was encoded without special tokens. The unknown token,
// which is also special, stays: those bytes become it in any case, and cutting a text there would change the tokens beside it.
func hidden(tok *tokenizer.Tokenizer, e Encoded, spans, input, plain []Span) (found []Span) {
	within := func(list []Span, s Span) bool {
		k, _ := slices.BinarySearchFunc(list, s.Start, func(in Span, start int) int { // the first that ends behind the start
			if in.End <= start {
				return -1
			}
			return 1
		})
		return k < len(list) && list[k].Start <= s.Start && s.End <= list[k].End
	}
	for i, s := range spans {
		if s.Start == s.End || !tok.IsSpecial(e.IDs[i]) || !within(input, s) || within(plain, s) {
			continue
		}
		if !slices.Contains(tok.Encode(nil, []byte(e.Text[s.Start:s.End])), e.IDs[i]) {
			found = append(found, s)
		}
	}
	return found
}

// encode sets the ids, with special tokens but for what is to be plain, and returns which bytes of the text each stands for.
func (e *Encoded) encode(tok *tokenizer.Tokenizer, r Rendered, plain []Span) (spans []Span) {
	at := 0
	add := func(end int, special bool) {
		ids, parts := tok.EncodeSpans([]byte(r.Text[at:end]), tokenizer.Options{ParseSpecial: special})
		e.IDs = append(e.IDs, ids...)
		for _, p := range parts {
			spans = append(spans, Span{at + p.Start, at + p.End})
		}
		at = end
	}
	for _, s := range plain {
		add(s.Start, true)
		add(s.End, false)
	}
	add(len(r.Text), true)
	return spans
}

// smuggled finds special tokens that are spelled inside of what was copied from the input. Each token is looked for from where it was found last on,
// so that a message of nothing but tokens takes no longer than another.
func smuggled(tok *tokenizer.Tokenizer, r Rendered) []Span {
	var out []Span
	special := slices.DeleteFunc(tok.AddedTokens(), func(a tokenizer.AddedToken) bool { return !a.Special })
	places := make([]int, len(special)) // of each token, the first from at on; the input's end where there is none
	for _, in := range r.Input {
		for k := range places {
			places[k] = -1
		}
		for at := in.Start; at < in.End; {
			next := Span{Start: in.End}
			for k, a := range special {
				if places[k] < at {
					places[k] = in.End
					if i := strings.Index(r.Text[at:in.End], a.Content); i >= 0 {
						places[k] = at + i
					}
				}
				if p := places[k]; p < next.Start || p == next.Start && p < in.End && p+len(a.Content) > next.End {
					next = Span{p, p + len(a.Content)}
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
