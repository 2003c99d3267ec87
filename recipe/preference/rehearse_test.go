package preference

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"hone/device/cpu"
	"hone/recipe"
	"hone/recipe/recipetest"
	"hone/train"
)

// TestRehearsedRun: a run that knows the rates of its machine tells beforehand what it then takes.
func TestRehearsedRun(t *testing.T) {
	from, run := base(t), func() string { return filepath.Join(t.TempDir(), "run") }
	recipetest.Foretold(t, "reward", tinyReward(t, from, recipetest.PreferenceFile(t, "pairs"), run(), "steps=3"))
	recipetest.Foretold(t, "dpo", tinyDPO(t, from, recipetest.PreferenceFile(t, "pairs"), run(), "steps=3", "method=lora"))
	recipetest.Foretold(t, "kto", tinyDPO(t, from, recipetest.PreferenceFile(t, "verdicts"), run(), "steps=3", "loss_type=kto"))
}

// TestRehearsal: what a rehearsal says of memory and steps is what a run then takes, with adapters and losses
// of each kind.
func TestRehearsal(t *testing.T) {
	from, pairs := base(t), recipetest.PreferenceFile(t, "pairs")
	for _, args := range []string{"steps=3", "epochs=0.2 method=lora"} {
		recipetest.Rehearsed(t, "reward "+args, func(out string) recipetest.Planning { return tinyReward(t, from, pairs, out, strings.Fields(args)...) })
	}
	for _, args := range []string{"steps=3", "steps=3 method=qlora recompute=layers", "steps=3 loss_type=kto gradient_accumulation_steps=2"} {
		recipetest.Rehearsed(t, "dpo "+args, func(out string) recipetest.Planning { return tinyDPO(t, from, pairs, out, strings.Fields(args)...) })
	}
}

// TestInterruptedWhilePlanning: a run that is interrupted while it is planned does not say that it cannot be planned.
func TestInterruptedWhilePlanning(t *testing.T) {
	from, pairs := base(t), recipetest.PreferenceFile(t, "pairs")
	began := 0
	for left := 0; began < 2 && left < 1000; left++ { // up to one that is interrupted after it was planned
		dev, out := cpu.New(cpu.Options{Threads: 1}), filepath.Join(t.TempDir(), "run")
		_, err := tinyReward(t, from, pairs, out, "steps=3").Run(&recipetest.Countdown{Context: t.Context(), Left: left}, recipe.Env{Device: dev, Meter: recipetest.Slow, Events: func(e train.Event) {
			if m, ok := e.(train.MessageEvent); ok && strings.HasPrefix(m.Text, "plan the run") {
				t.Errorf("interrupted after %d looks at the context: %s", left, m.Text)
			}
		}})
		if err == nil {
			began++
		} else if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		dev.Close()
	}
}

// TestMemoryBudget: memory decides how many layers are run again.
func TestMemoryBudget(t *testing.T) {
	from, pairs := base(t, "model.num_hidden_layers=6", "steps=2"), recipetest.PreferenceFile(t, "pairs")
	recipetest.KeepsTo(t, "reward", func(out string, args ...string) recipetest.Planning {
		return tinyReward(t, from, pairs, out, append(args, "steps=2", "batch_size=16")...)
	})
	recipetest.KeepsTo(t, "dpo", func(out string, args ...string) recipetest.Planning {
		return tinyDPO(t, from, pairs, out, append(args, "steps=2", "batch_size=16", "method=lora")...)
	})
}
