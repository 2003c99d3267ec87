package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// run is what the files of a run folder say.
type run struct {
	name     string
	steps    []step
	evals    []eval
	samples  []sample
	rollouts []rollout
	tables   []titled
	notes    []note
	info     map[string]any
	recipe   string
	config   string
}

// step, eval, sample and note are lines of metrics.jsonl; see package train for what writes them. They are declared again, because
// packages of one layer do not import each other; lines of other kinds are passed over.
type step struct {
	Step       int                `json:"step"`
	Loss       float64            `json:"loss"`
	LR         float64            `json:"lr"`
	GradNorm   float64            `json:"grad_norm"`
	Tokens     int64              `json:"tokens"`
	TokensPerS float64            `json:"tokens_per_s"`
	Seconds    float64            `json:"seconds"`
	Metrics    map[string]float64 `json:"metrics"`
}

type eval struct {
	Step    int                `json:"step"`
	Metrics map[string]float64 `json:"metrics"`
	Best    bool               `json:"best"`
}

type sample struct {
	Step         int
	Prompt, Text string
}

type note struct {
	Step int
	Text string
}

// line is any line of metrics.jsonl.
type line struct {
	Event  string         `json:"event"`
	Step   int            `json:"step"`
	Prompt string         `json:"prompt"`
	Text   string         `json:"text"`
	Reason string         `json:"reason"`
	Values map[string]any `json:"values"`
}

// maxFile bounds recipe and config; nothing near it is one.
const maxFile = 1 << 20

// load reads a run's folder. Recipe and configuration may be missing, as they are in a run that was refused half way; metrics may not.
func load(dir string) (*run, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	r := &run{name: filepath.Base(abs), info: map[string]any{}}
	if err := r.readMetrics(filepath.Join(dir, "metrics.jsonl")); err != nil {
		return nil, err
	}
	for path, to := range map[string]*string{"recipe.yaml": &r.recipe, filepath.Join("model", "config.json"): &r.config} {
		if *to, err = readText(filepath.Join(dir, path)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// readText is the content of a small file, empty when there is none.
func readText(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	// Cut and not refused: a report with half of an odd recipe is worth more than none.
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(text), err
}

// readMetrics reads line by line, for a long run has more than should be in memory twice.
func (r *run) readMetrics(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w; name the folder of a run, which holds metrics.jsonl", err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if err == io.EOF {
			// So a report may be made of a run that goes on.
			return nil // a line without its end is still being written
		}
		if err != nil {
			return err
		}
		if err := r.add(text); err != nil {
			return fmt.Errorf("%s:%d is not a line of metrics: %w", path, n, err)
		}
	}
}

// add takes a line. Kinds that are not shown, or that a newer build writes, are passed over.
func (r *run) add(text []byte) error {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	switch l.Event {
	case "step":
		return decode(text, func(s step) { r.steps = append(r.steps, s) })
	case "eval":
		return decode(text, r.addEval)
	case "rollout":
		return decode(text, func(o rollout) { r.rollouts = append(r.rollouts, o) })
	case "table":
		return decode(text, r.addTable)
	case "sample":
		r.samples = append(r.samples, sample{l.Step, l.Prompt, l.Text})
	case "message":
		r.addNote(note{l.Step, l.Text})
	case "skip":
		r.addNote(note{l.Step, "skipped: " + l.Reason})
	case "info":
		maps.Copy(r.info, l.Values)
	}
	return nil
}

// decode hands a line of the kind T to take.
func decode[T any](text []byte, take func(T)) error {
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	take(v)
	return nil
}

// addEval appends an evaluation. A run that is resumed where it ended evaluates that step again: it stays one.
func (r *run) addEval(e eval) {
	if n := len(r.evals); n > 0 && r.evals[n-1].Step == e.Step && r.evals[n-1].Metrics != nil {
		maps.Copy(r.evals[n-1].Metrics, e.Metrics)
		return
	}
	r.evals = append(r.evals, e)
}

// addNote appends what was not said at that step already.
func (r *run) addNote(n note) {
	if !slices.Contains(r.notes, n) {
		r.notes = append(r.notes, n)
	}
}

// number is a numeric entry of the info events.
func (r *run) number(key string) (float64, bool) {
	v, ok := r.info[key].(float64)
	return v, ok
}
