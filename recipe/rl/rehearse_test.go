package rl

import (
	"path/filepath"
	"strings"
	"testing"

	"hone/recipe/recipetest"
)

// TestRehearsedRun: a run that knows the rates of its machine tells beforehand what it then takes.
func TestRehearsedRun(t *testing.T) {
	from := base(t)
	recipetest.Foretold(t, "ppo", tinyPPO(t, from, promptFile(t), filepath.Join(t.TempDir(), "run"), "iterations=1"))
	recipetest.Foretold(t, "grpo", tinyGRPO(t, from, promptFile(t), filepath.Join(t.TempDir(), "run"), "iterations=1", "method=lora"))
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
