package optim

import "hone/device"

// Kind tells the parts of a parameter's state apart.
type Kind uint8

// The parts of a parameter's state: the value that updates go to (the f32 master
// of a bf16 parameter), Adam's first and second moment, and the scales of their blocks where they are in 8 bits.
const (
	Master Kind = iota
	Moment1
	Moment2
	Moment1Scale
	Moment2Scale
)

// State is one tensor of the optimizer's state: its buffer, F32 or U8, to be read
// for a checkpoint or written when one is loaded.
type State struct {
	Kind   Kind
	Name   string // of the parameter
	Shape  []int  // the parameter's, [blocks] of scales
	Buffer device.Buffer
	evict  func()
}

// Done says that the buffer was read or written; one that is paged goes out of memory.
func (s *State) Done() {
	if s.evict != nil {
		s.evict()
	}
}

// State lists everything that must be kept to continue bit for bit, with Updates:
// for each parameter in order its master and its moments, with their scales.
func (o *AdamW) State() []State {
	var all []State
	for i := range o.slots {
		s := &o.slots[i]
		for kind, b := range []device.Buffer{Master: s.master, Moment1: s.m, Moment2: s.v, Moment1Scale: s.mScale, Moment2Scale: s.vScale} {
			if b.IsZero() {
				continue
			}
			one := State{Kind: Kind(kind), Name: s.Name, Shape: s.Tensor.Shape, Buffer: b, evict: func() { o.evict(s, 0, s.Tensor.Len()) }}
			if one.Kind >= Moment1Scale {
				one.Shape = []int{b.Len}
			}
			all = append(all, one)
		}
	}
	return all
}

// Updates is the number of updates made so far: the exponent of the bias correction.
func (o *AdamW) Updates() int { return o.updates }

// Restored ends the loading of a checkpoint after every buffer of State has been
// written: it rounds the masters into the bf16 parameters and sets Updates.
func (o *AdamW) Restored(updates int) error {
	o.updates = updates
	for i := range o.slots {
		if s := &o.slots[i]; s.halved() {
			o.dev.Unary(device.Identity, s.Tensor.Buffer(), s.master)
			o.evict(s, 0, s.Tensor.Len())
		}
	}
	return o.dev.Sync()
}
