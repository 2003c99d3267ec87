package adapter_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/safetensors"
	"hone/tensor"
)

// TestPackedGolden demands the bytes that bitsandbytes stores and, but for rounding, the numbers that they stand for.
func TestPackedGolden(t *testing.T) {
	golden := archive(t, goldenPath("packed.safetensors"))
	near(t, "NF4 codes", device.NF4Codes[:], floats(t, golden, "nf4"), 0)
	dynamic := device.DynamicMap(true)
	near(t, "dynamic codes", dynamic[:], floats(t, golden, "dynamic"), 0)
	for kind, dev := range devices(t) {
		for _, name := range []string{"small", "odd", "blocks", "heavy"} {
			for packing, key := range map[device.Packing]string{device.NF4: ".nf4", device.Int8: ".int8"} {
				t.Run(kind+"/"+name+key, func(t *testing.T) { packGolden(t, dev, golden, name, packing, key) })
			}
		}
	}
}

func packGolden(t *testing.T, dev device.Device, golden *safetensors.Archive, name string, packing device.Packing, key string) {
	info, _ := golden.Tensor(name)
	v := floats(t, golden, name)
	p := device.NewPacked(dev, packing, info.Shape[0], info.Shape[1])
	defer p.Free(dev)
	x := dev.Alloc(len(v), device.F32)
	defer dev.Free(x)
	dev.Write(x, v)
	dev.Pack(p, x)
	sameBytes := func(what string, b device.Buffer) {
		got := make([]uint8, b.Len)
		if err := dev.Read(got, b); err != nil {
			t.Fatal(err)
		}
		want, ok := golden.Tensor(name + key + what)
		if !ok || !slices.Equal(got, want.Data) {
			t.Fatalf("%s%s differ from bitsandbytes'", name+key, what)
		}
	}
	close := func(what string, b device.Buffer) {
		got := make([]float32, b.Len)
		if err := dev.Read(got, b); err != nil {
			t.Fatal(err)
		}
		for i, w := range floats(t, golden, name+key+what) {
			if !(math.Abs(float64(got[i]-w)) <= 1e-6*math.Abs(float64(w))+1e-9) {
				t.Fatalf("%s[%d] is %v, want %v", name+key+what, i, got[i], w)
			}
		}
	}
	sameBytes(".codes", p.Codes)
	close(".nested", p.Nested)
	if packing == device.NF4 {
		sameBytes(".scales", p.Scales)
		close(".offset", p.Offset)
	}
	dev.Unpack(x, p)
	close(".dense", x)
}

// TestTrajectories takes twenty steps beside the reference implementation, whose losses are in double precision.
func TestTrajectories(t *testing.T) {
	text, err := os.ReadFile(goldenPath("trajectories.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]float64
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for kind, dev := range devices(t) {
		for method, losses := range want {
			if testing.Short() && kind != "cpu" {
				continue
			}
			t.Run(kind+"/"+method, func(t *testing.T) { follow(t, dev, method, losses) })
		}
	}
}

func follow(t *testing.T, dev device.Device, method string, want []float64) {
	const base = "llama_untied"
	packed := model.Packed{}
	if method == "qlora" {
		packed.Packing = device.NF4
	}
	m, err := model.OpenPacked(goldenPath(base), dev, device.F32, packed)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	params, trained := m.Params, m.Model
	if method == "prompt" {
		p := trainedPrompt(t, dev, m, "prompt_llama", archive(t, goldenPath("prompt_llama", "golden.safetensors")))
		defer p.Free()
		params, trained = p.Params(), p.Wrapped()
	} else if method != "full" {
		a, err := adapter.Open(goldenPath("lora_llama"), adapter.Model{Model: m.Model, Params: m.Params}, dev, device.F32)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Free()
		params = a.Params()
	}
	var list []optim.Param
	for _, p := range params {
		list = append(list, optim.Param{Name: p.Name, Tensor: p.Tensor, Decay: len(p.Shape) > 1})
	}
	o := optim.New(dev, list, optim.Config{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, MaxGradNorm: 1})
	defer o.Free()
	in := batch(t, base)
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	for step, w := range want {
		tape.Train(1, step, 0)
		loss := nn.Loss(trained, nn.NewInput(tape, in.ids, in.positions, in.offsets), in.targets, tensor.CrossEntropyOptions{Tokens: in.supervised}).Total
		got, err := loss.Item()
		if err != nil {
			t.Fatal(err)
		}
		if !(math.Abs(got-w) <= 1e-4*w) {
			t.Fatalf("loss of step %d is %v, want %v", step, got, w)
		}
		tape.Backward(loss)
		tape.Reset()
		if _, err := o.Step(1e-3); err != nil {
			t.Fatal(err)
		}
	}
}
