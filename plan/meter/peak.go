// Package meter measures how fast this machine is: the arithmetic peak that a run is compared with (Peak), and the rates that a plan of its time needs
// (plan.Rates), each measured only where a plan asks for it and only once for all runs of a command (Runs).
package meter

import (
	"time"

	"hone/device"
	"hone/device/cpu/peak"
	"hone/device/cuda"
	"hone/plan"
)

// peakEvery is how often a long run measures the peak again: 40 ms in half a minute.
const peakEvery = 30 * time.Second

// Peak is the arithmetic peak of the machine: the best of measurements spread over a run, since a
// neighbour that disturbs the only one would let the run look better than the machine.
type Peak struct {
	threads int
	bf16    bool // of the bf16 dot product, where the machine has one
	best    float64
	f32     float64   // of f32, whatever the dtype
	at      time.Time // of the last measurement
	beaten  bool      // by a rate that was asked for since
	fixed   bool      // best is not measured
}

// NewPeak measures the processor for the name of a dtype of activations, f32 or bf16.
func NewPeak(threads int, dtype string) *Peak {
	p := &Peak{threads: threads, bf16: dtype == device.BF16.String()}
	p.Measure()
	return p
}

// PeakOf measures the processor, of which threads are used, all for 0, and takes a GPU's peak from its data sheet, which is known of bf16 alone.
func PeakOf(dev device.Device, threads int, dtype string) *Peak {
	if _, ok := dev.(*cuda.Device); !ok {
		return NewPeak(threads, dtype)
	}
	p := &Peak{bf16: dtype == device.BF16.String(), fixed: true}
	if g, ok := plan.GPUOf(dev.Name()); ok && p.bf16 {
		p.best = 1e3 * g.TFLOPS
	}
	return p
}

// Measure measures again, in less than 100 ms; of a GPU it does nothing.
func (p *Peak) Measure() {
	if p.fixed {
		return
	}
	now := peak.Quick(p.threads)
	rate := now.F32
	if p.bf16 && now.BF16 > 0 {
		rate = now.BF16
	}
	p.best, p.f32, p.at, p.beaten = max(p.best, rate), max(p.f32, now.F32), time.Now(), false
}

// Refresh measures again where the last measurement is old, or cannot have been of a machine at rest. Call it while nothing else runs.
func (p *Peak) Refresh() {
	// A run faster than the peak says that the peak was measured beside a neighbour; it is measured again, though not in every step.
	if age := time.Since(p.at); age > peakEvery || p.beaten && age > peakEvery/30 {
		p.Measure()
	}
}

// Share is what part of the peak a rate in GFLOP/s is.
func (p *Peak) Share(gflops float64) float64 {
	if p.best == 0 {
		return 0
	}
	p.beaten = p.beaten || gflops > p.best
	return gflops / p.best
}

// dtype is that of the activations.
func (p *Peak) dtype() device.DType {
	if p.bf16 {
		return device.BF16
	}
	return device.F32
}
