//go:build linux && (amd64 || arm64)

package cuda

import (
	"errors"
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

// TestPackedProductsHaveKernels has a product by NF4 in each size and form of kernels/nf4.cu, without a bf16 copy of the matrix.
// Rows have the same bits in both sizes.
func TestPackedProductsHaveKernels(t *testing.T) {
	const in, out, few, many = 64, 72, 20, 130
	d := openEmulated(t, rising, false)
	x, y := normal(d, many*in, device.BF16), normal(d, many*out, device.BF16)
	p, w := device.NewPacked(d, device.NF4, out, in), normal(d, in*out, device.F32)
	d.Pack(p, w)
	toY, toX := d.Alloc(many*out, device.BF16), d.Alloc(many*in, device.BF16)
	before := d.Memory().InUse
	d.ResetPeak()
	var bits [2][]uint16
	for i, rows := range []int{few, many} {
		device.MatMulPacked(d, device.MatMul{M: rows, N: out, K: in, A: x.Slice(0, rows*in), TransB: true, C: toY.Slice(0, rows*out)}, p)
		device.MatMulPacked(d, device.MatMul{M: rows, N: in, K: out, A: y.Slice(0, rows*out), C: toX.Slice(0, rows*in)}, p)
		if peak := d.Memory().Peak; peak != before {
			t.Errorf("products of %d rows took %d bytes of memory", rows, peak-before)
		}
		forward, gradient := make([]uint16, few*out), make([]uint16, few*in)
		if err := errors.Join(d.Read(forward, toY.Slice(0, few*out)), d.Read(gradient, toX.Slice(0, few*in))); err != nil {
			t.Fatal(err)
		}
		bits[i] = append(forward, gradient...)
	}
	if !slices.Equal(bits[0], bits[1]) {
		t.Errorf("a row has other bits among %d than among %d", few, many)
	}
	for _, k := range slices.Concat(kernelsNF4Forward[:], kernelsNF4Gradient[:]) {
		if _, ok := d.functions[k]; !ok {
			t.Errorf("%s did not run", k.name)
		}
	}
	if d.MatMulPacked(device.MatMul{M: mostUnpackedRows + 1, N: out, K: in, A: x, TransB: true, C: y}, p) {
		t.Error("more rows than that are not left to the library")
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
