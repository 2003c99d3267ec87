package generate

import (
	"slices"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/nn"
	"hone/tensor"
)

// bitsConfigs have weights of linear layers in both orders, and heads of their own and tied ones.
var bitsConfigs = map[string]string{
	"llama": `{"model_type": "llama", "vocab_size": 300, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4,
		"num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.2}`,
	"gpt2": `{"model_type": "gpt2", "vocab_size": 300, "n_embd": 96, "n_layer": 3, "n_head": 4, "n_positions": 512, "initializer_range": 0.2}`,
}

// TestLogProbsEqualTraining: what the engine says of the tokens that it drew is, bit for bit, what a training
// pass over the packed sequences says, so that the first ratio of PPO is exactly 1.
func TestLogProbsEqualTraining(t *testing.T) {
	for name, config := range bitsConfigs {
		for _, dtype := range []device.DType{device.F32, device.BF16} {
			dev := cpu.New(cpu.Options{Threads: 2})
			m, err := model.New([]byte(config), dev, dtype, 3)
			if err != nil {
				t.Fatal(err)
			}
			opt := DefaultOptions()
			opt.MaxNewTokens, opt.BatchSize = 130, 3
			prompts := append(slices.Clone(prompts), slices.Repeat([]int32{9, 8, 7, 250}, 16))
			outs := mustRun(t, New(dev, dtype, m, nil), prompts, opt)
			var ids, targets, positions []int32
			offsets := []int32{0}
			for i, out := range outs {
				all := slices.Concat(prompts[i], out.Tokens)
				ids = append(ids, all[:len(all)-1]...)
				for p := range len(all) - 1 {
					target := int32(-100)
					if p+1 >= len(prompts[i]) {
						target = all[p+1]
					}
					targets, positions = append(targets, target), append(positions, int32(p))
				}
				offsets = append(offsets, int32(len(ids)))
			}
			tape := tensor.NewTape(dev, dtype)
			tape.Train(1, 0, 0)
			lp, _ := tensor.LogProbs(m.Hidden(nn.NewInput(tape, ids, positions, offsets)), m.Head(), tape.Ints(targets))
			got, err := lp.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			tape.Reset()
			differ, n := 0, 0
			for i, out := range outs {
				at := int(offsets[i]) + len(prompts[i]) - 1
				for j, want := range out.LogProbs {
					n++
					if got[at+j] != want {
						differ++
					}
				}
			}
			if differ > 0 {
				t.Errorf("%s %v: %d of %d log-probabilities differ", name, dtype, differ, n)
			}
			m.Free()
			dev.Close()
		}
	}
}

// TestArrangedSameBits: a model whose weights the device keeps in its own order writes the same tokens with the same
// log-probabilities, and passes the same gradient on.
func TestArrangedSameBits(t *testing.T) {
	for name, config := range bitsConfigs {
		for _, dtype := range []device.DType{device.F32, device.BF16} {
			dev := cpu.New(cpu.Options{Threads: 2})
			m, err := model.New([]byte(config), dev, dtype, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range m.Params {
				p.Freeze()
			}
			first := m.Params[slices.IndexFunc(m.Params, func(p nn.Named) bool { return len(p.Shape) == 1 })]
			first.Thaw()
			run := func() ([]Output, []float32) {
				opt := DefaultOptions()
				opt.MaxNewTokens, opt.BatchSize = 8, 3
				outs := mustRun(t, New(dev, dtype, m, nil), prompts, opt)
				tape := tensor.NewTape(dev, dtype)
				defer tape.Reset()
				tape.Train(1, 0, 0)
				in := nn.NewInput(tape, []int32{4, 8, 15}, []int32{0, 1, 2}, []int32{0, 3})
				tape.Backward(nn.Loss(m, in, []int32{8, 15, 16}, tensor.CrossEntropyOptions{Tokens: 3}).Total)
				grad, err := first.GradFloat32s()
				if err != nil {
					t.Fatal(err)
				}
				first.FreeGrad()
				return outs, grad
			}
			want, wantGrad := run()
			same := func(how string) {
				got, gotGrad := run()
				for i := range want {
					if !slices.Equal(got[i].Tokens, want[i].Tokens) || !slices.Equal(got[i].LogProbs, want[i].LogProbs) {
						t.Errorf("%s %v, %s: prompt %d is continued with %v, with weights as they were %v", name, dtype, how, i, got[i].Tokens, want[i].Tokens)
					}
				}
				if !slices.Equal(gotGrad, wantGrad) || slices.Max(wantGrad) == 0 {
					t.Errorf("%s %v, %s: the gradient of %s is %v, with weights as they were %v", name, dtype, how, first.Name, gotGrad[:4], wantGrad[:4])
				}
			}
			before := dev.Memory().InUse
			done := nn.ArrangeBeside(m.Model)
			same("arranged beside")
			if done(); dev.Memory().InUse != before {
				t.Errorf("%s %v: %d bytes are in use after an arranged copy was there, %d before", name, dtype, dev.Memory().InUse, before)
			}
			nn.Arrange(m.Model)
			same("arranged")
			m.Free()
			if held := dev.Memory().InUse; held != 0 {
				t.Errorf("%s %v: %d bytes are in use after the model was freed", name, dtype, held)
			}
			dev.Close()
		}
	}
}
