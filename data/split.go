package data

import (
	"bytes"
	"errors"
	"iter"
	"math"

	"github.com/zeebo/xxh3"
)

// DefaultValidationFraction is the usual share of documents to hold out.
const DefaultValidationFraction = 0.02

// Placed is a document with the side it belongs to.
type Placed struct {
	Document
	Held bool
}

// Split sends about a fraction of the documents to the held-out side, and at least one. The choice is a hash of the document's
// content, so it does not depend on order or on what else there is, and copies of a text never stand on both sides. Until
// the hash has chosen a document, the one that came closest waits aside; at the end it is taken if nothing else was. Of a
// single document the end is held out where cut allows it; where not, that is an error.
func Split(docs iter.Seq2[Document, error], fraction float64, cut bool) iter.Seq2[Placed, error] {
	return func(yield func(Placed, error) bool) {
		s := splitter{fraction: fraction, closest: 2}
		for d, err := range docs {
			if err != nil {
				yield(Placed{}, err)
				return
			}
			if !s.add(d, yield) {
				return
			}
		}
		switch {
		case s.waiting == nil:
		case s.trained+s.held > 0:
			yield(Placed{*s.waiting, true}, nil)
		case cut:
			head, tail := cutEnd(*s.waiting, fraction)
			_ = yield(Placed{head, false}, nil) && yield(Placed{tail, true}, nil)
		default:
			yield(Placed{}, errors.New("the data is a single record, so none can be held out for validation; "+
				"add records, name others by validation_data, or set validation_fraction=0"))
		}
	}
}

type splitter struct {
	fraction float64
	closest  float64   // hash of waiting, as a fraction
	waiting  *Document // the first document, then the candidate while held is 0
	held     int
	trained  int
}

func (s *splitter) add(d Document, yield func(Placed, error) bool) bool {
	if s.fraction <= 0 {
		return yield(Placed{d, false}, nil)
	}
	h := math.Ldexp(float64(xxh3.Hash(d.Text)>>11), -53) // uniform in [0, 1)
	var out *Document
	if first := s.waiting; first != nil && s.closest < s.fraction { // it is not the only one
		s.held, s.waiting = 1, nil
		if !yield(Placed{*first, true}, nil) {
			return false
		}
	}
	switch {
	case s.trained+s.held == 0 && s.waiting == nil:
		s.waiting, s.closest = &d, h
		return true
	case h < s.fraction:
		s.held++
		out, s.waiting = s.waiting, nil
		if out != nil && !s.train(*out, yield) {
			return false
		}
		return yield(Placed{d, true}, nil)
	case s.held == 0 && h < s.closest:
		out, s.waiting, s.closest = s.waiting, &d, h
		return out == nil || s.train(*out, yield)
	}
	return s.train(d, yield)
}

func (s *splitter) train(d Document, yield func(Placed, error) bool) bool {
	s.trained++
	return yield(Placed{d, false}, nil)
}

// cutEnd cuts about a fraction off the end of a document, at the end of a line if there is one near.
func cutEnd(d Document, fraction float64) (head, tail Document) {
	at := len(d.Text) - max(int(fraction*float64(len(d.Text))), min(len(d.Text), 1))
	if line := bytes.LastIndexByte(d.Text[:at], '\n') + 1; line > at/2 {
		at = line
	}
	head, tail = d, d
	head.Text, tail.Text = d.Text[:at:at], d.Text[at:]
	return head, tail
}
