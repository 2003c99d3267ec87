//go:build linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hone/device"
	"hone/device/cuda/kernels"
	"hone/device/cuda/toolkit"
	"hone/device/devicetest"
	"hone/internal/dl"
)

// TestDriverCalls runs the suite through the real driver's code, over a libcuda of the test that has cuda.h's signatures and
// refuses wrong arguments. No product is there, so that all are the device's own kernel's.
func TestDriverCalls(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) device.Device { return openFake(t) })
}

func openFake(t *testing.T) *Device {
	t.Helper()
	return openOver(t, fakeDriver(t))
}

// openOver is a device over a driver that is the test's or wraps it.
func openOver(t *testing.T, dr driver) *Device {
	t.Helper()
	d, err := newDevice(dr, sizesFor(dr.card(), 0))
	if err != nil {
		t.Fatal(err)
	}
	return closedAfter(t, d)
}

func fakeDriver(t *testing.T) *nvidia {
	t.Helper()
	l := needEmulator(t)
	c, err := openCU(l.Library)
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.open(Options{Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	n.compiler = &toolkit.Compiler{Version: "of the test"}
	for _, file := range kernels.Files() {
		path := filepath.Join(n.cache, kernels.CacheName(file, kernels.Source(file), n.info.arch, n.compiler.Version))
		if err := os.WriteFile(path, []byte("compiled"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.lt = noProducts(t, l.Library)
	n.lt.call = n.status
	return n
}

// noProducts is a matrix library that describes everything and has nothing.
func noProducts(t *testing.T, l *dl.Library) *cublasLt {
	t.Helper()
	lt := &cublasLt{library: l, products: map[productKey]*product{}, steady: map[productKey]*product{}}
	for _, f := range []*uintptr{&lt.heuristic, &lt.check} {
		if err := l.Functions(map[string]*uintptr{"hone_no_product": f}); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []*uintptr{&lt.handle, &lt.descCreate, &lt.descSet, &lt.layoutCreate, &lt.layoutSet, &lt.preferenceCreate, &lt.preferenceSet, &lt.preferenceFree} {
		if err := l.Functions(map[string]*uintptr{"hone_described": f}); err != nil {
			t.Fatal(err)
		}
	}
	return lt
}

// TestOutOfMemoryNamesHolders asks for more than the test's driver makes at once. Functions of this package are passed over as owners.
func TestOutOfMemoryNamesHolders(t *testing.T) {
	d := openFake(t)
	var buffers []device.Buffer
	defer func() {
		var e *device.OutOfMemory
		if err, ok := recover().(error); !ok || !errors.As(err, &e) {
			t.Fatalf("the panic is %v", err)
		}
		if e.Asked != 3<<28 || e.InUse != 1<<29 || len(e.Holders) != 2 || e.Holders[0].Name != "testing.tRunner" || e.Holders[0].Bytes != 1<<29 ||
			e.Holders[1].Use != device.Workspace {
			t.Errorf("the error is %+v", e)
		}
		for _, b := range buffers {
			d.Free(b)
		}
	}()
	buffers = append(buffers, d.Alloc(1<<27, device.F32))
	d.Alloc(3<<26, device.F32)
}

// TestAllocZero gives memory that was used before.
func TestAllocZero(t *testing.T) {
	d := openFake(t)
	d.Free(d.Alloc(5000, device.F32))
	b, got := d.AllocZero(5000, device.F32), make([]float32, 5000)
	if err := d.Read(got, b); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v != 0 {
			t.Fatalf("element %d is %g", i, v)
		}
	}
	d.Free(b)
	d.Free(d.AllocZero(0, device.U8))
}

// TestSteadyAlgorithm: the library is asked once for all products of many rows with a weight, and for each of few rows. The test's
// library answers with the sizes that it is asked for. Of what it has for a head the first is taken that overlaps.
func TestSteadyAlgorithm(t *testing.T) {
	d := openFake(t)
	n := d.driver.(orderly).driver.(*nvidia)
	l := n.lt
	for name, f := range map[string]*uintptr{"hone_layout": &l.layoutCreate, "hone_heuristic": &l.heuristic, "hone_described": &l.check, "hone_matmul": &l.matmul, "hone_config": &l.config} {
		if err := l.library.Functions(map[string]*uintptr{name: f}); err != nil {
			t.Fatal(err)
		}
	}
	chosen := func(g gemm) uint64 {
		g.a, g.b, g.c, g.lda, g.ldb, g.ldc = 4096, 8192, 16384, g.k, g.k, g.n
		if g.transA {
			g.lda = g.m
		}
		if err := l.product(n, &g); err != nil {
			t.Fatal(err)
		}
		for key, p := range l.products {
			if key.m == g.m && key.n == g.n && key.transA == g.transA {
				return p.algorithm[0]
			}
		}
		t.Fatalf("%+v was not prepared", g)
		return 0
	}
	for _, c := range []struct {
		g    gemm
		want uint64
	}{
		{gemm{m: 512, n: 64, k: 32, transB: true}, steadyRows}, {gemm{m: 777, n: 64, k: 32, transB: true}, steadyRows}, {gemm{m: 511, n: 64, k: 32, transB: true}, 511},
		{gemm{m: 5, n: 40000, k: 32, transB: true}, steadyRows}, {gemm{m: 600, n: 64, k: 32, transA: true}, 600},
		{gemm{m: 700, n: 50000, k: 32, transB: true, half: true}, 200000 + steadyRows}, {gemm{m: 60000, n: 64, k: 32, transA: true, half: true}, 260000},
		{gemm{m: 701, n: 50000, k: 32, transB: true, half: true, halfC: true}, steadyRows},
	} {
		if got := chosen(c.g); got != c.want {
			t.Errorf("%+v runs the algorithm for %d rows, want %d", c.g, got, c.want)
		}
	}
	if len(l.steady) != 4 {
		t.Errorf("%d algorithms were asked for, want 4", len(l.steady))
	}
}

// TestRowsDoNotDependOnOthers multiplies on a card what training and scoring do, with different numbers of rows, as layers with a bias and without.
func TestRowsDoNotDependOnOthers(t *testing.T) {
	d := openCard(t)
	for _, s := range []struct {
		n, k   int
		biased bool
	}{
		{4096, 4096, false}, {14336, 4096, false}, {4096, 14336, false}, {1024, 4096, false}, {128256, 4096, false}, {768, 768, false}, {50304, 768, false},
		{3072, 768, true}, {768, 3072, true}, {2304, 768, true}, {768, 768, true}, {512, 3584, true}, {3584, 3584, true},
	} {
		const most = 5000
		n, k := s.n, s.k
		a, b, bias := d.Alloc(most*k, device.BF16), d.Alloc(n*k, device.BF16), device.Buffer{}
		writeNormal(d, a)
		writeNormal(d, b)
		if s.biased {
			bias = d.Alloc(n, device.F32)
			writeNormal(d, bias)
		}
		var want []uint16
		for _, m := range []int{most, 4096, 1000, manyRows} {
			c := d.Alloc(m*n, device.BF16)
			d.MatMul(device.MatMul{M: m, N: n, K: k, A: a.Slice(0, m*k), B: b, TransB: true, C: c, Bias: bias})
			got := make([]uint16, manyRows*n)
			if err := d.Read(got, c.Slice(0, manyRows*n)); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("N=%d K=%d: rows with %d beside them differ from those with %d", n, k, m, most)
			}
			d.Free(c)
		}
		d.Free(a)
		d.Free(b)
		if s.biased {
			d.Free(bias)
		}
	}
}

// TestBiasIsRoundedOnce adds on a card biases as large as the sums of a product. What rounds between differs in one element of thirteen.
func TestBiasIsRoundedOnce(t *testing.T) {
	d := openCard(t)
	for _, s := range [][2]int{{3072, 768}, {768, 3072}, {2304, 768}, {768, 768}, {512, 3584}, {3584, 3584}, {64, 32}, {136, 24}} {
		for _, transB := range []bool{false, true} {
			const m = 1000
			n, k := s[0], s[1]
			a, b, bias, c, sums := d.Alloc(m*k, device.BF16), d.Alloc(n*k, device.BF16), d.Alloc(n, device.BF16), d.Alloc(m*n, device.BF16), d.Alloc(m*n, device.F32)
			writeNormal(d, a)
			writeNormal(d, b)
			writeNormal(d, bias)
			d.Scale(bias, float32(math.Sqrt(float64(k))))
			d.MatMul(device.MatMul{M: m, N: n, K: k, A: a, B: b, TransB: transB, C: sums})
			d.MatMul(device.MatMul{M: m, N: n, K: k, A: a, B: b, TransB: transB, C: c, Bias: bias})
			got, product, added := make([]float32, m*n), make([]float32, m*n), make([]float32, n)
			if err := errors.Join(d.Read(got, c), d.Read(product, sums), d.Read(added, bias)); err != nil {
				t.Fatal(err)
			}
			other := 0
			for i, v := range product {
				if want := math.Float32bits(v + added[i%n]); math.Float32bits(got[i]) != (want+0x7fff+want>>16&1)&^0xffff {
					other++
				}
			}
			if other > m*n/100 {
				t.Errorf("N=%d K=%d, transposed %v: %d of %d elements are not the rounded sum with the bias", n, k, transB, other, m*n)
			}
			for _, x := range []device.Buffer{a, b, bias, c, sums} {
				d.Free(x)
			}
		}
	}
}

// writeNormal fills a buffer with random numbers, which repeat after a million.
func writeNormal(d *Device, b device.Buffer) {
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, 1<<20+7)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	for at := 0; at < b.Len; at += len(v) {
		hi := min(at+len(v), b.Len)
		d.Write(b.Slice(at, hi), v[:hi-at])
	}
}
