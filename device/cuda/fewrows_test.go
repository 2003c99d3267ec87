//go:build linux && (amd64 || arm64)

package cuda

import (
	"maps"
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
