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

var _ device.Ahead = (*Device)(nil)

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

var kernelPick = kernel{"sample", "pick"} // kernels/sample.cu

type pickArgs struct {
	dst, src, at pointer
	n, m         int32
}

// Pick computes dst[n] = src[at[n]]; see device.Ahead.
func (d *Device) Pick(dst, src, index device.Buffer) {
	if dst.Len != index.Len || dst.Len == 0 {
		panic(fmt.Sprintf("cuda: Pick of %d numbers by %d indices", dst.Len, index.Len))
	}
	checkIndices("Pick", "number", known(index), src.Len)
	forget(dst)
	a := pickArgs{dst: address(need(dst, device.I32)), src: address(need(src, device.I32)), at: address(need(index, device.I32)), n: int32(dst.Len), m: int32(src.Len)}
	run(d, kernelPick, line(over(dst.Len, 256), 256), &a)
}
