package recipe

import (
	"fmt"
	"slices"

	"hone/plan"
	"hone/train"
)

// stepClock passes events on and keeps how long steps took: all of them, or evenly chosen ones of a long run, whose memory does not grow.
type stepClock struct {
	train.Recorder
	steps int
	apart int       // of those that are kept, one from the next; 0 is 1
	took  []float64 // seconds
}

// mostTimes is how many are kept.
const mostTimes = 8192

// Append notes the time of a step.
func (c *stepClock) Append(e train.Event) error {
	if s, ok := e.(train.StepEvent); ok {
		c.note(s.StepTime)
	}
	return c.Recorder.Append(e)
}

func (c *stepClock) note(took float64) {
	c.apart = max(c.apart, 1)
	if c.steps%c.apart == 0 {
		c.took = append(c.took, took)
	}
	if c.steps++; len(c.took) < mostTimes {
		return
	}
	for i := range mostTimes / 2 {
		c.took[i] = c.took[2*i]
	}
	c.took, c.apart = c.took[:mostTimes/2], 2*c.apart
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
