package nn

import (
	"math"
	"sync"

	"hone/device"
	"hone/tensor"
)

// Rope rotates queries and keys by tables that grow when a position needs it, so that most of a long context
// costs nothing before it is used.
type Rope struct {
	RopeConfig
	dev    device.Device
	mu     sync.Mutex
	tables map[int][]*tensor.RopeTable // by regime; longer and longer ones, since a recorded pass may still use the last
}

// minTable is the least number of positions that a table is made for, if the context has as many.
const minTable = 4096

// NewRope makes the rotation of a model on dev. Its tables are made when they are first needed: a model that
// is only declared costs nothing.
func NewRope(c RopeConfig, dev device.Device) *Rope {
	return &Rope{RopeConfig: c, dev: dev, tables: map[int][]*tensor.RopeTable{}}
}

// Rotation is a Rope at the positions of one input.
type Rotation struct {
	table     *tensor.RopeTable
	positions *tensor.Tensor // [N]: rows of the table
}

// Rotate turns the heads of x [N, heads*D] by their positions.
func (r Rotation) Rotate(x *tensor.Tensor, heads int) *tensor.Tensor {
	return tensor.Rope(x, r.table, r.positions, heads)
}

// At is the rotation of an input's tokens. Where scaling depends on the length (dynamic, longrope), each
// sequence is rotated for its own, whatever stands beside it in the batch: the highest position in it
// and 1, or what Cache.Expect said.
func (r *Rope) At(in Input) Rotation {
	need, regime := 1, 0
	// One table serves all sequences if they are of one regime; dynamic scaling has one for each
	// length, which is not worth keeping.
	for i := range in.Sequences {
		need = max(need, in.length(i))
		own := r.regime(in.length(i))
		if i > 0 && own != regime || own > 0 && r.Type == "dynamic" {
			return r.rows(in)
		}
		regime = own
	}
	return Rotation{r.table(regime, need), in.Positions}
}

// table is one of at least n positions for the regime.
func (r *Rope) table(regime, n int) *tensor.RopeTable {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := min(minTable, max(r.Context(), n))
	if made := r.tables[regime]; len(made) > 0 {
		last := made[len(made)-1]
		if last.Cos.Rows() >= n {
			return last
		}
		size = last.Cos.Rows()
	}
	for size < n { // doubled, but not past the context unless a sequence is longer
		size = max(min(2*size, r.Context()), n)
	}
	made := tensor.NewRopeTable(r.dev, r.frequencies(regime), size, r.scale())
	r.tables[regime] = append(r.tables[regime], made)
	return made
}

// rows makes a table for this input alone, with a row for each token.
func (r *Rope) rows(in Input) Rotation {
	half := r.pairs()
	n := len(in.positions)
	cos, sin, index := make([]float32, n*half), make([]float32, n*half), make([]int32, n)
	for s, seq := range in.Sequences {
		f, scale := r.frequencies(r.regime(in.length(s))), r.scale()
		for row := seq.Q; row < seq.Q+seq.QLen; row++ {
			for i, w := range f {
				ys, yc := math.Sincos(float64(in.positions[row]) * w)
				cos[row*half+i], sin[row*half+i] = float32(yc*scale), float32(ys*scale)
			}
			index[row] = int32(row)
		}
	}
	t := in.IDs.Tape()
	return Rotation{t.RopeTable(cos, sin, half), t.Ints(index)}
}

// Free gives the tables back.
func (r *Rope) Free() {
	for _, made := range r.tables {
		for _, t := range made {
			t.Free()
		}
	}
	clear(r.tables)
}
