package gemm

import (
	"strings"
	"testing"

	"hone/internal/fenced"
)

// TestArrangedSameBits: a product by an arranged weight has the bits of the product by the weight as it was, with
// every set of kernels, in both forms, with few rows and many.
func TestArrangedSameBits(t *testing.T) {
	shapes := [][3]int{{1, 1, 1}, {1, 48, 16}, {1, 192, 300}, {3, 50, 17}, {7, 97, 520}, {8, 64, 256}, {16, 150, 304}, {17, 145, 33}, {45, 150, 304}, {2, 200, 520}}
	guard := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	for _, k := range gemmPaths(t) {
		e := New(2, k, plainRows)
		for i, s := range shapes {
			for variant := range 128 {
				if (testing.Short() || strings.HasPrefix(k.Name, "model")) && (i+variant)%3 != 0 {
					continue
				}
				both := variant&4 != 0 && variant&8 != 0
				if both != (variant&12 != 0) || !k.Arranges(both, s[2]) {
					continue // operands of two types, or pairs that these kernels do not have
				}
				g := newCase(&guard, s[0], s[1], s[2], variant)
				g.Batch = 1
				want := g.C.copied()
				plain, arranged := g.Args, g.Args
				plain.C = want
				e.Multiply(&plain)
				arranged.B, arranged.Arranged, arranged.LDB = F32(make([]float32, k.ArrangedLen(s[2], s[1], false))), true, 0
				if both {
					arranged.B = BF16(make([]uint16, k.ArrangedLen(s[2], s[1], true)))
				}
				e.Arrange(arranged.B, g.Args)
				got := g.C.copied()
				arranged.C = got
				e.Multiply(&arranged)
				for at := range got.n {
					if got.value(at) != want.value(at) {
						t.Fatalf("%s %s: element %d is %v by the arranged weight, %v by the weight", k.Name, g, at, got.value(at), want.value(at))
					}
				}
			}
		}
		e.Pool.Close()
	}
}

// copied is m's values in memory of their own.
func (m Mat) copied() Mat {
	if m.bf16 {
		return BF16(append([]uint16(nil), halvesAt(m.p, m.n)...))
	}
	return F32(append([]float32(nil), floatsAt(m.p, m.n)...))
}
