package device_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

// plain is a device with what every device has and nothing that is optional; it notes what it was asked for.
type plain struct {
	device.Device
	asked []string
}

func newPlain() *plain { return &plain{Device: devicetest.NewReference()} }

func (p *plain) MatMul(m device.MatMul) {
	p.asked = append(p.asked, fmt.Sprintf("%d×%d×%d", m.M, m.N, m.K))
	p.Device.MatMul(m)
}

func (p *plain) Copy2D(c device.Copy2D) {
	p.asked = append(p.asked, fmt.Sprintf("copy %d", c.Rows))
	p.Device.Copy2D(c)
}

// able is a device with all that is optional, which does nothing but note that it was asked.
type able struct {
	*plain
	able bool // to do what it may refuse
}

func (a able) note(what string)                               { a.asked = append(a.asked, what) }
func (a able) MatMulPlus(_, _ device.MatMul)                  { a.note("plus") }
func (a able) MatMulScaled(device.MatMul, float32)            { a.note("scaled") }
func (a able) MatMuls([]device.MatMul)                        { a.note("group") }
func (a able) MatMulSums(device.MatMul, device.Buffer, bool)  { a.note("sums") }
func (a able) LowRankGrad(device.LowRankGrad) bool            { a.note("low rank"); return a.able }
func (a able) MatMulPacked(device.MatMul, device.Packed) bool { a.note("packed"); return a.able }
func (a able) PutRows(_, _, _ device.Buffer)                  { a.note("put") }
func (a able) Bundle(f func())                                { a.note("bundle"); f() }
func (a able) ReadLater(any, device.Buffer) func() error {
	a.note("later")
	return func() error { return errLater }
}
func (a able) AllocZero(n int, t device.DType) device.Buffer { a.note("zero"); return a.Alloc(n, t) }
func (a able) FewRows() int                                  { return map[bool]int{true: 7}[a.able] }
func (a able) Joins() bool                                   { return a.able }

var errLater = errors.New("later")

// numbers puts n ascending numbers on d, from first on.
func numbers(d device.Device, n int, first float64) device.Buffer {
	b, v := d.Alloc(n, device.F32), make([]float64, n)
	for i := range v {
		v[i] = first + float64(i)
	}
	d.Write(b, v)
	return b
}

func read(t *testing.T, d device.Device, b device.Buffer) []float64 {
	t.Helper()
	v := make([]float64, b.Len)
	if err := d.Read(v, b); err != nil {
		t.Fatal(err)
	}
	return v
}

// product is a [m, k] times b [k, n], row-major.
func product(a, b []float64, m, k, n int) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for j := range n {
			for l := range k {
				c[i*n+j] += a[i*k+l] * b[l*n+j]
			}
		}
	}
	return c
}

func turned(a []float64, rows, cols int) []float64 {
	t := make([]float64, len(a))
	for i := range rows {
		for j := range cols {
			t[j*rows+i] = a[i*cols+j]
		}
	}
	return t
}

func added(a, b []float64, scale float64) []float64 {
	sum := slices.Clone(a)
	for i := range sum {
		sum[i] += scale * b[i]
	}
	return sum
}

func same(t *testing.T, what string, got, want []float64) {
	t.Helper()
	for i, w := range want {
		if len(got) != len(want) || math.Abs(got[i]-w) > 1e-6*max(1, math.Abs(w)) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

// TestComposed: on a device without the optional kernels they are put together from those that every device has, with the same results.
func TestComposed(t *testing.T) {
	const m, k, n, r = 3, 4, 5, 2
	d := newPlain()
	a, b, u, v := numbers(d, m*k, 1), numbers(d, k*n, -7), numbers(d, m*r, 2), numbers(d, r*n, 0.5)
	av, bv, uv, vv := read(t, d, a), read(t, d, b), read(t, d, u), read(t, d, v)
	ab, uvv := product(av, bv, m, k, n), product(uv, vv, m, r, n)
	c := numbers(d, m*n, 100)
	first := device.MatMul{M: m, N: n, K: k, A: a, B: b, C: c}

	device.MatMulPlus(d, first, device.MatMul{K: r, A: u, B: v})
	same(t, "MatMulPlus", read(t, d, c), added(ab, uvv, 1))
	wide := numbers(d, m*(n+1), 100) // rows apart: what is between stays
	gaps := first
	gaps.C, gaps.LDC, gaps.Accumulate = wide, n+1, true
	want := read(t, d, wide)
	for i := range m {
		for j := range n {
			want[i*(n+1)+j] += ab[i*n+j] + uvv[i*n+j]
		}
	}
	device.MatMulPlus(d, gaps, device.MatMul{K: r, A: u, B: v})
	same(t, "MatMulPlus on rows apart", read(t, d, wide), want)

	device.MatMulScaled(d, first, -1.5)
	same(t, "MatMulScaled", read(t, d, c), added(make([]float64, m*n), ab, -1.5))

	sums := numbers(d, n, 10)
	column := make([]float64, n)
	for i, x := range bv {
		column[i%n] += x
	}
	device.MatMulSums(d, first, sums, true)
	same(t, "MatMulSums", read(t, d, sums), added([]float64{10, 11, 12, 13, 14}, column, 1))
	same(t, "the product of MatMulSums", read(t, d, c), ab)
	device.MatMulSums(d, first, sums, false)
	same(t, "MatMulSums anew", read(t, d, sums), column)

	other := numbers(d, m*n, 0)
	device.MatMuls(d, []device.MatMul{first, {M: m, N: n, K: r, A: u, B: v, C: other}})
	same(t, "the second of MatMuls", read(t, d, other), uvv)

	du, db := numbers(d, k*r, 0), numbers(d, n*r, 1) // of an output [k, n] with middle [k, r]
	z := numbers(d, k*r, 3)
	low := device.LowRankGrad{N: k, R: r, Out: n, DY: b, U: z, B: numbers(d, n*r, -2), DU: du, DB: db, Scale: 0.5, AccB: true}
	device.LowRankGrads(d, low)
	same(t, "DU of LowRankGrads", read(t, d, du), added(make([]float64, k*r), product(bv, read(t, d, low.B), k, n, r), 0.5))
	same(t, "DB of LowRankGrads", read(t, d, db), added(read(t, d, numbers(d, n*r, 1)), product(turned(bv, k, n), read(t, d, z), n, k, r), 1))
}

// TestPutRows: rows that stand together go in one copy.
func TestPutRows(t *testing.T) {
	d := newPlain()
	dst, x, at := numbers(d, 7*2, 0), numbers(d, 5*2, 100), d.Alloc(5, device.I32)
	rows := []int32{5, 6, 0, 1, 3}
	d.Write(at, rows)
	device.PutRows(d, dst, x, at, rows)
	same(t, "PutRows", read(t, d, dst), []float64{104, 105, 106, 107, 4, 5, 108, 109, 8, 9, 100, 101, 102, 103})
	if !slices.Equal(d.asked, []string{"copy 2", "copy 2", "copy 1"}) {
		t.Errorf("the copies are %v", d.asked)
	}
	device.PutRows(d, dst, x.Slice(0, 0), at.Slice(0, 0), nil) // nothing
	if len(d.asked) != 3 {
		t.Errorf("no rows are copied: %v", d.asked[3:])
	}
}

// TestOptional: what a device has is asked of it, once, and what it has not, or refuses, is composed.
func TestOptional(t *testing.T) {
	for _, yes := range []bool{true, false} {
		p := newPlain()
		d := able{p, yes}
		x := numbers(d, 64*64, 0)
		m := device.MatMul{M: 1, N: 1, K: 1, A: x, B: x.Slice(0, 1), C: x.Slice(8, 9)}
		packed := device.NewPacked(d, device.Int8, 1, 1)
		d.Pack(packed, x.Slice(1, 2))
		before := d.Memory().InUse
		device.MatMulPlus(d, m, m)
		device.MatMulScaled(d, m, 1)
		device.MatMuls(d, []device.MatMul{m})
		device.MatMulSums(d, m, x.Slice(9, 10), false)
		device.PutRows(d, x, x, x, nil)
		device.Bundle(d, func() { p.asked = append(p.asked, "within") })
		if err := device.ReadLater(d, nil, x)(); !errors.Is(err, errLater) {
			t.Errorf("ReadLater says %v", err)
		}
		d.Free(device.AllocZero(d, 1, device.F32))
		want := []string{"plus", "scaled", "group", "sums", "put", "bundle", "within", "later", "zero"}
		if !slices.Equal(p.asked, want) {
			t.Errorf("asked for %v, want %v", p.asked, want)
		}
		p.asked = nil
		device.LowRankGrads(d, device.LowRankGrad{N: 1, R: 1, Out: 1, DY: x.Slice(0, 1), U: x.Slice(1, 2), B: x.Slice(2, 3), DU: x.Slice(3, 4), DB: x.Slice(4, 5)})
		m.A = x.Slice(0, 1)
		device.MatMulPacked(d, m, packed)
		want = []string{"low rank", "packed"}
		if !yes {
			want = []string{"low rank", "1×1×1", "scaled", "packed", "1×1×1"}
		}
		if !slices.Equal(p.asked, want) {
			t.Errorf("able %v: asked for %v, want %v", yes, p.asked, want)
		}
		if got := d.Memory().InUse; got != before {
			t.Errorf("able %v: %d bytes in use, %d before", yes, got, before)
		}
		if device.IsLoose(d) != yes || device.Joins(d) != yes {
			t.Errorf("loose %v and joining %v, want %v", device.IsLoose(d), device.Joins(d), yes)
		}
		packed.Free(d)
		packed.Free(d) // of the zero Packed
	}
	p := newPlain()
	if device.IsLoose(p) || device.Joins(p) {
		t.Error("a device that says nothing of it is loose or joins")
	}
	ran := false
	device.Bundle(p, func() { ran = true })
	b := device.AllocZero(p, 3, device.I32)
	v := []int32{7, 7, 7}
	if err := device.ReadLater(p, v, b)(); err != nil || !ran || !slices.Equal(v, []int32{0, 0, 0}) {
		t.Errorf("ran %v; zeros are %v, %v", ran, v, err)
	}
}

// TestMatMulPacked: without a kernel for it the numbers are unpacked, in A's type, for the time of the product.
func TestMatMulPacked(t *testing.T) {
	d := newPlain()
	for _, packing := range []device.Packing{device.NF4, device.Int8} {
		const m, n, k = 2, 3, 65
		p := device.NewPacked(d, packing, n, k)
		d.Pack(p, numbers(d, n*k, -90))
		w := d.Alloc(n*k, device.F32)
		d.Unpack(w, p)
		a, c := numbers(d, m*k, 1), d.Alloc(m*n, device.F32)
		before := d.Memory().InUse
		device.MatMulPacked(d, device.MatMul{M: m, N: n, K: k, A: a, TransB: true, C: c}, p)
		same(t, "MatMulPacked", read(t, d, c), product(read(t, d, a), turned(read(t, d, w), n, k), m, k, n))
		if got := d.Memory().InUse; got != before {
			t.Errorf("%d bytes in use after the product, %d before", got, before)
		}
		p.Free(d)
	}
}

// TestDrawingNumbers: fractions and masses are whole numbers, and a temperature near 0 leaves the largest logit its weight of 1.
func TestDrawingNumbers(t *testing.T) {
	for p, want := range map[float64]uint64{0: 0, 0.5: 1 << 63, 0.75: 3 << 62, math.Nextafter(1, 0): math.MaxUint64 - 1<<11 + 1} {
		if got := device.Fraction(p); got != want {
			t.Errorf("the fraction of %v is %#x, want %#x", p, got, want)
		}
	}
	for w, want := range map[float32]uint64{0: 0, 1: 1 << 40, 0.5: 1 << 39, 0x1p-41: 0, 0x1p-40: 1} {
		if got := device.Mass(w); got != want {
			t.Errorf("the mass of %v is %d, want %d", w, got, want)
		}
	}
	for temperature, want := range map[float64]float32{1: 1, 0.5: 2, 4: 0.25, 1e-300: 1e30} {
		if got := device.Inverse(temperature); got != want {
			t.Errorf("the inverse of %v is %v, want %v", temperature, got, want)
		}
	}
	if x := device.Inverse(1e-300) * 0; x != 0 { // of the largest logit, less itself
		t.Errorf("the largest logit becomes %v", x)
	}
}

// TestCardLogitRows: at least 2048 rows, and as many as keep logits at 2^28 numbers.
func TestCardLogitRows(t *testing.T) {
	for vocabulary, want := range map[int]int{1 << 17: 2048, 1 << 18: 2048, 50256: 1 << 28 / 50256, 1000: 1 << 28 / 1000} {
		if got := device.CardLogitRows(vocabulary); got != want {
			t.Errorf("%d rows of %d, want %d", got, vocabulary, want)
		}
	}
}

// TestStrides: strides of attention are dense unless given.
func TestStrides(t *testing.T) {
	a := device.Attention{Heads: 6, KVHeads: 2, D: 8}
	if q, kv := a.Strides(); q != 48 || kv != 16 {
		t.Errorf("strides %d and %d, want 48 and 16", q, kv)
	}
	a.LDQ, a.LDKV = 100, 200
	if q, kv := a.Strides(); q != 100 || kv != 200 {
		t.Errorf("strides %d and %d, want 100 and 200", q, kv)
	}
	if c := (&device.CrossEntropy{V: 5}); c.Stride() != 5 {
		t.Errorf("dense logits are %d apart", c.Stride())
	}
	if c := (&device.CrossEntropy{V: 5, LD: 8}); c.Stride() != 8 {
		t.Errorf("logits 8 apart are %d apart", c.Stride())
	}
}
