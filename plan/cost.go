package plan

import "math"

// PUE is the energy of a data centre for each unit that its machines take, as Meta counts its runs (Touvron et al., 2023).
const PUE = 1.1

// Cost is what a run takes of time, energy and money.
type Cost struct {
	FLOPs    float64 `json:"flops"` // in all, layers that are run again counted twice
	MFU      float64 `json:"mfu"`
	TFLOPS   float64 `json:"tflops_per_gpu"` // that the run is assumed to reach
	GPUHours float64 `json:"gpu_hours"`
	Hours    float64 `json:"hours"`
	KWh      float64 `json:"energy_kwh"`
	USD      float64 `json:"cost_usd"`
}

// NewCost is the cost of flops on n of g at the share mfu of its peak and at usd for an hour of one. It scales in
// proportion: more GPUs take less time and the same money.
func NewCost(flops float64, g GPU, n int, mfu, usd float64) Cost {
	c := Cost{FLOPs: flops, MFU: mfu, TFLOPS: mfu * g.TFLOPS}
	c.GPUHours = flops / (c.TFLOPS * 1e12) / 3600
	c.Hours = c.GPUHours / float64(n)
	c.KWh = c.GPUHours * g.Watts / 1000 * PUE
	c.USD = c.GPUHours * usd
	return c
}

// Spend adds GPU hours of another part of the run, in which so many operations are done.
func (c *Cost) Spend(hours, flops float64, g GPU, n int, usd float64) {
	c.FLOPs += flops
	c.GPUHours += hours
	c.Hours += hours / float64(n)
	c.KWh += hours * g.Watts / 1000 * PUE
	c.USD += hours * usd
}

// Advice compares tokens with parameters (Hoffmann et al., 2022: about 20 tokens for each parameter are the best use of
// a given compute).
type Advice struct {
	TokensPerParameter float64 `json:"tokens_per_parameter"`
	OptimalTokens      float64 `json:"compute_optimal_tokens"`         // for this many parameters
	SameCompute        float64 `json:"same_compute_parameters"`        // of the model that would make the best of the same compute
	SameComputeTokens  float64 `json:"same_compute_parameters_tokens"` // and its tokens
}

// TokensPerParameter is Chinchilla's ratio.
const TokensPerParameter = 20

// Chinchilla advises by 6·N·D operations.
func Chinchilla(params int64, tokens float64) Advice {
	n := float64(params)
	best := math.Sqrt(n * tokens / TokensPerParameter) // 6·N·D = 6·best·(20·best)
	return Advice{tokens / n, TokensPerParameter * n, best, TokensPerParameter * best}
}
