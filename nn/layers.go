package nn

import (
	"math"
	"slices"

	"hone/device"
	"hone/tensor"
)

// Adapter changes what a linear layer computes, without touching its parameters.
type Adapter interface {
	// Forward maps x [N, in] to [N, out]; base computes the layer as it is without the adapter, into fresh memory.
	Forward(x *tensor.Tensor, base func(*tensor.Tensor) *tensor.Tensor) *tensor.Tensor
}

// WeightReader is an adapter that may compute with the weights of its layer, and not by way of base alone, as
// DoRA does.
type WeightReader interface{ ReadsWeight() bool }

// Projection is a linear layer that can be adapted: *Linear or *Conv1D.
type Projection interface {
	Sizes() (in, out int)              // channels of a row that goes in and of one that comes out
	Parameters() (weight, bias *Param) // bias may be nil
	InFirst() bool                     // the weight is stored [in, out]
	Adapt(Adapter)                     // nil takes the adapter off
	Adapted() Adapter                  // what Adapt set
}

// Linear is y = x·Wᵀ + b.
type Linear struct {
	Weight  *Param `hf:"weight"` // [out, in]
	Bias    *Param `hf:"bias"`   // [out] or nil
	adapter Adapter
}

// NewLinear declares a linear layer whose weights start normal with standard deviation std.
func NewLinear(in, out int, bias bool, std float64) *Linear {
	l := &Linear{Weight: NewParam(Init{Std: std}, out, in)}
	if bias {
		l.Bias = NewParam(Init{}, out)
	}
	return l
}

// Forward maps x [N, in] to [N, out].
func (l *Linear) Forward(x *tensor.Tensor) *tensor.Tensor {
	if l.adapter == nil {
		return l.base(x)
	}
	return l.adapter.Forward(x, l.base)
}

func (l *Linear) base(x *tensor.Tensor) *tensor.Tensor {
	return tensor.Linear(x, l.Weight.Tensor, value(l.Bias))
}

// Project is Forward of several layers of one x [N, in], such as queries, keys and values: [N, out] of each.
// Where none is adapted or packed they are one call of a device that has such a call, so that no core waits
// between them.
func Project(x *tensor.Tensor, layers ...*Linear) []*tensor.Tensor {
	if slices.ContainsFunc(layers, func(l *Linear) bool { return l.adapter != nil }) {
		ys := make([]*tensor.Tensor, len(layers))
		for i, l := range layers {
			ys[i] = l.Forward(x)
		}
		return ys
	}
	weights := make([]tensor.Weights, 0, 4)
	for _, l := range layers {
		weights = append(weights, tensor.Weights{W: l.Weight.Tensor, B: value(l.Bias)})
	}
	return tensor.Linears(x, weights...)
}

// Sizes are the numbers of channels in and out.
func (l *Linear) Sizes() (in, out int) { return l.Weight.Shape[1], l.Weight.Shape[0] }

// Parameters are the layer's own.
func (l *Linear) Parameters() (weight, bias *Param) { return l.Weight, l.Bias }

// InFirst is false: the weight is stored [out, in].
func (l *Linear) InFirst() bool { return false }

// Adapt sets the adapter.
func (l *Linear) Adapt(a Adapter) { l.adapter = a }

// Adapted is the adapter, nil without one.
func (l *Linear) Adapted() Adapter { return l.adapter }

// Conv1D is y = x·W + b, a linear layer in the layout of GPT-2's checkpoints.
type Conv1D struct {
	Weight  *Param `hf:"weight"` // [in, out]
	Bias    *Param `hf:"bias"`   // [out]
	adapter Adapter
}

// NewConv1D declares such a layer.
func NewConv1D(in, out int, std float64) *Conv1D {
	return &Conv1D{Weight: NewParam(Init{Std: std}, in, out), Bias: NewParam(Init{}, out)}
}

// Forward maps x [N, in] to [N, out].
func (l *Conv1D) Forward(x *tensor.Tensor) *tensor.Tensor {
	if l.adapter == nil {
		return l.base(x)
	}
	return l.adapter.Forward(x, l.base)
}

func (l *Conv1D) base(x *tensor.Tensor) *tensor.Tensor {
	return tensor.Conv1D(x, l.Weight.Tensor, l.Bias.Tensor)
}

// Sizes are the numbers of channels in and out.
func (l *Conv1D) Sizes() (in, out int) { return l.Weight.Shape[0], l.Weight.Shape[1] }

// Parameters are the layer's own.
func (l *Conv1D) Parameters() (weight, bias *Param) { return l.Weight, l.Bias }

// InFirst is true: the weight is stored [in, out].
func (l *Conv1D) InFirst() bool { return true }

// Adapt sets the adapter.
func (l *Conv1D) Adapt(a Adapter) { l.adapter = a }

// Adapted is the adapter, nil without one.
func (l *Conv1D) Adapted() Adapter { return l.adapter }

// Embedding maps ids to rows of a table.
type Embedding struct {
	Weight *Param                              `hf:"weight"` // [V, C]
	after  func(*tensor.Tensor) *tensor.Tensor // what Virtual makes of the embedded tokens; nil: nothing
}

// NewEmbedding declares a table of rows×cols.
func NewEmbedding(rows, cols int, std float64) *Embedding {
	return &Embedding{Weight: NewParam(Init{Std: std}, rows, cols)}
}

// Forward looks ids [N] up: [N, C].
func (e *Embedding) Forward(ids *tensor.Tensor) *tensor.Tensor {
	return e.finish(tensor.Embedding(ids, e.Weight.Tensor))
}

// finish puts the rows of virtual tokens before those of the text, where there are any.
func (e *Embedding) finish(x *tensor.Tensor) *tensor.Tensor {
	if e.after == nil {
		return x
	}
	return e.after(x)
}

// Scaled looks ids [N] up and multiplies the rows by scale, which is first rounded to the type of activations as
// Gemma's is: [N, C].
func (e *Embedding) Scaled(ids *tensor.Tensor, scale float64) *tensor.Tensor {
	x := tensor.Embedding(ids, e.Weight.Tensor)
	s := float32(scale)
	if x.DType() == device.BF16 { // to the nearest, ties to even, in the upper half of the bits
		bits := math.Float32bits(s)
		s = math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
	}
	return e.finish(tensor.Scale(x, s))
}

// RMSNorm scales rows to unit root mean square, then by its weights:
// x/sqrt(mean(x²)+Eps)·(Offset+Weight) (Zhang & Sennrich, 2019).
type RMSNorm struct {
	Weight *Param `hf:"weight"` // [C]
	Eps    float32
	Offset float32 // added to each weight
}

// NewRMSNorm declares a norm over c channels.
func NewRMSNorm(c int, eps float64) *RMSNorm {
	return &RMSNorm{Weight: NewParam(Init{Value: 1}, c), Eps: float32(eps)}
}

// NewOffsetRMSNorm declares a norm whose checkpoint stores its weights less 1, as Gemma's do.
func NewOffsetRMSNorm(c int, eps float64) *RMSNorm {
	return &RMSNorm{Weight: NewParam(Init{}, c), Eps: float32(eps), Offset: 1}
}

// Forward normalises the rows of x [N, C], or the heads of x [N, H*D] for a norm over D channels.
func (n *RMSNorm) Forward(x *tensor.Tensor) *tensor.Tensor {
	return tensor.RMSNorm(x, n.Weight.Tensor, n.Eps, n.Offset)
}

// LayerNorm scales rows to zero mean and unit variance, then by its weights:
// (x-mean)/sqrt(var+Eps)·Weight + Bias (Ba et al., 2016).
type LayerNorm struct {
	Weight *Param `hf:"weight"` // [C]
	Bias   *Param `hf:"bias"`   // [C]
	Eps    float32
}

// NewLayerNorm declares a norm over c channels.
func NewLayerNorm(c int, eps float64) *LayerNorm {
	return &LayerNorm{NewParam(Init{Value: 1}, c), NewParam(Init{}, c), float32(eps)}
}

// Forward normalises x [N, C].
func (n *LayerNorm) Forward(x *tensor.Tensor) *tensor.Tensor {
	return tensor.LayerNorm(x, n.Weight.Tensor, value(n.Bias), n.Eps)
}

// GatedMLP is the feed-forward down(act(gate(x))·up(x)) (Shazeer, "GLU Variants Improve Transformer", 2020).
type GatedMLP struct {
	GateProj *Linear `hf:"gate_proj"` // [F, C]
	UpProj   *Linear `hf:"up_proj"`   // [F, C]
	DownProj *Linear `hf:"down_proj"` // [C, F]
	act      device.UnaryOp
}

// NewGatedMLP declares a feed-forward of c channels and width f whose weights start with standard deviation std.
func NewGatedMLP(c, f int, bias bool, act device.UnaryOp, std float64) *GatedMLP {
	return &GatedMLP{NewLinear(c, f, bias, std), NewLinear(c, f, bias, std), NewLinear(f, c, bias, std), act}
}

// Forward maps x [N, C] to [N, C].
func (m *GatedMLP) Forward(x *tensor.Tensor) *tensor.Tensor {
	h := Project(x, m.GateProj, m.UpProj)
	return m.DownProj.Forward(tensor.Gated(m.act, h[0], h[1]))
}

// value is the tensor of an optional parameter.
func value(p *Param) *tensor.Tensor {
	if p == nil {
		return nil
	}
	return p.Tensor
}
