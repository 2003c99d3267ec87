package cpu

import (
	"fmt"

	"hone/device"
	"hone/device/cpu/gemm"
	"hone/device/cpu/vec"
)

var _ device.Arranger = (*Device)(nil)

// ArrangedLen is how many elements the copy of a weight has that Arrange makes on this machine; 0 where it makes none.
func ArrangedLen(k, n int, t device.DType) int {
	kernels, bf16 := gemm.HostKernels(), t == device.BF16
	if !kernels.Arranges(bf16, k) {
		return 0
	}
	return kernels.ArrangedLen(k, n, bf16)
}

// Arrange copies a weight into panels. A bf16 weight has panels of pairs; without tiles for these it stays as it is.
func (d *Device) Arrange(b device.Buffer, k, n int, transB bool) (device.Arranged, bool) {
	kernels, bf16 := d.engine.Kernels, b.DType == device.BF16
	if !kernels.Arranges(bf16, k) || k == 0 || n == 0 {
		return device.Arranged{}, false
	}
	if b.Len != k*n {
		panic(fmt.Sprintf("cpu: Arrange of %d elements as %d×%d", b.Len, k, n))
	}
	a := device.Arranged{K: k, N: n, TransB: transB, Buf: d.Alloc(kernels.ArrangedLen(k, n, bf16), b.DType)}
	g := gemm.Args{N: n, K: k, B: matOf(b), LDB: n, TransB: transB}
	if transB {
		g.LDB = k
	}
	d.engine.Arrange(matOf(a.Buf), g)
	return a, true
}

// panelsOf is an arranged weight as its elements are found.
func (d *Device) panelsOf(op string, a device.Arranged) gemm.Panels {
	k := d.engine.Kernels
	if a.Buf.Len != k.ArrangedLen(a.K, a.N, a.Buf.DType == device.BF16) {
		panic(fmt.Sprintf("cpu: %s of a weight %d×%d in %d elements", op, a.K, a.N, a.Buf.Len))
	}
	return k.Panels(matOf(a.Buf), a.K)
}

// Rearrange puts the weight back in the order that it had.
func (d *Device) Rearrange(y device.Buffer, a device.Arranged) {
	p, to := d.panelsOf("Rearrange", a), d.floats("Rearrange", y, a.K*a.N)
	rows, cols, at := a.K, a.N, p.Value
	if a.TransB {
		rows, cols, at = a.N, a.K, func(n, k int) float32 { return p.Value(k, n) }
	}
	d.eachRows(rows, cols, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			fillFloats(to, r*cols, cols, func(c int) float32 { return at(r, c) })
		}
	})
}

// ArrangedRows copies rows of a weight that was stored [N, K].
func (d *Device) ArrangedRows(y device.Buffer, a device.Arranged, ids device.Buffer) {
	p, rows, to := d.panelsOf("ArrangedRows", a), i32s(ids), d.floats("ArrangedRows", y, ids.Len*a.K)
	for _, id := range rows {
		if !a.TransB || id < 0 || int(id) >= a.N {
			panic(fmt.Sprintf("cpu: ArrangedRows of row %d of %d (stored as rows: %v)", id, a.N, a.TransB))
		}
	}
	d.eachRows(len(rows), a.K, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			fillFloats(to, r*a.K, a.K, func(k int) float32 { return p.Value(k, int(rows[r])) })
		}
	})
}

// fillFloats sets n elements of v from lo on to what f gives for each.
func fillFloats(v vec.Floats, lo, n int, f func(int) float32) {
	var buf chunk
	for i := 0; i < n; i += vec.Chunk {
		part := v.Out(lo+i, lo+min(i+vec.Chunk, n), buf[:])
		for j := range part {
			part[j] = f(i + j)
		}
		v.Store(lo+i, part)
	}
}
