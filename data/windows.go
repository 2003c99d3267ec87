package data

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"sort"
)

// Weighted is one source of a mixture.
type Weighted struct {
	Store  *Store
	Weight float64 // share of the windows, relative to the other weights; must be positive
}

// WindowConfig says how tokens become batches.
type WindowConfig struct {
	Length       int    // L, tokens per window: the sequence length; at least 2
	BatchSize    int    // windows per micro-batch on one rank
	Accumulation int    // micro-batches per step on one rank; 0 means 1
	Seed         uint64 // chooses the order
	Rank, Ranks  int    // this process among all; Ranks 0 means 1
}

// Windows cuts token stores into windows of L tokens (and the token after, which is a target only) and deals them out.
//
// It keeps no position: what a step sees depends only on the seed, the step and the configuration, so a run continues anywhere
// at once. Windows are numbered g = 0, 1, 2, ... over the whole run; step s of B x A x R windows takes the numbers from
// s*B*A*R on, micro-batch a of rank r those from (a*R+r)*B on within the step. Within an epoch of a source every window comes
// exactly once, in an order of its own. With several sources the share of each is kept in every block of mixSlots windows.
type Windows struct {
	cfg     WindowConfig
	sources []source
	slots   int64 // numbers per block over which the sources are dealt
}

type source struct {
	store   *Store
	windows int64 // in one epoch
	from    int64 // first slot of each block, counted before the block is shuffled
	slots   int64 // slots of each block
}

// mixSlots is the block over which a mixture's weights hold exactly, rounded to 1/4096.
const mixSlots = 4096

// NewWindows checks the configuration and the sources.
func NewWindows(cfg WindowConfig, sources ...Weighted) (*Windows, error) {
	cfg.Accumulation = max(cfg.Accumulation, 1)
	cfg.Ranks = max(cfg.Ranks, 1)
	switch {
	case cfg.Length < 2:
		return nil, fmt.Errorf("sequence_length is %d; it must be at least 2", cfg.Length)
	case cfg.BatchSize < 1:
		return nil, fmt.Errorf("batch_size is %d; it must be at least 1", cfg.BatchSize)
	case int64(cfg.BatchSize)*int64(cfg.Length) > math.MaxInt32:
		return nil, fmt.Errorf("batch_size %d x sequence_length %d is too large; use gradient accumulation", cfg.BatchSize, cfg.Length)
	case cfg.Rank < 0 || cfg.Rank >= cfg.Ranks:
		return nil, fmt.Errorf("rank %d of %d ranks", cfg.Rank, cfg.Ranks)
	case len(sources) == 0:
		return nil, errors.New("no training data: set data=")
	}
	w := &Windows{cfg: cfg, slots: 1}
	if len(sources) > 1 {
		w.slots = mixSlots
	}
	return w, w.deal(sources)
}

// deal gives each source its slots of a block by largest remainder, at least one.
func (w *Windows) deal(sources []Weighted) error {
	sum := 0.0
	for i, s := range sources {
		if !(s.Weight > 0) || math.IsInf(s.Weight, 1) {
			return fmt.Errorf("data source %d has weight %v; weights must be positive numbers", i+1, s.Weight)
		}
		if s.Store.Tokens() < minDocument {
			return fmt.Errorf("data source %d has no tokens", i+1)
		}
		sum += s.Weight
	}
	left := w.slots
	byRest := make([]int, len(sources))
	rest := make([]float64, len(sources))
	for i, s := range sources {
		exact := s.Weight / sum * float64(w.slots)
		slots := max(int64(exact), 1)
		rest[i], byRest[i] = exact-float64(slots), i
		left -= slots
		w.sources = append(w.sources, source{store: s.Store, windows: windowCount(s.Store, w.cfg.Length), slots: slots})
	}
	sort.SliceStable(byRest, func(a, b int) bool { return rest[byRest[a]] > rest[byRest[b]] })
	for i := 0; left > 0; i, left = i+1, left-1 {
		w.sources[byRest[i%len(byRest)]].slots++
	}
	return w.layOut(left)
}

// layOut takes back slots that "at least one" overdrew, from the largest source, and lays the sources out in the block.
func (w *Windows) layOut(left int64) error {
	largest := 0
	for i := range w.sources {
		if w.sources[i].slots > w.sources[largest].slots {
			largest = i
		}
	}
	w.sources[largest].slots += left
	if w.sources[largest].slots < 1 {
		return fmt.Errorf("%d data sources are too many to mix", len(w.sources))
	}
	from := int64(0)
	for i := range w.sources {
		w.sources[i].from = from
		from += w.sources[i].slots
	}
	return nil
}

// windowCount returns how many windows cover a store: each token but the last of the store is a row of exactly one, and the
// last window may be shorter.
func windowCount(s *Store, length int) int64 {
	return (s.Tokens() - 1 + int64(length) - 1) / int64(length)
}

// window returns the store and the rows [from, to) of window number g.
func (w *Windows) window(g int64) (s *Store, from, to int64) {
	block, slot := g/w.slots, g%w.slots
	slot = permute(key(w.cfg.Seed, 1, uint64(block)), w.slots, slot)
	k := sort.Search(len(w.sources), func(i int) bool { return w.sources[i].from > slot }) - 1
	src := &w.sources[k]
	n := block*src.slots + slot - src.from // windows this source gave before
	epoch := n / src.windows
	at := permute(key(w.cfg.Seed, 2, uint64(k), uint64(epoch)), src.windows, n%src.windows)
	from = at * int64(w.cfg.Length)
	return src.store, from, min(from+int64(w.cfg.Length), src.store.Tokens())
}

// PerStep returns the number of windows in one step, over all ranks and micro-batches.
func (w *Windows) PerStep() int64 {
	return int64(w.cfg.BatchSize) * int64(w.cfg.Accumulation) * int64(w.cfg.Ranks)
}

// PerEpoch returns the number of windows that cover every source once.
func (w *Windows) PerEpoch() int64 {
	n := int64(0)
	for _, s := range w.sources {
		n += s.windows
	}
	return n
}

// Step returns this rank's micro-batches of a step (counted from 0), in order. Each has Tokens set to the supervised tokens
// of the step over all micro-batches and ranks, which is at least 1. The batches are the caller's to keep.
func (w *Windows) Step(step int) []Batch {
	c := w.cfg
	first := int64(step) * w.PerStep()
	tokens := 0
	for i := range w.PerStep() {
		s, from, to := w.window(first + i)
		tokens += s.supervised(from, to)
	}
	batches := make([]Batch, c.Accumulation)
	for a := range batches {
		b := newBatch(c.BatchSize * c.Length)
		for i := range c.BatchSize {
			s, from, to := w.window(first + int64((a*c.Ranks+c.Rank)*c.BatchSize+i))
			b.appendWindow(s, from, to)
		}
		b.Tokens = tokens
		batches[a] = b
	}
	return batches
}

// Sequential returns the windows of a store in order, batchSize at a time, until about maxTokens rows were given (0: all).
// Each batch stands for itself: its Tokens counts its own supervised rows. It is meant for validation, where every run and
// every step must see the same.
func Sequential(s *Store, length, batchSize int, maxTokens int64) iter.Seq[Batch] {
	if length < 2 || batchSize < 1 {
		panic(fmt.Sprintf("data: sequential windows of %d tokens, %d at a time", length, batchSize))
	}
	return func(yield func(Batch) bool) {
		end := s.Tokens() - 1
		if maxTokens > 0 {
			end = min(end, maxTokens)
		}
		for at := int64(0); at < end; {
			b := newBatch(batchSize * length)
			for i := 0; i < batchSize && at < end; i++ {
				to := min(at+int64(length), s.Tokens())
				b.appendWindow(s, at, to)
				at = to
			}
			b.Tokens = b.Supervised()
			if !yield(b) {
				return
			}
		}
	}
}
