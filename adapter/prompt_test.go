package adapter_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/devicetest"
	"hone/generate"
	"hone/model"
	"hone/nn"
	"hone/safetensors"
	"hone/tensor"
)

// prompts maps an adapter made by testdata/gen/adapters.py to its base.
var prompts = map[string]string{"prompt_llama": "llama_untied", "prompt_gemma2": "gemma2", "prompt_gpt2": "gpt2_tied", "prefix_llama": "llama_untied",
	"prefix_gpt2": "gpt2_tied", "ptuning_llama": "llama_untied", "ptuning_lstm": "llama_untied"}

// TestPromptGolden compares adapters of virtual tokens that PEFT wrote with what PEFT computes.
func TestPromptGolden(t *testing.T) {
	for kind, dev := range devices(t) {
		for name, base := range prompts {
			t.Run(kind+"/"+name, func(t *testing.T) {
				m, in := open(t, dev, base), batch(t, base)
				plain := in.logits(t, dev, m)
				a, err := adapter.OpenAny(goldenPath(name), adapter.Model{Model: m.Model, Params: m.Params}, dev, device.F32)
				if err != nil {
					t.Fatal(err)
				}
				defer a.Free()
				want := archive(t, goldenPath(name, "golden.safetensors"))
				near(t, "logits", in.logits(t, dev, a.Wrapped()), floats(t, want, "logits"), 1e-4)
				a.Enable(false)
				near(t, "logits of the base", in.logits(t, dev, a.Wrapped()), plain, 0)
				a.Enable(true)
				if name == "ptuning_lstm" {
					return // read, not trained
				}
				promptGradients(t, dev, m, name, want, in)
			})
		}
	}
}

// promptGradients trains with the network of the adapter, where it has one.
func promptGradients(t *testing.T, dev device.Device, m *model.Model, name string, want *safetensors.Archive, in input) {
	p := trainedPrompt(t, dev, m, name, want)
	defer p.Free()
	for _, recompute := range []int{0, 99} {
		tape := tensor.NewTape(dev, device.F32)
		tape.Train(1, 0, 0)
		x := nn.NewInput(tape, in.ids, in.positions, in.offsets)
		x.Recompute = recompute
		loss := nn.Loss(p.Wrapped(), x, in.targets, tensor.CrossEntropyOptions{Tokens: in.supervised}).Total
		got, err := loss.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		near(t, "loss", got, floats(t, want, "loss"), 1e-5)
		tape.Backward(loss)
		tape.Reset()
		for _, q := range p.Params() {
			checkGradient(t, q, floats(t, want, "grad."+encoderName(q.Name)))
			q.FreeGrad()
		}
		for _, q := range m.Params {
			if !q.Grad().IsZero() {
				t.Fatalf("frozen parameter %s has a gradient", q.Name)
			}
		}
	}
}

// encoderName is what PEFT calls the parameter in its module.
func encoderName(name string) string {
	if name == "prompt_embeddings" {
		return "embedding.weight"
	}
	return name
}

// trainedPrompt attaches the adapter for training, with the golden values of its parameters.
func trainedPrompt(t *testing.T, dev device.Device, m *model.Model, name string, want *safetensors.Archive) *adapter.Prompt {
	t.Helper()
	c := adapter.PromptConfig{PeftType: adapter.PromptTuning, NumVirtualTokens: 4}
	switch name {
	case "prompt_gemma2", "prompt_gpt2":
		c.NumVirtualTokens = 3
	case "prefix_llama":
		c.PeftType = adapter.PrefixTuning
	case "prefix_gpt2":
		c = adapter.PromptConfig{PeftType: adapter.PrefixTuning, NumVirtualTokens: 3, PrefixProjection: true, EncoderHiddenSize: 10}
	case "ptuning_llama":
		c.PeftType, c.EncoderHiddenSize, c.Reparameterized = adapter.PTuning, 12, "MLP"
	}
	p, err := adapter.AttachPrompt(adapter.Model{Model: m.Model, Params: m.Params}, c, true)
	if err != nil {
		t.Fatal(err)
	}
	p.Initialize(dev, device.F32, 1)
	for _, q := range p.Params() {
		q.Write(floats(t, want, "encoder."+encoderName(q.Name)))
	}
	return p
}

// TestPromptFromText: virtual tokens that start as the embeddings of a text compute what the text before the text does.
func TestPromptFromText(t *testing.T) {
	for kind, dev := range devices(t) {
		for _, base := range []string{"llama_untied", "gpt2_tied", "gemma2", "mistral_window7", "phi3_long", "mixtral"} {
			t.Run(kind+"/"+base, func(t *testing.T) {
				m := open(t, dev, base)
				text, ids := []int32{7, 3, 44}, []int32{5, 9, 2, 60, 11}
				p, err := adapter.AttachPrompt(adapter.Model{Model: m.Model, Params: m.Params}, adapter.PromptConfig{PeftType: adapter.PromptTuning, NumVirtualTokens: 3}, true)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Free()
				p.Initialize(dev, device.F32, 1)
				if err := p.FromTokens(dev, device.F32, text); err != nil {
					t.Fatal(err)
				}
				one := input{ids: ids, positions: []int32{0, 1, 2, 3, 4}, offsets: []int32{0, 5}}
				both := input{ids: append(text, ids...), positions: []int32{0, 1, 2, 3, 4, 5, 6, 7}, offsets: []int32{0, 8}}
				want := both.logits(t, dev, m)
				near(t, "logits", one.logits(t, dev, p.Wrapped()), want[3*m.Shape().Vocab:], 1e-5)
			})
		}
	}
}

// TestPromptGenerates: with keys and values kept, a model with virtual tokens draws what it draws without,
// for prompts side by side and when a sequence goes on in a session.
func TestPromptGenerates(t *testing.T) {
	for kind, dev := range devices(t) {
		for name, base := range prompts {
			t.Run(kind+"/"+name, func(t *testing.T) {
				m := open(t, dev, base)
				a, err := adapter.OpenAny(goldenPath(name), adapter.Model{Model: m.Model, Params: m.Params}, dev, device.F32)
				if err != nil {
					t.Fatal(err)
				}
				defer a.Free()
				texts := [][]int32{{5}, {8, 1, 9, 30}, {2, 2}}
				options := generate.DefaultOptions()
				options.MaxNewTokens, options.Temperature, options.BatchSize = 6, 0, 2
				engine := generate.New(dev, device.F32, a.Wrapped(), nil)
				outs, err := engine.Run(context.Background(), texts, options, nil)
				if err != nil {
					t.Fatal(err)
				}
				session := engine.NewSession()
				defer session.Close()
				for i, text := range texts {
					want := greedy(t, dev, a.Wrapped(), text, options.MaxNewTokens)
					if !slices.Equal(outs[i].Tokens, want) {
						t.Errorf("prompt %v goes on with %v, want %v", text, outs[i].Tokens, want)
					}
					got, err := session.Run(context.Background(), append(text, want[:2]...), options, nil)
					if err != nil || !slices.Equal(got.Tokens[:4], want[2:]) {
						t.Errorf("in a session %v goes on with %v, want %v (%v)", text, got.Tokens, want[2:], err)
					}
				}
			})
		}
	}
}

// greedy computes every token from the whole text.
func greedy(t *testing.T, dev device.Device, m nn.Model, text []int32, n int) []int32 {
	t.Helper()
	all := slices.Clone(text)
	for range n {
		in := input{ids: all, offsets: []int32{0, int32(len(all))}}
		for i := range all {
			in.positions = append(in.positions, int32(i))
		}
		v := in.logits(t, dev, m)
		row := v[len(v)-m.Shape().Vocab:]
		all = append(all, int32(slices.Index(row, slices.Max(row))))
	}
	return all[len(text):]
}

// TestPromptBad holds the errors of virtual tokens that do not fit.
func TestPromptBad(t *testing.T) {
	dev := devicetest.NewReference()
	m := open(t, dev, "llama_untied")
	target := adapter.Model{Model: m.Model, Params: m.Params}
	for name, want := range map[string]string{"prompt_gpt2": "tensor prompt_embeddings has shape [3 40] and the model asks for [3 60]; the adapter is of another model",
		"prefix_gpt2": "tensor prompt_embeddings has shape [3 160] and the model asks for [3 80]; the adapter is of another model"} {
		before := dev.Memory().InUse
		if _, err := adapter.OpenAny(goldenPath(name), target, dev, device.F32); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %s", name, err, want)
		}
		if held := dev.Memory().InUse - before; held != 0 {
			t.Errorf("%s: %d bytes are left", name, held)
		}
	}
	for want, c := range map[string]adapter.PromptConfig{
		"num_virtual_tokens is 0; it must be at least 1":                                        {PeftType: adapter.PromptTuning},
		"num_virtual_tokens is 64, which leaves no room in the model's context of 64; lower it": {PeftType: adapter.PromptTuning, NumVirtualTokens: 64},
		`encoder_reparameterization_type is "LSTM"; MLP can be trained`:                         {PeftType: adapter.PTuning, NumVirtualTokens: 2, Reparameterized: "LSTM"},
	} {
		if _, err := adapter.AttachPrompt(target, c, true); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}
