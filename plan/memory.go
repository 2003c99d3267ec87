package plan

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"hone/tensor"
)

// Memory is what a training step holds on the device, in bytes. The parts are not held all at the same time: gradients
// appear as activations go, so that the peak is less than their sum.
type Memory struct {
	Weights     int64 `json:"weights_bytes"`             // of the model and of what the method adds
	Gradients   int64 `json:"gradients_bytes"`           // of all that is trained, before the update
	Optimizer   int64 `json:"optimizer_bytes"`           // its state, as far as it is on the device
	Paged       int64 `json:"paged_bytes,omitempty"`     // its state in files, or in the host's memory beside a card
	Offloaded   int64 `json:"offloaded_bytes,omitempty"` // inputs of layers that wait on the host for the backward pass
	Activations int64 `json:"activations_bytes"`         // what is kept of a micro-batch for the backward pass, the loss not included
	Logits      int64 `json:"logits_bytes"`              // the part of the logits that is held at a time
	Peak        int64 `json:"peak_bytes"`                // the most that is in use at any time
	Own         int64 `json:"own_bytes,omitempty"`       // of a card, beside buffers; not in the peak
	Recompute   int   `json:"recompute_layers"`          // layers that are run again in the backward pass
	FLOPs       FLOPs `json:"flops"`                     // of a micro-batch, forward and backward, layers that are run again counted twice; see Once
	Forward     FLOPs `json:"-"`                         // of the model alone, once
	Work        Work  `json:"-"`                         // of a step: all micro-batches and the update
}

// Once is the operations of a micro-batch of which none is counted twice, for a model whose layers are alike.
func (m *Memory) Once(layers int) int64 {
	return m.FLOPs.Total() - m.Forward.Total()*int64(m.Recompute)/int64(max(1, layers))
}

// Needed is the most that is taken of the device at any time.
func (m *Memory) Needed() int64 { return m.Peak + m.Own }

// Step is a training step to be run on a Device for its memory.
type Step struct {
	Weights   func() error                           // declares the model and what the method adds
	Optimizer func() error                           // makes the optimizer
	Forward   func(tape *tensor.Tape)                // runs the model without a loss
	Loss      func(tape *tensor.Tape) *tensor.Tensor // the loss of a micro-batch
	Micros    int                                    // micro-batches of an update
	Update    func() error
	Tape      func() *tensor.Tape // that of the step, once the weights are there
}

// Measure runs the step on d.
func Measure(d *Device, s Step) (m Memory, err error) {
	failed := tensor.Try(func() { m, err = measure(d, s) })
	if err == nil {
		err = failed
	}
	if err != nil {
		return Memory{}, fmt.Errorf("plan the memory: %w", err)
	}
	return m, nil
}

// measure makes the parts of a step one after the other and takes the differences of what is in use.
func measure(d *Device, s Step) (m Memory, err error) {
	before := d.inUse
	if err := s.Weights(); err != nil {
		return m, err
	}
	m.Weights = d.inUse - before
	if err := s.Optimizer(); err != nil {
		return m, err
	}
	base := d.inUse
	m.Optimizer, m.Paged = base-before-m.Weights, d.paged
	tape := s.Tape()
	// A forward pass alone tells the parts of the memory: what is in use after it is what the backward pass needs. It does not count for the peak.
	tape.Train(0, 0, 0)
	d.work = Work{}
	s.Forward(tape)
	forward := d.work.FLOPs()
	m.Activations = d.inUse - base
	tape.Reset()
	d.ResetPeak()                     // loading a model holds nothing that a step does not
	for i := range min(s.Micros, 2) { // the third adds to the gradients as the second does
		tape.Train(0, 0, i)
		d.work = Work{} // only the last micro-batch is counted; all do the same work
		tape.Backward(s.Loss(tape))
		tape.Reset()
	}
	m.FLOPs, m.Forward = d.work.FLOPs(), forward
	m.Work.Add(d.work, int64(s.Micros))
	d.work = Work{}
	m.Gradients, m.Logits, m.Offloaded = d.inUse-base, d.logits, d.most
	if err := s.Update(); err != nil {
		return m, err
	}
	m.Work.Add(d.work, 1)
	m.Peak, m.Own = d.peak, d.Own()
	return m, nil
}

// Print writes the plan as a table.
func (m *Memory) Print(out io.Writer) {
	row := func(name string, bytes int64, note string) {
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("%-16s  %10s  %s", name, Bytes(bytes), note), " "))
	}
	row("weights", m.Weights, "")
	row("gradients", m.Gradients, "freed one by one in the update")
	row("optimizer", m.Optimizer, "")
	if m.Paged > 0 {
		row("optimizer, paged", m.Paged, "in files, or beside a card in the host's memory; not in the peak")
	}
	if m.Offloaded > 0 {
		row("offloaded", m.Offloaded, "activations on the host, not in the peak")
	}
	note := ""
	if m.Recompute > 0 {
		note = fmt.Sprintf("%d layers are run again", m.Recompute)
	}
	row("activations", m.Activations, note)
	row("logits", m.Logits, "held a piece at a time")
	row("peak", m.Peak, "the parts are not all held at the same time")
	if m.Own > 0 {
		row("card's own", m.Own, "beside the peak, at most: for copies, the library of products, memory committed ahead")
	}
}

// Bytes writes a size with a unit, such as 1.25 GiB.
func Bytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}

// Span is a time in seconds, in whole ones, up to the 285 years that a duration can hold.
func Span(seconds float64) time.Duration {
	return time.Duration(min(seconds, 9e9) * float64(time.Second)).Round(time.Second)
}

// Count writes a large number, as in 1.5e12 or 300B.
func Count(n float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}} {
		if math.Abs(n) >= u.size {
			return fmt.Sprintf("%.4g%s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.4g", n)
}
