package cpu

import "unsafe"

// rowsArgs are rows that lie apart, for kernels that handle several in one call: a head's rows are so short that a call for each
// takes longer than they do. Strides are in bytes. The fields are 8 bytes each: the assembly counts on it.
type rowsArgs struct {
	Y, A, B                   unsafe.Pointer
	StrideY, StrideA, StrideB int
	Rows, N                   int // N elements a row
}

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
	if y.v.h != nil && y.d%16 == 0 {
		scale := x.scale
		if scale == nil {
			scale, x.step = one, 0
		}
		_, _, _ = x.x[(hi-lo-1)*x.ld+y.d-1], scale[(hi-lo-1)*x.step], y.v.h[y.off+(hi-1)*y.stride+y.d-1]
		if scaleRoundRowsDoor(&rowsArgs{y.address(lo), unsafe.Pointer(&x.x[0]), unsafe.Pointer(&scale[0]), 2 * y.stride, 4 * x.ld, 4 * x.step, hi - lo, y.d}) {
			return
		}
	}
	for r := range hi - lo {
		row := x.x[r*x.ld:][:y.d]
		if x.scale != nil {
			vecScale(row, x.scale[r*x.step])
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
	if x.v.h != nil && y.v.h != nil && n%16 == 0 && n < 128 {
		_, _, _ = d[(x.n-1)*step], x.v.h[x.off+(x.n-1)*x.stride+n-1], y.v.h[y.off+(x.n-1)*y.stride+n-1]
		if dotRowsDoor(&rowsArgs{unsafe.Pointer(&d[0]), x.address(0), y.address(0), 4 * step, 2 * x.stride, 2 * y.stride, x.n, n}) {
			return
		}
	}
	for r := range x.n {
		a, b := x.off+r*x.stride, y.off+r*y.stride
		d[r*step] = vecDot(x.v.load(a, a+n, stage), y.v.load(b, b+n, stage[n:]))
	}
}
