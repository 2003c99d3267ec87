package tensor

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"hone/device"
	"hone/device/devicetest"
)

// float64s reads what a device in double precision computed, without rounding.
func float64s(t *testing.T, x *Tensor) []float64 {
	t.Helper()
	v := make([]float64, x.Len())
	if err := x.dev.Read(v, x.Buffer()); err != nil {
		t.Fatal(err)
	}
	return v
}

func closeTo(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d numbers, want %d", what, len(got), len(want))
		return
	}
	for i, w := range want {
		if !(math.Abs(got[i]-w) <= 1e-6*max(1, math.Abs(w))) && !(w != w && got[i] != got[i]) && got[i] != w {
			t.Errorf("%s: number %d is %v, want %v", what, i, got[i], w)
			return
		}
	}
}

// TestValues: what operations compute, written out. The gradient checks compare an operation with itself and
// cannot see that.
func TestValues(t *testing.T) {
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	c := func(cols int, v ...float32) *Tensor { return tape.Constant(v, len(v)/cols, cols) }
	x := func() *Tensor { return c(3, 1, -2, 3, -4, 5, 6) } // [2, 3]
	silu := func(v float64) float64 { return v / (1 + math.Exp(-v)) }
	for _, test := range []struct {
		name string
		make func() *Tensor
		want []float64
	}{
		{"Linear", func() *Tensor { return Linear(x(), c(3, 1, 0, 2, 0, 1, -1), c(1, 10, 20)) }, []float64{17, 15, 18, 19}},
		{"Conv1D", func() *Tensor { return Conv1D(x(), c(2, 1, 0, 0, 1, 2, -1), c(1, 10, 20)) }, []float64{17, 15, 18, 19}},
		{"LowRank", func() *Tensor { return LowRank(c(2, 1, 2, 3, 4), x(), c(3, 1, 1, 1), c(1, 1, -1), 0.5) }, []float64{2, 1, 6.5, 0.5}},
		{"Updated", func() *Tensor {
			return Updated(x(), c(3, 1, 0, 2, 0, 1, -1), nil, true, Update{X: Scale(x(), 2), A: c(3, 1, 1, 1), B: c(1, 1, -1), Scale: 0.5})
		}, []float64{9, -7, 15, -8}},
		{"Updated Conv1D", func() *Tensor {
			return Updated(x(), c(2, 1, 0, 0, 1, 2, -1), c(1, 1, 1), false, Update{X: x(), A: c(3, 1, 1, 1), B: c(1, 1, -1), Scale: 0.5})
		}, []float64{9, -5, 12.5, -3.5}},
		{"Add", func() *Tensor { return Add(x(), c(3, 1, 2, 3, 4, 5, 6)) }, []float64{2, 0, 6, 0, 10, 12}},
		{"Residual", func() *Tensor { return Residual(x(), c(3, 1, 2, 3, 4, 5, 6)) }, []float64{2, 0, 6, 0, 10, 12}},
		{"Sub", func() *Tensor { return Sub(x(), c(3, 1, 2, 3, 4, 5, 6)) }, []float64{0, -4, 0, -8, 0, 0}},
		{"Mul", func() *Tensor { return Mul(x(), c(3, 1, 2, 3, 4, 5, 6)) }, []float64{1, -4, 9, -16, 25, 36}},
		{"Scale", func() *Tensor { return Scale(x(), -0.5) }, []float64{-0.5, 1, -1.5, 2, -2.5, -3}},
		{"Affine", func() *Tensor { return Affine(x(), 2, -1) }, []float64{1, -5, 5, -9, 9, 11}},
		{"Max", func() *Tensor { return Max(x(), c(3, 0, 0, 4, 0, 0, 9)) }, []float64{1, 0, 4, 0, 5, 9}},
		{"Min", func() *Tensor { return Min(x(), c(3, 0, 0, 4, 0, 0, 9)) }, []float64{0, -2, 3, -4, 0, 6}},
		{"Clamp", func() *Tensor { return Clamp(x(), -3, 4) }, []float64{1, -2, 3, -3, 4, 4}},
		{"Sum", func() *Tensor { return Sum(x()) }, []float64{9}},
		{"SumBy", func() *Tensor { return SumBy(x(), tape.Ints([]int32{2, 0, 2, 0, 0, 3}), 4) }, []float64{-1, 0, 4, 6}},
		{"Unary", func() *Tensor { return Unary(device.Square, x()) }, []float64{1, 4, 9, 16, 25, 36}},
		{"Gated", func() *Tensor { return Gated(device.SiLU, c(2, 1, -2), c(2, 3, 4)) }, []float64{3 * silu(1), 4 * silu(-2)}},
		{"RMSNorm", func() *Tensor { return RMSNorm(c(2, 3, 4), c(2, 1, 2), 1.5, 0) }, []float64{3 / math.Sqrt(14), 8 / math.Sqrt(14)}},
		{"RMSNorm with offset", func() *Tensor { return RMSNorm(c(2, 3, 4), c(2, 1, 2), 1.5, 1) }, []float64{6 / math.Sqrt(14), 12 / math.Sqrt(14)}},
		{"RMSNorm of heads", func() *Tensor { return RMSNorm(c(4, 3, 4, 1, -1), c(2, 1, 2), 0, 0) }, []float64{3 / math.Sqrt(12.5), 8 / math.Sqrt(12.5), 1, -2}},
		{"LayerNorm", func() *Tensor { return LayerNorm(c(2, 2, 6), c(2, 1, 2), c(2, 10, 20), 5) }, []float64{10 - 2/3., 20 + 4/3.}},
		{"Embedding", func() *Tensor { return Embedding(tape.Ints([]int32{1, 1, 0}), x()) }, []float64{-4, 5, 6, -4, 5, 6, 1, -2, 3}},
		{"Rows", func() *Tensor { return Rows(x(), tape.Ints([]int32{1})) }, []float64{-4, 5, 6}},
		{"SplitCols", func() *Tensor { return SplitCols(x(), 1, 2)[1] }, []float64{-2, 3, 5, 6}},
		{"SplitHeads", func() *Tensor { return SplitHeads(c(6, 1, 2, 3, 4, 5, 6), 2, 1, 2)[1] }, []float64{2, 3, 5, 6}},
		{"Prepend", func() *Tensor { return Prepend(c(2, 1, 2, 3, 4), c(3, 7, 8, 9), []int{0, 2}, 1) }, []float64{8, 9, 1, 2, 3, 4, 8, 9}},
		{"Prepend nowhere", func() *Tensor { return Prepend(c(2, 1, 2), c(3, 7, 8, 9), nil, 1) }, []float64{1, 2}},
		{"Magnitude", func() *Tensor { return Magnitude(c(2, 5, 7), c(1, 2, 3), c(1, 0.5, 0.25), c(1, 1, 3)) }, []float64{5, 6}},
		{"Rope", func() *Tensor { // channels 0 and 1 turn, 2 does not
			return Rope(c(3, 1, 0, 9, 0, 2, 9), NewRopeTable(dev, []float64{0.5}, 5, 2), tape.Ints([]int32{4, 1}), 1)
		}, []float64{2 * math.Cos(2), 2 * math.Sin(2), 9, -4 * math.Sin(0.5), 4 * math.Cos(0.5), 9}},
		{"Rope of two heads", func() *Tensor { // pairs are 0 with 2 and 1 with 3 of each head; 4 stays
			return Rope(c(10, 1, 0, 0, 2, 9, 0, 3, 4, 0, 8), NewRopeTable(dev, []float64{0.5, 2}, 4, 1), tape.Ints([]int32{3}), 2)
		}, []float64{math.Cos(1.5), -2 * math.Sin(6), math.Sin(1.5), 2 * math.Cos(6), 9, -4 * math.Sin(1.5), 3 * math.Cos(6), 4 * math.Cos(1.5), 3 * math.Sin(6), 8}},
		{"Rope by a table of the pass", func() *Tensor {
			return Rope(c(4, 1, 2, 3, 4, 5, 6, 7, 8), tape.RopeTable([]float32{1, 1, 0, 1}, []float32{0, 0, 1, 0}, 2), tape.Ints([]int32{1, 0}), 1)
		}, []float64{-3, 2, 1, 4, 5, 6, 7, 8}},
		{"Experts", func() *Tensor { // row 0 goes to experts 2 and 0 alike, row 1 to 1 before 2
			r := Route(c(3, 1, 0, 1, -9, 2, 2-float32(math.Ln2)), 2, nil)
			return Experts(x(), r, func(e int, rows *Tensor) *Tensor { return Scale(rows, float32(e+1)) })
		}, []float64{2, -4, 6, -4 * 7 / 3., 5 * 7 / 3., 14}},
		{"Head.Logits", func() *Tensor {
			return Head{Weight: c(3, 1, 0, 2, 0, 1, -1), Bias: c(1, 1, 0), SoftCap: 4}.Logits(c(3, 1, 0, 0))
		},
			[]float64{4 * math.Tanh(0.5), 0}},
	} {
		tape.Infer()
		closeTo(t, test.name, float64s(t, test.make()), test.want)
		tape.Reset()
	}
}

// TestAttentionByFormula: each query's weights are a softmax over the keys of its own sequence up to its place,
// in a window and under a soft cap, and a key/value head serves two query heads. Fused columns give the same.
func TestAttentionByFormula(t *testing.T) {
	const n, heads, kvHeads, d = 8, 4, 2, 3
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	q, k, v := random(1, n, heads*d), random(2, n, kvHeads*d), random(3, n, kvHeads*d)
	sequences := []device.Sequence{{QLen: 5, KLen: 5}, {Q: 5, QLen: 3, K: 5, KLen: 3}}
	for _, s := range []AttentionShape{{Scale: 0.5}, {Scale: 0.8, Window: 2}, {Scale: 2, SoftCap: 0.7}, {Scale: 2, Window: 3, SoftCap: 0.7}} {
		s.Heads, s.KVHeads, s.D, s.Sequences = heads, kvHeads, d, sequences
		want := make([]float64, n*heads*d)
		for _, seq := range sequences {
			for row := seq.Q; row < seq.Q+seq.QLen; row++ {
				first := seq.Q
				if s.Window > 0 {
					first = max(first, row-s.Window+1)
				}
				for h := range heads {
					kv := h * kvHeads / heads * d
					var scores []float64
					for key := first; key <= row; key++ {
						score := 0.0
						for i := range d {
							score += float64(s.Scale) * q.values[(row*heads+h)*d+i] * k.values[key*kvHeads*d+kv+i]
						}
						if c := float64(s.SoftCap); c > 0 {
							score = c * math.Tanh(score/c)
						}
						scores = append(scores, score)
					}
					lse, _, _ := statistics(scores)
					for j, score := range scores {
						for i := range d {
							want[(row*heads+h)*d+i] += math.Exp(score-lse) * v.values[(first+j)*kvHeads*d+kv+i]
						}
					}
				}
			}
		}
		put := func(l leaf) *Tensor {
			x := tape.empty(device.F32, l.shape...)
			dev.Write(x.Buffer(), l.values)
			return x
		}
		tape.Infer()
		closeTo(t, fmt.Sprintf("%+v", s), float64s(t, Attention(put(q), put(k), put(v), s)), want)
		all := leaf{shape: []int{n, (heads + 2*kvHeads) * d}}
		for row := range n {
			for _, l := range []leaf{q, k, v} {
				c := l.shape[1]
				all.values = append(all.values, l.values[row*c:(row+1)*c]...)
			}
		}
		closeTo(t, fmt.Sprintf("%+v in columns", s), float64s(t, AttentionColumns(put(all), s)), want)
	}
	tape.Reset()
}

// logits are those of a head for each row, in float64.
func logits(h, w, b []float64, c int, softCap float64) (rows [][]float64) {
	v := len(w) / c
	for at := 0; at < len(h); at += c {
		row := make([]float64, v)
		for i := range row {
			for j := range c {
				row[i] += h[at+j] * w[i*c+j]
			}
			if b != nil {
				row[i] += b[i]
			}
			if softCap > 0 {
				row[i] = softCap * math.Tanh(row[i]/softCap)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// statistics are the log-sum-exp, the mean and the entropy of softmax of a row.
func statistics(row []float64) (lse, mean, entropy float64) {
	sum := 0.0
	for _, x := range row {
		sum += math.Exp(x)
		mean += x / float64(len(row))
	}
	lse = math.Log(sum)
	for _, x := range row {
		entropy -= math.Exp(x-lse) * (x - lse)
	}
	return lse, mean, entropy
}

// TestLossesByFormula compares losses, log-probabilities and entropies with their formulas, over ignored
// targets, biases and soft caps, in one chunk and in several.
func TestLossesByFormula(t *testing.T) {
	const n, c, v, tokens = 131, 3, 7, 90
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	h, w, b := random(1, n, c), random(2, v, c), random(3, v)
	targets := make([]int32, n)
	for i := range targets {
		targets[i] = int32(i*5%(v+2)) - 2
	}
	put := func(l leaf) *Tensor {
		x := tape.empty(device.F32, l.shape...)
		dev.Write(x.Buffer(), l.values)
		return x
	}
	for _, o := range []CrossEntropyOptions{{Tokens: tokens}, {Tokens: tokens, ZLoss: 0.3}, {Tokens: tokens, Smoothing: 0.2}, {Tokens: tokens, ZLoss: 0.1, Smoothing: 0.5}} {
		for _, biased := range []bool{false, true} {
			for _, softCap := range []float32{0, 0.9} {
				for _, chunk := range []int{0, 64, 1} {
					tape.Infer()
					top, bias := Head{Weight: put(w), SoftCap: softCap}, []float64(nil)
					if biased {
						top.Bias, bias = put(b), b.values
					}
					want := 0.0
					var logp, entropies []float64
					for i, row := range logits(h.values, w.values, bias, c, float64(softCap)) {
						lse, mean, entropy := statistics(row)
						if targets[i] < 0 {
							logp, entropies = append(logp, 0), append(entropies, 0)
							continue
						}
						x, s := row[targets[i]], float64(o.Smoothing)
						want += lse - (1-s)*x - s*mean + float64(o.ZLoss)*lse*lse
						logp, entropies = append(logp, x-lse), append(entropies, entropy)
					}
					k := chunkHead("test", tape, put(h), top, tape.Ints(targets))
					if chunk > 0 {
						k.chunk = chunk
					}
					closeTo(t, "the loss", float64s(t, k.loss(o)), []float64{want / tokens})
					k.ce = device.CrossEntropy{}
					p, e := k.forward(false)
					closeTo(t, "log-probabilities", float64s(t, p), logp)
					closeTo(t, "entropies", float64s(t, e), entropies)
				}
			}
		}
	}
	tape.Reset()
}

// TestFrozenExpertsGetNothing: what a frozen expert makes of rows that want no gradient takes no part of the
// gradient of all, which would stay in memory.
func TestFrozenExpertsGetNothing(t *testing.T) {
	dev := devicetest.NewReference()
	frozen, trained := param(dev, 3, 3), param(dev, 3, 3)
	frozen.Freeze()
	before := dev.Memory().InUse
	tape := NewTape(dev, device.F32)
	tape.Train(1, 0, 0)
	r := Route(tape.Floats([]float32{2, 1, 1, 3, 5, 0}, 3, 2), 1, nil)
	y := Experts(tape.Floats(floats(9), 3, 3), r, func(expert int, rows *Tensor) *Tensor {
		return Linear(rows, []*Tensor{frozen, trained}[expert], nil)
	})
	tape.Backward(Sum(y))
	if !frozen.Grad().IsZero() || trained.Grad().IsZero() {
		t.Error("the frozen expert has a gradient, or the other has none")
	}
	trained.FreeGrad()
	tape.Reset()
	if held := dev.Memory().InUse - before; held != 0 {
		t.Errorf("%d bytes are left", held)
	}
}

// TestExpertsAreCalledInOrder: each that has rows once, with its own in their order.
func TestExpertsAreCalledInOrder(t *testing.T) {
	tape := NewTape(devicetest.NewReference(), device.F32)
	tape.Infer()
	r := Route(tape.Constant([]float32{0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 2}, 3, 4), 1, nil) // rows go to 3, 0 and 3
	var called []int
	got := map[int][]float64{}
	Experts(tape.Constant([]float32{10, 20, 30}, 3, 1), r, func(e int, rows *Tensor) *Tensor {
		called = append(called, e)
		got[e] = Values(rows)
		return rows
	})
	if !slices.Equal(called, []int{0, 3}) || !slices.Equal(got[0], []float64{20}) || !slices.Equal(got[3], []float64{10, 30}) {
		t.Errorf("experts %v are called with %v", called, got)
	}
	tape.Reset()
}

// entropies counts passes over logits.
type entropies struct {
	*devicetest.Reference
	count int
}

func (e *entropies) CrossEntropy(c device.CrossEntropy) {
	e.count++
	e.Reference.CrossEntropy(c)
}

// TestFrozenHeadsLogitsAreComputedOnce: under a head that is not trained the backward pass needs no logits.
func TestFrozenHeadsLogitsAreComputedOnce(t *testing.T) {
	for frozen, want := range map[bool]int{false: 2, true: 1} {
		dev := &entropies{Reference: devicetest.NewReference()}
		tape, w := NewTape(dev, device.F32), param(dev, 5, 3)
		w.needsGrad = !frozen
		tape.Train(1, 0, 0)
		h := tape.Constant(floats(6), 2, 3)
		h.needsGrad = true
		logp, _ := LogProbs(h, Head{Weight: w}, tape.Ints([]int32{1, 4}))
		if tape.Backward(Sum(logp)); dev.count != want {
			t.Errorf("head frozen %v: logits are computed %d times, want %d", frozen, dev.count, want)
		}
	}
}

// TestHeadComputes: outside of a tape a head gives the logits that it gives on one, with a bias and a cap and without.
func TestHeadComputes(t *testing.T) {
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	for _, h := range []Head{{}, {Bias: param(dev, 5)}, {SoftCap: 0.7}, {Bias: param(dev, 5), SoftCap: 0.7}} {
		h.Weight = param(dev, 5, 3)
		tape.Infer()
		x, y := tape.Constant(floats(6), 2, 3), tape.empty(device.F32, 2, 5)
		h.Compute(dev, y.Buffer(), x.Buffer())
		closeTo(t, "logits", float64s(t, y), float64s(t, h.Logits(x)))
	}
	tape.Reset()
}

// TestEntropyIsToLookAt: no gradient passes through the entropy of LogProbs, under a head that learns or a frozen one.
func TestEntropyIsToLookAt(t *testing.T) {
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	w := param(dev, 5, 3)
	for range 2 {
		tape.Train(1, 0, 0)
		h := tape.Constant(floats(6), 2, 3)
		h.needsGrad = true
		for name, c := range map[string]struct {
			f    func(*Tensor, Head, *Tensor) (*Tensor, *Tensor)
			want bool
		}{"LogProbs": {LogProbs, false}, "LogProbsAndEntropy": {LogProbsAndEntropy, true}} {
			logp, entropy := c.f(h, Head{Weight: w}, tape.Ints([]int32{1, 4}))
			if !logp.NeedsGrad() || entropy.NeedsGrad() != c.want {
				t.Errorf("%s, head frozen %v: the log-probability has a gradient: %v, the entropy %v", name, !w.NeedsGrad(), logp.NeedsGrad(), entropy.NeedsGrad())
			}
		}
		tape.Reset()
		w.Freeze()
	}
}

// TestNothingSupervised: rows without a target have no loss and give no gradient; where none has one, both
// are exactly 0.
func TestNothingSupervised(t *testing.T) {
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	h, w := random(1, 3, 2), param(dev, 5, 2)
	pass := func(targets []int32) (loss float64, dh, dw []float32) {
		tape.Train(1, 0, 0)
		x := tape.empty(device.F32, 3, 2)
		x.needsGrad = true
		dev.Write(x.Buffer(), h.values)
		l := LinearCrossEntropy(x, Head{Weight: w}, tape.Ints(targets), CrossEntropyOptions{Tokens: 1, ZLoss: 0.1, Smoothing: 0.1})
		loss, err := l.Item()
		if err != nil {
			t.Fatal(err)
		}
		tape.Backward(l)
		dh, _ = x.GradFloat32s()
		dw, _ = w.GradFloat32s()
		x.FreeGrad()
		w.FreeGrad()
		tape.Reset()
		return loss, dh, dw
	}
	loss, dh, dw := pass([]int32{-100, -1, -5})
	for _, g := range append(dh, dw...) {
		if g != 0 {
			t.Errorf("without a target gradients are %v and %v", dh, dw)
			break
		}
	}
	if loss != 0 {
		t.Errorf("without a target the loss is %v", loss)
	}
	if loss, dh, _ = pass([]int32{-1, 2, -1}); loss == 0 || dh[0] != 0 || dh[1] != 0 || dh[2] == 0 || dh[4] != 0 {
		t.Errorf("with one target the loss is %v and the gradient of hidden states %v", loss, dh)
	}
}

// TestNaNStaysInItsRow: a row that is not finite shows in its own numbers and in no other's; the loss over
// all shows it, too.
func TestNaNStaysInItsRow(t *testing.T) {
	tape := NewTape(devicetest.NewReference(), device.F32)
	w := param(tape.Dev, 5, 2)
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		tape.Infer()
		h := tape.Constant([]float32{1, 2, bad, 3, -1, 0.5}, 3, 2)
		logp, entropy := LogProbs(h, Head{Weight: w}, tape.Ints([]int32{0, 1, 2}))
		for name, x := range map[string]*Tensor{"log-probability": logp, "entropy": entropy, "norm": RMSNorm(h, param(tape.Dev, 2), 1e-5, 0), "product": Linear(h, w, nil)} {
			v := float64s(t, x)
			per := len(v) / 3
			for i, f := range v {
				if finite := !math.IsNaN(f) && !math.IsInf(f, 0); finite == (i/per == 1) && (name != "norm" || bad != bad) {
					t.Errorf("%v in row 1: number %d of the %s is %v", bad, i, name, f)
				}
			}
		}
		loss, err := LinearCrossEntropy(h, Head{Weight: w}, tape.Ints([]int32{0, 1, 2}), CrossEntropyOptions{Tokens: 3}).Item()
		if err != nil || !math.IsNaN(loss) && !math.IsInf(loss, 0) {
			t.Errorf("%v in row 1: the loss is %v, %v", bad, loss, err)
		}
		tape.Reset()
	}
}

// TestInverseNorms compares norms of updated weights with sums in float64, in both layouts and of weights in few bits.
func TestInverseNorms(t *testing.T) {
	const out, in, r, scale = 5, 64, 3, 0.7
	dev := devicetest.NewReference()
	tape := NewTape(dev, device.F32)
	tape.Infer()
	a, b := param(dev, r, in), param(dev, out, r)
	av, bv := float64s(t, a), float64s(t, b)
	packed := NewParam(out, in)
	packed.Pack(dev, device.F32, device.Int8, floats(out*in))
	unpacked, err := packed.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	plain := param(dev, out, in)
	plain.Write(unpacked)
	turned, flipped := param(dev, in, out), make([]float32, in*out)
	want := make([]float64, out)
	for o := range out {
		for i := range in {
			sum := float64(unpacked[o*in+i])
			flipped[i*out+o] = unpacked[o*in+i]
			for k := range r {
				sum += float64(float32(scale)) * bv[o*r+k] * av[k*in+i]
			}
			want[o] += sum * sum
		}
		want[o] = 1 / math.Sqrt(want[o])
	}
	turned.Write(flipped)
	before := dev.Memory().InUse
	u := Update{A: a, B: b, Scale: scale}
	closeTo(t, "inverse norms", float64s(t, InverseNorms(tape, plain, u, false)), want)
	closeTo(t, "of a weight stored the other way round", float64s(t, InverseNorms(tape, turned, u, true)), want)
	closeTo(t, "of a packed weight", float64s(t, InverseNorms(tape, packed, u, false)), want)
	if got := dev.Memory().InUse - before; got != 3*4*out {
		t.Errorf("%d bytes are held beside the norms", got-3*4*out)
	}
	tape.Reset()
}

// TestBalanceByFormula: E·Σ f·P over the rows of two layers, where f are shares of choices and P mean probabilities.
func TestBalanceByFormula(t *testing.T) {
	const experts, k = 3, 2
	tape := NewTape(devicetest.NewReference(), device.F32)
	tape.Infer()
	var b Balance
	var f, p [experts]float64
	rows := 0.0
	for layer, n := range []int{4, 5} {
		l := random(uint64(layer), n, experts)
		x := tape.empty(device.F32, n, experts)
		tape.Dev.Write(x.Buffer(), l.values)
		Route(x, k, &b)
		for i := range n {
			row := l.values[i*experts : (i+1)*experts]
			lse, _, _ := statistics(row)
			least := 0
			for e, v := range row {
				p[e] += math.Exp(v - lse)
				if v < row[least] {
					least = e
				}
			}
			for e := range row {
				if e != least { // two of three are picked
					f[e]++
				}
			}
		}
		rows += float64(n)
	}
	want := 0.0
	for e := range f {
		want += experts * f[e] / rows * p[e] / rows
	}
	closeTo(t, "the load-balancing loss", float64s(t, b.Loss()), []float64{want})
	tape.Reset()
}
