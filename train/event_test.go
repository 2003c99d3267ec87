package train

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hone/data"
	"hone/device"
	"hone/optim"
	"hone/tensor"
)

// everyEvent is one of each kind, all at step 7.
var everyEvent = []Event{
	StepEvent{Step: 7, Loss: 1.5, LR: 0.25, GradNorm: 2, StepTokens: 3, Tokens: 4, TokensPerS: 5, StepTime: 6, Seconds: 8, Metrics: map[string]float64{"a": 1}},
	SkipEvent{Step: 7, Reason: "NaN", Tensors: []string{"w"}, Row: 2, Skipped: 3},
	EvalEvent{Step: 7, Metrics: map[string]float64{"loss": 1}, Best: true, Took: 2, Seconds: 3},
	CheckpointEvent{Step: 7, Path: "p", Bytes: 9, Took: 2, Seconds: 3},
	SampleEvent{Step: 7, Prompt: "a\n", Text: "<b> & \u2028"},
	ExampleEvent{Step: 7, Parts: []Part{{"a", false}, {"b", true}}},
	RolloutEvent{Step: 7, Iteration: 2, Metrics: map[string]float64{"objective/kl": 1}, Took: 3},
	TableEvent{Step: 7, Title: "t", Head: []string{"a"}, Rows: [][]string{{"1"}}},
	MessageEvent{Step: 7, Text: "hello"},
	InfoEvent{Step: 7, Values: map[string]any{"a": 1.0, "b": "c"}},
}

// TestEveryEventIsReadBack: each kind is one line that says its kind, comes back as it was, and knows its
// step, after which a resume drops it.
func TestEveryEventIsReadBack(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range everyEvent {
		line, err := marshalEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(line); strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, `{"event":"`+e.Kind()+`","step":7,`) {
			t.Errorf("%T is written %s", e, text)
		}
		if seen[e.Kind()] || e.At() != 7 {
			t.Errorf("%T has the kind %s and the step %d", e, e.Kind(), e.At())
		}
		seen[e.Kind()] = true
		got, err := unmarshalEvent(line)
		if err != nil || !cmp.Equal(got, e) {
			t.Errorf("%T comes back as %+v, %v", e, got, err)
		}
		if kept, _ := keepUntil(line, 7); string(kept) != string(line) {
			t.Errorf("%T of the step that is resumed is dropped", e)
		}
		if kept, _ := keepUntil(line, 6); kept != nil {
			t.Errorf("%T of a later step is kept", e)
		}
	}
}

// TestStepsAreWritten by the names that dashboards and the report read.
func TestStepsAreWritten(t *testing.T) {
	line, err := marshalEvent(everyEvent[0])
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"event": "step", "step": 7.0, "loss": 1.5, "lr": 0.25, "grad_norm": 2.0, "step_tokens": 3.0, "tokens": 4.0, "tokens_per_s": 5.0, "step_seconds": 6.0, "seconds": 8.0,
		"metrics": map[string]any{"a": 1.0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestLinesOfOthers: a kind that a newer build writes is passed over; a line that is none is an error, and no part of what a resumed run keeps.
func TestLinesOfOthers(t *testing.T) {
	if e, err := unmarshalEvent([]byte(`{"event":"weather","step":1}`)); e != nil || err != nil {
		t.Errorf("an unknown kind is %v, %v", e, err)
	}
	for _, bad := range []string{"{", "[]", `{"event":3}`, `{"event":"step","step":"one"}`} {
		if _, err := unmarshalEvent([]byte(bad)); err == nil {
			t.Errorf("%s is an event", bad)
		}
		if kept, _ := keepUntil([]byte(bad+"\n"), 5); kept != nil {
			t.Errorf("a resumed run keeps %s", kept)
		}
	}
}

// TestMetricsAreTold as they are written, and what JSON has no word for is an error.
func TestMetricsAreTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	var told []Event
	m, err := OpenMetrics(path, 0, func(e Event) { told = append(told, e) })
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range everyEvent {
		if err := m.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if !cmp.Equal(told, everyEvent) {
		t.Errorf("told of %v", told)
	}
	if err := m.Append(StepEvent{Step: 8, Loss: math.NaN()}); err == nil || !strings.Contains(err.Error(), path) || len(told) != len(everyEvent) {
		t.Errorf("a loss that is no number: %v, %d told", err, len(told))
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Append(everyEvent[0]); err == nil || !strings.Contains(err.Error(), "go on with resume=true") {
		t.Errorf("a file that is closed: %v", err)
	}
	if err := m.Sync(); err == nil {
		t.Error("a file that is closed is put on the disk")
	}
	if _, err := OpenMetrics(t.TempDir(), 0, nil); err == nil || !strings.Contains(err.Error(), "metrics of the run: ") {
		t.Errorf("a folder in place of the file: %v", err)
	}
}

// TestMeter: means over what was added since the last time; of nothing there is none, nor of what is no number.
func TestMeter(t *testing.T) {
	m := NewMeter()
	m.Add("a", 1, 2, 6)
	m.Add("a", 7)
	m.Add("b", math.Inf(1), 1)
	m.Add("c", math.NaN())
	m.Add("d")
	m.Add("e", 0)
	m.Add("f", 1)
	m.AddMean("f", 5, 3)
	if got := m.Take(); !cmp.Equal(got, map[string]float64{"a": 4, "e": 0, "f": 4}) {
		t.Errorf("the means are %v", got)
	}
	m.Add("a", 5)
	if got := m.Take(); !cmp.Equal(got, map[string]float64{"a": 5}) {
		t.Errorf("and then %v", got)
	}
	if got := m.Take(); len(got) != 0 {
		t.Errorf("and of nothing %v", got)
	}
}

// TestSchedulesFall: whatever the schedule, the rate rises through the warm-up to the peak, never rises
// again, and ends at the floor or above.
func TestSchedulesFall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Schedule{Name: rapid.SampledFrom(scheduleNames).Draw(t, "name"), MinLRRatio: rapid.Float64Range(0, 1).Draw(t, "floor")}
		total := rapid.IntRange(1, 200).Draw(t, "steps")
		steps := func(label string) float64 {
			if rapid.Bool().Draw(t, label+" is a share") {
				return rapid.Float64Range(0, 0.999).Draw(t, label)
			}
			return float64(rapid.IntRange(0, 250).Draw(t, label))
		}
		s.WarmupSteps, s.DecaySteps = steps("warm-up"), steps("decay")
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		rate, warm := s.Rate(1, total), int(stepsOf(s.WarmupSteps, total))
		for step := range total + 20 {
			now, next := rate(step), rate(step+1)
			switch {
			case !(now > 0 || step >= warm) || now > 1 || now < 0:
				t.Fatalf("%+v of %d steps: step %d has the rate %v", s, total, step, now)
			case step+1 < warm && next <= now:
				t.Fatalf("%+v of %d steps: the warm-up goes from %v to %v at step %d", s, total, now, next, step)
			case step >= warm && next > now:
				t.Fatalf("%+v of %d steps: the rate rises from %v to %v at step %d", s, total, now, next, step)
			case step >= warm && float64(now) < s.MinLRRatio-1e-6:
				t.Fatalf("%+v of %d steps: step %d has the rate %v, below the floor", s, total, step, now)
			}
		}
	})
}

// TestWarmupAsShare: a share of the steps is rounded up, but not by the rounding of the product.
func TestWarmupAsShare(t *testing.T) {
	for _, c := range []struct {
		share float64
		total int
		want  float64
	}{{0.1, 30, 3}, {0.1, 31, 4}, {0.03, 100, 3}, {0.03, 1, 1}, {0, 100, 0}, {0.7, 10, 7}, {0.5, 3, 2}, {5, 3, 5}} {
		if got := stepsOf(c.share, c.total); got != c.want {
			t.Errorf("%v of %d steps are %v, want %v", c.share, c.total, got, c.want)
		}
	}
}

// TestObserve: when a value is the best, one evaluation after the other.
func TestObserve(t *testing.T) {
	for _, c := range []struct {
		name   string
		stop   EarlyStopping
		values []float64
		want   string // of each evaluation: b the best, w worse, s worse and the run ends
	}{
		{"smaller is better", EarlyStopping{Patience: 2}, []float64{3, 2, 2, 1, 4, 5, 0}, "bbwbwsb"},
		{"larger is better", EarlyStopping{Max: true, Patience: 2}, []float64{3, 2, 4, 4, 4}, "bwbws"},
		{"by more than min_delta", EarlyStopping{Patience: 9, MinDelta: 0.5}, []float64{3, 2.5, 2.4, 1.9, 1.8}, "bwbwb"},
		{"larger by more than min_delta", EarlyStopping{Max: true, Patience: 9, MinDelta: 0.5}, []float64{1, 1.5, 1.6, 1.2, 2.2}, "bwbwb"},
		{"without patience", EarlyStopping{}, []float64{1, 2, 3, 4}, "bwww"},
		{"numbers alone", EarlyStopping{Patience: 2}, []float64{math.NaN(), math.Inf(-1), 7, math.NaN()}, "wsbw"},
	} {
		s, got := State{}, ""
		for i, v := range c.values {
			s.Step = i + 1
			best, err := c.stop.observe(&s, map[string]float64{"loss": v})
			switch {
			case err != nil:
				t.Fatal(err)
			case best:
				got += "b"
			case c.stop.stopped(&s):
				got += "s"
			default:
				got += "w"
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	watching := EarlyStopping{Metric: "train_loss", Patience: 1}
	if best, err := watching.observe(&State{Step: 1}, map[string]float64{"loss": 1}); best || err != nil {
		t.Errorf("before there is a training loss: %v, %v", best, err)
	}
	if err := watching.Check(nil); err != nil {
		t.Errorf("train_loss, which every evaluation has: %v", err)
	}
}

// TestWholeCheckpoints: a folder counts when its marker is there and every file has the size that it says; a
// marker that names files elsewhere does not.
func TestWholeCheckpoints(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(outside, []byte("12345"), 0o666); err != nil {
		t.Fatal(err)
	}
	for marker, want := range map[string]bool{
		`{"format": 1, "sizes": {"optimizer.safetensors": 3}}`:                     true,
		`{"format": 1, "sizes": {"optimizer.safetensors": 3, "sub/a.json": 2}}`:    true,
		`{"format": 2, "sizes": {"optimizer.safetensors": 3}}`:                     false,
		`{"format": 1, "sizes": {"optimizer.safetensors": 4}}`:                     false,
		`{"format": 1, "sizes": {"optimizer.safetensors": 3, "missing": 0}}`:       false,
		`{"format": 1, "sizes": {"sub/a.json": 2}}`:                                false,
		`{"format": 1, "sizes": {"optimizer.safetensors": 3, "../outside": 5}}`:    false,
		`{"format": 1, "sizes": {"optimizer.safetensors": 3, "/etc/hostname": 5}}`: false,
		`{"format": 1}`: false, `{`: false, "": false,
	} {
		dir := filepath.Join(t.TempDir(), "step-4")
		if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o777); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{optimizerFile: "abc", "sub/a.json": "{}", completeFile: marker, "../outside": "12345"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got := isComplete(dir); got != want {
			t.Errorf("%s: whole %v, want %v", marker, got, want)
		}
	}
	for name, want := range map[string]int{"step-1": 1, "step-120": 120, "step-0": 0, "step-01": 0, "step--1": 0, "step-1x": 0, "step-": 0, "1": 0, ".step-3.unfinished": 0, "step-99999999999999999999": 0} {
		if step, ok := stepOf(name); ok != (want > 0) || ok && step != want {
			t.Errorf("%s is step %d, %v", name, step, ok)
		}
	}
	if got := completeSteps(filepath.Join(t.TempDir(), "none")); got != nil {
		t.Errorf("a folder that is not there has the steps %v", got)
	}
	if n, err := (&Checkpoints{Dir: filepath.Join(t.TempDir(), "none")}).Clean(); n != 0 || err != nil {
		t.Errorf("and is cleaned of %d, %v", n, err)
	}
}

// TestPlaces of tensors in a checkpoint: weights by their own names in a file that opens as a model, all else
// in the other.
func TestPlaces(t *testing.T) {
	aside := func(name string) bool { return strings.HasPrefix(name, "critic.") }
	var got []string
	for _, c := range []*Checkpoints{{}, {Weights: "adapter_model.safetensors", Aside: aside}} {
		for _, kind := range []optim.Kind{optim.Master, optim.Moment1, optim.Moment2, optim.Moment1Scale, optim.Moment2Scale} {
			file, name := c.place(optim.State{Name: "critic.w", Kind: kind})
			got = append(got, file+" "+name)
		}
		file, name := c.place(optim.State{Name: "w", Kind: optim.Master})
		got = append(got, file+" "+name)
	}
	moments := []string{"optimizer.safetensors m.critic.w", "optimizer.safetensors v.critic.w", "optimizer.safetensors m_scale.critic.w", "optimizer.safetensors v_scale.critic.w"}
	want := slices.Concat([]string{"model.safetensors critic.w"}, moments, []string{"model.safetensors w", "optimizer.safetensors w.critic.w"}, moments, []string{"adapter_model.safetensors w"})
	if !slices.Equal(got, want) {
		t.Errorf("the places are %q, want %q", got, want)
	}
}

// TestErrorsSayTheStep: what fails outside of the loop comes with where the run was.
func TestErrorsSayTheStep(t *testing.T) {
	broken := os.ErrClosed
	for want, change := range map[string]func(*Loop){
		"batch of step 1: ":         func(l *Loop) { l.Batches = failingBatches(broken, 0) },
		"batch of step 4: ":         func(l *Loop) { l.Batches = failingBatches(broken, 3) },
		"evaluation after step 3: ": func(l *Loop) { l.Evaluate = failingEvaluation(broken) },
		"evaluation after step 0: ": func(l *Loop) { l.Evaluate, l.EvalFirst = failingEvaluation(broken), true },
		broken.Error():              func(l *Loop) { l.Every = []Every{failingEvery(broken)} },
	} {
		dir := t.TempDir()
		r := openToy(t, dir, newToy(t, device.F32, 1), change)
		out, err := r.Run(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), want) || out.Interrupted {
			t.Errorf("%v, want %q", err, want)
		}
		if newest := r.Checkpoints.Newest(); newest != out.Step || out.Step == 12 { // what was reached is saved
			t.Errorf("%q: ended at step %d, and the checkpoint is of %d", want, out.Step, newest)
		}
	}
}

func failingBatches(err error, at int) func(context.Context, int) ([]data.Batch, error) {
	return func(ctx context.Context, step int) ([]data.Batch, error) {
		if step == at {
			return nil, err
		}
		return toyBatches(1)(ctx, step)
	}
}

func failingEvaluation(err error) func(context.Context) (map[string]float64, error) {
	return func(context.Context) (map[string]float64, error) { return nil, err }
}

func failingEvery(err error) Every {
	return Every{Steps: 2, Do: func(context.Context, int) ([]Event, error) { return nil, err }}
}

// TestInfer: without gradients, and what fails in it - a context, the function, an operation - is an error.
func TestInfer(t *testing.T) {
	m := newToy(t, device.F32, 1)
	tape := tensor.NewTape(m.dev, m.dtype)
	before := m.dev.Memory().InUse
	called := 0
	if err := Infer(t.Context(), tape, func() error {
		called++
		tape.Floats(make([]float32, 100), 10, 10)
		if tape.Recording() {
			t.Error("the pass is recorded")
		}
		return nil
	}); err != nil || called != 1 || m.dev.Memory().InUse != before {
		t.Errorf("%v after %d calls, %d bytes are left", err, called, m.dev.Memory().InUse-before)
	}
	if err := Infer(t.Context(), tape, func() error { return os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the function's error is %v", err)
	}
	bad := (*tensor.Error)(nil)
	if err := Infer(t.Context(), tape, func() error { panic(&tensor.Error{Op: "Linear", Problem: "shapes"}) }); !errors.As(err, &bad) {
		t.Errorf("an operation's is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Infer(ctx, tape, func() error { called++; return nil }); !errors.Is(err, context.Canceled) || called != 1 {
		t.Errorf("cancelled: %v, called %d times", err, called)
	}
}

// TestHeldOutOfNothing: data without a token to learn is told with what to do, and a batch without one is passed over.
func TestHeldOutOfNothing(t *testing.T) {
	m := newToy(t, device.F32, 1)
	tape := tensor.NewTape(m.dev, m.dtype)
	empty := data.Batch{IDs: []int32{1}, Targets: []int32{data.Ignore}}
	full := data.Batch{IDs: []int32{1, 2}, Targets: []int32{7, data.Ignore}}
	if _, _, err := HeldOut(t.Context(), tape, slices.Values([]data.Batch{empty}), m.objective(0)); err == nil || !strings.Contains(err.Error(), "no supervised token; raise validation_fraction or give longer documents") {
		t.Errorf("%v", err)
	}
	one, n, err := HeldOut(t.Context(), tape, slices.Values([]data.Batch{full}), m.objective(0))
	both, k, err2 := HeldOut(t.Context(), tape, slices.Values([]data.Batch{empty, full, empty}), m.objective(0))
	if errors.Join(err, err2) != nil || n != 1 || k != 1 || one != both {
		t.Errorf("%v of %d and %v of %d tokens, %v", one, n, both, k, errors.Join(err, err2))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := HeldOut(ctx, tape, slices.Values([]data.Batch{full}), m.objective(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestEvaluationAtTheEnd: a run whose last step was evaluated is not evaluated again, and one outside of
// the cadence is, without counting.
func TestEvaluationAtTheEnd(t *testing.T) {
	for every, want := range map[int][]int{0: {12}, 3: {3, 6, 9, 12}, 5: {5, 10, 12}, 12: {12}, 100: {12}} {
		var at []int
		r := openToy(t, t.TempDir(), newToy(t, device.F32, 1), func(l *Loop) {
			l.EvalEvery = every
			l.Evaluate = func(context.Context) (map[string]float64, error) {
				at = append(at, l.Step())
				return map[string]float64{"loss": float64(l.Step())}, nil
			}
		})
		out := r.run(t)
		if !slices.Equal(at, want) || out.Eval.Step != 12 {
			t.Errorf("every %d steps: evaluated at %v, want %v", every, at, want)
		}
		counted := len(want)
		if every == 0 || 12%every != 0 {
			counted--
		}
		if best := min(counted, 1) * want[0]; out.BestStep != best || out.Worse != max(0, counted-1) {
			t.Errorf("every %d steps: best at %d, then %d worse; want %d and %d", every, out.BestStep, out.Worse, best, max(0, counted-1))
		}
	}
}
