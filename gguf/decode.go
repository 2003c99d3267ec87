package gguf

import (
	"encoding/binary"
	"math"

	"hone/internal/half"
)

// The products below are rounded before they are added to, by a conversion that keeps the compiler from fusing the two: results are the
// reference's (gguf-py's quants.py) to the last bit on every processor.

var le = binary.LittleEndian

// scale reads a float16.
func scale(src []byte) float32 { return half.ToFloat32(le.Uint16(src)) }

func decodeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
	}
}

func decodeF64(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
	}
}

func decodeF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = scale(src[2*i:])
	}
}

func decodeBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(le.Uint16(src[2*i:])) << 16)
	}
}

// decodeQ4_0: a scale d and 32 numbers q of 4 bits, d·(q-8). Low halves of the bytes come first.
func decodeQ4_0(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[18:] {
		d, qs, y := scale(src), src[2:18], dst[:32]
		for i, q := range qs {
			y[i] = d * float32(int(q&15)-8)
			y[i+16] = d * float32(int(q>>4)-8)
		}
	}
}

// decodeQ4_1: a scale d, an offset m and 32 numbers q of 4 bits, d·q + m.
func decodeQ4_1(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[20:] {
		d, m, qs, y := scale(src), scale(src[2:]), src[4:20], dst[:32]
		for i, q := range qs {
			y[i] = float32(d*float32(q&15)) + m
			y[i+16] = float32(d*float32(q>>4)) + m
		}
	}
}

// decodeQ5_0: as Q4_0 with a fifth bit of each number in a word of its own, d·(q-16).
func decodeQ5_0(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[22:] {
		d, high, qs, y := scale(src), le.Uint32(src[2:]), src[6:22], dst[:32]
		for i, q := range qs {
			y[i] = d * float32(int(q&15|byte(high>>i&1)<<4)-16)
			y[i+16] = d * float32(int(q>>4|byte(high>>(i+16)&1)<<4)-16)
		}
	}
}

// decodeQ5_1: as Q4_1 with the fifth bit of Q5_0, d·q + m.
func decodeQ5_1(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[24:] {
		d, m, high, qs, y := scale(src), scale(src[2:]), le.Uint32(src[4:]), src[8:24], dst[:32]
		for i, q := range qs {
			y[i] = float32(d*float32(q&15|byte(high>>i&1)<<4)) + m
			y[i+16] = float32(d*float32(q>>4|byte(high>>(i+16)&1)<<4)) + m
		}
	}
}

// decodeQ8_0: a scale d and 32 signed bytes q, d·q.
func decodeQ8_0(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[34:] {
		d, qs, y := scale(src), src[2:34], dst[:32]
		for i, q := range qs {
			y[i] = float32(int8(q)) * d
		}
	}
}

// decodeQ2_K: sixteen groups of 16 numbers of 2 bits; each group has 4 bits of scale and 4 of offset, in units of d and dmin.
func decodeQ2_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[84:] {
		scales, qs, d, dmin := src[:16], src[16:80], scale(src[80:]), scale(src[82:])
		for g := range 16 {
			dl, ml := float32(d*float32(scales[g]&15)), float32(dmin*float32(scales[g]>>4))
			q, shift := qs[g/8*32+g%2*16:], g/2%4*2
			for i := range 16 {
				dst[16*g+i] = float32(dl*float32(q[i]>>shift&3)) - ml
			}
		}
	}
}

// decodeQ3_K: sixteen groups of 16 numbers of 3 bits, of which the third is in a mask where 1 stands for 0 and 0 for -4; each group has a
// signed scale of 6 bits in units of d.
func decodeQ3_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[110:] {
		mask, qs, packed, d := src[:32], src[32:96], src[96:108], scale(src[108:])
		for g := range 16 {
			low, high := packed[g%8]>>(g/8*4)&15, packed[8+g%4]>>(g/4*2)&3
			dl := d * float32(int(low|high<<4)-32)
			q, m, shift := qs[g/8*32+g%2*16:], mask[g%2*16:], g/2%4*2
			for i := range 16 {
				v := int(q[i] >> shift & 3)
				if m[i]>>(g/2)&1 == 0 {
					v -= 4
				}
				dst[16*g+i] = dl * float32(v)
			}
		}
	}
}

// scaleAndMin reads the 6 bits of scale and the 6 of offset of group g of 8, packed in 12 bytes: the first four of each whole, the last
// four split between low halves at the end and the tops of the first.
func scaleAndMin(packed []byte, g int) (scale, low byte) {
	if g < 4 {
		return packed[g] & 63, packed[g+4] & 63
	}
	return packed[g+4]&15 | packed[g-4]>>6<<4, packed[g+4]>>4 | packed[g]>>6<<4
}

// decodeQ4_K: eight groups of 32 numbers of 4 bits; each has a scale and an offset of 6 bits in units of d and dmin.
func decodeQ4_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[144:] {
		d, dmin, packed, qs := scale(src), scale(src[2:]), src[4:16], src[16:144]
		for g := range 8 {
			sc, m := scaleAndMin(packed, g)
			dl, ml := float32(d*float32(sc)), float32(dmin*float32(m))
			q, y, shift := qs[g/2*32:][:32], dst[32*g:][:32], g%2*4
			for i := range y {
				y[i] = float32(dl*float32(q[i]>>shift&15)) - ml
			}
		}
	}
}

// decodeQ5_K: as Q4_K with a fifth bit of group g in bit g of 32 bytes.
func decodeQ5_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[176:] {
		d, dmin, packed, high, qs := scale(src), scale(src[2:]), src[4:16], src[16:48], src[48:176]
		for g := range 8 {
			sc, m := scaleAndMin(packed, g)
			dl, ml := float32(d*float32(sc)), float32(dmin*float32(m))
			q, y, shift := qs[g/2*32:][:32], dst[32*g:][:32], g%2*4
			for i := range y {
				y[i] = float32(dl*float32(q[i]>>shift&15|high[i]>>g&1<<4)) - ml
			}
		}
	}
}

// decodeQ6_K: sixteen groups of 16 numbers of 6 bits, four of them in halves of ql and two in pairs of qh; each group has a signed byte of
// scale in units of d.
func decodeQ6_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[210:] {
		low, high, scales, d := src[:128], src[128:192], src[192:208], scale(src[208:])
		for part := range 8 { // 32 numbers, two groups
			l, h, y := low[part/4*64+part%2*32:][:32], high[part/4*32:][:32], dst[32*part:][:32]
			shift, pair := part%4/2*4, part%4*2
			a, b := d*float32(int8(scales[2*part])), d*float32(int8(scales[2*part+1]))
			for i := range 16 {
				y[i] = a * float32(int(l[i]>>shift&15|h[i]>>pair&3<<4)-32)
				y[i+16] = b * float32(int(l[i+16]>>shift&15|h[i+16]>>pair&3<<4)-32)
			}
		}
	}
}
