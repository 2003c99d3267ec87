package optim_test

import (
	"fmt"
	"math"
	"testing"

	"hone/device"
	"hone/optim"
	"hone/safetensors"
	"hone/tensor"
)

// goldenNumbers are those of testdata/gen/adamw8.py.
func goldenNumbers(n, step int) []float32 {
	v := make([]float32, n)
	for i := range v {
		u := uint32(i)*2654435761 + uint32(step*40503*65537)
		x := float64(int64(u)-1<<31) / (1 << 31)
		v[i] = float32(x * x * x)
	}
	return v
}

// TestGolden8 follows bitsandbytes' 8-bit AdamW over ten steps: weights on the way, and in the end codes and scales.
// Where a number lies between two codes within rounding, the codes part, so a few weights may differ.
func TestGolden8(t *testing.T) {
	golden, err := safetensors.Open(goldenPath("adamw8", "trajectory.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer golden.Close()
	for _, signed := range []bool{true, false} {
		checkMap(t, golden, signed)
	}
	onDevices(t, func(t *testing.T, dev device.Device) {
		large, small := param(dev, device.F32, goldenNumbers(65*64, 0)...), param(dev, device.F32, goldenNumbers(100, 0)...)
		opt := optim.New(dev, []optim.Param{{Name: "large", Tensor: large, Decay: true}, {Name: "small", Tensor: small}},
			optim.Config{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, EightBit: true})
		defer opt.Free()
		for step := 1; step <= 10; step++ {
			backward(dev, device.F32, map[*tensor.Tensor][]float32{large: goldenNumbers(65*64, step), small: goldenNumbers(100, step)})
			if _, err := opt.Step(0.01); err != nil {
				t.Fatal(err)
			}
			if step == 1 || step == 4 || step == 10 {
				few(t, fmt.Sprintf("large weight at step %d", step), large, floats(t, golden, fmt.Sprint("large.", step)))
				few(t, fmt.Sprintf("small weight at step %d", step), small, floats(t, golden, fmt.Sprint("small.", step)))
			}
		}
		checkStates(t, golden, opt)
	})
}

func checkMap(t *testing.T, golden *safetensors.Archive, signed bool) {
	t.Helper()
	name := map[bool]string{true: "map.signed", false: "map.unsigned"}[signed]
	codes := device.DynamicMap(signed)
	for i, want := range floats(t, golden, name) {
		if float64(codes[i]) != want {
			t.Errorf("%s: code %d is %v, want %v", name, i, codes[i], want)
		}
	}
}

// few: all but 3 in a thousand weights are the same within rounding.
func few(t *testing.T, what string, p *tensor.Tensor, want []float64) {
	t.Helper()
	got, err := p.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	off := 0
	for i, w := range want {
		if math.Abs(float64(got[i])-w) > 2e-6+1e-5*math.Abs(w) {
			off++
		}
	}
	if off > len(want)*3/1000 {
		t.Errorf("%s: %d of %d are off", what, off, len(want))
	}
}

func checkStates(t *testing.T, golden *safetensors.Archive, opt *optim.AdamW) {
	t.Helper()
	for _, s := range opt.State() {
		if s.Name != "large" || s.Kind == optim.Master {
			continue
		}
		name := map[optim.Kind]string{optim.Moment1: "m", optim.Moment2: "v", optim.Moment1Scale: "m_scale", optim.Moment2Scale: "v_scale"}[s.Kind]
		want, _ := golden.Tensor(name)
		if s.DType() == device.F32 {
			got, numbers := make([]float32, s.Len()), floats(t, golden, name)
			if err := s.Read(got); err != nil {
				t.Fatal(err)
			}
			for i, w := range numbers {
				near(t, fmt.Sprintf("%s %d", name, i), float64(got[i]), w, 3e-5) // 1-beta2 is rounded to f32
			}
			continue
		}
		got, off := make([]uint8, s.Len()), 0
		if err := s.Read(got); err != nil {
			t.Fatal(err)
		}
		for i, w := range want.Data {
			if got[i] != w {
				off++
			}
		}
		if off > len(got)*3/1000 {
			t.Errorf("%s: %d of %d codes differ", name, off, len(got))
		}
	}
}
