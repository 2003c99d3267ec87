package tensor

import (
	"slices"

	"hone/device"
)

// Results are what the linear layers of a model made of rows that went through it in passes without
// gradients, such as the tokens of an answer while it was written. A recorded pass over the same rows takes
// them from here, so that of the layers only the backward pass is left: the first update that learns from an
// answer asks for what writing it has computed.
type Results struct {
	room, rows int       // that there is memory for, and that are held
	list       []*Tensor // each product [room, out], in the order in which a pass asks; nil once it was used
	next       int       // product that the pass at hand asks for
	lost       bool      // there was no memory for them
	taken      *Tensor   // index of the rows of the pass at hand that are added; nil: all of them, in their order
	adds       int       // number of them
	reuse      []*Tensor // indices of the rows that the pass at hand runs on; nil: it adds to what is held
}

// NewResults holds nothing and has room for a number of rows.
func NewResults(room int) *Results { return &Results{room: room} }

// Rows is the number of rows that are held: those of the next pass come behind them.
func (r *Results) Rows() int { return r.rows }

// Free gives the memory back.
func (r *Results) Free() {
	for _, p := range r.list {
		if p != nil {
			p.data.release(p.dev)
		}
	}
	*r = Results{lost: true}
}

// Keep runs f, all of whose linear layers see the same n rows, and adds what they make of some of these to r.
// It does without where the device has no room.
func (t *Tape) Keep(r *Results, n int, rows []int32, f func() *Tensor) *Tensor {
	check(!t.record && (r.lost || r.rows+len(rows) <= r.room), "Keep",
		"%d rows do not fit beside %d of %d", len(rows), r.rows, r.room)
	if len(rows) == 0 {
		return f()
	}
	r.taken, r.adds = nil, len(rows)
	for i, row := range rows {
		if len(rows) != n || int(row) != i {
			r.taken = t.Ints(rows)
			break
		}
	}
	defer t.with(r, nil)()
	out := f()
	r.rows += len(rows)
	return out
}

// Reuse runs f on rows that are held, whose linear layers take their results from r. Each may be used once.
// The layers see the rows of one of the indices [N], which differ in length.
func (t *Tape) Reuse(r *Results, indices []*Tensor, f func() *Tensor) *Tensor {
	defer t.with(r, indices)()
	return f()
}

// with makes linear layers use r until done is called: with indices they take their results from it, without
// they add to it.
func (t *Tape) with(r *Results, reuse []*Tensor) (done func()) {
	r.next, r.reuse, t.results = 0, reuse, r
	return func() { t.results = nil }
}

// product is a matrix [n, out] that compute fills, unless it is known already.
func (t *Tape) product(dtype device.DType, n, out int, compute func(y *Tensor)) *Tensor {
	r := t.results
	switch {
	case r == nil || r.lost:
	case r.reuse != nil:
		return r.give(t, n, out)
	default:
		return r.product(t, dtype, n, out, compute)
	}
	y := t.empty(dtype, n, out)
	compute(y)
	return y
}

// product computes a matrix [n, out], some or all rows of which are kept. Where all are, they are computed
// where they are kept.
func (r *Results) product(t *Tape, dtype device.DType, n, out int, compute func(y *Tensor)) (y *Tensor) {
	var place *storage
	short := Try(func() { place = r.place(t.Dev, dtype, out) }) != nil
	if short {
		r.Free()
	}
	if !short && r.taken == nil {
		y = t.over(place, dtype, n, out)
		compute(y)
		return y
	}
	y = t.empty(dtype, n, out)
	compute(y)
	if !short {
		t.Dev.Embedding(place.buf, y.Buffer(), r.taken.Buffer())
		place.release(t.Dev)
	}
	return y
}

// place is where the rows that are added to the product at hand belong.
func (r *Results) place(dev device.Device, dtype device.DType, out int) *storage {
	if r.next == len(r.list) {
		values := NewParam(r.room, out)
		values.Alloc(dev, dtype)
		r.list = append(r.list, values)
	}
	to := r.list[r.next].data
	r.next++
	return to.slice(r.rows*out, (r.rows+r.adds)*out)
}

// give is the product at hand of n rows, which is then no longer held.
func (r *Results) give(t *Tape, n, out int) *Tensor {
	at := slices.IndexFunc(r.reuse, func(index *Tensor) bool { return index.Len() == n })
	check(at >= 0 && r.next < len(r.list) && r.list[r.next] != nil && r.list[r.next].Cols() == out, "Reuse",
		"product %d, [%d, %d], is not what was kept", r.next+1, n, out)
	from := r.list[r.next]
	r.list[r.next] = nil
	r.next++
	y := t.empty(from.dtype, n, out)
	t.Dev.Embedding(y.Buffer(), from.Buffer(), r.reuse[at].Buffer())
	from.data.release(t.Dev)
	return y
}
