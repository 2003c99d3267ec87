package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"hone/cmd/hone/cli"
	"hone/recipe"
	"hone/train"
)

// TestEventsInWords: what a person reads while a run goes on, of each kind of event.
func TestEventsInWords(t *testing.T) {
	for _, c := range []struct {
		e    train.Event
		want string
	}{
		{train.StepEvent{Step: 1, Loss: 2.5, TokensPerS: 1234, Seconds: 2}, "step   1/100  loss 2.5000    1234 tokens/s  ETA 3m18s\n"},
		{train.StepEvent{Step: 100, Loss: 2.5, TokensPerS: 1234, Seconds: 2}, "step 100/100  loss 2.5000    1234 tokens/s\n"},
		{train.EvalEvent{Step: 50, Metrics: map[string]float64{"loss": 1.5, "perplexity": 4.4817, "train_loss": 2}}, "step 50: held-out loss 1.5000, perplexity 4.48\n"},
		{train.EvalEvent{Step: 50, Metrics: map[string]float64{"loss": 1.5, "perplexity": 4.4817, "general_loss": 3.5, "forgetting": 0.25}},
			"step 50: held-out loss 1.5000, perplexity 4.48, forgetting +0.2500 (general text 3.5000, the base 3.2500)\n"},
		{train.EvalEvent{Step: 50, Metrics: map[string]float64{"loss": 0.5, "accuracy": 0.75, "train_loss": 2}}, "step 50: held-out accuracy 0.7500, loss 0.5000\n"},
		{train.SampleEvent{Step: 5, Prompt: "a", Text: "b\nc"}, "--- sample at step 5\nab\nc\n---\n"},
		{train.ExampleEvent{Parts: []train.Part{{Text: "ask "}, {Text: "say", Supervised: true}, {Text: "."}}}, "--- an example of the data; [[this]] is learned\nask [[say]].\n---\n"},
		{train.ExampleEvent{Parts: []train.Part{{Text: "\x1b[2Jé\t\x00"}, {Text: "\r\u009b", Supervised: true}}}, "--- an example of the data; [[this]] is learned\n[2Jé\t[[]]\n---\n"},
		{train.SampleEvent{Step: 5, Prompt: "\x1b", Text: "\x7f"}, "--- sample at step 5\n\n---\n"},
		{train.SkipEvent{Step: 3, Reason: "step 3: the loss is NaN"}, "step 3: the loss is NaN; the step is skipped\n"},
		{train.RolloutEvent{Iteration: 2, Metrics: map[string]float64{"objective/scores": 0.5, "objective/kl": -1e-9, "completions/mean_length": 12.4}}, "iteration 2: score 0.5000, KL 0.0000, 12 tokens an answer\n"},
		{train.RolloutEvent{Iteration: 2, Metrics: map[string]float64{"objective/scores": 0.5, "completions/mean_length": 12.4}}, "iteration 2: score 0.5000, 12 tokens an answer\n"},
		{train.MessageEvent{Text: "hello, 100%"}, "hello, 100%\n"},
		{train.InfoEvent{Values: map[string]any{"a": 1}}, ""},
		{train.CheckpointEvent{Step: 3}, ""},
		{train.TableEvent{Title: "t"}, ""},
	} {
		var out bytes.Buffer
		p := newRunProgress(&out, 100)
		if p.event(c.e); out.String() != c.want {
			t.Errorf("%T is told as %q, want %q", c.e, out.String(), c.want)
		}
	}
}

// fixedPeak is a peak in GFLOP/s that is not measured.
type fixedPeak float64

func (p fixedPeak) Refresh()                     {}
func (p fixedPeak) Share(gflops float64) float64 { return gflops / float64(p) }

// TestProgressOfARun: lines come every two seconds at most where there is no terminal, the first and the last step always; the speed is smoothed, the
// held-out loss stays in sight, and how many steps there are is known once epochs are counted.
func TestProgressOfARun(t *testing.T) {
	var out bytes.Buffer
	p, begun := newRunProgress(&out, 0), time.Now()
	p.event(train.InfoEvent{Values: map[string]any{"steps": 30, "flops_per_token": 6e9}})
	if p.steps != 30 || p.flops != 6e9 {
		t.Errorf("%d steps, %v operations a token", p.steps, p.flops)
	}
	for step := 1; step <= 30; step++ {
		p.event(train.StepEvent{Step: step, Loss: 1, TokensPerS: 100 * float64(1+step%2), Seconds: float64(step)})
		if step == 10 {
			p.event(train.EvalEvent{Step: 10, Metrics: map[string]float64{"loss": 1.25, "perplexity": 3.49}})
		}
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	quick, last := time.Since(begun) < 2*time.Second, lines[len(lines)-1] // a machine that stood still shows more steps
	if quick && len(lines) != 3 || !strings.HasPrefix(lines[0], "step  1/30 ") || !strings.HasPrefix(last, "step 30/30 ") || !strings.Contains(last, "  held-out 1.2500  ") {
		t.Errorf("the lines are %q", lines)
	}
	if !(p.speed > 110 && p.speed < 190) {
		t.Errorf("speeds of 100 and 200 are shown as %v", p.speed)
	}
	p.flops, p.peak = 6e9, fixedPeak(12*p.speed)
	if text := p.step(train.StepEvent{Step: 30, Loss: 1, TokensPerS: p.speed}); !strings.HasSuffix(text, "  50% of peak") {
		t.Errorf("6 GFLOP a token at half of the peak: %q", text)
	}
}

// TestSummaryInWords: the table that a run ends with.
func TestSummaryInWords(t *testing.T) {
	s := &recipe.Summary{Out: "runs/x", ModelDir: "runs/x/adapter", Steps: 20, Parameters: 1000, Trainable: 25, Tokens: 5000, Seconds: 10, SetupSeconds: 1.25, TokensPerS: 500, Unigram: 6, Bigram: 4,
		Validation: map[string]float64{"loss": 2}, ValidationStep: 15, Last: map[string]float64{"loss": 2.5}, PeakMemoryBytes: 20 << 20, PlannedMemoryBytes: 25 << 20, StepSeconds: 0.5, PlannedStepSeconds: 0.4}
	var out bytes.Buffer
	summarise(&out, s)
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
	summarise(&out, &recipe.Summary{Out: "o", Interrupted: true, StopReason: "why", Steps: 7, Parameters: 10, Trainable: 10, PeakMemoryBytes: 1 << 10})
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
	for name, stage := range trainings() {
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
	if len(trainings()) != 6 {
		t.Errorf("there are %d stages", len(trainings()))
	}
}
