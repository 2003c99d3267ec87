package cpu

import (
	"fmt"

	"hone/device"
	"hone/internal/splitmix"
)

// dropoutKey is what vecDropout needs besides the index: the halves of the
// mixed key, the scale of kept elements and the bound below which an element is dropped.
type dropoutKey struct {
	scale     float32
	lo, hi    uint32
	threshold uint32
}

// Dropout keeps and scales, or clears, each element of x by its own random number; see device.Kernels.
func (d *Device) Dropout(y, x device.Buffer, p float32, key uint64) {
	if !(p >= 0 && p < 1) {
		panic(fmt.Sprintf("cpu: Dropout with probability %g", p))
	}
	n := y.Len
	out, in := floatsOf("Dropout", y, n), floatsOf("Dropout", x, n)
	k := splitmix.At(key)
	// The sum of scale and mask is exact in float64, so every device rounds 1/(1-p) alike.
	mask := dropoutKey{
		scale: float32(1 / (1 - float64(p))), lo: uint32(k), hi: uint32(k >> 32),
		threshold: uint32(float64(p) * (1 << 32)),
	}
	d.each(n, func(lo, hi int) {
		var a, b chunk
		for ; lo < hi; lo += vecChunk {
			end := min(lo+vecChunk, hi)
			s := out.out(lo, end, b[:])
			m := mask
			m.hi ^= uint32(lo >> 32) // a chunk never crosses a multiple of 2³²
			vecDropout(s, in.load(lo, end, a[:]), m, uint32(lo))
			out.store(lo, s)
		}
	})
}
