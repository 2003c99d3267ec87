package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"hone/plan"
	"hone/train"
)

// progress shows a run: one line that is rewritten on a terminal, else a plain line every two seconds.
type progress struct {
	w        io.Writer
	terminal bool
	colour   bool // on a terminal, unless NO_COLOR is set
	steps    int
	peak     arithmetic // of the machine, nil when not measured
	flops    float64    // floating-point operations of one fed token, forward and backward
	shown    time.Time
	val      float64
	speed    float64 // tokens per second, of about the last ten steps
	open     bool    // a line is being rewritten
}

// arithmetic is the peak of the machine, as meter.Peak measures it.
type arithmetic interface {
	Refresh()
	Share(gflops float64) float64
}

// withFd is an output that may be a terminal: a file, or the checked one that stdout is.
type withFd interface{ Fd() uintptr }

// newProgress shows a run of a number of steps. A terminal that calls itself dumb, as Emacs's does, cannot rewrite a line and gets lines as a file does.
func newProgress(w io.Writer, steps int) *progress {
	f, ok := w.(withFd)
	terminal := ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
	return &progress{w: w, terminal: terminal, colour: terminal && os.Getenv("NO_COLOR") == "", steps: steps}
}

// line prints text on a line of its own.
func (p *progress) line(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

func (p *progress) clear() {
	if p.open {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.open = false
	}
}

// live rewrites the live line, or prints it when the last one is two seconds old.
func (p *progress) live(text string, milestone bool) {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K"+p.fitted(text))
		p.open = true
		return
	}
	// A log of a long run is read later: the first and the last step must be in it, and not each one between.
	if milestone || time.Since(p.shown) >= 2*time.Second {
		p.shown = time.Now()
		fmt.Fprintln(p.w, text)
	}
}

// width is the columns of the terminal, 0 where there is none.
func (p *progress) width() int {
	f, ok := p.w.(withFd)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// words prints a line that a terminal has broken between words, where it would break it anywhere.
func (p *progress) words(text string) {
	if width := p.width(); p.terminal && width > 0 && !strings.Contains(text, "\n") {
		text = broken(text, "\n  ", width)
	}
	p.line("%s", text)
}

// fitted is text cut to the width of the terminal: what runs over into a second line is not rewritten. It is cut between two of its entries where it
// can be, since the half of a number is another number.
func (p *progress) fitted(text string) string {
	width := p.width()
	if runes := []rune(text); 0 < width && width <= len(runes) {
		text = string(runes[:width-1])
		if end := strings.LastIndex(text, "  "); end > 0 && !strings.HasPrefix(string(runes[width-1:]), "  ") {
			text = text[:end]
		}
		text = strings.TrimRight(text, " ")
	}
	return text
}

// stage shows how far the preparation of a run is.
func (p *progress) stage(stage string, done, total int64) {
	if total > 0 {
		p.live(fmt.Sprintf("%-10s %3d%%", stage, 100*done/total), false)
	} else if done > 0 {
		p.live(fmt.Sprintf("%-10s %s", stage, bytesText(done)), false)
	}
}

// event shows something that happened in the run.
func (p *progress) event(e train.Event) {
	switch e := e.(type) {
	case train.StepEvent:
		p.live(p.step(e), e.Step == 1 || e.Step == p.steps)
	case train.EvalEvent:
		p.val = e.Metrics["loss"]
		p.words(fmt.Sprintf("step %d: held-out %s", e.Step, evalText(e.Metrics)))
	case train.SampleEvent:
		p.line("--- sample at step %d\n%s%s\n---", e.Step, shown(e.Prompt), shown(e.Text))
	case train.ExampleEvent:
		p.example(e)
	case train.SkipEvent:
		p.words(e.Reason + "; the step is skipped")
	case train.RolloutEvent:
		p.words(rolloutText(e))
	case train.MessageEvent:
		p.words(e.Text)
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
func (p *progress) step(e train.StepEvent) string {
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
func (p *progress) example(e train.ExampleEvent) {
	before, after := "[[", "]]"
	if p.colour {
		before, after = "\x1b[32m", "\x1b[0m"
	}
	var b strings.Builder
	for _, part := range e.Parts {
		if part.Supervised {
			b.WriteString(before + shown(part.Text) + after)
		} else {
			b.WriteString(shown(part.Text))
		}
	}
	p.line("--- an example of the data; %sthis%s is learned\n%s\n---", before, after, b.String())
}
