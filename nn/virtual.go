package nn

import (
	"reflect"

	"hone/device"
	"hone/tensor"
)

// Virtual is a model with Tokens virtual tokens before every sequence: rows of Prompt before those of the text's
// embeddings (prompt tuning, Lester et al., 2021), or keys and values of Prefix in every layer (prefix tuning, Li &
// Liang, 2021). The text's positions begin behind them. What goes in and comes out are the rows of the text alone.
type Virtual struct {
	Model
	Tokens int
	Prompt func(*tensor.Tape) *tensor.Tensor // [Tokens, C]
	// [Tokens, layers*2*K*D]: of each layer the keys, which are not rotated, then the values
	Prefix    func(*tensor.Tape) *tensor.Tensor
	embedding *Embedding
}

// NewVirtual puts virtual tokens before a model's sequences; the caller sets Prompt or Prefix.
func NewVirtual(m Model, tokens int) *Virtual {
	return &Virtual{Model: m, Tokens: tokens, embedding: tokenEmbedding(m)}
}

// tokenEmbedding is the first embedding of the model that has a row for each token.
func tokenEmbedding(m Model) (found *Embedding) {
	vocab := m.Shape().Vocab
	walk(reflect.ValueOf(m), nil, func(_ []string, module any) {
		if e, ok := module.(*Embedding); ok && found == nil && e.Weight.Shape[0] == vocab {
			found = e
		}
	})
	return found
}

// Shape leaves room for the virtual tokens.
func (v *Virtual) Shape() Shape {
	s := v.Model.Shape()
	s.Virtual = v.Tokens
	if s.MaxPositions > 0 {
		s.MaxPositions -= v.Tokens
	}
	if s.LongAfter > 0 {
		s.LongAfter = max(1, s.LongAfter-v.Tokens)
	}
	return s
}

// Free gives back what the model holds beside its parameters.
func (v *Virtual) Free() {
	if f, ok := v.Model.(interface{ Free() }); ok {
		f.Free()
	}
}

// Hidden runs the model with the virtual tokens: [N, C] of the text's rows. A prefix is handed down to attention
// with the input (Input.prepend). Rows of a prompt are put before the embedded tokens of each sequence that begins
// here (Embedding.after), go through all layers, and are left out again by asking for the text's rows alone.
func (v *Virtual) Hidden(in Input) *tensor.Tensor {
	t := in.IDs.Tape()
	if v.Tokens == 0 {
		return v.Model.Hidden(in)
	}
	if v.Prefix != nil {
		in.prefix = v.Prefix(t)
		return v.Model.Hidden(v.shift(in, nil))
	}
	var at []int // rows before which a sequence begins
	for _, s := range in.Sequences {
		if in.Cache == nil || s.KLen-s.QLen == v.Tokens { // a slot that holds no text yet
			at = append(at, s.Q)
		}
	}
	if len(at) == 0 {
		return v.Model.Hidden(v.shift(in, nil))
	}
	prompt := v.Prompt(t)
	v.embedding.after = func(x *tensor.Tensor) *tensor.Tensor { return tensor.Prepend(x, prompt, at, 0) }
	defer func() { v.embedding.after = nil }()
	rows := v.textRows(in.IDs.Len(), at)
	if in.kept != nil {
		text := rows
		rows = make([]int32, len(in.kept))
		for i, row := range in.kept {
			rows[i] = text[row]
		}
	}
	return HiddenAt(v.Model, v.shift(in, at), rows)
}

// Embed looks ids up as the model does, scale and all: [N, C].
func (v *Virtual) Embed(t *tensor.Tape, ids []int32) *tensor.Tensor {
	var found *tensor.Tensor
	positions := make([]int32, len(ids))
	for i := range positions {
		positions[i] = int32(i)
	}
	// A whole pass is run for the sake of its first step: only the model knows what it does to the rows of
	// its table. It happens once, for a prompt that begins as a text.
	v.embedding.after = func(x *tensor.Tensor) *tensor.Tensor { found = tensor.Scale(x, 1); return x }
	defer func() { v.embedding.after = nil }()
	v.Model.Hidden(NewInput(t, ids, positions, []int32{0, int32(len(ids))}))
	return found
}

// textRows are the numbers of the text's n rows among all.
func (v *Virtual) textRows(n int, at []int) []int32 {
	rows, before := make([]int32, n), 0
	for i := range rows {
		for before < len(at) && at[before] <= i {
			before++
		}
		rows[i] = int32(i + before*v.Tokens)
	}
	return rows
}

// shift moves the positions behind the virtual tokens, and makes room for their rows before rows at.
func (v *Virtual) shift(in Input, at []int) Input {
	out, before := in, 0
	out.ids, out.positions, out.Sequences, out.expected = nil, nil, nil, nil
	for i, s := range in.Sequences {
		fresh := before < len(at) && at[before] == s.Q
		q := device.Sequence{Q: s.Q + before*v.Tokens, QLen: s.QLen, K: s.K, KLen: s.KLen}
		if fresh {
			before++
			q.QLen += v.Tokens
			for p := range v.Tokens {
				out.positions = append(out.positions, int32(p))
			}
			if in.Cache == nil {
				q.KLen += v.Tokens
			}
		}
		if in.Cache == nil {
			q.K = q.Q
		}
		for _, p := range in.positions[s.Q : s.Q+s.QLen] {
			out.positions = append(out.positions, p+int32(v.Tokens))
		}
		if in.expected != nil {
			out.expected = append(out.expected, in.expected[i]+v.Tokens)
		}
		out.Sequences = append(out.Sequences, q)
	}
	t := in.IDs.Tape()
	out.Positions = t.Ints(out.positions)
	if in.Cache != nil {
		return out.placed(t)
	}
	return out
}

// prepend puts the prefix of layer i before the keys and values of every sequence, or into the cache where one begins.
func (in Input) prepend(i int, k, v *tensor.Tensor) (keys, values *tensor.Tensor, sequences []device.Sequence) {
	p, w := in.prefix.Rows(), k.Cols()
	if in.Cache != nil {
		in.Cache.begin(i, in.prefix, in.Sequences)
		return k, v, in.Sequences
	}
	var at []int
	for s, q := range in.Sequences {
		at = append(at, q.Q)
		sequences = append(sequences, device.Sequence{Q: q.Q, QLen: q.QLen, K: q.Q + s*p, KLen: q.QLen + p})
	}
	return tensor.Prepend(k, in.prefix, at, 2*i*w), tensor.Prepend(v, in.prefix, at, (2*i+1)*w), sequences
}

// begin puts the prefix of layer i into the slots that hold nothing yet.
func (c *Cache) begin(i int, prefix *tensor.Tensor, sequences []device.Sequence) {
	w, p := c.width, c.virtual
	for _, s := range sequences {
		if s.KLen-s.QLen != p {
			continue
		}
		for part, x := range []*tensor.Tensor{c.keys[i], c.values[i]} {
			from := (2*i + part) * w
			c.dev.Copy2D(device.Copy2D{Dst: x.Buffer().Slice(s.K*w, (s.K+p)*w), DstStride: w,
				Src: prefix.Buffer().Slice(from, prefix.Len()), SrcStride: prefix.Cols(), Rows: p, Cols: w})
		}
	}
}
