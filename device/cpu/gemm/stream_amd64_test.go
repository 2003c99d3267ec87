//go:build !noasm

package gemm

import (
	"testing"

	"hone/internal/cpuid"
)

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
	if !cpuid.Host().HasAVX2() {
		t.Skip("this machine does not have AVX2, whose packers the model of AVX-512 uses")
	}
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
