package generate

import (
	"context"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/devicetest"
	"hone/model/llama"
	"hone/nn"
	"hone/tensor"
)

// longModel rotates sequences of more than 8 tokens by other frequencies.
func longModel(t *testing.T, dev device.Device) nn.Model {
	t.Helper()
	config := strings.Replace(tinyConfig, `{`, `{"rope_scaling": {"type": "longrope", "original_max_position_embeddings": 8,
		"short_factor": [1, 1], "long_factor": [3, 9]}, `, 1)
	m, err := llama.New([]byte(config), dev)
	if err != nil {
		t.Fatal(err)
	}
	nn.Initialize(nn.Params(m), dev, device.F32, 5)
	return m
}

// TestLongRope: a text that grows past the length where rotation changes is continued as the full forward pass over
// what there is says, token by token, also when its prompt went in pieces.
func TestLongRope(t *testing.T) {
	dev := devicetest.NewReference()
	m := longModel(t, dev)
	opt := DefaultOptions()
	opt.Temperature, opt.MaxNewTokens = 0, 12
	for _, prefill := range []int{2048, 4} {
		e := New(dev, device.F32, m, nil)
		e.prefill = prefill
		for i, out := range mustRun(t, e, prompts, opt) {
			all := slices.Concat(prompts[i], out.Tokens)
			for n := len(prompts[i]); n < len(all); n++ {
				if want := greedy(t, dev, m, all[:n]); all[n] != want {
					t.Fatalf("prefill %d, prompt %d: token %d is %d, the full forward pass over %d tokens says %d", prefill, i, n, all[n], n, want)
				}
			}
		}
	}
}

// TestLongRopeStartsOnce: a sequence goes through the model anew when it gets longer than what its keys were
// rotated for, and not after that.
func TestLongRopeStartsOnce(t *testing.T) {
	dev := devicetest.NewReference()
	m := &countedModel{Model: longModel(t, dev)}
	opt := DefaultOptions()
	opt.Temperature, opt.MaxNewTokens = 0, 12
	mustRun(t, New(dev, device.F32, m, nil), prompts[:1], opt)
	if want := 3 + 5 + 9 + 5; m.tokens != want { // the prompt, up to 8, all 9 again, up to 14 of 15
		t.Errorf("%d tokens go through the model, want %d", m.tokens, want)
	}
}

// greedy is the most likely next token after ids, without a cache.
func greedy(t *testing.T, dev device.Device, m nn.Model, ids []int32) int32 {
	t.Helper()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	tape.Infer()
	positions := make([]int32, len(ids))
	for p := range positions {
		positions[p] = int32(p)
	}
	h := m.Hidden(nn.NewInput(tape, ids, positions, []int32{0, int32(len(ids))}))
	row, err := nn.Logits(m, h, tape.Ints([]int32{int32(len(ids) - 1)})).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	best, _ := argmax(row)
	return int32(best)
}

// TestLongRopeSession: a conversation that gets long, and short again, is answered as a fresh run would.
func TestLongRopeSession(t *testing.T) {
	dev := devicetest.NewReference()
	e := New(dev, device.F32, longModel(t, dev), nil)
	s := e.NewSession()
	defer s.Close()
	opt := DefaultOptions()
	opt.Temperature = 0
	text := []int32{5, 9, 200, 7, 11, 13, 17, 19, 23, 29, 31, 37}
	for _, c := range []struct{ n, more int }{{3, 4}, {7, 4}, {12, 4}, {11, 4}, {5, 4}, {8, 4}, {9, 4}, {7, 1}, {8, 1}, {9, 1}, {8, 1}, {10, 2}} {
		opt.MaxNewTokens = c.more
		got, err := s.Run(context.Background(), text[:c.n], opt, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := mustRun(t, e, [][]int32{text[:c.n]}, opt)[0]; !slices.Equal(got.Tokens, want.Tokens) || !slices.Equal(got.LogProbs, want.LogProbs) {
			t.Errorf("%d tokens after a prompt of %d: got %v, a fresh run gives %v", c.more, c.n, got, want)
		}
	}
}
