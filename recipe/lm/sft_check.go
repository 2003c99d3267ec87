package lm

import (
	"errors"
	"math"
	"slices"

	"hone/data"
	"hone/nn"
	"hone/recipe"
)

// checkExamples refuses examples from which a model cannot learn to end its answer: none of the first ones
// has a special token among what is learned. (A text that begins twice is refused where it is encoded.)
func (s *tuning) checkExamples(r *recipe.Run) error {
	const looked = 200
	eos, _ := r.Tokenizer.EOS()
	for _, e := range s.sources {
		for d := range min(looked, e.train.Documents()) {
			for _, mark := range s.marks(e.train, d) {
				if id, learned := data.Unmark(mark); learned && (id == eos || r.Tokenizer.IsSpecial(id)) {
					return nil
				}
			}
		}
	}
	return errors.New("no example teaches the model to end its answer: " +
		"the template ends turns with what is no special token of the tokenizer, or sequence_length cuts every answer; " +
		"use a template that ends turns with the tokenizer's own end token, such as chat_template=zephyr, or raise sequence_length")
}

// checkPacking changes one example of the first batch and demands the same logits, to the bit, of those
// beside it. A few tokens of three examples are enough to see a leak.
func (s *tuning) checkPacking(r *recipe.Run) error {
	b, changed := neighbours(&s.mixture.Step(0)[0])
	if b == nil {
		return nil
	}
	return compare(r, b, changed, b.Offsets)
}

// compare runs b with the sequences that offsets tell, and again with one of its examples changed.
func compare(r *recipe.Run, b *data.Batch, changed int, offsets []int32) error {
	before, err := logits(r, b, offsets)
	if err != nil {
		return err
	}
	vocab := r.Model.Shape().Vocab
	lo, hi := int(b.Offsets[changed]), int(b.Offsets[changed+1])
	other := *b
	other.IDs = slices.Clone(b.IDs)
	for i := lo; i < hi; i++ {
		// any other token does: a leak shows by a bit
		other.IDs[i] = (b.IDs[i] + 1) % int32(vocab)
	}
	after, err := logits(r, &other, offsets)
	if err != nil {
		return err
	}
	for row := range b.IDs {
		if row >= lo && row < hi {
			continue
		}
		for i := row * vocab; i < (row+1)*vocab; i++ {
			if math.Float32bits(before[i]) != math.Float32bits(after[i]) {
				return errors.New("the self-check of packing failed: changing an example changed the logits of its neighbour; " +
					"please report this, and train with packing=false batch_size=1 until it is repaired")
			}
		}
	}
	return nil
}

// neighbours are the first tokens of up to three sequences of a batch, and which of them to
// change; nil when there is only one.
func neighbours(b *data.Batch) (small *data.Batch, changed int) {
	const most = 24
	n := min(3, len(b.Offsets)-1)
	if n < 2 {
		return nil, 0
	}
	small = &data.Batch{Offsets: []int32{0}}
	for s := range n {
		lo := b.Offsets[s]
		hi := min(b.Offsets[s+1], lo+most)
		small.IDs = append(small.IDs, b.IDs[lo:hi]...)
		small.Positions = append(small.Positions, b.Positions[lo:hi]...)
		small.Offsets = append(small.Offsets, int32(len(small.IDs)))
	}
	return small, n / 2
}

// logits are those of the model for a batch with the given sequences.
func logits(r *recipe.Run, b *data.Batch, offsets []int32) ([]float32, error) {
	defer r.Tape.Reset()
	r.Tape.Infer()
	return nn.Logits(r.Model, r.Model.Hidden(nn.NewInput(r.Tape, b.IDs, b.Positions, offsets)), nil).Float32s()
}
