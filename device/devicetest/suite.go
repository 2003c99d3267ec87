package devicetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"hone/device"
)

// Run compares the kernels of a device with Reference: sizes around the edges
// of blocks and vectors, F32 and BF16 operands, accumulation, absent optional
// operands, results in place of operands where the contract allows it, NaN and
// Inf. The data are random with fixed seeds. With -short it takes fewer sizes
// and shapes of each, for slow machines. open is called once for each group
// of kernels, which run in parallel; it may skip.
func Run(t *testing.T, open func(t *testing.T) device.Device) {
	groups := []struct {
		name string
		test func(p *pair)
	}{
		{"Memory", testMemory},
		{"MatMul", testMatMul},
		{"Fill", testFill},
		{"Unary", testUnary},
		{"Binary", testBinary},
		{"Gated", testGated},
		{"Copy2D", testCopy2D},
		{"Dropout", testDropout},
		{"Norm", testNorm},
		{"Rope", testRope},
		{"Attention", testAttention},
		{"AttentionColumns", testAttentionColumns},
		{"AttentionNaN", testAttentionNaN},
		{"Embedding", testEmbedding},
		{"PutRows", testPutRows},
		{"Route", testRoute},
		{"Combine", testCombine},
		{"CrossEntropy", testCrossEntropy},
		{"Reduce", testReduce},
		{"ColumnSum", testColumnSum},
		{"Split", testSplit},
		{"AdamW", testAdamW},
		{"AdamW8", testAdamW8},
		{"Paged", testPaged},
		{"Pack", testPack},
		{"Arrange", testArrange},
		{"MatMulPacked", testMatMulPacked},
		{"MatMuls", testMatMuls},
		{"MatMulPlus", testMatMulPlus},
		{"MatMulScaled", testMatMulScaled},
		{"LowRankGrad", testLowRankGrad},
		{"MatMulSums", testMatMulSums},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, open(t))
			g.test(p)
			if err := p.dev.Sync(); err != nil {
				t.Errorf("Sync: %v", err)
			}
			p.freeAll()
			if m := p.dev.Memory(); m.InUse != 0 {
				t.Errorf("%d bytes in use after all buffers were freed", m.InUse)
			}
		})
	}
}

// sizes of vectors: around multiples of 8, 16, 32, 64 and 1024. The large ones
// are split between workers.
var (
	sizes      = []int{1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 257, 1025}
	largeSizes = []int{1023, 4097, 16384, 20001}
)

// sizesFor are the sizes to test with some types: the large ones only where all are the same.
func sizesFor(t []device.DType) []int {
	small, large := sizes, largeSizes
	if testing.Short() {
		small, large = []int{1, 8, 17, 63, 65, 1025}, []int{4097}
	}
	for _, u := range t {
		if u != t[0] {
			return small
		}
	}
	return slices.Concat(small, large)
}

// sizesOf is sizesFor the i-th of operations that differ in what they compute alone: with -short the first has all sizes.
func sizesOf(i int, t []device.DType) []int {
	if testing.Short() && i > 0 {
		return []int{63, 1025}
	}
	return sizesFor(t)
}

// sample is all of a list of shapes, with -short every third and the last.
func sample[S any](all []S) []S {
	if !testing.Short() {
		return all
	}
	var some []S
	for i := 0; i < len(all)-1; i += 3 {
		some = append(some, all[i])
	}
	return append(some, all[len(all)-1])
}

var floatTypes = []device.DType{device.F32, device.BF16}

// pair is a device under test beside the reference.
type pair struct {
	*testing.T
	dev  device.Device
	ref  *Reference
	rand *rand.Rand
	some []float32 // normal random numbers, drawn once: tests take stretches of them
	all  []operand
	once bool // the first error is enough: the test ends there
}

// operand is one buffer on both devices, inside a larger one: the elements
// around it must never change.
type operand struct {
	dev, ref           device.Buffer
	devWhole, refWhole device.Buffer
}

// guard is the number of elements on each side of an operand.
const guard = 16

func newPair(t *testing.T, dev device.Device) *pair {
	p := &pair{T: t, dev: dev, ref: NewReference(), rand: rand.New(rand.NewPCG(1, 2)), some: make([]float32, 20011)}
	for i := range p.some {
		p.some[i] = float32(p.rand.NormFloat64())
	}
	return p
}

// empty makes an operand with unknown content.
func (p *pair) empty(n int, t device.DType) operand {
	if t != device.F32 && t != device.BF16 {
		return p.alloc(n, t)
	}
	whole := make([]float32, n+2*guard)
	fill(whole, float32(math.NaN()))
	return p.guarded(t, whole)
}

// floats makes an operand of v, rounded to what t holds.
func (p *pair) floats(t device.DType, v []float32) operand {
	if t == device.BF16 {
		for i := range v {
			v[i] = WidenBF16(RoundBF16(v[i]))
		}
	}
	whole := make([]float32, len(v)+2*guard)
	copy(whole[guard:], v)
	return p.guarded(t, whole)
}

// guarded makes an operand of what stands between the guards of whole, which it sets.
func (p *pair) guarded(t device.DType, whole []float32) operand {
	n := len(whole) - 2*guard
	fill(whole[:guard], 77)
	fill(whole[guard+n:], 77)
	o := p.alloc(n, t)
	p.dev.Write(o.devWhole, whole)
	p.ref.Write(o.refWhole, whole)
	return o
}

func (p *pair) alloc(n int, t device.DType) operand {
	o := operand{devWhole: p.dev.Alloc(n+2*guard, t), refWhole: p.ref.Alloc(n+2*guard, t)}
	o.dev, o.ref = o.devWhole.Slice(guard, guard+n), o.refWhole.Slice(guard, guard+n)
	p.all = append(p.all, o)
	return o
}

// normal makes an operand of n normal random numbers times scale.
func (p *pair) normal(n int, t device.DType, scale float64) operand {
	v := make([]float32, n)
	for done := 0; done < n; {
		done += copy(v[done:], p.some[p.rand.IntN(len(p.some)):])
	}
	for i := range v {
		v[i] *= float32(scale)
	}
	return p.floats(t, v)
}

// positive makes an operand of numbers in (0.1, 1.1).
func (p *pair) positive(n int, t device.DType) operand {
	v := make([]float32, n)
	for i := range v {
		v[i] = 0.1 + p.rand.Float32()
	}
	return p.floats(t, v)
}

func (p *pair) ints(v []int32) operand {
	o := p.empty(len(v), device.I32)
	p.dev.Write(o.dev, v)
	p.ref.Write(o.ref, v)
	return o
}

// indices makes an operand of n random numbers below limit.
func (p *pair) indices(n, limit int) operand {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(p.rand.IntN(limit))
	}
	return p.ints(v)
}

// both runs f on the device under test and on the reference.
func (p *pair) both(f func(d device.Device, at func(o operand) device.Buffer)) {
	if p.once && p.Failed() {
		runtime.Goexit()
	}
	f(p.dev, func(o operand) device.Buffer { return o.dev })
	f(p.ref, func(o operand) device.Buffer { return o.ref })
}

// tolerance of a comparison: |got-want| <= abs + rel·|want|, and in relation to
// the largest number of the operand, for what comes out of cancelling sums.
type tolerance struct{ rel, abs, ofMax float64 }

var (
	exact = tolerance{}
	tight = tolerance{rel: 4e-6, abs: 1e-6}
	sums  = tolerance{rel: 1e-5, abs: 1e-6, ofMax: 1e-5}
)

// check compares an operand and its guards; a BF16 one may also be off by its rounding.
func (p *pair) check(name string, o operand, tol tolerance) {
	p.Helper()
	n := o.devWhole.Len
	got, want := make([]float32, n), make([]float64, n)
	if err := p.dev.Read(got, o.devWhole); err != nil {
		p.Fatalf("%s: %v", name, err)
	}
	if err := p.ref.Read(want, o.refWhole); err != nil {
		p.Fatal(err)
	}
	largest := 0.0
	for _, v := range want[guard : n-guard] {
		if a := math.Abs(v); a > largest && !math.IsInf(v, 0) {
			largest = a
		}
	}
	if o.dev.DType == device.BF16 {
		tol.rel += 1.0 / 256
	}
	for i, w := range want {
		g := float64(got[i])
		limit := tol.abs + tol.rel*math.Abs(w) + tol.ofMax*largest
		ok := math.Abs(g-w) <= limit || g == w || math.IsNaN(g) && math.IsNaN(w)
		if (i < guard || i >= n-guard) && g != w {
			p.Errorf("%s: element %d, outside the %d of the operand, became %g", name, i-guard, n-2*guard, g)
			return
		}
		if !ok {
			p.Errorf("%s: element %d of %d is %g, want %g (off by %.3g, allowed %.3g)", name, i-guard, n-2*guard, g, w, math.Abs(g-w), limit)
			return
		}
	}
}

// freeAll frees the operands made so far.
func (p *pair) freeAll() {
	for _, o := range p.all {
		p.dev.Free(o.devWhole)
		p.ref.Free(o.refWhole)
	}
	p.all = nil
}

// eachTypes runs f for combinations of count float types, named by them: all of
// two, and of three those with an equal first and last.
func (p *pair) eachTypes(count int, f func(name string, t []device.DType)) {
	types := make([]device.DType, count)
	for c := range 1 << count {
		if count == 3 && (c == 1 || c == 3 || c == 4 || c == 6) {
			continue
		}
		name := ""
		for i := range types {
			types[i] = floatTypes[c>>i&1]
			name += " " + types[i].String()
		}
		f(name, types)
		p.freeAll()
	}
}

func testMemory(p *pair) {
	d := p.dev
	d.ResetPeak()
	a, b := d.Alloc(1000, device.F32), d.Alloc(3, device.U8)
	if m := d.Memory(); m.InUse != 4003 || m.Peak != 4003 || m.Held < 4003 {
		p.Errorf("Memory is %+v with 4003 bytes in use", m)
	}
	d.Write(b, []uint8{1, 2, 3})
	bytes := make([]uint8, 2)
	if err := d.Read(bytes, b.Slice(1, 3)); err != nil || bytes[0] != 2 || bytes[1] != 3 {
		p.Errorf("Read gives %v, %v; want 2 3", bytes, err)
	}
	d.Free(a)
	if m := d.Memory(); m.InUse != 3 || m.Peak != 4003 {
		p.Errorf("Memory is %+v with 3 bytes in use", m)
	}
	d.ResetPeak()
	if m := d.Memory(); m.Peak != 3 {
		p.Errorf("Memory is %+v after ResetPeak", m)
	}
	d.Free(b)
	mustPanic(p.T, "Free of a freed buffer", func() { d.Free(b) })
	mustPanic(p.T, "Write of too few elements", func() {
		c := d.Alloc(4, device.F32)
		defer d.Free(c)
		d.Write(c, make([]float32, 3))
	})
	testRounding(p)
	testWidening(p)
	testZero(p)
}

// testZero asks for zeros in memory of all sizes, some of which was used before.
func testZero(p *pair) {
	for round := range 2 {
		var held []device.Buffer
		for _, n := range []int{1, 63, 1000, 40_000, 300_000, 7, 500_000} {
			b := device.AllocZero(p.dev, n, device.F32)
			got := make([]float32, n)
			if err := p.dev.Read(got, b); err != nil {
				p.Fatal(err)
			}
			if i := slices.IndexFunc(got, func(v float32) bool { return v != 0 }); i >= 0 {
				p.Errorf("round %d: element %d of %d zeros is %v", round, i, n, got[i])
			}
			p.dev.Fill(b, 3)
			held = append(held, b)
			if n%2 == 1 { // leaves a hole for those that come
				p.dev.Free(b)
				held = held[:len(held)-1]
			}
		}
		for _, b := range held {
			p.dev.Free(b)
		}
	}
}

// testWidening writes bits of bf16 to F32, on many goroutines at once.
func testWidening(p *pair) {
	const n, part = 4096, 128
	f := p.dev.Alloc(n, device.F32)
	defer p.dev.Free(f)
	bits := make([]uint16, n)
	for i := range bits {
		bits[i] = uint16(i * 15) // of all sizes, no NaN
	}
	var writers sync.WaitGroup
	for lo := 0; lo < n; lo += part {
		writers.Go(func() { p.dev.Write(f.Slice(lo, lo+part), bits[lo:lo+part]) })
	}
	writers.Wait()
	got := make([]float32, n)
	if err := p.dev.Read(got, f); err != nil {
		p.Fatal(err)
	}
	for i, b := range bits {
		if want := WidenBF16(b); got[i] != want && want == want {
			p.Fatalf("%#04x became %v, want %v", b, got[i], want)
		}
	}
}

// testRounding writes float32 to BF16 and reads it back as both types.
func testRounding(p *pair) {
	values := []float32{0, float32(math.Copysign(0, -1)), 1, 1.00390625, 1.01171875, 3.1415927, -1e-40, 3.4e38,
		float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.Float32frombits(0x7f800001)}
	b := p.dev.Alloc(len(values), device.BF16)
	defer p.dev.Free(b)
	p.dev.Write(b, values)
	raw, wide := make([]uint16, len(values)), make([]float32, len(values))
	if err := p.dev.Read(raw, b); err != nil {
		p.Fatal(err)
	}
	if err := p.dev.Read(wide, b); err != nil {
		p.Fatal(err)
	}
	for i, v := range values {
		want := RoundBF16(v)
		if v != v {
			if w := WidenBF16(raw[i]); w == w || wide[i] == wide[i] {
				p.Errorf("NaN became %g in bf16", w)
			}
			continue
		}
		if raw[i] != want || wide[i] != WidenBF16(want) {
			p.Errorf("%g became %#04x (%g) in bf16, want %#04x", v, raw[i], wide[i], want)
		}
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s does not panic", what)
		}
	}()
	f()
}

func label(format string, args ...any) string { return fmt.Sprintf(format, args...) }
