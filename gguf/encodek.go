package gguf

import "math"

// The k-quants search for the scale and the offset of each group that lose least, by a weighted square error.

// search is the settings of the search for a scale and an offset.
type search struct {
	top   int     // the largest number
	first float32 // the scales tried are (first + 0.1·i + top)/range for i = 0 to steps
	steps int
}

// group is the fit of a group of 32: x ≈ scale·q - low, q from 0 to top.
func (s search) group(x []float32, q []byte) (scale, low float32) {
	var weights [32]float32
	sum := float32(0)
	for _, v := range x {
		sum += float32(v * v)
	}
	mean := float32(math.Sqrt(float64(sum / 32)))
	for i, v := range x {
		weights[i] = mean + abs(v)
	}
	return s.fit(x, weights[:], q)
}

// fit keeps the best numbers in best. An offset that is found is where the next scales are tried from, as in the reference.
func (s search) fit(x, weights []float32, best []byte) (scale, low float32) {
	low, high := x[0], x[0]
	sumW, sumX := weights[0], float32(weights[0]*x[0])
	for i := 1; i < len(x); i++ {
		low, high = min(low, x[i]), max(high, x[i])
		sumW += weights[i]
		sumX += float32(weights[i] * x[i])
	}
	low = min(low, 0)
	if high == low {
		clear(best)
		return 0, -low
	}
	keep := func(q *[32]float32) {
		for i := range best {
			best[i] = byte(q[i])
		}
	}
	var q [32]float32
	inv := float32(s.top) / (high - low)
	scale = 1 / inv
	s.round(&q, x, inv, low)
	keep(&q)
	least := loss(x, weights, &q, scale, low)
	// Round at scales near the obvious one, and for the numbers that come out solve for scale and offset by least squares.
	for step := range s.steps + 1 {
		inv := (s.first + float32(0.1*float32(step)) + float32(s.top)) / (high - low)
		s.round(&q, x, inv, low)
		a, b, ok := regress(x, weights, &q, sumW, sumX)
		if !ok {
			continue
		}
		if e := loss(x, weights, &q, a, b); e < least {
			least, scale, low = e, a, b
			keep(&q)
		}
	}
	return scale, -low
}

// round gives the numbers for a scale 1/inv and the offset low.
func (s search) round(q *[32]float32, x []float32, inv, low float32) {
	for i, v := range x {
		q[i] = float32(max(0, min(nearest(inv*(v-low)), s.top)))
	}
}

// regress is the scale and the offset, which is not positive, of least weighted square error for given numbers.
func regress(x, weights []float32, q *[32]float32, sumW, sumX float32) (scale, low float32, ok bool) {
	var sumQ, sumQ2, sumXQ float32
	for i, v := range x {
		wq := float32(weights[i] * q[i])
		sumQ += wq
		sumQ2 += float32(wq * q[i])
		sumXQ += float32(wq * v)
	}
	det := float32(sumW*sumQ2) - float32(sumQ*sumQ)
	if !(det > 0) {
		return 0, 0, false
	}
	scale = (float32(sumW*sumXQ) - float32(sumX*sumQ)) / det
	low = (float32(sumQ2*sumX) - float32(sumQ*sumXQ)) / det
	if low > 0 {
		low, scale = 0, sumXQ/sumQ2
	}
	return scale, low, true
}

func loss(x, weights []float32, q *[32]float32, scale, low float32) float32 {
	sum := float32(0)
	for i, v := range x {
		diff := float32(scale*q[i]) + low - v
		sum += float32(weights[i] * float32(diff*diff))
	}
	return sum
}

// superblock fits eight groups of 32, writes d, dmin and the packed scales to dst[:16], and gives the numbers for what was written.
func (s search) superblock(dst []byte, x []float32, q *[256]byte) {
	var scales, lows [8]float32
	var topScale, topLow float32
	for g := range 8 {
		scales[g], lows[g] = s.group(x[32*g:32*g+32], q[32*g:32*g+32])
		topScale, topLow = max(topScale, scales[g]), max(topLow, lows[g])
	}
	invScale, invLow := float32(0), float32(0)
	if topScale > 0 {
		invScale = 63 / topScale
	}
	if topLow > 0 {
		invLow = 63 / topLow
	}
	putScale(dst, topScale/63)
	putScale(dst[2:], topLow/63)
	packed := dst[4:16]
	clear(packed)
	for g := range 8 {
		a, b := byte(min(63, uint8(nearest(invScale*scales[g])))), byte(min(63, uint8(nearest(invLow*lows[g]))))
		if g < 4 {
			packed[g], packed[g+4] = a, b
			continue
		}
		packed[g+4] = a&15 | b<<4
		packed[g-4] |= a >> 4 << 6
		packed[g] |= b >> 4 << 6
	}
	d, dmin := scale(dst), scale(dst[2:])
	for g := range 8 {
		sc, m := scaleAndMin(packed, g)
		dl, ml := float32(d*float32(sc)), float32(dmin*float32(m))
		if dl == 0 { // any numbers will do
			continue
		}
		for i, v := range x[32*g : 32*g+32] {
			q[32*g+i] = byte(max(0, min(nearest((v+ml)/dl), s.top)))
		}
	}
}

func encodeQ4_K(dst []byte, src []float32) {
	s, q := search{top: 15, first: -1, steps: 20}, new([256]byte)
	for ; len(src) >= 256; dst, src = dst[144:], src[256:] {
		s.superblock(dst, src[:256], q)
		for g := range 4 {
			for i := range 32 {
				dst[16+32*g+i] = q[64*g+i] | q[64*g+32+i]<<4
			}
		}
	}
}

func encodeQ5_K(dst []byte, src []float32) {
	s, q := search{top: 31, first: -0.5, steps: 15}, new([256]byte)
	for ; len(src) >= 256; dst, src = dst[176:], src[256:] {
		s.superblock(dst, src[:256], q)
		high := dst[16:48]
		clear(high)
		for g := range 4 {
			for i := range 32 {
				a, b := q[64*g+i], q[64*g+32+i]
				dst[48+32*g+i] = a&15 | b<<4
				high[i] |= a>>4<<(2*g) | b>>4<<(2*g+1)
			}
		}
	}
}

// tiny is the magnitude below which a group counts as all zeros.
const tiny = 1e-15

// symmetric is the fit of a group of 16, x ≈ scale·(q-32), q from 0 to 63, by the squares of x as weights.
func symmetric(x []float32, q []byte) (scale float32) {
	clear(q)
	far, magnitude := farthest(x)
	if magnitude < tiny {
		return 0
	}
	try := func(inv float32) (sumXQ, sumQ2 float32) {
		for _, v := range x {
			l := float32(max(-32, min(nearest(inv*v), 31)))
			w := float32(v * v)
			sumXQ += float32(float32(w*v) * l)
			sumQ2 += float32(float32(w*l) * l)
		}
		return sumXQ, sumQ2
	}
	keep := func(inv float32) {
		for i, v := range x {
			q[i] = byte(32 + max(-32, min(nearest(inv*v), 31)))
		}
	}
	keep(-32 / far)
	sumXQ, sumQ2 := try(-32 / far)
	if sumQ2 != 0 {
		scale = sumXQ / sumQ2
	}
	best := scale * sumXQ
	for step := -9; step <= 9; step++ {
		if step == 0 {
			continue
		}
		inv := -(32 + float32(0.1*float32(step))) / far
		sumXQ, sumQ2 := try(inv)
		if sumQ2 > 0 && float32(sumXQ*sumXQ) > float32(best*sumQ2) {
			keep(inv)
			scale = sumXQ / sumQ2
			best = scale * sumXQ
		}
	}
	return scale
}

func encodeQ6_K(dst []byte, src []float32) {
	q := new([256]byte)
	for ; len(src) >= 256; dst, src = dst[210:], src[256:] {
		clear(dst[:210])
		if !fitQ6(dst[192:210], src[:256], q) {
			continue // all zeros
		}
		for half := range 2 {
			l, low, high := q[128*half:], dst[64*half:], dst[128+32*half:]
			for i := range 32 {
				a, b, c, d := l[i], l[i+32], l[i+64], l[i+96]
				low[i], low[i+32] = a&15|c<<4, b&15|d<<4
				high[i] = a>>4 | b>>4<<2 | c>>4<<4 | d>>4<<6
			}
		}
	}
}

// fitQ6 writes the scales of sixteen groups and d, and gives the numbers, from 0 to 63. It reports false for a block of zeros.
func fitQ6(dst []byte, x []float32, q *[256]byte) bool {
	var scales [16]float32
	for g := range 16 {
		scales[g] = symmetric(x[16*g:16*g+16], q[16*g:16*g+16])
	}
	far, magnitude := farthest(scales[:])
	if magnitude < tiny {
		return false
	}
	inv := -128 / far
	putScale(dst[16:], 1/inv)
	d := scale(dst[16:])
	for g := range 16 {
		dst[g] = byte(int8(min(127, nearest(inv*scales[g]))))
		dl := d * float32(int8(dst[g]))
		if dl == 0 {
			continue
		}
		for i, v := range x[16*g : 16*g+16] {
			q[16*g+i] = byte(32 + max(-32, min(nearest(v/dl), 31)))
		}
	}
	return true
}
