package recipe

import (
	"fmt"
	"slices"

	"hone/plan"
	"hone/train"
)

// stepClock passes events on and keeps how long steps took.
type stepClock struct {
	train.Recorder
	took []float64 // seconds
}

// Append notes the time of a step.
func (c *stepClock) Append(e train.Event) error {
	if s, ok := e.(train.StepEvent); ok {
		c.took = append(c.took, s.StepTime)
	}
	return c.Recorder.Append(e)
}

// median is that of the session's steps but the first, which touches memory that the others find in place; 0
// without any.
func (c *stepClock) median() float64 {
	took := slices.Clone(c.took)
	if len(took) > 1 {
		took = took[1:]
	}
	if len(took) == 0 {
		return 0
	}
	// A mean would be of the slowest steps: those beside which a neighbour or a checkpoint used the machine.
	slices.Sort(took)
	return took[len(took)/2]
}

// compared is the title of the table that sets the plan of a run beside what was measured.
const compared = "Plan and measurement"

// measured records what the session took, and beside it what was planned: nothing where it made no step, as
// when a run that was done already is resumed.
func (r *Run) measured(out train.Outcome) error {
	peak, step := r.Env.Device.Memory().Peak, r.clock.median()
	if step == 0 {
		return nil
	}
	values := map[string]any{"peak_memory_bytes": peak, "step_seconds": step}
	if err := r.Metrics.Append(train.InfoEvent{Step: out.Step, Values: values}); err != nil || r.planned.Peak == 0 {
		return err
	}
	off := func(planned, measured float64) string { return fmt.Sprintf("%+.1f%%", 100*(planned/measured-1)) }
	t := train.TableEvent{Step: out.Step, Title: compared, Head: []string{"", "planned", "measured", "off"},
		Rows: [][]string{{"peak memory", plan.Bytes(r.planned.Peak), plan.Bytes(peak), off(float64(r.planned.Peak), float64(peak))}}}
	if planned := r.stepTime; planned > 0 {
		t.Rows = append(t.Rows, []string{"time of a step", fmt.Sprintf("%.4g s", planned), fmt.Sprintf("%.4g s", step),
			off(planned, step)})
	}
	return r.Metrics.Append(t)
}
