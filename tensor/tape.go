package tensor

import "hone/device"

// Tape records the operations of one pass and owns the memory of all they make. It serves a whole run: a pass
// begins with Train, Differentiate or Infer and ends with the next of these or Reset.
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
	// Interrupt is asked between operations of a training pass, between the scopes of others, and between the parts
	// of long ones; an error ends the pass with a panic of an *Interrupted, which Try returns. Nil: nobody is asked.
	Interrupt func() error

	away    []*Tensor   // that are on the host alone, in the order in which they went
	record  bool        // leave closures for the backward pass
	train   bool        // the pass has a backward pass; set also while a recomputed layer runs unrecorded, for the first time
	still   bool        // dropout and noise are off even so (Differentiate)
	repeats bool        // a recomputed layer runs again; its gradient comes next
	depth   int         // of the backward pass: 1 in that of the pass itself, one more in that of a recomputed layer
	wanted  bool        // since it was cleared some operation of a training pass had an operand that wants a gradient
	random  Random      // of this pass: dropout masks are drawn in the order of the operations
	results *Results    // of linear layers that are kept or reused in the pass at hand; nil: none
	entries []entry     // in the order of the forward pass
	scopes  [][]*Tensor // what the open scopes made, the innermost last; the first is the pass itself
	spare   []*Tensor   // for the next operations

	products []device.MatMul // that a call is about to compute
}

// entry is one recorded operation.
type entry struct {
	out      *Tensor   // nil for Between, whose backward is no gradient and always runs
	saved    []*Tensor // values that are there when backward runs
	late     *Tensor   // a saved value that backward asks for itself, with Tape.late; or nil
	backward func()    // reads out.grad and adds to the gradients of the operands
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

// Differentiate starts a recorded pass of what a model computes outside training: nothing is drawn,
// so dropout and noise do nothing.
func (t *Tape) Differentiate() {
	t.Train(0, 0, 0)
	t.still = true
}

// Infer starts a pass without gradients and without dropout.
func (t *Tape) Infer() {
	t.Reset()
	t.record, t.train = false, false
}

// Recording reports whether operations leave closures for a backward pass: in passes of Train and
// Differentiate, but not while a layer that is to be run again (Recompute) runs for the first time.
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

// Constant puts host numbers on the device in F32, whatever the tape's dtype is: what a loss compares with.
func (t *Tape) Constant(v []float32, shape ...int) *Tensor {
	x := t.empty(device.F32, shape...)
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

// Between runs f with something switched on before it and off after it, such as an adapter that several
// models share their layers with. In the backward pass, which may run f again, it is on for what f recorded,
// too. After a pass that fails it is off when the next one begins.
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

// tapeOf is the tape that the operands of op belong to, nil ones and parameters aside.
func tapeOf(op string, xs ...*Tensor) *Tape {
	for _, x := range xs {
		if x != nil && x.tape != nil {
			return x.tape
		}
	}
	panic(&Error{op, "no operand belongs to a tape; make the input with Tape.Ints or Tape.Floats"})
}

// wants reports whether an operation with these inputs must be recorded, and notes for Recompute, whose first
// run records nothing, that one of them wants a gradient. Every operation asks it of all its inputs.
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

// drop lets go of what an entry held: the gradient of its output, which is passed on by now, and its saved values.
func (t *Tape) drop(e *entry) {
	e.out.FreeGrad()
	t.unsave(e.saved)
	if e.late != nil {
		t.unsave([]*Tensor{e.late})
	}
}

// checkInterrupt ends the pass where it is to be interrupted. It is for places that hold nothing which neither
// Reset nor what is deferred would free: so not while a recomputed layer runs again, nor in its backward pass.
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
