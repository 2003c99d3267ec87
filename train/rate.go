package train

import (
	"fmt"
	"math"
	"strings"
)

// scheduleNames are the values of Schedule.Name.
var scheduleNames = []string{"constant", "linear", "cosine", "wsd", "inverse_sqrt"}

// Schedule says how the learning rate moves over a run. With s the number of
// updates made before this one, T the steps of the run, W the warm-up steps, D
// the decay steps and r MinRatio, the rate is Peak times
//
//	s < W:         (s+1)/W                                    linear warm-up, never zero
//	constant:      1
//	linear:        r + (1-r)·(1-p)             p = min(1, (s-W)/D), D = T-W unless given
//	cosine:        r + (1-r)·(1+cos(π·p))/2    p as above
//	wsd:           1 until s = T-D, then r + (1-r)·(T-s)/D    (warm-up, stable, decay: Hägele et al., 2024)
//	inverse_sqrt:  max(r, sqrt(W/(s+1)))       W at least 1   (Vaswani et al., 2017)
//
// constant and inverse_sqrt do not look at T when WarmupSteps is a count, so a
// run may be continued with more steps as if it had been longer from the start;
// linear and cosine do not either when DecaySteps is a count.
type Schedule struct {
	Name        string  // constant, linear, cosine, wsd or inverse_sqrt
	WarmupSteps float64 // a count, or below 1 a fraction of the run's steps (rounded up)
	DecaySteps  float64 // a count, or below 1 a fraction; 0 means T-W for linear and cosine, T/5 for wsd
	MinLRRatio  float64 // the rate the decay ends at, as a share of the peak
}

// Validate reports the first field that cannot be meant.
func (c Schedule) Validate() error {
	known := false
	for _, n := range scheduleNames {
		known = known || n == c.Name
	}
	switch {
	case !known:
		return fmt.Errorf("name is %q: use %s", c.Name, strings.Join(scheduleNames, ", "))
	case !isSteps(c.WarmupSteps):
		return fmt.Errorf("warmup_steps is %v: use a whole number of steps, or a fraction of the run below 1", c.WarmupSteps)
	case !isSteps(c.DecaySteps):
		return fmt.Errorf("decay_steps is %v: use a whole number of steps, or a fraction of the run below 1", c.DecaySteps)
	case !(c.MinLRRatio >= 0 && c.MinLRRatio <= 1):
		return fmt.Errorf("min_lr_ratio is %v: use a share of the learning rate from 0 to 1", c.MinLRRatio)
	}
	return nil
}

// isSteps reports whether v is a count of steps or a fraction below 1.
func isSteps(v float64) bool {
	return v >= 0 && v < 1<<53 && (v < 1 || v == math.Trunc(v))
}

// stepsOf turns a count or a fraction into a count.
func stepsOf(v float64, total int) float64 {
	if v < 1 {
		// The nudge keeps 0.1 of 30 at 3: the product is 3.0000000000000004.
		return math.Ceil(v*float64(total) - 1e-9)
	}
	return v
}

// Rate is the learning rate of each step of a run of total steps as a pure
// function; step counts from 0.
func (c Schedule) Rate(peak float64, total int) func(step int) float32 {
	return func(step int) float32 { return float32(peak * c.factor(float64(step), total)) }
}

// factor is the rate as a share of its peak; the formulas are at Schedule.
func (c Schedule) factor(s float64, total int) float64 {
	warm := stepsOf(c.WarmupSteps, total)
	decay := stepsOf(c.DecaySteps, total)
	r, t := c.MinLRRatio, float64(total)
	if s < warm {
		return (s + 1) / warm
	}
	if decay == 0 {
		decay = max(t-warm, 1)
		if c.Name == "wsd" {
			decay = stepsOf(0.2, total)
		}
	}
	p := min(1, (s-warm)/decay)
	switch c.Name {
	case "linear":
		return r + (1-r)*(1-p)
	case "cosine":
		return r + (1-r)*(1+math.Cos(math.Pi*p))/2
	case "wsd":
		left := max(0, t-s)
		return r + (1-r)*min(1, left/decay)
	case "inverse_sqrt":
		return max(r, math.Sqrt(max(warm, 1)/(s+1)))
	}
	return 1
}
