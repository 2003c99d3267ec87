package data

import (
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
// the hash has chosen a document, the one that came closest waits aside; at the end it is taken if nothing else was.
func Split(docs iter.Seq2[Document, error], fraction float64) iter.Seq2[Placed, error] {
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
		case s.trained == 0:
			yield(Placed{}, errors.New("the data is a single document, so none can be held out for validation; "+
				"add documents, give separate validation data, or set the validation fraction to 0"))
		default:
			yield(Placed{*s.waiting, true}, nil)
		}
	}
}

type splitter struct {
	fraction float64
	closest  float64   // hash of waiting, as a fraction
	waiting  *Document // the candidate while held is 0
	held     int
	trained  int
}

func (s *splitter) add(d Document, yield func(Placed, error) bool) bool {
	if s.fraction <= 0 {
		return yield(Placed{d, false}, nil)
	}
	h := math.Ldexp(float64(xxh3.Hash(d.Text)>>11), -53) // uniform in [0, 1)
	var out *Document
	switch {
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
