package lm

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"hone/device/cpu"
	"hone/recipe"
	"hone/recipe/recipetest"
	"hone/train"
)

// usage is the memory of a run at some step.
type usage struct {
	inUse, held int64  // of the device
	total       uint64 // bytes that were ever allocated on the Go heap
	own         int64  // of the process; 0 where the system does not tell
}

// raced reports whether the race detector watches the test.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func usageNow(dev *cpu.Device) usage {
	debug.FreeOSMemory()
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	m := dev.Memory()
	return usage{inUse: m.InUse, held: m.Held, total: heap.TotalAlloc, own: ownMemory()}
}

// TestSteadyMemory trains for 400 steps, with -short for 200, with evaluations, samples and checkpoints among
// them: after the first hundred the device asks for nothing more, the process does not grow, and a step puts
// only handles and closures on the Go heap.
func TestSteadyMemory(t *testing.T) {
	const early, soon = 110, 140 // there is no evaluation between them
	late := 390
	if testing.Short() {
		late = 190
	}
	text, out := recipetest.TextFolder(t), t.TempDir()
	keepPagesSmall(t)
	for _, dtype := range recipetest.Few(1, "bf16", "f32") {
		dev := cpu.New(cpu.Options{Threads: 2})
		defer dev.Close()
		at := make([]usage, late+1)
		events := func(e train.Event) {
			if s, ok := e.(train.StepEvent); ok && (s.Step == early || s.Step == soon || s.Step == late) {
				at[s.Step] = usageNow(dev)
			}
		}
		c := tiny(t, text, out+"/"+dtype, fmt.Sprint("steps=", late+10), "eval.every=50", "samples.every=50", "samples.max_tokens=8", "checkpoint.every=50", "dtype="+dtype)
		if _, err := c.Run(context.Background(), recipe.Env{Device: dev, Events: events}); err != nil {
			t.Fatal(err)
		}
		a, b := at[early], at[late]
		if a.held == 0 || b.inUse != a.inUse || b.held != a.held {
			t.Errorf("%s: the device has %d bytes in use and holds %d after %d steps, %d and %d after %d", dtype, a.inUse, a.held, early, b.inUse, b.held, late)
		}
		// the race detector keeps notes of the memory of its own in the process
		if grown := b.own - a.own; grown > 4<<20 && !raced() {
			t.Errorf("%s: the process grew by %d bytes in %d steps", dtype, grown, late-early)
		}
		step := (at[soon].total - a.total) / (soon - early)
		t.Logf("%s: %d bytes a step on the Go heap, of the process's own %d, then %d", dtype, step, a.own, b.own)
		if step > 100<<10 {
			t.Errorf("%s: a step allocates %d bytes on the Go heap", dtype, step)
		}
	}
}
