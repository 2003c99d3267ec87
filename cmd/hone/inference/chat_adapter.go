package inference

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"hone/adapter"
	"hone/cmd/hone/loaded"
)

// adapters are those that a conversation can change between.
type adapters struct {
	sum     *adapter.Sum
	dirs    []string
	weights []float64 // of those in use
	on      []bool
}

// choices are the adapters on a model, nil where there are not several.
func choices(f *loaded.Flags, m *loaded.Model) *adapters {
	sum, ok := m.Adapter.(*adapter.Sum)
	if !ok {
		return nil
	}
	c := &adapters{sum: sum, dirs: f.Adapters, weights: f.Weights, on: make([]bool, len(f.Adapters))}
	for i := range c.on {
		c.on[i] = true
	}
	// without --adapter-weights each has 1
	for len(c.weights) < len(c.dirs) {
		c.weights = append(c.weights, 1)
	}
	return c
}

// choose uses the adapters of the numbers in text from the next answer on, or lists them all. What was said before stays, and is read again
// by the model as it is then.
func (t *talk) choose(text string) error {
	c := t.adapters
	if c == nil {
		return errors.New("there are not several adapters to change between; name them by --adapter when hone chat starts")
	}
	if text != "" {
		on := make([]bool, len(c.dirs))
		for field := range strings.FieldsSeq(text) {
			n, err := strconv.Atoi(field)
			if err != nil || n < 0 || n > len(on) {
				return fmt.Errorf("%q is no number of an adapter; /adapter lists them", field)
			}
			if n > 0 {
				on[n-1] = true
			}
		}
		c.on = on
		c.use()
		t.session.Close() // its keys and values are of those before
	}
	for i, dir := range c.dirs {
		state := "off"
		if c.on[i] {
			state = fmt.Sprintf("on, weight %g", c.weights[i])
		}
		fmt.Fprintf(t.Err, "  %d  %s (%s)\n", i+1, dir, state)
	}
	return nil
}

// use gives adapters that are off the weight 0, with all of which off the model is the base bit for bit.
func (c *adapters) use() {
	weights := make([]float64, len(c.on))
	for i, on := range c.on {
		if on {
			weights[i] = c.weights[i]
		}
	}
	c.sum.Use(weights)
}
