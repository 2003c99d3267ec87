package cluster

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/plan"
)

// TestWhatIsToldToFitFits: each change that a plan names for a run that does not fit makes it fit, with the memory that it says.
func TestWhatIsToldToFitFits(t *testing.T) {
	for _, keys := range []string{
		"model=gpt2-1.5b stage=sft tokens=1M gpu=t4 gpus=1", "model=gpt2-124m stage=ppo tokens=1M gpu=t4 gpus=1 sequence_length=512 rollout.max_completion_length=16 rollout.rollout_batch_size=1024",
		"model=qwen2.5-1.5b gpu=t4 gpus=1",
	} {
		given := strings.Fields(keys)
		r := estimated(t, given...)
		if r.Fits || len(r.Lower) == 0 {
			t.Errorf("%s: fits %v, changes %v", keys, r.Fits, r.Lower)
		}
		for _, change := range r.Lower {
			key, said, _ := strings.Cut(change, " (")
			name, _, isKey := strings.Cut(key, "=")
			if !isKey {
				t.Errorf("%s: %q is no change", keys, change)
				continue
			}
			others := slices.DeleteFunc(slices.Clone(given), func(k string) bool { return strings.HasPrefix(k, name+"=") })
			o := estimated(t, append(others, key)...)
			if !o.Fits || said != "" && said != plan.Bytes(o.Memory.Peak)+" a GPU)" {
				t.Errorf("%s: with %s it takes %s of %s, said %q", keys, key, plan.Bytes(o.Memory.Peak), plan.Bytes(o.Memory.Capacity), said)
			}
		}
	}
}

// TestNothingIsCheaper: of all machines of the table none that fits the run takes less money than the plan's; a plan that fits keeps to the memory.
func TestNothingIsCheaper(t *testing.T) {
	keys := []string{"model=gpt2-124m", "stage=sft", "tokens=1e9"}
	best := estimated(t, keys...)
	if !best.Fits || best.Memory.Peak > best.Memory.Capacity {
		t.Errorf("the best takes %s of %s", plan.Bytes(best.Memory.Peak), plan.Bytes(best.Memory.Capacity))
	}
	seen, fit := map[string]bool{}, 0
	for _, p := range plan.Offers(plan.Prices(), "", "", false) {
		if key := p.Provider + p.GPU; seen[key] {
			continue
		} else {
			seen[key] = true
		}
		r, err := estimateOf(append(slices.Clone(keys), "gpu="+p.GPU, "provider="+p.Provider, "max_usd=1e9")...)
		if err != nil || !r.Fits {
			continue
		}
		if fit++; r.USD < best.USD*(1-1e-9) {
			t.Errorf("%s of %s costs $%v, and the best is $%v", p.GPU, p.Provider, r.USD, best.USD)
		}
	}
	if fit < 20 {
		t.Errorf("the run fits on only %d of %d kinds of machines", fit, len(seen))
	}
}

// TestLimits: a limit at what the plan takes is kept, and one just below is not, but for time, which more machines lower.
func TestLimits(t *testing.T) {
	keys := []string{"model=gpt2-1.5b", "gpu=h100"}
	free := estimated(t, append(slices.Clone(keys), "max_usd=1e9")...)
	if r := estimated(t, append(slices.Clone(keys), fmt.Sprintf("max_usd=%v", free.USD*(1+1e-9)))...); r.USD > free.USD*(1+1e-9) || r.GPUs != free.GPUs {
		t.Errorf("$%v on %d GPUs, without a limit $%v on %d", r.USD, r.GPUs, free.USD, free.GPUs)
	}
	_, err := estimateOf(append(slices.Clone(keys), fmt.Sprintf("max_usd=%v", free.USD*0.999))...)
	if err == nil || !strings.Contains(err.Error(), "no plan keeps to the budget") || !strings.Contains(err.Error(), "$"+Money(free.USD)) {
		t.Errorf("a tenth of a per cent too little: %v", err)
	}
	half := estimated(t, append(slices.Clone(keys), fmt.Sprintf("max_hours=%v", free.Hours/2))...)
	if half.Hours > free.Hours/2 || half.GPUs < 2*free.GPUs {
		t.Errorf("%v hours on %d GPUs, want half of %v on %d", half.Hours, half.GPUs, free.Hours, free.GPUs)
	}
	if _, err := estimateOf(append(slices.Clone(keys), fmt.Sprint("gpus=", free.GPUs), fmt.Sprintf("max_hours=%v", free.Hours/2))...); err == nil || !strings.Contains(err.Error(), "raise gpus or max_hours") {
		t.Errorf("half of the time on as many GPUs: %v", err)
	}
}

// TestCostsAreProportional: to tokens and to the price; the same arithmetic on twice the GPUs takes half the time.
func TestCostsAreProportional(t *testing.T) {
	keys := []string{"model=llama-2-7b", "stage=sft", "gpu=a100", "recompute=layers", "zero=3", "tensor_parallel=1"}
	of := func(more ...string) *Estimated { return estimated(t, append(slices.Clone(keys), more...)...) }
	one := of("tokens=1e9", "gpus=8", "usd_per_gpu_hour=1.5")
	for name, c := range map[string]struct {
		r                    *Estimated
		hours, gpuHours, usd float64 // in terms of one's
	}{
		"three times the tokens": {of("tokens=3e9", "gpus=8", "usd_per_gpu_hour=1.5"), 3, 3, 3}, "twice the GPUs": {of("tokens=1e9", "gpus=16", "usd_per_gpu_hour=1.5"), 0.5, 1, 1},
		"twice the price": {of("tokens=1e9", "gpus=8", "usd_per_gpu_hour=3"), 1, 1, 2}, "half of the peak": {of("tokens=1e9", "gpus=8", "usd_per_gpu_hour=1.5", fmt.Sprintf("mfu=%v", one.MFU*4/3/2)), 2, 2, 2},
	} {
		for what, v := range map[string][2]float64{"hours": {c.r.Hours / one.Hours, c.hours}, "GPU hours": {c.r.GPUHours / one.GPUHours, c.gpuHours}, "dollars": {c.r.USD / one.USD, c.usd}} {
			if math.Abs(v[0]/v[1]-1) > 0.02 {
				t.Errorf("%s: %.3f times the %s, want %v", name, v[0], what, v[1])
			}
		}
	}
	if one.Price != nil || one.USDPerGPUHour != 1.5 || one.Cheaper != nil {
		t.Errorf("the user's price: %+v, %+v", one.Price, one.Cheaper)
	}
}

// TestShapeFiles: a config.json that cannot be one says which file it is.
func TestShapeFiles(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.json")
	if err := os.WriteFile(large, make([]byte, 1<<20+1), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{large: large + ": it is larger than any config.json", dir: "config.json", filepath.Join(dir, "no"): "is no folder, no size such as 7B and no known name",
		"30M": "use 50M to 20T", "21T": "use 50M to 20T"} {
		if _, err := shapeOf(name, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
}

// TestRolloutNonsense: one sentence each, before anything is counted.
func TestRolloutNonsense(t *testing.T) {
	for key, want := range map[string]string{
		"max_completion_length=0": "rollout.max_completion_length is 0", "rollout_batch_size=0": "rollout_batch_size 0", "rollout_batch_size=70000": "rollout_batch_size 70000", "epochs=-1": "epochs -1",
		"reference=maybe": `rollout.reference is "maybe"`, "critic=none": `rollout.critic is "none"`, "mbu=0": "rollout.mbu is 0",
	} {
		_, err := estimateOf("model=7B", "stage=ppo", "tokens=1M", "gpu=h100", "rollout."+key)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", key, err, want)
		}
	}
	_, err := estimateOf("model=7B", "stage=pretan", "zero=9", "gpu=h100") // of two mistakes one is told
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "stage is") {
		t.Errorf("two mistakes: %v", err)
	}
}
