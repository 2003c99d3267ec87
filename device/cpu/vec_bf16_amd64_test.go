//go:build !noasm

package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"hone/device"
	"hone/internal/cpuid"
	"hone/internal/half"
)

// bf16Case is an operation with operands in bf16: run computes what it overwrites of them, in f32 rows of n elements and by the door.
type bf16Case struct {
	name     string
	operands int
	rows     func(r [5][]float32)
	door     func(h [5]*uint16, n int) bool
}

func bf16Cases(op device.UnaryOp) []bf16Case {
	return []bf16Case{
		{"unary", 2, func(r [5][]float32) { vecUnary(op, r[0], r[1]) },
			func(h [5]*uint16, n int) bool { return vecUnaryBF16Door(op, h[0], h[1], n) }},
		{"both", 3, func(r [5][]float32) { vecUnaryBoth(op, r[0], r[1], r[2]) },
			func(h [5]*uint16, n int) bool { return vecUnaryBothBF16Door(op, h[0], h[1], h[2], n) }},
		{"gated", 3, func(r [5][]float32) { vecGated(op, r[0], r[1], r[2]) },
			func(h [5]*uint16, n int) bool { return vecGatedBF16Door(op, h[0], h[1], h[2], n) }},
		{"gated both", 5, func(r [5][]float32) { vecGatedBoth(op, r[0], r[1], r[2], r[3], r[4]) },
			func(h [5]*uint16, n int) bool { return vecGatedBothBF16Door(op, h[0], h[1], h[2], h[3], h[4], n) }},
	}
}

// needsRounding skips the test on a processor that cannot run the kernels.
func needsRounding(t *testing.T) {
	t.Helper()
	if !cpuid.Host().HasAVX512BF16() {
		t.Skip("this processor has no AVX512_BF16, whose VCVTNEPS2BF16 the kernels round by")
	}
}

// TestBF16Doors: kernels that read and write bf16 give the bits of f32 rows that are widened before and rounded after them, 0 for
// numbers below the normal ones, and touch nothing beyond the end.
func TestBF16Doors(t *testing.T) {
	needsRounding(t)
	r := rand.New(rand.NewPCG(17, 18))
	add := []bf16Case{{"add", 3, func(r [5][]float32) { vecAdd(r[0], r[1], r[2]) },
		func(h [5]*uint16, n int) bool { return vecBinaryBF16Door(device.Add, h[0], h[1], h[2], n) }}}
	for i, cases := range [][]bf16Case{bf16Cases(device.SiLU), bf16Cases(device.GELU), bf16Cases(device.GELUErf), add} {
		ran := 0
		for _, c := range cases {
			for _, n := range append(lengths(), 1000) {
				if n > 0 && checkBF16Door(t, r, c, n) {
					ran++
				}
			}
		}
		if ran == 0 {
			t.Errorf("no kernel of cases %d", i)
		}
	}
}

func checkBF16Door(t *testing.T, r *rand.Rand, c bf16Case, n int) bool {
	const guard = 0x1234
	var rows [5][]float32
	var halves [5][]uint16
	var at [5]*uint16
	for i := range c.operands {
		rows[i], halves[i] = make([]float32, n), make([]uint16, n+2)
		fillTest(r, rows[i], 4, n%2 == 0)
		h := halves[i][1 : n+1]
		for j := range h {
			if j%11 == 3 {
				rows[i][j] = math.Float32frombits(r.Uint32()) // of any size
			}
			if h[j] = half.BFromFloat32(rows[i][j]); h[j]&0x7f80 == 0 {
				h[j] &= 0x8000 // operands that are only read stay as they are
			}
		}
		vecBF16ToF32(rows[i], h)
		halves[i][0], halves[i][n+1], at[i] = guard, guard, &h[0]
	}
	if !c.door(at, n) {
		return false
	}
	c.rows(rows)
	for i := range c.operands {
		if halves[i][0] != guard || halves[i][n+1] != guard {
			t.Fatalf("%s of %d: operand %d is written outside", c.name, n, i)
		}
		for j, v := range rows[i] {
			want := half.BFromFloat32(v)
			if math.Abs(float64(v)) < 0x1p-126 {
				want &= 0x8000
			}
			if got := halves[i][j+1]; got != want {
				t.Fatalf("%s of %d: operand %d, element %d is %s, want %s", c.name, n, i, j, hexBF16(got), hexBF16(want))
			}
		}
	}
	return true
}

// TestNarrowDoor: rounding to bf16 in the memory that is rounded, as attention does it.
func TestNarrowDoor(t *testing.T) {
	needsRounding(t)
	r := rand.New(rand.NewPCG(19, 20))
	for _, n := range lengths() {
		if n == 0 {
			continue
		}
		x := make([]float32, n+1)
		fillTest(r, x, 4, n%2 == 0)
		want, h := make([]uint16, n), halvesOf(x)
		for i, v := range x[:n] {
			if want[i] = half.BFromFloat32(v); math.Abs(float64(v)) < 0x1p-126 {
				want[i] &= 0x8000
			}
		}
		last := h[n]
		if !vecNarrowDoor(&h[0], &x[0], n) {
			t.Fatal("there is no kernel")
		}
		for i, w := range want {
			if h[i] != w {
				t.Fatalf("of %d: element %d is %s, want %s", n, i, hexBF16(h[i]), hexBF16(w))
			}
		}
		if h[n] != last {
			t.Fatalf("of %d: what follows was written", n)
		}
	}
}

// TestNormsBF16: norms of rows of bf16 and their gradients, by the kernels that read and write it, have the bits that they have in f32
// rows, but those below the normal numbers.
func TestNormsBF16(t *testing.T) {
	needsRounding(t)
	t.Cleanup(func() { vecRounds = true })
	v := newVecRig(t, 2)
	const rows = 3
	h, f := make([]uint16, 1), make([]float32, 1)
	if !vecNormBF16(h, h, f, f, true, 1, &f[0], &f[0]) {
		t.Fatal("there are no kernels")
	}
	for _, c := range lengths() {
		for _, center := range []bool{false, true} {
			if c == 0 {
				continue
			}
			x, _ := v.random(rows*c, device.BF16)
			dy, _ := v.random(rows*c, device.BF16)
			w, _ := v.random(c, device.F32)
			_, old := v.random(rows*c, device.BF16)
			var of [2][][]float32
			for i, rounds := range []bool{false, true} {
				vecRounds = rounds
				of[i] = v.normBits(device.NormGrad{C: c, X: x, DY: dy, Weight: w, Center: center, AccX: true}, old)
			}
			for i, name := range []string{"y", "mean", "rstd", "dx", "dw", "db"} {
				for j, want := range of[0][i] {
					if math.Abs(float64(want)) < 0x1p-126 {
						want = 0
					}
					if got := of[1][i][j]; got != want {
						t.Fatalf("center %v, rows of %d: %s %d is %g, want %g", center, c, name, j, got, want)
					}
				}
			}
			for _, b := range []device.Buffer{x, dy, w} {
				v.Free(b)
			}
		}
	}
}

// normBits are what Norm makes of the operands of g and then NormGrad, whose DX begins as old.
func (v vecRig) normBits(g device.NormGrad, old []float32) (results [][]float32) {
	y, dx := v.Alloc(len(old), device.BF16), v.Alloc(len(old), device.BF16)
	mean, rstd := v.Alloc(len(old)/g.C, device.F32), v.Alloc(len(old)/g.C, device.F32)
	dw, db := v.Alloc(g.C, device.F32), v.Alloc(g.C, device.F32)
	v.Fill(mean, 0)
	k := device.Norm{C: g.C, X: g.X, Y: y, Weight: g.Weight, Mean: mean, Rstd: rstd, Center: g.Center, Eps: 1e-5}
	if g.Center {
		k.Bias = g.Weight
	}
	v.Norm(k)
	v.Write(dx, old)
	g.DX, g.Mean, g.Rstd, g.DWeight, g.DBias = dx, mean, rstd, dw, db
	v.NormGrad(g)
	for _, b := range []device.Buffer{y, mean, rstd, dx, dw, db} {
		results = append(results, v.values(b))
		v.Free(b)
	}
	return results
}

func hexBF16(h uint16) string {
	return fmt.Sprintf("%#04x (%g)", h, math.Float32frombits(uint32(h)<<16))
}
