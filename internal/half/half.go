// Package half converts the two 16-bit floating-point types, float16 (IEEE 754 binary16) and bfloat16, given by their bits.
package half

import "math"

// BFromFloat32 rounds to nearest even; a NaN stays a (quiet) NaN.
func BFromFloat32(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// BToFloat32 widens a bfloat16, exactly.
func BToFloat32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// BRound rounds src into dst, which has at least its length, as BFromFloat32 does.
func BRound(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for i, f := range src {
		dst[i] = BFromFloat32(f)
	}
}

// BWiden widens src into dst, which has at least its length.
func BWiden(dst []float32, src []uint16) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = BToFloat32(v)
	}
}

// BFromFloat64 rounds once: the float32 between is made odd if it was inexact, so that it never looks like a tie.
func BFromFloat64(x float64) uint16 {
	f := float32(x)
	if b := math.Float32bits(f); float64(f) != x && x == x && !math.IsInf(float64(f), 0) {
		if math.Abs(float64(f)) > math.Abs(x) {
			b-- // towards zero
		}
		f = math.Float32frombits(b | 1)
	}
	return BFromFloat32(f)
}

// ToFloat32 widens a float16, exactly. It has no branch but for infinities and NaNs: a model's weights are of all sizes.
func ToFloat32(h uint16) float32 {
	b := uint32(h&0x7fff) << 13            // exponent and fraction where a float32 has them
	f := math.Float32frombits(b) * 0x1p112 // the difference of the exponents' biases; subnormals come right, too
	if b >= 0x0f800000 {
		f = math.Float32frombits(b | 0x7f800000)
	}
	return math.Float32frombits(math.Float32bits(f) | uint32(h&0x8000)<<16)
}

// FromFloat32 rounds to nearest even; what is too large becomes infinite.
func FromFloat32(f float32) uint16 {
	b := math.Float32bits(f)
	sign, b := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x477ff000: // 65520, halfway between the largest and the next
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: adding 0.5 leaves the multiple of 2^-24, rounded, in the low bits
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	return sign | uint16((b-0x38000000+0xfff+b>>13&1)>>13)
}
