package main

import (
	"time"

	"hone/device"
	"hone/device/cpu/peak"
	"hone/device/cuda"
	"hone/plan"
)

// peakEvery is how often a long run measures the peak again: 40 ms in half a minute.
const peakEvery = 30 * time.Second

// peakMeter is the arithmetic peak of the machine: the best of measurements spread over a run, since a
// neighbour that disturbs the only one would let the run look better than the machine.
type peakMeter struct {
	threads int
	bf16    bool // of the bf16 dot product, where the machine has one
	best    float64
	f32     float64   // of f32, whatever the dtype
	at      time.Time // of the last measurement
	beaten  bool      // by a rate that was asked for since
	fixed   bool      // best is not measured
}

// newPeakMeter measures for the name of a dtype of activations, f32 or bf16.
func newPeakMeter(threads int, dtype string) *peakMeter {
	p := &peakMeter{threads: threads, bf16: dtype == device.BF16.String()}
	p.measure()
	return p
}

// newDeviceMeter measures the processor, and takes a GPU's peak from its data sheet, which is known of bf16 alone.
func newDeviceMeter(dev device.Device, threads int, dtype string) *peakMeter {
	if _, ok := dev.(*cuda.Device); !ok {
		return newPeakMeter(threads, dtype)
	}
	p := &peakMeter{bf16: dtype == device.BF16.String(), fixed: true}
	if g, ok := plan.GPUOf(dev.Name()); ok && p.bf16 {
		p.best = 1e3 * g.TFLOPS
	}
	return p
}

// measure takes less than 100 ms.
func (p *peakMeter) measure() {
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

// refresh measures again where the last measurement is old, or cannot have been of a machine at rest. Call it while nothing else runs.
func (p *peakMeter) refresh() {
	// A run faster than the peak says that the peak was measured beside a neighbour; it is measured again, though not in every step.
	if age := time.Since(p.at); age > peakEvery || p.beaten && age > peakEvery/30 {
		p.measure()
	}
}

// share is what part of the peak a rate in GFLOP/s is.
func (p *peakMeter) share(gflops float64) float64 {
	if p.best == 0 {
		return 0
	}
	p.beaten = p.beaten || gflops > p.best
	return gflops / p.best
}

// dtype is that of the activations.
func (p *peakMeter) dtype() device.DType {
	if p.bf16 {
		return device.BF16
	}
	return device.F32
}
