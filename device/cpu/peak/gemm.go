package peak

import (
	"fmt"
	"time"
	"unsafe"

	"hone/device/cpu/gemm"
	"hone/internal/clock"
	"hone/internal/cpuid"
	"hone/internal/half"
	"hone/internal/pages"
)

// GEMMShape is a product to time. M, N and K are those of the product itself:
// C[M, N] = op(A)[M, K] · op(B)[K, N], Batch times.
type GEMMShape struct {
	Form    string // "NT" (X·Wᵀ), "NN" (dY·W) or "TN" (dYᵀ·X, accumulated)
	BF16    bool   // A and B in bf16; C is f32
	M, N, K int
	Batch   int // 0 means 1
}

// GEMMRow is the result of timing one shape.
type GEMMRow struct {
	GEMMShape
	GFLOPS      float64 // best of the runs
	ShareOfPeak float64 // of the peak of the arithmetic that the kernel uses, measured in the same runs
}

// TrainingShapes are the products of a layer of small transformers: for each
// linear layer the forward product, the gradient of its input and of its weight,
// then attention's products of one head, in f32 and in bf16.
func TrainingShapes() []GEMMShape {
	var shapes []GEMMShape
	for _, bf16 := range []bool{false, true} {
		for _, s := range [][3]int{ // tokens, outputs, inputs
			{2048, 1536, 384}, {2048, 384, 1536}, {1024, 3072, 768}, {1024, 768, 3072}, {1024, 50304, 768}, {512, 4096, 4096},
		} {
			t, out, in := s[0], s[1], s[2]
			shapes = append(shapes,
				GEMMShape{"NT", bf16, t, out, in, 1},
				GEMMShape{"NN", bf16, t, in, out, 1},
				GEMMShape{"TN", bf16, out, in, t, 1})
		}
		shapes = append(shapes,
			GEMMShape{"NT", bf16, 256, 256, 64, 48},
			GEMMShape{"NN", bf16, 256, 64, 256, 48},
			GEMMShape{"TN", bf16, 256, 64, 256, 48})
	}
	return shapes
}

// BenchGEMM times each shape runs times (at least 3) on the given number of
// threads, 0 for all cores. Each run measures the machine's peak first, and the best of all runs
// counts on both sides, so that a busy moment harms neither. Of a shape whose call takes slowCall there
// is one, so that a sweep without vectors takes minutes. It panics on an unknown form.
func BenchGEMM(threads int, shapes []GEMMShape, runs int) []GEMMRow {
	e := gemm.New(threadsOrAll(threads), gemm.HostKernels(), gemm.Rows{})
	defer e.Pool.Close()
	rows := make([]GEMMRow, len(shapes))
	operands, best := make([]gemm.Args, len(shapes)), make([]time.Duration, len(shapes))
	for i, s := range shapes {
		rows[i].GEMMShape, operands[i] = s, s.args()
	}
	var peak Peak
	for range max(runs, 3) {
		now := measurePeak(e.Pool, cpuid.Host(), 4*time.Millisecond, 4)
		peak.F32, peak.BF16 = max(peak.F32, now.F32), max(peak.BF16, now.BF16)
		for i := range shapes {
			best[i] = shortest(best[i], 3, func() { e.Multiply(&operands[i]) })
		}
	}
	for i := range rows {
		g := &operands[i]
		flops := 2 * float64(g.M) * float64(g.N) * float64(g.K) * float64(max(g.Batch, 1))
		rows[i].GFLOPS = flops / float64(best[i])
		limit := peak.F32
		if rows[i].BF16 && peak.BF16 > 0 {
			limit = peak.BF16
		}
		rows[i].ShareOfPeak = rows[i].GFLOPS / limit
	}
	return rows
}

// slowCall is far more than a call takes with vectors. Without them a product with a vocabulary takes ten to fifteen seconds.
const slowCall = 2 * time.Second

// shortest is the least of best, where that is not 0, and the times of n calls. When it is a slow call's, there are no more.
func shortest(best time.Duration, n int, call func()) time.Duration {
	for i := 0; i < n && best < slowCall; i++ {
		start := clock.Now()
		call()
		if took := clock.Since(start); best == 0 || took < best {
			best = took
		}
	}
	return best
}

// args makes operands for s, filled with small numbers.
func (s GEMMShape) args() gemm.Args {
	if s.Form != "NT" && s.Form != "NN" && s.Form != "TN" {
		panic(fmt.Sprintf("peak: BenchGEMM of form %q; use NT, NN or TN", s.Form))
	}
	batch := max(s.Batch, 1)
	operand := func(n int) gemm.Mat {
		f := pages.Floats(n * batch)
		for i := range f {
			f[i] = float32(i%13-6) / 8
		}
		if !s.BF16 {
			return gemm.F32(f)
		}
		h := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(pages.Floats((len(f)+1)/2)))), len(f))
		for i, v := range f {
			h[i] = half.BFromFloat32(v)
		}
		return gemm.BF16(h)
	}
	c := pages.Floats(s.M * s.N * batch)
	clear(c)
	return gemm.Args{
		M: s.M, N: s.N, K: s.K, A: operand(s.M * s.K), B: operand(s.N * s.K), C: gemm.F32(c),
		TransA: s.Form == "TN", TransB: s.Form == "NT", Accumulate: s.Form == "TN",
		Batch: batch, StrideA: s.M * s.K, StrideB: s.N * s.K, StrideC: s.M * s.N,
	}
}
