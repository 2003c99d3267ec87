package lm

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/recipe/recipetest"
	"hone/train"
)

// TestSFTTrajectory: packing, accumulation, recompute, threads, paging and what a memory budget chooses give
// one trajectory when every step sees the same examples: each loss within rounding, and no drift to one side.
func TestSFTTrajectory(t *testing.T) {
	from, examples, steps := base(t), sixteen(t), 12
	if testing.Short() {
		steps = 3
	}
	for _, method := range []string{"full", "lora"} {
		rate := map[string]string{"full": "optimizer.learning_rate=0.001", "lora": "optimizer.learning_rate=0.005"}[method]
		run := func(args ...string) (losses []float64, packs int) {
			c := tinySFT(t, from, examples, filepath.Join(t.TempDir(), "run"), append([]string{fmt.Sprint("steps=", steps), "method=" + method, rate,
				"validation_fraction=0", "eval.every=0"}, args...)...)
			_, events, err := tune(t, c)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				switch e := e.(type) {
				case train.StepEvent:
					losses = append(losses, e.Loss)
				case train.InfoEvent:
					if n, ok := e.Values["packs"].(int64); ok {
						packs = int(n)
					}
				}
			}
			return losses, packs
		}
		want, _ := run("batch_size=16", "packing=false")
		_, packs := run("steps=1", "batch_size=1")
		if packs < 2 || packs > 8 {
			t.Fatalf("16 examples make %d packs", packs)
		}
		for _, args := range [][]string{
			{"batch_size=4", "gradient_accumulation_steps=4", "packing=false"},
			{fmt.Sprint("batch_size=", packs)},
			{"batch_size=1", fmt.Sprint("gradient_accumulation_steps=", packs)},
			{"batch_size=16", "packing=false", "recompute=layers"},
			{fmt.Sprint("batch_size=", packs), "recompute=1", "threads=2"},
			{"batch_size=2", "gradient_accumulation_steps=8", "packing=false", "recompute=layers", "optimizer.paged=true"},
			{"batch_size=16", "packing=false", "memory=1GiB", "threads=3"},
		} {
			got, _ := run(args...)
			sameTrajectory(t, fmt.Sprint(method, " ", args), got, want)
		}
	}
}

// sixteen are examples of which every step of the test sees all.
func sixteen(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(recipetest.ExampleFile(t, "completion"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sixteen.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(strings.SplitAfter(string(text), "\n")[:16], "")), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// sameTrajectory allows for rounding in each loss, and in their mean for no more than three standard errors.
func sameTrajectory(t *testing.T, name string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d losses, want %d", name, len(got), len(want))
	}
	sum, squares := 0.0, 0.0
	for i, w := range want {
		d := got[i]/w - 1
		if !(math.Abs(d) < 1e-4) {
			t.Errorf("%s: the loss of step %d is %v, want %v", name, i+1, got[i], w)
		}
		sum, squares = sum+d, squares+d*d
	}
	n := float64(len(want))
	mean := sum / n
	deviation := math.Sqrt(max(squares/n-mean*mean, 0))
	if math.Abs(mean) > 3*deviation/math.Sqrt(n)+1e-6 {
		t.Errorf("%s: the losses are off by %v on average, with a deviation of %v", name, mean, deviation)
	}
}
