package cluster

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"hone/plan"
	"hone/recipe/config"
)

// read is an estimate whose model was read and nothing else.
func read(t *testing.T, keys ...string) *estimator {
	t.Helper()
	c := DefaultEstimate()
	if err := config.Load(&c, "", keys); err != nil {
		t.Fatal(keys, err)
	}
	e := &estimator{c: &c, steps: map[string]plan.Memory{}}
	if err := e.readModel(); err != nil {
		t.Fatal(keys, err)
	}
	return e
}

// TestParametersOfShapes: the models that are known by name have exactly the parameters of those that were published.
func TestParametersOfShapes(t *testing.T) {
	for name, want := range map[string]int64{
		"gpt2-124m": 124439808, "gpt2-355m": 354823168, "gpt2-774m": 774030080, "gpt2-1.5b": 1557611200,
		"llama-7b": 6738415616, "llama-13b": 13015864320, "llama-30b": 32528943616, "llama-65b": 65285660672, "llama-2-7b": 6738415616, "llama-2-13b": 13015864320,
		"llama-2-70b": 68976648192, "llama-3-8b": 8030261248, "llama-3-70b": 70553706496, "llama-3-405b": 405853388800, "mistral-7b": 7241732096, "mixtral-8x7b": 46702792704, "phi-2": 2779683840,
		"qwen2.5-0.5b": 494032768, "qwen2.5-1.5b": 1543714304, "qwen2.5-3b": 3085938688, "qwen2.5-7b": 7615616512, "qwen2.5-14b": 14770033664, "qwen2.5-32b": 32763876352, "qwen2.5-72b": 72706203648,
	} {
		e := read(t, "model="+name)
		if e.base.Params != want {
			t.Errorf("%s has %d parameters, want %d", name, e.base.Params, want)
		}
		channels := e.hidden / e.heads
		if usual := map[bool]int{true: 64, false: 128}[strings.HasPrefix(name, "gpt2") || name == "qwen2.5-0.5b"]; channels != usual && name != "phi-2" {
			t.Errorf("%s has heads of %d channels", name, channels)
		}
	}
	if small, large := read(t, "model=999M"), read(t, "model=1B"); small.base.Params-small.base.Linear > 72e6 || large.base.Params-large.base.Linear < 130e6 {
		t.Errorf("a head of its own is of a billion parameters on: beside layers there are %d and %d", small.base.Params-small.base.Linear, large.base.Params-large.base.Linear)
	}
}

// TestFastestLayout: where everything fits nothing is divided and nothing run again, and a step has the sequences of all groups of GPUs.
func TestFastestLayout(t *testing.T) {
	r := estimated(t, "model=gpt2-124m", "gpu=h100", "gpus=8", "batch_size=4")
	if r.ZeRO != 0 || r.TensorParallel != 1 || r.Recompute != "none" || r.TokensPerStep != 8*4*1024 {
		t.Errorf("%+v", r)
	}
	offers := plan.Offers(plan.Prices(), "", "h100", false)
	if o := r.Cheaper; o == nil || o.Price != offers[0] || math.Abs(o.Cost-r.GPUHours*offers[0].PerGPU(false)) > 1e-9*o.Cost {
		t.Errorf("the cheapest offer is %+v", o)
	}
	if r := estimated(t, "model=gpt2-124m", "gpu=h100", "gpus=8", "tensor_parallel=2"); r.TokensPerStep != 4*1024 {
		t.Errorf("8 GPUs in pairs take %d tokens in a step", r.TokensPerStep)
	}
	for ways, want := range map[string]int{"1": 1, "auto": 4} { // what is given stays, also where it does not fit
		if r := estimated(t, "model=llama-13b", "gpu=h100", "gpus=8", "zero=0", "tensor_parallel="+ways); r.TensorParallel != want || r.Fits != (want > 1) {
			t.Errorf("tensor_parallel=%s: layers are shared by %d, fits %v", ways, r.TensorParallel, r.Fits)
		}
	}
}

// TestHoursAreOfOperations: learning, scoring and writing take the operations that are told of each, at the rate that is told.
func TestHoursAreOfOperations(t *testing.T) {
	e := opened(t, "model=gpt2-124m", "stage=ppo", "tokens=10M", "gpu=h100", "gpus=2", "sequence_length=64", "rollout.max_completion_length=8")
	r, err := e.given()
	if err != nil {
		t.Fatal(err)
	}
	rate := 2 * r.TFLOPS * 1e12 * 3600 // operations of an hour
	for what, v := range map[string][2]float64{"learning": {r.TrainingHours, r.Tokens * e.perToken(r.Recompute) / rate}, "scoring": {r.ScoringHours, r.Tokens * e.wrote.scoring / 64 / rate}} {
		if math.Abs(v[0]/v[1]-1) > 1e-6 {
			t.Errorf("%s takes %v hours, want %v", what, v[0], v[1])
		}
	}
}

// TestSmallerRollouts: where the cache of what is written is too large, half as many side by side is what fits.
func TestSmallerRollouts(t *testing.T) {
	keys := []string{"model=gpt2-124m", "stage=grpo", "rollout.reward=rule", "tokens=1M", "gpu=t4", "gpus=1", "sequence_length=1024", "rollout.max_completion_length=4"}
	for n := 256; n <= 4096; n *= 2 {
		r := estimated(t, append(slices.Clone(keys), fmt.Sprintf("rollout.rollout_batch_size=%d", n))...)
		if r.Fits {
			continue
		}
		if !strings.Contains(strings.Join(r.Lower, " "), fmt.Sprintf("rollout.rollout_batch_size=%d (", n/2)) {
			t.Errorf("%d side by side do not fit: %q", n, r.Lower)
		}
		return
	}
	t.Error("any number fits")
}
