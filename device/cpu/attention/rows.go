package attention

import (
	"unsafe"

	"hone/device/cpu/vec"
)

// scaledRows are rows of f32, ld apart, with a number for each that it is to be multiplied by, step apart; nil means 1.
type scaledRows struct {
	x     []float32
	ld    int
	scale []float32
	step  int
}

var one = []float32{1}

// storeRows stores rows lo to hi, rounded if need be. It may scale x in place.
func (y *headRows) storeRows(lo, hi int, x scaledRows) {
	if lo >= hi {
		return
	}
	if y.v.H != nil && y.d%16 == 0 {
		scale := x.scale
		if scale == nil {
			scale, x.step = one, 0
		}
		_, _, _ = x.x[(hi-lo-1)*x.ld+y.d-1], scale[(hi-lo-1)*x.step], y.v.H[y.off+(hi-1)*y.stride+y.d-1]
		if y.v.Path.ScaleRoundRows(&vec.RowsArgs{
			Y: y.address(lo), A: unsafe.Pointer(&x.x[0]), B: unsafe.Pointer(&scale[0]),
			StrideY: 2 * y.stride, StrideA: 4 * x.ld, StrideB: 4 * x.step, Rows: hi - lo, N: y.d,
		}) {
			return
		}
	}
	for r := range hi - lo {
		row := x.x[r*x.ld:][:y.d]
		if x.scale != nil {
			y.v.Path.Scale(row, x.scale[r*x.step])
		}
		y.storeRow(lo+r, row)
	}
}

// dotRows computes the dot products of the rows of x and y into each step-th element of d. stage holds two rows.
func dotRows(d []float32, step int, x, y *headRows, stage []float32) {
	if x.n == 0 {
		return
	}
	n := x.d
	if x.v.H != nil && y.v.H != nil && n%16 == 0 && n < 128 {
		_, _, _ = d[(x.n-1)*step], x.v.H[x.off+(x.n-1)*x.stride+n-1], y.v.H[y.off+(x.n-1)*y.stride+n-1]
		if x.v.Path.DotRowsBF16(&vec.RowsArgs{
			Y: unsafe.Pointer(&d[0]), A: x.address(0), B: y.address(0),
			StrideY: 4 * step, StrideA: 2 * x.stride, StrideB: 2 * y.stride, Rows: x.n, N: n,
		}) {
			return
		}
	}
	for r := range x.n {
		a, b := x.off+r*x.stride, y.off+r*y.stride
		d[r*step] = x.v.Path.Dot(x.v.Load(a, a+n, stage), y.v.Load(b, b+n, stage[n:]))
	}
}
