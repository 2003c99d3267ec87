package lm

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"hone/device/cpu"
	"hone/recipe"
	"hone/recipe/recipetest"
)

// TestPlanIsMeasured: the plan of a step is what a run then takes, for full fine-tuning and
// recipetest.Adapters, with accumulation, recompute, 8-bit moments and bf16.
func TestPlanIsMeasured(t *testing.T) {
	text := recipetest.TextFolder(t)
	for _, args := range [][]string{
		{}, {"dtype=bf16"}, {"recompute=layers"}, {"recompute=1", "dropout=0"}, {"gradient_accumulation_steps=3"},
		{"optimizer.name=adamw8bit"}, {"optimizer.paged=true"}, {"model.model_type=gpt2"},
	} {
		c := tiny(t, text, filepath.Join(t.TempDir(), "run"), append([]string{"steps=2"}, args...)...)
		sum, _ := mustRun(t, c)
		nearPlan(t, args, sum)
	}
	from, examples := base(t), recipetest.ExampleFile(t, "completion")
	tuned := func(args ...string) *recipe.Summary {
		sum, _, err := tune(t, tinySFT(t, from, examples, filepath.Join(t.TempDir(), "run"), append([]string{"steps=2"}, args...)...))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	for _, args := range [][]string{{"method=lora", "loss_on=all"}, {"method=lora", "loss_on=all", "lora.dropout=0.1", "recompute=layers", "dtype=bf16"}} {
		nearPlan(t, args, tuned(args...))
	}
	all := tuned("method=lora", "loss_on=all")
	for _, args := range [][]string{{"method=lora"}, {"packing=false"}} {
		answers := tuned(args...)
		nearPlan(t, args, answers)
		if args[0] == "method=lora" && !(answers.PlannedMemoryBytes < all.PlannedMemoryBytes) {
			t.Errorf("answers alone are planned with %d bytes, all tokens with %d", answers.PlannedMemoryBytes, all.PlannedMemoryBytes)
		}
	}
}

func nearPlan(t *testing.T, args []string, s *recipe.Summary) {
	t.Helper()
	if d := float64(s.PlannedMemoryBytes)/float64(s.PeakMemoryBytes) - 1; !(d > -0.02 && d < 0.1) {
		t.Errorf("%v: planned %d bytes, measured %d", args, s.PlannedMemoryBytes, s.PeakMemoryBytes)
	}
}

// TestDocumentsEnd: pre-training is planned with the ends of documents, whose last tokens predict nothing:
// the others' hidden states are copied then.
func TestDocumentsEnd(t *testing.T) {
	text := recipetest.TextFolder(t)
	for _, args := range [][]string{{}, {"dtype=bf16"}, {"recompute=layers", "gradient_accumulation_steps=2"}} {
		sum, _ := mustRun(t, tiny(t, text, filepath.Join(t.TempDir(), "run"), append([]string{"steps=4", "batch_size=8"}, args...)...))
		if planned, peak := sum.PlannedMemoryBytes, sum.PeakMemoryBytes; planned < peak || float64(planned) > 1.005*float64(peak) {
			t.Errorf("%v: planned %d bytes, measured %d", args, planned, peak)
		}
	}
}

// TestMemoryBudget: recompute is the fewest layers that fit, and an error names what does when none fit.
func TestMemoryBudget(t *testing.T) {
	text := recipetest.TextFolder(t)
	plan := func(args ...string) (*Pretrain, int64, error) {
		c := tiny(t, text, filepath.Join(t.TempDir(), "run"), append([]string{"model.num_hidden_layers=6", "batch_size=16"}, args...)...)
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		p, err := c.Plan(t.Context(), recipe.Env{})
		if err != nil {
			return c, 0, err
		}
		return c, p.Peak, nil
	}
	_, none, _ := plan()
	_, all, _ := plan("recompute=layers")
	if !(all < none) {
		t.Fatalf("%d bytes with recompute, %d without", all, none)
	}
	c, peak, err := plan("memory=" + fmt.Sprint((none+all)/2))
	if err != nil || !(peak <= (none+all)/2) {
		t.Fatalf("the peak is %d of %d, %v", peak, (none+all)/2, err)
	}
	if c.Recompute == "0" || c.Recompute == "6" {
		t.Errorf("recompute is %s", c.Recompute)
	}
	if c, _, err := plan("memory=1GiB"); err != nil || c.Recompute != "0" {
		t.Errorf("recompute is %s with room for all, %v", c.Recompute, err)
	}
	if _, _, err := plan("memory=" + fmt.Sprint(all*3/4)); err == nil || !strings.Contains(err.Error(), "what fits: ") || !strings.Contains(err.Error(), "batch_size=8 (") {
		t.Errorf("three quarters of the least: %v", err)
	}
	if _, _, err := plan("memory=100KB"); err == nil || !strings.Contains(err.Error(), "no single change is enough") {
		t.Errorf("far too little: %v", err)
	}
}

// TestOffloadIsPlanned: with activation_offloading the inputs of layers count as the host's.
func TestOffloadIsPlanned(t *testing.T) {
	text := recipetest.TextFolder(t)
	plan := func(args ...string) *recipe.Planned {
		c := tiny(t, text, filepath.Join(t.TempDir(), "run"), append([]string{"model.num_hidden_layers=6", "batch_size=16", "device=cuda", "recompute=layers"}, args...)...)
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		p, err := c.Plan(t.Context(), recipe.Env{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	held, away := plan(), plan("activation_offloading=true")
	if held.Offloaded != 0 || away.Offloaded == 0 || held.Activations-away.Activations != away.Offloaded {
		t.Errorf("%d bytes are offloaded; activations take %d with it and %d without", away.Offloaded, away.Activations, held.Activations)
	}
	if !(away.Peak < held.Peak) {
		t.Errorf("the peak is %d with offloading and %d without", away.Peak, held.Peak)
	}
}

// TestMemoryInRun: a run with a budget keeps it.
func TestMemoryInRun(t *testing.T) {
	c := tiny(t, recipetest.TextFolder(t), filepath.Join(t.TempDir(), "run"), "steps=2", "model.num_hidden_layers=6")
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	p, err := c.Plan(t.Context(), recipe.Env{})
	if err != nil {
		t.Fatal(err)
	}
	c.Memory = fmt.Sprint(p.Peak - 1)
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	sum, err := c.Run(context.Background(), recipe.Env{Device: dev})
	if err != nil {
		t.Fatal(err)
	}
	if sum.PeakMemoryBytes >= p.Peak || c.Recompute == "none" {
		t.Errorf("the peak is %d of %d with recompute %s", sum.PeakMemoryBytes, p.Peak, c.Recompute)
	}
}
