package devicetest

import (
	"math"

	"hone/device"
)

// AdamW is one optimizer step.
func (r *Reference) AdamW(a device.AdamW) {
	p, grad := floats(a.Param), floats(a.Grad) // a Param in BF16 is not rounded here, and Rest has nothing to hold
	m, keepM := moment(a.M, a.MScale, true)
	v, keepV := moment(a.V, a.VScale, false)
	b1, b2 := float64(a.Beta1), float64(a.Beta2)
	c1 := 1 - math.Pow(b1, float64(a.Step))
	c2 := 1 - math.Pow(b2, float64(a.Step))
	for i := range p {
		g := float64(a.Scale) * grad[i]
		m[i] = b1*m[i] + (1-b1)*g
		v[i] = b2*v[i] + (1-b2)*g*g
		p[i] -= float64(a.LR) * (m[i]/c1/(math.Sqrt(v[i]/c2)+float64(a.Eps)) + float64(a.Decay)*p[i])
	}
	keepM()
	keepV()
}

// Split keeps all of x in high, since this device never rounds.
func (r *Reference) Split(high, rest, x device.Buffer) {
	same("Split", bytesOfHalves(rest), x.Len)
	copyAll("Split", high, x)
}

// Join takes all of x from high.
func (r *Reference) Join(x, high, rest device.Buffer) {
	same("Join", bytesOfHalves(rest), x.Len)
	copyAll("Join", x, high)
}

func copyAll(op string, dst, src device.Buffer) {
	same(op, dst.Len, src.Len)
	copy(floats(dst), floats(src))
}

// bytesOfHalves is the number of elements whose rest this is.
func bytesOfHalves(rest device.Buffer) int { return len(bytes(rest)) / 2 }

// moment reads a moment, of codes where there are scales, and says how to keep the new one.
func moment(b, scales device.Buffer, signed bool) (values []float64, keep func()) {
	if scales.IsZero() {
		return floats(b), func() {}
	}
	codes, s, book := bytes(b), floats(scales), device.DynamicMap(signed)
	values = make([]float64, len(codes))
	for i, code := range codes {
		values[i] = float64(book[code]) * s[i/device.DynamicBlock]
	}
	return values, func() {
		for block := range s {
			lo := block * device.DynamicBlock
			s[block] = roundBlock(codes[lo:], values[lo:min(lo+device.DynamicBlock, len(values))], book)
		}
	}
}

// roundBlock gives each value its nearest code, the lower of two as near, and returns the scale.
func roundBlock(codes []uint8, values []float64, book [256]float32) (scale float64) {
	for _, v := range values {
		scale = math.Max(scale, math.Abs(v))
	}
	const tiny = 1e-38 // zeros of a block of zeros have the code of 0
	for i, v := range values {
		nearest, least := 0, math.Inf(1)
		part := v / math.Max(scale, tiny)
		for code, c := range book {
			if d := math.Abs(part - float64(c)); d < least {
				nearest, least = code, d
			}
		}
		codes[i] = uint8(nearest)
	}
	return scale
}
