//go:build !noasm

package cpu

import (
	"math"
	"testing"

	"hone/device"
	"hone/device/cpu/vec"
	"hone/internal/cpuid"
)

// TestNormsBF16: norms of rows of bf16 and their gradients, by the kernels that read and write it, have the bits that they have in f32
// rows, but those below the normal numbers.
func TestNormsBF16(t *testing.T) {
	if !cpuid.Host().HasAVX512BF16() {
		t.Skip("this processor has no AVX512_BF16, whose VCVTNEPS2BF16 the kernels round by")
	}
	h, f := make([]uint16, 1), make([]float32, 1)
	if !vec.AVX512BF16.NormBF16(h, h, f, f, true, 1, &f[0], &f[0]) {
		t.Fatal("there are no kernels")
	}
	lengths := []int{1000, 1023, 1024, 1025, 4096, 4097, 10007}
	for n := 1; n <= 200; n++ {
		if !testing.Short() || n <= 20 || n%16 <= 1 || n%16 == 15 {
			lengths = append(lengths, n)
		}
	}
	plain, rounding := newRigOn(t, 2, vec.AVX512), newRigOn(t, 2, vec.AVX512BF16)
	for _, c := range lengths {
		for _, center := range []bool{false, true} {
			want, got := plain.normBits(c, center), rounding.normBits(c, center)
			for i, name := range []string{"y", "mean", "rstd", "dx", "dw", "db"} {
				for j, want := range want[i] {
					if math.Abs(float64(want)) < 0x1p-126 {
						want = 0
					}
					if got := got[i][j]; got != want {
						t.Fatalf("center %v, rows of %d: %s %d is %g, want %g", center, c, name, j, got, want)
					}
				}
			}
		}
	}
}

// normBits are what Norm and then NormGrad, which adds to DX, make of three rows of c random numbers, the same on rigs that did the same before.
func (v rig) normBits(c int, center bool) (results [][]float32) {
	const rows = 3
	x, _ := v.random(rows*c, device.BF16)
	dy, _ := v.random(rows*c, device.BF16)
	w, _ := v.random(c, device.F32)
	dx, _ := v.random(rows*c, device.BF16)
	y, mean, rstd := v.Alloc(rows*c, device.BF16), v.Alloc(rows, device.F32), v.Alloc(rows, device.F32)
	dw, db := v.Alloc(c, device.F32), v.Alloc(c, device.F32)
	v.Fill(mean, 0)
	k := device.Norm{C: c, X: x, Y: y, Weight: w, Mean: mean, Rstd: rstd, Center: center, Eps: 1e-5}
	if center {
		k.Bias = w
	}
	v.Norm(k)
	v.NormGrad(device.NormGrad{C: c, X: x, DY: dy, DX: dx, Weight: w, Mean: mean, Rstd: rstd, DWeight: dw, DBias: db, Center: center, AccX: true})
	for _, b := range []device.Buffer{y, mean, rstd, dx, dw, db} {
		results = append(results, v.values(b))
	}
	for _, b := range []device.Buffer{x, dy, w, y, mean, rstd, dx, dw, db} {
		v.Free(b)
	}
	return results
}
