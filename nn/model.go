package nn

import (
	"math"

	"hone/device"
	"hone/tensor"
)

// Model is a decoder-only language model.
type Model interface {
	// Hidden runs the model up to its final norm: [N, C], or of the rows alone that HiddenAt asks for.
	Hidden(in Input) *tensor.Tensor
	// Head is the output layer.
	Head() tensor.Head
	Shape() Shape
}

// Shape is the sizes of a model that its users plan with.
type Shape struct {
	Layers, Hidden          int  // blocks; C
	Heads, KVHeads, HeadDim int  // H, K, D
	FFN, Vocab              int  // F, V
	MaxPositions            int  // tokens of the longest sequence; 0: no end
	Tied                    bool // the head shares the embedding table

	Experts, ExpertsPerToken int     // feed-forwards of a layer and how many of them work on a token; 0: one for all
	RouterLoss               float32 // coefficient of the load-balancing loss in training, 0: off

	// Virtual tokens stand before every sequence, and no text has them. MaxPositions is without them.
	Virtual int
	// A sequence longer than OwnAfter is rotated by frequencies that depend on its length; 0: none is.
	OwnAfter int
	// A sequence longer than LongAfter is rotated otherwise from its first token on, so that its
	// cache must start anew; 0: none is.
	LongAfter int
}

// Input is what a model runs on: the packed tokens of one or more sequences, one behind the other without
// padding. It is a value: what changes it (Reusing, Balanced, HiddenAt) gives back another, and a model
// passes it down to where a layer asks it.
type Input struct {
	IDs, Positions *tensor.Tensor    // [N] I32
	Sequences      []device.Sequence // which rows belong together; without a cache keys stand where queries do
	Cache          *Cache            // nil in training
	Dropout        float32           // on embeddings and on what each block adds to the residual stream
	Noise          float32           // NEFTune's alpha: noise on the embedded tokens in training
	Recompute      int               // this many layers are run again in the backward pass instead of kept
	Balance        *tensor.Balance   // learns what routers pick; nil when nobody asks

	ids, positions []int32 // IDs and Positions on the host; ids nil where nothing is shared
	expected       []int   // of each sequence: the length it will reach, when that is known to be more than its positions tell

	places     []int32       // rows of the cache that the tokens' keys and values go to
	placeIndex device.Buffer // the same on a device that reads them

	kept      []int32        // rows that HiddenAt asks for; nil: all
	keptIndex *tensor.Tensor // the same on the device
	last      int            // number of the layer that gives them alone

	results *tensor.Results // of linear layers, known of these very rows; nil: none
	known   []int32         // number of each row in results

	spread *tensor.Tensor // rows of keys and values as the sequences have them, where some are shared (share.go)
	prefix *tensor.Tensor // keys and values before every sequence, [P, layers*2*K*D] (virtual.go)
}

// NewInput puts a packed batch on the tape's device: ids and positions [N], and offsets
// [S+1], sequence s being rows offsets[s] to offsets[s+1].
func NewInput(t *tensor.Tape, ids, positions, offsets []int32) Input {
	in := Input{IDs: t.Ints(ids), Positions: t.Ints(positions), ids: ids, positions: positions}
	for s := range len(offsets) - 1 {
		at, n := int(offsets[s]), int(offsets[s+1]-offsets[s])
		in.Sequences = append(in.Sequences, device.Sequence{Q: at, QLen: n, K: at, KLen: n})
	}
	return in
}

// HiddenAt runs the model up to its final norm for some rows of in, such as those that predict an answer's
// tokens: [R, C], with the bits that Hidden gives them. Of the last layer's other rows only keys and values
// are computed, which is all that is needed of them, and what sequences begin with alike runs once.
func HiddenAt(m Model, in Input, rows []int32) *tensor.Tensor {
	if in.Balance != nil { // the loss is of all that routers pick, so all rows must run
		in.kept = nil
		return tensor.Rows(m.Hidden(in), in.IDs.Tape().Ints(rows))
	}
	s := m.Shape()
	in, rows = in.shared(s, rows)
	t := in.IDs.Tape()
	in.kept, in.keptIndex, in.last = rows, t.Ints(rows), s.Layers-1
	// Results are told apart by their number of rows: all, or those asked for. A layer that is run again
	// would ask for its results twice.
	if in.results == nil || in.Recompute > 0 || len(rows) == len(in.known) {
		return m.Hidden(in)
	}
	asked := make([]int32, len(rows))
	for i, row := range rows {
		asked[i] = in.known[row]
	}
	return t.Reuse(in.results, []*tensor.Tensor{t.Ints(in.known), t.Ints(asked)}, func() *tensor.Tensor { return m.Hidden(in) })
}

// HiddenKept is Hidden of all rows of in, with what m's linear layers make of some of them added to results.
func HiddenKept(m Model, in Input, results *tensor.Results, rows []int32) *tensor.Tensor {
	return in.IDs.Tape().Keep(results, in.IDs.Len(), rows, func() *tensor.Tensor { return m.Hidden(in) })
}

// Reusing is in with what HiddenKept added to results when m, with the same parameters, ran on the same
// tokens: row i of in was row rows[i] there. HiddenAt then has the same bits without the products, once.
func (in Input) Reusing(results *tensor.Results, rows []int32) Input {
	in.results, in.known = results, rows
	return in
}

// Reusable tells that a model of this shape runs the same linear layers on all rows of its input, so
// that their results can be kept.
func (s Shape) Reusable() bool {
	return s.Experts == 0 && s.Virtual == 0 && s.OwnAfter == 0 && s.LongAfter == 0
}

// Kept is those rows of x [N, C], an input of layer i, whose results the layer has to give. Attend keeps the
// same rows, so that a layer takes what it adds to them, or computes beside them, from Kept.
func (in Input) Kept(i int, x *tensor.Tensor) *tensor.Tensor {
	if in.kept == nil || i != in.last {
		return x
	}
	return tensor.Rows(x, in.keptIndex)
}

// length is that of sequence s as scaled rotary positions count it: the highest position in it and 1,
// or what it is expected to reach.
func (in Input) length(s int) int {
	n := 0
	if in.expected != nil {
		n = in.expected[s]
	}
	for _, p := range in.positions[in.Sequences[s].Q:][:in.Sequences[s].QLen] {
		n = max(n, int(p)+1)
	}
	return n
}

// Embedded is what becomes of the embedded tokens x [N, C] before the first layer: NEFTune's noise, uniform
// in ±alpha/sqrt(L·C) for a sequence of L tokens (Jain et al., "NEFTune: Noisy Embeddings Improve Instruction
// Finetuning", 2023), and dropout.
func (in Input) Embedded(x *tensor.Tensor) *tensor.Tensor {
	if in.Noise > 0 {
		bounds := make([]float32, x.Rows())
		for _, s := range in.Sequences {
			for row := range s.QLen {
				bounds[s.Q+row] = in.Noise / float32(math.Sqrt(float64(s.QLen)*float64(x.Cols())))
			}
		}
		x = tensor.Noise(x, bounds)
	}
	return in.Drop(x)
}

// Drop applies the input's dropout to what a block adds; x itself where there is none, or outside training.
func (in Input) Drop(x *tensor.Tensor) *tensor.Tensor { return tensor.Dropout(x, in.Dropout) }

// Layer runs layer number i, f, on x, keeping what the backward pass needs or recomputing it.
func (in Input) Layer(i int, x *tensor.Tensor, f func(*tensor.Tensor) *tensor.Tensor) *tensor.Tensor {
	if i < in.Recompute && in.Cache == nil { // the first layers: their inputs would be kept longest
		if in.prefix != nil && in.prefix.Tape() != nil {
			return tensor.Recompute(x, f, in.prefix)
		}
		return tensor.Recompute(x, f)
	}
	return x.Tape().Scope(func() *tensor.Tensor { return f(x) })
}

// Attend is the attention of layer i: q [N, H*D], k and v [N, K*D] of the new tokens, result [N, H*D], or of
// the rows that are Kept. With a cache, k and v are first put into it and the queries see all that is there.
func (in Input) Attend(i int, q, k, v *tensor.Tensor, s tensor.AttentionShape) *tensor.Tensor {
	s.Sequences = in.Sequences
	if in.prefix != nil {
		k, v, s.Sequences = in.prepend(i, k, v)
	}
	if in.Cache != nil {
		k, v = in.Cache.put(i, k, v, in)
	}
	return in.Kept(i, tensor.Attention(q, in.spreadKeys(k), in.spreadKeys(v), s))
}

// AttendColumns is Attend of q, k and v that stand side by side in one matrix [N, (H+2K)*D].
func (in Input) AttendColumns(i int, qkv *tensor.Tensor, s tensor.AttentionShape) *tensor.Tensor {
	// a cache, a prefix and shared beginnings want keys and values as matrices of their own, which they copy rows of
	if in.prefix == nil && in.Cache == nil && in.spread == nil {
		s.Sequences = in.Sequences
		return in.Kept(i, tensor.AttentionColumns(qkv, s))
	}
	p := tensor.SplitCols(qkv, s.Heads*s.D, s.KVHeads*s.D, s.KVHeads*s.D)
	return in.Attend(i, p[0], p[1], p[2], s)
}

// Logits are the scores of the next token for the given rows of h, or for all when rows is nil: [R, V].
// They come in the tape's dtype.
func Logits(m Model, h *tensor.Tensor, rows *tensor.Tensor) *tensor.Tensor {
	if rows != nil {
		h = tensor.Rows(h, rows)
	}
	return m.Head().Logits(h)
}
