package nn

import (
	"slices"
	"sort"

	"hone/device"
	"hone/tensor"
)

// leastSaved is the part of a batch's rows, 1/leastSaved, that sharing must save to be done: keys and values
// are copied for it.
const leastSaved = 16

// shared is in with what sequences begin with alike as one sequence of its own, such as the prompt of
// several answers: its rows run once, and its keys and values stand before those of each. The rows that are
// asked for come back by their numbers in the new batch. A sequence shares nothing from the first of them
// on, so that each keeps a row of its own.
//
// So of a prompt p with the answers a and b, and a sequence c,
//
//	the rows that run   p a p b c  become  p a b c
//	keys and values     p a for a, p b for b, c for c
//
// The bits of the rows stay what they are. Where two equal rows would not compute the same - with dropout or
// noise on embeddings, or with rotary positions that depend on a sequence's length - nothing is shared.
func (in Input) shared(s Shape, rows []int32) (Input, []int32) {
	if in.Cache != nil || in.ids == nil || in.Dropout > 0 || in.Noise > 0 || s.Virtual > 0 || len(in.Sequences) < 2 {
		return in, rows
	}
	for _, seq := range in.Sequences {
		if s.OwnAfter > 0 && seq.QLen > s.OwnAfter {
			return in, rows
		}
	}
	// Rows with equal tokens before them, at equal positions, have equal hidden states in every layer:
	// causal attention sees no further.
	families := familiesOf(in.beginnings(rows))
	saved := 0
	for _, f := range families {
		saved += f.saved()
	}
	if saved*leastSaved < len(in.ids) {
		return in, rows
	}
	p := repack{in: in, to: make([]int32, len(in.ids))}
	for _, f := range families {
		p.add(f)
	}
	t := in.IDs.Tape()
	in.ids, in.positions, in.known, in.Sequences = p.ids, p.positions, p.known, p.sequences
	in.IDs, in.Positions, in.spread = t.Ints(p.ids), t.Ints(p.positions), t.Ints(append(p.to, p.common...))
	moved := make([]int32, len(rows))
	for i, row := range rows {
		moved[i] = p.to[row]
	}
	return in, moved
}

// beginnings are the tokens of each sequence before the first row that is asked for, and at most all but the last.
func (in Input) beginnings(rows []int32) [][]int32 {
	ends := make([]int, len(in.Sequences))
	for i, s := range in.Sequences {
		ends[i] = s.Q + s.QLen - 1
	}
	for _, row := range rows {
		// the sequence of the row: they follow each other
		i := sort.Search(len(in.Sequences), func(i int) bool { return in.Sequences[i].Q+in.Sequences[i].QLen > int(row) })
		ends[i] = min(ends[i], int(row))
	}
	list := make([][]int32, len(in.Sequences))
	for i, s := range in.Sequences {
		list[i] = in.ids[s.Q:max(ends[i], s.Q)]
	}
	return list
}

// family is sequences whose first tokens are the same.
type family struct {
	members []int
	length  int // of what they share
}

// saved is the number of rows that need not run.
func (f *family) saved() int { return (len(f.members) - 1) * f.length }

// familiesOf parts sequences, by their beginnings, into families. Neighbours in the order of their tokens
// have most in common; one joins the family before it where more rows are saved with it than without.
func familiesOf(begins [][]int32) []family {
	order := make([]int, len(begins))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(begins[a], begins[b]) })
	var list []family
	for _, i := range order {
		if last := len(list) - 1; last >= 0 {
			f := &list[last]
			if length := alike(begins[f.members[0]][:f.length], begins[i]); len(f.members)*length > f.saved() {
				f.members, f.length = append(f.members, i), length
				continue
			}
		}
		list = append(list, family{[]int{i}, len(begins[i])})
	}
	return list
}

// alike is the number of first tokens that a and b have in common.
func alike(a, b []int32) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// repack is a batch that is put together anew.
type repack struct {
	in             Input
	ids, positions []int32
	known          []int32 // as in Input
	sequences      []device.Sequence
	to             []int32 // where a row of in is now
	common         []int32 // rows of what is shared, whose keys come behind those of all rows of in
}

// add puts what a family shares into the batch and after it the rest of its members.
func (p *repack) add(f family) {
	length, at := 0, len(p.ids)
	if len(f.members) > 1 {
		length = f.length
		first := p.in.Sequences[f.members[0]]
		p.take(first.Q, length)
		p.sequences = append(p.sequences, device.Sequence{Q: at, QLen: length, K: len(p.to) + len(p.common), KLen: length})
		for i := range length {
			p.common = append(p.common, int32(at+i))
		}
	}
	for _, m := range f.members {
		s := p.in.Sequences[m]
		for i := range length {
			p.to[s.Q+i] = int32(at + i)
		}
		own := device.Sequence{Q: len(p.ids), QLen: s.QLen - length, K: s.Q, KLen: s.QLen}
		for i := range own.QLen {
			p.to[s.Q+length+i] = int32(own.Q + i)
		}
		p.take(s.Q+length, own.QLen)
		p.sequences = append(p.sequences, own)
	}
}

// take appends n rows of in from row on.
func (p *repack) take(row, n int) {
	p.ids = append(p.ids, p.in.ids[row:row+n]...)
	p.positions = append(p.positions, p.in.positions[row:row+n]...)
	if p.in.known != nil {
		p.known = append(p.known, p.in.known[row:row+n]...)
	}
}

// spreadKeys puts keys or values of what is shared before those of each sequence that shares it.
func (in Input) spreadKeys(x *tensor.Tensor) *tensor.Tensor {
	if in.spread == nil {
		return x
	}
	return tensor.Rows(x, in.spread)
}
