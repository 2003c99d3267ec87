//go:build linux && (amd64 || arm64)

package cuda

import (
	"testing"

	"hone/device"
	"hone/generate"
	"hone/model"
	"hone/nn"
	"hone/plan"
	"hone/tensor"
)

// TestPlanForACard: the device that only counts has the peak that this one has, when tokens are written and when weights in NF4 pass a gradient on.
func TestPlanForACard(t *testing.T) {
	const config = `{"model_type":"llama","hidden_size":128,"num_hidden_layers":2,"num_attention_heads":2,"num_key_value_heads":1,"intermediate_size":256,
		"vocab_size":256,"tie_word_embeddings":true,"max_position_embeddings":256,"rms_norm_eps":1e-5}`
	write := func(t *testing.T, dev device.Device, m *model.Model) {
		o := generate.DefaultOptions()
		o.MaxNewTokens, o.Temperature = 2, 0
		prompts := [][]int32{make([]int32, 140), make([]int32, 9)} // the keys of the first are cut into parts
		if _, err := generate.New(dev, device.BF16, m, nil).Run(t.Context(), prompts, o, nil); err != nil {
			t.Fatal(err)
		}
	}
	learn := func(t *testing.T, dev device.Device, m *model.Model) {
		for _, p := range m.Params[1:] { // the embedding alone is trained
			p.Freeze()
		}
		tape := tensor.NewTape(dev, device.BF16)
		tape.Train(0, 0, 0)
		const n = 24
		ids := make([]int32, n)
		in := nn.NewInput(tape, ids, ids, []int32{0, n})
		l := tensor.LinearCrossEntropy(m.Hidden(in), m.Head(), tape.Ints(ids), tensor.CrossEntropyOptions{Tokens: n})
		tape.Backward(l)
		tape.Reset()
		m.Params[0].FreeGrad()
	}
	for name, c := range map[string]struct {
		packed model.Packed
		run    func(t *testing.T, dev device.Device, m *model.Model)
	}{"writing": {model.Packed{}, write}, "writing by NF4": {model.Packed{Packing: device.NF4}, write}, "learning by NF4": {model.Packed{Packing: device.NF4}, learn}} {
		t.Run(name, func(t *testing.T) {
			dev := openEmulated(t, rising, false)
			m, err := model.NewPacked([]byte(config), dev, device.BF16, c.packed, 1)
			if err != nil {
				t.Fatal(err)
			}
			dev.ResetPeak()
			c.run(t, dev, m)
			counter := plan.NewDevice()
			counter.OnCard = true
			if m, err = model.Declare([]byte(config), counter); err != nil {
				t.Fatal(err)
			}
			m.Alloc(device.BF16, c.packed)
			counter.ResetPeak()
			c.run(t, counter, m)
			got, want := counter.Memory().Peak, dev.Memory().Peak
			t.Logf("planned %d, taken %d", got, want)
			if off := float64(got)/float64(want) - 1; off < -0.01 || off > 0.01 {
				t.Errorf("planned %d bytes, taken %d (%+.1f%%)", got, want, 100*off)
			}
		})
	}
}
