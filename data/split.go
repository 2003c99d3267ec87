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

// Split sends about a fraction of the documents to the held-out side, and at least one. The choice is a hash of the document's content: its text or, where
// content is given, what that makes of it. So it does not depend on order or on what else there is, and copies never stand on both sides. Until the hash has
// chosen a document, the one that came closest waits aside with its copies; at the end they are taken if nothing else was. Of a single document, or where
// all are copies of one, the end is held out where cut allows it; where not, that is an error.
func Split(docs iter.Seq2[Document, error], fraction float64, cut bool, content func(text []byte) []byte) iter.Seq2[Placed, error] {
	return func(yield func(Placed, error) bool) {
		s := splitter{fraction: fraction, content: content, closest: 2}
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
			s.release(true, yield)
		case cut:
			for _, d := range s.waiting {
				head, tail := cutEnd(d, fraction)
				if !yield(Placed{head, false}, nil) || !yield(Placed{tail, true}, nil) {
					return
				}
			}
		default:
			yield(Placed{}, errors.New("the data is a single record, or copies of one, so none can be held out for validation; "+
				"add records, name others by validation_data, or set validation_fraction=0"))
		}
	}
}

type splitter struct {
	fraction       float64
	content        func(text []byte) []byte
	waitingContent []byte
	closest        float64    // hash of waiting, as a fraction
	waiting        []Document // the first document, then the candidate while held is 0, and its copies
	held           int
	trained        int
}

func (s *splitter) add(d Document, yield func(Placed, error) bool) bool {
	if s.fraction <= 0 {
		return yield(Placed{d, false}, nil)
	}
	content := d.Text
	if s.content != nil {
		content = s.content(d.Text)
	}
	h := math.Ldexp(float64(xxh3.Hash(content)>>11), -53) // uniform in [0, 1)
	if s.waiting != nil && bytes.Equal(content, s.waitingContent) {
		if bytes.Equal(d.Text, s.waiting[0].Text) {
			d.Text = s.waiting[0].Text // kept once
		}
		s.waiting = append(s.waiting, d)
		return true
	}
	if s.waiting != nil && s.closest < s.fraction && !s.release(true, yield) { // it is not the only one
		return false
	}
	switch {
	case s.trained+s.held == 0 && s.waiting == nil:
		s.waiting, s.waitingContent, s.closest = []Document{d}, content, h
		return true
	case h < s.fraction:
		return s.release(false, yield) && s.place(d, true, yield)
	case s.held == 0 && h < s.closest:
		if !s.release(false, yield) {
			return false
		}
		s.waiting, s.waitingContent, s.closest = []Document{d}, content, h
		return true
	}
	return s.place(d, false, yield)
}

// release sends what waits to a side.
func (s *splitter) release(held bool, yield func(Placed, error) bool) bool {
	out := s.waiting
	s.waiting = nil
	for _, d := range out {
		if !s.place(d, held, yield) {
			return false
		}
	}
	return true
}

func (s *splitter) place(d Document, held bool, yield func(Placed, error) bool) bool {
	if held {
		s.held++
	} else {
		s.trained++
	}
	return yield(Placed{d, held}, nil)
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
