package cpu

import (
	"fmt"

	"hone/device"
)

// Rope rotates pairs (i, i+Rotary/2) of each head by the angle of the row's position.
func (d *Device) Rope(a device.Rope) {
	width := a.Heads * a.D
	n := rowsOf("Rope", a.X, width)
	r := rope{Rope: a, x: floatsOf("Rope", a.X, n*width), y: floatsOf("Rope", a.Y, n*width), half: a.Rotary / 2}
	if a.Rotary < 0 || a.Rotary > a.D || a.Rotary%2 != 0 || a.Positions.Len != n || a.Cos.Len != a.Sin.Len {
		panic(fmt.Sprintf("cpu: Rope of %d channels in heads of %d, %d rows with %d positions, %d cosines and %d sines",
			a.Rotary, a.D, n, a.Positions.Len, a.Cos.Len, a.Sin.Len))
	}
	r.positions, r.cos, r.sin = i32s(a.Positions), f32s(a.Cos), f32s(a.Sin)
	for i, p := range r.positions { // all of them first: a panic in a worker could not be recovered
		if p < 0 || (int(p)+1)*r.half > a.Cos.Len {
			panic(fmt.Sprintf("cpu: Rope of row %d at position %d, the table has %d", i, p, a.Cos.Len/max(r.half, 1)))
		}
	}
	if small(n, width) {
		r.rows(0, n)
		return
	}
	shared := r
	d.eachRows(n, width, func(_, lo, hi int) { shared.rows(lo, hi) })
}

// rope is a checked call.
type rope struct {
	device.Rope
	x, y      floats
	half      int
	positions []int32
	cos, sin  []float32
}

// rows rotates rows lo to hi.
func (r *rope) rows(lo, hi int) {
	var xs, ys chunk
	for row := lo; row < hi; row++ {
		r.row(row, xs[:], ys[:])
	}
}

// row rotates all heads of row n, as many at a time as the buffers xs and ys hold.
func (r *rope) row(n int, xs, ys []float32) {
	if r.D > len(xs) {
		xs, ys = make([]float32, r.D), make([]float32, r.D)
	}
	at := int(r.positions[n]) * r.half
	cos, sin := r.cos[at:at+r.half], r.sin[at:at+r.half]
	step := len(xs) / r.D * r.D
	end := (n + 1) * r.Heads * r.D
	for lo := n * r.Heads * r.D; lo < end; lo += step {
		hi := min(lo+step, end)
		x, y := r.x.load(lo, hi, xs), r.y.out(lo, hi, ys)
		for h := 0; h < len(x); h += r.D {
			rotate(y[h:h+r.D], x[h:h+r.D], cos, sin, r.Inverse)
			copy(y[h+r.Rotary:h+r.D], x[h+r.Rotary:h+r.D])
		}
		r.y.store(lo, y)
	}
}

// rotate turns the pairs (x[i], x[i+len(cos)]), backwards where inverse; y may be x.
func rotate(y, x, cos, sin []float32, inverse bool) {
	half, sign := len(cos), float32(1)
	if inverse {
		sign = -1
	}
	if half == 0 {
		return
	}
	x1, x2 := x[:half], x[half:2*half]
	y1, y2 := y[:half], y[half:2*half]
	sin = sin[:half]
	if vecRotateDoor(&y1[0], &y2[0], &x1[0], &x2[0], &cos[0], &sin[0], half, sign) {
		return
	}
	for i, c := range cos {
		u, v, s := x1[i], x2[i], sin[i]*sign
		// Both are read before either is written, for y may be x; the conversions forbid fused operations, which would round otherwise.
		y1[i], y2[i] = float32(u*c)-float32(v*s), float32(v*c)+float32(u*s)
	}
}
