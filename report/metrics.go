package report

import (
	"fmt"
	"maps"
	"slices"
)

// rollout is an iteration of answers that were written and scored.
type rollout struct {
	Step      int                `json:"step"`
	Iteration int                `json:"iteration"`
	Metrics   map[string]float64 `json:"metrics"`
}

// titled is a table with a title; the last of a title counts.
type titled struct {
	Title string     `json:"title"`
	Head  []string   `json:"head"`
	Rows  [][]string `json:"rows"`
}

// answerMetrics are what a run that learns from rewards is watched by: what it is after, and what it pays for that. Its loss says little, as each
// iteration has answers of its own.
var answerMetrics = []string{"objective/scores", "objective/kl"}

// metricFigures are the further numbers of steps and of iterations, a figure each, in order of their names; those of answerMetrics apart.
func (r *run) metricFigures() (answers, others []*figure) {
	curves := map[string]*curve{}
	add := func(name string, step int, y float64) {
		c := curves[name]
		if c == nil {
			c = &curve{Name: name, Class: "train"}
			curves[name] = c
		}
		c.X, c.Y = append(c.X, float64(step)), append(c.Y, y)
	}
	for _, s := range r.steps {
		for name, y := range s.Metrics {
			add(name, s.Step, y)
		}
	}
	for _, s := range r.rollouts {
		for name, y := range s.Metrics {
			add(name, s.Step, y)
		}
	}
	// Not from 0, unlike rates and norms: rewards and divergences have either sign, and their changes are what is looked for.
	for _, name := range answerMetrics {
		if c := curves[name]; c != nil {
			answers = append(answers, &figure{Title: name, w: 480, h: 260, Curves: append([]curve{*c}, r.heldOut(name)...)})
			delete(curves, name)
		}
	}
	if len(answers) == 1 { // as wide as the page
		answers[0].w = 960
	}
	for _, name := range slices.Sorted(maps.Keys(curves)) {
		others = append(others, &figure{Title: name, w: 320, h: 190, Curves: []curve{*curves[name]}})
	}
	return answers, others
}

// heldOut is the curve of a metric in evaluations, none where no evaluation has it.
func (r *run) heldOut(name string) []curve {
	c := curve{Name: "validation", Class: "val", Dots: true}
	for _, e := range r.evals {
		if y, ok := e.Metrics[name]; ok {
			c.X, c.Y = append(c.X, float64(e.Step)), append(c.Y, y)
		}
	}
	if len(c.X) == 0 {
		return nil
	}
	return []curve{c}
}

// addTable keeps a table in the place of an earlier one of its title.
func (r *run) addTable(t titled) {
	for i := range r.tables {
		if r.tables[i].Title == t.Title {
			r.tables[i] = t
			return
		}
	}
	r.tables = append(r.tables, t)
}

// rewardTiles are the first numbers of a run that learns from rewards.
func (r *run) rewardTiles() []tile {
	if len(r.rollouts) == 0 {
		return nil
	}
	first, last := r.rollouts[0].Metrics, r.rollouts[len(r.rollouts)-1].Metrics
	var out []tile
	if v, ok := last["objective/scores"]; ok {
		out = append(out, tile{"score", exact(v), "of answers; the first was " + exact(first["objective/scores"])})
	}
	if v, ok := last["objective/kl"]; ok {
		out = append(out, tile{"KL", exact(v), "nats an answer from the reference"})
	}
	if v, ok := last["completions/mean_length"]; ok {
		out = append(out, tile{"answer", fmt.Sprintf("%.0f", v), fmt.Sprintf("tokens; %.0f%% end by themselves", 100*last["completions/eos_share"])})
	}
	return out
}
