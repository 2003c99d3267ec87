package rl

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hone/device/cpu"
	"hone/recipe"
	"hone/train"
)

// written runs a recipe that hardly learns and calls see with the answers of each iteration.
func written(t *testing.T, prompts string, see func(answers []*rollout), args ...string) {
	t.Helper()
	r := tinyGRPO(t, base(t), prompts, filepath.Join(t.TempDir(), "run"), append(args, "optimizer.learning_rate=1e-12")...).run(recipe.Env{})
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	r.Env = recipe.Env{Device: dev, Events: func(e train.Event) {
		if _, ok := e.(train.RolloutEvent); ok {
			see(r.Stage.(*rolling).state.Answers)
		}
	}}
	if _, err := recipe.Execute(context.Background(), r); err != nil {
		t.Fatal(err)
	}
}

// TestPromptsAreAskedInTurn: each once before any is asked again.
func TestPromptsAreAskedInTurn(t *testing.T) {
	asked := map[int]int{}
	written(t, promptFile(t), func(answers []*rollout) {
		for _, a := range answers {
			asked[a.Prompt]++
		}
	}, "iterations=3", "prompts_per_iteration=3", "num_generations=2")
	for prompt, n := range asked {
		if n != 2 {
			t.Errorf("prompt %d has %d answers, want 2", prompt, n)
		}
	}
	if len(asked) != 9 {
		t.Errorf("%d of 9 prompts were asked", len(asked))
	}
}

// TestAnswersAreDrawnAnew: the same prompt has other answers in the next iteration, though the policy is the same.
func TestAnswersAreDrawnAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prompt.jsonl")
	if err := os.WriteFile(path, []byte(`{"prompt":"one and"}`+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	var before string
	written(t, path, func(answers []*rollout) {
		var ids []int32
		for _, a := range answers {
			ids = slices.Concat(ids, a.IDs)
		}
		if now := fmt.Sprint(ids); now == before {
			t.Errorf("two iterations have the answers %s", now)
		} else {
			before = now
		}
	}, "iterations=2", "prompts_per_iteration=1", "num_generations=8")
}
