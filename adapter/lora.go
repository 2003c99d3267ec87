package adapter

import (
	"regexp"
	"slices"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// LoRA is an adapter on a model's linear layers, y = base(x) + scale·B·A·x (Hu et al., 2021), and the
// parameters of the base that are trained with it.
type LoRA struct {
	Config Config
	pairs  []*pair
	base   nn.Model
	own    []nn.Named // parameters of the base that are trained, by PEFT's names
	layers []nn.Layer // those that are adapted, in the order of pairs
	tied   *nn.Named  // of own: the embedding, where it is the output layer too
}

// pair is the adapter of one layer.
type pair struct {
	A       *nn.Param // [R, in]
	B       *nn.Param // [out, R]
	M       *nn.Param // [out], the magnitudes of DoRA, or nil
	scale   float32
	dropout float32
	alone   bool           // base is the layer as it is, not under another adapter
	layer   nn.Layer       // the adapted one
	a0, b0  *tensor.Tensor // where PiSSA's update starts; nil for others
}

// Forward maps x [N, in] to [N, out]: what the layer computes and the low-rank update. The usual LoRA is one
// operation with the layer's own product (tensor.Updated), for nothing stands between the two; PiSSA also
// takes off where its update started, and DoRA scales the whole.
func (p *pair) Forward(x *tensor.Tensor, base func(*tensor.Tensor) *tensor.Tensor) *tensor.Tensor {
	dropped := tensor.Dropout(x, p.dropout) // what the update sees; the layer sees all of x
	switch {
	case p.M == nil && p.a0 == nil && p.alone:
		weight, bias := p.layer.Parameters()
		return tensor.Updated(x, weight.Tensor, value(bias), !p.layer.InFirst(), p.update(dropped))
	case p.M == nil:
		y := base(x)
		if p.a0 != nil {
			y = tensor.LowRank(y, x, p.a0, p.b0, -p.scale)
		}
		return tensor.LowRank(y, dropped, p.A.Tensor, p.B.Tensor, p.scale)
	}
	y := p.magnified(dropped, base)
	if dropped == x {
		return y
	}
	return tensor.Add(y, tensor.Sub(base(x), base(dropped))) // PEFT drops what the magnitudes change, not the base's own
}

// update is the pair as an update of its layer that sees x.
func (p *pair) update(x *tensor.Tensor) tensor.Update {
	return tensor.Update{X: x, A: p.A.Tensor, B: p.B.Tensor, Scale: p.scale}
}

// ReadsWeight implements nn.WeightReader: DoRA measures the layer's weight each time.
func (p *pair) ReadsWeight() bool { return p.M != nil }

// magnified is DoRA (Liu et al., 2024): the weight W + scale·B·A, its rows brought to the length M. The length
// that they have is taken for a constant, as in the paper's section 4.3; the layer's bias stays as it is.
func (p *pair) magnified(x *tensor.Tensor, base func(*tensor.Tensor) *tensor.Tensor) *tensor.Tensor {
	weight, bias := p.layer.Parameters()
	inverse := tensor.InverseNorms(x.Tape(), weight.Tensor, p.update(x), p.layer.InFirst())
	return tensor.Magnitude(tensor.LowRank(base(x), x, p.A.Tensor, p.B.Tensor, p.scale), p.M.Tensor, inverse, value(bias))
}

// value is the tensor of an optional parameter.
func value(p *nn.Param) *tensor.Tensor {
	if p == nil {
		return nil
	}
	return p.Tensor
}

// Enable turns the update of all layers on, in place of another adapter's, or off; off, the model
// computes what it did before Attach, unless parameters of the base were trained. A layer on which
// another adapter was put since keeps that one.
func (l *LoRA) Enable(on bool) {
	for i, layer := range l.layers {
		switch {
		case on:
			layer.Adapt(l.pairs[i])
		case layer.Adapted() == l.pairs[i]:
			layer.Adapt(nil)
		}
	}
}

// Wrapped is the model itself, whose layers have the update.
func (l *LoRA) Wrapped() nn.Model { return l.base }

// Params lists what is trained, by the names of PEFT.
func (l *LoRA) Params() []nn.Named {
	return append(l.Added(), l.own...)
}

// Own lists what of Params is the model's own: biases and modules_to_save.
func (l *LoRA) Own() []nn.Named { return slices.Clone(l.own) }

// prefix stands before the names of modules in a PEFT checkpoint.
const prefix = "base_model.model."

// Added lists the parameters that the base does not have.
func (l *LoRA) Added() []nn.Named {
	var list []nn.Named
	for i, p := range l.pairs {
		name := prefix + l.layers[i].Name
		list = append(list, nn.Named{Name: name + ".lora_A.weight", Param: p.A}, nn.Named{Name: name + ".lora_B.weight", Param: p.B})
		if p.M != nil {
			list = append(list, nn.Named{Name: name + ".lora_magnitude_vector", Param: p.M})
		}
	}
	return list
}

// Initialize gives the added parameters memory and fresh values, with which the model computes what the base
// does. It fails where PiSSA cannot decompose the base's weights.
func (l *LoRA) Initialize(dev device.Device, dtype device.DType, seed uint64) error {
	nn.Initialize(l.Added(), dev, dtype, seed)
	for _, p := range l.pairs {
		if p.M != nil {
			p.startMagnitudes(dev, dtype)
		}
	}
	return l.startPrincipal(dev, dtype, seed, true)
}

// startMagnitudes makes the magnitudes those of the base's weight, with which DoRA computes what the base does.
func (p *pair) startMagnitudes(dev device.Device, dtype device.DType) {
	tape := tensor.NewTape(dev, dtype)
	defer tape.Reset()
	tape.Infer()
	weight, _ := p.layer.Parameters()
	inverse := tensor.InverseNorms(tape, weight.Tensor, p.update(nil), p.layer.InFirst())
	// M was filled with 1, and B is 0: M becomes 1/(1/‖W‖)
	dev.Binary(device.Div, p.M.Buffer(), p.M.Buffer(), inverse.Buffer())
}

// Free takes the adapter off and gives its memory back.
func (l *LoRA) Free() {
	l.Enable(false)
	nn.Free(l.Added())
	for _, p := range l.pairs {
		if p.a0 != nil {
			p.a0.Free()
			p.b0.Free()
		}
	}
}

// fusedExperts are the layers of Mixtral's experts that transformers 5 holds as one parameter.
var fusedExperts = regexp.MustCompile(`\.experts\.\d+\.w[13]$`)

// Note says what PEFT makes of the adapter otherwise than hone does, or is empty. PEFT fuses the updates of
// w1 and w3 to one of twice the rank and doubles alpha with it, which keeps alpha/r, but makes rsLoRA's
// alpha/sqrt(r) larger by sqrt(2).
func (l *LoRA) Note() string {
	if l.Config.UseRSLoRA && slices.ContainsFunc(l.layers, func(n nn.Layer) bool { return fusedExperts.MatchString(n.Name) }) {
		return "with rsLoRA on experts, PEFT beside transformers 5 reads the updates of w1 and w3 sqrt(2) times as large as hone; " +
			"use the merged model there, or train with lora.use_rslora=false"
	}
	return ""
}
