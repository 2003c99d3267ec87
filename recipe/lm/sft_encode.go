package lm

import (
	"errors"
	"fmt"

	"hone/data"
	"hone/recipe/example"
)

// recordEncoder makes the marked tokens that a store of examples holds.
type recordEncoder struct {
	*example.Encoder
	c *SFT
}

// Encode appends the example's tokens, each marked with whether it is supervised.
func (e *recordEncoder) Encode(dst []int32, d data.Document, note func(data.Reason)) ([]int32, error) {
	ids, supervised, err := e.Example(d.Text)
	if err != nil {
		if e.c.OnBadRecord == string(data.SkipBadRecord) {
			return nil, &data.Left{Reason: data.Malformed}
		}
		if errors.Is(err, example.ErrNoTemplate) {
			return nil, err
		}
		return nil, fmt.Errorf("%w; repair it or set on_bad_record=skip", err)
	}
	if most := e.c.SequenceLength; len(ids) > most {
		switch e.c.TooLong {
		case "error":
			return nil, fmt.Errorf("the example has %d tokens and sequence_length is %d; raise it, or set too_long to cut or drop",
				len(ids), most)
		case "drop":
			return nil, &data.Left{Reason: example.TooLong}
		}
		note(example.CutShort)
		ids, supervised = ids[:most], supervised[:most]
	}
	// An example whose answer is cut off entirely would take a place in a batch and teach nothing.
	some := false
	for i, id := range ids {
		learned := i > 0 && (supervised[i] || e.c.LossOn == "all") // nothing stands before the first token to predict it from
		some = some || learned
		dst = append(dst, data.Mark(id, learned))
	}
	if !some {
		return nil, &data.Left{Reason: example.Unanswered}
	}
	return dst, nil
}
