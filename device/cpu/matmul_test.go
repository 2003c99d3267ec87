package cpu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device"
)

// TestGemmGroupSameBits: products have the bits together that each has alone, whether their tasks are dealt out to the workers (few rows)
// or not, on any number of threads.
func TestGemmGroupSameBits(t *testing.T) {
	k, rows := 576, []int{1, 5, 40}
	if testing.Short() {
		k, rows = 144, []int{1, 40}
	}
	numbers := randomFloats(1600 * k)
	for _, threads := range []int{1, 2, 3} {
		d := New(Options{Threads: threads})
		for _, dtype := range []device.DType{device.F32, device.BF16} {
			for _, m := range rows {
				for _, arranged := range []bool{false, true} {
					if !arranged || d.engine.Kernels.Arranges(dtype == device.BF16, k) {
						checkGroup(t, d, dtype, m, k, arranged, numbers)
					}
				}
			}
		}
		d.Close()
	}
}

// checkGroup compares products of m rows whose weights differ in size, so that some have a task for each worker and others one or many.
// All operands are stretches of numbers.
func checkGroup(t *testing.T, d *Device, dtype device.DType, m, k int, arranged bool, numbers []float32) {
	fill := func(n int) device.Buffer {
		b := d.Alloc(n, dtype)
		d.Write(b, numbers[len(numbers)-n:])
		return b
	}
	x := fill(m * k)
	var together []device.MatMul
	for _, n := range []int{576, 192, 192, 1536, 8, 1} {
		g := device.MatMul{M: m, N: n, K: k, A: x, B: fill(n * k), TransB: true, C: fill(m * n)}
		if arranged {
			a, ok := d.Arrange(g.B, k, n, true)
			if !ok {
				t.Fatalf("%s arranges no weight [%d, %d]", dtype, n, k)
			}
			g.B, g.Arranged = a.Buf, true
		}
		together = append(together, g)
	}
	read := func(b device.Buffer) []float32 {
		v := make([]float32, b.Len)
		_ = d.Read(v, b) // never fails
		return v
	}
	var want [][]float32
	for _, g := range together {
		d.MatMul(g)
		want = append(want, read(g.C))
		d.Fill(g.C, 0)
	}
	d.MatMuls(together)
	for i, g := range together {
		if !slices.Equal(read(g.C), want[i]) {
			t.Errorf("%s, %s, %d rows, arranged %v: product %d of %d columns has other bits beside others", d.Name(), dtype, m, arranged, i, g.N)
		}
	}
}

// BenchmarkGemmUpdate times a linear layer of 1024 rows by itself, and with an update of rank 16 added apart and together, one core.
func BenchmarkGemmUpdate(b *testing.B) {
	const m, r = 1024, 16
	for _, s := range [][2]int{{576, 576}, {192, 576}, {1536, 576}, {576, 1536}} {
		for _, dtype := range []device.DType{device.F32, device.BF16} {
			d := New(Options{Threads: 1})
			defer d.Close()
			operand := func(n int) device.Buffer {
				x := d.Alloc(n, dtype)
				d.Write(x, randomFloats(n))
				return x
			}
			n, k := s[0], s[1]
			base := device.MatMul{M: m, N: n, K: k, A: operand(m * k), B: operand(n * k), C: operand(m * n), TransB: true}
			plus := device.MatMul{M: m, N: n, K: r, A: operand(m * r), B: operand(n * r), C: base.C, TransB: true, Accumulate: true}
			for _, c := range []struct {
				name string
				run  func()
			}{{"layer", func() { d.MatMul(base) }}, {"apart", func() { d.MatMul(base); d.MatMul(plus) }}, {"together", func() { d.MatMulPlus(base, plus) }}} {
				b.Run(fmt.Sprintf("%dx%d/bf16=%v/%s", n, k, dtype == device.BF16, c.name), func(b *testing.B) {
					for b.Loop() {
						c.run()
					}
				})
			}
		}
	}
}

func randomFloats(n int) []float32 {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	f := make([]float32, n)
	for i := range f {
		f[i] = float32(r.Float64()*2 - 1)
	}
	return f
}
