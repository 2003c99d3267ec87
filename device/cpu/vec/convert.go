package vec

import (
	"math"
	"unsafe"

	"hone/internal/half"
)

// Widen widens bf16 x into y, which has at least its length.
func (path Path) Widen(y []float32, x []uint16) {
	y = y[:len(x)]
	if n := len(x) &^ 15; n > 0 && path.doorWiden(&y[0], &x[0], n) {
		y, x = y[n:], x[n:]
	}
	half.BWiden(y, x)
}

// Round rounds x to bf16 into y, which has at least its length, to nearest even.
func (path Path) Round(y []uint16, x []float32) {
	y = y[:len(x)]
	if n := len(x) &^ 15; n > 0 && path.doorRound(&y[0], &x[0], n) {
		y, x = y[n:], x[n:]
	}
	half.BRound(y, x)
}

// Narrow is Round where y and x may be the same memory, where the path has a kernel for it, and says whether it had. Subnormal numbers may become 0.
func (path Path) Narrow(y []uint16, x []float32) bool {
	n := len(x)
	return n == 0 || path.doorNarrow(&y[:n][0], &x[0], n)
}

// Halves are F32 values as device.Device's Split stores them. As integers, a value is its high half shifted up plus its rest
// as a signed number: rounding to nearest adds half of what is cut off, and what a sum carries over the rest takes back.
type Halves struct{ High, Rest []uint16 }

// Join sets x to the values of h from lo on.
func (path Path) Join(x []float32, h Halves, lo int) {
	high, rest := h.High[lo:lo+len(x)], h.Rest[lo:lo+len(x)]
	if n := len(x) &^ 15; n > 0 && path.doorJoin(&halvesArgs{unsafe.Pointer(&x[0]), unsafe.Pointer(&high[0]), unsafe.Pointer(&rest[0]), n}) {
		x, high, rest = x[n:], high[n:], rest[n:]
	}
	for i := range x {
		x[i] = math.Float32frombits(uint32(high[i])<<16 + uint32(int32(int16(rest[i]))))
	}
}

// Split stores x in h from lo on.
func (path Path) Split(h Halves, lo int, x []float32) {
	high, rest := h.High[lo:lo+len(x)], h.Rest[lo:lo+len(x)]
	if n := len(x) &^ 15; n > 0 && path.doorSplit(&halvesArgs{unsafe.Pointer(&x[0]), unsafe.Pointer(&high[0]), unsafe.Pointer(&rest[0]), n}) {
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
