package classifier

import (
	"math"
	"testing"

	"hone/data/curate/document"
)

// TestProbabilityAtTheThreshold is kept, the next number above it is not reached.
func TestProbabilityAtTheThreshold(t *testing.T) {
	c := &Model{NGram: 2, Words: 100, Weights: make([]float32, 256), Bias: 0.7}
	for i := range c.Weights {
		c.Weights[i] = float32(i%7) / 10
	}
	d := &document.Doc{Text: "some words to judge"}
	p := c.Probability(d.Text)
	if got := c.Step(p).Apply(d); got != "" {
		t.Errorf("at its threshold it is rejected because of %q", got)
	}
	if got := c.Step(math.Nextafter(p, 1)).Apply(d); got != "like the negative examples" {
		t.Errorf("just below the threshold: %q", got)
	}
}

// TestBoundsOfTraining: each number of a classifier's training at its bounds, and just past them.
func TestBoundsOfTraining(t *testing.T) {
	for name, c := range map[string]struct {
		set         func(*Config, int)
		least, most int // within; most 0: any
	}{
		"ngram":    {func(c *Config, n int) { c.Training.NGram = n }, 1, 10},
		"words":    {func(c *Config, n int) { c.Training.Words = n }, 1, 1 << 20},
		"epochs":   {func(c *Config, n int) { c.Training.Epochs = n }, 1, 0},
		"examples": {func(c *Config, n int) { c.Training.Examples = n }, 10, 0},
	} {
		valid := func(n int) bool {
			d := Default()
			d.Model = "x"
			c.set(&d, n)
			return d.Validate() == nil
		}
		if !valid(c.least) || valid(c.least-1) || c.most > 0 && (!valid(c.most) || valid(c.most+1)) {
			t.Errorf("%s: %d to %d", name, c.least, c.most)
		}
	}
}
