package train

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hone/data"
	"hone/device"
	"hone/optim"
	"hone/tensor"
)

// renamed is an optimizer of parameters that the checkpoint does not know.
type renamed struct{ *optim.AdamW }

func (r *renamed) State() []optim.State {
	all := r.AdamW.State()
	for i := range all {
		all[i].Name = "other." + all[i].Name
	}
	return all
}

// TestResumeIsExact: n + n steps equal 2n bit for bit in weights, optimizer, metrics and the bookkeeping
// of early stopping, in both dtypes and also with another number of threads.
func TestResumeIsExact(t *testing.T) {
	for _, dtype := range []device.DType{device.F32, device.BF16} {
		for _, half := range []int{1, 5, 6, 11} {
			t.Run(fmt.Sprintf("%v/%d", dtype, half), func(t *testing.T) {
				whole, parts := t.TempDir(), t.TempDir()
				a := openToy(t, whole, newToy(t, dtype, 1), nil)
				want := a.run(t)
				openToy(t, parts, newToy(t, dtype, 2), func(l *Loop) { l.Steps = half }).run(t)
				b := openToy(t, parts, newToy(t, dtype, 2), nil)
				if b.Step() != half {
					t.Fatalf("resumed at step %d, want %d", b.Step(), half)
				}
				got := b.run(t)
				if diff := cmp.Diff(a.bits(t), b.bits(t)); diff != "" {
					t.Error("weights or optimizer differ:\n", diff)
				}
				if diff := cmp.Diff(lines(t, whole), dropExtraEval(lines(t, parts), half)); diff != "" {
					t.Error("metrics differ:\n", diff)
				}
				want.Seconds, got.Seconds = 0, 0
				if diff := cmp.Diff(want.State, got.State); diff != "" {
					t.Error("states differ:\n", diff)
				}
			})
		}
	}
}

// dropExtraEval leaves out the evaluation at the end of the first half, which is recorded but does
// not count, unless it was due anyway.
func dropExtraEval(events []Event, half int) []Event {
	var kept []Event
	for _, e := range events {
		if v, ok := e.(EvalEvent); ok && v.Step == half && half%3 != 0 {
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

// TestInterrupt: a cancelled run saves where it is, also within a step, and goes on as if nothing had been.
func TestInterrupt(t *testing.T) {
	whole, parts := t.TempDir(), t.TempDir()
	a := openToy(t, whole, newToy(t, device.F32, 1), nil)
	a.run(t)
	for i := range 4 {
		ctx, cancel := context.WithCancel(context.Background())
		r := openToy(t, parts, newToy(t, device.F32, 1), func(l *Loop) {
			inner, calls := l.Objective, 0
			l.Objective = func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
				if calls++; calls == 4+i { // in the first or second micro-batch of a step
					cancel()
				}
				return inner(tape, b)
			}
		})
		out, err := r.Run(ctx)
		if err != nil || !out.Interrupted || out.StoppedEarly {
			t.Fatalf("interrupted: %v, stopped early: %v, error %v", out.Interrupted, out.StoppedEarly, err)
		}
		if newest := r.Checkpoints.Newest(); newest != out.Step || out.Step == 0 {
			t.Fatalf("stopped at step %d, the newest checkpoint is of step %d", out.Step, newest)
		}
		for _, p := range r.params {
			if !p.Tensor.Grad().IsZero() {
				t.Fatal("a gradient of the broken step is left")
			}
		}
		cancel()
	}
	b := openToy(t, parts, newToy(t, device.F32, 1), nil)
	b.run(t)
	if diff := cmp.Diff(a.bits(t), b.bits(t)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(lines(t, whole), lines(t, parts)); diff != "" {
		t.Error(diff)
	}
}

// TestResumeBehindStepsWithoutUpdate: the optimizer goes on with its own count, which is behind that of steps.
func TestResumeBehindStepsWithoutUpdate(t *testing.T) {
	settings := func(steps int) func(l *Loop) {
		return func(l *Loop) {
			l.Steps, l.Evaluate = steps, nil
			inner := l.Batches
			l.Batches = func(ctx context.Context, step int) ([]data.Batch, error) {
				if step%3 == 1 {
					return nil, ErrNoUpdate
				}
				return inner(ctx, step)
			}
		}
	}
	whole, parts := t.TempDir(), t.TempDir()
	a := openToy(t, whole, newToy(t, device.F32, 1), settings(7))
	a.run(t)
	openToy(t, parts, newToy(t, device.F32, 1), settings(5)).run(t)
	b := openToy(t, parts, newToy(t, device.F32, 1), settings(7))
	if out := b.run(t); out.Updates != 5 || b.opt.Updates() != 5 {
		t.Errorf("%d updates, the optimizer %d", out.Updates, b.opt.Updates())
	}
	if diff := cmp.Diff(a.bits(t), b.bits(t)); diff != "" {
		t.Error(diff)
	}
}

// otherStates is an optimizer whose state is changed for who reads a checkpoint.
type otherStates struct {
	Optimizer
	change func([]optim.State) []optim.State
}

func (o otherStates) State() []optim.State { return o.change(o.Optimizer.State()) }

// TestResumeRefusesOtherTensors: one of another shape, though of as many numbers, and tensors that the model
// does not have.
func TestResumeRefusesOtherTensors(t *testing.T) {
	dir := t.TempDir()
	r := openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) { l.Steps, l.Evaluate = 1, nil })
	r.run(t)
	for want, change := range map[string]func([]optim.State) []optim.State{
		"tensor embed of shape [16 31]": func(s []optim.State) []optim.State { s[0].Shape = []int{toyWidth, toyVocab}; return s },
		"has 4 tensors, and this model": func(s []optim.State) []optim.State { return s[:len(s)-3] },
	} {
		l := &Loop{Optimizer: otherStates{newToy(t, device.F32, 1).opt, change}, Checkpoints: r.Checkpoints}
		if err := l.Resume(1, func(string) bool { return false }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestGoesOnWithoutRepeating: a run that goes on does not evaluate before a step again, counts its time on,
// and saves nothing that is there already.
func TestGoesOnWithoutRepeating(t *testing.T) {
	dir, evaluations := t.TempDir(), 0
	measured := map[string]float64{"loss": 1}
	open := func(steps int) *toyRun {
		return openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) {
			l.Steps, l.EvalFirst, l.EvalEvery = steps, true, 0
			l.Evaluate = func(context.Context) (map[string]float64, error) {
				evaluations++
				return measured, nil
			}
		})
	}
	if out := open(2).run(t); evaluations != 2 || out.First == nil || out.First.Step != 0 || len(out.First.Metrics) != 1 {
		t.Errorf("%d evaluations, the first is %+v", evaluations, out.First)
	}
	r := open(4)
	r.state.Seconds = 1000
	out := r.run(t)
	if evaluations != 3 || out.First != nil {
		t.Errorf("%d evaluations after the second session, whose first is %+v", evaluations, out.First)
	}
	last := out.Eval.Metrics
	if out.Seconds < 1000 {
		t.Errorf("after 1000 seconds of earlier sessions the run has taken %v", out.Seconds)
	}
	// as after a kill between the last checkpoint and the result: what the metrics have of the last step stands
	if out := open(4).run(t); evaluations != 3 || out.Eval == nil || !maps.Equal(out.Eval.Metrics, last) {
		t.Errorf("%d evaluations after a third session without a step, which ends with %+v", evaluations, out.Eval)
	}
	saved := map[int]int{}
	events, err := readMetrics(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		switch e := e.(type) {
		case CheckpointEvent:
			saved[e.Step]++
		case MessageEvent: // such as that no training loss was there before the first step
			t.Errorf("a message %+v", e)
		}
	}
	if len(measured) != 1 {
		t.Errorf("the evaluation's own map is changed to %v", measured)
	}
	if diff := cmp.Diff(map[int]int{2: 1, 4: 1}, saved); diff != "" {
		t.Error("times that the checkpoint of a step was written:\n", diff)
	}
}

// TestInterruptedEvaluation: the evaluation in which a run was stopped is made when it goes on, and counts
// for early stopping as if nothing had been.
func TestInterruptedEvaluation(t *testing.T) {
	for _, at := range []int{3, 9, 12} { // the best, the one that ends the run with patience, and the last without
		for _, patience := range []int{0, 2} {
			settings := func(l *Loop) {
				l.Stopping.Patience, l.Checkpoints.KeepBest, l.Checkpoints.KeepLast = patience, true, 1
				l.Evaluate = func(ctx context.Context) (map[string]float64, error) {
					return map[string]float64{"loss": float64(l.Step())}, ctx.Err()
				}
			}
			whole, parts := t.TempDir(), t.TempDir()
			want := openToy(t, whole, newToy(t, device.F32, 1), settings).run(t)
			if at > want.Step {
				continue
			}
			ctx, cancel := context.WithCancel(t.Context())
			out, err := openToy(t, parts, newToy(t, device.F32, 1), func(l *Loop) {
				settings(l)
				inner := l.Evaluate
				l.Evaluate = func(ctx context.Context) (map[string]float64, error) {
					if l.Step() == at {
						cancel()
					}
					return inner(ctx)
				}
			}).Run(ctx)
			cancel()
			if err != nil || !out.Interrupted {
				t.Fatalf("step %d, patience %d: %+v, %v", at, patience, out, err)
			}
			b := openToy(t, parts, newToy(t, device.F32, 1), settings)
			got := b.run(t)
			want.Seconds, got.Seconds = 0, 0
			if diff := cmp.Diff(want.State, got.State); diff != "" {
				t.Errorf("step %d, patience %d: states differ:\n%s", at, patience, diff)
			}
			if diff := cmp.Diff(lines(t, whole), lines(t, parts)); diff != "" {
				t.Errorf("step %d, patience %d: metrics differ:\n%s", at, patience, diff)
			}
			if got.StoppedEarly != want.StoppedEarly {
				t.Errorf("step %d, patience %d: %+v, want %+v", at, patience, got, want)
			}
			if _, err := os.Stat(filepath.Join(b.Checkpoints.Path(3), completeFile)); err != nil {
				t.Errorf("step %d, patience %d: the best checkpoint is gone: %v", at, patience, err)
			}
		}
	}
}

// TestInterruptedSamples: what is due after a step and was not done when a run was stopped is done when it
// goes on, and nothing twice: neither the evaluation nor what came before.
func TestInterruptedSamples(t *testing.T) {
	for _, at := range []int{4, 6, 10} { // with an evaluation and without
		var averaged []int // steps, as an average of the weights takes them
		settings := func(stop func(step int) error) func(*Loop) {
			return func(l *Loop) {
				l.Evaluate = func(context.Context) (map[string]float64, error) {
					return map[string]float64{"loss": float64(l.Step())}, nil
				}
				l.EvalEvery = 4
				l.Every = []Every{
					{Steps: 1, Do: func(_ context.Context, step int) ([]Event, error) { averaged = append(averaged, step); return nil, nil }},
					{Steps: 2, Do: func(_ context.Context, step int) ([]Event, error) {
						return []Event{SampleEvent{Step: step, Text: "sample"}}, stop(step)
					}},
				}
			}
		}
		never := func(int) error { return nil }
		whole, parts := t.TempDir(), t.TempDir()
		want, each := openToy(t, whole, newToy(t, device.F32, 1), settings(never)).run(t), slices.Clone(averaged)
		averaged = nil
		ctx, cancel := context.WithCancel(t.Context())
		out, err := openToy(t, parts, newToy(t, device.F32, 1), settings(func(step int) error {
			if step == at {
				cancel()
			}
			return ctx.Err()
		})).Run(ctx)
		cancel()
		if err != nil || !out.Interrupted || out.Step != at {
			t.Fatalf("step %d: %+v, %v", at, out, err)
		}
		fewer := t.TempDir()
		if err := os.CopyFS(fewer, os.DirFS(parts)); err != nil {
			t.Fatal(err)
		}
		stopped := slices.Clone(averaged)
		got := openToy(t, parts, newToy(t, device.F32, 1), settings(never)).run(t)
		want.Seconds, got.Seconds = 0, 0
		if diff := cmp.Diff(want.State, got.State); diff != "" {
			t.Errorf("step %d: states differ:\n%s", at, diff)
		}
		if diff := cmp.Diff(lines(t, whole), lines(t, parts)); diff != "" {
			t.Errorf("step %d: metrics differ:\n%s", at, diff)
		}
		if !slices.Equal(averaged, each) {
			t.Errorf("step %d: done first after the steps %v", at, averaged)
		}
		averaged = stopped
		// no samples are asked for any more
		openToy(t, fewer, newToy(t, device.F32, 1), func(l *Loop) { settings(never)(l); l.Every = l.Every[:1] }).run(t)
		if !slices.Equal(averaged, each) {
			t.Errorf("step %d, without samples: done after the steps %v", at, averaged)
		}
	}
}

// fullDisk is a recorder that fails at a step.
type fullDisk struct {
	Recorder
	step int
}

func (f fullDisk) Append(e Event) error {
	if s, ok := e.(StepEvent); ok && s.Step == f.step {
		return errors.New("no space left")
	}
	return f.Recorder.Append(e)
}

// TestErrorBeforeAnEvaluation: the evaluation of a step is made when the run goes on, too, where an error
// ended it before what is due after the step.
func TestErrorBeforeAnEvaluation(t *testing.T) {
	dir := t.TempDir()
	var made []int
	open := func(full int) *toyRun {
		r := openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) {
			l.Steps, l.EvalEvery = 4, 2
			l.Evaluate = func(context.Context) (map[string]float64, error) {
				made = append(made, l.Step())
				return map[string]float64{"loss": 1}, nil
			}
		})
		r.Record = fullDisk{r.Record, full}
		return r
	}
	if _, err := open(2).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no space left") || len(made) != 0 {
		t.Fatalf("evaluations after the steps %v, error %v", made, err)
	}
	open(0).run(t)
	if !slices.Equal(made, []int{2, 4}) {
		t.Errorf("evaluations after the steps %v", made)
	}
}

// killedEnv names the run folder of a process that is to be killed.
const killedEnv = "HONE_TEST_KILLED_RUN"

// TestKilledRun is the process that TestKill kills; alone it does nothing.
func TestKilledRun(t *testing.T) {
	dir := os.Getenv(killedEnv)
	if dir == "" {
		t.Skip("started by TestKill only")
	}
	r := openToy(t, dir, newToy(t, device.BF16, 1), func(l *Loop) {
		killedSettings(l)
		inner := l.Objective
		l.Objective = func(tape *tensor.Tape, b data.Batch) *tensor.Tensor {
			if l.Step() == 390 {
				_, _ = io.Copy(io.Discard, os.Stdin) // however late the kill comes, the run has not ended before
			}
			return inner(tape, b)
		}
	})
	fmt.Println("started")
	r.run(t)
	fmt.Println("finished")
}

func killedSettings(l *Loop) {
	l.Steps = 400
	l.EvalEvery = 50
	l.Checkpoints.Every, l.Checkpoints.KeepLast, l.Checkpoints.KeepBest = 7, 2, true
}

// TestKill kills a run at random moments, also while it writes checkpoints, until one gets through, and
// compares it with a run that nobody killed.
func TestKill(t *testing.T) {
	whole, parts := t.TempDir(), t.TempDir()
	a := openToy(t, whole, newToy(t, device.BF16, 1), killedSettings)
	begin := time.Now()
	a.run(t)
	took := time.Since(begin)
	killed := 0
	for try := 0; ; try++ {
		if try > 60 {
			t.Fatal("the run never got through")
		}
		wait := time.Duration((0.01 + 0.1*rand.Float64()) * float64(took))
		if killed >= 8 {
			wait = time.Minute
		}
		if killAfter(t, parts, wait, killed < 3) {
			break
		}
		killed++
	}
	b := openToy(t, parts, newToy(t, device.BF16, 1), killedSettings)
	if b.Step() != 400 {
		t.Fatalf("the finished run resumes at step %d", b.Step())
	}
	if diff := cmp.Diff(a.bits(t), b.bits(t)); diff != "" {
		t.Errorf("after %d kills weights or optimizer differ:\n%s", killed, diff)
	}
	if diff := cmp.Diff(lines(t, whole), lines(t, parts)); diff != "" {
		t.Errorf("after %d kills metrics differ:\n%s", killed, diff)
	}
	t.Logf("killed %d times", killed)
}

// killAfter starts the run of TestKilledRun and kills it some time after it has started; it
// reports whether the run came to its end before that, which it cannot where it is held shortly before.
func killAfter(t *testing.T, dir string, wait time.Duration, held bool) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledRun$", "-test.v")
	cmd.Env = append(os.Environ(), killedEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if held {
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	finished, text := false, ""
	var timer *time.Timer
	for scan := bufio.NewScanner(out); scan.Scan(); {
		text += scan.Text() + "\n"
		switch {
		case strings.Contains(scan.Text(), "started"):
			timer = time.AfterFunc(wait, func() { cmd.Process.Kill() })
		case strings.Contains(scan.Text(), "finished"):
			finished = true
		}
	}
	err = cmd.Wait()
	if timer == nil || !timer.Stop() {
		if timer == nil {
			t.Fatalf("the run did not start: %v\n%s", err, text)
		}
		return finished
	}
	if err != nil {
		t.Fatalf("the run failed by itself: %v\n%s", err, text)
	}
	return true
}

// TestDamagedCheckpoint: a checkpoint in one of whose files a single bit has turned is not gone on from; the error names the file
// and what is left, from which the run ends as it would have.
func TestDamagedCheckpoint(t *testing.T) {
	dir := t.TempDir()
	open := func() *toyRun {
		return openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) { l.Steps, l.Checkpoints.Every = 6, 3 })
	}
	a := open()
	a.run(t)
	c, want := a.Checkpoints, a.bits(t)
	damage := func(name string) {
		path := filepath.Join(c.Path(6), name)
		text, err := os.ReadFile(path)
		if err == nil {
			text[len(text)/2] ^= 0x10
			err = os.WriteFile(path, text, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	resume := func(step int) error {
		m := newToy(t, device.F32, 1)
		l := &Loop{Optimizer: m.opt, Tape: tensor.NewTape(m.dev, m.dtype), Checkpoints: c}
		return l.Resume(step, func(string) bool { return true })
	}
	for _, name := range []string{"model.safetensors", optimizerFile, stateFile, recipeFile} {
		damage(name)
		err := resume(6)
		if err == nil || !strings.Contains(err.Error(), "is damaged, its "+name+" is not as it was written;") ||
			!strings.HasSuffix(err.Error(), "remove the folder, and resume=true goes on from step 3") {
			t.Errorf("%s: %v", name, err)
		}
		damage(name) // back
	}
	if err := resume(6); err != nil {
		t.Errorf("a checkpoint that is whole again: %v", err)
	}
	if err := os.RemoveAll(c.Path(6)); err != nil {
		t.Fatal(err)
	}
	b := open()
	if b.Step() != 3 {
		t.Errorf("resumed at step %d, want 3", b.Step())
	}
	b.run(t)
	if diff := cmp.Diff(want, b.bits(t)); diff != "" {
		t.Error(diff)
	}
	damage("model.safetensors")
	if err := os.RemoveAll(c.Path(3)); err != nil {
		t.Fatal(err)
	}
	if err := resume(6); err == nil || !strings.HasSuffix(err.Error(), "or remove the folder, the only one, and begin again") {
		t.Errorf("the only checkpoint: %v", err)
	}
}

// TestCheckpointWithoutChecksums: one of an earlier build, whose marker has sizes alone, is gone on from.
func TestCheckpointWithoutChecksums(t *testing.T) {
	dir := t.TempDir()
	a := openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) { l.Steps = 3 })
	a.run(t)
	path := filepath.Join(a.Checkpoints.Path(3), completeFile)
	var m map[string]any
	if err := readJSON(path, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "sums")
	text, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(path, text, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	if b := openToy(t, dir, newToy(t, device.F32, 1), nil); b.Step() != 3 {
		t.Errorf("resumed at step %d", b.Step())
	}
}

// TestResumeRefuses: another recipe, another model.
func TestResumeRefuses(t *testing.T) {
	dir := t.TempDir()
	openToy(t, dir, newToy(t, device.F32, 1), func(l *Loop) {
		l.Checkpoints.Recipe = map[string]string{"a": "1", "b": "2", "gone": "x"}
	}).run(t)
	l := &Loop{Checkpoints: &Checkpoints{Dir: filepath.Join(dir, "checkpoints"), Recipe: map[string]string{"a": "1", "b": "3", "new": "y"}}}
	l.Checkpoints.Recipe["steps"] = "5"
	err := l.Resume(12, func(key string) bool { return key == "steps" })
	if err == nil || !strings.Contains(err.Error(), "b was 2 and is 3, gone was x and is not set, new was not set and is y;") {
		t.Errorf("another recipe: %v", err)
	}
	for i := range 9 {
		l.Checkpoints.Recipe[fmt.Sprint("z", i)] = "y"
	}
	if err := l.Checkpoints.Match(12, func(string) bool { return false }); err == nil || !strings.Contains(err.Error(), "z3 was not set and is y, and 5 more; go back") {
		t.Errorf("a run of another kind: %v", err)
	}

	m := newToy(t, device.F32, 1)
	l = &Loop{Optimizer: &renamed{m.opt}, Tape: tensor.NewTape(m.dev, m.dtype), Checkpoints: &Checkpoints{Dir: filepath.Join(dir, "checkpoints")}}
	if err := l.Resume(12, func(string) bool { return true }); err == nil || !strings.Contains(err.Error(), "another model") {
		t.Errorf("another model: %v", err)
	}
	if err := l.Resume(5, func(string) bool { return true }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such checkpoint: %v", err)
	}
}
