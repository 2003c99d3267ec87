package tensor

import (
	"fmt"

	"hone/device"
)

// Tape records the operations of one pass and owns the memory of all they make. It serves a whole run: a pass begins with Train,
// Differentiate or Infer and ends with the next of these or Reset.
//
//	tape := NewTape(dev, device.F32)
//	tape.Train(seed, step, micro)
//	loss := objective(tape, batch)
//	tape.Backward(loss)
//	tape.Reset()
type Tape struct {
	Dev   device.Device
	DType device.DType // of activations: F32 or BF16
	// Offload is the device if inputs of recomputed layers are to wait for the backward pass on the host, else nil.
	Offload device.Apart
	// Interrupt is asked between operations of a training pass, between the scopes of others, and between the parts of long ones; an error ends the pass
	// with a panic of an *Interrupted, which Try returns. Nil: nobody is asked.
	Interrupt func() error

	away    []*Tensor   // that are on the host alone, in the order in which they went
	record  bool        // leave closures for the backward pass
	train   bool        // the pass has a backward pass; also while a recomputed layer runs unrecorded
	still   bool        // dropout and noise are off even so
	repeats bool        // a recomputed layer runs again; its gradient comes next
	depth   int         // of the backward pass: 1 in that of the pass itself, one more in that of a recomputed layer
	wanted  bool        // since it was cleared an operation of a training pass, recorded or not, had an operand that wants a gradient
	random  Random      // of this pass: dropout masks are drawn in the order of the operations
	results *Results    // of linear layers that are kept or reused in the pass at hand; nil: none
	entries []entry     // in the order of the forward pass
	scopes  [][]*Tensor // what the open scopes made, the innermost last; the first is the pass itself
	spare   []*Tensor   // for the next operations

	products []device.MatMul // that a call is about to compute
}

// slabTensors is how many tensors are made at a time: operations make them by the hundred for each token.
const slabTensors = 16

// entry is one recorded operation.
type entry struct {
	out      *Tensor // nil: backward is no gradient and always runs
	saved    []*Tensor
	late     *Tensor // a saved value that backward asks for itself, with Tape.late; or nil
	backward func()
}

// NewTape returns a tape whose passes run on dev with activations of dtype.
func NewTape(dev device.Device, dtype device.DType) *Tape {
	return &Tape{Dev: dev, DType: dtype, scopes: make([][]*Tensor, 1)}
}

// Train starts a recorded pass. Its randomness (dropout) is a function of the three numbers alone.
func (t *Tape) Train(seed uint64, step, micro int) {
	t.Reset()
	t.record, t.train, t.still = true, true, false
	t.random = NewRandom(seed, uint64(step), uint64(micro))
}

// Differentiate starts a recorded pass of what a model computes outside training: nothing is drawn, so dropout and noise do nothing.
func (t *Tape) Differentiate() {
	t.Train(0, 0, 0)
	t.still = true
}

// Infer starts a pass without gradients and without dropout.
func (t *Tape) Infer() {
	t.Reset()
	t.record, t.train = false, false
}

// Recording reports whether operations leave closures for a backward pass: in passes of Train and Differentiate, but not while a layer
// that is to be run again (Recompute) runs for the first time.
func (t *Tape) Recording() bool { return t.record }

// Reset frees everything the pass made. Gradients of parameters stay.
func (t *Tape) Reset() {
	// what is left here belongs to a pass that ended early: Backward has taken its own entries off
	for i := len(t.entries) - 1; i >= 0; i-- {
		if e := &t.entries[i]; e.out == nil { // of Between: what is on is switched off in the end
			e.backward()
		} else {
			t.drop(e)
		}
	}
	t.entries, t.repeats, t.depth = t.entries[:0], false, 0
	for len(t.scopes) > 1 {
		t.closeScope(nil)
	}
	t.freeAll(t.scopes[0], nil)
	t.scopes[0] = t.scopes[0][:0]
}

// Ints puts host integers on the device, [len(v)].
func (t *Tape) Ints(v []int32) *Tensor {
	x := t.empty(device.I32, len(v))
	t.Dev.Write(x.data.buf, v)
	return x
}

// Floats puts host numbers on the device as a constant of the given shape, in the tape's dtype.
func (t *Tape) Floats(v []float32, shape ...int) *Tensor {
	x := t.empty(t.DType, shape...)
	t.Dev.Write(x.data.buf, v)
	return x
}

// Lend makes a tensor [b.Len] of memory that stays the caller's, who keeps it until the pass is over.
func (t *Tape) Lend(b device.Buffer) *Tensor {
	x := t.next(b.DType, []int{b.Len})
	x.own = storage{buf: b, refs: 2} // one of which is the caller's
	x.data = &x.own
	return t.scoped(x)
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

// Between runs f with something switched on before it and off after it, such as an adapter that several models share their
// layers with. In the backward pass, which may run f again, it is on for what f recorded, too. After a pass that fails it is off
// when the next one begins.
func (t *Tape) Between(on, off func(), f func() *Tensor) *Tensor {
	// entries run from the last to the first, so what switches off in the backward pass is recorded first
	if t.record {
		t.entries = append(t.entries, entry{backward: off})
	}
	on()
	out := func() *Tensor {
		defer off()
		return f()
	}()
	if t.record {
		t.entries = append(t.entries, entry{backward: on})
	}
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

// closeScope ends the innermost scope. keep, its result, moves to the scope around it; a result that was made outside of it, as by a
// layer that returns its input, is on that one's list already.
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

// recycle empties tensors that are gone and, where the build reuses them, makes them those of the next operations. It is for passes that
// leave nothing for a backward pass. Between two uses of a cache line weights stream through the caches, and a tensor that was touched a
// moment ago is more likely still there than fresh memory of the heap is.
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

// inPlaceOf is the result of an operation that computes element by element from x, which nobody is to read afterwards: a tensor
// like x in its memory, where that is x's own and no backward pass will ask for it, else in new memory, as on a device that joins
// operations. Writing where was just read takes half the time of writing elsewhere, and memory of one size follows on itself. The
// operation asks for x's Buffer before.
func (t *Tape) inPlaceOf(x *Tensor) *Tensor {
	if device.Joins(t.Dev) || x.tape != t || x.data != &x.own || x.own.refs != 1 || x.saved != 0 {
		return t.empty(x.dtype, x.Shape...)
	}
	y := t.next(x.dtype, x.Shape)
	y.own, x.own, x.data = x.own, storage{}, nil // refs is 1: nobody else points to it
	y.data = &y.own
	return t.scoped(y)
}

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

// wants reports whether an operation with these inputs must be recorded, and notes for Recompute, whose first run records nothing, that one
// of them wants a gradient. Every operation asks it of all its inputs.
func (t *Tape) wants(inputs ...*Tensor) bool {
	if !t.train {
		return false
	}
	for _, x := range inputs {
		if x != nil && x.needsGrad {
			t.wanted = true
			return t.record
		}
	}
	return false
}

// push records an operation: out's gradient exists when backward runs, and the
// values of saved are at hand. An operation names what its closure reads, its own output too, and nothing else: every
// saved tensor is memory until the backward pass has come by. Parameters may be named; they are nobody's to free.
func (t *Tape) push(out *Tensor, backward func(), saved ...*Tensor) {
	t.checkInterrupt()
	out.needsGrad, out.recorded = true, true
	saved = t.save(saved)
	t.entries = append(t.entries, entry{out: out, saved: saved, backward: backward})
}

// pushLate is push of an operation that asks for the value of x when it has given x its gradient.
func (t *Tape) pushLate(out *Tensor, backward func(), x *Tensor, saved ...*Tensor) {
	t.push(out, backward, saved...)
	if len(t.save([]*Tensor{x})) > 0 {
		t.entries[len(t.entries)-1].late = x
	}
}

// late makes sure that the data of an operation's late x is there. If it must be rebuilt and the operation that made x is the
// next in the backward pass, nothing will add to the gradient of x any more, and both are done in one go.
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

// Backward computes the gradients of loss, a scalar [1], with respect to everything it
// depends on, and frees the pass's values as it goes.
func (t *Tape) Backward(loss *Tensor) {
	check(t.record, "Backward", "the tape is not recording; start the pass with Train")
	check(loss.Len() == 1, "Backward", "the loss has shape %v, want one element", loss.Shape)
	if !loss.needsGrad {
		return
	}
	t.freeResults(loss)
	g, _ := loss.gradBuffer() // d loss / d loss
	t.Dev.Fill(g, 1)
	loss.grad.one = true
	t.unwind(0)
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

// unwind runs the recorded operations from the last down to entry mark.
func (t *Tape) unwind(mark int) {
	t.depth++
	for len(t.entries) > mark {
		t.checkInterrupt()
		t.undo()
	}
	t.depth--
}

// undo runs the last entry and lets go of it, also where it is interrupted.
func (t *Tape) undo() {
	last := len(t.entries) - 1
	e := t.entries[last]
	t.entries[last] = entry{} // so that the heap can take closure and tensors, too
	t.entries = t.entries[:last]
	if e.out == nil {
		e.backward()
		return
	}
	defer t.drop(&e)
	if e.out.grad != nil { // else nothing downstream depends on it
		t.value(e.saved)
		e.backward()
	}
}

// checkInterrupt ends the pass where it is to be interrupted. It is for places that hold nothing which neither Reset nor what is deferred would free: so not while
// a recomputed layer runs again, nor in its backward pass.
func (t *Tape) checkInterrupt() {
	if t.Interrupt == nil || t.repeats || t.depth > 1 {
		return
	}
	if err := t.Interrupt(); err != nil {
		panic(&Interrupted{err})
	}
}

// Interrupted is why a pass that Tape.Interrupt has ended is not complete.
type Interrupted struct{ Cause error }

// Error is the cause's.
func (e *Interrupted) Error() string { return e.Cause.Error() }

// Unwrap is the cause.
func (e *Interrupted) Unwrap() error { return e.Cause }

// drop lets go of what an entry held: the gradient of its output, which is passed on by now, and its saved values.
func (t *Tape) drop(e *entry) {
	e.out.FreeGrad()
	t.unsave(e.saved)
	if e.late != nil {
		t.unsave([]*Tensor{e.late})
	}
}

// gradBuffer is x's gradient to write to: acc is true when there is something to add to. A fresh one is not cleared, so that a kernel
// that can accumulate writes it in one pass; whoever has such a kernel calls this, others make a gradient and call addGrad.
func (x *Tensor) gradBuffer() (buf device.Buffer, acc bool) {
	if x.grad == nil {
		x.grad = &storage{buf: x.dev.Alloc(x.Len(), x.gradType()), refs: 1}
		return x.grad.buf, false
	}
	if x.grad.refs > 1 { // shared by another tensor: take a copy before changing it
		own := &storage{buf: x.dev.Alloc(x.Len(), x.gradType()), refs: 1}
		x.dev.Unary(device.Identity, own.buf, x.grad.buf)
		x.grad.release(x.dev)
		x.grad = own
	}
	x.grad.one = false
	return x.grad.buf, true
}

// takeGrad takes x's gradient from it, to be changed.
func (x *Tensor) takeGrad() *storage {
	x.gradBuffer() // no longer shared
	g := x.grad
	x.grad = nil
	return g
}

// gradType is F32 for parameters, whose gradients add up over micro-batches, else the tensor's own.
func (x *Tensor) gradType() device.DType {
	if x.tape == nil {
		return device.F32
	}
	return x.dtype
}

// addGrad adds g to x's gradient and takes g over. The first one becomes the gradient without a copy; g may be shared with others
// (retain), for gradBuffer copies before it changes what is shared.
func (x *Tensor) addGrad(g *storage) {
	if x.grad == nil && g.buf.DType == x.gradType() {
		x.grad = g
		return
	}
	buf, acc := x.gradBuffer()
	if acc {
		x.dev.AddScaled(buf, 1, g.buf)
	} else {
		x.dev.Unary(device.Identity, buf, g.buf)
	}
	g.release(x.dev)
}

// scratch is memory of an operation's own, freed by release.
func (t *Tape) scratch(n int, dtype device.DType) *storage {
	return &storage{buf: t.Dev.Alloc(n, dtype), refs: 1}
}

// tapeOf is the tape that the operands belong to.
func tapeOf(op string, xs ...*Tensor) *Tape {
	for _, x := range xs {
		if x != nil && x.tape != nil {
			return x.tape
		}
	}
	panic(&Error{op, ErrNoTape.Error()})
}
