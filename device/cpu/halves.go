package cpu

import (
	"fmt"
	"unsafe"

	"hone/device"
	"hone/device/cpu/vec"
)

// pairOfHalves views what Split stores.
func pairOfHalves(op string, high, rest device.Buffer) vec.Halves {
	n := high.Len
	if high.DType != device.BF16 || rest.Len != 2*n {
		panic(fmt.Sprintf("cpu: %s with halves of %d %s and %d bytes", op, n, high.DType, rest.Len))
	}
	return vec.Halves{High: bf16s(high), Rest: unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(u8s(rest)))), n)}
}

// Split stores x in two halves; see device.Device.
func (d *Device) Split(high, rest, x device.Buffer) {
	h, v := pairOfHalves("Split", high, rest), f32sOf("Split", x, high.Len)
	d.each(len(v), func(lo, hi int) { d.path.Split(h, lo, v[lo:hi]) })
}

// Join computes the x that was split.
func (d *Device) Join(x, high, rest device.Buffer) {
	h, v := pairOfHalves("Join", high, rest), f32sOf("Join", x, high.Len)
	d.each(len(v), func(lo, hi int) { d.path.Join(v[lo:hi], h, lo) })
}
