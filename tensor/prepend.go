package tensor

import "hone/device"

// Prepend puts the rows of e [P, ≥from+C], columns from to from+C, before each of the rows at (ascending) of x [N, C]:
// [N+len(at)·P, C]. It is what virtual tokens need, whose rows stand before those of every sequence.
func Prepend(x, e *Tensor, at []int, from int) *Tensor {
	t := tapeOf("Prepend", x, e)
	n, c, p := x.Rows(), x.Cols(), e.Rows()
	check(from >= 0 && from+c <= e.Cols() && x.dtype == e.dtype, "Prepend",
		"columns %d to %d of %v (%v) before rows of %v (%v)", from, from+c, e.Shape, e.dtype, x.Shape, x.dtype)
	y := t.empty(x.dtype, n+len(at)*p, c)
	// pieces calls f with the rows of x, and those of y, from one place to the next: P rows more come before
	// each piece than before the last.
	pieces := func(f func(row, to, count int)) {
		for i := range len(at) + 1 {
			lo, hi := 0, n
			if i > 0 {
				lo = at[i-1]
			}
			if i < len(at) {
				hi = at[i]
			}
			check(lo <= hi && hi <= n, "Prepend", "places %v in %d rows", at, n)
			if hi > lo {
				f(lo, lo+i*p, hi-lo)
			}
		}
	}
	rows := func(b device.Buffer, from, count int) device.Buffer { return b.Slice(from*c, (from+count)*c) }
	pieces(func(row, to, count int) {
		t.Dev.Unary(device.Identity, rows(y.Buffer(), to, count), rows(x.Buffer(), row, count))
	})
	for i, row := range at {
		t.Dev.Copy2D(device.Copy2D{Dst: rows(y.Buffer(), row+i*p, p), DstStride: c,
			Src: e.Buffer().Slice(from, e.Len()), SrcStride: e.Cols(), Rows: p, Cols: c})
	}
	if !t.wants(x, e) {
		return y
	}
	t.push(y, func() {
		dy := y.grad.buf
		if x.needsGrad {
			dx := t.scratch(x.Len(), x.dtype)
			pieces(func(row, to, count int) {
				t.Dev.Unary(device.Identity, rows(dx.buf, row, count), rows(dy, to, count))
			})
			x.addGrad(dx)
		}
		if e.needsGrad && len(at) > 0 {
			t.prependGrad(e, dy, at, from, c)
		}
	})
	return y
}

// prependGrad sums the gradients of e's rows over the places, in F32.
func (t *Tape) prependGrad(e *Tensor, dy device.Buffer, at []int, from, c int) {
	p := e.Rows()
	sum := t.scratch(p*c, device.F32)
	defer sum.release(t.Dev)
	for i, row := range at {
		t.Dev.Copy2D(device.Copy2D{Dst: sum.buf, DstStride: c, Src: dy.Slice((row+i*p)*c, (row+i*p+p)*c), SrcStride: c,
			Rows: p, Cols: c, Acc: i > 0})
	}
	de, acc := e.gradBuffer()
	if !acc { // other columns may get nothing
		t.Dev.Fill(de, 0)
	}
	t.Dev.Copy2D(device.Copy2D{Dst: de.Slice(from, e.Len()), DstStride: e.Cols(), Src: sum.buf, SrcStride: c,
		Rows: p, Cols: c, Acc: true})
}
