package cuda

import (
	"fmt"

	"hone/device"
)

var kernelSample = kernel{"sample", "sample"} // kernels/sample.cu

type sampleArgs struct {
	logits, random, ids pointer
	topP                uint64
	v, k                int32
	inverse, minP       float32
	greedy, _           int32
}

var _ device.Sampler = (*Device)(nil)

// Draws is true for all settings.
func (d *Device) Draws(device.Sample) bool { return true }

// Sample draws tokens; see device.Sample.
func (d *Device) Sample(s device.Sample) {
	n := s.IDs.Len
	if s.V <= 0 || s.Logits.Len != n*s.V || s.Random.Len != 2*n || s.TopK < 0 {
		panic(fmt.Sprintf("cuda: Sample of %d rows of %d, %d logits and %d random numbers, top-k %d", n, s.V, s.Logits.Len, s.Random.Len, s.TopK))
	}
	forget(s.IDs)
	a := sampleArgs{logits: f32sOf("Sample", s.Logits, n*s.V), random: address(need(s.Random, device.I32)), ids: address(need(s.IDs, device.I32)),
		v: int32(s.V), k: int32(min(s.TopK, s.V)), minP: float32(s.MinP), greedy: bit(s.Temperature == 0)}
	if s.TopP < 1 {
		a.topP = device.Fraction(s.TopP)
	}
	if s.Temperature != 0 {
		a.inverse = device.Inverse(s.Temperature)
	}
	run(d, kernelSample, line(n, 512), &a)
}
