package nn

import (
	"math"
	"slices"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/tensor"
)

// tiny is a language model of two layers of attention with rotary positions and a feed-forward, as the
// tests of this package need one.
type tiny struct {
	Embed  *Embedding   `hf:"embed"`
	Layers []*tinyLayer `hf:"layers"`
	Norm   *RMSNorm     `hf:"norm"`
	rope   *Rope
	shape  tensor.AttentionShape
}

type tinyLayer struct {
	Q    *Linear   `hf:"q"`
	K    *Linear   `hf:"k"`
	V    *Linear   `hf:"v"`
	O    *Linear   `hf:"o"`
	MLP  *GatedMLP `hf:"mlp"`
	Norm *RMSNorm  `hf:"norm"`
}

const (
	tinyV, tinyC, tinyH, tinyK, tinyD = 11, 8, 4, 2, 4
	tinyPositions                     = 64
)

// newTiny is such a model with the rope of a config.json, on a device that is looked at for leaks.
func newTiny(t *testing.T, rope string, window int) (*tiny, device.Device) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	c, err := ReadRope([]byte(rope), RopeDefaults{HeadDim: tinyD, MaxPositions: tinyPositions})
	if err != nil {
		t.Fatal(err)
	}
	m := &tiny{Embed: NewEmbedding(tinyV, tinyC, 1), Norm: NewRMSNorm(tinyC, 1e-6), rope: NewRope(c, dev),
		shape: tensor.AttentionShape{Heads: tinyH, KVHeads: tinyK, D: tinyD, Scale: float32(1 / math.Sqrt(tinyD)), Window: window}}
	for range 2 {
		m.Layers = append(m.Layers, &tinyLayer{NewLinear(tinyC, tinyH*tinyD, true, 0.5), NewLinear(tinyC, tinyK*tinyD, false, 0.5), NewLinear(tinyC, tinyK*tinyD, false, 0.5),
			NewLinear(tinyH*tinyD, tinyC, false, 0.5), NewGatedMLP(tinyC, 12, false, device.SiLU, 0.5), NewRMSNorm(tinyC, 1e-6)})
	}
	Initialize(Params(m), dev, device.F32, 1)
	t.Cleanup(func() {
		Free(Params(m))
		m.rope.Free()
		if left := dev.Memory().InUse; left != 0 {
			t.Errorf("%d bytes are left", left)
		}
		dev.Close()
	})
	return m, dev
}

func (m *tiny) Hidden(in Input) *tensor.Tensor {
	x, at := in.Embedded(m.Embed.Forward(in.IDs)), m.rope.At(in)
	for i, l := range m.Layers {
		x = in.Layer(i, x, func(x *tensor.Tensor) *tensor.Tensor {
			p := Project(l.Norm.Forward(x), l.Q, l.K, l.V)
			a := in.Attend(i, at.Rotate(p[0], tinyH), at.Rotate(p[1], tinyK), p[2], m.shape)
			h := tensor.Add(in.Kept(i, x), in.Drop(l.O.Forward(a)))
			return tensor.Add(h, in.Drop(l.MLP.Forward(h)))
		})
	}
	return m.Norm.Forward(x)
}

func (m *tiny) Head() tensor.Head { return tensor.Head{Weight: m.Embed.Weight.Tensor} }

func (m *tiny) Shape() Shape {
	return Shape{Layers: len(m.Layers), Hidden: tinyC, Heads: tinyH, KVHeads: tinyK, HeadDim: tinyD, Vocab: tinyV, MaxPositions: m.rope.Context(), Tied: true,
		OwnAfter: m.rope.OwnAfter(), LongAfter: m.rope.LongAfter()}
}

// packed is an input of sequences of tokens.
func packed(t *tensor.Tape, sequences ...[]int32) Input {
	var ids, positions []int32
	offsets := []int32{0}
	for _, s := range sequences {
		for p := range s {
			positions = append(positions, int32(p))
		}
		ids = append(ids, s...)
		offsets = append(offsets, int32(len(ids)))
	}
	return NewInput(t, ids, positions, offsets)
}

// inferred is what a pass without gradients makes.
func inferred(t *testing.T, dev device.Device, f func(*tensor.Tape) *tensor.Tensor) []float32 {
	t.Helper()
	tape := tensor.NewTape(dev, device.F32)
	tape.Infer()
	defer tape.Reset()
	v, err := f(tape).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// hidden is what a model makes of each of some sequences, all in one batch.
func hidden(t *testing.T, m Model, dev device.Device, sequences ...[]int32) [][]float32 {
	t.Helper()
	return parted(inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor { return m.Hidden(packed(tape, sequences...)) }), sequences)
}

// parted are the rows of each sequence.
func parted(v []float32, sequences [][]int32) (parts [][]float32) {
	for _, s := range sequences {
		parts, v = append(parts, v[:len(s)*tinyC]), v[len(s)*tinyC:]
	}
	return parts
}

// texts are sequences of tokens, of which the second and third begin as the first does.
var texts = [][]int32{{1, 2, 3, 4, 5, 6, 7}, {1, 2, 3, 9}, {1, 2, 3, 4, 5, 10, 0, 8, 8}, {7}, {4, 4}}

// TestPacksAreTheirSequences: a sequence has the bits that it has alone, whatever stands beside it, and sees no other.
func TestPacksAreTheirSequences(t *testing.T) {
	for _, window := range []int{0, 3} {
		m, dev := newTiny(t, `{}`, window)
		for i, got := range hidden(t, m, dev, texts...) {
			if !slices.Equal(got, hidden(t, m, dev, texts[i])[0]) {
				t.Errorf("window %d: sequence %d is another in a batch", window, i)
			}
		}
	}
}

// TestRowsThatAreAskedFor have the bits of Hidden, whether sequences share beginnings or not.
func TestRowsThatAreAskedFor(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	all := slices.Concat(hidden(t, m, dev, texts...)...)
	for name, rows := range map[string][]int32{
		"last of each": {6, 10, 19, 20, 22}, "answers": {4, 5, 6, 9, 10, 15, 16, 19}, "the first of all": {0}, "twice": {6, 6, 5}, "another order": {22, 3, 0},
	} {
		got := inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor { return HiddenAt(m, packed(tape, texts...), rows) })
		for i, row := range rows {
			if want := all[row*tinyC:][:tinyC]; !slices.Equal(got[i*tinyC:][:tinyC], want) {
				t.Errorf("%s: row %d is %v, want %v", name, row, got[i*tinyC:][:tinyC], want)
			}
		}
	}
}

// TestLogits are those of the rows, by the head.
func TestLogits(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	h := slices.Concat(hidden(t, m, dev, texts[0])...)
	table, err := m.Embed.Weight.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	want := affine(wide(h), wide(table), nil, tinyC, tinyV)
	near(t, "all rows", inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor {
		return Logits(m, m.Hidden(packed(tape, texts[0])), nil)
	}), want, 1e-6)
	near(t, "two rows", inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor {
		return Logits(m, m.Hidden(packed(tape, texts[0])), tape.Ints([]int32{5, 1}))
	}), slices.Concat(want[5*tinyV:6*tinyV], want[tinyV:2*tinyV]), 1e-6)
}

// gradients are those of all parameters of a loss on texts.
func gradients(t *testing.T, m *tiny, dev device.Device, set func(*Input)) (loss float64, all map[string][]float32) {
	t.Helper()
	tape := tensor.NewTape(dev, device.F32)
	tape.Train(1, 0, 0)
	defer tape.Reset()
	in := packed(tape, texts...)
	set(&in)
	targets := make([]int32, in.IDs.Len())
	for i := range targets {
		targets[i] = int32(i*7%tinyV) - int32(i%3/2)*tinyV // some have none
	}
	l := Loss(m, in, targets, tensor.CrossEntropyOptions{Tokens: len(targets)})
	loss, err := l.Total.Item()
	if err != nil || l.Balance != nil {
		t.Fatal(err, l.Balance)
	}
	tape.Backward(l.Total)
	all = map[string][]float32{}
	for _, p := range Params(m) {
		if all[p.Name], err = p.GradFloat32s(); err != nil {
			t.Fatal(err)
		}
		p.FreeGrad()
	}
	return loss, all
}

// TestLayersRunAgain give the same loss and gradients, with dropout and noise too, whose numbers are drawn anew.
func TestLayersRunAgain(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	for name, set := range map[string]func(*Input){
		"plain": func(*Input) {}, "dropout": func(in *Input) { in.Dropout = 0.3 }, "noise": func(in *Input) { in.Noise = 5 },
	} {
		loss, want := gradients(t, m, dev, set)
		again, got := gradients(t, m, dev, func(in *Input) { set(in); in.Recompute = 2 })
		if loss != again {
			t.Errorf("%s: the loss is %v, and %v with layers run again", name, loss, again)
		}
		for p, g := range want {
			if !slices.Equal(got[p], g) {
				t.Errorf("%s: the gradient of %s differs", name, p)
			}
		}
	}
}

// TestLossOfSomeRows: rows without a target change nothing, and the loss is a sum over those that have one,
// by the number of tokens given.
func TestLossOfSomeRows(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	loss := func(targets []int32, tokens int) float64 {
		tape := tensor.NewTape(dev, device.F32)
		tape.Infer()
		defer tape.Reset()
		v, err := Loss(m, packed(tape, texts[0]), targets, tensor.CrossEntropyOptions{Tokens: tokens}).Total.Item()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	logits := inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor { return Logits(m, m.Hidden(packed(tape, texts[0])), nil) })
	want := func(row, target int) float64 {
		sum := 0.0
		for _, l := range logits[row*tinyV:][:tinyV] {
			sum += math.Exp(float64(l))
		}
		return math.Log(sum) - float64(logits[row*tinyV+target])
	}
	if got := loss([]int32{-1, -1, 4, -1, -1, 9, -1}, 2); math.Abs(got-(want(2, 4)+want(5, 9))/2) > 1e-6 {
		t.Errorf("two rows of seven: %v, want %v", got, (want(2, 4)+want(5, 9))/2)
	}
	if got := loss([]int32{-1, 0, -1, -1, -1, 9, -1}, 2); math.Abs(got-(want(1, 0)+want(5, 9))/2) > 1e-6 {
		t.Errorf("the first token of the vocabulary as a target: %v, want %v", got, (want(1, 0)+want(5, 9))/2)
	}
	if got := loss([]int32{-1, -1, 4, -1, -1, -1, -1}, 8); math.Abs(got-want(2, 4)/8) > 1e-6 {
		t.Errorf("a row of a batch of eight tokens: %v, want %v", got, want(2, 4)/8)
	}
	if got := loss([]int32{-1, -1, -1, -1, -1, -1, -1}, 8); got != 0 {
		t.Errorf("without a target: %v", got)
	}
}

// TestNoise is uniform within alpha/sqrt(L·C) of a sequence's length, and in training alone.
func TestNoise(t *testing.T) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	const c = 64
	in := packed(tape, make([]int32, 100), make([]int32, 4))
	in.Noise = 5
	for _, train := range []bool{true, false} {
		if tape.Infer(); train {
			tape.Train(1, 0, 0)
		}
		v, err := in.Embedded(tape.Floats(make([]float32, 104*c), 104, c)).Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for s, part := range [][]float32{v[:100*c], v[100*c:]} {
			bound := 5 / math.Sqrt(float64([]int{100, 4}[s])*c)
			low, high := float64(slices.Min(part)), float64(slices.Max(part))
			if train && !(high <= bound && high > 0.9*bound && low >= -bound && low < -0.9*bound) || !train && (low != 0 || high != 0) {
				t.Errorf("training %v, sequence %d: noise from %v to %v, bound %v", train, s, low, high, bound)
			}
		}
	}
}
