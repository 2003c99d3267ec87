package tensor

import (
	"fmt"

	"hone/device"
)

// storage is a device buffer shared by counting: an output that is its input's memory, rows of a matrix
// (slice), one gradient that goes to both operands of a sum.
type storage struct {
	buf    device.Buffer
	refs   int
	parent *storage // whose memory this is a part of, nil for memory of its own
	one    bool     // holds nothing but 1, as the gradient that a backward pass begins with: the host need not wait to read it
}

func (s *storage) retain() *storage {
	s.refs++
	return s
}

// slice is elements lo to hi of s, whose memory it keeps.
func (s *storage) slice(lo, hi int) *storage {
	return &storage{buf: s.buf.Slice(lo, hi), refs: 1, parent: s.retain()}
}

func (s *storage) release(dev device.Device) {
	if s == nil {
		return
	}
	if s.refs--; s.refs > 0 {
		return
	}
	// a part has no memory to free: parts hold the whole by their count, which is freed with the last of them
	if s.parent != nil {
		s.parent.release(dev)
		return
	}
	dev.Free(s.buf)
}

// Scope runs f and frees what it made, but for its result and for what the backward
// pass will need. A model puts one around each layer. What f made must not be held beyond
// the scope: in a pass of Infer the tensors themselves are reused.
func (t *Tape) Scope(f func() *Tensor) *Tensor {
	t.checkInterrupt()
	t.openScope()
	out := f()
	t.closeScope(out)
	return out
}

// openScope begins a scope, with the list of an earlier one.
func (t *Tape) openScope() {
	n := len(t.scopes)
	if n == cap(t.scopes) {
		t.scopes = append(t.scopes, nil)
		return
	}
	t.scopes = t.scopes[:n+1]
	t.scopes[n] = t.scopes[n][:0]
}

// closeScope ends the innermost scope. keep, its result, moves to the scope around it; a result that was made
// outside of it, as by a layer that returns its input, is on that one's list already.
func (t *Tape) closeScope(keep *Tensor) {
	top := len(t.scopes) - 1
	made := t.scopes[top]
	t.scopes = t.scopes[:top]
	t.freeAll(made, keep)
	if keep != nil && keep.tape == t {
		for _, x := range made {
			if x == keep {
				t.scopes[top-1] = append(t.scopes[top-1], keep)
				break
			}
		}
	}
	if !t.record && !t.train {
		t.recycle(made)
	}
}

// outermost runs f, whose result lives until the end of the pass. f opens no scope: the lists of the open
// ones stay where they are, behind the first, until they are appended again.
func (t *Tape) outermost(f func() *Tensor) *Tensor {
	inner := t.scopes[1:]
	t.scopes = t.scopes[:1]
	x := f()
	t.scopes = append(t.scopes, inner...)
	return x
}

// freeAll gives up the tensors' values unless an operation saved them. A saved value that
// can be rebuilt is dropped too, once nothing but the backward pass wants it.
func (t *Tape) freeAll(made []*Tensor, keep *Tensor) {
	for _, x := range made {
		switch {
		case x == keep || x.data == nil:
		case x.saved == 0:
			x.data.release(t.Dev)
			x.data = nil
		case x.rebuild != nil && !x.dropped:
			x.data.release(t.Dev)
			x.data, x.dropped = nil, true
			x.deps = t.save(x.deps) // what rebuild reads must last as long as x may be asked for
		}
	}
}

// recycle empties tensors that are gone and, where the build reuses them, makes them those of the next operations. It
// is for passes that leave nothing for a backward pass. Between two uses of a cache line weights stream through the
// caches, and a tensor that was touched a moment ago is more likely still there than fresh memory of the heap is.
//
// So whoever holds a tensor beyond its scope in such a pass holds what may be another operation's by now: see reuses.
func (t *Tape) recycle(made []*Tensor) {
	for _, x := range made {
		if x.data != nil || x.saved != 0 || x.own.refs != 0 { // a result, or memory that another tensor still reads
			continue
		}
		*x = Tensor{}
		if reuses {
			t.spare = append(t.spare, x)
		}
	}
}

// slabTensors is how many tensors are made at a time: operations make them by the hundred for each token.
const slabTensors = 16

// next is a tensor without memory.
func (t *Tape) next(dtype device.DType, shape []int) *Tensor {
	if len(t.spare) == 0 {
		slab := make([]Tensor, slabTensors)
		for i := range slab {
			t.spare = append(t.spare, &slab[i])
		}
	}
	last := len(t.spare) - 1
	x := t.spare[last]
	t.spare = t.spare[:last]
	x.Shape, x.dtype, x.dev, x.tape = append(x.dims[:0], shape...), dtype, t.Dev, t
	return x
}

func (t *Tape) scoped(x *Tensor) *Tensor {
	top := len(t.scopes) - 1
	t.scopes[top] = append(t.scopes[top], x)
	return x
}

// empty makes a tensor of this tape, not cleared, without gradient.
func (t *Tape) empty(dtype device.DType, shape ...int) *Tensor {
	x := t.next(dtype, shape)
	x.own = storage{buf: t.Dev.Alloc(x.Len(), dtype), refs: 1}
	x.data = &x.own
	return t.scoped(x)
}

// over is a tensor in memory that it takes over.
func (t *Tape) over(data *storage, dtype device.DType, shape ...int) *Tensor {
	x := t.next(dtype, shape)
	x.data = data
	return t.scoped(x)
}

// inPlaceOf is the result of an operation that computes element by element from x, which nobody is to read
// afterwards: a tensor like x in its memory, where that is x's own and no backward pass will ask for it, else
// in new memory, as on a device that joins operations. Writing where was just read takes half the time of
// writing elsewhere, and memory of one size follows on itself. The operation asks for x's Buffer before.
func (t *Tape) inPlaceOf(x *Tensor) *Tensor {
	if device.Joins(t.Dev) || x.tape != t || x.data != &x.own || x.own.refs != 1 || x.saved != 0 {
		return t.empty(x.dtype, x.Shape...)
	}
	y := t.next(x.dtype, x.Shape)
	y.own, x.own, x.data = x.own, storage{}, nil // refs is 1: nobody else points to it
	y.data = &y.own
	return t.scoped(y)
}

// scratch is memory of an operation's own, freed by release.
func (t *Tape) scratch(n int, dtype device.DType) *storage {
	return &storage{buf: t.Dev.Alloc(n, dtype), refs: 1}
}

// save counts one more operation that needs the values of xs, and returns those that a tape owns.
func (t *Tape) save(xs []*Tensor) []*Tensor {
	kept := xs[:0:0] // not in place: xs may be the caller's
	for _, x := range xs {
		if x != nil && x.tape != nil {
			x.saved++
			kept = append(kept, x)
		}
	}
	return kept
}

// unsave lets go of saved values; the last to do so frees them.
func (t *Tape) unsave(xs []*Tensor) {
	for _, x := range xs {
		if x.saved--; x.saved > 0 {
			continue
		}
		t.unstash(x)
		if t.inScope(x) {
			continue // its scope is still open and will free it
		}
		if x.data != nil {
			x.data.release(t.Dev)
			x.data = nil
		}
		if x.dropped {
			x.dropped = false
			t.unsave(x.deps)
		}
	}
}

// inScope reports whether x is on an open scope's list, which then owns its value.
// Lists are short in a backward pass: the root's inputs and outputs of layers.
func (t *Tape) inScope(x *Tensor) bool {
	for _, s := range t.scopes {
		for _, y := range s {
			if x == y {
				return true
			}
		}
	}
	return false
}

// value makes sure that a saved tensor's data is there.
func (t *Tape) value(xs []*Tensor) {
	for _, x := range xs {
		if x.data == nil && !x.stashed.IsZero() {
			t.back(x)
		}
		if x.data == nil && x.dropped {
			t.value(x.deps)
			x.data = &storage{buf: t.Dev.Alloc(x.Len(), x.dtype), refs: 1}
			x.rebuild()
		}
		if x.data == nil {
			panic(&Error{"Backward", fmt.Sprintf("a value %v that the backward pass needs is gone", x.Shape)})
		}
	}
}

// late makes sure that the data of an operation's late x is there. If it must be rebuilt and the operation that made
// x is the next in the backward pass, nothing will add to the gradient of x any more, and both are done in one go.
func (t *Tape) late(x *Tensor) {
	// x has both: it was dropped, its gradient is there by now, and its own entry is still to come
	if x.data != nil || x.both == nil || t.entries[len(t.entries)-1].out != x {
		t.value([]*Tensor{x})
		return
	}
	t.value(x.deps)
	x.data = &storage{buf: t.Dev.Alloc(x.Len(), x.dtype), refs: 1}
	x.both()
}

// freeResults frees results of recorded operations that only the backward pass may need from
// here on. Inputs and constants stay: a recomputed layer reads them again.
func (t *Tape) freeResults(loss *Tensor) {
	var results, others []*Tensor
	for _, x := range t.scopes[0] {
		if x.recorded && x != loss {
			results = append(results, x)
		} else {
			others = append(others, x)
		}
	}
	t.scopes[0] = others
	t.freeAll(results, nil)
}
