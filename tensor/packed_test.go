package tensor

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

// arranging is a device that multiplies by weights in an order of its own, which is the opposite one, and by
// several at once.
type arranging struct {
	*devicetest.Reference
	refuses                       bool
	ordered, back, groups, single int // products by arranged weights, weights put back, groups of products, products alone
}

func (a *arranging) reverse(dst, src device.Buffer) {
	v := make([]float64, src.Len)
	if err := a.Read(v, src); err != nil {
		panic(err)
	}
	slices.Reverse(v)
	a.Write(dst, v)
}

func (a *arranging) Arrange(b device.Buffer, k, n int, transB bool) (device.Arranged, bool) {
	if a.refuses {
		return device.Arranged{}, false
	}
	if k*n != b.Len {
		panic("a weight of another size")
	}
	o := device.Arranged{K: k, N: n, TransB: transB, Buf: a.Alloc(b.Len, b.DType)}
	a.reverse(o.Buf, b)
	return o, true
}

func (a *arranging) Rearrange(y device.Buffer, o device.Arranged) {
	a.back++
	a.reverse(y, o.Buf)
}

func (a *arranging) ArrangedRows(y device.Buffer, o device.Arranged, ids device.Buffer) {
	table := a.Alloc(o.Buf.Len, o.Buf.DType)
	a.reverse(table, o.Buf)
	a.Embedding(y, table, ids)
	a.Free(table)
}

func (a *arranging) MatMul(m device.MatMul) {
	a.single++
	a.product(m)
}

func (a *arranging) product(m device.MatMul) {
	if m.Arranged {
		a.ordered++
		b := a.Alloc(m.B.Len, m.B.DType)
		defer a.Free(b)
		a.reverse(b, m.B)
		m.B, m.Arranged = b, false
	}
	a.Reference.MatMul(m)
}

func (a *arranging) MatMuls(list []device.MatMul) {
	a.groups++
	for _, m := range list {
		if m.M == 0 {
			panic("a product of nothing")
		}
		a.product(m)
	}
}

// TestArrange: a weight in the device's order serves the products that it is ordered for as it is, look-ups
// by rows of it, and all else after it is put back; it is frozen for good, and its memory is the only one.
func TestArrange(t *testing.T) {
	dev := &arranging{Reference: devicetest.NewReference()}
	tape := NewTape(dev, device.F32)
	tape.Infer()
	x, y := tape.Constant(floats(8), 2, 4), tape.Constant(floats(6), 2, 3)
	w := param(dev, 3, 4)
	values, err := w.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	ids := tape.Ints([]int32{2, 0})
	use := func() [][]float64 {
		return [][]float64{float64s(t, Linear(x, w, nil)), float64s(t, Embedding(ids, w)), float64s(t, Head{Weight: w}.Logits(x)), float64s(t, Linears(x, Weights{W: w})[0])}
	}
	want, turned := use(), float64s(t, Conv1D(y, w, nil))
	before := dev.Memory().InUse
	w.Arrange(true)
	if w.order.K != 4 || w.order.N != 3 {
		t.Errorf("a weight of 4 inputs and 3 outputs is arranged as one of %d and %d", w.order.K, w.order.N)
	}
	if got := dev.Memory().InUse; got != before || w.NeedsGrad() {
		t.Errorf("%d bytes in use with the weight arranged, %d before; it wants a gradient: %v", got, before, w.NeedsGrad())
	}
	held := dev.Memory().InUse
	dev.ordered, dev.groups = 0, 0
	if got := use(); !slices.EqualFunc(got, want, slices.Equal[[]float64]) || dev.ordered != 3 || dev.back != 0 || dev.groups != 1 {
		t.Errorf("%v by the arranged weight, %v before; %d products by it, %d groups, put back %d times", got, want, dev.ordered, dev.groups, dev.back)
	}
	if got := float64s(t, Conv1D(y, w, nil)); !slices.Equal(got, turned) || dev.back != 1 {
		t.Errorf("%v by the weight the other way round, %v before; put back %d times", got, turned, dev.back)
	}
	if got, err := w.Float32s(); err != nil || !slices.Equal(got, values) {
		t.Errorf("values are %v, %v, before %v", got, err, values)
	}
	w.Thaw()
	if w.NeedsGrad() {
		t.Error("an arranged weight thaws")
	}
	w.Arrange(true) // again: nothing to do
	tape.Reset()
	if got := dev.Memory().InUse; got > held {
		t.Errorf("%d bytes in use, %d when it was arranged", got, held)
	}
	tape.Infer()
	var e *Error
	if err := Try(func() { Add(tape.Constant(floats(12), 3, 4), w) }); !errors.As(err, &e) || !strings.Contains(err.Error(), "only linear layers") {
		t.Errorf("a sum with an arranged weight: %v", err)
	}
	tape.Reset()
	w.Free()
	w.Free() // nothing is left to free
	if got := dev.Memory().InUse; got != 0 {
		t.Errorf("%d bytes in use after Free", got)
	}
}

// TestArrangeConv1D: a weight stored [in, out] serves Conv1D as it is, and Linear after it is put back.
func TestArrangeConv1D(t *testing.T) {
	dev := &arranging{Reference: devicetest.NewReference()}
	tape := NewTape(dev, device.F32)
	tape.Infer()
	x, y, w := tape.Constant(floats(6), 2, 3), tape.Constant(floats(8), 2, 4), param(dev, 3, 4)
	want, turned := float64s(t, Conv1D(x, w, nil)), float64s(t, Linear(y, w, nil))
	w.Arrange(false)
	if w.order.K != 3 || w.order.N != 4 {
		t.Errorf("a weight of 3 inputs and 4 outputs is arranged as one of %d and %d", w.order.K, w.order.N)
	}
	if got := float64s(t, Conv1D(x, w, nil)); !slices.Equal(got, want) || dev.ordered != 1 || dev.back != 0 {
		t.Errorf("%v by the arranged weight, %v before; %d products by it, put back %d times", got, want, dev.ordered, dev.back)
	}
	if got := float64s(t, Linear(y, w, nil)); !slices.Equal(got, turned) || dev.back != 1 {
		t.Errorf("%v by the weight the other way round, %v before; put back %d times", got, turned, dev.back)
	}
	tape.Reset()
}

// TestArrangeBeside: the weight stays as it is, trainable and readable, beside a copy that
// products use until it is given back.
func TestArrangeBeside(t *testing.T) {
	dev := &arranging{Reference: devicetest.NewReference()}
	tape := NewTape(dev, device.F32)
	w := param(dev, 3, 4)
	before := dev.Memory().InUse
	product := func() []float64 {
		tape.Infer()
		defer tape.Reset()
		return float64s(t, Linear(tape.Constant(floats(8), 2, 4), w, nil))
	}
	want := product()
	done := w.ArrangeBeside(true)
	if !w.NeedsGrad() || w.Buffer().Len != 12 || dev.Memory().InUse != 2*before {
		t.Errorf("the weight is frozen or gone, or %d bytes are not two copies of %d", dev.Memory().InUse, before)
	}
	if got := product(); !slices.Equal(got, want) || dev.ordered != 1 {
		t.Errorf("%v by the copy, %v before; %d products by it", got, want, dev.ordered)
	}
	if _, err := w.Float32s(); err != nil || dev.back != 0 {
		t.Errorf("values that are there are read from the copy: %v, put back %d times", err, dev.back)
	}
	tape.Train(1, 0, 0)
	if tape.Backward(Sum(Embedding(tape.Ints([]int32{2, 0, 2}), w))); w.Grad().IsZero() {
		t.Error("a table beside its copy does not learn")
	}
	w.FreeGrad()
	tape.Reset()
	w.ArrangeBeside(true)() // one is there: the second changes nothing, nor does its end
	if got := product(); !slices.Equal(got, want) || dev.ordered != 2 {
		t.Errorf("after a second one %v, %v before; %d products by a copy", got, want, dev.ordered)
	}
	done()
	if got := product(); !slices.Equal(got, want) || dev.ordered != 2 || dev.Memory().InUse != before {
		t.Errorf("afterwards %v, before %v; %d products by a copy; %d bytes in use, %d before", got, want, dev.ordered, dev.Memory().InUse, before)
	}
	dev.refuses = true
	w.ArrangeBeside(true)()
	w.Arrange(true)
	if !w.NeedsGrad() || dev.Memory().InUse != before {
		t.Error("a device that would gain nothing takes the weight")
	}
	dev.refuses = false
	few := NewParam(3, 64)
	few.Pack(dev, device.F32, device.Int8, floats(3*64))
	if few.Arrange(true); few.Packing() != device.Int8 || few.order != nil {
		t.Error("a weight in few bits is arranged")
	}
	plain := param(devicetest.NewReference(), 3, 4)
	plain.Arrange(true) // no Arranger
	if !plain.NeedsGrad() {
		t.Error("a device that cannot arrange freezes the weight")
	}
}

// TestLinearsAtOnce: layers of one input are one call of a device that has such a call, unless one of them
// has to be unpacked or put back for it.
func TestLinearsAtOnce(t *testing.T) {
	dev := &arranging{Reference: devicetest.NewReference()}
	tape := NewTape(dev, device.F32)
	w, v, b := param(dev, 3, 64), param(dev, 2, 64), param(dev, 2)
	few, turned := NewParam(2, 64), param(dev, 2, 64)
	few.Pack(dev, device.F32, device.Int8, floats(128))
	turned.Arrange(false) // for products by [in, out]
	for _, c := range []struct {
		second         *Tensor
		groups, single int
	}{{v, 1, 0}, {v, 1, 0}, {few, 0, 2}, {turned, 0, 2}} {
		tape.Infer()
		x := tape.Constant(floats(128), 2, 64)
		dev.groups, dev.single = 0, 0
		ys := Linears(x, Weights{W: w}, Weights{c.second, b})
		if dev.groups != c.groups || dev.single != c.single {
			t.Errorf("%d groups and %d products alone, want %d and %d", dev.groups, dev.single, c.groups, c.single)
		}
		for i, want := range []*Tensor{Linear(x, w, nil), Linear(x, c.second, b)} {
			if !slices.Equal(ys[i].Shape, want.Shape) || !slices.Equal(float64s(t, ys[i]), float64s(t, want)) {
				t.Errorf("layer %d: %v, alone %v", i, float64s(t, ys[i]), float64s(t, want))
			}
		}
		tape.Reset()
	}
	if len(tape.products) > 0 && tape.products[0].A.Mem != nil {
		t.Error("the tape holds on to operands of products that are done")
	}
}

// TestPacked: a weight in few bits computes as its numbers do, which are within half a step of what
// it was made of; it never learns.
func TestPacked(t *testing.T) {
	dev := devicetest.NewReference()
	v := floats(4 * 64)
	for _, packing := range []device.Packing{device.NF4, device.Int8} {
		w := NewParam(4, 64)
		w.Pack(dev, device.F32, packing, v)
		if w.Packing() != packing || w.NeedsGrad() || w.DType() != device.F32 {
			t.Errorf("packing is %v, needs a gradient: %v, type %v", w.Packing(), w.NeedsGrad(), w.DType())
		}
		if w.packed.Rows != 4 || w.packed.Cols != 64 {
			t.Errorf("a weight of 4 rows and 64 columns is packed as %d and %d", w.packed.Rows, w.packed.Cols)
		}
		w.Thaw()
		if w.NeedsGrad() {
			t.Error("a packed weight thaws")
		}
		got, err := w.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		largest := slices.MaxFunc(v, func(a, b float32) int { return int(1e6 * (max(a, -a) - max(b, -b))) })
		step := map[device.Packing]float32{device.NF4: 0.16, device.Int8: 0.5 / 127}[packing] * max(largest, -largest)
		for i := range v {
			if d := got[i] - v[i]; d > step || d < -step {
				t.Errorf("packing %v: number %d was %v and is %v", packing, i, v[i], got[i])
				break
			}
		}
		dense := NewParam(4, 64)
		dense.Set(dev, device.F32, got)
		tape := NewTape(dev, device.F32)
		before := dev.Memory().InUse
		tape.Infer()
		x := tape.Constant(floats(2*64), 2, 64)
		u := Update{X: x, A: param(dev, 3, 64), B: param(dev, 4, 3), Scale: 2}
		closeTo(t, "a product", float64s(t, Linear(x, w, nil)), float64s(t, Linear(x, dense, nil)))
		closeTo(t, "an updated product", float64s(t, Updated(x, w, nil, true, u)), float64s(t, Updated(x, dense, nil, true, u)))
		u.A.Free()
		u.B.Free()
		tape.Reset()
		if held := dev.Memory().InUse - before; held != 0 {
			t.Errorf("%d bytes are left of what was unpacked", held)
		}
		w.Free()
		w.Free() // nothing is left to free
		dense.Free()
	}
	if p := param(dev, 2, 2); p.Packing() != device.Unpacked {
		t.Errorf("a plain parameter is packed as %v", p.Packing())
	}
	if held := dev.Memory().InUse; held != 16 {
		t.Errorf("%d bytes in use, want those of one parameter", held)
	}
}

// multiplying is a device that multiplies by weights in few bits as they are, but by those of columns alone.
type multiplying struct {
	*devicetest.Reference
	able     bool
	products int
}

func (m *multiplying) MatMulPacked(p device.MatMul, w device.Packed) bool {
	if !m.able {
		return false
	}
	m.products++
	device.MatMulPacked(m.Reference, p, w)
	return true
}

// TestUpdatedPacked: an update of a layer in few bits is added to the product that the device makes of it, or
// comes with one by unpacked numbers.
func TestUpdatedPacked(t *testing.T) {
	dev := &multiplying{Reference: devicetest.NewReference()}
	w, a, b := NewParam(4, 64), param(dev, 2, 64), param(dev, 4, 2)
	w.Pack(dev, device.F32, device.Int8, floats(4*64))
	tape := NewTape(dev, device.F32)
	var want [][]float64
	for _, able := range []bool{false, true} {
		dev.able = able
		before := dev.Memory().InUse
		tape.Train(1, 0, 0)
		x := tape.Constant(floats(3*64), 3, 64)
		x.needsGrad = true
		y := Updated(x, w, nil, true, Update{X: x, A: a, B: b, Scale: 2})
		got := [][]float64{float64s(t, y)}
		tape.Backward(Sum(Mul(y, y)))
		for _, p := range []*Tensor{x, a, b} {
			g := make([]float64, p.Len())
			if err := dev.Read(g, p.Grad()); err != nil {
				t.Fatal(err)
			}
			got = append(got, g)
			p.FreeGrad()
		}
		tape.Reset()
		if held := dev.Memory().InUse - before; held != 0 {
			t.Errorf("able %v: %d bytes are left", able, held)
		}
		if want == nil {
			want = got
		}
		for i := range want {
			closeTo(t, "the output and gradients", got[i], want[i])
		}
	}
	if dev.products != 2 {
		t.Errorf("%d products by the packed weight, want the output and its gradient", dev.products)
	}
	tape.Infer()
	x := tape.Constant(floats(3*64), 3, 64)
	if Linear(x, w, nil); dev.products != 3 {
		t.Errorf("%d products by the packed weight, want one more without an update", dev.products)
	}
	if Updated(x, param(dev, 4, 64), nil, true, Update{X: x, A: a, B: b, Scale: 2}); dev.products != 3 {
		t.Errorf("a plain weight is multiplied as a packed one")
	}
	tape.Reset()
}

// broken is a device that cannot be read.
type broken struct{ *devicetest.Reference }

func (broken) Read(any, device.Buffer) error { return errors.New("the card fell off") }

// TestReadsReportFailure: whatever reads the device says what the device says, in the midst of a step as an
// error of the step.
func TestReadsReportFailure(t *testing.T) {
	dev := broken{devicetest.NewReference()}
	tape := NewTape(dev, device.F32)
	tape.Train(1, 0, 0)
	x := tape.Constant(floats(4), 1, 4)
	x.needsGrad = true
	for name, f := range map[string]func() error{
		"Float32s":  func() error { _, err := x.Float32s(); return err },
		"Item":      func() error { _, err := Sum(x).Item(); return err },
		"ItemLater": func() error { _, err := Sum(x).ItemLater()(); return err },
		"Values":    func() error { return Try(func() { Values(x) }) },
		"Route":     func() error { return Try(func() { Route(x, 1, nil) }) },
		"Backward":  func() error { return Try(func() { tape.Backward(Scale(Sum(x), 2)) }) }, // a sum's gradient that is not 1
		"GradFloat32s": func() error {
			p := param(dev, 2)
			p.gradBuffer()
			_, err := p.GradFloat32s()
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), "the card fell off") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// the gradient of a loss is known to be 1: nothing waits for the device
	if err := Try(func() {
		tape.Backward(LinearCrossEntropy(x, Head{Weight: param(dev, 3, 4)}, tape.Ints([]int32{1}), CrossEntropyOptions{Tokens: 1}))
	}); err != nil {
		t.Errorf("a backward pass reads from the device: %v", err)
	}
	tape.Reset()
}

// summing is a device that sums columns while it multiplies.
type summing struct {
	*devicetest.Reference
	sums, products int
}

func (s *summing) MatMul(m device.MatMul) {
	s.products++
	s.Reference.MatMul(m)
}

func (s *summing) MatMulSums(m device.MatMul, sums device.Buffer, acc bool) {
	s.sums++
	device.MatMulSums(s.Reference, m, sums, acc)
}

// TestBiasOfConv1D: the gradient of its bias comes with the product that the weight's is, which reads the
// same matrix; that of Linear's does not.
func TestBiasOfConv1D(t *testing.T) {
	for name, c := range map[string]struct {
		layer          func(x, w, b *Tensor) *Tensor
		frozen         bool // the weight
		sums, products int  // beside those
	}{"Conv1D": {Conv1D, false, 1, 1}, "Conv1D of a frozen weight": {Conv1D, true, 0, 1}, "Linear": {Linear, false, 0, 2}} {
		dev := &summing{Reference: devicetest.NewReference()}
		w, b := param(dev, 3, 3), param(dev, 3)
		w.needsGrad = !c.frozen
		tape := NewTape(dev, device.F32)
		tape.Train(1, 0, 0)
		tape.Backward(Sum(c.layer(tape.Constant(floats(6), 2, 3), w, b)))
		if g, err := b.GradFloat32s(); err != nil || !slices.Equal(g, []float32{2, 2, 2}) || dev.sums != c.sums || dev.products != c.products {
			t.Errorf("%s: the gradient is %v, %v; %d products with sums and %d without, want %d and %d", name, g, err, dev.sums, dev.products, c.sums, c.products)
		}
		tape.Reset()
	}
}
