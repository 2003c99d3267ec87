package train

import (
	"math"
	"strings"
	"testing"
)

// TestScheduleValues checks the formulas against values worked out by hand.
func TestScheduleValues(t *testing.T) {
	const total = 100
	for _, c := range []struct {
		name  string
		s     Schedule
		rates map[int]float64 // step: share of the peak
	}{
		{"constant", Schedule{Name: "constant"}, map[int]float64{0: 1, 99: 1, 500: 1}},
		{"warm-up", Schedule{Name: "constant", WarmupSteps: 4}, map[int]float64{0: 0.25, 1: 0.5, 2: 0.75, 3: 1, 4: 1}},
		{"warm-up as a fraction", Schedule{Name: "constant", WarmupSteps: 0.04}, map[int]float64{0: 0.25, 3: 1}},
		{"linear", Schedule{Name: "linear"}, map[int]float64{0: 1, 25: 0.75, 50: 0.5, 99: 0.01, 100: 0, 200: 0}},
		{"linear to a floor", Schedule{Name: "linear", WarmupSteps: 20, MinLRRatio: 0.1},
			map[int]float64{0: 0.05, 19: 1, 20: 1, 60: 0.55, 100: 0.1, 400: 0.1}},
		{"linear over 40 steps", Schedule{Name: "linear", WarmupSteps: 10, DecaySteps: 40}, map[int]float64{10: 1, 20: 0.75, 50: 0, 99: 0}},
		{"cosine", Schedule{Name: "cosine"}, map[int]float64{0: 1, 25: 0.5 + math.Sqrt2/4, 50: 0.5, 100: 0}},
		{"cosine to a floor", Schedule{Name: "cosine", WarmupSteps: 10, DecaySteps: 60, MinLRRatio: 0.2},
			map[int]float64{9: 1, 10: 1, 30: 0.2 + 0.8*0.75, 40: 0.6, 70: 0.2, 99: 0.2}},
		{"wsd", Schedule{Name: "wsd"}, map[int]float64{0: 1, 79: 1, 80: 1, 90: 0.5, 99: 0.05}},
		{"wsd, half of the run", Schedule{Name: "wsd", DecaySteps: 0.5, MinLRRatio: 0.5}, map[int]float64{49: 1, 50: 1, 75: 0.75, 99: 0.51}},
		{"inverse_sqrt", Schedule{Name: "inverse_sqrt", WarmupSteps: 4}, map[int]float64{0: 0.25, 3: 1, 15: 0.5, 63: 0.25}},
		{"inverse_sqrt, no warm-up", Schedule{Name: "inverse_sqrt", MinLRRatio: 0.2}, map[int]float64{0: 1, 3: 0.5, 99: 0.2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.s.Validate(); err != nil {
				t.Fatal(err)
			}
			rate := c.s.Rate(2, total)
			for step, want := range c.rates {
				if got := float64(rate(step)); math.Abs(got-2*want) > 1e-6 {
					t.Errorf("step %d: rate %v, want %v", step, got, 2*want)
				}
			}
		})
	}
}

// TestSharesOfTheRunAreWhole: a share of a run is a whole number of steps, rounded up, but not by what a
// product is off.
func TestSharesOfTheRunAreWhole(t *testing.T) {
	for _, c := range []struct {
		share float64
		total int
		want  float64
	}{{0.1, 30, 3}, {0.1, 31, 4}, {0.07, 100, 7}, {0.29, 100, 29}, {0.001, 10, 1}, {0, 10, 0}, {1, 10, 1}, {12, 10, 12}} {
		if got := stepsOf(c.share, c.total); got != c.want {
			t.Errorf("%v of %d steps are %v, want %v", c.share, c.total, got, c.want)
		}
	}
}

// TestScheduleIndependentOfTotal holds the promise that makes n + n steps equal 2n.
func TestScheduleIndependentOfTotal(t *testing.T) {
	for _, s := range []Schedule{
		{Name: "constant", WarmupSteps: 5},
		{Name: "inverse_sqrt", WarmupSteps: 5},
		{Name: "linear", WarmupSteps: 5, DecaySteps: 30},
		{Name: "cosine", WarmupSteps: 5, DecaySteps: 30},
	} {
		short, long := s.Rate(1, 10), s.Rate(1, 20)
		for step := range 10 {
			if short(step) != long(step) {
				t.Errorf("%s: step %d depends on the number of steps", s.Name, step)
			}
		}
	}
}

func TestScheduleValidate(t *testing.T) {
	for _, c := range []struct {
		s    Schedule
		want string
	}{
		{Schedule{Name: "cosin"}, "use constant, linear"},
		{Schedule{Name: "cosine", WarmupSteps: -1}, "warmup_steps"},
		{Schedule{Name: "cosine", WarmupSteps: 1.5}, "warmup_steps"},
		{Schedule{Name: "cosine", DecaySteps: math.NaN()}, "decay_steps"},
		{Schedule{Name: "cosine", DecaySteps: math.Inf(1)}, "decay_steps"},
		{Schedule{Name: "cosine", MinLRRatio: 1.1}, "min_lr_ratio"},
		{Schedule{Name: "cosine", MinLRRatio: math.NaN()}, "min_lr_ratio"},
	} {
		err := c.s.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one with %q", c.s, err, c.want)
		}
	}
}
