package data

import (
	"errors"
	"math"
)

// Baseline is what counting alone reaches on held-out tokens, in nats per token: a model has learnt something once its
// validation loss is below. The tokens judged are those a model is judged on, all but the first of each document.
type Baseline struct {
	Unigram float64 `json:"unigram"` // p(w) = (c(w)+1) / (T+V): how often w occurs in training
	// Bigram is p(w|v) = (c(v,w) + a p(w)) / (c(v) + a): how often w follows v in training, filled up with the unigram. The
	// strength a is the best on the held-out tokens among 1, 4, ..., 4^7, which favours the baseline.
	Bigram float64 `json:"bigram"`
	Tokens int64   `json:"tokens"` // held-out tokens judged
}

// pairStrengths are the values of a tried for the bigram.
var pairStrengths = [...]float64{1, 4, 16, 64, 256, 1024, 4096, 16384}

// Baselines counts in the training store and judges the held-out store, whole documents up to about maxTrain and maxHeld
// tokens (0: all). Memory is 16 bytes per vocabulary entry and about 50 per pair of held-out tokens; only these are counted.
func Baselines(train, held *Store, maxTrain, maxHeld int64) (Baseline, error) {
	vocab := max(train.Vocab(), held.Vocab())
	c := pairCounts{
		tokens:  make([]int64, vocab),
		context: make([]int64, vocab),
		pairs:   map[uint64]*pairCount{},
	}
	var judged int64
	held.walk(maxHeld, func(ids []int32) {
		for i := 1; i < len(ids); i++ {
			c.want(ids[i-1], ids[i])
			judged++
		}
	})
	if judged == 0 {
		return Baseline{}, errors.New("no held-out tokens to compute baselines on")
	}
	train.walk(maxTrain, c.count)
	b := c.judge()
	b.Tokens = judged
	return b, nil
}

// walk calls visit with the tokens of each document in order, until maxTokens were given (0: all). The slice is reused.
func (s *Store) walk(maxTokens int64, visit func(ids []int32)) {
	var ids []int32
	for d := range s.Documents() {
		from, to := s.Document(d)
		if maxTokens > 0 && from >= maxTokens {
			return
		}
		ids = s.appendTokens(ids[:0], from, to)
		visit(ids)
	}
}

type pairCount struct{ train, held int64 }

// pairCounts counts tokens, tokens that have a successor, and the pairs that the held-out text asks for.
type pairCounts struct {
	tokens, context []int64
	total           int64
	pairs           map[uint64]*pairCount
	order           []uint64 // of first asking, so that sums have one order
}

func pairKey(v, w int32) uint64 { return uint64(uint32(v))<<32 | uint64(uint32(w)) }

func (c *pairCounts) want(v, w int32) {
	k := pairKey(v, w)
	p := c.pairs[k]
	if p == nil {
		p = new(pairCount)
		c.pairs[k] = p
		c.order = append(c.order, k)
	}
	p.held++
}

func (c *pairCounts) count(ids []int32) {
	for i := 1; i < len(ids); i++ {
		c.tokens[ids[i]]++
		c.context[ids[i-1]]++
		if p := c.pairs[pairKey(ids[i-1], ids[i])]; p != nil {
			p.train++
		}
	}
	c.total += int64(len(ids) - 1)
}

func (c *pairCounts) judge() Baseline {
	var unigram float64
	var bigram [len(pairStrengths)]float64
	n := 0.0
	for _, k := range c.order {
		v, w, p := int32(k>>32), int32(uint32(k)), c.pairs[k]
		held := float64(p.held)
		pw := float64(c.tokens[w]+1) / float64(c.total+int64(len(c.tokens)))
		unigram -= held * math.Log(pw)
		for i, a := range pairStrengths {
			bigram[i] -= held * math.Log((float64(p.train)+a*pw)/(float64(c.context[v])+a))
		}
		n += held
	}
	best := bigram[0]
	for _, b := range bigram[1:] {
		best = min(best, b)
	}
	return Baseline{Unigram: unigram / n, Bigram: best / n}
}
