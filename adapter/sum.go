package adapter

import (
	"fmt"

	"hone/device"
	"hone/nn"
	"hone/tensor"
)

// Sum is several LoRA adapters on one model, whose updates add up, y = base(x) + Σ weight·scale·B·A·x: what
// PEFT computes with several active adapters, and what its add_weighted_adapter makes one adapter of with
// combination_type "cat". It is for use, not for training.
type Sum struct {
	list []*LoRA
	base nn.Model
}

// OpenSum puts the LoRA adapters in dirs on a model, all with the weight 1. DoRA, and adapters that bring
// parameters of the base, are errors: what they do is no update that adds up.
func OpenSum(dirs []string, m Model, dev device.Device, dtype device.DType) (*Sum, error) {
	s := &Sum{base: m.Model}
	weights := make([]float64, len(dirs))
	for i, dir := range dirs {
		if err := s.open(dir, m, dev, dtype); err != nil {
			s.Free()
			return nil, err
		}
		weights[i] = 1
	}
	s.Use(weights)
	return s, nil
}

// open adds an adapter, which is not yet among those in use.
func (s *Sum) open(dir string, m Model, dev device.Device, dtype device.DType) error {
	kind, err := Kind(dir)
	if err != nil {
		return err
	}
	if kind != "LORA" {
		return fmt.Errorf("open adapter %s: it is of kind %s, and only LoRA adapters add up; use it alone", dir, kind)
	}
	c, err := ReadConfig(dir)
	if err != nil {
		return err
	}
	const alone = "which does not add up; use it alone, or fold it in with hone merge"
	switch {
	case c.UseDoRA:
		// DoRA's rows are divided by the norm of base and update together: another update would change it.
		return fmt.Errorf("open adapter %s: it scales the whole weights (use_dora), %s", dir, alone)
	case len(c.ModulesToSave) > 0 || c.Bias == "all" || c.Bias == "lora_only": // they would be written over the base's
		return fmt.Errorf("open adapter %s: it brings parameters of the base (modules_to_save or bias), %s", dir, alone)
	}
	l, err := Open(dir, m, dev, dtype)
	if err == nil {
		s.list = append(s.list, l)
	}
	return err
}

// Use sets the weight of each adapter; one of weight 0 is off. With all off the model computes
// what the base does, bit for bit.
func (s *Sum) Use(weights []float64) {
	stacks := make(map[nn.Projection]stack)
	for i, l := range s.list {
		for j, p := range l.pairs {
			layer := l.layers[j].Projection
			if weights[i] != 0 {
				weighted := *p // a copy: the adapter's own scale stays what its file says
				weighted.scale *= float32(weights[i])
				weighted.alone = false
				stacks[layer] = append(stacks[layer], &weighted)
			}
			layer.Adapt(nil)
		}
	}
	// the order of a map does not matter here: each layer is set once
	for layer, updates := range stacks {
		layer.Adapt(updates)
	}
}

// Wrapped is the model itself, whose layers have the updates.
func (s *Sum) Wrapped() nn.Model { return s.base }

// Params lists the parameters of all adapters, one adapter's after the other's.
func (s *Sum) Params() (list []nn.Named) {
	for _, l := range s.list {
		list = append(list, l.Params()...)
	}
	return list
}

// Free takes the adapters off and gives their memory back.
func (s *Sum) Free() {
	s.Use(make([]float64, len(s.list)))
	for _, l := range s.list {
		l.Free()
	}
}

// stack is the updates of one layer.
type stack []*pair

// Forward adds them one after the other.
func (s stack) Forward(x *tensor.Tensor, base func(*tensor.Tensor) *tensor.Tensor) *tensor.Tensor {
	for _, p := range s {
		before := base
		base = func(x *tensor.Tensor) *tensor.Tensor { return p.Forward(x, before) }
	}
	return base(x)
}
