package cluster

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"hone/plan"
)

// cheapest plans for the machines of the price table that keep to the budget and takes the least money.
func (e *estimator) cheapest() (*Estimated, error) {
	limit, err := number("gpus", e.c.GPUs)
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = mostGPUs // gpus was left open: the budget decides
	}
	name := ""
	if e.c.GPU != "" {
		g, err := plan.FindGPU(e.c.GPU)
		if err != nil {
			return nil, err
		}
		name = g.Name
	}
	offers := plan.Offers(e.prices, strings.ToLower(e.c.Provider), name, e.c.Spot)
	if e.c.USDPerGPUHour > 0 { // of the GPU that is named
		offers = []plan.Price{{Provider: "yours", Machine: name, GPU: name, GPUs: 1, USD: e.c.USDPerGPUHour, Spot: e.c.USDPerGPUHour}}
	}
	if len(offers) == 0 {
		return nil, fmt.Errorf("the price table offers nothing of that kind; leave provider, gpu or spot out, or give your own table with prices=FILE")
	}
	var best, nearest *candidate
	for _, p := range offers {
		c, err := e.candidate(p, limit)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue // does not fit at all
		}
		// nearest is kept beside best for the error: what keeps to no budget is compared with what costs least
		if c.over == "" && (best == nil || c.cost.USD < best.cost.USD) {
			best = c
		}
		if nearest == nil || c.cost.USD < nearest.cost.USD {
			nearest = c
		}
	}
	switch {
	case nearest == nil:
		return nil, fmt.Errorf("it does not fit on %d GPUs of any machine that is offered; raise gpus, lower batch_size or sequence_length, or use offload=params, optimizer=adamw8bit or an adapter", limit)
	case best == nil:
		return nil, e.overBudget(nearest)
	}
	e.fill(best.gpu, best.layout, best.cost.USD/best.cost.GPUHours)
	e.out.Price, e.out.Fits = &best.price, true
	return &e.out, nil
}

// candidate is a number of machines of one kind.
type candidate struct {
	price plan.Price
	gpu   plan.GPU
	layout
	cost plan.Cost
	over string // which limit it breaks
}

// candidate is the fewest machines of p on which the run fits and ends in time; nil when there are none.
func (e *estimator) candidate(p plan.Price, limit int) (*candidate, error) {
	g, err := plan.FindGPU(p.GPU)
	if err != nil {
		return nil, err
	}
	n, err := e.fewest(g, p.GPUs, limit)
	if n == 0 {
		return nil, err
	}
	c := &candidate{price: p, gpu: g}
	for { // more GPUs may do without running layers again, and from FewGPUs on each of them does less: so it is planned anew until it ends in time
		if c.layout, _, err = e.fit(g, n); err != nil {
			return nil, err
		}
		c.cost = e.cost(g, c.layout, p.PerGPU(e.c.Spot))
		if e.c.MaxHours == 0 || c.cost.Hours <= e.c.MaxHours {
			break
		}
		machines := max(math.Ceil(c.cost.GPUHours/e.c.MaxHours/float64(p.GPUs)), float64(n/p.GPUs+1))
		if machines*float64(p.GPUs) > float64(limit) {
			c.over = "max_hours"
			break
		}
		n = int(machines) * p.GPUs
	}
	if e.c.MaxUSD > 0 && c.cost.USD > e.c.MaxUSD {
		c.over = "max_usd"
	}
	return c, nil
}

// overBudget says what the cheapest plan takes and what the budget would buy.
func (e *estimator) overBudget(c *candidate) error {
	text := fmt.Sprintf("no plan keeps to the budget: the cheapest, %d %s of %s, costs $%s and takes %s hours", c.GPUs, c.gpu.Name, c.price.Provider,
		Money(c.cost.USD), Hours(c.cost.Hours))
	if e.c.MaxUSD > 0 && c.cost.USD > e.c.MaxUSD {
		return fmt.Errorf("%s; max_usd buys %s tokens there", text, plan.Count(e.out.Tokens*e.c.MaxUSD/c.cost.USD))
	}
	return fmt.Errorf("%s; raise gpus or max_hours, or train on fewer tokens", text)
}

// lower lists what would make the run fit on n of g, or what it lacks then.
func (e *estimator) lower(g plan.GPU, n int) []string {
	type change struct {
		text string
		set  func(*Estimate)
	}
	changes := []change{
		{"recompute=layers", func(c *Estimate) { c.Recompute = "layers" }},
		{"zero=3", func(c *Estimate) { c.ZeRO = "3" }},
		{"optimizer=adamw8bit", func(c *Estimate) { c.Optimizer = "adamw8bit" }},
		{"offload=optimizer", func(c *Estimate) { c.Offload = "optimizer" }},
		{"offload=params", func(c *Estimate) { c.Offload = "params" }},
		{fmt.Sprintf("batch_size=%d", e.c.BatchSize/2), func(c *Estimate) { c.BatchSize /= 2 }},
		{fmt.Sprintf("sequence_length=%d", e.out.SequenceLength/2), func(c *Estimate) { c.SequenceLength = e.out.SequenceLength / 2 }},
	}
	if n := e.c.Rollout.RolloutBatchSize / 2; e.c.writes() && n > 0 {
		changes = append(changes, change{fmt.Sprintf("rollout.rollout_batch_size=%d", n), func(c *Estimate) { c.Rollout.RolloutBatchSize = n }})
	}
	if e.c.Stage != "pretrain" {
		changes = append(changes, change{"method=lora", func(c *Estimate) { c.Method = "lora" }}, change{"method=qlora", func(c *Estimate) { c.Method = "qlora" }})
	}
	var fit []string
	for _, ch := range changes {
		c := *e.c
		if ch.set(&c); reflect.DeepEqual(c, *e.c) || c.validate() != nil { // it is so already, or cannot be
			continue
		}
		other := &estimator{c: &c, steps: map[string]plan.Memory{}}
		if other.readModel() != nil || other.measure() != nil {
			continue
		}
		if l, fits, err := other.fit(g, n); err == nil && fits {
			fit = append(fit, fmt.Sprintf("%s (%s a GPU)", ch.text, plan.Bytes(l.memory.Peak)))
		}
	}
	// more of the same GPUs are a change like the others
	if more, err := e.fewest(g, n, mostGPUs); err == nil && more > 0 {
		fit = append(fit, fmt.Sprintf("gpus=%d", more))
	}
	if len(fit) == 0 {
		return []string{notOne}
	}
	return fit
}

// notOne is what is told where no change of one key makes a run fit.
const notOne = "no single change is enough: use a GPU with more memory, a smaller model, or several changes at once"

// Remedy says what to do about a run that does not fit.
func (e *Estimated) Remedy() string {
	if slices.Equal(e.Lower, []string{notOne}) {
		return notOne
	}
	return "change one of: " + strings.Join(e.Lower, ", ")
}

// Hours writes hours or days with four digits, those of a long run with commas.
func Hours(h float64) string {
	if h < 9999.5 { // which is rounded up to five
		return fmt.Sprintf("%.4g", h)
	}
	return Money(h)
}

// Money writes dollars with commas, and cents when there are few.
func Money(usd float64) string {
	if usd < 100 {
		return fmt.Sprintf("%.2f", usd)
	}
	text := fmt.Sprintf("%.0f", usd)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
