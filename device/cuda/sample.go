package cuda

import (
	"fmt"

	"hone/device"
)

// kernels/sample.cu
var (
	kernelSample        = kernel{"sample", "sample"}
	kernelSampleLargest = kernel{"sample", "sample_largest"}
	kernelSampleMass    = kernel{"sample", "sample_mass"}
)

type sampleArgs struct {
	logits, random, ids pointer
	topP                uint64
	v, k                int32
	inverse, minP       float32
	greedy              int32
	part, parts, _      int32
	found, ended        pointer
}

// Parts of rows that are drawn from: a row is cut into no more than mostParts, each of no fewer than leastPart logits.
const (
	mostParts, leastPart = 256, 1024
	partThreads          = 256
)

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
	if parts := min(2*d.card.processors/max(n, 1), over(s.V, leastPart), mostParts); parts > 1 && (a.greedy == 1 || a.topP == 0 && a.k == 0) {
		d.sampleParts(a, n, parts)
		return
	}
	run(d, kernelSample, line(n, 512), &a)
}

// sampleParts draws from n rows that are cut into about so many parts, since one block a row would leave most multiprocessors idle.
func (d *Device) sampleParts(a sampleArgs, n, parts int) {
	a.part = int32(over(over(int(a.v), parts), 4) * 4)
	a.parts = int32(over(int(a.v), int(a.part)))
	found, release := d.scratch(2 * n * int(a.parts))
	defer release()
	d.tiles.mu.Lock() // the counters are those of attention
	defer d.tiles.mu.Unlock()
	a.found, a.ended = found, d.tiles.counters(d, n)
	grid := shape{x: int(a.parts), y: n, threads: partThreads}
	run(d, kernelSampleLargest, grid, &a)
	if a.greedy == 0 {
		run(d, kernelSampleMass, grid, &a)
	}
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
