package bench

import (
	"context"
	"io"
	"math"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
)

// TestBenchPPO times a tiny workload: the parts make up an iteration, and answers have the length that is timed.
func TestBenchPPO(t *testing.T) {
	w := ppoWorkload{config: `{"model_type":"llama","hidden_size":16,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":32,"vocab_size":300,"max_position_embeddings":64}`,
		vocab: 300, prompts: 4, prompt: 6, wrote: 5, rank: 2}
	r := ppoResult{Device: "cpu", DType: "f32", Threads: 1, Iterations: 1, Epochs: 3, Reward: "model"} // one, so that the medians are all of the same
	if err := r.run(context.Background(), w); err != nil {
		t.Fatal(err)
	}
	if parts := r.RolloutS + r.ScoringS + r.TrainingS; r.RolloutS <= 0 || r.ScoringS <= 0 || r.TrainingS <= 0 || parts > 2*r.SPerIter || r.SPerIter > 3*parts {
		t.Errorf("parts do not make up an iteration: %+v", r)
	}
	if tokens := r.TokensPerS * r.RolloutS; math.Abs(tokens-20) > 0.1 {
		t.Errorf("%v tokens written, of 20", tokens)
	}
	shared := ppoResult{Device: "cpu", DType: "f32", Threads: 1, Iterations: 1, Epochs: 1, Reward: "adapter"}
	if err := shared.run(context.Background(), w); err != nil || shared.SharedMB <= 0 || r.SharedMB != 0 || shared.PeakDeviceMB >= r.PeakDeviceMB {
		t.Errorf("a reward model on the policy's base: %+v, %v; one of its own: %+v", shared, err, r)
	}
	for _, bad := range []ppoResult{{Device: "cpu", DType: "f32", Threads: 1, Epochs: 1, Reward: "model"}, {Device: "cpu", DType: "f8", Threads: 1, Iterations: 1, Epochs: 1, Reward: "model"}, {Device: "cpu", DType: "f32", Threads: 1, Iterations: 1, Epochs: 1}} {
		if err := bad.run(context.Background(), w); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	cmd := ppoCommand(&cli.App{Out: io.Discard, Err: io.Discard})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{"--workload", "W6"})
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "W5_ppo_smollm135m") {
		t.Errorf("an unknown workload: %v", err)
	}
}
