package rl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"hone/recipe"
	"hone/recipe/recipetest"
)

// TestRehearsedRun: a run that knows the rates of its machine tells beforehand what it then takes.
func TestRehearsedRun(t *testing.T) {
	from := base(t)
	recipetest.Foretold(t, "ppo", tinyPPO(t, from, promptFile(t), filepath.Join(t.TempDir(), "run"), "iterations=1"))
	recipetest.Foretold(t, "grpo", tinyGRPO(t, from, promptFile(t), filepath.Join(t.TempDir(), "run"), "iterations=1", "method=lora"))
}

// TestUnevenIterations: where later prompts are longer than those of the first iteration, they are what a plan's memory is of.
func TestUnevenIterations(t *testing.T) {
	var prompts []byte
	for i := range 24 {
		prompts = fmt.Appendf(prompts, "{\"prompt\":\"%s\"}\n", strings.Repeat("3 + 4 = ", 1+i/4*i%5))
	}
	path := filepath.Join(t.TempDir(), "prompts.jsonl")
	if err := os.WriteFile(path, prompts, 0o666); err != nil {
		t.Fatal(err)
	}
	from := base(t)
	for _, args := range []string{"", "max_completion_length=2 seed=2", "batch_size=1"} {
		recipetest.Foretold(t, "ppo "+args, tinyPPO(t, from, path, filepath.Join(t.TempDir(), "run"), append(strings.Fields(args), "prompts_per_iteration=4", "iterations=6")...))
	}
}

// TestRehearsal: what a rehearsal says of memory and steps is what a run then takes, with models, adapters and losses of each kind.
func TestRehearsal(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	sum, _, err := recipetest.Start(t, tinyReward(t, from, recipetest.PreferenceFile(t, "pairs"), filepath.Join(t.TempDir(), "judge"), "steps=4"), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"", "method=lora dtype=bf16 num_mini_batches=1 batch_size=8", "critic.kind=separate"} {
		recipetest.Rehearsed(t, "ppo "+args, func(out string) recipetest.Planning {
			return tinyPPO(t, from, prompts, out, append(strings.Fields(args), "reward="+sum.ModelDir, "iterations=1")...)
		})
	}
	recipetest.Rehearsed(t, "grpo", func(out string) recipetest.Planning {
		return tinyGRPO(t, from, prompts, out, "iterations=1", "beta=0.1")
	})
}

// TestMemoryBudget: memory decides how many layers are run again.
func TestMemoryBudget(t *testing.T) {
	from, prompts := base(t, "model.num_hidden_layers=6", "steps=2"), promptFile(t)
	recipetest.KeepsTo(t, "ppo", func(out string, args ...string) recipetest.Planning {
		return tinyPPO(t, from, prompts, out, append(args, "iterations=1", "batch_size=8", "rollout_batch_size=2", "critic.kind=separate")...)
	})
	recipetest.KeepsTo(t, "grpo", func(out string, args ...string) recipetest.Planning {
		return tinyGRPO(t, from, prompts, out, append(args, "iterations=1", "batch_size=16", "rollout_batch_size=2")...)
	})
}

// ending is a context that ends after a number of questions.
type ending struct {
	context.Context
	left   atomic.Int64
	cancel context.CancelFunc
}

func (e *ending) Err() error {
	if e.left.Add(-1) < 0 {
		e.cancel()
	}
	return e.Context.Err()
}

// TestInterruptedPlan: wherever a rehearsal is interrupted, there is no plan, which would be of a part of an iteration.
func TestInterruptedPlan(t *testing.T) {
	c := tinyPPO(t, base(t), promptFile(t), filepath.Join(t.TempDir(), "run"), "iterations=1")
	for at := 0; ; at += 3 {
		e := &ending{}
		e.Context, e.cancel = context.WithCancel(t.Context())
		e.left.Store(int64(at))
		_, err := c.Plan(e, recipe.Env{})
		ended := e.Context.Err()
		e.cancel()
		if ended == nil {
			if err != nil || at < 3 {
				t.Errorf("asked %d times: %v", at, err)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted at question %d: %v", at, err)
		}
	}
}
