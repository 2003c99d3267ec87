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

func randomFloats(n int) []float32 {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	f := make([]float32, n)
	for i := range f {
		f[i] = float32(r.Float64()*2 - 1)
	}
	return f
}
