package rl

import (
	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// keep makes ready for the policy's layers to keep what they compute while answers to the questions are
// written, of those that the first micro-batch of the iteration learns from: it is by the policy that wrote,
// so its forward pass is known but for attention and what stands between the layers. That takes less than
// what the micro-batch itself keeps for its backward pass, but beside the copy of the weights that is there
// for writing; where the recipe bounds memory, the run does without.
func (s *rolling) keep(iteration int, questions []int) {
	s.forget()
	if device.IsLoose(s.r.Env.Device) || s.t.Memory != "" || s.again > 0 || !s.r.Model.Shape().Reusable() {
		return
	}
	first := s.turn(iteration, 0)
	room := 0
	s.keeps = map[int]bool{}
	for _, i := range first[:min(s.t.BatchSize, len(first))] {
		s.keeps[i] = true
		room += len(s.prompt[questions[i/s.c.NumGenerations]].IDs) + s.c.MaxCompletionLength
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
