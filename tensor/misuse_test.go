package tensor

import (
	"errors"
	"math"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

// TestMisuseNamesOperationAndShapes: whatever does not fit panics before a kernel reads memory that is not
// there, with an *Error that names the operation and what was given to it.
func TestMisuseNamesOperationAndShapes(t *testing.T) {
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	tape.Train(1, 0, 0)
	m := func(rows, cols int) *Tensor { return tape.Constant(floats(rows*cols), rows, cols) }
	half := func(rows, cols int) *Tensor {
		return tape.over(tape.scratch(rows*cols, device.BF16), device.BF16, rows, cols)
	}
	ids := func(n int) *Tensor { return tape.Ints(make([]int32, n)) }
	table := NewRopeTable(dev, []float64{1, 0.5}, 3, 1)
	shape := func(heads, kv, d int) AttentionShape {
		return AttentionShape{Heads: heads, KVHeads: kv, D: d, Sequences: []device.Sequence{{QLen: 2, KLen: 2}}}
	}
	head := Head{Weight: param(dev, 7, 3)}
	saved := m(2, 5)
	saved.needsGrad = true
	Mul(saved, saved)
	routed := func(balance *Balance) *Routing { return Route(m(2, 4), 1, balance) }
	for _, c := range []struct {
		what, op string
		words    []string // that the message has
		f        func()
	}{
		{"a weight of other channels", "Linear", []string{"[2 3]", "[5 4]"}, func() { Linear(m(2, 3), param(dev, 5, 4), nil) }},
		{"a weight of another type", "Linear", []string{"f32", "bf16"}, func() { Linear(m(2, 3), half(5, 3), nil) }},
		{"a bias of another length", "Linear", []string{"bias", "[5 3]"}, func() { Linear(m(2, 3), param(dev, 5, 3), param(dev, 4)) }},
		{"a weight the other way round", "Conv1D", []string{"[2 3]", "[5 3]"}, func() { Conv1D(m(2, 3), param(dev, 5, 3), nil) }},
		{"a bias as long as the input", "Conv1D", []string{"bias"}, func() { Conv1D(m(2, 3), param(dev, 3, 5), param(dev, 3)) }},
		{"one of several weights", "Linears", []string{"[2 3]", "[5 2]"}, func() {
			Linears(m(2, 3), Weights{W: param(dev, 4, 3)}, Weights{W: param(dev, 5, 2)})
		}},
		{"factors of different ranks", "LowRank", []string{"2×5", "[2 3]", "[1 3]", "[5 2]"}, func() { LowRank(m(2, 5), m(2, 3), m(1, 3), m(5, 2), 1) }},
		{"an input of other rows", "LowRank", []string{"2×5", "[4 3]"}, func() { LowRank(m(2, 5), m(4, 3), m(2, 3), m(5, 2), 1) }},
		{"a factor of other inputs", "LowRank", []string{"[2 3]", "[2 4]"}, func() { LowRank(m(2, 5), m(2, 3), m(2, 4), m(5, 2), 1) }},
		{"a second factor of another type", "LowRank", []string{"bf16"}, func() { LowRank(m(2, 5), m(2, 3), m(2, 3), half(5, 2), 1) }},
		{"an output of another type", "LowRank", []string{"bf16"}, func() { LowRank(half(2, 5), m(2, 3), m(2, 3), m(5, 2), 1) }},
		{"a value that can be made again", "LowRank", []string{"another operation"}, func() {
			LowRank(Unary(device.SiLU, saved), m(2, 3), m(2, 3), m(5, 2), 1)
		}},
		{"a factor of another type", "LowRank", []string{"bf16"}, func() { LowRank(m(2, 5), m(2, 3), half(2, 3), m(5, 2), 1) }},
		{"a value that another operation needs", "LowRank", []string{"another operation"}, func() { LowRank(saved, m(2, 3), m(2, 3), m(5, 2), 1) }},
		{"an update of other outputs", "Updated", []string{"2×5", "[4 2]"}, func() {
			Updated(m(2, 3), m(5, 3), nil, true, Update{X: m(2, 3), A: m(2, 3), B: m(4, 2), Scale: 1})
		}},
		{"operands of other lengths", "Add", []string{"[2 3]", "[2 2]"}, func() { Add(m(2, 3), m(2, 2)) }},
		{"operands of other lengths", "Sub", []string{"[2 3]", "[2 2]"}, func() { Sub(m(2, 3), m(2, 2)) }},
		{"operands of other lengths", "Mul", []string{"[2 3]", "[2 2]"}, func() { Mul(m(2, 3), m(2, 2)) }},
		{"operands of other lengths", "Max or Min", []string{"[2 3]", "[2 2]"}, func() { Max(m(2, 3), m(2, 2)) }},
		{"a branch of another shape", "Residual", []string{"[2 3]", "[3 2]"}, func() { Residual(m(2, 3), m(3, 2)) }},
		{"a branch of another type", "Residual", []string{"f32", "bf16"}, func() { Residual(m(2, 3), half(2, 3)) }},
		{"a gate of another width", "Gated", []string{"[2 3]", "[2 2]"}, func() { Gated(device.SiLU, m(2, 3), m(2, 2)) }},
		{"a probability of 1", "Dropout", []string{"1", "[0, 1)"}, func() { Dropout(m(2, 3), 1) }},
		{"a probability that is none", "Dropout", []string{"NaN"}, func() { Dropout(m(2, 3), float32(math.NaN())) }},
		{"a probability below 0", "Dropout", []string{"-0.1"}, func() { Dropout(m(2, 3), -0.1) }},
		{"a bound too few", "Noise", []string{"1 bounds", "[2 3]"}, func() { Noise(m(2, 3), []float32{1}) }},
		{"a group too few", "SumBy", []string{"2 groups", "3 elements"}, func() { SumBy(m(3, 1), ids(2), 2) }},
		{"a norm that does not divide", "RMSNorm", []string{"[4]", "[2 6]"}, func() { RMSNorm(m(2, 6), param(dev, 4), 1e-5, 0) }},
		{"a norm that does not divide", "LayerNorm", []string{"[4]", "[2 6]"}, func() { LayerNorm(m(2, 6), param(dev, 4), nil, 1e-5) }},
		{"heads that do not divide", "Rope", []string{"3 heads", "[2 13]"}, func() { Rope(m(2, 13), table, ids(2), 3) }},
		{"heads narrower than what is rotated", "Rope", []string{"4 rotated"}, func() { Rope(m(2, 6), table, ids(2), 2) }},
		{"a position too few", "Rope", []string{"[1]", "[2 8]"}, func() { Rope(m(2, 8), table, ids(1), 2) }},
		{"queries of another width", "Attention", []string{"[2 9]", "2 heads", "of 4"}, func() { Attention(m(2, 9), m(2, 4), m(2, 4), shape(2, 1, 4)) }},
		{"keys and values of another width", "Attention", []string{"[2 5]"}, func() { Attention(m(2, 8), m(2, 5), m(2, 5), shape(2, 1, 4)) }},
		{"values of another width", "Attention", []string{"[2 8]", "[2 5]"}, func() { Attention(m(2, 8), m(2, 4), m(2, 5), shape(2, 1, 4)) }},
		{"heads that keys do not divide", "Attention", []string{"3 heads", "2 key/value heads"}, func() { Attention(m(2, 12), m(2, 8), m(2, 8), shape(3, 2, 4)) }},
		{"a matrix of other columns", "Attention", []string{"[2 15]"}, func() { AttentionColumns(m(2, 15), shape(2, 1, 4)) }},
		{"no tokens", "LinearCrossEntropy", []string{"tokens is 0"}, func() { LinearCrossEntropy(m(2, 3), head, ids(2), CrossEntropyOptions{}) }},
		{"a target too few", "LinearCrossEntropy", []string{"1 targets", "[2 3]"}, func() { LinearCrossEntropy(m(2, 3), head, ids(1), CrossEntropyOptions{Tokens: 1}) }},
		{"a head of other channels", "LogProbs", []string{"[2 4]", "[7 3]"}, func() { LogProbs(m(2, 4), head, ids(2)) }},
		{"a head of another type", "LogProbsAndEntropy", []string{"bf16", "f32"}, func() { LogProbsAndEntropy(half(2, 3), head, ids(2)) }},
		{"widths beyond the columns", "SplitHeads", []string{"[2 5]", "[2 6]"}, func() { SplitCols(m(2, 6), 2, 5) }},
		{"widths that leave columns", "SplitHeads", []string{"[2 3]", "[2 6]"}, func() { SplitCols(m(2, 6), 2, 3) }},
		{"heads that do not divide", "SplitHeads", []string{"[2 6]", "4 heads"}, func() { SplitHeads(m(2, 6), 4, 1) }},
		{"more experts than there are", "Route", []string{"5 of 4"}, func() { Route(m(2, 4), 5, nil) }},
		{"no expert", "Route", []string{"0 of 4"}, func() { Route(m(2, 4), 0, nil) }},
		{"layers of different experts", "Route", []string{"3 experts", "one of 4"}, func() {
			var b Balance
			routed(&b)
			Route(m(2, 3), 1, &b)
		}},
		{"other rows than were routed", "Experts", []string{"[3 3]", "2 rows"}, func() {
			Experts(m(3, 3), routed(nil), func(_ int, x *Tensor) *Tensor { return x })
		}},
		{"no rows", "Experts", []string{"[0 3]"}, func() {
			Experts(m(0, 3), Route(m(0, 4), 1, nil), func(_ int, x *Tensor) *Tensor { return x })
		}},
		{"an expert that loses rows", "Experts", []string{"expert"}, func() {
			Experts(m(2, 3), routed(nil), func(_ int, x *Tensor) *Tensor { return Rows(x, ids(5)) })
		}},
		{"experts of different widths", "Experts", []string{"expert 1", "[1 2]"}, func() {
			r := Route(tape.Constant([]float32{1, 0, 0, 1}, 2, 2), 1, nil)
			Experts(m(2, 3), r, func(e int, x *Tensor) *Tensor { return SplitCols(x, 3-e, e)[0] })
		}},
		{"a loss of nothing", "Balance.Loss", []string{"no layer"}, func() { new(Balance).Loss() }},
		{"a loss made twice", "Balance.Loss", []string{"before"}, func() {
			var b Balance
			routed(&b)
			b.Loss()
			b.Loss()
		}},
		{"columns that are not there", "Prepend", []string{"columns 2 to 5", "[2 4]"}, func() { Prepend(m(3, 3), m(2, 4), []int{0}, 2) }},
		{"rows of another type", "Prepend", []string{"bf16", "f32"}, func() { Prepend(m(3, 3), half(2, 3), []int{0}, 0) }},
		{"columns before the first", "Prepend", []string{"columns -1 to 2"}, func() { Prepend(m(3, 3), m(2, 4), []int{0}, -1) }},
		{"a place behind the end", "Prepend", []string{"[4]", "3 rows"}, func() { Prepend(m(3, 3), m(2, 3), []int{4}, 0) }},
		{"places that fall", "Prepend", []string{"[2 1]"}, func() { Prepend(m(3, 3), m(2, 3), []int{2, 1}, 0) }},
		{"a magnitude too few", "Magnitude", []string{"[2 3]", "[2]"}, func() { Magnitude(m(2, 3), param(dev, 2), param(dev, 3), nil) }},
		{"a norm too few", "Magnitude", []string{"[2 3]", "[2]"}, func() { Magnitude(m(2, 3), param(dev, 3), param(dev, 2), nil) }},
		{"a bias too long", "Magnitude", []string{"[2 3]"}, func() { Magnitude(m(2, 3), param(dev, 3), param(dev, 3), param(dev, 4)) }},
		{"a weight of another size", "InverseNorms", []string{"[5 4]", "[2 3]"}, func() {
			InverseNorms(tape, param(dev, 5, 4), Update{A: m(2, 3), B: m(5, 2), Scale: 1}, false)
		}},
		{"factors of different ranks", "InverseNorms", []string{"[2 3]", "[5 1]"}, func() {
			InverseNorms(tape, param(dev, 5, 3), Update{A: m(2, 3), B: m(5, 1), Scale: 1}, false)
		}},
		{"a number of several", "Item", []string{"[2 3]"}, func() { _, _ = m(2, 3).Item() }},
		{"several numbers", "ItemLater", []string{"[2 3]"}, func() { m(2, 3).ItemLater() }},
		{"a number of another type", "ItemLater", []string{"bf16"}, func() { half(1, 1).ItemLater() }},
		{"a loss of several numbers", "Backward", []string{"[2 3]", "one element"}, func() { tape.Backward(m(2, 3)) }},
		{"a parameter without memory", "Buffer", []string{"[2 3]", "no memory"}, func() { NewParam(2, 3).Buffer() }},
		{"values of a parameter without memory", "Buffer", []string{"[2 3]", "no memory"}, func() { _, _ = NewParam(2, 3).Float32s() }},
		{"a table without memory", "Buffer", []string{"[2 3]", "no memory"}, func() { Embedding(ids(1), NewParam(2, 3)) }},
		{"operands without a tape", "Add", []string{"Tape.Ints"}, func() { Add(param(dev, 2), param(dev, 2)) }},
		{"values for another shape", "Pack", []string{"3 values", "[2 2]"}, func() { NewParam(2, 2).Pack(dev, device.F32, device.Int8, make([]float32, 3)) }},
		{"a parameter that is packed", "Pack", []string{"has values"}, func() {
			p := NewParam(2, 2)
			p.Pack(dev, device.F32, device.Int8, make([]float32, 4))
			p.Pack(dev, device.F32, device.Int8, make([]float32, 4))
		}},
		{"rows of a recorded pass", "Keep", nil, func() { tape.Keep(NewResults(2), 2, []int32{0}, func() *Tensor { return m(2, 3) }) }},
		{"a parameter that has values", "Pack", []string{"has values"}, func() { param(dev, 2, 2).Pack(dev, device.F32, device.Int8, make([]float32, 4)) }},
	} {
		err := Try(c.f)
		var e *Error
		if !errors.As(err, &e) || e.Op != c.op {
			t.Errorf("%s: %v, want an error of %s", c.what, err, c.op)
			continue
		}
		for _, word := range append(c.words, "tensor."+c.op+": ") {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q does not say %q", c.what, err, word)
			}
		}
	}
	tape.Reset()
}

// TestNoHeadsAreRefused: a number of heads of 0 is an error of the operation like any other.
func TestNoHeadsAreRefused(t *testing.T) {
	tape := NewTape(devicetest.NewReference(), device.F32)
	tape.Infer()
	x := tape.Constant(floats(8), 2, 4)
	table := NewRopeTable(tape.Dev, []float64{1}, 3, 1)
	for name, f := range map[string]func(){
		"Attention": func() {
			Attention(x, tape.Constant(nil, 2, 0), tape.Constant(nil, 2, 0), AttentionShape{Heads: 2, D: 2})
		},
		"AttentionColumns": func() { AttentionColumns(x, AttentionShape{Heads: 2, D: 2}) },
		"Rope":             func() { Rope(x, table, tape.Ints([]int32{0, 1}), 0) },
		"SplitHeads":       func() { SplitHeads(x, 0, 2) },
	} {
		var e *Error
		if err := Try(f); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	table.Free()
	tape.Reset()
}
