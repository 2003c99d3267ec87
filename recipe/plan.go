package recipe

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"hone/data"
	"hone/device"
	"hone/model"
	"hone/plan"
	"hone/tensor"
)

// Planned is what is known of a run before it is started.
type Planned struct {
	Stage string `json:"stage"`
	plan.Memory
	KVCache     int64   `json:"kv_cache_bytes"`         // of what the model writes in the run
	Steps       int     `json:"steps"`                  // updates
	Tokens      int64   `json:"tokens"`                 // fed in them
	StepSeconds float64 `json:"step_seconds,omitempty"` // at the rates of the machine; 0 where they are not known
	Seconds     float64 `json:"seconds,omitempty"`      // all steps, without evaluations, samples and checkpoints

	RolloutSeconds float64 `json:"rollout_seconds,omitempty"` // to write and score the answers of an iteration

	Notes []string `json:"notes,omitempty"` // what is probably not meant

	perToken float64 // operations of a token of the steps
	layers   int     // of the model
}

// Print writes the plan as a table.
func (p *Planned) Print(out io.Writer) {
	p.Memory.Print(out)
	row := func(name, format string, values ...any) {
		fmt.Fprintf(out, "%-16s  "+format+"\n", append([]any{name}, values...)...)
	}
	if p.KVCache > 0 {
		row("KV cache", "%10s  while the model writes", plan.Bytes(p.KVCache))
	}
	row("steps", "%10d  %s tokens in all", p.Steps, plan.Count(float64(p.Tokens)))
	if p.StepSeconds > 0 {
		row("time of a step", "%10s  at the rates of this machine, measured now", fmt.Sprintf("%.3g s", p.StepSeconds))
		if p.RolloutSeconds > 0 {
			row("time of answers", "%10s  to write and score those of an iteration, all as long as they may be",
				fmt.Sprintf("%.3g s", p.RolloutSeconds))
		}
		row("time", "%10s  without evaluations and checkpoints", plan.Span(p.Seconds))
	}
}

// Planned is the plan of steps of a memory and work, whose batches hold a share of the rows of full ones.
func (c *Training) Planned(stage string, m plan.Memory, steps int, rows float64, meter plan.Meter) (*Planned, error) {
	full := float64(c.BatchSize * c.SequenceLength * c.GradientAccumulationSteps)
	p := &Planned{Stage: stage, Memory: m, Steps: steps, Tokens: int64(rows * full * float64(steps))}
	step, err := m.Work.TimeBy(meter)
	p.StepSeconds = step.Seconds()
	p.Seconds = float64(steps) * p.StepSeconds
	return p, err
}

// PlanStep is the memory of a step of the largest micro-batches, and the work of one as they are on average.
// With c.Memory it sets c.Recompute to the fewest layers that fit. dir is the model's folder, empty for a new
// one. fill is called whenever sizes of c have changed.
func (c *Training) PlanStep(config []byte, dir string, fill func() (Fill, error)) (plan.Memory, error) {
	var p planned
	var f Fill
	err := c.fit(c.lower(dir), func() (peak int64, layers int, err error) {
		if f, err = fill(); err != nil {
			return 0, 0, err
		}
		p, err = c.measureStep(config, dir, f.Largest)
		return p.Needed(), p.layers, err
	})
	if err != nil {
		return p.Memory, err
	}
	typical, err := c.measureStep(config, dir, f.Typical)
	p.Work = typical.Work.Filled(f.Rows * float64(c.BatchSize*c.SequenceLength) / float64(f.Typical.Rows()))
	return p.Memory, err
}

// fit measures the run as c is. Where c says how much memory there is, it sets c.Recompute to the
// fewest of the layers with which the peak keeps to it, and measures that last; where none does, the
// error names the changes that would.
func (c *Training) fit(changes []Change, measure func() (peak int64, layers int, err error)) error {
	_, most, err := measure()
	if err != nil || c.Memory == "" {
		return err
	}
	budget, err := parseBytes(c.Memory)
	if err != nil {
		return err
	}
	var peak int64
	least := 0
	// More layers run again never take more memory, so the fewest that fit are found by halving: 7
	// measurements for 100 layers.
	for least < most {
		mid := (least + most) / 2
		c.Recompute = strconv.Itoa(mid)
		if peak, _, err = measure(); err != nil {
			return err
		}
		if peak <= budget {
			most = mid
		} else {
			least = mid + 1
		}
	}
	c.Recompute = strconv.Itoa(least)
	if peak, _, err = measure(); err == nil && peak > budget {
		err = c.tooLittle(peak, budget, changes, measure)
	}
	return err
}

// planned is the memory of a step of a model.
type planned struct {
	plan.Memory
	layers int
}

// onCard says whether the run's device is a GPU.
func (c *Training) onCard() bool {
	kind, _, _ := device.ParseName(c.Device)
	return kind == "cuda"
}

// MeasureFull plans a step of full batches of a new model.
func (c *Training) MeasureFull(config []byte) (plan.Memory, error) {
	full, _ := c.Full()
	p, err := c.measureStep(config, "", full.Largest)
	return p.Memory, err
}

// measureStep plans a step as c is, of such micro-batches.
func (c *Training) measureStep(config []byte, dir string, b data.Batch) (p planned, err error) {
	dtype, err := c.ComputeDType()
	if err != nil {
		return p, err
	}
	dev := plan.NewDevice()
	dev.OnCard = c.onCard()
	// PiSSA would decompose every weight, and there are none on a device that only counts.
	plain := *c // values to start from are neither read nor decomposed
	plain.LoRA.Init, plain.Prompt.Init = "true", "random"
	r := &Run{Training: &plain, From: dir, Env: Env{Device: dev}}
	var o *nextToken
	p.Memory, err = plan.Measure(dev, plan.Step{
		Weights: func() (err error) {
			if r.Model, err = model.Declare(config, dev); err != nil {
				return err
			}
			packed, err := c.Packed()
			if err != nil {
				return err
			}
			r.Model.Alloc(dtype, packed)
			p.layers = r.Model.Shape().Layers
			if r.Trained, err = r.method(dtype); err != nil {
				return err
			}
			o, err = r.nextToken()
			return err
		},
		Optimizer: r.openOptimizer,
		Tape:      func() *tensor.Tape { return c.tape(dev, dtype) },
		Forward:   func(tape *tensor.Tape) { o.model.Hidden(o.inputs.Of(tape, &b)) },
		Loss:      func(tape *tensor.Tape) *tensor.Tensor { return o.loss(tape, b) },
		Micros:    c.GradientAccumulationSteps,
		Update:    func() error { _, err := r.Optimizer.Step(1); return err },
	})
	if err == nil {
		p.Recompute, err = c.RecomputedLayers(p.layers)
	}
	return p, err
}

// Full is the Fill of batches that are full, each sequence one text, and learned throughout.
func (c *Training) Full() (Fill, error) {
	n := c.BatchSize * c.SequenceLength
	b := data.Batch{IDs: make([]int32, n), Targets: make([]int32, n), Positions: make([]int32, n), Offsets: []int32{0}, Tokens: n}
	for i := range n {
		b.Positions[i] = int32(i % c.SequenceLength)
	}
	for s := range c.BatchSize {
		b.Offsets = append(b.Offsets, int32((s+1)*c.SequenceLength))
	}
	return Fill{Rows: 1, Largest: b, Typical: b}, nil
}

// Change is one of a recipe that may take less memory.
type Change struct {
	Key  string // as it is written: key=value
	Make func() // makes it
	Undo func() // puts back what was; nil where it is a key of Training
}

// tooLittle says what fits when recomputing every layer does not.
func (c *Training) tooLittle(peak, budget int64, changes []Change, measure func() (peak int64, layers int, err error)) error {
	type result struct {
		text string
		peak int64
	}
	var fits, all []result
	for _, change := range changes {
		old := *c
		change.Make()
		lower, _, err := measure()
		// Making a change may set several keys, and fit's search sets recompute: the whole struct is put back.
		if *c = old; change.Undo != nil {
			change.Undo()
		}
		if err != nil || lower >= peak {
			continue // not for this model, or of no use
		}
		r := result{fmt.Sprintf("%s (%s)", change.Key, plan.Bytes(lower)), lower}
		if all = append(all, r); lower <= budget {
			fits = append(fits, r)
		}
	}
	words := func(list []result) string {
		var parts []string
		for _, r := range list {
			parts = append(parts, r.text)
		}
		return strings.Join(parts, ", ")
	}
	text := fmt.Sprintf("memory is %s and a step needs %s even with every layer run again", c.Memory, plan.Bytes(peak))
	switch {
	case len(fits) > 0:
		slices.SortStableFunc(fits, func(a, b result) int { return cmp.Compare(b.peak, a.peak) })
		return errors.New(text + "; what fits: " + words(fits))
	case len(all) > 0:
		slices.SortStableFunc(all, func(a, b result) int { return cmp.Compare(a.peak, b.peak) })
		return errors.New(text + "; no single change is enough, the largest are: " + words(all[:min(3, len(all))]))
	}
	return errors.New(text + "; use a smaller model or raise memory")
}

// lower lists the changes of common keys.
func (c *Training) lower(dir string) []Change {
	var list []Change
	change := func(key string, make func()) { list = append(list, Change{Key: key, Make: make}) }
	for n := c.BatchSize / 2; n >= 1; n /= 2 {
		change(fmt.Sprintf("batch_size=%d", n), func() { c.BatchSize = n })
	}
	if n := c.SequenceLength / 2; n >= 2 {
		change(fmt.Sprintf("sequence_length=%d", n), func() { c.SequenceLength = n })
	}
	if c.Optimizer.Name == "adamw" {
		change("optimizer.name=adamw8bit", func() { c.Optimizer.Name = "adamw8bit" })
	}
	if !c.Optimizer.Paged {
		change("optimizer.paged=true", func() { c.Optimizer.Paged = true })
	}
	if c.onCard() && !c.ActivationOffloading {
		change("activation_offloading=true", func() { c.ActivationOffloading = true })
	}
	if c.Method == "full" && dir != "" {
		change("method=lora", func() { c.Method = "lora" })
	}
	if c.DType == "f32" {
		change("dtype=bf16", func() { c.DType = "bf16" })
	}
	return list
}

// parseBytes reads a size such as 6GiB, 500 MB or a number of bytes.
func parseBytes(text string) (int64, error) {
	units := []struct {
		name  string
		bytes float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
		{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"B", 1}, {"", 1}}
	// Longer names come first: a size in KiB ends in B, too.
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n > 0) || n*u.bytes > 1<<60 {
			break
		}
		return int64(n * u.bytes), nil
	}
	return 0, fmt.Errorf("memory is %q; write a size such as 6GiB or 500MB", text)
}
