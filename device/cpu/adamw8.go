package cpu

import (
	"math"

	"hone/device"
	"hone/device/cpu/vec"
)

// moments8 are Adam's moments as codes of 8 bits; see device.AdamW.
type moments8 struct {
	m, v           []uint8
	mScale, vScale []float32
	codes          *[2]codebook // of M and of V
	path           vec.Path
}

func (d *Device) moments8(k device.AdamW, n int) *moments8 {
	blocks := (n + device.DynamicBlock - 1) / device.DynamicBlock
	s := &moments8{m: u8s(k.M), v: u8s(k.V), codes: d.codes(), path: d.path,
		mScale: f32sOf("AdamW", k.MScale, blocks), vScale: f32sOf("AdamW", k.VScale, blocks)}
	if len(s.m) != n || len(s.v) != n {
		panic("cpu: AdamW with moments of another size")
	}
	return s
}

// update is vec.Path.AdamW on elements lo to hi, where lo is a multiple of the block: the moments are widened into
// the first cache, a block at a time, and rounded again.
func (s *moments8) update(p, g []float32, lo, hi int, a *vec.AdamW) {
	var m, v [device.DynamicBlock]float32
	for at := lo; at < hi; at += device.DynamicBlock {
		end := min(at+device.DynamicBlock, hi)
		n, block := end-at, at/device.DynamicBlock
		s.codes[0].widen(m[:n], s.m[at:end], s.mScale[block])
		s.codes[1].widen(v[:n], s.v[at:end], s.vScale[block])
		s.path.AdamW(p[at-lo:end-lo], g[at-lo:end-lo], m[:n], v[:n], a)
		s.mScale[block] = s.codes[0].round(s.path, s.m[at:end], m[:n])
		s.vScale[block] = s.codes[1].round(s.path, s.v[at:end], v[:n])
	}
}

// codebook rounds numbers to the nearest of 256 codes.
type codebook struct {
	values [256]float32
	bounds [256]float32   // code i stands for the numbers above bounds[i-1] up to bounds[i]
	first  [1 << 15]uint8 // by the upper bits of a number: the code of the smallest that begins so
}

// cellBits are cut off a number to look up where the search for its code begins. What is left is fine enough
// that the code is at most two further on.
const cellBits = 17

func newCodebooks() *[2]codebook {
	return &[2]codebook{newCodebook(device.DynamicMap(true)), newCodebook(device.DynamicMap(false))}
}

func newCodebook(values [256]float32) codebook {
	c := codebook{values: values}
	for i := range 255 {
		c.bounds[i] = (values[i] + values[i+1]) / 2
	}
	c.bounds[255] = float32(math.Inf(1))
	for cell := range c.first {
		low := uint32(cell) << cellBits
		if low>>31 == 1 { // of negative numbers the last of a cell is the smallest
			low |= 1<<cellBits - 1
		}
		x := math.Float32frombits(low)
		for x > c.bounds[c.first[cell]] {
			c.first[cell]++
		}
	}
	return c
}

func (c *codebook) widen(x []float32, codes []uint8, scale float32) {
	x = x[:len(codes)]
	for i, k := range codes {
		x[i] = c.values[k] * scale
	}
}

// round gives each element of a block its code and returns the block's scale.
func (c *codebook) round(path vec.Path, codes []uint8, x []float32) (scale float32) {
	const tiny = 1e-38 // a block of zeros has the scale 0 and the codes of 0
	scale = path.MaxAbs(x)
	inverse := 1 / max(scale, tiny)
	codes = codes[:len(x)]
	for i, v := range x {
		v *= inverse
		k := c.first[math.Float32bits(v)>>cellBits]
		for v > c.bounds[k] {
			k++
		}
		codes[i] = k
	}
	return scale
}
