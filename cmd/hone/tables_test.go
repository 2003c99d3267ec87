package main

import (
	"bytes"
	"strings"
	"testing"

	"hone/plan"
	"hone/recipe/cluster"
)

// TestPlanInWords: the parts that there are, what is assumed, and advice where there is something to say.
func TestPlanInWords(t *testing.T) {
	r := &cluster.Estimated{Model: "7B", Method: "full", Parameters: 7e9, Trainable: 7e9, Tokens: 1e9, SequenceLength: 4096, FLOPsPerToken: 42e9, GPUs: 8, ZeRO: 3, TensorParallel: 1, Recompute: "none",
		Offload: "none", GPU: plan.GPU{Name: "h100", TFLOPS: 989.4}, Fits: true, USDPerGPUHour: 2,
		Memory: plan.PerGPU{Weights: 1 << 30, Peak: 5 << 30, Capacity: 80 << 30, KVCache: 1 << 20},
		Cost:   plan.Cost{FLOPs: 4.2e19, TFLOPS: 400, GPUHours: 1234, Hours: 48, KWh: 50, USD: 2468}}
	text := func() string {
		var out bytes.Buffer
		printPlan(&out, r)
		return out.String()
	}
	got := text()
	for _, want := range []string{"7B, 7B parameters, 7B trained (full)", "1B in sequences of 4096", "8 x h100, ZeRO 3", "5.00 GiB of 80.00 GiB", "  weights        1.00 GiB", "1.0 MiB, when a micro-batch",
		"1,234 GPU hours, 48 hours (2 days)", "$2,468", "400 TFLOP/s of 989.4 on each GPU, $2 for an hour of one as given", "PUE 1.1"} {
		if !strings.Contains(got, want) {
			t.Errorf("the plan lacks %q:\n%s", want, got)
		}
	}
	for _, not := range []string{"reference", "critic", "gathered", "memory of the host", "of writing answers", "does not fit", "cheapest offer", "compute-optimal"} {
		if strings.Contains(got, not) {
			t.Errorf("the plan has %q:\n%s", not, got)
		}
	}
	r.RolloutHours, r.ScoringHours, r.TrainingHours, r.Memory.Host, r.Memory.Critic = 10, 8, 30, 2<<30, 3<<30
	r.Fits, r.Lower, r.Price = false, []string{"zero=3", "gpus=16"}, &plan.Price{Provider: "aws", Machine: "p5", Source: "list", Date: "2026-01-01"}
	r.Cheaper = &cluster.Offer{Price: plan.Price{Provider: "lambda", Machine: "8x", Date: "2026-01-02"}, Cost: 1000}
	a := plan.Chinchilla(7e9, 1e9)
	r.Advice = &a
	got = text()
	for _, want := range []string{"  critic            3.00 GiB", "1.0 MiB while answers are written", "2.00 GiB for each GPU", "10 hours of writing answers, 8 of scoring them, 30 of training", "(aws, p5; list, 2026-01-01)",
		"cheapest offer: $1,000 on lambda 8x (2026-01-02)", "it does not fit; change one of: zero=3, gpus=16", "0.143 tokens for each parameter; 20 are compute-optimal: 140B tokens for this model"} {
		if !strings.Contains(got, want) {
			t.Errorf("the plan lacks %q:\n%s", want, got)
		}
	}
	if r.Cheaper.Cost = 3000; strings.Contains(text(), "cheapest offer") {
		t.Error("an offer that costs more is told of")
	}
}
