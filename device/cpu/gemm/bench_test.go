package gemm

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkGemm times training shapes in all forms, on all threads and on one.
func BenchmarkGemm(b *testing.B) {
	for _, threads := range []int{1, 2} {
		e := New(threads, HostKernels(), plainRows)
		defer e.Pool.Close()
		for _, s := range [][4]int{{2048, 1536, 384, 1}, {1024, 768, 3072, 1}, {512, 4096, 4096, 1}, {256, 256, 64, 48}, {256, 64, 256, 48}, {1, 1536, 576, 1}, {1, 49152, 576, 1}, {1, 4096, 4096, 1}, {16, 4096, 4096, 1}, {24, 4096, 4096, 1}} {
			for _, form := range []string{"NT", "NN", "TN"} {
				b.Run(fmt.Sprintf("%dT/%s/%dx%dx%dx%d", threads, form, s[0], s[1], s[2], s[3]), func(b *testing.B) {
					m, n, k := s[0], s[1], s[2]
					g := &Args{M: m, N: n, K: k, TransA: form == "TN", TransB: form == "NT", Accumulate: form == "TN", Batch: s[3], StrideA: m * k, StrideB: n * k, StrideC: m * n}
					g.A, g.B, g.C = F32(randomFloats(m*k*s[3])), F32(randomFloats(n*k*s[3])), F32(randomFloats(m*n*s[3]))
					for b.Loop() {
						e.Multiply(g)
					}
					b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(s[3])*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}

// BenchmarkGemmUpdate times a linear layer of 1024 rows by itself, and with an update of rank 16 added apart and together, one core.
func BenchmarkGemmUpdate(b *testing.B) {
	e := New(1, HostKernels(), plainRows)
	defer e.Pool.Close()
	for _, s := range [][2]int{{576, 576}, {192, 576}, {1536, 576}, {576, 1536}} {
		for _, bf16 := range []bool{false, true} {
			operand := func(n int) Mat {
				if f := randomFloats(n); bf16 {
					return BF16(bf16Of(f))
				} else {
					return F32(f)
				}
			}
			const m, r = 1024, 16
			n, k := s[0], s[1]
			base := Args{M: m, N: n, K: k, A: operand(m * k), B: operand(n * k), C: operand(m * n), TransB: true}
			apart := Args{M: m, N: n, K: r, A: operand(m * r), B: operand(n * r), C: base.C, TransB: true, Accumulate: true}
			together := base
			together.Plus = Plus{K: r, A: apart.A, B: apart.B, TransB: true}
			for _, c := range []struct {
				name string
				list []*Args
			}{{"layer", []*Args{&base}}, {"apart", []*Args{&base, &apart}}, {"together", []*Args{&together}}} {
				b.Run(fmt.Sprintf("%dx%d/bf16=%v/%s", n, k, bf16, c.name), func(b *testing.B) {
					for b.Loop() {
						for _, g := range c.list {
							e.Multiply(g)
						}
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
