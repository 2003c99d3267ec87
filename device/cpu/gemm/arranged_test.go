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

// asks are what tiles have asked for, line by line, and how often one was read that nobody had.
type asks struct {
	lines        map[uintptr]bool
	read, missed int
}

// note is what a whole tile, or one of fewer rows, would do.
func (a *asks) note(g *TileArgs, whole bool) {
	for i := range g.Count * g.Units {
		tile, u := i/g.Units, i%g.Units
		from := uintptr(g.B) + uintptr(tile*g.BInc)
		for line := uintptr(0); line < uintptr(g.BS); line += 64 {
			at, turn, row := from+uintptr(u*g.BS)+line, from+uintptr(g.Ask+u/turnUnits*g.AskStep)+line, u%turnUnits
			if a.read++; !a.lines[at] {
				a.missed++
			}
			switch {
			case !whole:
				a.lines[at+uintptr(g.Ask)] = true
			case row < turnUnits/2:
				a.lines[turn+uintptr(row*g.BS)] = true
			default:
				a.lines[turn+uintptr(g.AskHalf+(row-turnUnits/2)*g.BS)] = true
			}
		}
	}
}

// TestStreamAsks: before a block of an arranged weight is read, the stripes of rows have asked for all of it while they read the one before it, and
// a single stripe asks a little ahead of what it reads. So what nobody asked for is what a worker begins with each time it takes some of its share.
func TestStreamAsks(t *testing.T) {
	const n, depth, takes = 5 * 48, 600, 3 // of five panels three, one and one
	for _, pairs := range []bool{false, true} {
		for _, m := range []int{2, 8, 11, 16} {
			k := modelKernels(pairs)
			asked, tiles := asks{lines: map[uintptr]bool{}}, [][]TileFunc(nil)
			for rows := range k.MR {
				note := func(g *TileArgs) { asked.note(g, rows+1 == k.MR) }
				tiles = append(tiles, []TileFunc{note, note, note})
			}
			k.asksB, k.streams = false, streamTiles{f32: tiles, pairs: tiles}
			g := Args{M: m, N: n, K: depth, C: F32(make([]float32, m*n)), TransB: true, Arranged: true}
			g.A, g.B = F32(make([]float32, m*depth)), F32(make([]float32, k.ArrangedLen(depth, n, false)))
			units := depth / 3 // of a block
			if pairs {
				g.A, g.B = BF16(make([]uint16, m*depth)), BF16(make([]uint16, k.ArrangedLen(depth, n, true)))
				units = depth / 4
			}
			e := New(1, k, plainRows)
			e.Multiply(&g)
			e.Pool.Close()
			stripes, first := ceilDiv(m, k.MR), streamAhead/64
			if stripes == 2 {
				first = 2 * units * 4 * k.NR / 64
			}
			if most := takes*first + asked.read/50; asked.missed > most || asked.read < stripes*g.B.n*g.B.size()/66 {
				t.Errorf("pairs %v, %d rows: %d of %d lines were not asked for, want %d at most", pairs, m, asked.missed, asked.read, most)
			}
		}
	}
}
