package training

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/clitest"
	"hone/plan"
	"hone/recipe"
	"hone/recipe/cluster"
	"hone/recipe/config"
)

// TestSummaryInWords: the table that a run ends with.
func TestSummaryInWords(t *testing.T) {
	s := &recipe.Summary{Out: "runs/x", ModelDir: "runs/x/adapter", Steps: 20, Parameters: 1000, Trainable: 25, Tokens: 5000, Seconds: 10, SetupSeconds: 1.25, TokensPerS: 500, Unigram: 6, Bigram: 4,
		Validation: map[string]float64{"loss": 2}, ValidationStep: 15, Last: map[string]float64{"loss": 2.5}, PeakMemoryBytes: 20 << 20, PlannedMemoryBytes: 25 << 20, StepSeconds: 0.5, PlannedStepSeconds: 0.4}
	var out bytes.Buffer
	Summarise(&out, s)
	want := `parameters        1000
trainable         25 (2.50%)
first step        1.2 s after the start
steps             20, 5000 tokens learned in 10 s (500 a second)
unigram baseline  6.0000
bigram baseline   4.0000
held-out loss     2.0000 (of step 15, whose weights are kept; of step 20: 2.5000)
peak memory       20 MiB (planned: 25 MiB, +25%)
time of a step    0.5 s (planned: 0.4 s, -20%)
report            runs/x/report.html
adapter           runs/x/adapter
`
	if out.String() != want {
		t.Errorf("the summary is\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	Summarise(&out, &recipe.Summary{Out: "o", Interrupted: true, StopReason: "why", Steps: 7, Parameters: 10, Trainable: 10, PeakMemoryBytes: 1 << 10})
	want = `interrupted  saved at step 7; go on with the same command and resume=true, or with o/recipe.yaml resume=true
stopped      why
parameters   10
steps        7, 0 tokens learned in 0 s (0 a second)
peak memory  1 KiB
report       o/report.html
`
	if out.String() != want {
		t.Errorf("of a run that was interrupted before a step of its own it is\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	showMetrics(&out, map[string]float64{"b": -1e-9, "a/long": 2})
	if want := "a/long  2.0000\nb       0.0000\n"; out.String() != want {
		t.Errorf("metrics are %q, want %q", out.String(), want)
	}
}

// TestAgainst: a plan beside what was taken, where both are known.
func TestAgainst(t *testing.T) {
	for _, c := range []struct {
		planned, measured float64
		want              string
	}{{110, 100, " (planned: x, +10%)"}, {50, 100, " (planned: x, -50%)"}, {100, 100, " (planned: x, +0%)"}, {0, 100, ""}, {100, 0, ""}, {math.NaN(), 1, ""}} {
		if got := against("x", c.planned, c.measured); got != c.want {
			t.Errorf("%v planned and %v measured: %q, want %q", c.planned, c.measured, got, c.want)
		}
	}
	for n, want := range map[int64]string{0: "0 KiB", 1023: "0 KiB", 1 << 10: "1 KiB", 10<<20 - 1: "10239 KiB", 10 << 20: "10 MiB", 10<<30 - 1: "10239 MiB", 10 << 30: "10 GiB"} {
		if got := cli.BytesText(n); got != want {
			t.Errorf("%d bytes are %s, want %s", n, got, want)
		}
	}
}

// TestRecipeArguments: the first argument without a sign of equality is a file, all others are keys.
func TestRecipeArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		path string
		keys int
	}{{nil, "", 0}, {[]string{"r.yaml"}, "r.yaml", 0}, {[]string{"r.yaml", "a=b"}, "r.yaml", 1}, {[]string{"a=b", "r.yaml", "c=d"}, "r.yaml", 2}, {[]string{"a=b"}, "", 1}} {
		if path, keys := cli.SplitArgs(c.args); path != c.path || len(keys) != c.keys {
			t.Errorf("%q is the file %q and %q", c.args, path, keys)
		}
	}
	for name, stage := range stages() {
		c, shared := stage.defaults()
		text := cli.Keys(c)
		for _, want := range []string{"  batch_size ", "  optimizer.learning_rate ", "  out "} {
			if !strings.Contains(text, want) {
				t.Errorf("the keys of %s lack %q", name, want)
			}
		}
		if shared.Device != "cpu" || !strings.Contains(text, "[cpu]") {
			t.Errorf("%s: the defaults of %q are not shown", name, shared.Device)
		}
		if stage.metrics != nil && stage.metrics(&recipe.Summary{}) != nil {
			t.Errorf("%s has metrics of nothing", name)
		}
	}
	if len(stages()) != 6 {
		t.Errorf("there are %d stages", len(stages()))
	}
}

// TestNotesOfKeys go beside the result.
func TestNotesOfKeys(t *testing.T) {
	var err bytes.Buffer
	c, _ := sftStage().defaults()
	usual, _ := sftStage().defaults()
	a := &cli.App{Out: io.Discard, Err: &err}
	if a.NoteUnused(c, usual); err.Len() != 0 {
		t.Errorf("of a recipe as it is by default: %q", err.String())
	}
	if set := config.Override(c, []string{"lora.r=3"}); set != nil {
		t.Fatal(set)
	}
	if a.NoteUnused(c, usual); err.String() != "note: lora.r has no effect with method=full\n" {
		t.Errorf("of a key that changes nothing: %q", err.String())
	}
}

func TestKeysOfResults(t *testing.T) {
	clitest.Keys(t, "pretrain, sft, reward, dpo, ppo, grpo", recipe.Summary{}, "out model steps interrupted stopped_early stop_reason metrics best_step skipped_steps parameters trainable_parameters tokens seconds setup_seconds "+
		"tokens_per_s train_loss validation validation_step validation_last unigram_loss bigram_loss bytes_per_token peak_memory_bytes vocab_size validation_before planned_memory_bytes step_seconds planned_step_seconds")
	clitest.Keys(t, "--dry-run", recipe.Planned{}, "stage weights_bytes gradients_bytes optimizer_bytes paged_bytes offloaded_bytes activations_bytes logits_bytes peak_bytes own_bytes recompute_layers flops kv_cache_bytes steps tokens "+
		"step_seconds seconds rollout_seconds notes")
	clitest.Keys(t, "plan", cluster.Estimated{}, "model stage method parameters trainable_parameters tokens sequence_length batch_size flops_per_token gpu gpus zero tensor_parallel recompute offload least_tokens_per_step memory fits lower "+
		"flops mfu tflops_per_gpu gpu_hours hours energy_kwh cost_usd training_hours scoring_hours rollout_hours usd_per_gpu_hour price cheapest_offer advice")
	clitest.Keys(t, "plan, memory", plan.PerGPU{}, "weights_bytes reference_bytes reward_bytes critic_bytes gradients_bytes optimizer_bytes activations_bytes logits_bytes gathered_bytes reserved_bytes workspace_bytes peak_bytes host_bytes "+
		"kv_cache_bytes gpu_memory_bytes")
	clitest.Keys(t, "plan, gpu", plan.GPU{}, "name peak_tflops memory_gb bandwidth_gb_s watts default_mfu default_mfu_of_clusters")
	clitest.Keys(t, "plan, price", plan.Price{}, "provider machine gpu gpus usd_per_hour spot_usd_per_hour date source")
	clitest.Keys(t, "plan, advice", plan.Advice{}, "tokens_per_parameter compute_optimal_tokens same_compute_parameters same_compute_parameters_tokens")
}

// counted is a recipe that counts how often it is validated, and does nothing.
type counted struct {
	recipe.Training
	validated int
}

func (c *counted) Validate() error    { c.validated++; return nil }
func (*counted) Models() []*string    { return nil }
func (*counted) Unused(string) string { return "" }
func (*counted) Run(context.Context, recipe.Env) (*recipe.Summary, error) {
	return nil, errors.New("ran")
}
func (*counted) Plan(context.Context, recipe.Env) (*recipe.Planned, error) {
	return nil, errors.New("planned")
}

// TestValidatedOnce: the command validates a recipe, which may read folders, once; a plan of it does not again, and a run itself does.
func TestValidatedOnce(t *testing.T) {
	for want, args := range map[string][]string{"ran": {"threads=1"}, "planned": {"threads=1", "--dry-run"}} {
		var made []*counted
		s := stage{name: "counted", defaults: func() (trainer, *recipe.Training) {
			c := &counted{Training: recipe.DefaultTuning()}
			made = append(made, c)
			return c, &c.Training
		}}
		cmd := s.command(&cli.App{Out: io.Discard, Err: io.Discard})
		cmd.SetArgs(args)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.Execute(); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", args, err, want)
		}
		n := 0
		for _, c := range made {
			n += c.validated
		}
		if n != 1 {
			t.Errorf("%q: the recipe is validated %d times", args, n)
		}
	}
}
