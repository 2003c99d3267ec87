package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"hone/device"
)

// halves are F32 values as device.Device's Split stores them. As integers, a value is its high half shifted up plus its rest
// as a signed number: rounding to nearest adds half of what is cut off, and what a sum carries over the rest takes back.
type halves struct{ high, rest []uint16 }

func pairOfHalves(op string, high, rest device.Buffer) halves {
	n := high.Len
	if high.DType != device.BF16 || rest.Len != 2*n {
		panic(fmt.Sprintf("cpu: %s with halves of %d %s and %d bytes", op, n, high.DType, rest.Len))
	}
	return halves{bf16s(high), unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(u8s(rest)))), n)}
}

// Split stores x in two halves; see device.Device.
func (d *Device) Split(high, rest, x device.Buffer) {
	h, v := pairOfHalves("Split", high, rest), f32sOf("Split", x, high.Len)
	d.each(len(v), func(lo, hi int) { h.split(v[lo:hi], lo) })
}

// Join computes the x that was split.
func (d *Device) Join(x, high, rest device.Buffer) {
	h, v := pairOfHalves("Join", high, rest), f32sOf("Join", x, high.Len)
	d.each(len(v), func(lo, hi int) { h.join(v[lo:hi], lo) })
}

// join sets x to the values from lo on.
func (h halves) join(x []float32, lo int) {
	high, rest := h.high[lo:lo+len(x)], h.rest[lo:lo+len(x)]
	if n := len(x) &^ 15; n > 0 && joinDoor(&halvesArgs{unsafe.Pointer(&x[0]), unsafe.Pointer(&high[0]), unsafe.Pointer(&rest[0]), n}) {
		x, high, rest = x[n:], high[n:], rest[n:]
	}
	for i := range x {
		x[i] = math.Float32frombits(uint32(high[i])<<16 + uint32(int32(int16(rest[i]))))
	}
}

// split stores x from lo on.
func (h halves) split(x []float32, lo int) {
	high, rest := h.high[lo:lo+len(x)], h.rest[lo:lo+len(x)]
	if n := len(x) &^ 15; n > 0 && splitDoor(&halvesArgs{unsafe.Pointer(&x[0]), unsafe.Pointer(&high[0]), unsafe.Pointer(&rest[0]), n}) {
		x, high, rest = x[n:], high[n:], rest[n:]
	}
	for i, v := range x {
		b := math.Float32bits(v)
		if v != v { // rounded, it might become a number
			b = b&^0xffff | 1<<22
		}
		high[i], rest[i] = uint16((b+1<<15)>>16), uint16(b)
	}
}

// halvesArgs are the arguments of the assembly: N is a multiple of 16. The fields are 8 bytes each: the assembly counts on it.
type halvesArgs struct {
	X, High, Rest unsafe.Pointer
	N             int
}
