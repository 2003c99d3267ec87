package gemm

import (
	"math"
	"slices"
	"testing"

	"hone/internal/fenced"
)

// TestGemmSums: the sums of the columns of B do not depend on the number of threads, and the product not on them.
func TestGemmSums(t *testing.T) {
	guard := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	for _, k := range gemmPaths(t) {
		for n, s := range [][3]int{{1, 50, 64}, {3, 97, 5}, {9, 49, 520}, {45, 150, 304}, {40, 33, 1030}, {270, 97, 130}, {200, 300, 20}} {
			for variant := range 16 {
				if variant&2 != 0 || testing.Short() && (variant+n)%4 != 0 || k.Name != "avx512bf16" && (variant+n)%3 != 0 {
					continue
				}
				c := newCase(&guard, s[0], s[1], s[2], variant)
				c.Batch = 1
				var first, plain Args
				for _, threads := range []int{1, 2, 3} {
					got := c.Args
					got.C, got.AddSums = c.C.copied(), (variant+n)%2 == 0
					e := New(threads, k, plainRows)
					if threads == 1 {
						e.Multiply(&got)
						plain, got.C = got, c.C.copied()
					}
					got.Sums = slices.Repeat([]float32{3}, c.N)
					e.Multiply(&got)
					e.Pool.Close()
					for at := range got.C.n {
						if x, want := got.C.value(at), plain.C.value(at); math.Float32bits(x) != math.Float32bits(want) {
							t.Fatalf("%s %s: element %d is %v with sums on %d threads, without %v", k.Name, c, at, x, threads, want)
						}
					}
					if threads == 1 {
						first = got
						checkSums(t, c, got)
					} else if !slices.Equal(first.Sums, got.Sums) {
						t.Fatalf("%s %s: sums on %d threads are %v, on one %v", k.Name, c, threads, got.Sums, first.Sums)
					}
				}
			}
		}
	}
}

// checkSums compares the sums of columns with those in float64.
func checkSums(t *testing.T, c *gemmCase, got Args) {
	t.Helper()
	for j, x := range got.Sums {
		var want, size float64
		if got.AddSums {
			want, size = 3, 3
		}
		for i := range c.K {
			v := float64(c.b[i*c.LDB+j])
			want, size = want+v, size+math.Abs(v)
		}
		if math.Abs(float64(x)-want) > 1e-6*size {
			t.Fatalf("%s: the sum of column %d is %v, want %v", c, j, x, want)
		}
	}
}
