package optim

import (
	"fmt"

	"hone/device"
)

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

// State is one tensor of the optimizer's state, F32 or U8, to be read for a checkpoint or written when one is loaded.
type State struct {
	Kind         Kind
	Name         string // of the parameter
	Shape        []int  // the parameter's, [blocks] of scales
	dev          device.Device
	buffer, rest device.Buffer // the values, or the halves of F32 values
	evict        func()
}

// Len is the number of values.
func (s *State) Len() int { return s.buffer.Len }

// DType is the type of the values, F32 or U8.
func (s *State) DType() device.DType {
	if s.buffer.DType == device.U8 {
		return device.U8
	}
	return device.F32
}

// Values calls use with the values, which are not to be changed; where they are in halves, they are
// whole as long as the call lasts.
func (s *State) Values(use func(b device.Buffer)) {
	if s.rest.IsZero() {
		use(s.buffer)
		return
	}
	whole := s.dev.Alloc(s.buffer.Len, device.F32)
	defer s.dev.Free(whole)
	s.dev.Join(whole, s.buffer, s.rest)
	use(whole)
}

// Read copies the values to host memory: []float32, or []uint8 of a U8 state.
func (s *State) Read(to any) (err error) {
	s.Values(func(b device.Buffer) { err = s.dev.Read(to, b) })
	if err != nil {
		return fmt.Errorf("read %s from the device: %w", s.Name, err)
	}
	return nil
}

// Write sets the values, which are of the type that Read takes; a bf16 parameter changes with its master.
func (s *State) Write(values any) {
	if s.rest.IsZero() {
		s.dev.Write(s.buffer, values)
		return
	}
	whole := s.dev.Alloc(s.buffer.Len, device.F32)
	defer s.dev.Free(whole)
	s.dev.Write(whole, values)
	s.dev.Split(s.buffer, s.rest, whole)
}

// Done says that the values were read or written; one that is paged goes out of memory.
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
		for kind, b := range []device.Buffer{
			Master: s.Tensor.Buffer(), Moment1: s.m, Moment2: s.v, Moment1Scale: s.mScale, Moment2Scale: s.vScale,
		} {
			if b.IsZero() {
				continue
			}
			// kind is the index: the list above is keyed by the kinds
			one := State{Kind: Kind(kind), Name: s.Name, Shape: s.Tensor.Shape, dev: o.dev, buffer: b,
				evict: func() { o.evict(s, 0, s.Tensor.Len()) }}
			if one.Kind == Master {
				one.rest = s.rest
			}
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

// Restored ends the loading of a checkpoint after all of State has been written: it sets Updates.
func (o *AdamW) Restored(updates int) error {
	o.updates = updates
	return o.dev.Sync()
}
