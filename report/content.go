package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

func (r *run) subtitle() string {
	var parts []string
	if n, ok := r.number("parameters"); ok {
		parts = append(parts, compact(n)+" parameters")
	}
	if len(r.steps) > 0 {
		last := r.steps[len(r.steps)-1]
		word := "steps"
		if last.Step == 1 {
			word = "step"
		}
		parts = append(parts, grouped(float64(last.Step))+" "+word, compact(float64(last.Tokens))+" tokens", duration(last.Seconds))
	}
	return strings.Join(parts, " · ")
}

// tiles are the numbers a person looks for first.
func (r *run) tiles() []tile {
	out := r.rewardTiles()
	if len(r.evals) > 0 {
		m, of := r.kept()
		if loss, ok := m["loss"]; ok {
			out = append(out, tile{"validation loss", exact(loss), r.against(loss) + of})
		}
		if v, ok := m["perplexity"]; ok {
			out = append(out, tile{"perplexity", exact(v), "of the next held-out token"})
		}
		for _, name := range []string{"accuracy", "rewards/accuracies"} {
			if v, ok := m[name]; ok {
				out = append(out, tile{"accuracy", fmt.Sprintf("%.1f%%", 100*v), "of held-out pairs"})
			}
		}
		out = append(out, r.overfitTile()...)
		if f, ok := m["forgetting"]; ok {
			out = append(out, tile{"forgetting", exact(f), "loss on general text above the base's " + exact(m["general_loss"]-f)})
		}
		if bits, ok := m["bits_per_byte"]; ok {
			out = append(out, tile{"bits per byte", exact(bits), "comparable between tokenizers"})
		}
	}
	if n := len(r.steps); n > 0 {
		last := r.steps[n-1]
		smooth := smoothed(r.steps)
		out = append(out, tile{"training loss", exact(smooth[n-1]), "smoothed; the first was " + exact(r.steps[0].Loss)})
		out = append(out, tile{"throughput", compact(r.medianSpeed()), "tokens per second, median"})
		out = append(out, tile{"time", duration(last.Seconds), compact(float64(last.Tokens)) + " tokens"})
	}
	return out
}

// kept are the metrics of the weights that the run's result holds, and of which step they are where that is not the last.
func (r *run) kept() (metrics map[string]float64, of string) {
	if step, ok := r.number("kept_step"); ok {
		for _, e := range r.evals {
			if e.Step == int(step) {
				return e.Metrics, fmt.Sprintf("; of step %d, whose weights are kept", e.Step)
			}
		}
	}
	return r.evals[len(r.evals)-1].Metrics, ""
}

// against says how the loss stands to the baselines.
func (r *run) against(loss float64) string {
	// the harder baseline where both are known: below it a model uses more than the token before
	for _, b := range []string{"bigram", "unigram"} {
		if base, ok := r.number(b + "_loss"); ok {
			word := "below"
			if loss > base {
				word = "above"
			}
			return fmt.Sprintf("%s %s %s's %s", exact(math.Abs(base-loss)), word, b, exact(base))
		}
	}
	if _, ok := r.evals[len(r.evals)-1].Metrics["perplexity"]; !ok {
		return "on held-out data"
	}
	return "nats per held-out token"
}

// medianSpeed is that of the steps: their mean would be pulled down by the few that had to wait.
func (r *run) medianSpeed() float64 {
	var v []float64
	for _, s := range r.steps {
		v = append(v, s.TokensPerS)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// smoothed is the exponential moving average of the loss over about a fiftieth of the run, and over fewer
// steps at its start, where the loss falls fast. Spikes are left out: one of 1e9 would outweigh thousands of steps behind it.
// What a run ends with is none, for nothing tells that it would have come down again.
func smoothed(steps []step) []float64 {
	out := make([]float64, len(steps))
	raw := curve{}
	for _, s := range steps {
		raw.Y = append(raw.Y, s.Loss)
	}
	_, fence := fence([]curve{raw}, nil)
	end := len(steps)
	for end > 0 && steps[end-1].Loss > fence {
		end--
	}
	// A mean of a fixed number of steps would hide a short run and let a long one tremble.
	longest := min(100, max(1, float64(len(steps))/50))
	mean := math.NaN()
	for i, s := range steps {
		switch {
		case !finite(s.Loss) || s.Loss > fence && i < end:
		case !finite(mean):
			mean = s.Loss
		default:
			mean += (s.Loss - mean) / min(longest, 1+float64(i)/10) // the divisor is the number of steps that are averaged
		}
		out[i] = mean
	}
	return out
}

func (r *run) curve(name, class string, y func(step) float64) curve {
	c := curve{Name: name, Class: class}
	for _, s := range r.steps {
		c.X, c.Y = append(c.X, float64(s.Step)), append(c.Y, y(s))
	}
	return c
}

// lossFigure shows the loss of each step, smoothed, and held out, among what counts alone predict.
func (r *run) lossFigure() *figure {
	f := &figure{Title: "Loss", w: 960, h: 380}
	if len(r.steps) > 0 {
		raw := r.curve("each step", "raw", func(s step) float64 { return s.Loss })
		f.Curves = append(f.Curves, raw, curve{Name: "training, smoothed", Class: "train", X: raw.X, Y: smoothed(r.steps)})
	}
	f.Curves = append(f.Curves, r.heldOut("loss")...)
	for _, b := range []string{"unigram", "bigram"} {
		if v, ok := r.number(b + "_loss"); ok {
			f.Rules = append(f.Rules, rule{b, b, v})
		}
	}
	if len(f.Curves) == 0 {
		return nil
	}
	f.cutSpikes()
	if at, ok := r.overfitting(); ok {
		f.Marks = append(f.Marks, mark{"overfitting from here", float64(at.Step)})
	}
	return f
}

// small is a figure of one curve over the steps; nil when the run has no steps.
func (r *run) small(title string, y func(step) float64) *figure {
	if len(r.steps) == 0 {
		return nil
	}
	return &figure{Title: title, w: 320, h: 190, zero: true, Curves: []curve{r.curve(title, "train", y)}}
}

func (r *run) rateFigure() *figure {
	return r.small("Learning rate", func(s step) float64 { return s.LR })
}

func (r *run) normFigure() *figure {
	f := r.small("Gradient norm", func(s step) float64 { return s.GradNorm })
	if f != nil {
		f.cutSpikes()
	}
	return f
}

func (r *run) speedFigure() *figure {
	return r.small("Tokens per second", func(s step) float64 { return s.TokensPerS })
}

// evalTable lists at most fifty evaluations, evenly spread, the last among them.
func (r *run) evalTable() *table {
	if len(r.evals) == 0 {
		return nil
	}
	var names []string
	for _, e := range r.evals {
		for k := range e.Metrics {
			if !slices.Contains(names, k) {
				names = append(names, k)
			}
		}
	}
	slices.Sort(names)
	t := &table{Head: []string{"step"}}
	for _, n := range names {
		t.Head = append(t.Head, plain(n))
	}
	// Rounded up, so that there are never more than fifty; from the end, so that the last, which counts, is among them.
	every := (len(r.evals) + 49) / 50
	for i, e := range r.evals {
		if (len(r.evals)-1-i)%every != 0 { // counted from the end
			continue
		}
		row := []string{grouped(float64(e.Step))}
		for _, n := range names {
			cell := ""
			if v, ok := e.Metrics[n]; ok {
				cell = exact(v)
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// facts are the info events as text, in order of their names.
func (r *run) facts() []fact {
	var out []fact
	for name, v := range r.info {
		if text := factText(name, v); text != "" {
			if name == "planned_memory" { // which tells of the operations of a step, too
				name = "plan"
			}
			out = append(out, fact{unitless(name), text})
		}
	}
	slices.SortFunc(out, func(a, b fact) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// factText is a value as a person reads it: sizes in their unit, whole numbers in groups, lists and objects in a line.
func factText(name string, v any) string {
	switch v := v.(type) {
	case float64:
		switch {
		case strings.HasSuffix(name, byteSuffix) && v >= 1<<20:
			return fmt.Sprintf("%.1f MiB", v/(1<<20))
		case strings.HasSuffix(name, byteSuffix):
			return fmt.Sprintf("%.0f KiB", math.Ceil(v/(1<<10)))
		case v == math.Trunc(v):
			return grouped(v)
		}
		return exact(v)
	case string:
		return v
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, factText(name, x))
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		var parts []string
		for k, x := range v {
			parts = append(parts, unitless(k)+" "+factText(k, x))
		}
		slices.Sort(parts)
		return strings.Join(parts, ", ")
	}
	return fmt.Sprint(v)
}

// byteSuffix ends the keys whose values are told in a unit.
const byteSuffix = "_bytes"

// unitless reads a key as words, less a unit that its value has.
func unitless(key string) string { return plain(strings.TrimSuffix(key, byteSuffix)) }

// plain reads a key as words.
func plain(key string) string { return strings.ReplaceAll(key, "_", " ") }

// grouped writes a whole number with thin spaces between thousands.
func grouped(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
