package nn

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/tensor"
)

// declared has all that the walk passes: a pointer, a slice, an empty tag, an interface, what has no tag and
// what is not there.
type declared struct {
	Body   *declaredBody          `hf:"model"`
	Head   *Linear                `hf:"lm_head"` // nil: tied
	Same   struct{ Scale *Param } `hf:""`
	Inside struct {
		Norm *RMSNorm `hf:"norm"`
	} `hf:""`
	Any    any `hf:"any"`
	Hidden *Linear
}

type declaredBody struct {
	Embed  *Embedding `hf:"embed_tokens"`
	Layers []*Linear  `hf:"layers"`
}

func declare() *declared {
	d := &declared{Body: &declaredBody{NewEmbedding(5, 4, 0.02), []*Linear{NewLinear(4, 4, true, 0.5), NewLinear(4, 2, false, 0)}}, Any: NewConv1D(2, 3, 0.1), Hidden: NewLinear(9, 9, false, 1)}
	d.Inside.Norm = NewRMSNorm(4, 1e-6)
	return d
}

func TestParamsAreThoseOfTheTags(t *testing.T) {
	d := declare()
	var names []string
	for _, p := range Params(d) {
		names = append(names, p.Name)
	}
	want := "model.embed_tokens.weight model.layers.0.weight model.layers.0.bias model.layers.1.weight norm.weight any.weight any.bias"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("parameters %s\nwant       %s", got, want)
	}
	if n := Count(Params(d)); n != 20+16+4+8+4+6+3 {
		t.Errorf("%d numbers", n)
	}
	names = nil
	for _, l := range Layers(d) {
		names = append(names, l.Name)
	}
	if got := strings.Join(names, " "); got != "model.layers.0 model.layers.1 any" {
		t.Errorf("layers %s", got)
	}
	if Params((*declared)(nil)) != nil || Params(declared{}) != nil {
		t.Error("what is not there has parameters")
	}
}

// TestInitialize: values depend on the seed and the name alone, with the deviation, bound or value
// that was declared; all is freed.
func TestInitialize(t *testing.T) {
	dev := devicetest.NewReference()
	values := func(list []Named, seed uint64) map[string][]float32 {
		all := map[string][]float32{}
		Initialize(list, dev, device.F32, seed)
		for _, p := range list {
			v, err := p.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			all[p.Name] = v
		}
		Free(list)
		return all
	}
	first, back, other := values(Params(declare()), 1), Params(declare()), values(Params(declare()), 2)
	slices.Reverse(back)
	again := values(back, 1)
	for name, v := range first {
		if !slices.Equal(v, again[name]) {
			t.Errorf("%s depends on the order", name)
		}
		random := strings.HasSuffix(name, ".weight") && name != "norm.weight" && name != "model.layers.1.weight"
		if slices.Equal(v, other[name]) == random {
			t.Errorf("%s of two seeds: %v and %v", name, v, other[name])
		}
	}
	for name, want := range map[string]float32{"norm.weight": 1, "any.bias": 0, "model.layers.1.weight": 0} {
		if i := slices.IndexFunc(first[name], func(v float32) bool { return v != want }); i >= 0 {
			t.Errorf("%s starts as %v", name, first[name])
		}
	}
	large := Named{"large", NewParam(Init{Std: 0.5}, 3, drawPiece)} // in several pieces, an odd number of them
	sum, square := 0.0, 0.0
	for _, v := range values([]Named{large}, 3)["large"] {
		sum, square = sum+float64(v), square+float64(v)*float64(v)
	}
	if n := float64(large.Len()); math.Abs(sum/n) > 0.005 || math.Abs(math.Sqrt(square/n)-0.5) > 0.005 {
		t.Errorf("mean %v and deviation %v of what is normal with 0.5", sum/n, math.Sqrt(square/n))
	}
	bound := Named{"bound", NewParam(Init{Bound: 0.25}, 1000)}
	if v := values([]Named{bound}, 3)["bound"]; slices.Max(v) > 0.25 || slices.Min(v) < -0.25 || slices.Max(v) < 0.24 || slices.Min(v) > -0.24 {
		t.Errorf("uniform in 0.25: from %v to %v", slices.Min(v), slices.Max(v))
	}
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// TestTypesOfParameters: matrices follow the activations; vectors and what is single stay F32.
func TestTypesOfParameters(t *testing.T) {
	matrix, vector, single := NewParam(Init{}, 2, 3), NewParam(Init{}, 3), NewParam(Init{}, 2, 3)
	single.Single = true
	for p, want := range map[*Param]device.DType{matrix: device.BF16, vector: device.F32, single: device.F32} {
		if got := DTypeOf(p, device.BF16); got != want || DTypeOf(p, device.F32) != device.F32 {
			t.Errorf("%v is %v", p.Shape, got)
		}
	}
}

// TestMake: fill is asked for what is random alone; the rest has its value.
func TestMake(t *testing.T) {
	dev := devicetest.NewReference()
	list := Params(declare())
	filled := 0
	Make(list, dev, device.F32, func(b device.Buffer) { filled += b.Len; dev.Fill(b, 7) })
	for _, p := range list {
		v, err := p.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		want := p.Init.Value
		if p.Init.Std > 0 {
			want = 7
		}
		if v[0] != want || v[len(v)-1] != want {
			t.Errorf("%s is %v, want %v", p.Name, v[0], want)
		}
	}
	if filled != 20+16+6 {
		t.Errorf("%d numbers are random", filled)
	}
	Free(list)
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// TestPackedParameters: values in few bits are near those that were drawn or loaded, and what is filled
// on the device is packed there.
func TestPackedParameters(t *testing.T) {
	dev := devicetest.NewReference()
	packed := func() (*Linear, []Named) {
		l := NewLinear(64, 64, false, 0.5)
		l.Weight.Storage = device.Int8
		return l, Params(l)
	}
	eye := make([]float32, 64*64)
	for i := range 64 {
		eye[i*64+i] = 1
	}
	weights := func(l *Linear) []float32 { // of the product with the identity
		b := newBench(t, dev)
		defer b.end()
		return b.values(l.Forward(b.tape.Floats(eye, 64, 64)))
	}
	drawn := NewLinear(64, 64, false, 0.5)
	Initialize(Params(drawn), dev, device.F32, 1)
	want := weights(drawn)
	l, list := packed()
	Initialize(list, dev, device.F32, 1)
	near(t, "drawn", weights(l), wide(want), 1.0/127)
	Free(list)
	values, err := drawn.Weight.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	l, list = packed()
	if err := Load(list, dev, device.F32, func(string, []int) ([]float32, error) { return values, nil }); err != nil {
		t.Fatal(err)
	}
	near(t, "loaded", weights(l), wide(want), 1.0/127)
	Free(list)
	l, list = packed()
	Make(list, dev, device.F32, func(b device.Buffer) { dev.Fill(b, 0.5) })
	if v := weights(l); v[0] != 0.5 || v[64*64-1] != 0.5 {
		t.Errorf("filled with 0.5 are %v and %v", v[0], v[64*64-1])
	}
	Free(list)
	Free(Params(drawn))
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// TestLoad: errors name the parameter; what fetch says is passed on.
func TestLoad(t *testing.T) {
	dev := devicetest.NewReference()
	list := Params(declare())
	err := Load(list, dev, device.F32, func(name string, shape []int) ([]float32, error) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float32, n)
		v[n-1] = float32(len(name))
		return v, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if v, err := p.Float32s(); err != nil || v[len(v)-1] != float32(len(p.Name)) {
			t.Errorf("%s is %v, %v", p.Name, v, err)
		}
	}
	Free(list)
	list = Params(declare())
	err = Load(list, dev, device.F32, func(string, []int) ([]float32, error) { return make([]float32, 20), nil })
	if err == nil || err.Error() != "parameter model.layers.0.weight has 20 values in the checkpoint, want [4 4]" {
		t.Errorf("a short parameter: %v", err)
	}
	Free(list)
	gone := errors.New("gone")
	if err := Load(list, dev, device.F32, func(string, []int) ([]float32, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("what cannot be fetched: %v", err)
	}
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}

// TestFrozenParametersHaveNoGradient: what is frozen takes no memory in the backward pass.
func TestFrozenParametersHaveNoGradient(t *testing.T) {
	dev := devicetest.NewReference()
	l := NewLinear(3, 2, true, 1)
	Initialize(Params(l), dev, device.F32, 1)
	l.Weight.Freeze()
	tape := tensor.NewTape(dev, device.F32)
	tape.Train(1, 0, 0)
	y := l.Forward(tape.Floats([]float32{1, 2, 3, 4, 5, 6}, 2, 3))
	tape.Backward(tensor.Sum(y))
	if l.Weight.Grad().Len != 0 {
		t.Error("a frozen weight has a gradient")
	}
	if g, err := l.Bias.GradFloat32s(); err != nil || !slices.Equal(g, []float32{2, 2}) {
		t.Errorf("the bias has the gradient %v, %v", g, err)
	}
	tape.Reset()
	Free(Params(l))
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left", left)
	}
}
