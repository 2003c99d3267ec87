package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
)

// postProcessor is the ids that go before and after one text.
type postProcessor struct{ before, after []int32 }

// templatePiece is one piece of a template: {"SpecialToken": {"id": ...}} or {"Sequence": {"id": "A"}}.
type templatePiece struct {
	SpecialToken *struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
	Sequence *struct {
		ID string `json:"id"`
	} `json:"Sequence"`
}

// newPostProcessor reads post_processor. A template for two texts is not read.
func newPostProcessor(raw json.RawMessage, vocabSize int) (out postProcessor, err error) {
	parts, err := flatten("post_processor", raw)
	if err != nil {
		return out, err
	}
	for _, p := range parts {
		var next postProcessor
		switch p.Type {
		case "ByteLevel": // trims offsets, which spans do not
		case "TemplateProcessing":
			next, err = newTemplate(p)
		case "BertProcessing", "RobertaProcessing":
			next, err = newClsSep(p)
		default:
			err = errUnknownPart("ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing, Sequence")
		}
		if err != nil {
			return out, fmt.Errorf("post_processor %s: %w", p.Type, err)
		}
		out.before = append(next.before, out.before...)
		out.after = append(out.after, next.after...)
		for _, id := range append(next.before, next.after...) {
			if id < 0 || int(id) >= vocabSize {
				return out, fmt.Errorf("post_processor %s: it adds the id %d, which is not below the vocabulary size %d", p.Type, id, vocabSize)
			}
		}
	}
	return out, nil
}

func newTemplate(p jsonPart) (out postProcessor, err error) {
	var tokens map[string]struct {
		IDs []int32 `json:"ids"`
	}
	if !isNull(p.SpecialTokens) {
		if err := json.Unmarshal(p.SpecialTokens, &tokens); err != nil {
			return out, fmt.Errorf("its special_tokens are malformed: %w", err)
		}
	}
	seen := false
	for _, piece := range p.Single {
		switch {
		case piece.Sequence != nil && piece.Sequence.ID == "A" && !seen:
			seen = true
		case piece.SpecialToken != nil:
			tok, ok := tokens[piece.SpecialToken.ID]
			if !ok {
				return out, fmt.Errorf("its special token %q is not among its special_tokens", piece.SpecialToken.ID)
			}
			if seen {
				out.after = append(out.after, tok.IDs...)
			} else {
				out.before = append(out.before, tok.IDs...)
			}
		default:
			return out, errors.New("its template for a single text must hold sequence A once, and special tokens")
		}
	}
	if !seen {
		return out, errors.New("its template for a single text has no sequence A")
	}
	return out, nil
}

// newClsSep reads cls and sep, each a pair of token and id.
func newClsSep(p jsonPart) (out postProcessor, err error) {
	for _, f := range []struct {
		key string
		raw json.RawMessage
		to  *[]int32
	}{{"cls", p.Cls, &out.before}, {"sep", p.Sep, &out.after}} {
		var name string
		var id int32
		if err := json.Unmarshal(f.raw, &[2]any{&name, &id}); err != nil {
			return out, fmt.Errorf("its %s must be a token and its id", f.key)
		}
		*f.to = []int32{id}
	}
	return out, nil
}
