package optim

import "hone/device"

// Kind tells the parts of a parameter's state apart.
type Kind uint8

// The parts of a parameter's state: the value that updates go to (the f32 master
// of a bf16 parameter), and Adam's first and second moment.
const (
	Master Kind = iota
	Moment1
	Moment2
)

// State is one tensor of the optimizer's state: its buffer, always F32, to be read
// for a checkpoint or written when one is loaded.
type State struct {
	Kind   Kind
	Name   string // of the parameter
	Shape  []int
	Buffer device.Buffer
}

// State lists everything that must be kept to continue bit for bit, with Updates:
// for each parameter in order its master and its moments.
func (o *AdamW) State() []State {
	var all []State
	for i := range o.slots {
		s := &o.slots[i]
		for kind, b := range []device.Buffer{Master: s.master, Moment1: s.m, Moment2: s.v} {
			all = append(all, State{Kind: Kind(kind), Name: s.Name, Shape: s.Tensor.Shape, Buffer: b})
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
		}
	}
	return o.dev.Sync()
}
