package nn

import (
	"math"
	"testing"

	"hone/device"
	"hone/tensor"
)

// routed is a tiny model whose rows are routed, too, with no effect but on the load-balancing loss.
type routed struct {
	*tiny
	coefficient float32
}

func (r routed) Shape() Shape {
	s := r.tiny.Shape()
	s.RouterLoss = r.coefficient
	return s
}

func (r routed) Hidden(in Input) *tensor.Tensor {
	x := r.tiny.Hidden(in)
	tensor.Route(tensor.SplitCols(x, 3, tinyC-3)[0], 2, in.Balance)
	return x
}

// TestLossOfRouters: it counts by the coefficient and by the input's share of the batch's supervised tokens,
// so that micro-batches add up, and a model without one has none.
func TestLossOfRouters(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	const coefficient, tokens = 0.5, 8
	tape := tensor.NewTape(dev, device.F32)
	run := func(coefficient float32, targets []int32) (total, balance float64) {
		tape.Infer()
		l := Loss(routed{m, coefficient}, packed(tape, []int32{1, 2, 3, 4, 5}), targets, tensor.CrossEntropyOptions{Tokens: tokens})
		if (l.Balance == nil) != (coefficient == 0) {
			t.Fatalf("coefficient %v: the balance is %v", coefficient, l.Balance)
		}
		total, err := l.Total.Item()
		if err == nil && l.Balance != nil {
			balance, err = l.Balance.Item()
		}
		if err != nil {
			t.Fatal(err)
		}
		return total, balance
	}
	some := []int32{3, -1, 0, 5, -1}
	plain, _ := run(0, some)
	total, balance := run(coefficient, some)
	if _, all := run(coefficient, []int32{3, 1, 0, 5, 2}); balance != all {
		t.Errorf("the balance is %v where some rows are supervised and %v where all are; routers pick for all", balance, all)
	}
	// 3 of the 8 supervised tokens of the batch are here
	if want := plain + coefficient*3.0/tokens*balance; balance < 1 || math.Abs(total-want) > 1e-6 {
		t.Errorf("the loss is %v, want %v: %v and a balance of %v", total, want, plain, balance)
	}
	tape.Reset()
}

// TestLayersThatRunAgain: as many as were asked for, from the first on, and no other.
func TestLayersThatRunAgain(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	tape := tensor.NewTape(dev, device.F32)
	tape.Train(1, 0, 0)
	in := packed(tape, []int32{1, 2, 3})
	in.Recompute = 1
	var runs [3]int
	x := m.Embed.Forward(in.IDs)
	for i := range runs {
		x = in.Layer(i, x, func(x *tensor.Tensor) *tensor.Tensor {
			runs[i]++
			return m.Layers[0].MLP.Forward(x)
		})
	}
	tape.Backward(tensor.Sum(x))
	if runs != [3]int{2, 1, 1} {
		t.Errorf("the layers ran %v times", runs)
	}
	for _, p := range Params(m) {
		p.FreeGrad()
	}
	tape.Reset()
}

// TestDropoutOfEmbeddings: they are dropped in training, as often as asked for, and nowhere else.
func TestDropoutOfEmbeddings(t *testing.T) {
	_, dev := newTiny(t, `{}`, 0)
	tape := tensor.NewTape(dev, device.F32)
	ones := make([]float32, 500)
	for i := range ones {
		ones[i] = 1
	}
	for _, train := range []bool{true, false} {
		tape.Infer()
		if train {
			tape.Train(1, 0, 0)
		}
		zeros := 0
		for _, v := range tensor.Values((Input{Dropout: 0.2}).Embedded(tape.Floats(ones, 100, 5))) {
			if v == 0 {
				zeros++
			}
		}
		if train && (zeros < 60 || zeros > 140) || !train && zeros > 0 { // 100, and four standard deviations of 9
			t.Errorf("training %v: %d of 500 are dropped", train, zeros)
		}
	}
	tape.Reset()
}
