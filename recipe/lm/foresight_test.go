package lm

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/device/cpu"
	"hone/plan"
	"hone/recipe"
	"hone/recipe/recipetest"
	"hone/train"
)

// TestPlannedSteps: a plan counts the steps and the rows that a run then makes, and leaves nothing behind.
func TestPlannedSteps(t *testing.T) {
	from, examples := base(t), recipetest.ExampleFile(t, "completion")
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for _, args := range [][]string{{"epochs=2"}, {"epochs=0.5", "packing=false", "gradient_accumulation_steps=2"}, {"steps=3"},
		{"data=" + examples + "," + recipetest.ExampleFile(t, "completion"), "data_weights=3,1"}} {
		out := filepath.Join(t.TempDir(), "run")
		c := tinySFT(t, from, examples, out, args...)
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		p, err := c.Plan(t.Context(), recipe.Env{Meter: recipetest.Slow})
		if err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("%v: the plan left %v, %v", args, left, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v: the plan made the folder of the run", args)
		}
		rows := 0.0
		dev := cpu.New(cpu.Options{Threads: 1})
		defer dev.Close()
		sum, err := tinySFT(t, from, examples, out, args...).Run(context.Background(), recipe.Env{Device: dev, Events: func(e train.Event) {
			if s, ok := e.(train.StepEvent); ok {
				rows += s.TokensPerS * s.StepTime
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if p.Steps != sum.Steps || p.Peak != sum.PlannedMemoryBytes {
			t.Errorf("%v: planned %d steps and %d bytes, the run made %d and planned %d", args, p.Steps, p.Peak, sum.Steps, sum.PlannedMemoryBytes)
		}
		if ratio := float64(p.Tokens) / rows; ratio < 0.85 || ratio > 1.15 { // the last batch of an epoch may be another's
			t.Errorf("%v: planned %d rows, the run was fed %.0f", args, p.Tokens, rows)
		}
		if !(p.StepSeconds > 0) || p.Seconds != float64(p.Steps)*p.StepSeconds {
			t.Errorf("%v: planned %v s a step and %v s", args, p.StepSeconds, p.Seconds)
		}
	}
}

// TestPlannedAnswers: rows of which nothing is learned take less of the head's time; with replayed text,
// which is not there yet, all count.
func TestPlannedAnswers(t *testing.T) {
	from, examples := base(t), recipetest.ExampleFile(t, "completion")
	plan := func(args ...string) *recipe.Planned {
		p, err := tinySFT(t, from, examples, filepath.Join(t.TempDir(), "run"), args...).Plan(t.Context(), recipe.Env{Meter: recipetest.Slow})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	answers, all, replayed := plan(), plan("loss_on=all"), plan("replay.self=true")
	if !(answers.StepSeconds < 0.95*all.StepSeconds && all.StepSeconds < replayed.StepSeconds) || !(answers.Peak < all.Peak && all.Peak < replayed.Peak) {
		t.Errorf("planned %v, %v and %v s, %d, %d and %d bytes", answers.StepSeconds, all.StepSeconds, replayed.StepSeconds, answers.Peak, all.Peak, replayed.Peak)
	}
	if answers.Tokens != all.Tokens {
		t.Errorf("planned %d tokens, %d when all are learned", answers.Tokens, all.Tokens)
	}
}

// TestPlanBesideRun: a run that knows the rates of its machine records what was planned and what was measured.
func TestPlanBesideRun(t *testing.T) {
	c := tiny(t, recipetest.TextFolder(t), filepath.Join(t.TempDir(), "run"), "steps=3")
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	p, err := c.Plan(t.Context(), recipe.Env{Meter: recipetest.Slow})
	if err != nil {
		t.Fatal(err)
	}
	var table train.TableEvent
	info := map[string]any{}
	sum, err := c.Run(context.Background(), recipe.Env{Device: dev, Meter: recipetest.Slow, Events: func(e train.Event) {
		switch e := e.(type) {
		case train.TableEvent:
			table = e
		case train.InfoEvent:
			for key, v := range e.Values {
				info[key] = v
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if sum.PlannedStepSeconds != p.StepSeconds || !(sum.StepSeconds > 0) || info["planned_step_seconds"] != p.StepSeconds || info["step_seconds"] != sum.StepSeconds {
		t.Errorf("the run says %v and %v s, its metrics %v; planned were %v s", sum.PlannedStepSeconds, sum.StepSeconds, info, p.StepSeconds)
	}
	if table.Title != "Plan and measurement" || len(table.Rows) != 2 || table.Rows[0][1] != plan.Bytes(p.Peak) || !strings.HasSuffix(table.Rows[1][3], "%") {
		t.Errorf("the table is %+v", table)
	}
}
