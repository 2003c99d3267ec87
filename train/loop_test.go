package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hone/data"
	"hone/device"
	"hone/tensor"
)

// TestLearns: the loop drives the loss of a learnable rule far below that of guessing, ln 31.
func TestLearns(t *testing.T) {
	for _, dtype := range []device.DType{device.F32, device.BF16} {
		r := openToy(t, t.TempDir(), newToy(t, dtype, 2), func(l *Loop) { l.Steps, l.EvalEvery, l.Checkpoints = 300, 100, nil })
		out := r.run(t)
		if loss := out.Eval.Metrics["loss"]; loss > 0.5 {
			t.Errorf("%v: held-out loss %v after 300 steps", dtype, loss)
		}
		if out.Step != 300 || out.Tokens < 300*10 || out.Interrupted || out.StoppedEarly {
			t.Errorf("%v: outcome %+v", dtype, out)
		}
	}
}

// TestAccumulation: k micro-batches of n/k rows walk the same path as one of n rows. Supervised tokens are spread
// unevenly over the micro-batches, so means of means would be off. What is left is rounding: small, and of zero mean.
func TestAccumulation(t *testing.T) {
	losses := func(micro int) []float64 {
		dir, m := t.TempDir(), newToy(t, device.F32, 2)
		openToy(t, dir, m, func(l *Loop) {
			l.Steps, l.Evaluate, l.Checkpoints = 200, nil, nil
			l.Batches = toyBatches(micro)
			l.Objective = m.objective(0) // the mask of dropout depends on the micro-batch
		}).run(t)
		var all []float64
		for _, e := range lines(t, dir) {
			all = append(all, e.(StepEvent).Loss)
		}
		return all
	}
	one := losses(1)
	for _, micro := range []int{2, 3, 8} {
		worst, bias := 0.0, 0.0
		for i, loss := range losses(micro) {
			d := (loss - one[i]) / one[i]
			worst, bias = max(worst, math.Abs(d)), bias+d/float64(len(one))
		}
		if worst > 2e-3 || math.Abs(bias) > 1e-4 {
			t.Errorf("%d micro-batches: worst relative difference %.2g, mean %.2g", micro, worst, bias)
		}
	}
}

// TestMasksDiffer: dropout draws anew in every micro-batch of every step, and by the seed, so that no two see
// the same mask.
func TestMasksDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, seed := range []uint64{3, 4} {
		m := newToy(t, device.F32, 1)
		openToy(t, t.TempDir(), m, func(l *Loop) {
			l.Steps, l.Seed, l.Evaluate, l.Checkpoints = 3, seed, nil, nil
			micro, inner := 0, l.Objective
			l.Objective = func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
				at := fmt.Sprintf("seed %d, step %d, micro-batch %d", seed, l.Step(), micro%2)
				micro++
				mask := fmt.Sprint(tensor.Values(tensor.Dropout(tape.Constant(slices.Repeat([]float32{1}, 64), 64), 0.5)))
				if before, ok := seen[mask]; ok {
					t.Errorf("%s has the mask of %s", at, before)
				}
				seen[mask] = at
				return inner(tape, b)
			}
		}).run(t)
	}
	if len(seen) != 2*3*2 {
		t.Errorf("%d masks", len(seen))
	}
}

// TestThreads: the number of threads does not show in any bit.
func TestThreads(t *testing.T) {
	for _, dtype := range []device.DType{device.F32, device.BF16} {
		one := openToy(t, t.TempDir(), newToy(t, dtype, 1), nil)
		one.run(t)
		for _, threads := range []int{2, 5} {
			many := openToy(t, t.TempDir(), newToy(t, dtype, threads), nil)
			many.run(t)
			if diff := cmp.Diff(one.bits(t), many.bits(t)); diff != "" {
				t.Errorf("%v with %d threads:\n%s", dtype, threads, diff)
			}
		}
	}
}

// TestSteadyMemory: the device holds after a thousand steps what it held after ten.
func TestSteadyMemory(t *testing.T) {
	m := newToy(t, device.BF16, 2)
	var early, late int64
	openToy(t, t.TempDir(), m, func(l *Loop) {
		l.Steps, l.EvalEvery, l.Checkpoints = 1000, 50, nil
		inner := l.Batches
		l.Batches = func(ctx context.Context, step int) ([]data.Batch, error) {
			switch step {
			case 10:
				early = m.dev.Memory().InUse
				m.dev.ResetPeak()
			case 999:
				late = m.dev.Memory().InUse
			}
			return inner(ctx, step)
		}
	}).run(t)
	if early == 0 || late != early {
		t.Errorf("%d bytes in use after 10 steps, %d after 999", early, late)
	}
}

// TestNonFiniteStops: the run ends with the weights of before, names the tensors, and can be resumed.
func TestNonFiniteStops(t *testing.T) {
	dir := t.TempDir()
	m := newToy(t, device.F32, 1)
	r := openToy(t, dir, m, poison(4))
	_, err := r.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "step 5: the loss is NaN and the gradient norm is NaN: embed (") {
		t.Fatalf("error %v", err)
	}
	if strings.Contains(err.Error(), "that the run begins with") {
		t.Errorf("after four updates the weights of the beginning are at fault: %v", err)
	}
	if newest := r.Checkpoints.Newest(); newest != 4 {
		t.Errorf("the newest checkpoint is of step %d, want 4", newest)
	}
	for name, bits := range m.bits(t) {
		for _, b := range bits {
			if v := float64(math.Float32frombits(b)); math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("%s holds %v", name, v)
			}
		}
	}
	if _, err := openToy(t, t.TempDir(), newToy(t, device.F32, 1), poison(0)).Run(context.Background()); err == nil || !strings.Contains(err.Error(), "the weights that the run begins with give it") {
		t.Errorf("before any update: %v", err)
	}
	healthy := openToy(t, dir, newToy(t, device.F32, 1), nil)
	if out := healthy.run(t); out.Step != 12 {
		t.Errorf("the resumed run ended at step %d", out.Step)
	}
}

// unfit is an optimizer whose device fails in an update.
type unfit struct {
	Optimizer
	left int
}

func (u *unfit) Step(lr float32) (float64, error) {
	if u.left--; u.left < 0 {
		return 0, errors.New("the card fell off")
	}
	return u.Optimizer.Step(lr)
}

// TestFailedUpdate: what a failing device holds is not saved.
func TestFailedUpdate(t *testing.T) {
	r := openToy(t, t.TempDir(), newToy(t, device.F32, 1), func(l *Loop) { l.Optimizer, l.Checkpoints.Every = &unfit{l.Optimizer, 3}, 2 })
	if _, err := r.Run(context.Background()); err == nil || err.Error() != "update of step 4: the card fell off" {
		t.Errorf("error %v", err)
	}
	if newest := r.Checkpoints.Newest(); newest != 2 {
		t.Errorf("the newest checkpoint is of step %d", newest)
	}
}

// TestFailedUpdateBehindACheckpoint: one that is being written in the background is waited for, and told of.
func TestFailedUpdateBehindACheckpoint(t *testing.T) {
	dir := t.TempDir()
	r := openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) {
		l.Optimizer, l.Checkpoints.Every, l.Checkpoints.Room = &unfit{l.Optimizer, 2}, 2, plenty
	})
	if _, err := r.Run(context.Background()); err == nil || err.Error() != "update of step 3: the card fell off" {
		t.Errorf("error %v", err)
	}
	events, err := readMetrics(filepath.Join(dir, "metrics.jsonl"))
	if err != nil || len(events) == 0 {
		t.Fatal(err)
	}
	if last, ok := events[len(events)-1].(CheckpointEvent); !ok || last.Step != 2 || r.Checkpoints.Newest() != 2 {
		t.Errorf("the last event is %+v, the newest checkpoint of step %d", events[len(events)-1], r.Checkpoints.Newest())
	}
}

// TestErrorWhileStopping: what fails when the run is to be interrupted is an error all the same. The step
// before it is saved once, whether that was due or not, and told of.
func TestErrorWhileStopping(t *testing.T) {
	for every := range 2 {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		r := openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) {
			l.Checkpoints.Every, l.Checkpoints.Room = every, plenty
			inner := l.Batches
			l.Batches = func(ctx context.Context, step int) ([]data.Batch, error) {
				if step == 1 {
					cancel()
					return nil, errors.New("the shard is damaged")
				}
				return inner(ctx, step)
			}
		})
		out, err := r.Run(ctx)
		if err == nil || !strings.Contains(err.Error(), "the shard is damaged") || out.Interrupted || out.Step != 1 || out.Updates != 1 || out.Seed != 3 {
			t.Errorf("outcome %+v, error %v", out, err)
		}
		events, err := readMetrics(filepath.Join(dir, "metrics.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		saved := 0
		for _, e := range events {
			if _, ok := e.(CheckpointEvent); ok {
				saved++
			}
		}
		if saved != 1 {
			t.Errorf("a checkpoint every %d steps: step 1 was saved %d times", every, saved)
		}
	}
}

// poison makes the losses of some steps NaN.
func poison(steps ...int) func(*Loop) {
	return func(l *Loop) {
		inner := l.Objective
		l.Objective = func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
			x := inner(tape, b)
			if slices.Contains(steps, l.Step()) && tape.Recording() {
				x = tensor.Scale(x, float32(math.NaN()))
			}
			return x
		}
	}
}

// TestNonFiniteSkips: the step is left out and counted, and too many in a row end the run.
func TestNonFiniteSkips(t *testing.T) {
	dir := t.TempDir()
	skip := func(l *Loop) { l.OnNonFinite, l.MaxSkips = SkipOnNonFinite, 2 }
	taken := 0
	r := openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) {
		skip(l)
		poison(2, 3, 7)(l)
		l.Metrics = func() map[string]float64 { taken++; return nil }
	})
	out := r.run(t)
	if taken != 12 { // what a skipped step measured is no part of the next
		t.Errorf("the metrics of %d steps were taken, of 12", taken)
	}
	if out.Skipped != 3 || out.Step != 12 || r.opt.Updates() != 9 || out.SkippedInRow != 0 {
		t.Errorf("outcome %+v, %d updates", out, r.opt.Updates())
	}
	var rows []int
	for _, e := range lines(t, dir) {
		if s, ok := e.(SkipEvent); ok {
			rows = append(rows, s.Step, s.Row)
			if len(s.Tensors) != 4 || s.Tensors[0] != "embed" {
				t.Errorf("tensors %v", s.Tensors)
			}
		}
	}
	if !slices.Equal(rows, []int{3, 1, 4, 2, 8, 1}) {
		t.Errorf("skips at (step, row) %v", rows)
	}
	r = openToy(t, t.TempDir(), newToy(t, device.F32, 1), func(l *Loop) { skip(l); poison(2, 3, 4)(l) })
	if _, err := r.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "skipped step number 3 in a row") {
		t.Errorf("three in a row: %v", err)
	}
}

// TestLossAloneIsNotFinite: a step whose loss is NaN is none, also where its gradients are numbers.
func TestLossAloneIsNotFinite(t *testing.T) {
	m := newToy(t, device.F32, 1)
	r := openToy(t, t.TempDir(), m, func(l *Loop) {
		l.OnNonFinite, l.MaxSkips, l.Steps = SkipOnNonFinite, 2, 4
		inner := l.Objective
		l.Objective = func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
			x := inner(tape, b)
			if l.Step() == 2 && tape.Recording() {
				x = tensor.Add(x, tape.Constant([]float32{float32(math.NaN())}, 1))
			}
			return x
		}
	})
	if out := r.run(t); out.Skipped != 1 || out.Step != 4 || m.opt.Updates() != 3 || math.IsNaN(out.Loss) {
		t.Errorf("outcome %+v, %d updates", out, m.opt.Updates())
	}
}

// script runs a loop whose evaluations give the losses listed.
func script(t *testing.T, dir string, losses []float64, change func(*Loop)) *toyRun {
	return openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) {
		l.Steps, l.EvalEvery = len(losses), 1
		l.Evaluate = func(context.Context) (map[string]float64, error) {
			return map[string]float64{"loss": losses[l.Step()-1], "gain": -losses[l.Step()-1]}, nil
		}
		change(l)
	})
}

func TestEarlyStopping(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		name         string
		losses       []float64
		stop         EarlyStopping
		ended, best  int
		stoppedEarly bool
	}{
		{"gets better", []float64{5, 4, 3, 2, 1}, EarlyStopping{Metric: "loss", Patience: 1}, 5, 5, false},
		{"patience", []float64{5, 4, 6, 6, 1, 1}, EarlyStopping{Metric: "loss", Patience: 2}, 4, 2, true},
		{"recovers", []float64{5, 4, 6, 3, 6, 2}, EarlyStopping{Metric: "loss", Patience: 2}, 6, 6, false},
		{"min_delta", []float64{5, 4.95, 4.92, 1}, EarlyStopping{Metric: "loss", Patience: 2, MinDelta: 0.1}, 3, 1, true},
		{"max", []float64{5, 4, 6, 6, 1}, EarlyStopping{Metric: "gain", Max: true, Patience: 2}, 4, 2, true},
		{"NaN is not better", []float64{nan, 4, nan, nan, 1}, EarlyStopping{Metric: "loss", Patience: 2}, 4, 2, true},
		{"nothing is better than 0", []float64{0, 1, 1, 1}, EarlyStopping{Metric: "loss", Patience: 2}, 3, 1, true},
		{"at the last step", []float64{5, 6, 6}, EarlyStopping{Metric: "loss", Patience: 2}, 3, 1, false},
		{"off", []float64{1, 2, 3, 4, 5, 6}, EarlyStopping{}, 6, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := script(t, t.TempDir(), c.losses, func(l *Loop) { l.Stopping = c.stop }).run(t)
			if got := out.BestMetrics["loss"]; got != c.losses[c.best-1] {
				t.Errorf("the best evaluation measured %v, want that of step %d", out.BestMetrics, c.best)
			}
			if out.Step != c.ended || out.BestStep != c.best || out.StoppedEarly != c.stoppedEarly {
				t.Errorf("ended at %d, best %d, early %v; want %d, %d, %v", out.Step, out.BestStep, out.StoppedEarly, c.ended, c.best, c.stoppedEarly)
			}
		})
	}
	_, err := script(t, t.TempDir(), []float64{1, 2}, func(l *Loop) { l.Stopping = EarlyStopping{Metric: "bleu", Patience: 1} }).Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), `early_stopping.metric is "bleu", but the evaluation has only: gain, loss, train_loss`) {
		t.Errorf("unknown metric: %v", err)
	}
	run := script(t, t.TempDir(), []float64{1, 2}, func(l *Loop) {
		l.EvalFirst, l.Stopping = true, EarlyStopping{Metric: "bleu", Patience: 1}
		l.Evaluate = func(context.Context) (map[string]float64, error) { return map[string]float64{"loss": 1}, nil }
	})
	if out, err := run.Run(context.Background()); err == nil || !strings.Contains(err.Error(), `"bleu", but the evaluation has only: loss, train_loss`) || out.Step != 0 {
		t.Errorf("unknown metric with an evaluation before the first step: after %d steps, %v", out.Step, err)
	}
}

// TestTrainLoss: an evaluation also tells the mean training loss since the one before.
func TestTrainLoss(t *testing.T) {
	dir := t.TempDir()
	openToy(t, dir, newToy(t, device.F32, 1), nil).run(t)
	sum, n := 0.0, 0
	for _, e := range lines(t, dir) {
		switch e := e.(type) {
		case StepEvent:
			sum, n = sum+e.Loss, n+1
		case EvalEvent:
			if got := e.Metrics["train_loss"]; n != 3 || math.Abs(got-sum/3) > 1e-12 {
				t.Errorf("train_loss after step %d is %v, want the mean of %d steps %v", e.Step, got, n, sum/float64(n))
			}
			sum, n = 0, 0
		}
	}
}

// TestSavesByTheClock: a checkpoint that is late is written once, and the time to the next begins with it.
func TestSavesByTheClock(t *testing.T) {
	r := openToy(t, t.TempDir(), newToy(t, device.F32, 1), func(l *Loop) {
		l.Steps, l.Evaluate, l.Checkpoints.Seconds = 6, nil, 3600
		rate := l.Rate
		l.Rate = func(step int) float32 {
			if step == 2 {
				l.savedAt = l.savedAt.Add(-2 * time.Hour)
			}
			return rate(step)
		}
	})
	r.run(t)
	if got := completeSteps(r.Checkpoints.Dir); !slices.Equal(got, []int{3, 6}) {
		t.Errorf("checkpoints of steps %v", got)
	}
}

// TestRetention: the newest and the best stay, and only these.
func TestRetention(t *testing.T) {
	losses := []float64{9, 8, 2, 7, 7, 3, 7, 7}
	for _, c := range []struct {
		name string
		last int
		best bool
		want []int
	}{{"all", 0, false, []int{1, 2, 3, 4, 5, 6, 7, 8}}, {"last two", 2, false, []int{7, 8}}, {"last two and best", 2, true, []int{3, 7, 8}}, {"last", 1, true, []int{3, 8}}} {
		dir := t.TempDir()
		script(t, dir, losses, func(l *Loop) {
			l.Checkpoints.Every, l.Checkpoints.KeepLast, l.Checkpoints.KeepBest = 1, c.last, c.best
		}).run(t)
		if got := completeSteps(filepath.Join(dir, "checkpoints")); !slices.Equal(got, c.want) {
			t.Errorf("%s: checkpoints %v, want %v", c.name, got, c.want)
		}
	}
	dir := t.TempDir() // the best is kept although no checkpoint was due then
	script(t, dir, losses, func(l *Loop) { l.Checkpoints.Every, l.Checkpoints.KeepLast, l.Checkpoints.KeepBest = 5, 1, true }).run(t)
	if got := completeSteps(filepath.Join(dir, "checkpoints")); !slices.Equal(got, []int{3, 8}) {
		t.Errorf("checkpoints %v, want 3 and 8", got)
	}
}

// TestUnfinishedCheckpoints: what a crash leaves at any moment of writing is not resumed from and is cleaned.
func TestUnfinishedCheckpoints(t *testing.T) {
	dir := t.TempDir()
	r := script(t, dir, []float64{3, 2, 1}, func(l *Loop) { l.Checkpoints.Every = 1 })
	r.run(t)
	c := r.Checkpoints
	for _, err := range []error{
		os.Remove(filepath.Join(c.Path(3), completeFile)),               // before the marker
		os.Truncate(filepath.Join(c.Path(2), "model.safetensors"), 100), // a lost tail
		os.MkdirAll(filepath.Join(c.Dir, ".step-4"+tempSuffix), 0o755),
		os.MkdirAll(filepath.Join(c.Dir, "step-notes"), 0o755), // somebody's own
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if newest := c.Newest(); newest != 1 {
		t.Errorf("the newest checkpoint is of step %d, want 1", newest)
	}
	if n, err := c.Clean(); n != 3 || err != nil {
		t.Errorf("cleaned %d, error %v; want 3", n, err)
	}
	if exists(c.Path(3)) || exists(c.Path(2)) || !exists(c.Path(1)) || !exists(filepath.Join(c.Dir, "step-notes")) {
		t.Error("the wrong folders were removed")
	}
}

// TestFailedCheckpoint: where a checkpoint cannot be written, the old one survives, nothing half-written stays, and
// one sentence says so.
func TestFailedCheckpoint(t *testing.T) {
	dir := t.TempDir()
	full := fmt.Errorf("write x: %w; start again", syscall.ENOSPC)
	r := script(t, dir, []float64{3, 2, 1, 1}, func(l *Loop) {
		l.Checkpoints.Every = 2
		l.Checkpoints.Extra = func(string) error {
			if l.Step() == 4 {
				return full
			}
			return nil
		}
	})
	_, err := r.Run(context.Background())
	want := "save " + r.Checkpoints.Path(4) + ": no space left on device; that of step 2 is kept, go on from it with resume=true after freeing some space"
	if !errors.Is(err, syscall.ENOSPC) || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if got := (&Checkpoints{Dir: "none"}).saveError(2, full).Error(); got != "save none/step-2: no space left on device; there is no earlier one, begin again with resume=true after freeing some space" {
		t.Errorf("without an earlier one: %s", got)
	}
	entries, err := os.ReadDir(r.Checkpoints.Dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "step-2" {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	again := script(t, dir, []float64{3, 2, 1, 1}, func(*Loop) {})
	if again.Step() != 2 {
		t.Errorf("resumed at step %d", again.Step())
	}
	if out := again.run(t); out.Step != 4 {
		t.Errorf("ended at step %d", out.Step)
	}
}

// TestBadBatches: what the one normaliser rests on is checked.
func TestBadBatches(t *testing.T) {
	for _, c := range []struct {
		batches []data.Batch
		want    string
	}{
		{nil, "batch of step 1: the data is at its end"},
		{[]data.Batch{{Tokens: 3}, {Tokens: 4}}, "micro-batch 1 is divided by 4 tokens and the first by 3"},
		{[]data.Batch{{}}, "no token is supervised"},
	} {
		r := openToy(t, t.TempDir(), newToy(t, device.F32, 1), func(l *Loop) {
			l.Batches = func(context.Context, int) ([]data.Batch, error) { return c.batches, nil }
		})
		if _, err := r.Run(context.Background()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

// TestHeldOutIsTokenWeighted: the mean over tokens, not over batches.
func TestHeldOutIsTokenWeighted(t *testing.T) {
	m := newToy(t, device.F32, 1)
	tape := tensor.NewTape(m.dev, device.F32)
	all, _ := toyBatches(1)(context.Background(), 5)
	parts, _ := toyBatches(4)(context.Background(), 5)
	parts = append(parts, data.Batch{IDs: []int32{1}, Targets: []int32{data.Ignore}})
	want, n, err := HeldOut(context.Background(), tape, slices.Values(all), m.objective(0.3))
	if err != nil || int(n) != all[0].Tokens {
		t.Fatal(n, err)
	}
	before := m.dev.Memory().InUse
	tape.Train(1, 0, 0) // as a step leaves it
	got, _, err := HeldOut(context.Background(), tape, slices.Values(parts), m.objective(0.3))
	if err != nil || math.Abs(got-want) > 1e-5 {
		t.Errorf("in parts %v, error %v; want %v", got, err, want)
	}
	tape.Reset()
	if now := m.dev.Memory().InUse; now != before {
		t.Errorf("after one evaluation %d bytes are in use, after nothing %d", before, now)
	}
	if _, _, err := HeldOut(context.Background(), tape, slices.Values(parts[4:]), m.objective(0)); err == nil {
		t.Error("no supervised token was accepted")
	}
}

// TestLossOfAStep: what a step reports is the loss of its whole batch before the update, the sum of its
// micro-batches' parts.
func TestLossOfAStep(t *testing.T) {
	m, dir := newToy(t, device.F32, 1), t.TempDir()
	whole, _ := toyBatches(1)(context.Background(), 0)
	want, _, err := HeldOut(context.Background(), tensor.NewTape(m.dev, device.F32), slices.Values(whole), m.objective(0))
	if err != nil {
		t.Fatal(err)
	}
	openToy(t, dir, m, func(l *Loop) { l.Steps, l.Batches, l.Objective = 1, toyBatches(3), m.objective(0) }).run(t)
	events, err := readMetrics(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if e := events[0].(StepEvent); math.Abs(e.TokensPerS*e.StepTime-24) > 1e-9 { // supervised or not
		t.Errorf("%v rows a second for %v seconds, want 24 rows", e.TokensPerS, e.StepTime)
	}
	if e := lines(t, dir)[0].(StepEvent); math.Abs(e.Loss-want) > 1e-5 || e.StepTokens != whole[0].Tokens {
		t.Errorf("loss %v of %d tokens, want %v of %d", e.Loss, e.StepTokens, want, whole[0].Tokens)
	}
}

// TestMetricsFile: a resumed file holds no step twice, and a torn last line is no harm.
func TestMetricsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	m, err := OpenMetrics(path, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	events := []Event{
		MessageEvent{0, "hello"}, InfoEvent{0, map[string]any{"a": 1.0}}, StepEvent{Step: 1, Loss: 2.5, LR: 0.1}, StepEvent{Step: 2, Loss: 2},
		EvalEvent{Step: 2, Metrics: map[string]float64{"loss": 3}}, CheckpointEvent{Step: 2, Path: "p"}, SkipEvent{Step: 3, Tensors: []string{"w"}},
		SampleEvent{Step: 3, Prompt: "a\n", Text: "<b>"},
	}
	for _, e := range events {
		if err := m.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(m.Sync(), m.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := readMetrics(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(events, got); diff != "" {
		t.Error(diff)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"event":"step","step":1,"lo`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for _, c := range []struct{ step, want int }{{5, 8}, {2, 6}, {1, 3}, {0, 0}} {
		m, err := OpenMetrics(path, c.step, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		if got, err := readMetrics(path); err != nil || len(got) != c.want {
			t.Errorf("resumed at step %d: %d events, error %v; want %d", c.step, len(got), err, c.want)
		}
	}
}

// TestUnfitMetricsAreNotWritten: JSON has no NaN, so the file says it in words.
func TestUnfitMetricsAreNotWritten(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, []float64{math.Inf(1), 1}, func(*Loop) {}).run(t)
	events, err := readMetrics(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range events {
		if m, ok := e.(MessageEvent); ok {
			said = append(said, m.Text)
		}
	}
	if !slices.Contains(said, "the evaluation's loss is +Inf") {
		t.Errorf("messages %q", said)
	}
}
