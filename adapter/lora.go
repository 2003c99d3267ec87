package adapter

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// LoRA is an adapter on a model's linear layers, y = base(x) + scale·B·A·x, and the parameters of the base
// that are trained with it.
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

// Forward adds the low-rank update to what the layer computes: in one operation with the layer's own product where nothing stands
// between the two, which is the usual LoRA (see tensor.Updated).
func (p *pair) Forward(x *tensor.Tensor, base func(*tensor.Tensor) *tensor.Tensor) *tensor.Tensor {
	dropped := tensor.Dropout(x, p.dropout)
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

func (p *pair) update(x *tensor.Tensor) tensor.Update {
	return tensor.Update{X: x, A: p.A.Tensor, B: p.B.Tensor, Scale: p.scale}
}

// ReadsWeight tells that DoRA measures the layer's weight each time.
func (p *pair) ReadsWeight() bool { return p.M != nil }

// magnified is DoRA (Liu et al., 2024): the weight W + scale·B·A, its rows brought to the length M. The length that they have is
// taken for a constant, as in the paper's section 4.3; the layer's bias stays as it is.
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

// Model is what an adapter can be put on.
type Model struct {
	nn.Model
	Params []nn.Named
}

// Attach freezes the model and puts a LoRA of the given configuration on it. Its parameters have no memory yet:
// Initialize is next. The update is on until Enable or Free takes it off; Open attaches one with the values of its files.
func Attach(m Model, c Config) (*LoRA, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l := &LoRA{Config: c, base: m.Model}
	layers, err := targets(m, &c)
	if err != nil {
		return nil, err
	}
	for _, p := range m.Params {
		p.Freeze()
	}
	for _, layer := range layers {
		// rank_pattern and alpha_pattern may give each layer its own
		in, out := layer.Sizes()
		r, scale := c.rank(layer.Name)
		// A as torch's kaiming_uniform_(a=√5) has it, ±1/√in, and B of zeros: the first update is none, and B's gradient is not zero.
		p := &pair{A: nn.NewParam(nn.Init{Bound: 1 / math.Sqrt(float64(in))}, r, in), B: nn.NewParam(nn.Init{}, out, r),
			scale: scale, dropout: float32(c.LoraDropout), alone: true, layer: layer}
		if c.UseDoRA {
			p.M = nn.NewParam(nn.Init{Value: 1}, out)
		}
		if c.InitLoraWeights == "gaussian" {
			p.A.Init = nn.Init{Std: 1 / float64(r)}
		}
		l.pairs, l.layers = append(l.pairs, p), append(l.layers, layer)
		l.Config.FanInFanOut = l.Config.FanInFanOut || layer.InFirst()
	}
	if c.TargetModules.Pattern == AllLinear && len(c.LayersToTransform) > 0 { // PEFT takes numbers of layers beside names alone
		var names []string
		for _, layer := range layers {
			names = append(names, layer.Name)
		}
		l.Config.TargetModules = Modules{Names: endings(names)}
	}
	if err := l.thaw(m); err != nil {
		return nil, err
	}
	l.Enable(true)
	return l, nil
}

// targets are the layers that c selects.
func targets(m Model, c *Config) ([]nn.Layer, error) {
	wanted, err := c.TargetModules.matcher()
	if err != nil {
		return nil, err
	}
	excluded, err := c.ExcludeModules.matcher()
	if err != nil {
		return nil, err
	}
	head := m.Head().Weight
	var names []string
	var list []nn.Layer
	for _, layer := range nn.Layers(m.Model) {
		weight, _ := layer.Parameters()
		isHead := weight.Tensor == head
		if !isHead {
			names = append(names, layer.Name)
		}
		if !wanted(layer.Name) || excluded(layer.Name) || !c.transforms(layer.Name) {
			continue
		}
		// The loss is fused with the output layer and never holds all logits, so nothing can be added between them.
		if isHead && c.TargetModules.Pattern != AllLinear {
			return nil, fmt.Errorf("target_modules names the output layer %s, which cannot have a low-rank update; name it in modules_to_save", layer.Name)
		}
		if !isHead {
			list = append(list, layer)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("target_modules selects no layer; the model has %s", strings.Join(endings(names), ", "))
	}
	return list, nil
}

var layerNumber = regexp.MustCompile(`\.(\d+)\.`)

// transforms tells whether the layer's number is among those to be adapted.
func (c *Config) transforms(name string) bool {
	if len(c.LayersToTransform) == 0 {
		return true
	}
	found := layerNumber.FindStringSubmatch(name)
	if found == nil {
		return false
	}
	i, err := strconv.Atoi(found[1])
	return err == nil && slices.Contains(c.LayersToTransform, i)
}

// endings are the different last parts of names.
func endings(names []string) []string {
	var list []string
	for _, n := range names {
		if end := n[strings.LastIndexByte(n, '.')+1:]; !slices.Contains(list, end) {
			list = append(list, end)
		}
	}
	return list
}

// thaw lists the parameters of the base that are trained: modules_to_save and biases.
func (l *LoRA) thaw(m Model) error {
	adapted := make(map[string]bool)
	for _, layer := range l.layers {
		adapted[layer.Name] = true
	}
	saved, err := savedModules(m, l.Config.ModulesToSave, l.Config.TaskType)
	if err != nil {
		return err
	}
	output, tied := outputOf(m)
	for _, p := range m.Params {
		module, last := split(p.Name)
		trained := saved[module] || last == "bias" && (l.Config.Bias == "all" || l.Config.Bias == "lora_only" && adapted[module])
		if trained {
			p.Thaw()
			if adapted[module] { // PEFT wraps an adapted layer
				module += ".base_layer"
			}
			if module == output && !tied {
				module = outputLayer
			}
			own := nn.Named{Name: prefix + module + "." + last, Param: p.Param}
			if l.own = append(l.own, own); module == output && tied && l.Config.TaskType == TaskCausal {
				l.tied = &own
			}
		}
	}
	l.nameOutput(output, tied)
	return nil
}

// outputLayer is PEFT's name of the layer that gives logits, for it is that of transformers 5, whatever checkpoints call it.
const outputLayer = "lm_head"

// outputOf is the module that gives logits and whether it is the embedding.
func outputOf(m Model) (module string, tied bool) {
	head := m.Head().Weight
	for _, p := range m.Params {
		if p.Tensor == head {
			module, _ = split(p.Name)
		}
	}
	return module, m.Shape().Tied
}

// nameOutput writes modules_to_save as PEFT needs it: the output layer by its name, and also where it is the embedding, for PEFT would
// leave it as it was.
func (l *LoRA) nameOutput(output string, tied bool) {
	var names []string
	for _, name := range l.Config.ModulesToSave {
		if !tied && (name == output || strings.HasSuffix(output, "."+name)) {
			name = outputLayer
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if l.tied != nil && !slices.Contains(names, outputLayer) {
		names = append(names, outputLayer)
	}
	l.Config.ModulesToSave = names
}

// classifiers are the modules that PEFT names in the modules_to_save of every classifier, whether the model has them or not.
var classifiers = []string{"classifier", "score"}

// savedModules are the modules of m that names, the ends of theirs, select to be trained in full.
func savedModules(m Model, names []string, task string) (map[string]bool, error) {
	saved, found := map[string]bool{}, map[string]bool{}
	output, tied := outputOf(m)
	for _, p := range m.Params {
		module, _ := split(p.Name)
		for _, name := range names {
			if module == name || strings.HasSuffix(module, "."+name) || module == output && !tied && name == outputLayer {
				saved[module], found[name] = true, true
			}
		}
	}
	for _, name := range names {
		if name == outputLayer && tied && task == TaskCausal {
			if !saved[output] {
				return nil, fmt.Errorf("modules_to_save names %s, which is the embedding in this model; name %s", name, output[strings.LastIndexByte(output, '.')+1:])
			}
			continue
		}
		if !found[name] && !(task == TaskSequence && slices.Contains(classifiers, name)) {
			return nil, fmt.Errorf("modules_to_save names %s, which the model does not have", name)
		}
	}
	return saved, nil
}

// split parts the name of a parameter into its module's and its own.
func split(name string) (module, last string) {
	at := strings.LastIndexByte(name, '.')
	return name[:max(at, 0)], name[at+1:]
}

// Enable turns the update of all layers on, in place of another adapter's, or off; off, the model computes what it did before
// Attach, unless parameters of the base were trained. A layer on which another adapter was put since keeps that one.
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

// Initialize gives the added parameters memory and fresh values, with which the model computes what the base does. It fails
// where PiSSA cannot decompose the base's weights.
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

// Merge adds the updates to the base's weights, which are computed in f32 and rounded to their type, and takes the
// adapter off.
func (l *LoRA) Merge() error {
	for i, p := range l.pairs {
		weight, _ := l.layers[i].Parameters()
		w, errW := weight.Float32s()
		a, errA := p.A.Float32s()
		b, errB := p.B.Float32s()
		if err := errors.Join(errW, errA, errB); err != nil {
			return fmt.Errorf("merge %s: %w", l.layers[i].Name, err)
		}
		in, out := l.layers[i].Sizes()
		// the same order as in Forward: the update, less where PiSSA began, then DoRA's magnitudes of the whole
		how := merging{in: in, out: out, r: p.A.Shape[0], scale: p.scale, inFirst: l.layers[i].InFirst()}
		update(w, a, b, how)
		if p.a0 != nil {
			a, errA = p.a0.Float32s()
			b, errB = p.b0.Float32s()
			if err := errors.Join(errA, errB); err != nil {
				return fmt.Errorf("merge %s: %w", l.layers[i].Name, err)
			}
			how.scale = -how.scale
			update(w, a, b, how)
		}
		if p.M != nil {
			m, err := p.M.Float32s()
			if err != nil {
				return fmt.Errorf("merge %s: %w", l.layers[i].Name, err)
			}
			how.magnify(w, m)
		}
		weight.Write(w)
	}
	l.Enable(false)
	return nil
}

// merging is the layer that an update is added to, and the update.
type merging struct {
	in, out, r int
	scale      float32
	inFirst    bool
}

// update adds scale·b·a to w, a row of the sum at a time in f32.
func update(w, a, b []float32, m merging) {
	row := make([]float32, m.in)
	for o := range m.out {
		clear(row)
		for r := range m.r {
			s := m.scale * b[o*m.r+r]
			for i, v := range a[r*m.in : (r+1)*m.in] {
				row[i] += s * v
			}
		}
		for i, v := range row {
			if m.inFirst {
				w[i*m.out+o] += v
			} else {
				w[o*m.in+i] += v
			}
		}
	}
}

// magnify brings the weights of each output to its magnitude.
func (m merging) magnify(w, magnitudes []float32) {
	at := func(o, i int) *float32 {
		if m.inFirst {
			return &w[i*m.out+o]
		}
		return &w[o*m.in+i]
	}
	for o := range m.out {
		squares := 0.0
		for i := range m.in {
			squares += float64(*at(o, i)) * float64(*at(o, i))
		}
		// row o of the merged weight: m_o · w_o / ‖w_o‖
		factor := float32(float64(magnitudes[o]) / math.Sqrt(squares))
		for i := range m.in {
			*at(o, i) *= factor
		}
	}
}

// fusedExperts are the layers of Mixtral's experts that transformers 5 holds as one parameter.
var fusedExperts = regexp.MustCompile(`\.experts\.\d+\.w[13]$`)

// Note says what PEFT makes of the adapter otherwise than hone does, or is empty. PEFT fuses the updates of w1 and w3 to one of twice the rank and
// doubles alpha with it, which keeps alpha/r, but makes rsLoRA's alpha/sqrt(r) larger by sqrt(2).
func (l *LoRA) Note() string {
	if l.Config.UseRSLoRA && slices.ContainsFunc(l.layers, func(n nn.Layer) bool { return fusedExperts.MatchString(n.Name) }) {
		return "with rsLoRA on experts, PEFT beside transformers 5 reads the updates of w1 and w3 sqrt(2) times as large as hone; use the merged model there, or train with lora.use_rslora=false"
	}
	return ""
}
