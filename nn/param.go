package nn

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"hone/device"
	"hone/tensor"
)

// Init says how a fresh parameter is filled: normal numbers of standard deviation Std when
// that is positive, numbers uniform in ±Bound when that is, else the constant Value.
type Init struct {
	Std   float64
	Bound float64
	Value float32
}

// Param is a parameter that knows its shape and its initial values before it has memory.
type Param struct {
	*tensor.Tensor
	Init    Init
	Single  bool           // a matrix that is kept in F32 whatever the type of activations is
	Storage device.Packing // how Initialize and Load keep the values; all but Unpacked are for frozen weights of linear layers
}

// NewParam declares a parameter of the given shape.
func NewParam(init Init, shape ...int) *Param {
	return &Param{Tensor: tensor.NewParam(shape...), Init: init}
}

// Named is a parameter and its name in a checkpoint, such as model.layers.0.mlp.up_proj.weight.
type Named struct {
	Name string
	*Param
}

// Params lists the parameters of a model in the order of its fields. It walks structs, pointers and
// slices and joins the `hf` tags it passes with dots; nil pointers (a tied head, an absent bias) and
// fields without a tag are left out. The same walk serves load, save, count and the optimizer.
func Params(model any) []Named {
	var list []Named
	walk(reflect.ValueOf(model), nil, func(path []string, module any) {
		if p, ok := module.(*Param); ok {
			list = append(list, Named{strings.Join(path, "."), p})
		}
	})
	return list
}

// Layer is a linear layer and its name, such as model.layers.0.mlp.up_proj.
type Layer struct {
	Name string
	Projection
}

// Layers lists the linear layers of a model, by the walk of Params.
func Layers(model any) []Layer {
	var list []Layer
	walk(reflect.ValueOf(model), nil, func(path []string, module any) {
		if p, ok := module.(Projection); ok {
			list = append(list, Layer{strings.Join(path, "."), p})
		}
	})
	return list
}

// walk visits what pointers the tagged fields hold, from the outside in.
func walk(v reflect.Value, path []string, visit func(path []string, module any)) {
	switch v.Kind() {
	case reflect.Interface:
		walk(v.Elem(), path, visit)
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		visit(path, v.Interface())
		if _, ok := v.Interface().(*Param); ok {
			return
		}
		walk(v.Elem(), path, visit)
	case reflect.Slice:
		for i := range v.Len() { // append may overwrite what a sibling wrote: visit joins its path before the next is made
			walk(v.Index(i), append(path, strconv.Itoa(i)), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			tag, ok := v.Type().Field(i).Tag.Lookup("hf")
			if !ok {
				continue
			}
			next := path
			if tag != "" {
				next = append(path, tag)
			}
			walk(v.Field(i), next, visit)
		}
	}
}

// DTypeOf is the type that a parameter is kept in on the device when activations are of dtype:
// matrices follow the activations, vectors (norm weights, biases) and what is Single stay F32, which costs nothing.
func DTypeOf(p *Param, dtype device.DType) device.DType {
	if len(p.Shape) < 2 || p.Single {
		return device.F32
	}
	return dtype
}

// Initialize gives the parameters memory and fresh values. A parameter's values are a function of
// seed and its name alone.
func Initialize(params []Named, dev device.Device, dtype device.DType, seed uint64) {
	for _, p := range params {
		p.start(dev, dtype, func(b device.Buffer) { p.draw(dev, b, tensor.NewRandomFor(seed, p.Name)) })
	}
}

// Make is Initialize with values that fill writes to buffers, F32 or BF16, for what is random.
func Make(params []Named, dev device.Device, dtype device.DType, fill func(device.Buffer)) {
	for _, p := range params {
		p.start(dev, dtype, fill)
	}
}

// start gives the parameter memory and its first values, which random writes where they are no constant.
func (p *Param) start(dev device.Device, dtype device.DType, random func(device.Buffer)) {
	if p.Storage != device.Unpacked {
		whole := dev.Alloc(p.Len(), device.F32)
		defer dev.Free(whole) // also where the device has no room for the packed ones
		random(whole)
		p.PackBuffer(dev, dtype, p.Storage, whole)
		return
	}
	p.Alloc(dev, DTypeOf(p, dtype))
	if p.Init.Std == 0 && p.Init.Bound == 0 {
		dev.Fill(p.Buffer(), p.Init.Value)
		return
	}
	random(p.Buffer())
}

// drawPiece is how many values are drawn at a time, an even number: Normal makes them in pairs.
const drawPiece = 1 << 16

// draw fills b with the parameter's random values, a piece at a time: an embedding whole would be the
// largest thing on the Go heap, which keeps its pages for long.
func (p *Param) draw(dev device.Device, b device.Buffer, r tensor.Random) {
	v := make([]float32, min(p.Len(), drawPiece))
	for lo := 0; lo < p.Len(); lo += drawPiece {
		v := v[:min(drawPiece, p.Len()-lo)]
		if p.Init.Std > 0 {
			r.Normal(v, p.Init.Std)
		} else {
			r.Uniform(v, p.Init.Bound)
		}
		dev.Write(b.Slice(lo, lo+len(v)), v)
	}
}

// Load gives the parameters memory and the values that fetch returns for each name.
func Load(params []Named, dev device.Device, dtype device.DType, fetch func(name string, shape []int) ([]float32, error)) error {
	for _, p := range params {
		v, err := fetch(p.Name, p.Shape)
		if err != nil {
			return err
		}
		if len(v) != p.Len() {
			return fmt.Errorf("parameter %s has %d values in the checkpoint, want %v", p.Name, len(v), p.Shape)
		}
		if p.Storage != device.Unpacked {
			p.Pack(dev, dtype, p.Storage, v)
			continue
		}
		p.Set(dev, DTypeOf(p.Param, dtype), v)
	}
	return nil
}

// Place is where a checkpoint in another layout has a parameter: from element Offset of tensor Name on, which
// must be of shape Shape; without a Shape it is the tensor as it is. A model with such places has a method
// Elsewhere(name string) []Place.
type Place struct {
	Name   string
	Shape  []int
	Offset int
}

// Count is the number of elements of the parameters; a head that shares the embedding is no
// parameter of its own and counts once.
func Count(params []Named) int {
	n := 0
	for _, p := range params {
		n += p.Len()
	}
	return n
}

// Free gives all memory of the parameters back.
func Free(params []Named) {
	for _, p := range params {
		p.Free()
	}
}
