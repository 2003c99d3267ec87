package training

import (
	"bytes"
	"strings"
	"testing"
	"time"

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

// TestFixed: what rounds to 0 has no sign.
func TestFixed(t *testing.T) {
	for v, want := range map[float64]string{-1e-9: "0.0000", -0.00004999: "0.0000", -0.00006: "-0.0001", 1.23456: "1.2346"} {
		if got := fixed(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}
