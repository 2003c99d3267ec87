// Package pages is memory in huge pages, where the system has them: outside the Go heap or in it.
package pages

import "unsafe"

// Slices from hugeSize bytes on begin on a huge page and are asked for in such pages.
const (
	hugeSize = 512 << 10
	hugePage = 2 << 20
)

// Grow makes *buf at least n long; what it held is lost when it grows.
func Grow(buf *[]float32, n int) {
	if len(*buf) < n {
		*buf = Floats(n)
	}
}

// Floats is a slice of n elements that begins on a cache line.
func Floats(n int) []float32 {
	align := 64
	if 4*n >= hugeSize {
		align = hugePage
	}
	f := make([]float32, n+align/4-1)
	base := unsafe.Pointer(unsafe.SliceData(f))
	if align == hugePage {
		adviseHuge(unsafe.Slice((*byte)(base), 4*len(f)))
	}
	skip := -int(uintptr(base)/4) & (align/4 - 1)
	return f[skip : skip+n : skip+n]
}
