package nn

import (
	"math"
	"slices"
	"testing"

	"hone/device"
	"hone/tensor"
)

// prompted is a model with two virtual tokens that are the embeddings of tokens 3 and 9.
func prompted(m *tiny) *Virtual {
	v := NewVirtual(m, 2)
	v.Prompt = func(t *tensor.Tape) *tensor.Tensor {
		return tensor.Embedding(t.Ints([]int32{3, 9}), m.Embed.Weight.Tensor)
	}
	return v
}

// behind are sequences with the tokens of prompted before them.
func behind(sequences [][]int32) (longer [][]int32) {
	for _, s := range sequences {
		longer = append(longer, append([]int32{3, 9}, s...))
	}
	return longer
}

// TestPromptIsLikeTokens: virtual tokens that are embeddings of tokens do what the tokens would before each
// sequence of a batch, of which nothing but the text's rows comes out.
func TestPromptIsLikeTokens(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	v := prompted(m)
	want := hidden(t, m, dev, behind(texts)...)
	for i, got := range hidden(t, v, dev, texts...) {
		if !slices.Equal(got, want[i][2*tinyC:]) {
			t.Errorf("sequence %d is another than behind the tokens", i)
		}
	}
	rows := []int32{6, 9, 19}
	all := slices.Concat(hidden(t, v, dev, texts...)...)
	got := inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor { return HiddenAt(v, packed(tape, texts...), rows) })
	for i, row := range rows {
		if !slices.Equal(got[i*tinyC:][:tinyC], all[row*tinyC:][:tinyC]) {
			t.Errorf("row %d that is asked for is another", row)
		}
	}
	if s := v.Shape(); s.Virtual != 2 || s.MaxPositions != tinyPositions-2 || s.OwnAfter != 0 {
		t.Errorf("shape %+v", s)
	}
	none := NewVirtual(m, 0)
	for i, got := range hidden(t, none, dev, texts...) {
		if !slices.Equal(got, hidden(t, m, dev, texts...)[i]) {
			t.Errorf("without virtual tokens sequence %d is another", i)
		}
	}
}

// TestPromptDecodes: the virtual tokens go into the cache where a sequence begins, once, and what is copied has them.
func TestPromptDecodes(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	v := prompted(m)
	want := hidden(t, v, dev, texts...)
	c := NewCache(dev, device.F32, v.Shape(), 3, 9)
	first := feed(t, v, dev, c, []int{2}, texts[2][:3])[0]
	c.Copy(0, 2, 3)
	// going on, beginning, and a copy that goes on
	both := feed(t, v, dev, c, []int{2, 1, 0}, texts[2][3:6], texts[0][:2], texts[2][3:])
	last := feed(t, v, dev, c, []int{2, 1}, texts[2][6:], texts[0][2:])
	for what, got := range map[string][2][]float32{
		"pieces": {slices.Concat(first, both[0], last[0]), want[2]}, "beside another": {slices.Concat(both[1], last[1]), want[0]}, "a copy": {slices.Concat(first, both[2]), want[2]},
	} {
		if !slices.Equal(got[0], got[1]) {
			t.Errorf("%s: the text behind virtual tokens is another", what)
		}
	}
	c.Truncate(1, 4)
	c.Grow(12) // with the virtual tokens' rows and all four of the text
	if got := feed(t, v, dev, c, []int{1}, texts[0][4:])[0]; !slices.Equal(got, want[0][4*tinyC:]) {
		t.Error("in a cache that grew the text goes on otherwise")
	}
	c.Free()
}

// TestPrefixIsLikeTokens: keys and values that a layer makes of tokens do, as a prefix of it, what the tokens would.
func TestPrefixIsLikeTokens(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	want := hidden(t, m, dev, behind(texts)...)
	const width = tinyK * tinyD
	c := NewCache(dev, device.F32, m.Shape(), 1, 2)
	feed(t, m, dev, c, []int{0}, []int32{3, 9})
	prefix := make([]float32, 2*2*2*width) // [2, layers*2*K*D]
	for i := range m.Layers {
		for part, x := range []*tensor.Tensor{c.keys[i], c.values[i]} {
			values, err := x.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			for row := range 2 {
				copy(prefix[row*4*width+(2*i+part)*width:], values[row*width:][:width])
			}
		}
	}
	c.Free()
	v := NewVirtual(m, 2)
	v.Prefix = func(t *tensor.Tape) *tensor.Tensor { return t.Floats(prefix, 2, 4*width) }
	for i, got := range hidden(t, v, dev, texts...) {
		if !slices.Equal(got, want[i][2*tinyC:]) {
			t.Errorf("sequence %d is another than behind the tokens", i)
		}
	}
	c = NewCache(dev, device.F32, v.Shape(), 2, 9)
	got := slices.Concat(feed(t, v, dev, c, []int{1}, texts[2][:4])[0], feed(t, v, dev, c, []int{1}, texts[2][4:])[0])
	if !slices.Equal(got, want[2][2*tinyC:]) {
		t.Error("decoded in two pieces a sequence is another")
	}
	c.Free()
}

// TestPromptLearns: gradients reach the virtual tokens, as the change of the loss says, and layers
// that run again give the same ones.
func TestPromptLearns(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	for _, p := range Params(m) {
		p.Freeze()
	}
	prompt, prefix := NewParam(Init{Std: 0.5}, 2, tinyC), NewParam(Init{Std: 0.5}, 2, 2*2*tinyK*tinyD)
	Initialize([]Named{{"prompt", prompt}, {"prefix", prefix}}, dev, device.F32, 1)
	defer Free([]Named{{"prompt", prompt}, {"prefix", prefix}})
	for name, p := range map[string]*Param{"prompt": prompt, "prefix": prefix} {
		v := NewVirtual(m, 2)
		make := func(t *tensor.Tape) *tensor.Tensor { return tensor.Rows(p.Tensor, t.Ints([]int32{0, 1})) }
		if v.Prompt = make; name == "prefix" {
			v.Prompt, v.Prefix = nil, make
		}
		loss := func(again int, learn bool) (float64, []float32) {
			tape := tensor.NewTape(dev, device.F32)
			tape.Train(1, 0, 0)
			defer tape.Reset()
			in := packed(tape, texts...)
			in.Recompute = again
			l := Loss(v, in, slices.Repeat([]int32{2}, in.IDs.Len()), tensor.CrossEntropyOptions{Tokens: in.IDs.Len()}).Total
			value, err := l.Item()
			if err != nil {
				t.Fatal(err)
			}
			if !learn {
				return value, nil
			}
			tape.Backward(l)
			g, err := p.GradFloat32s()
			if err != nil {
				t.Fatal(err)
			}
			p.FreeGrad()
			return value, g
		}
		_, g := loss(0, true)
		if _, again := loss(2, true); !slices.Equal(g, again) {
			t.Errorf("%s: with layers run again the gradient is another", name)
		}
		values, err := p.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, 5, len(values) - 1} {
			const h = 2e-3
			moved := slices.Clone(values)
			moved[i] += h
			p.Write(moved)
			above, _ := loss(0, false)
			moved[i] -= 2 * h
			p.Write(moved)
			below, _ := loss(0, false)
			p.Write(values)
			if slope := (above - below) / (2 * h); math.Abs(slope-float64(g[i])) > 2e-3*max(1, math.Abs(slope)) {
				t.Errorf("%s: number %d has the gradient %v, the loss changes by %v", name, i, g[i], slope)
			}
		}
	}
}

// TestEmbed looks tokens up as the model does.
func TestEmbed(t *testing.T) {
	m, dev := newTiny(t, `{}`, 0)
	v := NewVirtual(m, 2)
	got := inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor { return v.Embed(tape, []int32{3, 9, 3}) })
	want := inferred(t, dev, func(tape *tensor.Tape) *tensor.Tensor { return m.Embed.Forward(tape.Ints([]int32{3, 9, 3})) })
	if !slices.Equal(got, want) || m.Embed.after != nil {
		t.Errorf("embeddings %v, want %v", got, want)
	}
}
