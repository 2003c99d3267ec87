package train

import (
	"context"
	"math"
	"slices"
	"testing"

	"hone/data"
)

// TestStepsWithoutUpdate: a step that makes no update counts for the schedule and for checkpoints, and
// changes no weight.
func TestStepsWithoutUpdate(t *testing.T) {
	var rates []int
	dir := t.TempDir()
	r := openToy(t, dir, newToy(t, 0, 1), func(l *Loop) {
		rate := l.Rate
		l.Rate = func(step int) float32 { rates = append(rates, step); return rate(step) }
		l.Checkpoints.Every = 2
		l.Batches = func(ctx context.Context, step int) ([]data.Batch, error) {
			if step%3 == 1 {
				return nil, ErrNoUpdate
			}
			return toyBatches(2)(ctx, step)
		}
	})
	out, err := r.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if out.Step != 12 || r.opt.Updates() != 8 || !slices.Equal(rates, []int{0, 2, 3, 5, 6, 8, 9, 11}) {
		t.Errorf("%d steps, %d updates, rates of steps %v", out.Step, r.opt.Updates(), rates)
	}
	// evaluations are after steps 3, 6, 9 and 12, each over two steps that made an update
	if r.state.SinceEval != 0 || out.Tokens == 0 || out.Eval.Step != 12 {
		t.Errorf("outcome %+v", out)
	}
	sum, n := 0.0, 0
	for _, e := range lines(t, dir) {
		switch e := e.(type) {
		case StepEvent:
			sum, n = sum+e.Loss, n+1
		case EvalEvent:
			if got := e.Metrics["train_loss"]; n != 2 || math.Abs(got-sum/2) > 1e-12 {
				t.Errorf("train_loss at step %d is %v, the mean of the %d steps with an update %v", e.Step, got, n, sum/float64(n))
			}
			sum, n = 0, 0
		}
	}
	// 2 and 8 are steps without an update
	if got := completeSteps(r.Checkpoints.Dir); !slices.Equal(got, []int{2, 4, 6, 8, 10, 12}) {
		t.Errorf("checkpoints are of steps %v", got)
	}
}

// TestStop: the stream ends the run before its last step; it is evaluated and saved as at its end, and says why.
func TestStop(t *testing.T) {
	r := openToy(t, t.TempDir(), newToy(t, 0, 1), func(l *Loop) {
		l.Batches = func(ctx context.Context, step int) ([]data.Batch, error) {
			if step == 5 {
				return nil, &Stop{"enough is known"}
			}
			return toyBatches(2)(ctx, step)
		}
	})
	out, err := r.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if out.Step != 5 || !out.StoppedEarly || out.Reason != "enough is known" || out.Interrupted || out.Eval == nil || out.Eval.Step != 5 {
		t.Errorf("%+v", out)
	}
	if got := r.Checkpoints.Newest(); got != 5 {
		t.Errorf("the newest checkpoint is of step %d", got)
	}
}

// TestAside: weights that are no part of the model stand with the optimizer's state, and come back.
func TestAside(t *testing.T) {
	dir := t.TempDir()
	aside := func(l *Loop) { l.Checkpoints.Aside = func(name string) bool { return name == "layer" } }
	first := openToy(t, dir, newToy(t, 0, 1), aside)
	if _, err := first.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	want, err := first.params[1].Tensor.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	again := openToy(t, dir, newToy(t, 0, 1), aside) // resumes
	got, err := again.params[1].Tensor.Float32s()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the weights aside are %v, want %v, %v", got[:3], want[:3], err)
	}
}
