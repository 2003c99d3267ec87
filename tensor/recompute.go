package tensor

// Recompute runs f(x) without keeping what its backward pass needs and runs it again then: memory for time
// (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). f must be a function of x,
// parameters, constants and the tensors of also, which are kept; its dropout masks come out the same. Where
// nothing in f wants a gradient, as in layers below the first that learns, it runs once. With Tape.Offload x
// is on the host from here on, and no other operation may read it.
func Recompute(x *Tensor, f func(*Tensor) *Tensor, also ...*Tensor) *Tensor {
	t := tapeOf("Recompute", x)
	before := t.random // the second run draws the same dropout masks from here
	recording, recorded := t.record, false
	t.record = false
	if recording {
		t.wanted = false
		if x.needsGrad { // else f may turn out to be frozen, and x not be needed again
			t.stash(x)
		}
		defer func() {
			if !recorded { // f failed, or wants no gradient: no entry will give the copy on the host back
				t.unstash(x)
			}
		}()
	}
	out := t.Scope(func() *Tensor { return f(x) })
	t.record = recording
	if !recording {
		return out
	}
	if !t.wanted {
		t.letGo(x)
		return out
	}
	t.stash(x)
	t.push(out, func() {
		after := t.random
		t.random = before
		t.again(x, out, f)
		t.random = after
	}, append(also, x)...)
	recorded = true
	t.leave(x)
	return out
}

// again repeats f(x) recorded and carries out's gradient back through it.
func (t *Tape) again(x, out *Tensor, f func(*Tensor) *Tensor) {
	// A stand-in for x, whose gradient may already hold what others gave it: the repeated layer's
	// is complete when unwind returns.
	leaf := &Tensor{Shape: x.Shape, dtype: x.dtype, dev: x.dev, tape: t, data: x.data.retain(), needsGrad: x.needsGrad}
	mark := len(t.entries)
	t.openScope()    // holds the repeated output until the end
	t.repeats = true // not yet when a layer within this one runs again: that is in unwind
	repeated := t.Scope(func() *Tensor { return f(leaf) })
	t.repeats = false
	if repeated.needsGrad { // else what wants a gradient in f is no part of what it returns
		repeated.addGrad(out.grad.retain())
	}
	t.unwind(mark)
	t.closeScope(nil)
	leaf.data.release(t.Dev)
	if leaf.grad != nil {
		giveGrad(x, leaf.grad)
	}
}
