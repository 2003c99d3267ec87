package generate

import (
	"slices"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/nn"
	"hone/tensor"
)

// countedModel counts the tokens that go through a model.
type countedModel struct {
	nn.Model
	tokens int
}

func (c *countedModel) Hidden(in nn.Input) *tensor.Tensor {
	c.tokens += in.IDs.Len()
	return c.Model.Hidden(in)
}

// TestTwins: answers to one prompt share its keys and values, and are those of prompts that run alone.
func TestTwins(t *testing.T) {
	dev := devicetest.NewReference()
	m := &countedModel{Model: tinyModel(t, dev)}
	e := New(dev, device.F32, m, nil)
	opt := DefaultOptions()
	opt.MaxNewTokens, opt.BatchSize = 3, 1
	asked := slices.Repeat(prompts[2:3], 4)
	asked = append(asked, prompts[0], prompts[1], prompts[1])
	want := mustRun(t, e, asked, opt)
	if alone := 4*10 + 3 + 2*1 + 7*2; m.tokens != alone {
		t.Errorf("one by one %d tokens went through, want %d", m.tokens, alone)
	}
	for _, c := range []struct{ batch, prefill, tokens int }{
		{7, 2048, 10 + 3*1 + 3 + 1 + 1 + 7*2},
		{3, 2048, 10 + 2*1 + 10 + 3 + 1 + 1 + 7*2}, // the fourth, and the twins of the second round, come when the first are gone
		{7, 4, 10 + 3*1 + 3 + 1 + 1 + 7*2},         // the prompt goes in pieces
	} {
		m.tokens, opt.BatchSize, e.prefill = 0, c.batch, c.prefill
		for i, out := range mustRun(t, e, asked, opt) {
			if !slices.Equal(out.Tokens, want[i].Tokens) || !slices.Equal(out.LogProbs, want[i].LogProbs) {
				t.Errorf("%+v: answer %d is %v, alone %v", c, i, out, want[i])
			}
		}
		if m.tokens != c.tokens {
			t.Errorf("%+v: %d tokens went through", c, m.tokens)
		}
	}
}
