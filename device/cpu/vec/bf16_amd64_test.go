//go:build !noasm

package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"hone/device"
	"hone/internal/cpuid"
	"hone/internal/half"
)

// TestPathOf: each machine takes the widest path that it can run, or tests of what this one has would leave it out unseen.
func TestPathOf(t *testing.T) {
	avx2 := cpuid.Features{AVX2: true, FMA: true}
	avx512 := avx2
	avx512.AVX512F, avx512.AVX512BW, avx512.AVX512DQ, avx512.AVX512VL = true, true, true, true
	rounding := avx512
	rounding.AVX512BF16 = true
	for want, f := range map[Path]cpuid.Features{Generic: {AVX2: true}, AVX2: avx2, AVX512: avx512, AVX512BF16: rounding} {
		if got := PathOf(f); got != want || got.String() != f.Best() {
			t.Errorf("a machine with %s takes the path %s, want %s", f.Best(), got, want)
		}
	}
}

// bf16Case is an operation with operands in bf16: run computes what it overwrites of them, in f32 rows of n elements and by the door.
type bf16Case struct {
	name     string
	operands int
	rows     func(r [5][]float32)
	door     func(h [5]*uint16, n int) bool
}

func bf16Cases(op device.UnaryOp) []bf16Case {
	const path = AVX512BF16
	return []bf16Case{
		{"unary", 2, func(r [5][]float32) { path.Unary(op, r[0], r[1]) },
			func(h [5]*uint16, n int) bool { return path.doorUnaryBF16(op, h[0], h[1], n) }},
		{"both", 3, func(r [5][]float32) { path.UnaryBoth(op, r[0], r[1], r[2]) },
			func(h [5]*uint16, n int) bool { return path.doorUnaryBothBF16(op, h[0], h[1], h[2], n) }},
		{"gated", 3, func(r [5][]float32) { path.Gated(op, r[0], r[1], r[2]) },
			func(h [5]*uint16, n int) bool { return path.doorGatedBF16(op, h[0], h[1], h[2], n) }},
		{"gated both", 5, func(r [5][]float32) { path.GatedBoth(op, r[0], r[1], r[2], r[3], r[4]) },
			func(h [5]*uint16, n int) bool { return path.doorGatedBothBF16(op, h[0], h[1], h[2], h[3], h[4], n) }},
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
	const path = AVX512BF16
	r := rand.New(rand.NewPCG(17, 18))
	add := []bf16Case{{"add", 3, func(r [5][]float32) { path.Add(r[0], r[1], r[2]) },
		func(h [5]*uint16, n int) bool { return path.doorBinaryBF16(device.Add, h[0], h[1], h[2], n) }}}
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
		AVX512BF16.Widen(rows[i], h)
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
		want, h := make([]uint16, n), unsafe.Slice((*uint16)(unsafe.Pointer(&x[0])), 2*len(x)) // of the same memory
		for i, v := range x[:n] {
			if want[i] = half.BFromFloat32(v); math.Abs(float64(v)) < 0x1p-126 {
				want[i] &= 0x8000
			}
		}
		last := h[n]
		if !AVX512BF16.Narrow(h[:n], x[:n]) {
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

func hexBF16(h uint16) string {
	return fmt.Sprintf("%#04x (%g)", h, math.Float32frombits(uint32(h)<<16))
}
