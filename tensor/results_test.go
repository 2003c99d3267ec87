package tensor

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

// counting counts products, and after some allocations has no memory left.
type counting struct {
	device.Device
	products, allocations, last int
}

func (d *counting) MatMul(m device.MatMul) {
	d.products++
	d.Device.MatMul(m)
}

func (d *counting) Alloc(n int, t device.DType) device.Buffer {
	if d.allocations++; d.allocations == d.last {
		panic(&device.OutOfMemory{Device: "counting", Asked: int64(n)})
	}
	return d.Device.Alloc(n, t)
}

// TestResults: a recorded pass over rows that went through the layers before, in two parts and another order,
// makes no product in its forward pass; its result and gradients are what they are without. Nothing is left
// in memory, also where there was none for what should be kept.
func TestResults(t *testing.T) {
	const c, hidden, n = 4, 6, 5
	order := []int32{3, 0, 4, 1, 2} // row i of the recorded pass is row order[i] of those before
	x := floats(n * c)
	for _, kind := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		short, beside := kind[0], 0 // rows before each part that are not kept
		fails := 2                  // the allocation for what is to be kept of the second product
		if kind[1] {
			beside, fails = 1, 4
		}
		dev := &counting{Device: devicetest.NewReference()}
		w, b, a, up, down := param(dev, hidden, c), param(dev, hidden), param(dev, 2, c), param(dev, hidden, 2), param(dev, hidden, c)
		params := []*Tensor{w, b, a, up, down}
		before := dev.Memory().InUse
		layers := func(x *Tensor) *Tensor {
			return x.Tape().Scope(func() *Tensor {
				h := Unary(device.SiLU, Updated(x, w, b, true, Update{x, a, up, 0.5}))
				return Conv1D(h, down, nil)
			})
		}
		tape := NewTape(dev, device.F32)
		pass := func(r *Results) (list [][]float32, products int) {
			tape.Train(1, 0, 0)
			in := make([]float32, 0, n*c)
			for _, row := range order {
				in = append(in, x[row*c:(row+1)*c]...)
			}
			h := tape.Floats(in, n, c)
			start := dev.products
			var y *Tensor
			if r == nil {
				y = layers(h)
			} else {
				y = tape.Reuse(r, []*Tensor{tape.Ints(order)}, func() *Tensor { return layers(h) })
			}
			products = dev.products - start
			values, err := y.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, values)
			tape.Backward(Sum(Mul(y, y)))
			for _, p := range params {
				grad, err := p.GradFloat32s()
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, grad)
				p.FreeGrad()
			}
			tape.Reset()
			return list, products
		}
		want, all := pass(nil)
		r := NewResults(n)
		for _, part := range [][2]int{{0, 2}, {2, n}} {
			tape.Infer()
			rows := tape.Floats(append(floats(beside*c), x[part[0]*c:part[1]*c]...), beside+part[1]-part[0], c)
			if short && part[0] == 0 {
				dev.last = dev.allocations + fails
			}
			index := make([]int32, part[1]-part[0])
			for i := range index {
				index[i] = int32(i + beside)
			}
			tape.Keep(r, beside+len(index), index, func() *Tensor { return layers(rows) })
			tape.Reset()
		}
		room := int64(4 * n * (2 + hidden + c)) // of what three products make of each row
		if short {
			room = 0
		}
		if held := dev.Memory().InUse - before; held != room {
			t.Errorf("short of memory, rows beside %v: %d bytes are held, want %d", kind, held, room)
		}
		got, products := pass(r)
		if !slices.EqualFunc(got, want, slices.Equal[[]float32]) {
			t.Errorf("short of memory, rows beside %v: %v, without results %v", kind, got, want)
		}
		if all != 4 || (products > 0) != short {
			t.Errorf("short of memory, rows beside %v: %d products of %d", kind, products, all)
		}
		if err := Try(func() { pass(r) }); !short && (err == nil || !strings.Contains(err.Error(), "not what was kept")) {
			t.Errorf("used twice: %v", err)
		}
		tape.Reset()
		r.Free()
		if held := dev.Memory().InUse - before; held != 0 {
			t.Errorf("short of memory, rows beside %v: %d bytes are left", kind, held)
		}
	}
	tape := NewTape(devicetest.NewReference(), device.F32)
	if err := Try(func() { tape.Keep(NewResults(2), 3, make([]int32, 3), func() *Tensor { return nil }) }); err == nil || !strings.Contains(err.Error(), "do not fit") {
		t.Errorf("three rows in a room for two: %v", err)
	}
}

// TestResultsOfSomeThenAll: a pass that keeps some of its rows says nothing about the next, which keeps all of
// them, and a pass that reuses them takes for each product the rows of the index that is as long as the product.
func TestResultsOfSomeThenAll(t *testing.T) {
	const c, out = 4, 6
	dev := devicetest.NewReference()
	w := param(dev, out, c)
	x := floats(5 * c)
	tape := NewTape(dev, device.F32)
	r := NewResults(4)
	keep := func(from, to int, rows ...int32) {
		tape.Infer()
		in := tape.Floats(x[from*c:to*c], to-from, c)
		tape.Keep(r, to-from, rows, func() *Tensor { Linear(in, w, nil); return Linear(in, w, nil) })
	}
	keep(0, 3, 2, 0)
	keep(3, 5, 0, 1) // so rows 2, 0, 3 and 4 of x are held
	tape.Infer()
	all := Linear(tape.Floats(x, 5, c), w, nil)
	want := func(rows ...int32) []float64 { return float64s(t, Rows(all, tape.Ints(rows))) }
	indices := []*Tensor{tape.Ints([]int32{1, 2, 3}), tape.Ints([]int32{3, 0})}
	tape.Reuse(r, indices, func() *Tensor {
		three, two := Linear(tape.Floats(x[:3*c], 3, c), w, nil), Linear(tape.Floats(x[:2*c], 2, c), w, nil)
		if got := float64s(t, three); !slices.Equal(got, want(0, 3, 4)) {
			t.Errorf("three rows are %v, want %v", got, want(0, 3, 4))
		}
		if got := float64s(t, two); !slices.Equal(got, want(4, 2)) {
			t.Errorf("two rows are %v, want %v", got, want(4, 2))
		}
		return two
	})
	r.Free()
	tape.Reset()
}

// TestKeptIsNotOverwritten: an operation that takes the memory of its operand over leaves what is kept alone.
func TestKeptIsNotOverwritten(t *testing.T) {
	dev := devicetest.NewReference()
	w, a, b := param(dev, 3, 4), param(dev, 2, 4), param(dev, 3, 2)
	tape := NewTape(dev, device.F32)
	layer := func(x *Tensor) *Tensor { return LowRank(Linear(x, w, nil), x, a, b, 1) }
	r, order := NewResults(2), []int32{0, 1}
	tape.Infer()
	x := tape.Floats(floats(8), 2, 4)
	want, _ := tape.Keep(r, 2, order, func() *Tensor { return layer(x) }).Float32s()
	tape.Train(1, 0, 0)
	x = tape.Floats(floats(8), 2, 4)
	got, err := tape.Reuse(r, []*Tensor{tape.Ints(order)}, func() *Tensor { return layer(x) }).Float32s()
	if err != nil || !slices.Equal(got, want) || slices.Max(want) == 0 {
		t.Errorf("%v, when it was kept %v: %v", got, want, err)
	}
	tape.Infer()
	x = tape.Floats(floats(8), 2, 4)
	y := Linear(x, w, nil)
	before := y.Buffer()
	if z := LowRank(y, x, a, b, 1); z.Buffer() != before {
		t.Error("what nobody keeps is copied")
	}
	tape.Reset()
}

// TestResultsOfLinears: layers of one input keep theirs one by one, and give them back; what was not kept so
// is an error.
func TestResultsOfLinears(t *testing.T) {
	dev := &counting{Device: devicetest.NewReference()}
	w, v := param(dev, 3, 4), param(dev, 2, 4)
	tape := NewTape(dev, device.F32)
	x := func() *Tensor { return tape.Floats(floats(8), 2, 4) }
	both := func() *Tensor {
		ys := Linears(x(), Weights{W: w}, Weights{W: v})
		return Add(Sum(ys[0]), Sum(ys[1]))
	}
	kept := func() *Results {
		r := NewResults(2)
		tape.Infer()
		tape.Keep(r, 2, []int32{0, 1}, both)
		return r
	}
	r, order := kept(), []int32{1, 0}
	tape.Infer()
	want := float64s(t, both())
	dev.products = 0
	closeTo(t, "sums of what was kept", float64s(t, tape.Reuse(r, []*Tensor{tape.Ints(order)}, both)), want)
	if dev.products != 0 {
		t.Errorf("%d products are computed again", dev.products)
	}
	for name, again := range map[string]func() *Tensor{
		"a layer of another width": func() *Tensor { return Linear(x(), v, nil) },
		"other rows":               func() *Tensor { return Linear(tape.Floats(floats(12), 3, 4), w, nil) },
		"a layer more":             func() *Tensor { both(); return Linear(x(), w, nil) },
	} {
		r := kept()
		var e *Error
		if err := Try(func() { tape.Reuse(r, []*Tensor{tape.Ints(order)}, again) }); !errors.As(err, &e) || e.Op != "Reuse" {
			t.Errorf("%s: %v", name, err)
		}
		r.Free()
	}
	tape.Reset()
}

// TestAllRowsAreComputedWhereTheyAreKept: where all rows of a pass are kept in their order nothing is copied,
// and where some are, those alone.
func TestAllRowsAreComputedWhereTheyAreKept(t *testing.T) {
	for name, c := range map[string]struct {
		rows   []int32
		copies int
	}{"all": {[]int32{0, 1, 2}, 0}, "all in another order": {[]int32{1, 0, 2}, 1}, "some": {[]int32{0, 1}, 1}, "none": {nil, 0}} {
		dev := &copying{Reference: devicetest.NewReference()}
		w := param(dev, 3, 4)
		tape := NewTape(dev, device.F32)
		tape.Infer()
		x := tape.Floats(floats(12), 3, 4)
		r := NewResults(3)
		y := tape.Keep(r, 3, c.rows, func() *Tensor { return Linear(x, w, nil) })
		closeTo(t, name, float64s(t, y), float64s(t, Linear(x, w, nil)))
		if r.Rows() != len(c.rows) || dev.copies != c.copies {
			t.Errorf("%s: %d rows are held after %d copies, want %d after %d", name, r.Rows(), dev.copies, len(c.rows), c.copies)
		}
		tape.Reset()
		r.Free()
	}
}

// copying counts look-ups of rows.
type copying struct {
	*devicetest.Reference
	copies int
}

func (c *copying) Embedding(y, table, ids device.Buffer) {
	c.copies++
	c.Reference.Embedding(y, table, ids)
}
