package cpu

import (
	"math"
	"testing"

	"hone/internal/half"
)

// TestRows: kernels over rows that lie apart have the bits of a call for each row, and touch nothing between rows.
func TestRows(t *testing.T) {
	const n, stride, ld = 11, 200, 136
	special := []float32{float32(math.NaN()), inf32, -inf32, 1e-41, -1e-41, 3.4e38, 0}
	for _, d := range []int{16, 64, 72, 112, 128} {
		x, scale := randomFloats(n*ld), randomFloats(n)
		copy(x[3:], special)
		a, b := bf16Of(randomFloats(n*stride)), bf16Of(randomFloats(n*stride + 5)[5:])
		copy(a[2*stride:], bf16Of(special))
		eachPath(t, func(t *testing.T) {
			for _, s := range [][]float32{nil, scale} {
				checkStoreRows(t, d, scaledRows{append([]float32{}, x...), ld, s, min(len(s), 1)})
			}
			const step = 3
			sums, want, stage := make([]float32, step*n), make([]float32, n), make([]float32, 2*d)
			ra := headRows{v: floats{h: a}, off: 1, stride: stride - 1, d: d, n: n}
			rb := headRows{v: floats{h: b}, stride: stride, d: d, n: n}
			dotRows(sums, step, &ra, &rb, stage)
			for r := range n {
				want[r] = vecDot(ra.v.load(1+r*(stride-1), 1+r*(stride-1)+d, stage), rb.v.load(r*stride, r*stride+d, stage[d:]))
				if math.Float32bits(sums[step*r]) != math.Float32bits(want[r]) && want[r] == want[r] || sums[step*r+1] != 0 || sums[step*r+2] != 0 {
					t.Errorf("rows of %d: the product of row %d is %v, want %v", d, r, sums[step*r:][:step], want[r])
				}
			}
		})
	}
}

// checkStoreRows stores rows 2 to 9 of d elements in bf16 and compares them with rows that are scaled and rounded one by one.
func checkStoreRows(t *testing.T, d int, x scaledRows) {
	t.Helper()
	const stride = 150
	h := make([]uint16, 12*stride)
	fillOf(h, 0x4242)
	want := append([]uint16{}, h...)
	for r := range 7 {
		row := append([]float32{}, x.x[r*x.ld:][:d]...)
		if x.scale != nil {
			vecScale(row, x.scale[r])
		}
		half.BRound(want[4+(2+r)*stride:], row)
	}
	y := headRows{v: floats{h: h}, off: 4, stride: stride, d: d, n: 11}
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
