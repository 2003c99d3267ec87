package tensor

import (
	"slices"

	"hone/device"
)

// Inputs of recomputed layers may wait for the backward pass on the host: the copy goes there while the layer
// runs forward, whose input the device holds anyway, and comes back while the layer above it runs backward.
//
// The life of an input that goes: stash (copying begins, the layer still reads x) → leave (the layer is
// through, the device's memory goes) → come (a copy back is on its way) → back (the backward pass waits
// for it and uses it) → unstash.

// goes tells whether a layer's input x is to leave the device: freeing what others use, too, or what
// is rebuilt would free nothing.
func (t *Tape) goes(x *Tensor) bool {
	return t.Offload != nil && x.data != nil && x.data.refs == 1 && x.data.parent == nil && x.rebuild == nil
}

// stash begins to copy a layer's input x to the host, if it is to go and is not on its way.
func (t *Tape) stash(x *Tensor) {
	if t.goes(x) && x.stashed.IsZero() {
		x.stashed = t.Offload.Stash(x.data.buf)
	}
}

// letGo gives the device's memory of the input of a layer up that has no backward pass, without a copy.
func (t *Tape) letGo(x *Tensor) {
	if t.goes(x) && x.saved == 0 {
		x.data.release(t.Dev)
		x.data = nil
	}
}

// leave gives the device's memory of a stashed x up.
func (t *Tape) leave(x *Tensor) {
	if x.stashed.IsZero() || x.data == nil {
		return
	}
	x.data.release(t.Dev)
	x.data = nil
	t.away = append(t.away, x)
}

// back brings x back, and begins with the one that the backward pass needs after it.
func (t *Tape) back(x *Tensor) {
	t.come(x)
	t.Offload.Arrived(x.coming)
	x.data, x.coming = &storage{buf: x.coming, refs: 1}, device.Buffer{}
	t.unstash(x)
	if n := len(t.away); n > 0 { // the layer below is next: its input travels while this one runs
		t.come(t.away[n-1])
	}
}

func (t *Tape) come(x *Tensor) {
	if x.coming.IsZero() {
		x.coming = t.Offload.Unstash(x.stashed)
	}
}

// unstash gives the host's memory of x up, and the device's where it is not used yet.
func (t *Tape) unstash(x *Tensor) {
	if x.stashed.IsZero() {
		return
	}
	if !x.coming.IsZero() {
		t.Dev.Free(x.coming)
	}
	t.Dev.Free(x.stashed)
	x.stashed, x.coming = device.Buffer{}, device.Buffer{}
	if i := slices.Index(t.away, x); i >= 0 {
		t.away = slices.Delete(t.away, i, i+1)
	}
}
