package rl

import (
	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// keep makes ready for the policy's layers to keep what they compute while answers to the questions are written, where the first update
// that learns from them sees them all at once: it is by the policy that wrote, so its forward pass is known but for attention and what stands
// between the layers. It takes less than what the update itself keeps for its backward pass, but beside the copy of the weights that is there
// for writing; where the recipe bounds memory, the run does without.
func (s *rolling) keep(questions []int) {
	s.forget()
	_, loose := s.r.Env.Device.(device.Loose)
	if loose || s.t.Memory != "" || s.c.NumMiniBatches > 1 || s.t.BatchSize < s.c.answers() || s.again > 0 || !s.r.Model.Shape().Reusable() {
		return
	}
	room := 0
	for _, q := range questions {
		room += s.c.NumGenerations * (len(s.prompt[q].IDs) + s.c.MaxCompletionLength - 1)
	}
	s.kept = tensor.NewResults(room)
}

// forget frees what is kept.
func (s *rolling) forget() {
	if s.kept != nil {
		s.kept.Free()
		s.kept = nil
	}
}

// known is the input of a recorded pass over answers with what is kept of them, which is used up by that pass.
func (s *rolling) known(in nn.Input, answers []*rollout) nn.Input {
	if s.kept == nil {
		return in
	}
	var rows []int32
	for _, a := range answers {
		rows = append(rows, a.kept...)
	}
	return in.Reusing(s.kept, rows)
}
