//go:build linux && (amd64 || arm64)

package cuda

import (
	"math/rand/v2"
	"slices"
	"testing"

	"hone/device"
)

// TestFewRowsAreTheSameInABatch gives a row the same bits in products of one row and of sixteen, by dense and by packed weights.
func TestFewRowsAreTheSameInABatch(t *testing.T) {
	const rows, in, out = mostFewRows, 320, 20
	d, r := openEmulated(t, rising, false), rand.New(rand.NewPCG(5, 6))
	buffer := func(n int, t device.DType) device.Buffer {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		b := d.Alloc(n, t)
		d.Write(b, v)
		return b
	}
	x, y, w, p := buffer(rows*in, device.BF16), buffer(rows*out, device.BF16), buffer(out*in, device.BF16), device.NewPacked(d, device.NF4, out, in)
	d.Pack(p, buffer(out*in, device.F32))
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
		if _, ok := d.functions[kernel{"fewrows", name}]; !ok {
			t.Errorf("%s did not run", name)
		}
	}
}
