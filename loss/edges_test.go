package loss

import (
	"math"
	"testing"

	"hone/tensor"
)

// TestMarginOfIPO: the margin is 1/(2β), not 1, at a β other than ½, where the formula with its
// numbers exchanged would be the same.
func TestMarginOfIPO(t *testing.T) {
	value, grad := scalar(t, []float32{3}, func(tape *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
		zero := tape.Constant([]float32{0}, 1)
		return Preference("ipo_sum", Pairs{Chosen: x, Rejected: zero, RefChosen: zero, RefRejected: zero}, PreferenceOptions{Beta: 0.1, Pairs: 1})
	})
	same(t, "the loss and its gradient", []float64{value, grad[0]}, []float64{4, -4}) // (3-5)², 2·(3-5)
}

// TestCertainAnswer: the log-odds of an answer whose probability rounds to 1 are large, not infinite,
// and so is the loss's gradient.
func TestCertainAnswer(t *testing.T) {
	for _, chosen := range []float32{0, -1e-9} {
		value, grad := scalar(t, []float32{chosen}, func(tape *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
			return Preference("orpo", Pairs{Chosen: x, Rejected: tape.Constant([]float32{-1}, 1), ChosenTokens: []int{1}, RejectedTokens: []int{1}},
				PreferenceOptions{Beta: 0.1, Pairs: 1, Tokens: 1})
		})
		if math.IsNaN(value) || math.IsInf(value, 0) || math.IsNaN(grad[0]) || math.IsInf(grad[0], 0) {
			t.Errorf("log-probability %v: loss %v, gradient %v", chosen, value, grad[0])
		}
	}
}

// TestSequencesByHand: of two answers of ratio 2 with a clip of 0.2 the good one counts 1.2 times, the bad
// one in full, each by its weight.
func TestSequencesByHand(t *testing.T) {
	ln2 := float32(math.Ln2)
	value, grad := scalar(t, []float32{ln2 / 2, ln2 / 2, ln2}, func(tape *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
		l, _ := SequencePolicy(Sequences{LogProbs: x, Old: tape.Constant([]float32{0, 0, 0}, 3), Answer: tape.Ints([]int32{0, 0, 1}),
			Advantages: tape.Constant([]float32{1, -1}, 2, 1), Weights: tape.Constant([]float32{3, 0.5}, 2, 1), Scale: []float32{1, 1}}, Clip{Low: 0.2, High: 0.2})
		return l
	})
	same(t, "the loss and its gradient", append(grad, value), []float64{0, 0, 1, -3.6 + 1})
}

// TestEqualRewardsVaryNot: numbers that are all the same have no deviation to divide by; it counts as 1.
func TestEqualRewardsVaryNot(t *testing.T) {
	var m Moments
	if m.Add([]float64{3, 3, 3}); m.Std() != 1 {
		t.Errorf("the deviation is %v", m.Std())
	}
}

// TestNeedsReference: the two losses without a reference, and one with.
func TestNeedsReference(t *testing.T) {
	for name, want := range map[string]bool{"simpo": false, "orpo": false, "sigmoid": true} {
		if NeedsReference(name) != want {
			t.Errorf("%s needs a reference: %v", name, !want)
		}
	}
}
