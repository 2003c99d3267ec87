package tensor

import (
	"math"

	"hone/device"
)

// RopeTable holds the cosines and sines of rotary position embedding for positions
// 0..P-1: both [P, Rotary/2] in F32.
type RopeTable struct {
	Cos, Sin *Tensor
	Rotary   int // channels of each head that are rotated
}

// NewRopeTable computes the table for the given frequencies (radians per position, one for each rotated pair)
// in float64: at position 100,000 a float32 holds an angle to 0.004 only. scale multiplies cosines and sines:
// the attention scaling of yarn and longrope, else 1.
func NewRopeTable(dev device.Device, frequencies []float64, positions int, scale float64) *RopeTable {
	half := len(frequencies)
	cos, sin := make([]float32, positions*half), make([]float32, positions*half)
	for p := range positions {
		for i, f := range frequencies {
			s, c := math.Sincos(float64(p) * f)
			cos[p*half+i], sin[p*half+i] = float32(c*scale), float32(s*scale)
		}
	}
	r := &RopeTable{Cos: &Tensor{Shape: []int{positions, half}}, Sin: &Tensor{Shape: []int{positions, half}}, Rotary: 2 * half}
	r.Cos.Set(dev, device.F32, cos)
	r.Sin.Set(dev, device.F32, sin)
	return r
}

// RopeTable puts a table of cosines and sines [rows, half] on the device that lives as long as the pass does.
func (t *Tape) RopeTable(cos, sin []float32, half int) *RopeTable {
	put := func(v []float32) *Tensor {
		x := t.empty(device.F32, len(v)/half, half)
		t.Dev.Write(x.data.buf, v)
		return x
	}
	return &RopeTable{Cos: put(cos), Sin: put(sin), Rotary: 2 * half}
}

// Free gives the table's memory back.
func (r *RopeTable) Free() {
	r.Cos.Free()
	r.Sin.Free()
}

// Rope rotates the heads of x [N, heads*D] by positions [N] (Su et al., "RoFormer", 2021): channel i of the
// first half of a head's rotated part pairs with channel i of the second half, as Hugging Face's checkpoints
// have them. With θ = position·frequency(i)
//
//	y₁ = x₁·cos θ - x₂·sin θ    y₂ = x₂·cos θ + x₁·sin θ
//
// x must not be read afterwards: the result may take its place.
func Rope(x *Tensor, table *RopeTable, positions *Tensor, heads int) *Tensor {
	t := tapeOf("Rope", x)
	check(heads > 0 && x.Cols()%heads == 0 && x.Cols()/heads >= table.Rotary, "Rope",
		"%d heads with %d rotated channels do not fit %v", heads, table.Rotary, x)
	check(positions.Len() == x.Rows(), "Rope", "positions %v for %v", positions, x)
	k := table.rotation(x, heads)
	k.X, k.Positions = x.Buffer(), positions.Buffer()
	y := t.inPlaceOf(x)
	k.Y = y.Buffer()
	t.Dev.Rope(k)
	if t.wants(x) {
		recordRope(t, x, y, positions, table, heads)
	}
	return y
}

// recordRope leaves the gradient of y, the rotated x, on the tape: rotation by the opposite angles, in place.
func recordRope(t *Tape, x, y, positions *Tensor, table *RopeTable, heads int) {
	t.push(y, func() {
		dx := y.takeGrad()
		k := table.rotation(x, heads)
		k.Y, k.X, k.Positions, k.Inverse = dx.buf, dx.buf, positions.Buffer(), true
		t.Dev.Rope(k)
		x.addGrad(dx)
	}, positions, table.Cos, table.Sin)
}

// rotation is a call that rotates the heads of x, without operands.
func (r *RopeTable) rotation(x *Tensor, heads int) device.Rope {
	return device.Rope{Cos: r.Cos.Buffer(), Sin: r.Sin.Buffer(), Heads: heads, D: x.Cols() / heads, Rotary: r.Rotary}
}
