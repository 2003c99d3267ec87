package cpu

import (
	"strings"
	"testing"
)

// TestArrangedSameBits: a product by an arranged weight has the bits of the product by the weight as it was, with
// every set of kernels, in both forms, with few rows and many.
func TestArrangedSameBits(t *testing.T) {
	shapes := [][3]int{{1, 1, 1}, {1, 48, 16}, {1, 192, 300}, {3, 50, 17}, {7, 97, 520}, {8, 64, 256}, {16, 150, 304}, {17, 145, 33}, {45, 150, 304}, {2, 200, 520}}
	guard := [3]fenced{newFenced(t), newFenced(t), newFenced(t)}
	for _, k := range gemmPaths(t) {
		e := newEngine(2, k, plainRows)
		for i, s := range shapes {
			for variant := range 128 {
				if (testing.Short() || strings.HasPrefix(k.name, "model")) && (i+variant)%3 != 0 {
					continue
				}
				both := variant&4 != 0 && variant&8 != 0
				if both != (variant&12 != 0) || !k.arranges(both, s[2]) {
					continue // operands of two types, or pairs that these kernels do not have
				}
				g := newCase(&guard, s[0], s[1], s[2], variant)
				g.Batch = 1
				want := g.C.copied()
				plain, arranged := g.gemmArgs, g.gemmArgs
				plain.C = want
				e.multiply(&plain)
				arranged.B, arranged.Arranged, arranged.LDB = matF32(make([]float32, k.arrangedLen(s[2], s[1], false))), true, 0
				if both {
					arranged.B = matBF16(make([]uint16, k.arrangedLen(s[2], s[1], true)))
				}
				e.arrange(arranged.B, g.gemmArgs)
				got := g.C.copied()
				arranged.C = got
				e.multiply(&arranged)
				for at := range got.n {
					if got.value(at) != want.value(at) {
						t.Fatalf("%s %s: element %d is %v by the arranged weight, %v by the weight", k.name, g, at, got.value(at), want.value(at))
					}
				}
			}
		}
		e.Pool.Close()
	}
}

// copied is m's values in memory of their own.
func (m mat) copied() mat {
	if m.bf16 {
		return matBF16(append([]uint16(nil), halvesAt(m.p, m.n)...))
	}
	return matF32(append([]float32(nil), floatsAt(m.p, m.n)...))
}
