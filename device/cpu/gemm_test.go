package cpu

import (
	"testing"
)

func TestGemmQuick(t *testing.T) {
	p := newPool(2)
	defer p.close()
	for _, s := range [][3]int{{1, 1, 1}, {5, 7, 9}, {64, 64, 64}, {33, 49, 300}, {100, 30, 520}, {2, 31, 17}} {
		for form := range 4 {
			for bf := range 8 {
				m, n, k := s[0], s[1], s[2]
				a, b, c := randomFloats(m*k), randomFloats(n*k), randomFloats(m*n)
				A, B, C := matF32(a), matF32(b), matF32(c)
				if bf&1 != 0 {
					A = toMat(a)
				}
				if bf&2 != 0 {
					B = toMat(b)
				}
				if bf&4 != 0 {
					C = toMat(c)
				}
				g := &gemmArgs{M: m, N: n, K: k, A: A, B: B, C: C, TransA: form&1 != 0, TransB: form&2 != 0}
				p.gemm(g)
				for i := range m {
					for j := range n {
						var want float64
						for l := range k {
							ai, bi := i*k+l, l*n+j
							if g.TransA {
								ai = l*m + i
							}
							if g.TransB {
								bi = j*k + l
							}
							want += float64(a[ai]) * float64(b[bi])
						}
						got := c[i*n+j]
						if C.bf16 {
							got = fromBF16(halvesAt(C.p, C.n)[i*n+j])
						}
						if d := float64(got) - want; d > 0.1 || d < -0.1 {
							t.Fatalf("%v form %d bf %d: c[%d][%d] = %v, want %v", s, form, bf, i, j, got, want)
						}
					}
				}
			}
		}
	}
}

func toMat(f []float32) mat {
	h := make([]uint16, len(f))
	for i := range f {
		h[i] = toBF16(f[i])
		f[i] = fromBF16(h[i])
	}
	return matBF16(h)
}
