package gemm

import (
	"testing"
	"unsafe"

	"hone/internal/cpuid"
	"hone/internal/fenced"
	"hone/internal/pages"
)

// denseCase is newCase of a batch whose operands lie side by side, without gaps.
func denseCase(guard *[3]fenced.Memory, m, n, k, batch, variant int) *gemmCase {
	g := &gemmCase{Args: Args{M: m, N: n, K: k, TransA: variant&1 != 0, TransB: variant&2 != 0, Accumulate: variant&16 != 0, Batch: batch}}
	g.StrideA, g.StrideB, g.StrideC = m*k, n*k, m*n
	if variant&32 != 0 {
		g.Bias = randomFloats(n)
	}
	g.A, g.a = operand(&guard[0], batch*m*k, variant&4 != 0, 1)
	g.B, g.b = operand(&guard[1], batch*n*k, variant&8 != 0, 2)
	g.C, g.c = operand(&guard[2], batch*m*n, variant&64 != 0, 3)
	return g
}

// TestGemmBatch compares batches of small products, whose tiles ask for the product after theirs and whose B may be read where it is, bit for bit
// with a plain loop.
func TestGemmBatch(t *testing.T) {
	guard := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	for _, k := range gemmPaths(t) {
		asking := *k
		asking.asks, asking.columns = true, true
		e := New(2, &asking, plainRows)
		for n, s := range [][3]int{{21, 64, 9}, {17, 16, 264}, {17, 100, 8}, {32, 80, 4}} {
			for variant := range 16 {
				if (n+variant)%2 != 0 || testing.Short() && (n+variant)%4 != 0 {
					continue
				}
				g := denseCase(&guard, s[0], s[1], s[2], 3, variant+(n+variant/2)%8*16)
				e.Multiply(&g.Args)
				g.compare(t, k)
			}
		}
		e.Pool.Close()
	}
}

// asked is memory that tiles ask for.
type asked map[uintptr]bool

// recording is k with tiles of f32 that write down what they ask for.
func (a asked) recording(k *Kernels) *Kernels {
	w := *k
	w.F32 = nil
	for r, row := range k.F32 {
		var fs []TileFunc
		for _, f := range row {
			fs = append(fs, func(t *TileArgs) {
				for i := range t.Lines * t.Count * (r + 1) {
					if r+1 == k.MR {
						a[uintptr(t.Next)+uintptr(i%k.MR*t.NextRS+i/k.MR*t.NextStep)] = true
					}
				}
				f(t)
			})
		}
		w.F32 = append(w.F32, fs)
	}
	return &w
}

// TestGemmBatchAsks: before a product begins, the one before it has asked for every line of its operands, and all have asked for little else.
func TestGemmBatchAsks(t *testing.T) {
	const batch = 4
	for _, s := range [][3]int{{64, 16, 64}, {64, 64, 16}, {128, 8, 32}} {
		for form := range 3 {
			lines := asked{}
			k := *GenericKernels(cpuid.Host())
			k.asks = true
			m, n, depth := s[0], s[1], s[2]
			a, b := pages.Floats(batch*m*depth), pages.Floats(batch*n*depth)
			g := Args{M: m, N: n, K: depth, A: F32(a), B: F32(b), C: F32(make([]float32, batch*m*n)), TransA: form == 2, TransB: form == 0,
				Batch: batch, StrideA: m * depth, StrideB: n * depth, StrideC: m * n}
			scratch := newScratch(lines.recording(&k), plainRows)
			g.check(scratch.k)
			p := &plan{Args: g}
			p.choose(scratch.k, 1)
			missing := func(at []float32) (n int) {
				for i := 0; i < len(at); i += 16 {
					if !lines[uintptr(unsafe.Pointer(&at[i]))] {
						n++
					}
				}
				return n
			}
			for z := range batch {
				if z > 0 {
					if n := missing(a[z*g.StrideA:][:g.StrideA]) + missing(b[z*g.StrideB:][:g.StrideB]); n > 0 {
						t.Errorf("%v, form %d: %d lines of product %d were not asked for", s, form, n, z)
					}
				}
				clear(lines)
				p.task(z, 1, scratch)
				whole := (g.StrideA + g.StrideB) / 16
				if least := len(lines); z < batch-1 && (least < whole || least > whole+whole/4) || z == batch-1 && least > g.StrideA/16 {
					t.Errorf("%v, form %d: product %d asked for %d lines, and the next has %d", s, form, z, least, whole)
				}
			}
		}
	}
}

// TestGemmBatchSteal: rows that other workers take from a product of a batch get the bits that its own worker gives them.
func TestGemmBatchSteal(t *testing.T) {
	const m, n, depth, batch = 400, 64, 128, 6
	k := *HostKernels()
	k.asks, k.columns = true, true
	for form, name := range []string{"NT", "NN", "TN"} {
		if testing.Short() && form != 2 {
			continue
		}
		g := gemmCase{c: randomFloats(batch * m * n), Args: Args{M: m, N: n, K: depth, A: F32(randomFloats(batch * m * depth)), B: F32(randomFloats(batch * n * depth)),
			TransA: form == 2, TransB: form == 0, Accumulate: true, Batch: batch, StrideA: m * depth, StrideB: n * depth, StrideC: m * n}}
		taken := 0
		got := g.result(thievingEngine(&k, &taken))
		want := append([]float32(nil), g.c...)
		g.C = F32(want)
		gemmSerial(&g.Args, newScratch(&k, plainRows))
		if !equalBits(got, want) {
			t.Errorf("%s: other bits where workers took rows", name)
		}
		if taken == 0 {
			t.Errorf("%s: nothing was taken", name)
		}
	}
}
