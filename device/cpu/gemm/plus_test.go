package gemm

import (
	"math"
	"testing"

	"hone/internal/fenced"
	"hone/internal/half"
)

// TestGemmPlusSameBits: a product with a second one added has the bits of two products one after the other in f32, whatever
// the kernels, the form, the number of rows and of threads; in bf16 they are rounded once, at the end.
func TestGemmPlusSameBits(t *testing.T) {
	shapes := [][4]int{{1, 1, 1, 1}, {1, 50, 0, 3}, {1, 96, 64, 16}, {3, 50, 17, 5}, {9, 97, 520, 16}, {16, 150, 304, 8}, {45, 150, 304, 16}, {70, 40, 33, 64}, {33, 60, 300, 256}}
	guard := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	guardPlus := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	for _, k := range gemmPaths(t) {
		for n, s := range shapes {
			for i := range 16 {
				if testing.Short() && (i+n)%4 != 0 || k.Name != "avx512bf16" && (i+n)%3 != 0 {
					continue
				}
				variant := i + (n+i)%8*16
				g, add := newCase(&guard, s[0], s[1], s[2], variant), newCase(&guardPlus, s[0], s[1], s[3], (variant*7)%16)
				g.Batch = 1
				first := *g
				first.C, first.LDC = F32(append([]float32(nil), g.c...)), g.LDC
				second := add.Args
				second.Batch, second.C, second.LDC, second.Accumulate, second.Bias = 1, first.C, g.LDC, true, nil
				bias := g.Bias
				if g.Accumulate { // comes last
					first.Bias, second.Bias = nil, bias
				}
				e := New(1, k, plainRows)
				e.Multiply(&first.Args)
				e.Multiply(&second)
				e.Pool.Close()
				g.Plus = Plus{K: s[3], A: add.A, B: add.B, LDA: add.LDA, LDB: add.LDB, TransA: add.TransA, TransB: add.TransB}
				for _, threads := range []int{1, 2} {
					got := g.Args
					got.C = g.C.copied()
					e := New(threads, k, plainRows)
					e.Multiply(&got)
					e.Pool.Close()
					for at := range got.C.n {
						want := first.C.value(at)
						if g.C.bf16 && at%g.LDC < g.N {
							want = half.BToFloat32(half.BFromFloat32(want))
						}
						if math.Float32bits(got.C.value(at)) != math.Float32bits(want) {
							t.Fatalf("%s %s and %s: element %d is %v on %d threads, by two products %v", k.Name, g, add, at, got.C.value(at), threads, want)
						}
					}
				}
			}
		}
	}
}
