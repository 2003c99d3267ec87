//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hone/device"
)

// TestFewRowsAreTheSameInABatch gives a row the same bits in products of one row and of sixteen, by dense and by packed weights.
func TestFewRowsAreTheSameInABatch(t *testing.T) {
	const rows, in, out = mostFewRows, 320, 20
	d := openEmulated(t, rising, false)
	x, y, w, p := normal(d, rows*in, device.BF16), normal(d, rows*out, device.BF16), normal(d, out*in, device.BF16), device.NewPacked(d, device.NF4, out, in)
	d.Pack(p, normal(d, out*in, device.F32))
	for name, multiply := range map[string]func(device.MatMul){
		"few_rows":     func(m device.MatMul) { m.B = w; d.MatMul(m) },
		"few_rows_nf4": func(m device.MatMul) { device.MatMulPacked(d, m, p) },
	} {
		read := func(first, n int) []uint16 {
			multiply(device.MatMul{M: n, N: out, K: in, A: x.Slice(first*in, (first+n)*in), TransB: true, C: y.Slice(0, n*out)})
			bits := make([]uint16, n*out)
			if err := d.Read(bits, y.Slice(0, n*out)); err != nil {
				t.Fatal(err)
			}
			return bits
		}
		all := read(0, rows)
		for i := range rows {
			if !slices.Equal(read(i, 1), all[i*out:(i+1)*out]) {
				t.Errorf("%s: row %d has other bits in a batch", name, i)
			}
		}
		if ran := func(k kernel) bool { return strings.HasPrefix(k.name, name) }; !slices.ContainsFunc(slices.Collect(maps.Keys(d.functions)), ran) {
			t.Errorf("%s did not run", name)
		}
	}
}

// fewChecks are products of few rows beside what they should be.
type fewChecks struct {
	t    *testing.T
	d    *Device
	ran  *named
	r    *rand.Rand
	m, k int
}

// operand is a random matrix, its rows stride apart, and what is in it.
func (f *fewChecks) operand(rows, columns, stride int, t device.DType) (device.Buffer, []float32) {
	v := make([]float32, (rows-1)*stride+columns)
	for i := range v {
		v[i] = float32(f.r.NormFloat64())
	}
	b := f.d.Alloc(len(v), t)
	f.d.Write(b, v)
	return b, f.read(b)
}

func (f *fewChecks) read(b device.Buffer) []float32 {
	f.t.Helper()
	v := make([]float32, b.Len)
	if err := f.d.Read(v, b); err != nil {
		f.t.Fatal(err)
	}
	return v
}

// product is one of dense operands, and what it should be.
func (f *fewChecks) product(a device.Buffer, n int, t device.DType) (device.MatMul, []float64) {
	w, v := f.operand(n, f.k, f.k, device.BF16)
	x, want := f.read(a), make([]float64, f.m*n)
	for i := range want {
		for j := range f.k {
			want[i] += float64(x[i/n*f.k+j]) * float64(v[i%n*f.k+j])
		}
	}
	return device.MatMul{M: f.m, N: n, K: f.k, A: a, B: w, C: f.d.Alloc(f.m*n, t), TransB: true}, want
}

// near fails unless b holds want, but for the roundings of sums in f32 and, of BF16, that of the result.
func (f *fewChecks) near(what string, b device.Buffer, want []float64) {
	f.t.Helper()
	for i, got := range f.read(b) {
		bound := 1e-6 * float64(f.k)
		if b.DType == device.BF16 {
			bound += math.Abs(want[i]) / 100
		}
		if !(math.Abs(float64(got)-want[i]) <= bound) {
			f.t.Errorf("%d rows, k %d, %s: number %d of %d is %g, want %g", f.m, f.k, what, i, b.Len, got, want[i])
			return
		}
	}
}

// launched fails unless that was one launch of a kernel for so many rows.
func (f *fewChecks) launched(what, kernel string) {
	f.t.Helper()
	if want := []string{fmt.Sprintf("%s_%d", kernel, over(f.m, 8)*8)}; !slices.Equal(f.ran.ran, want) {
		f.t.Errorf("%d rows, k %d, %s: ran %v, want %v", f.m, f.k, what, f.ran.ran, want)
	}
	f.ran.ran = nil
}

// strided is a product of rows with gaps, with a bias, to which what is in C is added; the gaps of C stay.
func (f *fewChecks) strided(n int) {
	const gap = 8
	lda, ldb, ldc := f.k+gap, f.k+2*gap, n+3
	a, x := f.operand(f.m, f.k, lda, device.BF16)
	w, v := f.operand(n, f.k, ldb, device.BF16)
	c, y := f.operand(f.m, n, ldc, device.F32)
	bias, z := f.operand(1, n, n, device.F32)
	want := make([]float64, len(y))
	for i := range want {
		row, column := i/ldc, i%ldc
		if want[i] = float64(y[i]); column >= n {
			continue
		}
		want[i] += float64(z[column])
		for j := range f.k {
			want[i] += float64(x[row*lda+j]) * float64(v[column*ldb+j])
		}
	}
	f.ran.ran = nil
	f.d.MatMul(device.MatMul{M: f.m, N: n, K: f.k, A: a, B: w, C: c, TransB: true, LDA: lda, LDB: ldb, LDC: ldc, Bias: bias, Accumulate: true})
	what := fmt.Sprintf("n %d with gaps", n)
	f.near(what, c, want)
	f.launched(what, "few_rows")
}

// joined are three products in a launch, two with what is made of them, and one with a sum.
func (f *fewChecks) joined() {
	a, _ := f.operand(f.m, f.k, f.k, device.BF16)
	var calls [3]device.MatMul
	var wants [3][]float64
	for i, n := range []int{7, 1, 9} {
		calls[i], wants[i] = f.product(a, n, device.F32)
	}
	f.ran.ran = nil
	for _, c := range calls {
		f.d.MatMul(c)
	}
	for i, c := range calls {
		f.near(fmt.Sprintf("product %d of three", i), c.C, wants[i])
	}
	f.launched("three products", "few_rows")

	gate, wantGate := f.product(a, 9, device.BF16)
	up, wantUp := f.product(a, 9, device.BF16)
	y := f.d.Alloc(f.m*9, device.BF16)
	f.ran.ran = nil
	f.d.MatMul(gate)
	f.d.MatMul(up)
	f.d.Gated(device.SiLU, y, gate.C, up.C)
	f.near("gate", gate.C, wantGate)
	f.near("up", up.C, wantUp)
	f.launched("a pair", "few_pairs")
	g, u := f.read(gate.C), f.read(up.C)
	want := make([]float64, len(g))
	for i := range want {
		want[i] = float64(g[i]) / (1 + math.Exp(-float64(g[i]))) * float64(u[i])
	}
	f.near("gated", y, want)

	one, wantOne := f.product(a, 7, device.F32)
	x, v := f.operand(f.m, 7, 7, device.F32)
	sum := f.d.Alloc(f.m*7, device.F32)
	f.ran.ran = nil
	f.d.MatMul(one)
	f.d.Binary(device.Add, sum, x, one.C)
	f.near("a product", one.C, wantOne)
	f.launched("a product and a sum", "few_rows")
	for i := range wantOne {
		wantOne[i] += float64(v[i])
	}
	f.near("a sum", sum, wantOne)
}

// TestFewRowsOfAllSizes computes products of each number of rows, of columns that fill no block and of k that fill no read of a warp, or several, alone and
// joined. Nothing behind an operand is touched.
func TestFewRowsOfAllSizes(t *testing.T) {
	for _, k := range []int{8, 24, 72, 136, 264, 1032, 2184} {
		d := openEmulated(t, rising, true)
		ran := &named{driver: d.driver.(orderly).driver, names: map[function]string{}}
		d.driver = orderly{ran, d}
		for m := 1; m <= mostFewRows; m++ {
			f := &fewChecks{t, d, ran, rand.New(rand.NewPCG(uint64(m), uint64(k))), m, k}
			for _, n := range []int{1, 7, 9} {
				f.strided(n)
			}
			f.joined()
		}
	}
}

// TestPackedProductsHaveKernels has products by NF4 in both forms of kernels/nf4.cu, without a bf16 copy of the matrix. A row has the same bits
// among few and among many. What the kernels are slow at is left to the library.
func TestPackedProductsHaveKernels(t *testing.T) {
	const in, out, few, many = 128, leastUnpackedColumns + 64, 20, mostUnpackedRows
	d := openEmulated(t, rising, false)
	x, y := normal(d, (many+1)*in, device.BF16), d.Alloc((many+1)*out, device.BF16)
	for _, form := range []struct {
		transB     bool
		rows, cols int // of the matrix
		kernel     kernel
	}{{true, out, in, kernelNF4Forward}, {false, in, out, kernelNF4Gradient}} {
		p := device.NewPacked(d, device.NF4, form.rows, form.cols)
		d.Pack(p, normal(d, out*in, device.F32))
		product := func(rows, columns int) device.MatMul {
			return device.MatMul{M: rows, N: columns, K: in, A: x.Slice(0, rows*in), TransB: form.transB, C: y.Slice(0, rows*columns)}
		}
		before := d.Memory().InUse
		d.ResetPeak()
		var bits [2][]uint16
		for i, rows := range []int{few, many} {
			device.MatMulPacked(d, product(rows, out), p)
			bits[i] = make([]uint16, few*out)
			if err := d.Read(bits[i], y.Slice(0, few*out)); err != nil {
				t.Fatal(err)
			}
		}
		if peak := d.Memory().Peak; peak != before {
			t.Errorf("%s took %d bytes of memory", form.kernel.name, peak-before)
		}
		if !slices.Equal(bits[0], bits[1]) {
			t.Errorf("%s: a row has other bits among %d than among %d", form.kernel.name, few, many)
		}
		if _, ok := d.functions[form.kernel]; !ok {
			t.Errorf("%s did not run", form.kernel.name)
		}
		if d.MatMulPacked(product(many+1, out), p) {
			t.Error("more rows than that are not left to the library")
		}
		narrow := p
		narrow.Rows, narrow.Cols = min(form.rows, leastUnpackedColumns-64), min(form.cols, leastUnpackedColumns-64)
		if d.MatMulPacked(product(many, leastUnpackedColumns-64), narrow) {
			t.Error("fewer columns than that are not left to the library")
		}
	}
}

// normal makes an operand of random numbers, the same ones for the same size.
func normal(d *Device, n int, t device.DType) device.Buffer {
	v, r := make([]float32, n), rand.New(rand.NewPCG(5, uint64(n)))
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	b := d.Alloc(n, t)
	d.Write(b, v)
	return b
}
