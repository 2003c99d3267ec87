package recipetest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/device/cpu"
	"hone/recipe"
	"hone/train"
)

// Foretold runs a recipe that knows the rates of its machine, and looks whether it tells beforehand what it then takes.
func Foretold(t *testing.T, name string, c Recipe) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	told := map[string]any{}
	sum, err := c.Run(context.Background(), recipe.Env{Device: dev, Meter: Slow, Arranged: cpu.ArrangedLen, Events: func(e train.Event) {
		switch e := e.(type) {
		case train.InfoEvent:
			maps.Copy(told, e.Values)
		case train.MessageEvent:
			if strings.HasPrefix(e.Text, "plan the run") {
				t.Errorf("%s: %s", name, e.Text)
			}
		}
	}})
	if left := dev.Memory().InUse; err != nil || left != 0 {
		t.Errorf("%s: %v, %d bytes are left", name, err, left)
		return
	}
	dev.Close()
	off := float64(sum.PlannedMemoryBytes)/float64(sum.PeakMemoryBytes) - 1
	if !(off >= 0 && off < 0.1) || !(sum.PlannedStepSeconds > 0) || told["flops_per_token"] == nil {
		t.Errorf("%s: planned %d bytes and %v s a step, took %d; %v", name, sum.PlannedMemoryBytes, sum.PlannedStepSeconds, sum.PeakMemoryBytes, told)
	}
}

// Planning is a recipe that can be planned and run.
type Planning interface {
	Recipe
	Validate() error
	Plan(ctx context.Context, env recipe.Env) (*recipe.Planned, error)
}

// Rehearsed looks whether what a rehearsal says of memory and steps is what a run then takes, and that it leaves nothing behind.
func Rehearsed(t *testing.T, name string, make func(out string) Planning) {
	t.Helper()
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	out := filepath.Join(t.TempDir(), "run")
	c := make(out)
	if err := c.Validate(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p, err := c.Plan(t.Context(), recipe.Env{Meter: Slow, Arranged: cpu.ArrangedLen})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("%s: the plan left %v, %v", name, left, err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Errorf("%s: the plan made the folder of the run", name)
	}
	sum, _, err := Start(t, make(out), 1)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if off := float64(p.Peak)/float64(sum.PeakMemoryBytes) - 1; p.Steps != sum.Steps || !(off >= 0 && off < 0.1) {
		t.Errorf("%s: planned %d steps and %d bytes, the run made %d and took %d (%+.3f)", name, p.Steps, p.Peak, sum.Steps, sum.PeakMemoryBytes, off)
	}
	if !(p.Weights > 0 && p.Gradients > 0 && p.Optimizer > 0 && p.Activations > 0 && p.Tokens > 0 && p.StepSeconds > 0 && p.FLOPs.MatMul > 0) {
		t.Errorf("%s: a part is missing: %+v", name, p)
	}
	if rollouts := p.Stage == "ppo" || p.Stage == "grpo"; rollouts != (p.KVCache > 0) {
		t.Errorf("%s: the cache of keys and values is %d bytes", name, p.KVCache)
	} else if rollouts != (p.RolloutSeconds > 0) {
		t.Errorf("%s: answers take %v s", name, p.RolloutSeconds)
	}
}

// KeepsTo looks whether a recipe with half of the memory that running layers again saves keeps to it, in its plan and in its run, and
// whether it says what would fit where nothing does.
func KeepsTo(t *testing.T, name string, make func(out string, args ...string) Planning) {
	t.Helper()
	planned := func(args ...string) (*recipe.Planned, error) {
		c := make(filepath.Join(t.TempDir(), "run"), args...)
		if err := c.Validate(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return c.Plan(t.Context(), recipe.Env{})
	}
	none, err := planned()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	all, err := planned("recompute=layers")
	if err != nil || !(all.Peak < none.Peak) {
		t.Fatalf("%s: a peak of %d bytes, and of %d with all layers run again, %v", name, none.Peak, all.Peak, err)
	}
	budget := (none.Peak + all.Peak) / 2
	p, err := planned(fmt.Sprint("memory=", budget))
	if err != nil || p.Peak > budget || p.Recompute == 0 {
		t.Errorf("%s: a plan within %d bytes: %+v, %v", name, budget, p, err)
	}
	sum, _, err := Start(t, make(filepath.Join(t.TempDir(), "run"), fmt.Sprint("memory=", budget)), 1)
	if err != nil || sum.PeakMemoryBytes > budget || sum.PlannedMemoryBytes != p.Peak {
		t.Errorf("%s: a run within %d bytes: %+v, %v", name, budget, sum, err)
	}
	if _, err := planned(fmt.Sprint("memory=", all.Peak-1)); err == nil || !strings.Contains(err.Error(), "what fits: ") {
		t.Errorf("%s: a byte too little: %v", name, err)
	}
}
