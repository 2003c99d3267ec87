package devicetest

import (
	"fmt"
	"math"

	"hone/device"
)

// Pack quantises as the formulas are written, in f32: what is stored is bytes, which must not depend on the precision.
func (r *Reference) Pack(p device.Packed, x device.Buffer) {
	same("Pack", p.Rows*p.Cols, x.Len)
	v := make([]float32, x.Len)
	for i, f := range floats(x) {
		v[i] = float32(f)
	}
	switch p.Packing {
	case device.NF4:
		packNF4(p, v)
	case device.Int8:
		packInt8(p, v)
	default:
		panic(fmt.Sprintf("reference: no packing %d", p.Packing))
	}
}

func packNF4(p device.Packed, x []float32) {
	codes, scales, nested := bytes(p.Codes), bytes(p.Scales), floats(p.Nested)
	fill(codes, 0)
	var largest []float32
	mean := 0.0
	if len(x)%2 == 1 {
		codes[len(codes)-1] = nearest(device.NF4Codes[:], 0)
	}
	for lo := 0; lo < len(x); lo += device.NF4Block {
		block := x[lo:min(lo+device.NF4Block, len(x))]
		m := magnitude(block)
		largest, mean = append(largest, m), mean+float64(m)
		for i, v := range block {
			code := nearest(device.NF4Codes[:], v*(1/max(m, 1e-38)))
			codes[(lo+i)/2] |= code << (4 * (1 - (lo+i)%2))
		}
	}
	offset := float32(mean / float64(len(largest)))
	floats(p.Offset)[0] = float64(offset)
	dynamic := device.DynamicMap(true)
	for b := range largest {
		largest[b] -= offset
	}
	for g := range nested {
		group := largest[g*device.NF4Nesting : min((g+1)*device.NF4Nesting, len(largest))]
		m := magnitude(group)
		nested[g] = float64(m)
		for i, v := range group {
			scales[g*device.NF4Nesting+i] = nearest(dynamic[:], v/m)
		}
	}
}

// nearest is the number of the code that is next to v, the lower one of two as near; 0/0 counts as 0.
func nearest(codes []float32, v float32) uint8 {
	if v != v {
		v = 0
	}
	best := 0
	for i := range codes {
		if i > 0 && v > (codes[i-1]+codes[i])/2 {
			best = i
		}
	}
	return uint8(best)
}

func magnitude(x []float32) float32 {
	m := float32(0)
	for _, v := range x {
		m = max(m, float32(math.Abs(float64(v))))
	}
	return m
}

func packInt8(p device.Packed, x []float32) {
	codes, nested := bytes(p.Codes), floats(p.Nested)
	for r := range p.Rows {
		row := x[r*p.Cols : (r+1)*p.Cols]
		m := magnitude(row)
		nested[r] = float64(m)
		for c, v := range row {
			q := 0.0
			if m > 0 {
				q = math.RoundToEven(float64(v * (127 / m)))
			}
			codes[r*p.Cols+c] = uint8(int8(q))
		}
	}
}

// Unpack looks the codes up, in f32.
func (r *Reference) Unpack(y device.Buffer, p device.Packed) {
	same("Unpack", p.Rows*p.Cols, y.Len)
	out, codes, nested := floats(y), bytes(p.Codes), floats(p.Nested)
	if p.Packing == device.Int8 {
		for i := range out {
			out[i] = float64(float32(nested[i/p.Cols]) * float32(1.0/127) * float32(int8(codes[i])))
		}
		return
	}
	dynamic, scales, offset := device.DynamicMap(true), bytes(p.Scales), float32(floats(p.Offset)[0])
	for i := range out {
		b := i / device.NF4Block
		scaled := float32(dynamic[scales[b]] * float32(nested[b/device.NF4Nesting])) // rounded: no fused multiplication and addition
		out[i] = float64(device.NF4Codes[codes[i/2]>>(4*(1-i%2))&15] * (scaled + offset))
	}
}
