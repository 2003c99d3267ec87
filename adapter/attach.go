package adapter

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hone/nn"
)

// Attach freezes the model and puts a LoRA of the given configuration on it. Its parameters have no
// memory yet: Initialize is next. The update is on until Enable or Free takes it off; Open attaches
// one with the values of its files.
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
		in, out := layer.Sizes()
		r, scale := c.rank(layer.Name) // rank_pattern and alpha_pattern may give each layer its own
		// A as torch's kaiming_uniform_(a=√5) has it, ±1/√in, and B of zeros: the first update is
		// none, and B's gradient is not zero.
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
	l.nameTargets()
	if err := l.thaw(m); err != nil {
		return nil, err
	}
	l.Enable(true)
	return l, nil
}

// nameTargets writes target_modules as PEFT takes it: numbers of layers stand beside names alone, and an
// expression must match no module but linear ones, while here it is asked for layers only (".*mlp.*" is
// also the name of an activation), so that what it matched is named.
func (l *LoRA) nameTargets() {
	pattern := l.Config.TargetModules.Pattern
	if pattern == "" || pattern == AllLinear && len(l.Config.LayersToTransform) == 0 {
		return
	}
	var names []string
	for _, layer := range l.layers {
		names = append(names, layer.Name)
	}
	if pattern == AllLinear {
		names = endings(names)
	}
	l.Config.TargetModules = Modules{Names: names}
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
	if m.Shape().Tied && c.TaskType != TaskSequence && slices.Contains(c.TargetModules.Names, outputLayer) &&
		!excluded(outputLayer) && !c.saves(outputLayer) {
		return nil, fmt.Errorf("target_modules names the output layer %s, which is the embedding in this model "+
			"and cannot have a low-rank update; leave it out, or merge an adapter that has it with PEFT", outputLayer)
	}
	var names []string
	var list []nn.Layer
	for _, layer := range nn.Layers(m.Model) {
		weight, _ := layer.Parameters()
		isHead := weight.Tensor == head
		if !isHead {
			names = append(names, layer.Name)
		}
		// a layer by its whole name is wanted whatever numbers are asked for, as in PEFT
		if !wanted(layer.Name) || excluded(layer.Name) || c.saves(layer.Name) ||
			!c.transforms(layer.Name) && !slices.Contains(c.TargetModules.Names, layer.Name) {
			continue
		}
		// The loss is fused with the output layer and never holds all logits, so nothing can be added between them.
		if isHead && c.TargetModules.Pattern != AllLinear {
			return nil, fmt.Errorf("target_modules names the output layer %s, which cannot have a low-rank update; "+
				"name it in modules_to_save, or merge an adapter that has it with PEFT", layer.Name)
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

// saves tells whether modules_to_save has a layer, or what it is in, by whole parts of its name: PEFT puts no
// update on what it trains in full.
func (c *Config) saves(layer string) bool {
	return slices.ContainsFunc(c.ModulesToSave, func(name string) bool {
		return name != "" && strings.Contains("."+layer+".", "."+name+".")
	})
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

// thaw lists the parameters of the base that are trained, modules_to_save and biases, by the names
// that PEFT's files have for them: behind base_model.model., with base_layer for what an adapter
// wraps, and lm_head for the output layer.
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

// outputLayer is PEFT's name of the layer that gives logits, for it is that of transformers 5, whatever
// checkpoints call it.
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

// nameOutput writes modules_to_save as PEFT needs it: the output layer by its name, and also where it is the
// embedding, for PEFT would leave it as it was.
func (l *LoRA) nameOutput(output string, tied bool) {
	var names []string
	for _, name := range l.Config.ModulesToSave {
		if !tied && strings.HasSuffix(output, name) {
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

// savedModules are the modules of m that names, the ends of theirs or of what they are in, select to be
// trained in full: mlp is all of each feed-forward. As for PEFT, and unlike target_modules, an end need not
// begin at a dot: norm also names every input_layernorm.
func savedModules(m Model, names []string, task string) (map[string]bool, error) {
	saved, found := map[string]bool{}, map[string]bool{}
	output, tied := outputOf(m)
	for _, p := range m.Params {
		module, _ := split(p.Name)
		for _, name := range names {
			if name != "" && endsWithin(module, name) || module == output && !tied && name == outputLayer {
				saved[module], found[name] = true, true
			}
		}
	}
	for _, name := range names {
		if name == outputLayer && tied && task == TaskCausal {
			if !saved[output] {
				_, embedding := split(output)
				return nil, fmt.Errorf("modules_to_save names %s, which is the embedding in this model; name %s, or merge "+
					"an adapter that has it with PEFT", name, embedding)
			}
			continue
		}
		if !found[name] && !(task == TaskSequence && slices.Contains(classifiers, name)) {
			return nil, fmt.Errorf("modules_to_save names %s, which the model does not have", name)
		}
	}
	return saved, nil
}

// endsWithin tells whether the name of a module, or of one that it is in, ends in end.
func endsWithin(module, end string) bool {
	for ; module != ""; module, _ = split(module) {
		if strings.HasSuffix(module, end) {
			return true
		}
	}
	return false
}

// classifiers are the modules that PEFT names in the modules_to_save of every classifier, whether the model
// has them or not.
var classifiers = []string{"classifier", "score"}

// split parts the name of a parameter into its module's and its own.
func split(name string) (module, last string) {
	at := strings.LastIndexByte(name, '.')
	return name[:max(at, 0)], name[at+1:]
}
