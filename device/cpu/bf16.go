package cpu

import "math"

// toBF16 rounds f to the nearest bf16, ties to even; NaN stays NaN.
func toBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40 // keep it a quiet NaN whatever the low bits were
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// fromBF16 is the float32 that v stands for, exactly.
func fromBF16(v uint16) float32 { return math.Float32frombits(uint32(v) << 16) }

// roundBF16 rounds src into dst, which has at least its length.
func roundBF16(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for i, f := range src {
		dst[i] = toBF16(f)
	}
}

// widenBF16 widens src into dst, which has at least its length.
func widenBF16(dst []float32, src []uint16) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = fromBF16(v)
	}
}
