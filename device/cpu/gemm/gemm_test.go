package gemm

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unsafe"

	"hone/internal/cpuid"
	"hone/internal/fenced"
	"hone/internal/half"
)

// gemmPaths are the kernels that this machine can run, each reached by masking features, bf16's dot products also
// where they are slow, and rows that ask ahead also where they need not. A machine that has a feature and does not
// get its kernels fails. With -short the models of AVX-512 are only for machines that lack some of it.
func gemmPaths(t *testing.T) []*Kernels {
	host := cpuid.Host()
	dots := host
	dots.SlowBF16Dots = false
	other := dots
	other.AskAhead = !host.AskAhead
	var paths []*Kernels
	for _, c := range []struct {
		f    cpuid.Features
		has  bool
		want string
	}{
		{dots, host.HasAVX512BF16(), "avx512bf16"},
		{other, host.HasAVX512(), other.Best()},
		{host.WithoutAVX512BF16(), host.HasAVX512(), "avx512"},
		{host.WithoutAVX512(), host.HasAVX2(), "avx2"},
		{host, host.NEON, "neon"},
		{host.WithoutAssembly(), true, "generic"},
	} {
		if !c.has {
			t.Logf("%s: this machine does not have it", c.want)
			continue
		}
		k := NewKernels(c.f)
		if k.Name != c.want {
			t.Fatalf("a machine with %s got the %s kernels", c.want, k.Name)
		}
		paths = append(paths, k)
	}
	if host.HasAVX2() && (!host.HasAVX512BF16() || !testing.Short()) {
		paths = append(paths, modelKernels(false), modelKernels(true))
	}
	return paths
}

// TestGemmSlowDots: where bf16's dot product is the slow way, many rows and few widen together, which gives them the same bits.
func TestGemmSlowDots(t *testing.T) {
	f := cpuid.Host()
	f.SlowBF16Dots = true
	if k := NewKernels(f); k.BF16 != nil || k.FewPairs != nil || k.Name == "avx512bf16" {
		t.Errorf("%s kernels, pairs of bf16 by tiles %v, by few rows %v", k.Name, k.BF16 != nil, k.FewPairs != nil)
	}
	if f.SlowBF16Dots = false; f.HasAVX512BF16() {
		if k := NewKernels(f); k.BF16 == nil || k.FewPairs == nil {
			t.Errorf("%s kernels, pairs of bf16 by tiles %v, by few rows %v", k.Name, k.BF16 != nil, k.FewPairs != nil)
		}
	}
}

// plainRows convert rows of bf16 as the scalar code does.
var plainRows = Rows{Widen: half.BWiden, Round: half.BRound}

// fma32 is a*b+c rounded once to float32: the sum in double is rounded to odd,
// so that the second rounding decides as if it saw all digits.
func fma32(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	if s-s != 0 { // NaN or infinite
		return float32(s)
	}
	v := s - p
	lost := (p - (s - v)) + (d - v)
	if bits := math.Float64bits(s); lost != 0 && bits&1 == 0 {
		if (lost > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}

// gemmCase is a product with operands as a test sees them: float32 values.
type gemmCase struct {
	Args
	a, b, c []float32 // values of the operands before the product
}

func (m Mat) value(i int) float32 {
	if m.bf16 {
		return half.BToFloat32(halvesAt(m.p, m.n)[i])
	}
	return floatsAt(m.p, m.n)[i]
}

// element is op(A)[i][k] or op(B)[k][j] of a product.
func element(v []float32, trans bool, ld, row, col int) float32 {
	if trans {
		row, col = col, row
	}
	return v[row*ld+col]
}

// want is element (i, j) of product z in the order that Args documents, with
// fused multiply-add or, for the generic kernels, without; block is in elements.
func (g *gemmCase) want(z, i, j, block int, fused bool) float32 {
	var a, b []float32
	if g.K > 0 {
		a, b = g.a[z*g.StrideA:], g.b[z*g.StrideB:]
	}
	old := g.c[z*g.StrideC+i*g.LDC+j]
	var total float32
	started := false
	if g.Accumulate {
		total, started = old, true
	} else if g.Bias != nil {
		total, started = g.Bias[j], true
	}
	for k0 := 0; k0 < g.K; k0 += block {
		var sum float32
		for k := k0; k < min(k0+block, g.K); k++ {
			x, y := element(a, g.TransA, g.LDA, i, k), element(b, g.TransB, g.LDB, k, j)
			if fused {
				sum = fma32(x, y, sum)
			} else {
				sum += float32(x * y)
			}
		}
		if started {
			total += sum
		} else {
			total, started = sum, true
		}
	}
	if g.Accumulate && g.Bias != nil {
		total += g.Bias[j]
	}
	if g.C.bf16 {
		return half.BToFloat32(half.BFromFloat32(total))
	}
	return total
}

// compare checks all of C, also what lies between and after its rows.
func (g *gemmCase) compare(t *testing.T, k *Kernels) {
	t.Helper()
	blocks := max((g.K+kBlockMax-1)/kBlockMax, 1)
	block := ((g.K+blocks-1)/blocks + 7) / 8 * 8
	dot := g.A.bf16 && g.B.bf16 && k.BF16 != nil
	inside := make([]bool, g.C.n)
	for z := range max(g.Batch, 1) {
		for i := range g.M {
			for j := range g.N {
				at := z*g.StrideC + i*g.LDC + j
				inside[at] = true
				got, want := g.C.value(at), g.want(z, i, j, max(block, 1), k.Name != "generic")
				ok := math.Float32bits(got) == math.Float32bits(want)
				if dot { // rounds in its own way
					ok = math.Abs(float64(got-want)) <= 1e-2*(1+math.Abs(float64(want)))
				}
				if !ok {
					t.Fatalf("%s %s: product %d, C[%d][%d] = %v, want %v", k.Name, g, z, i, j, got, want)
				}
			}
		}
	}
	for at := range g.C.n {
		if !inside[at] && g.C.value(at) != g.c[at] {
			t.Fatalf("%s %s: wrote outside C, at element %d", k.Name, g, at)
		}
	}
}

func (g *gemmCase) String() string {
	return fmt.Sprintf("M=%d N=%d K=%d transA=%v transB=%v bf16=%v,%v,%v acc=%v bias=%v batch=%d", g.M, g.N, g.K,
		g.TransA, g.TransB, g.A.bf16, g.B.bf16, g.C.bf16, g.Accumulate, g.Bias != nil, g.Batch)
}

// newCase makes operands of which every row has a gap, at the end of memory that
// may not be read any further. variant chooses forms, dtypes and what is added.
func newCase(guard *[3]fenced.Memory, m, n, k, variant int) *gemmCase {
	g := &gemmCase{Args: Args{M: m, N: n, K: k, TransA: variant&1 != 0, TransB: variant&2 != 0, Batch: 1 + variant%3%2}}
	rowsA, colsA, rowsB, colsB := m, k, k, n
	if g.TransA {
		rowsA, colsA = k, m
	}
	if g.TransB {
		rowsB, colsB = n, k
	}
	gap := variant % 4
	g.LDA, g.LDB, g.LDC = colsA+gap, colsB+gap, n+gap
	g.StrideA, g.StrideB, g.StrideC = rowsA*g.LDA+1, rowsB*g.LDB+2, m*g.LDC+3
	g.Accumulate = variant&16 != 0
	if variant&32 != 0 {
		g.Bias = randomFloats(n)
	}
	size := func(rows, cols, ld, stride int) int {
		if rows == 0 || cols == 0 {
			return 0
		}
		return (g.Batch-1)*stride + (rows-1)*ld + cols
	}
	g.A, g.a = operand(&guard[0], size(rowsA, colsA, g.LDA, g.StrideA), variant&4 != 0, 1)
	g.B, g.b = operand(&guard[1], size(rowsB, colsB, g.LDB, g.StrideB), variant&8 != 0, 2)
	g.C, g.c = operand(&guard[2], size(m, n, g.LDC, g.StrideC), variant&64 != 0, 3)
	return g
}

// operand places n random values at the end of the memory and returns them as they are there.
func operand(m *fenced.Memory, n int, bf16 bool, seed int) (Mat, []float32) {
	values := make([]float32, n)
	state := uint32(seed*7919 + n)
	for i := range values {
		state = state*1664525 + 1013904223
		values[i] = float32(int32(state)>>8) / (1 << 23)
	}
	if !bf16 {
		p := m.Tail(4 * n)
		copy(floatsAt(p, n), values)
		return Mat{p: p, n: n}, values
	}
	p := m.Tail(2 * n)
	for i, v := range values {
		h := half.BFromFloat32(v)
		halvesAt(p, n)[i] = h
		values[i] = half.BToFloat32(h)
	}
	return Mat{p: p, n: n, bf16: true}, values
}

// gemmShapes meet every edge of tiles, packers and blocks of k.
func gemmShapes() (shapes [][3]int) {
	for n := 1; n <= 50; n++ {
		shapes = append(shapes, [3]int{5, n, 9}, [3]int{n, 11, 5})
	}
	for _, n := range []int{63, 64, 65, 71, 72, 73, 95, 96, 97, 111, 112, 113, 144, 145} {
		shapes = append(shapes, [3]int{2, n, 6})
	}
	for k := range 36 {
		shapes = append(shapes, [3]int{3, 10, k})
	}
	return append(shapes, [][3]int{
		{0, 5, 5}, {5, 0, 5}, {0, 0, 0}, {1, 1, 1000}, {6, 30, 255}, {6, 30, 256}, {6, 30, 257}, {7, 26, 511},
		{9, 49, 513}, {4, 24, 1030}, {70, 130, 31}, {33, 97, 300}, {1, 400, 40}, {130, 3, 40},
		{1, 50, 1032}, {5, 70, 264}, {8, 33, 520}, {9, 16, 512}, {13, 47, 1288}, {16, 96, 48}, {17, 40, 64}, {9, 96, 70},
	}...)
}

// TestGemm compares every path bit for bit with a plain loop in the documented order; with -short in four of the forms of each shape.
func TestGemm(t *testing.T) {
	guard := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	for _, k := range gemmPaths(t) {
		t.Run(k.Name, func(t *testing.T) {
			e := New(2, k, plainRows)
			defer e.Pool.Close()
			for n, s := range gemmShapes() {
				for i := range 16 { // all forms and dtypes of A and B
					if testing.Short() && (i+n)%4 != 0 {
						continue
					}
					g := newCase(&guard, s[0], s[1], s[2], i+(n+i)%8*16)
					e.Multiply(&g.Args)
					g.compare(t, k)
				}
			}
		})
	}
}

// TestGemmInPlaceB: of a row-major B that is read where it is, what stands between the rows does not count.
func TestGemmInPlaceB(t *testing.T) {
	guard := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	for _, k := range gemmPaths(t) {
		e := New(2, k, plainRows)
		for _, m := range []int{1, 9, 21} {
			for _, n := range []int{k.Lanes, k.NR, 2*k.NR - k.Lanes} {
				for variant := 0; variant < 64; variant += 16 {
					g := newCase(&guard, m, 2*k.NR, 70, variant)
					g.N = n
					if b := (&block{plan: &plan{Args: g.Args, k: k}, n: n}); !b.readsB() {
						t.Fatalf("%s %s: B is not read where it is", k.Name, g)
					}
					e.Multiply(&g.Args)
					g.compare(t, k)
				}
			}
		}
		e.Pool.Close()
	}
}

// gemmSerial computes g on the calling goroutine by the kernels of s, with the same bits as gemm.
func gemmSerial(g *Args, s *scratch) {
	g.check(s.k)
	if g.M == 0 || g.N == 0 {
		return
	}
	p := &plan{Args: *g, plus: new(plan)}
	p.choose(s.k, 1)
	for t := range p.tasks {
		p.task(t, 1, s)
	}
}

// TestGemmAliasedRows meets row strides of a multiple of 4 KiB, which are copied.
func TestGemmAliasedRows(t *testing.T) {
	for _, k := range gemmPaths(t) {
		s := newScratch(k, plainRows)
		for variant := range 16 {
			var guard [3]fenced.Memory
			for i := range guard {
				guard[i] = fenced.New(t)
			}
			g := newCase(&guard, 6, 5, 20, variant&^1)
			g.Batch, g.LDA = 1, 2048
			g.A, g.a = operand(&guard[0], 5*2048+20, variant&4 != 0, 1)
			g.C, g.c = operand(&guard[2], 5*g.LDC+5, false, 3)
			gemmSerial(&g.Args, s)
			g.compare(t, k)
		}
	}
}

// result runs g on a copy of its C and returns the copy.
func (g gemmCase) result(e *Engine) []float32 {
	c := append([]float32(nil), g.c...)
	g.C = F32(c)
	e.Multiply(&g.Args)
	return c
}

func equalBits(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// TestGemmSameBits: the number of threads, the other rows of the product and, in
// f32, the width of the vectors do not change a bit.
func TestGemmSameBits(t *testing.T) {
	guard, counts := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}, []int{1, 2, 3, 5}
	if testing.Short() {
		counts = []int{1, 3}
	}
	for _, k := range gemmPaths(t) {
		for variant := range 16 {
			if variant > 3 && k.Name != HostKernels().Name && variant%5 != 0 { // the slow ones in part
				continue
			}
			g := newCase(&guard, 45, 150, 304, variant&^16)
			var want []float32
			for _, threads := range counts {
				e := New(threads, k, plainRows)
				got := g.result(e)
				if want == nil {
					want = got
					checkRows(t, g, e, want)
				}
				if !equalBits(got, want) {
					t.Errorf("%s %s: %d threads give other bits", k.Name, g, threads)
				}
				e.Pool.Close()
			}
			if k.Lanes == 16 && !(k.BF16 != nil && g.A.bf16 && g.B.bf16) {
				e := New(2, NewKernels(cpuid.Host().WithoutAVX512()), plainRows)
				if !equalBits(g.result(e), want) {
					t.Errorf("%s %s: AVX2 gives other bits", k.Name, g)
				}
				e.Pool.Close()
			}
		}
	}
}

// TestGemmCaches: what is chosen by the sizes of caches changes no bit.
func TestGemmCaches(t *testing.T) {
	guard := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	for _, k := range gemmPaths(t) {
		rows := 75
		if testing.Short() || strings.HasPrefix(k.Name, "model") {
			rows = 21 // also a few stripes, the last of them in part
		}
		for _, variant := range []int{0, 1, 2, 12, 13, 14} {
			for _, K := range []int{304, 1024} { // rows of the second lie 4 KiB apart in f32
				g := newCase(&guard, rows, 110, K, variant)
				var want []float32
				for _, c := range []struct {
					packs                 int
					asks, copies, columns bool
				}{{768 << 10, false, true, false}, {768 << 10, true, false, true}, {24 << 10, true, false, true}} {
					other := *k
					other.packs, other.asks, other.copies, other.columns = c.packs, c.asks, c.copies, c.columns
					e := New(2, &other, plainRows)
					got := g.result(e)
					e.Pool.Close()
					if want == nil {
						want = got
					}
					if !equalBits(got, want) {
						t.Errorf("%s %s: other bits with %+v", k.Name, g, c)
					}
				}
			}
		}
	}
}

// checkRows multiplies single rows of A and compares with the rows of the whole product.
func checkRows(t *testing.T, g *gemmCase, e *Engine, want []float32) {
	for _, i := range []int{0, 1, 6, 7, 40, 44} {
		row := *g
		row.M, row.Batch = 1, 1
		at := i * g.LDA
		if g.TransA {
			at = i
		}
		row.A = Mat{p: g.A.at(at), n: g.A.n - at, bf16: g.A.bf16}
		row.c = append([]float32(nil), g.c[i*g.LDC:i*g.LDC+g.N]...)
		if !equalBits(row.result(e), want[i*g.LDC:i*g.LDC+g.N]) {
			t.Errorf("%s %s: row %d alone has other bits", e.Kernels.Name, g, i)
		}
	}
}

// TestGemmNotFinite: NaN and Inf reach exactly the elements that depend on them, also through a zero.
func TestGemmNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, k := range gemmPaths(t) {
		for variant := range 32 {
			m, n, kk := 7, 33, 19
			if variant >= 16 {
				kk = 24 // few rows
			}
			a, b, c := make([]float32, m*kk), make([]float32, n*kk), make([]float32, m*n)
			g := Args{M: m, N: n, K: kk, TransA: variant&1 != 0, TransB: variant&2 != 0, A: F32(a), B: F32(b), C: F32(c)}
			set := func(v []float32, trans bool, rows, cols, r, c int, x float32) {
				if trans {
					r, c, cols = c, r, rows
				}
				v[r*cols+c] = x
			}
			set(a, g.TransA, m, kk, 3, 18, nan)
			set(b, g.TransB, kk, n, 2, 30, inf) // times zero is NaN
			if variant&4 != 0 {
				g.A = BF16(bf16Of(a))
			}
			if variant&8 != 0 {
				g.B = BF16(bf16Of(b))
			}
			gemmSerial(&g, newScratch(k, plainRows))
			for i, v := range c {
				if want := i/n == 3 || i%n == 30; (v != v) != want || !want && v != 0 {
					t.Fatalf("%s variant %d: C[%d][%d] = %v", k.Name, variant, i/n, i%n, v)
				}
			}
		}
	}
}

func bf16Of(f []float32) []uint16 {
	h := make([]uint16, len(f))
	half.BRound(h, f)
	return h
}

// TestGemmRounds: a product's sums are rounded to bf16 as the scalar code does, numbers below the normal ones and those that are none too,
// in full tiles and in those at the edges.
func TestGemmRounds(t *testing.T) {
	var in []float32
	for hi := range uint32(1 << 16) {
		in = append(in, math.Float32frombits(hi<<16|[...]uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x8000}[hi%7]))
	}
	const rows = 9
	ones, n := []float32{1, 1, 1, 1, 1, 1, 1, 1, 1}, len(in)
	for _, k := range gemmPaths(t) {
		if strings.HasPrefix(k.Name, "generic") {
			continue // it has no tiles that round
		}
		e, out := New(2, k, plainRows), make([]uint16, rows*n)
		e.Multiply(&Args{M: rows, N: n, K: 1, A: F32(ones), B: F32(in), C: BF16(out)})
		e.Pool.Close()
		for i, got := range out {
			v := in[i%n]
			want := half.BFromFloat32(v)
			if v == 0 { // the sum began with 0
				want = 0
			}
			if got != want {
				t.Fatalf("%s: row %d: %x is rounded to %x, want %x", k.Name, i/n, math.Float32bits(v), got, want)
			}
		}
	}
}

// TestGemmArguments: the assembly counts on fields of 8 bytes, and misuse is refused by name.
func TestGemmArguments(t *testing.T) {
	if s := unsafe.Sizeof(TileArgs{}); s != 27*8 {
		t.Errorf("TileArgs has %d bytes", s)
	}
	if s := unsafe.Sizeof(PackArgs{}); s != 9*8 {
		t.Errorf("PackArgs has %d bytes", s)
	}
	f := make([]float32, 100)
	ok := Args{M: 10, N: 10, K: 10, A: F32(f), B: F32(f), C: F32(f)}
	for name, spoil := range map[string]func(g *Args){
		"negative M":     func(g *Args) { g.M = -1 },
		"short A":        func(g *Args) { g.A.n = 99 },
		"short B":        func(g *Args) { g.LDB = 11 },
		"short C":        func(g *Args) { g.Batch = 2; g.StrideC = 1 },
		"narrow rows":    func(g *Args) { g.LDC = 9 },
		"short bias":     func(g *Args) { g.Bias = f[:9] },
		"negative batch": func(g *Args) { g.Batch = 2; g.StrideA = -1 },
	} {
		g := ok
		spoil(&g)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			gemmSerial(&g, newScratch(HostKernels(), plainRows))
		}()
	}
}

// TestGemmAllocates nothing once its buffers have grown.
func TestGemmAllocates(t *testing.T) {
	e := New(2, HostKernels(), plainRows)
	defer e.Pool.Close()
	guard := [3]fenced.Memory{fenced.New(t), fenced.New(t), fenced.New(t)}
	for _, c := range [][4]int{{65, 70, 300, 2 + 32}, {65, 70, 300, 2 + 64}, {65, 70, 300, 4 + 8}, {64, 64, 64, 1 + 4 + 8 + 16 + 32}} { // two NT, NN and TN
		g := newCase(&guard, c[0], c[1], c[2], c[3])
		if n := testing.AllocsPerRun(20, func() { e.Multiply(&g.Args) }); n != 0 {
			t.Errorf("%s: %v allocations", g, n)
		}
	}
}

// TestGemmPlanBalance checks that the tasks cover C and that none is larger or smaller than the mean by more
// than a step of rows and one of columns: a short last task leaves a worker idle.
func TestGemmPlanBalance(t *testing.T) {
	k := *GenericKernels(cpuid.Host())
	k.MR, k.NR, k.Lanes, k.packs, k.copies = 8, 48, 16, 768<<10, true
	for _, s := range [][3]int{{512, 4096, 4096}, {2048, 1536, 384}, {1024, 50304, 768}, {1000, 576, 1536}, {300, 200, 256}, {17, 4096, 4096}, {100, 49, 30}} {
		for _, threads := range []int{1, 2, 3} {
			var p plan
			p.Args = Args{M: s[0], N: s[1], K: s[2], Batch: 1, A: F32(nil), B: F32(nil), C: F32(nil)}
			p.choose(&k, threads)
			area, least, most := 0, s[0]*s[1], 0
			for i := range p.mTasks {
				at, m := partOf(i, p.mTasks, s[0], p.mStep)
				for j := range p.nTasks {
					from, n := partOf(j, p.nTasks, s[1], p.nStep)
					if m <= 0 || n <= 0 || at+m > s[0] || from+n > s[1] {
						t.Fatalf("%v on %d: task of rows %d+%d, columns %d+%d", s, threads, at, m, from, n)
					}
					area, least, most = area+m*n, min(least, m*n), max(most, m*n)
				}
			}
			if area != s[0]*s[1] {
				t.Errorf("%v on %d: tasks cover %d of %d", s, threads, area, s[0]*s[1])
			}
			mean, slack := area/p.tasks, p.nStep*ceilDiv(s[0], p.mTasks)+p.mStep*ceilDiv(s[1], p.nTasks)+p.mStep*p.nStep
			if most > mean+slack || least < mean-slack {
				t.Errorf("%v on %d: a task of %d among %d of %d on average, least %d", s, threads, most, p.tasks, mean, least)
			}
		}
	}
}
