package cuda

import (
	"testing"

	"hone/device/cuda/toolkit"
)

// TestProductsAreDescribed makes the descriptions of products of all kinds with the real library, which checks the sizes of
// attributes and needs no card for it.
func TestProductsAreDescribed(t *testing.T) {
	needLibrary(t, toolkit.CublasLt)
	l, err := openCublasLt(folders(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for form := range 64 {
		has := func(bit int) bool { return form>>bit&1 == 1 }
		g := &gemm{a: 1 << 20, b: 2 << 20, c: 3 << 20, m: 6, n: 10, k: 14, lda: 14, ldb: 10, ldc: 12, transA: has(0), transB: has(1), half: has(2), halfC: has(2) && has(3), batch: 1}
		if has(4) {
			g.batch, g.strideA, g.strideB, g.strideC = 3, 200, 300, 400
		}
		if has(5) {
			g.bias = 4 << 20
		}
		p, err := l.prepare(g)
		if err != nil {
			t.Fatalf("%+v: %v", g, err)
		}
		if p.desc == 0 || p.a == 0 || p.b == 0 || p.c == 0 {
			t.Fatalf("%+v: a description is missing: %+v", g, p)
		}
		if _, err := l.preference(productKey{alignA: 16, alignB: 2, alignC: 16}, has(0)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAlignment(t *testing.T) {
	for p, want := range map[pointer]uint32{0x1000: 16, 0x1010: 16, 0x1002: 2, 0x1004: 4, 0x1018: 8, 0x1001: 1} {
		if got := alignment(p); got != want {
			t.Errorf("%#x is aligned to %d, want %d", uint64(p), got, want)
		}
	}
}
