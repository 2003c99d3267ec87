package cpu

import (
	"fmt"

	"hone/device"
	"hone/device/cpu/vec"
)

// Dropout keeps and scales, or clears, each element of x by its own random number; see device.Kernels.
func (d *Device) Dropout(y, x device.Buffer, p float32, key uint64) {
	if !(p >= 0 && p < 1) {
		panic(fmt.Sprintf("cpu: Dropout with probability %g", p))
	}
	n := y.Len
	out, in := d.floats("Dropout", y, n), d.floats("Dropout", x, n)
	mask := vec.NewDropout(p, key)
	d.each(n, func(lo, hi int) {
		var a, b chunk
		for ; lo < hi; lo += vec.Chunk {
			end := min(lo+vec.Chunk, hi)
			s := out.Out(lo, end, b[:])
			d.path.Dropout(s, in.Load(lo, end, a[:]), mask, lo) // a chunk never crosses a multiple of 2³²
			out.Store(lo, s)
		}
	})
}
