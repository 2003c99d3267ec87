package attention

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device/cpu/vec"
	"hone/internal/cpuid"
	"hone/internal/half"
)

// TestRows: kernels over rows that lie apart have the bits of a call for each row, and touch nothing between rows.
func TestRows(t *testing.T) {
	const n, stride, ld = 11, 200, 136
	inf := float32(math.Inf(1))
	special := []float32{float32(math.NaN()), inf, -inf, 1e-41, -1e-41, 3.4e38, 0}
	for _, d := range []int{16, 64, 72, 112, 128} {
		x, scale := normals(n*ld), normals(n)
		copy(x[3:], special)
		a, b := bf16Of(normals(n*stride)), bf16Of(normals(n*stride + 5)[5:])
		copy(a[2*stride:], bf16Of(special))
		eachPath(t, func(t *testing.T, path vec.Path) {
			for _, s := range [][]float32{nil, scale} {
				checkStoreRows(t, path, d, scaledRows{append([]float32{}, x...), ld, s, min(len(s), 1)})
			}
			const step = 3
			sums, want, stage := make([]float32, step*n), make([]float32, n), make([]float32, 2*d)
			ra := headRows{v: vec.Floats{H: a, Path: path}, off: 1, stride: stride - 1, d: d, n: n}
			rb := headRows{v: vec.Floats{H: b, Path: path}, stride: stride, d: d, n: n}
			dotRows(sums, step, &ra, &rb, stage)
			for r := range n {
				want[r] = path.Dot(ra.v.Load(1+r*(stride-1), 1+r*(stride-1)+d, stage), rb.v.Load(r*stride, r*stride+d, stage[d:]))
				if math.Float32bits(sums[step*r]) != math.Float32bits(want[r]) && want[r] == want[r] || sums[step*r+1] != 0 || sums[step*r+2] != 0 {
					t.Errorf("rows of %d: the product of row %d is %v, want %v", d, r, sums[step*r:][:step], want[r])
				}
			}
		})
	}
}

// checkStoreRows stores rows 2 to 9 of d elements in bf16 and compares them with rows that are scaled and rounded one by one.
func checkStoreRows(t *testing.T, path vec.Path, d int, x scaledRows) {
	t.Helper()
	const stride = 150
	h := slices.Repeat([]uint16{0x4242}, 12*stride)
	want := append([]uint16{}, h...)
	for r := range 7 {
		row := append([]float32{}, x.x[r*x.ld:][:d]...)
		if x.scale != nil {
			path.Scale(row, x.scale[r])
		}
		half.BRound(want[4+(2+r)*stride:], row)
	}
	y := headRows{v: vec.Floats{H: h, Path: path}, off: 4, stride: stride, d: d, n: 11}
	y.storeRows(2, 9, x)
	for i := range h {
		if h[i] != want[i] {
			t.Fatalf("rows of %d: element %d is %#x, want %#x", d, i, h[i], want[i])
		}
	}
}

func bf16Of(f []float32) []uint16 {
	h := make([]uint16, len(f))
	half.BRound(h, f)
	return h
}

// TestRowsRoundDelicately: a head's rows are rounded to bf16 by the same rules as everything else: ties, NaN and numbers below the normal ones too.
func TestRowsRoundDelicately(t *testing.T) {
	const d, rows = 32, 3
	x := make([]float32, rows*d)
	for i := range x {
		x[i] = math.Float32frombits([]uint32{0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0xbf818000, 0x3fffffff, 0x7fffffff, 0x7f800000, 0x00018000, 0x00008000, 0x80018001}[i%11])
	}
	eachPath(t, func(t *testing.T, path vec.Path) {
		out := make([]uint16, rows*d)
		y := headRows{v: vec.Floats{H: out, Path: path}, stride: d, d: d, n: rows}
		y.storeRows(0, rows, scaledRows{x: append([]float32(nil), x...), ld: d})
		for i, got := range out {
			if want := half.BFromFloat32(x[i]); got != want {
				t.Errorf("%x is rounded to %x, want %x", math.Float32bits(x[i]), got, want)
			}
		}
	})
}

// eachPath runs f on every path that this machine can take.
func eachPath(t *testing.T, f func(t *testing.T, path vec.Path)) {
	host := cpuid.Host()
	for _, p := range slices.Compact([]vec.Path{vec.Generic, vec.PathOf(host.WithoutAVX512()), vec.HostPath()}) {
		t.Run(p.String(), func(t *testing.T) { f(t, p) })
	}
}

func normals(n int) []float32 {
	r, x := rand.New(rand.NewPCG(1, 2)), make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}
