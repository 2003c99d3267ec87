package data

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sort"
)

// Units are the pieces that batches are made of, numbered from 0: windows of a token store, or packs of examples.
type Units interface {
	Count() int64              // units in one epoch
	supervised(unit int64) int // rows with a target
	appendTo(b *Batch, unit int64)
	maxRows() int // of the largest unit
}

// Weighted is one source of a mixture.
type Weighted struct {
	Units  Units
	Weight float64 // share of the units, relative to the other weights; must be positive
}

// MixtureConfig says how units become batches.
type MixtureConfig struct {
	BatchSize    int    // units per micro-batch on one rank
	Accumulation int    // micro-batches per step on one rank; 0 means 1
	Seed         uint64 // chooses the order
	Rank, Ranks  int    // this process among all; Ranks 0 means 1
}

// Mixture deals out the units of one or more sources.
//
// It keeps no position: what a step sees depends only on the seed, the step and the configuration, so a run continues anywhere
// at once. Units are numbered g = 0, 1, 2, ... over the whole run; step s of B x A x R units takes the numbers from
// s*B*A*R on, micro-batch a of rank r those from (a*R+r)*B on within the step. Within an epoch of a source every unit comes
// exactly once, in an order of its own. Several sources take turns as evenly as they can,
// so that a run of any length has their shares, and sees all of a source once before it sees any of it again.
type Mixture struct {
	cfg     MixtureConfig
	sources []source
	turns   []turnOf // of each number in a block, over which the sources are dealt; all blocks are alike
}

type source struct {
	units Units
	count int64 // units in one epoch
	slots int64 // turns in each block
}

// turnOf is a source and how many turns it had before in the block.
type turnOf struct{ source, before int32 }

// mixSlots is the block over which a mixture's weights hold exactly, rounded to 1/4096.
const mixSlots = 4096

// NewMixture checks the configuration and the sources.
func NewMixture(cfg MixtureConfig, sources ...Weighted) (*Mixture, error) {
	cfg.Accumulation = max(cfg.Accumulation, 1)
	cfg.Ranks = max(cfg.Ranks, 1)
	if len(sources) == 0 {
		return nil, errors.New("no training data: set data=")
	}
	rows := 0
	for i, s := range sources {
		if s.Units.Count() < 1 {
			return nil, fmt.Errorf("data source %d holds nothing to train on", i+1)
		}
		rows = max(rows, s.Units.maxRows())
	}
	switch {
	case cfg.BatchSize < 1:
		return nil, fmt.Errorf("batch_size is %d; it must be at least 1", cfg.BatchSize)
	case int64(cfg.BatchSize)*int64(rows) > math.MaxInt32:
		return nil, fmt.Errorf("batch_size %d x %d tokens is too large; use gradient accumulation", cfg.BatchSize, rows)
	case cfg.Rank < 0 || cfg.Rank >= cfg.Ranks:
		return nil, fmt.Errorf("rank %d of %d ranks", cfg.Rank, cfg.Ranks)
	}
	m := &Mixture{cfg: cfg}
	slots := int64(1)
	if len(sources) > 1 {
		slots = mixSlots
	}
	return m, m.deal(sources, slots)
}

// deal gives each source its slots of a block by largest remainder, at least one.
func (m *Mixture) deal(sources []Weighted, all int64) error {
	sum := 0.0
	for i, s := range sources {
		if !(s.Weight > 0) || math.IsInf(s.Weight, 1) {
			return fmt.Errorf("data source %d has weight %v; weights must be positive numbers", i+1, s.Weight)
		}
		sum += s.Weight
	}
	left := all
	byRest := make([]int, len(sources))
	rest := make([]float64, len(sources))
	for i, s := range sources {
		exact := s.Weight / sum * float64(all)
		slots := max(int64(exact), 1)
		rest[i], byRest[i] = exact-float64(slots), i
		left -= slots
		m.sources = append(m.sources, source{units: s.Units, count: s.Units.Count(), slots: slots})
	}
	sort.SliceStable(byRest, func(a, b int) bool { return rest[byRest[a]] > rest[byRest[b]] })
	for i := 0; left > 0; i, left = i+1, left-1 {
		m.sources[byRest[i%len(byRest)]].slots++
	}
	return m.layOut(left)
}

// layOut takes back slots that "at least one" overdrew, from the largest source, and has the sources take turns.
func (m *Mixture) layOut(left int64) error {
	largest := 0
	for i := range m.sources {
		if m.sources[i].slots > m.sources[largest].slots {
			largest = i
		}
	}
	m.sources[largest].slots += left
	if m.sources[largest].slots < 1 {
		return fmt.Errorf("%d data sources are too many to mix", len(m.sources))
	}
	for i, s := range m.sources {
		for n := range s.slots {
			m.turns = append(m.turns, turnOf{int32(i), int32(n)})
		}
	}
	// In order of (before + 1/2) / slots, the middle of what is the turn's if a source's turns are spread evenly. Shuffled, a run of less than a
	// block would have some units of a small source several times and others never.
	slices.SortStableFunc(m.turns, func(a, b turnOf) int {
		return cmp.Compare((2*int64(a.before)+1)*m.sources[b.source].slots, (2*int64(b.before)+1)*m.sources[a.source].slots)
	})
	return nil
}

// unit returns the source and the number in it of unit g of the run.
func (m *Mixture) unit(g int64) (u Units, i int64) {
	block, slot := g/int64(len(m.turns)), g%int64(len(m.turns))
	turn := m.turns[slot]
	src := &m.sources[turn.source]
	n := block*src.slots + int64(turn.before) // units this source gave before
	epoch := n / src.count
	return src.units, permute(key(m.cfg.Seed, 2, uint64(turn.source), uint64(epoch)), src.count, n%src.count)
}

// Order names how several sources alternate, and is "" for a single one: a run that was begun with another order does not go on as it was.
func (m *Mixture) Order() string {
	if len(m.sources) < 2 {
		return ""
	}
	return "even turns"
}

// Until returns how many units a run deals out until n of them were of source i, in the order in which NewMixture was given them.
func (m *Mixture) Until(i int, n int64) int64 {
	if n < 1 {
		return 0
	}
	slots := m.sources[i].slots
	last := turnOf{int32(i), int32((n - 1) % slots)}
	return (n-1)/slots*int64(len(m.turns)) + int64(slices.Index(m.turns, last)) + 1
}

// PerStep returns the number of units in one step, over all ranks and micro-batches.
func (m *Mixture) PerStep() int64 {
	return int64(m.cfg.BatchSize) * int64(m.cfg.Accumulation) * int64(m.cfg.Ranks)
}

// PerEpoch returns the number of units of all sources together.
func (m *Mixture) PerEpoch() int64 {
	n := int64(0)
	for _, s := range m.sources {
		n += s.count
	}
	return n
}

// Step returns this rank's micro-batches of a step (counted from 0), in order. Each has Tokens set to the supervised tokens
// of the step over all micro-batches and ranks, which is at least 1. The batches are the caller's to keep.
func (m *Mixture) Step(step int) []Batch {
	c := m.cfg
	first := int64(step) * m.PerStep()
	tokens := 0 // of all ranks: each also counts the units of the others, so that ranks need not communicate
	for i := range m.PerStep() {
		u, at := m.unit(first + i)
		tokens += u.supervised(at)
	}
	batches := make([]Batch, c.Accumulation)
	for a := range batches {
		var b Batch
		for i := range c.BatchSize {
			u, at := m.unit(first + int64((a*c.Ranks+c.Rank)*c.BatchSize+i))
			if i == 0 {
				b = newBatch(c.BatchSize * u.maxRows())
			}
			u.appendTo(&b, at)
		}
		b.Tokens = tokens
		batches[a] = b
	}
	return batches
}

// Sequential returns all units in order, batchSize at a time, until about maxTokens rows were given (0: all).
// Each batch stands for itself: its Tokens counts its own supervised rows. It is meant for validation, where every run and
// every step must see the same.
func Sequential(u Units, batchSize int, maxTokens int64) iter.Seq[Batch] {
	if batchSize < 1 {
		panic(fmt.Sprintf("data: batches of %d units", batchSize))
	}
	return func(yield func(Batch) bool) {
		rows := int64(0)
		for at := int64(0); at < u.Count() && (maxTokens <= 0 || rows < maxTokens); {
			b := newBatch(batchSize * u.maxRows())
			for i := 0; i < batchSize && at < u.Count() && (maxTokens <= 0 || rows+int64(b.Rows()) < maxTokens); i++ {
				u.appendTo(&b, at)
				at++
			}
			rows += int64(b.Rows())
			b.Tokens = b.Supervised()
			if !yield(b) {
				return
			}
		}
	}
}
