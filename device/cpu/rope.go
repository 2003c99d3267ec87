package cpu

import (
	"fmt"

	"hone/device"
	"hone/device/cpu/vec"
)

// Rope rotates pairs (i, i+Rotary/2) of each head by the angle of the row's position.
func (d *Device) Rope(a device.Rope) {
	width := a.Heads * a.D
	n := rowsOf("Rope", a.X, width)
	r := rope{Rope: a, x: d.floats("Rope", a.X, n*width), y: d.floats("Rope", a.Y, n*width), half: a.Rotary / 2}
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
	x, y      vec.Floats
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
		x, y := r.x.Load(lo, hi, xs), r.y.Out(lo, hi, ys)
		for h := 0; h < len(x); h += r.D {
			r.y.Path.Rotate(y[h:h+r.D], x[h:h+r.D], cos, sin, r.Inverse)
			copy(y[h+r.Rotary:h+r.D], x[h+r.Rotary:h+r.D])
		}
		r.y.Store(lo, y)
	}
}
