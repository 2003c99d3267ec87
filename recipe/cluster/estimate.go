// Package cluster plans runs on GPUs that are rented: what they take of memory, time and money, the cheapest that does, and the job files
// that schedulers take.
package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"hone/model"
	"hone/plan"
	"hone/recipe"
)

// Estimate holds the keys of hone plan.
type Estimate struct {
	Model          string  `yaml:"model" doc:"a folder with a config.json, a name such as llama-3-8b, or a size such as 7B"`
	Stage          string  `yaml:"stage" doc:"pretrain, sft, reward, dpo, ppo or grpo"`
	Method         string  `yaml:"method" doc:"full, lora, qlora or prompt"`
	Tokens         string  `yaml:"tokens" doc:"to train on in all, as in 300e9 or 2T (ppo and grpo: of prompts and answers, once); auto: 20 for each parameter, in pretrain alone"`
	GPU            string  `yaml:"gpu" doc:"such as h100; not set: the cheapest of the price table on which the run fits"`
	GPUs           string  `yaml:"gpus" doc:"how many, the most that may be with a budget; auto: the fewest that fit"`
	SequenceLength int     `yaml:"sequence_length" doc:"tokens per sequence; 0: the model's own, 8192 at most (ppo and grpo: 1024, prompt and answer)"`
	BatchSize      int     `yaml:"batch_size" doc:"sequences per GPU and micro-batch"`
	Recompute      string  `yaml:"recompute" doc:"none, layers (less memory for a third more time), or auto: layers where nothing else fits"`
	Optimizer      string  `yaml:"optimizer" doc:"adamw or adamw8bit"`
	ZeRO           string  `yaml:"zero" doc:"0, 1, 2 or 3: none, optimizer, and gradients, and weights divided among GPUs; auto: the least that fits"`
	TensorParallel string  `yaml:"tensor_parallel" doc:"GPUs that share each layer; auto: the fewest that fit, 8 at most"`
	Offload        string  `yaml:"offload" doc:"what lives in the host's memory: none, optimizer or params (both)"`
	R              int     `yaml:"r" doc:"rank of lora and qlora"`
	VirtualTokens  int     `yaml:"num_virtual_tokens" doc:"of method=prompt"`
	MFU            float64 `yaml:"mfu" doc:"share of the GPU's peak that the model's operations reach; 0: the default of the GPU's generation, which is less for more than 128 GPUs"`
	USDPerGPUHour  float64 `yaml:"usd_per_gpu_hour" doc:"price of a GPU; 0: from the price table"`
	Provider       string  `yaml:"provider" doc:"aws, gcp, azure, lambda, runpod ...; not set: the reference price of the GPU, else the cheapest"`
	Spot           bool    `yaml:"spot" doc:"at spot prices"`
	Prices         string  `yaml:"prices" doc:"your own price table, a CSV file with the columns of plan/prices.csv"`
	MaxUSD         float64 `yaml:"max_usd" doc:"the most that the run may cost; 0: any"`
	MaxHours       float64 `yaml:"max_hours" doc:"the longest that it may take; 0: any"`
	Rollout        Rollout `yaml:"rollout"`
	Launch         Launch  `yaml:"launch"`
}

// DefaultEstimate returns the defaults.
func DefaultEstimate() Estimate {
	return Estimate{Stage: "pretrain", Method: "full", Tokens: "auto", GPUs: "auto", BatchSize: 1, Recompute: "auto", Optimizer: "adamw",
		ZeRO: "auto", TensorParallel: "auto", Offload: "none", R: 16, VirtualTokens: 20, Rollout: defaultRollout(), Launch: defaultLaunch()}
}

// Estimated is the outcome of a plan.
type Estimated struct {
	Model          string  `json:"model"`
	Stage          string  `json:"stage"`
	Method         string  `json:"method"`
	Parameters     int64   `json:"parameters"`
	Trainable      int64   `json:"trainable_parameters"`
	Tokens         float64 `json:"tokens"`
	SequenceLength int     `json:"sequence_length"`
	BatchSize      int     `json:"batch_size"`
	FLOPsPerToken  float64 `json:"flops_per_token"` // nothing counted twice

	GPU            plan.GPU    `json:"gpu"`
	GPUs           int         `json:"gpus"`
	ZeRO           int         `json:"zero"`
	TensorParallel int         `json:"tensor_parallel"`
	Recompute      string      `json:"recompute"`
	Offload        string      `json:"offload"`
	TokensPerStep  int         `json:"least_tokens_per_step"` // one micro-batch on every GPU
	Memory         plan.PerGPU `json:"memory"`
	Fits           bool        `json:"fits"`
	Lower          []string    `json:"lower,omitempty"` // what to change when it does not fit
	plan.Cost
	TrainingHours float64      `json:"training_hours,omitempty"` // of Hours, in ppo and grpo
	ScoringHours  float64      `json:"scoring_hours,omitempty"`
	RolloutHours  float64      `json:"rollout_hours,omitempty"`
	USDPerGPUHour float64      `json:"usd_per_gpu_hour"`
	Price         *plan.Price  `json:"price,omitempty"` // nil: the user's
	Cheaper       *Offer       `json:"cheapest_offer,omitempty"`
	Advice        *plan.Advice `json:"advice,omitempty"` // of pretrain

	reward int64 // parameters of the reward model
}

// Offer is a machine of the price table and the run's cost on it.
type Offer struct {
	plan.Price
	Cost float64 `json:"cost_usd"`
}

// estimator is an estimate being made.
type estimator struct {
	c      *Estimate
	config []byte
	prices []plan.Price
	base   plan.Sharded
	heads  int
	hidden int
	out    Estimated
	steps  map[string]plan.Memory // of a micro-batch by recompute
	reward []byte                 // config.json of the reward model; nil without one
	wrote  written
}

// Run plans.
func (c *Estimate) Run() (*Estimated, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	e := &estimator{c: c, steps: map[string]plan.Memory{}}
	for _, step := range []func() error{e.readModel, e.readPrices, e.measure, e.measureRollout} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if c.MaxUSD > 0 || c.MaxHours > 0 || c.GPU == "" {
		return e.cheapest()
	}
	return e.given()
}

func (c *Estimate) validate() error {
	for _, choice := range []struct{ key, value, of string }{
		{"stage", c.Stage, "pretrain, sft, reward, dpo, ppo, grpo"}, {"method", c.Method, "full, lora, qlora, prompt"}, {"recompute", c.Recompute, "auto, none, layers"},
		{"optimizer", c.Optimizer, "adamw, adamw8bit"}, {"zero", c.ZeRO, "auto, 0, 1, 2, 3"}, {"offload", c.Offload, "none, optimizer, params"},
	} {
		if of := strings.Split(choice.of, ", "); !slices.Contains(of, choice.value) {
			return fmt.Errorf("%s is %q, the nearest is %s; use %s", choice.key, choice.value, plan.Nearest(of, choice.value), choice.of)
		}
	}
	if err := c.Rollout.validate(); err != nil {
		return err
	}
	if c.Stage == "pretrain" && c.Method != "full" {
		return fmt.Errorf("method is %s and stage is pretrain; an adapter has nothing to adapt there, so use stage=sft or method=full", c.Method)
	}
	const most = 1 << 22
	switch {
	case c.BatchSize < 1 || c.SequenceLength < 0 || c.SequenceLength == 1 || c.SequenceLength > most || c.BatchSize > most/max(1, c.SequenceLength):
		return fmt.Errorf("batch_size is %d and sequence_length %d; they must be at least 1 and 2, and their product at most %d", c.BatchSize, c.SequenceLength, most)
	case c.R < 1 || c.R > 1<<16 || c.VirtualTokens < 1 || c.VirtualTokens > 1<<16:
		return fmt.Errorf("r is %d and num_virtual_tokens %d; both must be at least 1 and at most 65536", c.R, c.VirtualTokens)
	case !(c.MFU >= 0 && c.MFU <= 1):
		return fmt.Errorf("mfu is %v; it is a share of the peak, above 0 and at most 1", c.MFU)
	case c.USDPerGPUHour > 0 && c.GPU == "": // the search compares the prices of a table
		return errors.New("usd_per_gpu_hour is the price of one kind of GPU, and gpu is not set; name it, as in gpu=h100")
	}
	for _, limit := range []struct {
		key   string
		value float64
	}{{"usd_per_gpu_hour", c.USDPerGPUHour}, {"max_usd", c.MaxUSD}, {"max_hours", c.MaxHours}} {
		if !(limit.value >= 0 && limit.value < 1e15) {
			return fmt.Errorf("%s is %v; it must be at least 0", limit.key, limit.value)
		}
	}
	return nil
}

// number reads a whole number of at least 1, or auto as 0.
func number(key, text string) (int, error) {
	if text == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1<<20 {
		return 0, fmt.Errorf("%s is %s; it must be a whole number of 1 to %d, or auto", key, text, 1<<20)
	}
	return n, nil
}

// readModel counts the parameters of the model and of what is trained.
func (e *estimator) readModel() (err error) {
	c := e.c
	if e.config, err = shapeOf(c.Model, c.positions()); err != nil {
		return err
	}
	m, err := model.Declare(e.config, plan.NewDevice())
	if err != nil {
		return fmt.Errorf("model %s: %w", c.Model, err)
	}
	s, b := m.Shape(), plan.Sharded{Method: c.Method, EightBit: c.Optimizer == "adamw8bit", Offload: c.Offload}
	var lora int64
	for _, p := range m.Params {
		n := int64(p.Len())
		b.Params += n
		if len(p.Shape) == 2 && strings.Contains(p.Name, ".") && layerNumber(p.Name) {
			b.Linear += n
			lora += int64(c.R) * int64(p.Shape[0]+p.Shape[1])
		}
	}
	// Norms and biases of a layer are a per mille of it.
	b.Layer = b.Linear / int64(s.Layers)
	b.Trainable = map[string]int64{"full": b.Params, "lora": lora, "qlora": lora, "prompt": int64(c.VirtualTokens) * int64(s.Hidden)}[c.Method]
	e.base, e.heads, e.hidden = b, s.Heads, s.Hidden
	e.out = Estimated{Model: c.Model, Stage: c.Stage, Method: c.Method, Parameters: b.Params, Trainable: b.Trainable,
		SequenceLength: c.SequenceLength, BatchSize: c.BatchSize, Offload: c.Offload}
	room := s.MaxPositions - c.virtual()
	switch {
	case c.Method == "prompt" && room < 2:
		return fmt.Errorf("num_virtual_tokens is %d and %s has %d positions; lower it", c.VirtualTokens, c.Model, s.MaxPositions)
	case c.SequenceLength > room: // as the run
		return fmt.Errorf("sequence_length is %d and %s has %d positions for text; lower it, or give as model a config.json that has more", c.SequenceLength, c.Model, room)
	case c.SequenceLength == 0 && c.writes():
		e.out.SequenceLength = min(1024, room) // as the recipes
	case c.SequenceLength == 0:
		e.out.SequenceLength = min(8192, room)
	}
	if err := e.readRollout(); err != nil {
		return err
	}
	of := 2 * 2 * int64(s.Layers*s.KVHeads*s.HeadDim) * int64(e.out.SequenceLength) // keys and values of a sequence in 16 bits
	e.out.Memory.KVCache = of * int64(c.BatchSize)
	if c.writes() {
		e.base.KVCache = of * int64(c.Rollout.RolloutBatchSize)
	}
	return e.readTokens()
}

// virtual is how many positions of a sequence the text does not get.
func (c *Estimate) virtual() int {
	if c.Method == "prompt" {
		return c.VirtualTokens
	}
	return 0
}

// positions is how many a model needs for a sequence, 0 where its length is the model's own.
func (c *Estimate) positions() int {
	if c.SequenceLength == 0 {
		return 0
	}
	return c.SequenceLength + c.virtual()
}

// layerNumber says whether a parameter's name has a number in it, as those of layers do.
func layerNumber(name string) bool {
	return slices.ContainsFunc(strings.Split(name, "."), func(part string) bool { _, err := strconv.Atoi(part); return err == nil })
}

// readTokens guesses for pre-training alone, where there is an optimum. Fine-tuning has as many tokens as it has.
func (e *estimator) readTokens() (err error) {
	if e.c.Tokens == "auto" {
		if e.c.Stage != "pretrain" {
			return fmt.Errorf("tokens is not set; say how many there are in all epochs, as in tokens=10M")
		}
		e.out.Tokens = plan.TokensPerParameter * float64(e.base.Params)
		return nil
	}
	if e.out.Tokens, err = parseCount(e.c.Tokens); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	if !(e.out.Tokens >= 1) {
		return fmt.Errorf("tokens is %s; it must be at least 1", e.c.Tokens)
	}
	return nil
}

// readPrices replaces the program's table by the user's: a mix of both would compare prices of different days.
func (e *estimator) readPrices() (err error) {
	e.prices = plan.Prices()
	if e.c.Prices == "" {
		return nil
	}
	f, err := os.Open(e.c.Prices)
	if err != nil {
		return fmt.Errorf("prices: %w", err)
	}
	defer f.Close()
	e.prices, err = plan.ReadPrices(e.c.Prices, f)
	return err
}

// measure runs a micro-batch on the counting device, without and with the layers run again.
func (e *estimator) measure() (err error) {
	for _, recompute := range []string{"none", "layers"} {
		if e.steps[recompute], err = e.step(e.config, recompute); err != nil {
			return fmt.Errorf("model %s: %w", e.c.Model, err)
		}
	}
	e.out.FLOPsPerToken = e.perToken("none") // with what ppo and grpo write and judge added below
	if e.c.Stage == "pretrain" {
		a := plan.Chinchilla(e.base.Params, e.out.Tokens)
		e.out.Advice = &a
	}
	return nil
}

// step runs a micro-batch of a model on the counting device.
func (e *estimator) step(config []byte, recompute string) (plan.Memory, error) {
	t := recipe.DefaultTraining()
	t.Device, t.BatchSize, t.SequenceLength, t.DType, t.Recompute = "cuda", e.out.BatchSize, e.out.SequenceLength, "bf16", recompute
	return t.MeasureFull(config)
}

// perToken is the operations of a token. Of the three products of each matrix in full training, the gradient of a frozen
// matrix is not taken. DPO's reference adds a forward pass, a third of a full step.
func (e *estimator) perToken(recompute string) float64 {
	f, once := e.steps[recompute].FLOPs, e.steps["none"].FLOPs
	n := float64(f.Total())
	if e.c.Method != "full" {
		// forward, gradient of the input, gradient of the weight: the third is not taken of frozen weights
		n -= float64(once.MatMul) / 3
	}
	if e.c.Stage == "dpo" {
		n += float64(once.Total()) / 3
	}
	n /= float64(e.out.BatchSize * e.out.SequenceLength)
	if e.c.Method == "lora" || e.c.Method == "qlora" {
		// an adapter's own products, counted as those of any weight: 2 forward and 4 backward for each parameter
		n += 6 * float64(e.base.Trainable)
	}
	if e.c.critic() {
		n *= 2
	}
	return n * float64(e.c.epochs())
}

// layouts are the ways to spread the model over n GPUs that the keys allow, the fastest first.
func (e *estimator) layouts(n int) (list []layout, err error) {
	tp, err := number("tensor_parallel", e.c.TensorParallel)
	if err != nil {
		return nil, err
	}
	ways, stages, again := []int{1, 2, 4, 8}, []int{0, 1, 2, 3}, []string{"none", "layers"}
	if tp > 0 {
		ways = []int{tp}
	}
	if e.c.ZeRO != "auto" {
		stages = []int{int(e.c.ZeRO[0] - '0')}
	}
	if e.c.Recompute != "auto" {
		again = []string{e.c.Recompute}
	}
	for _, recompute := range again {
		for _, tp := range ways {
			for _, zero := range stages {
				s := e.base
				s.GPUs, s.TP, s.ZeRO = n, tp, zero
				if err = s.Validate(e.heads); err != nil {
					continue
				}
				m := e.steps[recompute]
				s.Activations, s.Logits = m.Activations, m.Logits
				s.Scratch = plan.Scratch(e.out.BatchSize*e.out.SequenceLength, e.heads, e.hidden)
				// With layers run again only their inputs are kept, and while one of them goes back all that it keeps of itself.
				if recompute == "layers" {
					s.Working = e.steps["none"].Activations / int64(max(1, m.Recompute))
				}
				if e.c.critic() { // its layers are kept beside the policy's
					s.Activations *= 2
				}
				list = append(list, layout{recompute, s, s.Memory()})
			}
		}
	}
	if len(list) == 0 {
		return nil, err
	}
	return list, nil
}

type layout struct {
	recompute string
	plan.Sharded
	memory plan.PerGPU
}

// fit is the fastest layout on n of g, and otherwise the smallest.
func (e *estimator) fit(g plan.GPU, n int) (l layout, fits bool, err error) {
	list, err := e.layouts(n)
	if err != nil {
		return l, false, err
	}
	// layouts are in the order of their speed, so that the first that fits is taken and the smallest is told of otherwise
	l = list[0]
	for _, other := range list {
		if float64(other.memory.Peak) <= g.MemoryGB*(1<<30) {
			return other, true, nil
		}
		if other.memory.Peak < l.memory.Peak {
			l = other
		}
	}
	return l, false, nil
}

// fewest is the least number of GPUs, from and doubled, on which the run fits; 0 where none is enough. More than a machine
// of 8 are as many as need not run layers again, where there are: they cost less.
func (e *estimator) fewest(g plan.GPU, from, most int) (fewest int, last error) {
	for n := from; n <= most; n *= 2 {
		l, fits, err := e.fit(g, n)
		if fits && (n <= 8 || l.recompute == "none" || e.c.Recompute == "layers") {
			return n, nil
		}
		if fits && fewest == 0 {
			fewest = n
		}
		last = err
	}
	if fewest > 0 {
		return fewest, nil
	}
	return 0, last
}

const mostGPUs = 1 << 16

// given plans for the GPU that was asked for.
func (e *estimator) given() (*Estimated, error) {
	g, err := plan.FindGPU(e.c.GPU)
	if err != nil {
		return nil, err
	}
	n, err := number("gpus", e.c.GPUs)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		if n, err = e.fewest(g, 1, mostGPUs); err != nil {
			return nil, err
		}
		n = max(n, 1)
	}
	l, fits, err := e.fit(g, n)
	if err != nil {
		return nil, err
	}
	usd, price, err := e.price(g, n)
	if err != nil {
		return nil, err
	}
	e.fill(g, l, usd)
	e.out.Price, e.out.Fits = price, fits
	if !fits {
		e.out.Lower = e.lower(g, n)
	}
	if list := plan.Offers(e.prices, "", g.Name, e.c.Spot); len(list) > 0 && e.c.USDPerGPUHour == 0 {
		e.out.Cheaper = &Offer{list[0], e.out.GPUHours * list[0].PerGPU(e.c.Spot)}
	}
	return &e.out, nil
}

// price is that of an hour of one of n GPUs: the user's, the provider's, the reference, or the cheapest. A machine is paid
// for whole.
func (e *estimator) price(g plan.GPU, n int) (float64, *plan.Price, error) {
	if e.c.USDPerGPUHour > 0 {
		return e.c.USDPerGPUHour, nil, nil
	}
	list := plan.Offers(e.prices, strings.ToLower(e.c.Provider), g.Name, e.c.Spot)
	if e.c.Provider == "" && !e.c.Spot {
		if reference := plan.Offers(e.prices, plan.Reference, g.Name, false); len(reference) > 0 {
			return reference[0].PerGPU(false), &reference[0], nil
		}
	}
	if len(list) == 0 {
		return 0, nil, fmt.Errorf("the price table has no %s%s%s; give usd_per_gpu_hour, another provider, or your own table with prices=FILE",
			g.Name, map[bool]string{true: " at spot prices"}[e.c.Spot], map[bool]string{true: " of " + e.c.Provider}[e.c.Provider != ""])
	}
	whole := func(p plan.Price) float64 {
		return p.PerGPU(e.c.Spot) * float64((n+p.GPUs-1)/p.GPUs*p.GPUs) / float64(n)
	}
	best := slices.MinFunc(list, func(a, b plan.Price) int { return cmp.Compare(whole(a), whole(b)) })
	return whole(best), &best, nil
}

// fill writes a layout and its cost into the outcome.
func (e *estimator) fill(g plan.GPU, l layout, usd float64) {
	o, kv := &e.out, e.out.Memory.KVCache // of a micro-batch
	o.GPU, o.GPUs, o.ZeRO, o.TensorParallel, o.Recompute, o.Memory = g, l.GPUs, l.ZeRO, l.TP, l.recompute, l.memory
	if !e.c.writes() {
		o.Memory.KVCache = kv
	}
	o.Memory.Capacity = int64(g.MemoryGB * (1 << 30))
	o.TokensPerStep = o.BatchSize * o.SequenceLength * l.GPUs / l.TP
	o.Cost, o.USDPerGPUHour = e.cost(g, l, usd), usd
	if e.c.writes() {
		hours := func(flops float64) float64 { return flops / (o.TFLOPS * 1e12) / 3600 / float64(l.GPUs) }
		o.RolloutHours, o.ScoringHours = e.writingHours(g, o.TFLOPS/g.TFLOPS)/float64(l.GPUs), hours(o.Tokens*e.judging())
		o.TrainingHours = o.Hours - o.RolloutHours - o.ScoringHours
		o.FLOPsPerToken = e.perToken("none") + e.judging() + (e.wrote.prompt+e.wrote.flops)/float64(o.SequenceLength)
	}
}

// judging is the operations of judging a token.
func (e *estimator) judging() float64 { return e.wrote.scoring / float64(e.out.SequenceLength) }

// cost is that of a layout at usd for an hour of a GPU. The utilisation falls by what is run again, whose operations are none of the model's.
func (e *estimator) cost(g plan.GPU, l layout, usd float64) plan.Cost {
	mfu := g.Utilisation(l.GPUs)
	if e.c.MFU > 0 {
		mfu = e.c.MFU
	}
	once, again := e.perToken("none"), e.perToken(l.recompute)
	c := plan.NewCost(e.out.Tokens*(again+e.judging()), g, l.GPUs, mfu, usd)
	c.Spend(e.writingHours(g, mfu), e.out.Tokens/float64(e.out.SequenceLength)*(e.wrote.prompt+e.wrote.flops), g, l.GPUs, usd)
	// Published utilisations count the operations of the model once; the time has them all.
	c.MFU *= once / again // what is run twice is no use of the peak
	return c
}
