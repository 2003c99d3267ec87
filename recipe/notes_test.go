package recipe

import (
	"strings"
	"testing"
)

// TestNotes: what is probably not meant is told, and what is usual is not.
func TestNotes(t *testing.T) {
	for _, c := range []struct {
		warmup float64
		steps  int
		epoch  float64
		want   string
	}{
		{20, 20, 1, ""}, {0.9, 1, 0, ""}, {0, 1, 5, ""},
		{20, 19, 0, "the run ends in its warm-up, at 0.95 of the learning rate: it has 19 steps, and schedule.warmup_steps is 20"},
		{0, 1, 0.25, "a step of 32 reads all of the data 4 times; lower batch_size or gradient_accumulation_steps"},
	} {
		r := DefaultTraining()
		r.BatchSize, r.GradientAccumulationSteps, r.Schedule.WarmupSteps = 8, 4, c.warmup
		if got := strings.Join(r.Notes(c.steps, c.epoch), "|"); got != c.want {
			t.Errorf("warm-up %v of %d steps, %v to an epoch: %q, want %q", c.warmup, c.steps, c.epoch, got, c.want)
		}
	}
}
