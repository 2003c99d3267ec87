package cpu

import (
	"math"
	"testing"

	"hone/device"
)

// TestNF4Code compares the table with the definition, the nearest code and the lower one in the middle, at the middles and their
// neighbours and all over [-1, 1].
func TestNF4Code(t *testing.T) {
	var middles [15]float32
	for c := range middles {
		middles[c] = nf4Middle(c)
	}
	check := func(v float32) {
		want := uint32(0)
		for c, m := range middles {
			if v > m {
				want = uint32(c + 1)
			}
		}
		if got := nf4Code(v); got != want {
			t.Fatalf("the code of %v is %d, want %d", v, got, want)
		}
	}
	inf := float32(math.Inf(1))
	for _, m := range middles {
		for _, v := range []float32{m, math.Nextafter32(m, -inf), math.Nextafter32(m, inf)} {
			check(v)
		}
	}
	for _, c := range device.NF4Codes {
		check(c)
	}
	for _, v := range []float32{math.Nextafter32(1, 2), math.Nextafter32(-1, -2), float32(math.NaN())} { // by rounding, and of damaged weights
		check(v)
	}
	for bits := uint32(0); bits <= math.Float32bits(1); bits += 997 {
		check(math.Float32frombits(bits))
		check(-math.Float32frombits(bits))
		if bits < math.Float32bits(0x1p-7) { // many exponents and nothing between them
			bits += 100_000
		}
	}
}

func BenchmarkPack(b *testing.B) {
	const n = 1536 * 576
	for _, packing := range []device.Packing{device.NF4, device.Int8} {
		b.Run([]string{"", "nf4", "int8"}[packing], func(b *testing.B) {
			d := New(Options{Threads: 1})
			defer d.Close()
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(math.Sin(float64(i*i))) / 50
			}
			whole := d.Alloc(n, device.F32)
			d.Write(whole, x)
			p := device.NewPacked(d, packing, 1536, 576)
			for b.Loop() {
				d.Pack(p, whole)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/number")
		})
	}
}
