package generate

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"hone/device"
	"hone/internal/splitmix"
)

// Sampling says how a token is chosen from a row of logits. The steps run in the order of Hugging
// Face transformers: repetition penalty, temperature, top-k, top-p, min-p, then one draw.
type Sampling struct {
	Temperature       float64 // logits are divided by it; 0 takes the most likely token (greedy)
	TopK              int     // keep the k largest logits and those equal to the k-th; 0 keeps all
	TopP              float64 // keep the smallest set of most likely tokens with at least this probability; 1 keeps all
	MinP              float64 // drop tokens less likely than MinP times the most likely one; 0 keeps all
	RepetitionPenalty float64 // positive logits of tokens seen before are divided by it, negative ones multiplied; 1 is off
	Seed              uint64
}

// defaultSampling is plain sampling from the model's distribution.
func defaultSampling() Sampling {
	return Sampling{Temperature: 1, TopP: 1, RepetitionPenalty: 1}
}

// Validate reports the first setting out of its range.
func (s Sampling) Validate() error {
	switch {
	case !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0):
		return fmt.Errorf("temperature is %v: use 0 (greedy) or a positive number", s.Temperature)
	case s.TopK < 0:
		return fmt.Errorf("top_k is %d: use 0 (off) or a positive number", s.TopK)
	case !(s.TopP > 0 && s.TopP <= 1):
		return fmt.Errorf("top_p is %v: use a number above 0 and up to 1 (off)", s.TopP)
	case !(s.MinP >= 0 && s.MinP <= 1):
		return fmt.Errorf("min_p is %v: use a number from 0 (off) to 1", s.MinP)
	case !(s.RepetitionPenalty >= 1e-6 && s.RepetitionPenalty <= 1e6):
		// beyond, logits in f32 would overflow, which looks like a damaged model
		return fmt.Errorf("repetition_penalty is %v: use a number from 1e-6 to 1e6, 1 is off", s.RepetitionPenalty)
	}
	return nil
}

// candidate is one token that may still be drawn.
type candidate struct {
	id     int32
	weight float32 // exp(logit/temperature - max), so the most likely token has weight 1
}

// Sampler draws tokens by one Sampling. It keeps scratch memory and must not be used concurrently.
type Sampler struct {
	opt   Sampling
	heap  []float32
	cands []candidate
	seen  map[int32]struct{}
}

// NewSampler makes a sampler; opt must be valid.
func NewSampler(opt Sampling) *Sampler {
	return &Sampler{opt: opt, seen: map[int32]struct{}{}}
}

// Pick draws the next token of a sequence from its row of logits. history is the tokens before it (for the
// repetition penalty), sequence and position say which random number decides. The row may be changed. A row
// with NaN, +Inf, or nothing above -Inf is an error.
func (s *Sampler) Pick(logits []float32, history []int32, sequence uint64, position int) (int32, error) {
	s.penalise(logits, history)
	best, err := argmax(logits)
	if err != nil {
		return 0, err
	}
	if s.opt.Temperature == 0 || s.opt.TopK == 1 && !tied(logits, best) { // top-k keeps what equals the k-th, too
		return int32(best), nil
	}
	s.collect(logits, logits[best])
	s.topP(len(logits))
	s.minP()
	return s.draw(Bits(s.opt.Seed, sequence, uint64(position))), nil
}

// penalise makes tokens of history less likely (Keskar et al., 2019, "CTRL"), each once however often it occurs.
func (s *Sampler) penalise(logits []float32, history []int32) {
	if s.opt.RepetitionPenalty == 1 {
		return
	}
	p := float32(s.opt.RepetitionPenalty)
	clear(s.seen)
	for _, id := range history {
		if _, again := s.seen[id]; again || int(id) >= len(logits) || id < 0 {
			continue
		}
		s.seen[id] = struct{}{}
		if logits[id] < 0 {
			logits[id] *= p
		} else {
			logits[id] /= p
		}
	}
}

// collect fills cands with the tokens that pass top-k, weighted at the temperature.
func (s *Sampler) collect(logits []float32, top float32) {
	least := float32(math.Inf(-1))
	if k := s.opt.TopK; k > 0 && k < len(logits) {
		least = s.kth(logits, k)
	}
	s.cands = s.cands[:0]
	inv := device.Inverse(s.opt.Temperature)
	for i, x := range logits {
		if d := (x - top) * inv; x >= least && d > -80 { // e^-80 is lost in any sum with the best token's 1
			s.cands = append(s.cands, candidate{int32(i), device.Weight(d)})
		}
	}
}

// kth is the k-th largest logit: a heap of the k largest so far, its root the least of them.
func (s *Sampler) kth(logits []float32, k int) float32 {
	h := append(s.heap[:0], logits[:k]...)
	s.heap = h
	for i := k/2 - 1; i >= 0; i-- {
		siftDown(h, i)
	}
	for _, x := range logits[k:] {
		if x > h[0] {
			h[0] = x
			siftDown(h, 0)
		}
	}
	return h[0]
}

// siftDown restores the heap below element i, the only one that may be larger than its children.
func siftDown(h []float32, i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1] < h[c] {
			c++
		}
		if h[i] <= h[c] {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// topP keeps a token when the tokens more likely than it have less than TopP of the probability; among equals the
// lower id counts as more likely. Tokens that each weigh less than (1-p)·total/n together weigh less than 1-p,
// so they all belong to the part cut off: only the few others need sorting.
func (s *Sampler) topP(vocab int) {
	if s.opt.TopP >= 1 {
		return
	}
	total := sumWeights(s.cands)
	limit, _ := bits.Mul64(device.Fraction(s.opt.TopP), total)
	least := (total - limit) / uint64(vocab)
	kept := s.cands[:0]
	for _, c := range s.cands {
		if c.mass() >= least {
			kept = append(kept, c)
		}
	}
	slices.SortFunc(kept, func(a, b candidate) int {
		switch {
		case a.weight > b.weight:
			return -1
		case a.weight < b.weight:
			return 1
		}
		return int(a.id - b.id)
	})
	before := uint64(0)
	for i, c := range kept {
		if i > 0 && before >= limit {
			kept = kept[:i]
			break
		}
		before += c.mass()
	}
	s.cands = kept
}

// minP drops tokens less likely than MinP times the most likely one, whose weight is 1.
func (s *Sampler) minP() {
	if s.opt.MinP == 0 {
		return
	}
	least := float32(s.opt.MinP)
	s.cands = slices.DeleteFunc(s.cands, func(c candidate) bool { return c.weight < least })
}

// draw inverts the cumulative distribution of the candidates at random/2^64.
func (s *Sampler) draw(random uint64) int32 {
	left, _ := bits.Mul64(random, sumWeights(s.cands)) // the upper 64 bits: random·total/2^64, below total
	for _, c := range s.cands {
		m := c.mass()
		if left < m {
			return c.id
		}
		left -= m
	}
	panic("generate: masses that do not add up")
}

// mass is the weight in whole numbers.
func (c candidate) mass() uint64 { return device.Mass(c.weight) }

// sumWeights is the mass of the candidates. Whole numbers: a sum in floats would depend on the
// order, and so would the token.
func sumWeights(cs []candidate) (sum uint64) {
	for _, c := range cs {
		sum += c.mass()
	}
	return sum
}

var errNotFinite = errors.New("the model's logits are not finite: its weights are damaged or training diverged; take an earlier checkpoint, or copy them anew")

// argmax is the index of the largest logit, the first among equals.
func argmax(logits []float32) (int, error) {
	best, top := 0, float32(math.Inf(-1))
	for i, x := range logits {
		if x <= top {
			continue
		}
		if best, top = i, x; x != x { // NaN, which no comparison above turns away
			break
		}
	}
	if top != top || math.IsInf(float64(top), 0) { // also where no logit is above -Inf
		return 0, errNotFinite
	}
	return best, nil
}

// tied reports whether a token after best has the same logit.
func tied(logits []float32, best int) bool {
	return slices.Contains(logits[best+1:], logits[best])
}

// Bits is the random number of a place in a sequence: SplitMix64 over each counter in turn, so
// neighbouring places are unrelated.
func Bits(seed, sequence, position uint64) uint64 {
	return splitmix.At(splitmix.At(splitmix.At(seed)+sequence) + position)
}
