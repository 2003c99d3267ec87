package cpu

import (
	"fmt"
	"math"

	"hone/device"
	"hone/device/cpu/vec"
	"hone/internal/half"
)

// nf4Middle is the middle between codes i and i+1: a number belongs to the upper one when it lies above.
func nf4Middle(i int) float32 { return (device.NF4Codes[i] + device.NF4Codes[i+1]) / 2 }

// nf4Part tells the codes of the numbers in one of 128 equal parts of [-1, 1], which are narrow enough to hold one middle at most.
type nf4Part struct {
	lower  uint32  // the code up to the middle
	middle float32 // above which it is one more; infinite in a part without
}

// nf4Parts are by nf4PartOf, whose every result has one.
var nf4Parts = func() (parts [256]nf4Part) {
	for i := range parts {
		parts[i].middle = float32(math.Inf(1))
	}
	for c := range 15 {
		at := nf4PartOf(nf4Middle(c))
		parts[at].middle = nf4Middle(c)
		for i := int(at) + 1; i < len(parts); i++ {
			parts[i].lower++
		}
	}
	return parts
}()

// nf4PartOf never falls as v grows. It is 128 at v = 1, and some part of NaN, whose block is NaN by its scale whatever the code.
func nf4PartOf(v float32) uint8 { return uint8(int32((v + 1) * 64)) }

// dynamicCodes are those of NF4's scales.
var dynamicCodes = device.DynamicMap(true)

// Pack stores x in few bits.
func (d *Device) Pack(p device.Packed, x device.Buffer) {
	v := d.floats("Pack", x, checkPacked("Pack", p))
	switch p.Packing {
	case device.NF4:
		d.packNF4(p, v)
	case device.Int8:
		d.packInt8(p, v)
	}
}

// checkPacked is the number of packed numbers; it panics when the buffers do not fit.
func checkPacked(op string, p device.Packed) int {
	codes, scales, nested, offset := p.Sizes()
	if p.Packing != device.NF4 && p.Packing != device.Int8 || p.Codes.Len != codes || p.Scales.Len != scales || p.Nested.Len != nested || p.Offset.Len != offset {
		panic(fmt.Sprintf("cpu: %s of %d×%d in packing %d with buffers of %d, %d, %d and %d elements", op, p.Rows, p.Cols, p.Packing,
			p.Codes.Len, p.Scales.Len, p.Nested.Len, p.Offset.Len))
	}
	return p.Rows * p.Cols
}

func (d *Device) packNF4(p device.Packed, x vec.Floats) {
	n := p.Rows * p.Cols
	codes, scales, nested := u8s(p.Codes), u8s(p.Scales), f32s(p.Nested)
	s := d.scratch.get(len(scales))
	defer d.scratch.put(s)
	largest := s.f[:len(scales)]
	d.each(n, func(lo, hi int) {
		var buf chunk
		for ; lo < hi; lo += vec.Chunk {
			end := min(lo+vec.Chunk, hi)
			v := x.Load(lo, end, buf[:])
			for i := 0; i < len(v); i += device.NF4Block {
				at := lo + i
				largest[at/device.NF4Block] = nf4Block(codes[at/2:], v[i:min(i+device.NF4Block, len(v))])
			}
		}
	})
	sum := 0.0
	for _, m := range largest {
		sum += float64(m)
	}
	offset := float32(sum / float64(max(len(largest), 1)))
	f32s(p.Offset)[0] = offset
	for b := range largest { // magnitudes are all positive: less their mean they use the signed code's other half too
		largest[b] -= offset
	}
	d.eachRows(len(nested), device.NF4Nesting, func(_, first, last int) {
		for g := first; g < last; g++ {
			lo, hi := g*device.NF4Nesting, min((g+1)*device.NF4Nesting, len(largest))
			nested[g] = dynamicBlock(scales[lo:hi], largest[lo:hi])
		}
	})
}

// nf4Block writes the codes of a block and returns its largest magnitude.
func nf4Block(codes []uint8, x []float32) float32 {
	m := largestOf(x)
	scale := 1 / max(m, 1e-38) // a block of zeros, or of nothing but numbers near them, must not be divided by 0
	n := len(x) / 2
	codes = codes[:(len(x)+1)/2]
	for i := range n {
		pair := x[2*i : 2*i+2 : 2*i+2]
		codes[i] = uint8(nf4Code(pair[0]*scale)<<4 | nf4Code(pair[1]*scale))
	}
	if len(x)%2 == 1 {
		codes[n] = uint8(nf4Code(x[2*n]*scale)<<4 | nf4Code(0))
	}
	return m
}

// nf4Code is the nearest code to v of [-1, 1], and 0 for NaN. A search would guess wrong at every other comparison.
func nf4Code(v float32) uint32 {
	part := &nf4Parts[nf4PartOf(v)]
	c := part.lower
	if v > part.middle {
		c++
	}
	return c
}

// dynamicBlock writes the nearest code of each of x over its largest magnitude, which it returns.
func dynamicBlock(codes []uint8, x []float32) float32 {
	m := largestOf(x)
	for i, v := range x {
		v /= m
		c := 0
		if v != v { // 0/0
			v = 0
		}
		for step := 128; step > 0; step /= 2 {
			if v > (dynamicCodes[c+step-1]+dynamicCodes[c+step])/2 {
				c += step
			}
		}
		codes[i] = uint8(c)
	}
	return m
}

// largestOf is the largest magnitude, NaN where there is one: without their signs, floats are ordered as their bits.
func largestOf(x []float32) float32 {
	m := uint32(0)
	for _, v := range x {
		m = max(m, math.Float32bits(v)&^(1<<31))
	}
	return math.Float32frombits(m)
}

func (d *Device) packInt8(p device.Packed, x vec.Floats) {
	codes, nested := u8s(p.Codes), f32s(p.Nested)
	d.eachRows(p.Rows, p.Cols, func(_, lo, hi int) {
		row := make([]float32, p.Cols)
		for r := lo; r < hi; r++ {
			v := x.Load(r*p.Cols, (r+1)*p.Cols, row)
			m := largestOf(v)
			nested[r] = m
			scale := float32(0)
			if m > 0 {
				scale = 127 / m
			}
			for c, f := range v {
				codes[r*p.Cols+c] = uint8(int8(math.RoundToEven(float64(f * scale))))
			}
		}
	})
}

// Unpack computes the numbers that p stands for.
func (d *Device) Unpack(y device.Buffer, p device.Packed) {
	out := d.floats("Unpack", y, checkPacked("Unpack", p))
	if p.Packing == device.Int8 {
		d.unpackInt8(out, p)
		return
	}
	codes, scales, nested, offset := u8s(p.Codes), u8s(p.Scales), f32s(p.Nested), f32s(p.Offset)[0]
	d.each(p.Rows*p.Cols, func(lo, hi int) {
		for ; lo < hi; lo += device.NF4Block {
			b, end := lo/device.NF4Block, min(lo+device.NF4Block, hi)
			scaled := float32(dynamicCodes[scales[b]] * nested[b/device.NF4Nesting]) // rounded: no fused multiplication and addition
			scale := scaled + offset
			if out.H != nil {
				var table [16]uint16
				for i, c := range device.NF4Codes {
					table[i] = half.BFromFloat32(c * scale)
				}
				lookUp(out.H[lo:end], codes[lo/2:], &table)
				continue
			}
			var table [16]float32
			for i, c := range device.NF4Codes {
				table[i] = c * scale
			}
			lookUp(out.F[lo:end], codes[lo/2:], &table)
		}
	})
}

// lookUp writes the numbers of the codes, two in a byte, the upper half first.
func lookUp[T any](y []T, codes []uint8, table *[16]T) {
	n := len(y) / 2
	codes = codes[:(len(y)+1)/2]
	for i := range n {
		c := codes[i]
		pair := y[2*i : 2*i+2 : 2*i+2]
		pair[0], pair[1] = table[c>>4], table[c&15]
	}
	if len(y)%2 == 1 {
		y[2*n] = table[codes[n]>>4]
	}
}

func (d *Device) unpackInt8(y vec.Floats, p device.Packed) {
	codes, nested := u8s(p.Codes), f32s(p.Nested)
	d.eachRows(p.Rows, p.Cols, func(_, lo, hi int) {
		var buf chunk
		for r := lo; r < hi; r++ {
			scale := nested[r] * float32(1.0/127)
			for j := r * p.Cols; j < (r+1)*p.Cols; j += vec.Chunk {
				end := min(j+vec.Chunk, (r+1)*p.Cols)
				v := y.Out(j, end, buf[:])
				for i, c := range codes[j:end] {
					v[i] = scale * float32(int8(c))
				}
				y.Store(j, v)
			}
		}
	})
}
