package rl

import (
	"bytes"
	"path/filepath"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/recipe"
	"hone/recipe/recipetest"
)

// multiplying counts operations of products.
type multiplying struct {
	*cpu.Device
	flops int
}

func (d *multiplying) MatMul(m device.MatMul) {
	d.flops += 2 * m.M * m.N * m.K
	d.Device.MatMul(m)
}

func (d *multiplying) MatMuls(products []device.MatMul) {
	for _, m := range products {
		d.MatMul(m)
	}
}

func (d *multiplying) MatMulPlus(m, plus device.MatMul) {
	d.flops += 2 * m.M * m.N * (m.K + plus.K)
	d.Device.MatMulPlus(m, plus)
}

// TestFirstUpdateKnowsTheAnswers: a run whose first update of an iteration takes from the writing what the
// layers computed has the bits of one that computes it again, as one does whose memory is bounded, and
// multiplies less. That holds for packed answers to one prompt, written in parts, for an update that sees
// some of the answers at a time, and for weights in few bits.
func TestFirstUpdateKnowsTheAnswers(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	reward := []string{"iterations=2", "samples.every=0", "checkpoint.every=1000"}
	for _, test := range recipetest.Few(3, []struct {
		args []string
		grpo bool
	}{
		{args: []string{"method=lora", "batch_size=8", "num_mini_batches=1"}},
		{args: []string{"method=lora", "batch_size=16", "max_completion_length=9"}, grpo: true},
		{args: []string{"method=lora", "batch_size=3"}},
		{args: []string{"method=lora", "batch_size=5", "num_generations=3", "rollout_batch_size=7"}, grpo: true},
		{args: []string{"method=full", "batch_size=16", "rollout_batch_size=3"}, grpo: true},
		{args: []string{"method=lora", "lora.use_dora=true", "dtype=bf16", "batch_size=8", "num_mini_batches=1", "rollout_batch_size=5", "temperature=0.8"}},
		{args: []string{"method=qlora", "batch_size=8", "num_mini_batches=1", "critic.kind=separate"}},
	}...) {
		var weights [2][]byte
		var flops [2]int
		for i, more := range []string{"memory=1TiB", "memory="} {
			dev := &multiplying{Device: cpu.New(cpu.Options{Threads: 1})}
			args := append(append([]string{more}, reward...), test.args...)
			var c recipetest.Recipe = tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), args...)
			if test.grpo {
				c = tinyGRPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), args...)
			}
			sum, err := c.Run(t.Context(), recipe.Env{Device: dev})
			if err != nil {
				t.Fatalf("%v: %v", test.args, err)
			}
			if test.args[0] == "method=full" {
				weights[i] = recipetest.Read(t, sum.ModelDir, "model.safetensors")
			} else {
				weights[i] = recipetest.Read(t, sum.Out, "adapter", "adapter_model.safetensors")
			}
			flops[i] = dev.flops
			if held := dev.Memory().InUse; held != 0 {
				t.Errorf("%v: %d bytes are in use", test.args, held)
			}
			dev.Close()
		}
		if !bytes.Equal(weights[0], weights[1]) {
			t.Errorf("%v: other weights", test.args)
		}
		if saved := 1 - float64(flops[1])/float64(flops[0]); !(saved > 0.01) {
			t.Errorf("%v: %d operations, %d without what is known", test.args, flops[1], flops[0])
		} else {
			t.Logf("%v: %.1f%% of the operations less", test.args, 100*saved)
		}
	}
}
