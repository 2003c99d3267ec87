package train

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// State is what the loop itself knows about a run; with the optimizer's state it is all
// that is needed to go on bit for bit, since the data and dropout are functions of the step.
type State struct {
	Step          int     `json:"step"`            // updates made or skipped
	Updates       int     `json:"updates"`         // of the optimizer
	Seed          uint64  `json:"seed"`            // of the data's order and of dropout
	Tokens        int64   `json:"tokens"`          // supervised tokens seen
	Seconds       float64 `json:"seconds"`         // trained, over all sessions
	Loss          float64 `json:"loss"`            // of the last step
	LossSinceEval float64 `json:"loss_since_eval"` // sum over the steps since the last evaluation
	SinceEval     int     `json:"since_eval"`      // and their number
	Skipped       int     `json:"skipped"`         // steps left out
	SkippedInRow  int     `json:"skipped_in_row"`
	Best          float64 `json:"best"`      // best value of the watched metric
	BestStep      int     `json:"best_step"` // where it was; 0: no evaluation yet
	Worse         int     `json:"worse"`     // evaluations since then

	// Midway is, of a run that was stopped before or amid what is due after Step (the evaluation, then
	// Loop.Every in order), one more than how many of these are done; 0: all are.
	Midway int `json:"midway,omitempty"`

	BestMetrics map[string]float64 `json:"best_metrics,omitempty"` // all that the best evaluation measured
}

// next counts a step, after which nothing of what is due is done yet.
func (s *State) next() {
	s.Step++
	s.Midway = 1
}

// advance counts a step that was made.
func (s *State) advance(loss float64, tokens int) {
	s.next()
	s.Tokens += int64(tokens)
	s.Loss = loss
	s.LossSinceEval += loss
	s.SinceEval++
	s.SkippedInRow = 0
}

// Resume puts the loop where the checkpoint of step left it: weights, optimizer, counts.
// It refuses a checkpoint whose recipe differs from Recipe in a key that mayDiffer does
// not allow. It must come before Run.
func (l *Loop) Resume(step int, mayDiffer func(key string) bool) error {
	if err := l.Checkpoints.Match(step, mayDiffer); err != nil {
		return err
	}
	if err := l.Checkpoints.verify(step); err != nil {
		return err
	}
	dir := l.Checkpoints.Path(step)
	var state State
	if err := readJSON(filepath.Join(dir, stateFile), &state); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if err := l.Checkpoints.readTensors(dir, l.Optimizer.State()); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if err := l.Optimizer.Restored(state.Updates); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	l.state = state
	return l.Checkpoints.prune(state) // fewer may be wanted now, to make room for the next
}

// Match refuses the checkpoint of step where its recipe differs from Recipe in a key that mayDiffer does not allow.
func (c *Checkpoints) Match(step int, mayDiffer func(key string) bool) error {
	const most = 8 // a run of another stage differs in all of its own keys
	if err := c.verify(step, recipeFile); err != nil {
		return err
	}
	dir := c.Path(step)
	var recipe map[string]string
	if err := readJSON(filepath.Join(dir, recipeFile), &recipe); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	diff := differences(recipe, c.Recipe, mayDiffer)
	if len(diff) == 0 {
		return nil
	}
	if n := len(diff) - most; n > 0 {
		diff = append(diff[:most], fmt.Sprintf("and %d more", n))
	}
	return fmt.Errorf("resume: checkpoint %s is of another recipe: %s; go back to those values, or start a new run in another out",
		dir, strings.Join(diff, ", "))
}

// differences words the keys whose values are not the same, "steps was 10 and is 20".
func differences(old, now map[string]string, mayDiffer func(key string) bool) []string {
	keys := maps.Clone(old)
	if keys == nil {
		keys = make(map[string]string)
	}
	maps.Copy(keys, now)
	var diff []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if old[key] != now[key] && !mayDiffer(key) {
			diff = append(diff, fmt.Sprintf("%s was %s and is %s", key, orUnset(old[key]), orUnset(now[key])))
		}
	}
	return diff
}

func orUnset(v string) string {
	if v == "" {
		return "not set"
	}
	return v
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
