package gguf

import (
	"math"

	"hone/internal/half"
)

// Quantisation follows llama.cpp's reference (quantize_row_*_ref in ggml-quants.c) operation for operation, without fused
// multiplications, so that both write the same bytes.

func putScale(dst []byte, f float32) { le.PutUint16(dst, half.FromFloat32(f)) }

func encodeF32(dst []byte, src []float32) {
	for i, f := range src {
		le.PutUint32(dst[4*i:], math.Float32bits(f))
	}
}

func encodeF16(dst []byte, src []float32) {
	for i, f := range src {
		putScale(dst[2*i:], f)
	}
}

func encodeBF16(dst []byte, src []float32) {
	for i, f := range src {
		le.PutUint16(dst[2*i:], half.BFromFloat32(f))
	}
}

// farthest is the element of largest magnitude.
func farthest(x []float32) (value, magnitude float32) {
	for _, v := range x {
		if a := abs(v); a > magnitude {
			value, magnitude = v, a
		}
	}
	return value, magnitude
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// inverse is 1/d; 0 for 0, and where 1/d would be infinite: what is divided by so small a scale is stored as zeros, as float16 holds no such scale, and
// to make a whole number of an infinite one is left to each processor.
func inverse(d float32) float32 {
	if inv := 1 / d; inv-inv == 0 {
		return inv
	}
	return 0
}

// bits is x rounded towards zero, as a byte of at most top. NaN, which no conversion defines, is 0.
func bits(x float32, top int) byte {
	if x != x {
		return 0
	}
	return byte(max(0, min(int(x), top)))
}

// nearest rounds to the nearest integer, ties to even. NaN is 0.
func nearest(x float32) int {
	if x != x || abs(x) > 4194303 {
		return 0
	}
	v := float32(x) + 12582912 // 1.5·2²³: the sum has its last place at 1, so the addition rounds; its lower bits are the integer
	return int(math.Float32bits(v)&0x7fffff) - 0x400000
}

func encodeQ4_0(dst []byte, src []float32) {
	for ; len(src) >= 32; dst, src = dst[18:], src[32:] {
		top, _ := farthest(src[:32])
		d := top / -8 // the sign of d is such that the farthest is -8, for which there is one number more than for +7
		id := inverse(d)
		putScale(dst, d)
		for i := range 16 {
			dst[2+i] = bits(float32(src[i]*id)+8.5, 15) | bits(float32(src[i+16]*id)+8.5, 15)<<4
		}
	}
}

func encodeQ5_0(dst []byte, src []float32) {
	for ; len(src) >= 32; dst, src = dst[22:], src[32:] {
		top, _ := farthest(src[:32])
		d := top / -16
		id := inverse(d)
		putScale(dst, d)
		putFive(dst[2:22], src, func(x float32) byte { return bits(float32(x*id)+16.5, 31) })
	}
}

// putFive writes 32 numbers of 5 bits: a word of fifth bits, then the lower four.
func putFive(dst []byte, src []float32, quant func(float32) byte) {
	high := uint32(0)
	for i := range 16 {
		a, b := quant(src[i]), quant(src[i+16])
		dst[4+i] = a&15 | b<<4
		high |= uint32(a>>4)<<i | uint32(b>>4)<<(i+16)
	}
	le.PutUint32(dst, high)
}

// span is the smallest and largest element.
func span(x []float32) (low, high float32) {
	low, high = math.MaxFloat32, -math.MaxFloat32
	for _, v := range x {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	return low, high
}

func encodeQ4_1(dst []byte, src []float32) {
	for ; len(src) >= 32; dst, src = dst[20:], src[32:] {
		low, high := span(src[:32])
		d := (high - low) / 15
		id := inverse(d)
		putScale(dst, d)
		putScale(dst[2:], low)
		for i := range 16 {
			dst[4+i] = bits(float32((src[i]-low)*id)+0.5, 15) | bits(float32((src[i+16]-low)*id)+0.5, 15)<<4
		}
	}
}

func encodeQ5_1(dst []byte, src []float32) {
	for ; len(src) >= 32; dst, src = dst[24:], src[32:] {
		low, high := span(src[:32])
		d := (high - low) / 31
		id := inverse(d)
		putScale(dst, d)
		putScale(dst[2:], low)
		putFive(dst[4:24], src, func(x float32) byte { return bits(float32((x-low)*id)+0.5, 31) })
	}
}

func encodeQ8_0(dst []byte, src []float32) {
	for ; len(src) >= 32; dst, src = dst[34:], src[32:] {
		_, top := farthest(src[:32])
		d := top / 127
		id := inverse(d)
		putScale(dst, d)
		for i, x := range src[:32] {
			dst[2+i] = byte(int8(math.Round(float64(x * id)))) // halves go away from zero
		}
	}
}
