package model

import (
	"runtime"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/nn"
	"hone/optim"
	"hone/tensor"
)

// TestSteadyMemory: training holds no more after 2,685 steps (with -short 937, of one model) than after 500, by when
// all lengths have met, neither in tensors nor in the Go heap, though every step packs sequences of other lengths.
func TestSteadyMemory(t *testing.T) {
	t.Run("llama f32", func(t *testing.T) {
		steadyMemory(t, `{"model_type":"llama","hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"intermediate_size":16,"vocab_size":40,"max_position_embeddings":64,"tie_word_embeddings":true}`, device.F32)
	})
	if testing.Short() {
		return
	}
	t.Run("gpt2 bf16", func(t *testing.T) {
		steadyMemory(t, `{"model_type":"gpt2","n_embd":8,"n_layer":1,"n_head":2,"vocab_size":40,"n_positions":64}`, device.BF16)
	})
}

func steadyMemory(t *testing.T, config string, dtype device.DType) {
	dev := cpu.New(cpu.Options{Threads: 2})
	defer dev.Close()
	m, err := New([]byte(config), dev, dtype, 1)
	if err != nil {
		t.Fatal(err)
	}
	var params []optim.Param
	for _, p := range m.Params {
		params = append(params, optim.Param{Name: p.Name, Tensor: p.Tensor})
	}
	o, tape := optim.New(dev, params, optim.Default()), tensor.NewTape(dev, dtype)
	run := func(from, to int) (held int64, heap uint64) {
		for i := from; i < to; i++ {
			steadyStep(t, m, o, tape, i)
		}
		runtime.GC()
		runtime.GC() // pools of the standard library let go in the second
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return dev.Memory().Held, s.HeapAlloc
	}
	const slack = 64 << 10 // of the runtime and the testing package; 2,185 steps that leak 30 bytes each are found
	// The last step of each stretch has the same lengths, which come again every 23·19 steps: what the
	// heap keeps of a step goes by them.
	step, stretch, most := 500, 5*23*19, 5
	if testing.Short() {
		stretch = 23 * 19
	}
	held, heap := run(0, step)
	// What leaks grows in every stretch. A worker that came to no task before makes room of its own once,
	// which on a busy machine may be late.
	for tried := 1; ; tried++ {
		laterHeld, laterHeap := run(step, step+stretch)
		if laterHeld > held {
			t.Errorf("tensors take %d bytes after %d steps and %d after %d", held, step, laterHeld, step+stretch)
		}
		if laterHeap <= heap+slack {
			return
		}
		if tried == most {
			t.Fatalf("the Go heap has %d bytes after %d steps and %d after %d, and grew as much in each stretch before", heap, step, laterHeap, step+stretch)
		}
		heap, step = laterHeap, step+stretch
	}
}

// steadyStep is a whole step on two sequences whose lengths follow from i.
func steadyStep(t *testing.T, m *Model, o *optim.AdamW, tape *tensor.Tape, i int) {
	var ids, targets, positions []int32
	offsets := []int32{0}
	for _, length := range []int{1 + i*7%23, 1 + i*5%19} {
		for p := range length {
			ids, targets, positions = append(ids, int32((i+p)%40)), append(targets, int32((i+2*p)%40)), append(positions, int32(p))
		}
		offsets = append(offsets, int32(len(ids)))
	}
	tape.Train(1, i, 0)
	hidden := m.Hidden(nn.NewInput(tape, ids, positions, offsets))
	loss := tensor.LinearCrossEntropy(hidden, m.Head(), tape.Ints(targets), tensor.CrossEntropyOptions{Tokens: len(ids)})
	tape.Backward(loss)
	tape.Reset()
	if _, err := o.Step(1e-3); err != nil {
		t.Fatal(err)
	}
}
