package training

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"hone/cmd/hone/cli"
	"hone/plan"
	"hone/train"
)

// runProgress shows a run.
type runProgress struct {
	*cli.Progress
	steps int
	peak  arithmetic // of the machine, nil when not measured
	flops float64    // floating-point operations of one fed token, forward and backward
	val   float64    // the last held-out loss
	speed float64    // tokens per second, of about the last ten steps
}

// arithmetic is the peak of the machine, as meter.Peak measures it.
type arithmetic interface {
	Refresh()
	Share(gflops float64) float64
}

// newRunProgress shows a run of a number of steps on w.
func newRunProgress(w io.Writer, steps int) *runProgress {
	return &runProgress{Progress: cli.NewProgress(w), steps: steps}
}

// event shows something that happened in the run.
func (p *runProgress) event(e train.Event) {
	switch e := e.(type) {
	case train.StepEvent:
		p.Live(p.step(e), e.Step == 1 || e.Step == p.steps)
	case train.EvalEvent:
		p.val = e.Metrics["loss"]
		p.Words(fmt.Sprintf("step %d: held-out %s", e.Step, evalText(e.Metrics)))
	case train.SampleEvent:
		p.Line("--- sample at step %d\n%s%s\n---", e.Step, cli.Shown(e.Prompt), cli.Shown(e.Text))
	case train.ExampleEvent:
		p.example(e)
	case train.SkipEvent:
		p.Words(e.Reason + "; the step is skipped")
	case train.RolloutEvent:
		p.Words(rolloutText(e))
	case train.MessageEvent:
		p.Words(e.Text)
	case train.InfoEvent:
		if n, ok := e.Values["flops_per_token"].(float64); ok {
			p.flops = n
		}
		if n, ok := e.Values["steps"].(int); ok { // counted from epochs
			p.steps = n
		}
	}
}

// rolloutText is an iteration of answers in a line. Without a reference there is no KL divergence, which is not one of 0.
func rolloutText(e train.RolloutEvent) string {
	text := fmt.Sprintf("iteration %d: score %s", e.Iteration, fixed(e.Metrics["objective/scores"]))
	if kl, ok := e.Metrics["objective/kl"]; ok {
		text += ", KL " + fixed(kl)
	}
	return text + fmt.Sprintf(", %.0f tokens an answer", e.Metrics["completions/mean_length"])
}

// evalText is an evaluation in a line: loss and perplexity of a language model, else what there is.
func evalText(metrics map[string]float64) string {
	if v, ok := metrics["perplexity"]; ok {
		text := fmt.Sprintf("loss %.4f, perplexity %.2f", metrics["loss"], v)
		if f, ok := metrics["forgetting"]; ok {
			text += fmt.Sprintf(", forgetting %+.4f (general text %.4f, the base %.4f)", f, metrics["general_loss"], metrics["general_loss"]-f)
		}
		return text
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if name != "train_loss" {
			parts = append(parts, name+" "+fixed(metrics[name]))
		}
	}
	return strings.Join(parts, ", ")
}

// fixed writes four decimals, a number that rounds to 0 without a sign: the loss of a policy is 0 but for rounding.
func fixed(v float64) string {
	if math.Abs(v) < 0.00005 {
		v = 0
	}
	return strconv.FormatFloat(v, 'f', 4, 64)
}

// step is the line of a step. The time that is left is by the steps of the whole run, so that one slow step does not double it.
func (p *runProgress) step(e train.StepEvent) string {
	if p.speed == 0 {
		p.speed = e.TokensPerS
	}
	// A moving average: sequences differ in length, and a number that jumps cannot be read.
	p.speed += (e.TokensPerS - p.speed) / 10
	var b strings.Builder
	fmt.Fprintf(&b, "step %*d/%d  loss %s", len(fmt.Sprint(p.steps)), e.Step, p.steps, fixed(e.Loss))
	if p.val > 0 {
		fmt.Fprintf(&b, "  held-out %.4f", p.val)
	}
	fmt.Fprintf(&b, "  %6.0f tokens/s", p.speed)
	if left := p.steps - e.Step; left > 0 {
		// by all the time there was, evaluations and checkpoints with it, which the rest will have, too
		fmt.Fprintf(&b, "  ETA %s", plan.Span(float64(left)*e.Seconds/float64(e.Step)))
	}
	if p.peak != nil && p.flops > 0 {
		p.peak.Refresh()
		fmt.Fprintf(&b, "  %2.0f%% of peak", 100*p.peak.Share(p.speed*p.flops/1e9))
	}
	return b.String()
}

// example shows an example of the data; what is learned is green where there is colour, else in brackets.
func (p *runProgress) example(e train.ExampleEvent) {
	before, after := "[[", "]]"
	if p.Colour {
		before, after = "\x1b[32m", "\x1b[0m"
	}
	var b strings.Builder
	for _, part := range e.Parts {
		if part.Supervised {
			b.WriteString(before + cli.Shown(part.Text) + after)
		} else {
			b.WriteString(cli.Shown(part.Text))
		}
	}
	p.Line("--- an example of the data; %sthis%s is learned\n%s\n---", before, after, b.String())
}
