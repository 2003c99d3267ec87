package recipe

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/device/cpu"
	"hone/train"
)

// TestRehearsedRun: a run that knows the rates of its machine tells beforehand what it then takes.
func TestRehearsedRun(t *testing.T) {
	from := base(t)
	for name, c := range map[string]planning{
		"reward": tinyReward(t, from, preferenceFile(t, "pairs"), filepath.Join(t.TempDir(), "run"), "steps=3"),
		"dpo":    tinyDPO(t, from, preferenceFile(t, "pairs"), filepath.Join(t.TempDir(), "run"), "steps=3", "method=lora"),
		"kto":    tinyDPO(t, from, preferenceFile(t, "verdicts"), filepath.Join(t.TempDir(), "run"), "steps=3", "loss_type=kto"),
		"ppo":    tinyPPO(t, from, promptFile(t), filepath.Join(t.TempDir(), "run"), "iterations=1"),
		"grpo":   tinyGRPO(t, from, promptFile(t), filepath.Join(t.TempDir(), "run"), "iterations=1", "method=lora"),
	} {
		dev := cpu.New(cpu.Options{Threads: 1})
		told := map[string]any{}
		sum, err := c.Run(context.Background(), Env{Device: dev, Rates: slow, Events: func(e train.Event) {
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
			continue
		}
		dev.Close()
		off := float64(sum.PlannedMemoryBytes)/float64(sum.PeakMemoryBytes) - 1
		if !(off > -0.1 && off < 0.1) || !(sum.PlannedStepSeconds > 0) || told["flops_per_token"] == nil {
			t.Errorf("%s: planned %d bytes and %v s a step, took %d; %v", name, sum.PlannedMemoryBytes, sum.PlannedStepSeconds, sum.PeakMemoryBytes, told)
		}
	}
}

// planning is a recipe that can be planned and run.
type planning interface {
	Validate() error
	Plan(ctx context.Context, env Env) (*Planned, error)
	Run(ctx context.Context, env Env) (*Summary, error)
}

// TestRehearsal: what a rehearsal says of memory and steps is what a run then takes, for each stage with its models, adapters and losses.
func TestRehearsal(t *testing.T) {
	from, pairs, prompts := base(t), preferenceFile(t, "pairs"), promptFile(t)
	sum, _, err := start(t, tinyReward(t, from, pairs, filepath.Join(t.TempDir(), "judge"), "steps=4"), 1)
	if err != nil {
		t.Fatal(err)
	}
	judge := "reward=" + sum.ModelDir
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for name, make := range map[string]func(out string) planning{
		"reward":       func(out string) planning { return tinyReward(t, from, pairs, out, "steps=3") },
		"reward, lora": func(out string) planning { return tinyReward(t, from, pairs, out, "epochs=0.2", "method=lora") },
		"dpo":          func(out string) planning { return tinyDPO(t, from, pairs, out, "steps=3") },
		"dpo, qlora": func(out string) planning {
			return tinyDPO(t, from, pairs, out, "steps=3", "method=qlora", "recompute=layers")
		},
		"kto": func(out string) planning {
			return tinyDPO(t, from, pairs, out, "steps=3", "loss_type=kto", "gradient_accumulation_steps=2")
		},
		"ppo": func(out string) planning { return tinyPPO(t, from, prompts, out, judge, "iterations=1") },
		"ppo, lora, bf16": func(out string) planning {
			return tinyPPO(t, from, prompts, out, judge, "iterations=1", "method=lora", "dtype=bf16")
		},
		"ppo with a critic": func(out string) planning {
			return tinyPPO(t, from, prompts, out, judge, "iterations=1", "critic.kind=separate")
		},
		"grpo": func(out string) planning { return tinyGRPO(t, from, prompts, out, "iterations=1", "beta=0.1") },
	} {
		out := filepath.Join(t.TempDir(), "run")
		c := make(out)
		if err := c.Validate(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p, err := c.Plan(t.Context(), Env{Rates: slow})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("%s: the plan left %v, %v", name, left, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: the plan made the folder of the run", name)
		}
		sum, _, err := start(t, make(out), 1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if off := float64(p.Peak)/float64(sum.PeakMemoryBytes) - 1; p.Steps != sum.Steps || !(off > -0.1 && off < 0.1) {
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
}
