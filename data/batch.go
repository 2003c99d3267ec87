// Package data turns raw text into batches of token ids: documents from files ([Sources]), tokens in memory-mapped shards on
// disk ([Build], [Store]), and batches as a pure function of seed and step ([Mixture]). It works on the host only and never
// sees a tensor.
//
//	train, held, err := data.Build(ctx, sources.Documents(&stats), config)     // token shards, which are made once
//	windows, err := data.NewWindows(train, 1024)                                // or NewPacks, of examples
//	mixture, err := data.NewMixture(data.MixtureConfig{BatchSize: 8, Seed: 1}, data.Weighted{Units: windows, Weight: 1})
//	batches := mixture.Step(41)                                                 // those of step 41, whatever was asked for before
//
// Nothing is padded: a batch is sequences one behind the other, and Offsets say where each begins. No position is kept anywhere, so a run that goes on
// need not skip what it has read.
//
// Dimension letters: T tokens of a store, L tokens of a window (the sequence length), N rows of a batch, S sequences of a batch.
package data

import "fmt"

// Ignore is the target of a row at which nothing is to be predicted.
const Ignore = -100

// Batch is one micro-batch of packed sequences; N = len(IDs) rows in all.
type Batch struct {
	IDs, Targets, Positions []int32 // [N]; Targets Ignore where nothing is to be predicted; Positions restart in each sequence
	Offsets                 []int32 // [S+1]; sequence s is rows Offsets[s]:Offsets[s+1]; sequences cannot see each other
	Tokens                  int     // supervised tokens in the WHOLE accumulated (and all-rank) batch: the one normaliser
	Extra                   any     // what the objective of a recipe needs besides; nothing else looks at it
}

// Rows returns N, the number of tokens the model is fed.
func (b *Batch) Rows() int { return len(b.IDs) }

// Supervised returns how many rows of this micro-batch have a target; Tokens is the sum of it over the whole batch.
func (b *Batch) Supervised() int {
	n := 0
	for _, t := range b.Targets {
		if t != Ignore {
			n++
		}
	}
	return n
}

// LastRows lists the rows of the sequences' last tokens that are not pad; -1 is no token. Of a sequence that is nothing else it is the first.
func (b *Batch) LastRows(pad int32) []int32 {
	rows := make([]int32, len(b.Offsets)-1)
	for s := range rows {
		row := b.Offsets[s+1] - 1
		for b.IDs[row] == pad && row > b.Offsets[s] {
			row--
		}
		rows[s] = row
	}
	return rows
}

// SupervisedRows lists the rows that have a target, the targets, and the sequence of each.
func (b *Batch) SupervisedRows() (rows, targets, owner []int32) {
	for s := range len(b.Offsets) - 1 {
		for row := b.Offsets[s]; row < b.Offsets[s+1]; row++ {
			if b.Targets[row] >= 0 {
				rows, targets, owner = append(rows, row), append(targets, b.Targets[row]), append(owner, int32(s))
			}
		}
	}
	return rows, targets, owner
}

func newBatch(rows int) Batch {
	return Batch{
		IDs:       make([]int32, 0, rows),
		Targets:   make([]int32, 0, rows),
		Positions: make([]int32, 0, rows),
		Offsets:   []int32{0},
	}
}

// appendWindow adds the rows of tokens [from, to) of the store. Each document in the window becomes a sequence of its own. A
// row's target is the next token of the same document, also when that token lies just behind the window; the last token of
// a document has none.
func (b *Batch) appendWindow(s *Store, from, to int64) {
	for c := s.cursorAt(from); from < to; c = s.next(c) {
		end := s.documentEnd(c)
		stop := min(end, to)
		row, n := len(b.IDs), int(stop-from)
		b.IDs = s.appendTokens(b.IDs, from, stop)
		b.Targets = append(b.Targets, b.IDs[row+1:]...)
		if stop < end {
			b.Targets = s.appendTokens(b.Targets, stop, stop+1)
		} else {
			b.Targets = append(b.Targets, Ignore)
		}
		for p := range n {
			b.Positions = append(b.Positions, int32(p))
		}
		b.Offsets = append(b.Offsets, int32(row+n))
		from = stop
	}
}

// AppendMarked adds a sequence of marked tokens (see Mark); a row's target is the next token where that is supervised.
func (b *Batch) AppendMarked(marks []int32) {
	if b.Offsets == nil {
		b.Offsets = []int32{0}
	}
	for at, mark := range marks {
		id, _ := Unmark(mark)
		target := int32(Ignore)
		if at+1 < len(marks) {
			if next, supervised := Unmark(marks[at+1]); supervised {
				target = next
			}
		}
		b.IDs, b.Targets, b.Positions = append(b.IDs, id), append(b.Targets, target), append(b.Positions, int32(at))
	}
	b.Offsets = append(b.Offsets, int32(len(b.IDs)))
}

// AppendContexts is AppendMarked without a row for the sequence's last token, which has no target.
func (b *Batch) AppendContexts(marks []int32) {
	b.AppendMarked(marks)
	n := len(b.IDs) - 1
	b.IDs, b.Targets, b.Positions, b.Offsets[len(b.Offsets)-1] = b.IDs[:n], b.Targets[:n], b.Positions[:n], int32(n)
}

// String gives the batch's sizes, for messages.
func (b *Batch) String() string {
	return fmt.Sprintf("%d rows in %d sequences, %d of %d supervised", b.Rows(), len(b.Offsets)-1, b.Supervised(), b.Tokens)
}
