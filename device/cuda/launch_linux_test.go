package cuda

import (
	"slices"
	"testing"

	"hone/device"
)

// TestProductsTakeTheirKernels: which kernels a product is computed by is a matter of its sizes and types: few rows join in a kernel of their own, long
// sums into few columns have one, an odd vocabulary is cut, and what the library lacks has a plain kernel.
func TestProductsTakeTheirKernels(t *testing.T) {
	d, r := openRecorder(t)
	buffers := map[device.DType]device.Buffer{device.F32: d.Alloc(3<<20, device.F32), device.BF16: d.Alloc(3<<20, device.BF16)}
	for _, c := range []struct {
		name    string
		m, n, k int
		a, c    device.DType
		transB  bool
		missing bool
		want    []string
		gemms   int
	}{
		{name: "many rows in f32", m: 64, n: 48, k: 32, gemms: 1},
		{name: "many rows in bf16", m: 64, n: 48, k: 32, a: device.BF16, c: device.BF16, transB: true, gemms: 1},
		{name: "many rows in bf16 into f32", m: 64, n: 48, k: 32, a: device.BF16, gemms: 1},
		{name: "eight rows", m: 8, n: 48, k: 64, a: device.BF16, c: device.BF16, transB: true, want: []string{"few_rows_8"}},
		{name: "nine rows", m: 9, n: 48, k: 64, a: device.BF16, c: device.BF16, transB: true, want: []string{"few_rows_16"}},
		{name: "more than few rows", m: 17, n: 48, k: 64, a: device.BF16, c: device.BF16, transB: true, gemms: 1},
		{name: "no sums", m: 17, n: 48, want: []string{"finish"}},
		{name: "what the library lacks", m: 64, n: 48, k: 32, missing: true, want: []string{"matmul"}, gemms: 1},
		{name: "an odd vocabulary", m: 64, n: 4099, k: 128, a: device.BF16, transB: true, gemms: 2},
		{name: "an odd vocabulary in f32", m: 64, n: 4099, k: 128, transB: true, gemms: 1},
		{name: "long sums into few columns", m: 64, n: 16, k: 6144, a: device.BF16, transB: true, want: []string{"thin_16", "thin_sum"}},
		{name: "long sums into few columns, turned", m: 64, n: 17, k: 6144, a: device.BF16, want: []string{"thin_turn", "thin_32", "thin_sum"}},
	} {
		r.missing = c.missing
		m := device.MatMul{M: c.m, N: c.n, K: c.k, A: buffers[c.a].Slice(0, c.m*c.k), B: buffers[c.a].Slice(1<<20, 1<<20+c.k*c.n), TransB: c.transB, C: buffers[c.c].Slice(2<<20, 2<<20+c.m*c.n)}
		d.MatMul(m)
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		gemms := 0
		for _, l := range r.log {
			if l == "gemm" {
				gemms++
			}
		}
		if got := r.launches(); gemms != c.gemms || !slices.Equal(got, c.want) {
			t.Errorf("%s: %d products of the library and %v, want %d and %v", c.name, gemms, got, c.gemms, c.want)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
