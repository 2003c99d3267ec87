//go:build linux && (amd64 || arm64) && !noasm

package gemm

import (
	"fmt"
	"math"
	"testing"
	"unsafe"

	"hone/internal/cpuid"
	"hone/internal/fenced"
	"hone/internal/half"
)

// tileKind are the tiles of an instruction set with what they compute for a unit of k.
type tileKind struct {
	name   string
	tiles  [][]TileFunc
	lanes  int
	unit   modelUnit
	wide   int  // columns of A that a unit takes
	halves bool // B is bf16 as it lies
	pairs  bool // sums are rounded in the processor's own way
}

// tileCase is how a tile is called: each has two tiles one after the other.
type tileCase struct {
	k, units     int // units of a block and, if there are several, in all
	add, rounded bool
	lanes        int // of the last vector that count, 0 for all
}

// TestTiles compares every tile of every height and width with its formula, in memory that ends where the tile's does: products meet some
// heights only in few shapes, in which a wrong row at the edge of a wrong column would not be seen.
func TestTiles(t *testing.T) {
	mem := newTileMemory(t)
	for _, kind := range tileKinds(cpuid.Host()) {
		for r, row := range kind.tiles {
			for v, tile := range row {
				for _, c := range []tileCase{{5, 0, false, false, 0}, {5, 0, true, false, 0}, {5, 0, true, false, 3}, {4, 9, true, false, 3}, {17, 0, false, true, 3}, {1, 0, true, true, 0},
					{72, 141, true, false, 3}, {71, 0, false, true, 3}} { // so long that a row of what comes next is asked for every eight units
					if c.rounded && kind.lanes == 8 {
						continue // they do not round
					}
					kind.check(t, mem, tile, r+1, v+1, c)
				}
			}
		}
	}
}

// tileMemory is where the operands of a tile lie: behind room of their own, before a page that may not be touched.
type tileMemory struct {
	fenced [5]fenced.Memory
	rooms  [][]byte // of the operands there are
}

func newTileMemory(t *testing.T) *tileMemory {
	mem := &tileMemory{}
	for i := range mem.fenced {
		mem.fenced[i] = fenced.New(t)
	}
	return mem
}

// place is where the next operand of so many bytes lies. All of them, and the room, are 0xa5.
func (mem *tileMemory) place(bytes int) unsafe.Pointer {
	const room = 256
	whole := unsafe.Slice((*byte)(mem.fenced[len(mem.rooms)].Tail(room+bytes)), room+bytes)
	for i := range whole {
		whole[i] = 0xa5
	}
	mem.rooms = append(mem.rooms, whole[:room])
	return unsafe.Pointer(&whole[room])
}

// check runs a tile of r rows and v vectors.
func (kind *tileKind) check(t *testing.T, mem *tileMemory, tile TileFunc, r, v int, c tileCase) {
	t.Helper()
	mem.rooms = mem.rooms[:0]
	width, units, tiles := kind.lanes*v, max(c.units, c.k), 2
	last := width
	if c.lanes > 0 {
		last += c.lanes - kind.lanes
	}
	size := 4
	if kind.halves {
		size = 2
	}
	a := TileArgs{
		RS: 4 * (units*kind.wide + 1), CS: 4, BS: size * width, LDC: 4 * (width + 1), LDAdd: 4 * (width + 2), LDOut: 2 * (tiles*width + 3),
		K: c.k, Units: c.units, Count: tiles, Bits: 1<<(last-width+kind.lanes) - 1,
	}
	a.Ask, a.AskHalf, a.AskStep = a.BS, 2*a.BS, 4*a.BS
	a.AInc, a.BInc, a.CInc = r*a.RS, units*a.BS, r*a.LDC
	if c.lanes > 0 && kind.lanes == 8 {
		a.Mask = &laneMasks[c.lanes]
	}
	rows := tiles * r
	a.A, a.B, a.C = mem.place((rows-1)*a.RS+4*units*kind.wide), mem.place(tiles*a.BInc), mem.place((rows-1)*a.LDC+4*last)
	if c.add {
		a.Add, a.AddInc = mem.place((rows-1)*a.LDAdd+4*last), r*a.LDAdd
		fillFloats(a.Add, (rows-1)*a.LDAdd/4+last, 3)
	}
	if c.rounded {
		a.Out = mem.place((r-1)*a.LDOut + 2*(width+last))
	}
	model := kind.fillFactors(&a, rows, units)
	if c.add && c.rounded { // nothing but what is added is rounded, other numbers in each row
		clear(floatsAt(a.B, tiles*a.BInc/4))
		clear(floatsAt(model.B, tiles*model.BInc/4))
		for i := range (rows-1)*a.LDAdd/4 + last {
			floatsAt(a.Add, i+1)[i] = math.Float32frombits(delicate[i%len(delicate)])
		}
	}
	if c.add { // of what comes next a tile of all rows asks for some
		a.Next, a.NextRS, a.NextStep, a.Lines = a.A, 4, 4, 1
	}
	tile(&a)
	for n := range tiles {
		for i := range r {
			for j := range last {
				want, got := modelSum(&model, n, i, j, kind.unit), *(*float32)(unsafe.Add(a.C, n*a.CInc+i*a.LDC+4*j))
				if c.rounded {
					want, got = half.BToFloat32(half.BFromFloat32(want)), half.BToFloat32(*(*uint16)(unsafe.Add(a.Out, i*a.LDOut+2*(n*width+j))))
				}
				same := math.Float32bits(got) == math.Float32bits(want)
				if kind.pairs {
					same = same || math.Abs(float64(got-want)) <= 2e-2*(1+math.Abs(float64(want)))
				}
				if !same {
					t.Fatalf("%s %d×%d %+v: tile %d, [%d][%d] is %v, want %v", kind.name, r, v, c, n, i, j, got, want)
				}
			}
		}
	}
	checkGaps(t, mem, &a, fmt.Sprintf("%s %d×%d %+v", kind.name, r, v, c), r, last, width)
}

// checkGaps looks for what was written between the rows of C, and into C by a tile that rounds.
func checkGaps(t *testing.T, mem *tileMemory, a *TileArgs, what string, r, last, width int) {
	t.Helper()
	for i, room := range mem.rooms {
		for _, v := range room {
			if v != 0xa5 {
				t.Fatalf("%s: something was written before operand %d", what, i)
			}
		}
	}
	for i := range r - 1 {
		for j := range a.Count * (width - last) {
			if n, c := j/(width-last), last+j%(width-last); a.Out != nil && *(*uint16)(unsafe.Add(a.Out, i*a.LDOut+2*(n*width+c))) != 0xa5a5 {
				t.Fatalf("%s: element %d of row %d of the rounded tile %d was written", what, c, i, n)
			}
		}
	}
	for i := range a.Count*r - 1 {
		from := last
		if a.Out != nil {
			from = 0
		}
		for j := from; j < a.LDC/4; j++ {
			if v := *(*uint32)(unsafe.Add(a.C, i*a.LDC+4*j)); v != 0xa5a5a5a5 {
				t.Fatalf("%s: element %d behind row %d was written", what, j, i)
			}
		}
	}
}

// delicate are numbers that are rounded to bf16 by a rule each: ties to even and odd, their neighbours, a NaN, Inf and numbers below the normal ones.
var delicate = []uint32{0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0xbf818000, 0x3fffffff, 0x7fffffff, 0xffffffff, 0x7f800000, 0x7f7fffff, 0x00018000, 0x00008000, 0x80018001}

// fillFactors gives A and B numbers and returns the arguments of the model, whose B is f32.
func (kind *tileKind) fillFactors(a *TileArgs, rows, units int) (model TileArgs) {
	x, y := floatsAt(a.A, ((rows-1)*a.RS+4*units*kind.wide)/4), floatsAt(a.B, a.Count*a.BInc/4)
	fillFloats(a.A, len(x), 1)
	fillFloats(a.B, len(y), 2)
	if kind.pairs || kind.wide > 1 || kind.halves { // bf16 in both halves of each
		narrow := [][]float32{x, y}
		if !kind.pairs {
			narrow = narrow[1:]
		}
		for _, f := range narrow {
			for i, h := range halvesAt(unsafe.Pointer(&f[0]), 2*len(f)) {
				halvesAt(unsafe.Pointer(&f[0]), 2*len(f))[i] = h&0xbfff | 0x3c00&^(h>>2) // of about 1: no exponent beyond
			}
		}
	}
	model = *a
	model.Next = nil
	if kind.halves {
		wide := make([]float32, 2*len(y))
		half.BWiden(wide, halvesAt(unsafe.Pointer(&y[0]), 2*len(y)))
		model.B, model.BS, model.BInc = unsafe.Pointer(&wide[0]), 2*a.BS, 2*a.BInc
	}
	return model
}

// fillFloats sets n floats at p to numbers from -2 to 2.
func fillFloats(p unsafe.Pointer, n int, seed uint32) {
	for i := range floatsAt(p, n) {
		seed = seed*1664525 + 1013904223
		floatsAt(p, n)[i] = float32(int32(seed)>>8) / (1 << 22)
	}
}

// TestFewRowsOfEveryHeight: the kernels for few rows, of all heights, with the sums of a product in their order.
func TestFewRowsOfEveryHeight(t *testing.T) {
	guard := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	for _, k := range gemmPaths(t) {
		e := New(1, k, plainRows)
		for m := 1; m <= k.MR; m++ {
			for variant := range 8 { // types of A and B, and what is added; the last units of k are whole vectors or half of one
				depth := 48
				switch {
				case variant&3 == 1: // of a B in f32
					depth = 56
				case variant == 7: // of pairs
					depth = 64
				}
				g := newCase(&guard, m, 40, depth, 2|variant&3<<2|variant&4<<2)
				e.Multiply(&g.Args)
				g.compare(t, k)
			}
			g := newCase(&guard, m, 16, 528, 2|m%4<<2) // several blocks of k
			e.Multiply(&g.Args)
			g.compare(t, k)
		}
		e.Pool.Close()
	}
}
