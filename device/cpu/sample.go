package cpu

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"hone/device"
	"hone/device/cpu/vec"
)

var _ device.Sampler = (*Device)(nil)

// Draws is true of greedy decoding, and where temperature is the only setting, so that every token may come. Top-k, top-p and min-p, which
// first choose some of the tokens, are left to the host.
func (d *Device) Draws(s device.Sample) bool {
	return s.Temperature == 0 || s.TopK == 0 && s.TopP >= 1 && s.MinP == 0
}

// Sample draws tokens; see device.Sample.
func (d *Device) Sample(s device.Sample) {
	n := s.IDs.Len
	logits, random, ids := f32sOf("Sample", s.Logits, n*s.V), i32s(s.Random), i32s(s.IDs)
	if len(random) != 2*n {
		panic(fmt.Sprintf("cpu: Sample of %d rows with %d halves of random numbers", n, len(random)))
	}
	inverse := device.Inverse(s.Temperature)
	d.eachRows(n, s.V, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			if s.Temperature == 0 {
				ids[r] = largest(d.path, logits[r*s.V:(r+1)*s.V])
				continue
			}
			ids[r] = drawToken(d.path, logits[r*s.V:(r+1)*s.V], inverse, uint64(uint32(random[2*r]))|uint64(uint32(random[2*r+1]))<<32)
		}
	})
}

// largest is the token with the largest logit, the first among equals; -1 where they are not finite.
func largest(path vec.Path, x []float32) int32 {
	at, top := 0, float32(math.Inf(-1))
	for lo := 0; lo < len(x); lo += vec.Chunk {
		m := path.Max(x[lo:min(lo+vec.Chunk, len(x))])
		if m != m {
			return -1
		}
		if m > top {
			at, top = lo, m
		}
	}
	if math.IsInf(float64(top), 0) {
		return -1
	}
	return int32(at + slices.Index(x[at:], top))
}

// drawToken draws from a row of logits; -1 where they are not finite. It adds up the masses piece by piece, finds the piece in which the
// sum passes the random number, and computes the weights of that piece again: a piece is scratch that stays in the first cache.
func drawToken(path vec.Path, x []float32, inverse float32, random uint64) int32 {
	top := path.Max(x)
	if math.IsNaN(float64(top)) || math.IsInf(float64(top), 0) {
		return -1
	}
	var weights chunk
	total := uint64(0)
	sums := make([]uint64, 0, 64)
	for at := 0; at < len(x); at += vec.Chunk {
		sum := uint64(0)
		for _, w := range weigh(path, &weights, x[at:], top, inverse) {
			sum += device.Mass(w)
		}
		sums, total = append(sums, sum), total+sum
	}
	left, _ := bits.Mul64(random, total)
	for i, sum := range sums {
		if left >= sum {
			left -= sum
			continue
		}
		for j, w := range weigh(path, &weights, x[i*vec.Chunk:], top, inverse) {
			if m := device.Mass(w); left >= m {
				left -= m
			} else {
				return int32(i*vec.Chunk + j)
			}
		}
	}
	panic("cpu: masses that do not add up")
}

// weigh computes the weights of x, of its first piece where it has several, in w.
func weigh(path vec.Path, w *chunk, x []float32, top, inverse float32) []float32 {
	n := min(len(x), vec.Chunk)
	path.Weigh(w[:n], x[:n], top, inverse)
	return w[:n]
}
