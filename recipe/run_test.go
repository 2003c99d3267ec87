package recipe

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/plan"
	"hone/recipe/config"
	"hone/train"
)

// TestFolderIsOpened: a file is none, one with a run is gone on with and not begun anew, what is made before
// a run is no run.
func TestFolderIsOpened(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	open := func(f Folder, resume bool) error {
		release, err := f.open(resume)
		if err == nil {
			release()
		}
		return err
	}
	if err := open(Folder{file}, true); err == nil || !strings.Contains(err.Error(), "which is a file; name a folder") {
		t.Errorf("a file: %v", err)
	}
	if err := open(Folder{filepath.Join(file, "below")}, false); err == nil || !strings.Contains(err.Error(), "make the folder of the run") || !strings.HasSuffix(err.Error(), "; choose another out") {
		t.Errorf("below a file: %v", err)
	}
	f := Folder{filepath.Join(dir, "runs", "new")}
	if err := open(f, false); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Path("tokenizer.json"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := open(f, false); err != nil {
		t.Errorf("with a tokenizer alone: %v", err)
	}
	for _, name := range []string{config.FileName, metricsName, checkpointsName, ModelName, AdapterName} {
		if err := os.WriteFile(f.Path(name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := open(f, false); err == nil || !strings.Contains(err.Error(), "already holds a run; go on with it by resume=true") {
			t.Errorf("with %s: %v", name, err)
		}
		if err := open(f, true); err != nil {
			t.Errorf("going on with %s: %v", name, err)
		}
		if err := os.Remove(f.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// recorded keeps events.
type recorded []train.Event

func (r *recorded) Append(e train.Event) error { *r = append(*r, e); return nil }

func (r *recorded) Sync() error { return nil }

// TestStepClock passes all on; its median is of the steps but the first.
func TestStepClock(t *testing.T) {
	for _, c := range []struct {
		took []float64
		want float64
	}{{nil, 0}, {[]float64{9}, 9}, {[]float64{9, 1}, 1}, {[]float64{9, 3, 1, 2}, 2}, {[]float64{9, 4, 1, 3, 2}, 3}} {
		var kept recorded
		clock := stepClock{Recorder: &kept}
		for i, s := range c.took {
			if err := errors.Join(clock.Append(train.StepEvent{Step: i, StepTime: s}), clock.Append(train.MessageEvent{Step: i})); err != nil {
				t.Fatal(err)
			}
		}
		if got := clock.median(); got != c.want || len(kept) != 2*len(c.took) {
			t.Errorf("steps of %v: median %v of %d events, want %v", c.took, got, len(kept), c.want)
		}
		if again := clock.median(); again != c.want {
			t.Errorf("asked again it is %v", again)
		}
	}
}

// TestStepClockIsBounded: of a long run it keeps evenly chosen steps, the first among them, which does not count.
func TestStepClockIsBounded(t *testing.T) {
	clock := stepClock{}
	const steps = 100_000
	for i := range steps {
		clock.note(float64(i))
		if len(clock.took) >= mostTimes {
			t.Fatalf("%d times are kept of %d steps", len(clock.took), i+1)
		}
	}
	for i, took := range clock.took {
		if took != float64(i*clock.apart) {
			t.Fatalf("time %d is that of step %v, %d apart", i, took, clock.apart)
		}
	}
	if last := float64((len(clock.took)-1)*clock.apart + clock.apart); last < steps {
		t.Errorf("steps behind %v are not among them", last)
	}
	if got := clock.median(); math.Abs(got-steps/2) > 16 {
		t.Errorf("median %v", got)
	}
}

// TestEnvIsHarmless: what a caller leaves out can be called, what is given stays.
func TestEnvIsHarmless(t *testing.T) {
	e := Env{}.WithDefaults()
	e.Events(train.MessageEvent{})
	e.Progress("read", 1, 0)
	e.Log.Info("nobody reads this")
	if e.Begun.IsZero() {
		t.Error("it never began")
	}
	called := 0
	e = Env{Begun: e.Begun.Add(-1), Events: func(train.Event) { called++ }, Progress: func(string, int64, int64) { called++ }}
	again := e.WithDefaults()
	again.Events(nil)
	again.Progress("", 0, 0)
	if called != 2 || again.Begun != e.Begun {
		t.Errorf("%d calls, begun %v", called, again.Begun)
	}
}

// TestPlanIsPrinted with the rows that are known and no others.
func TestPlanIsPrinted(t *testing.T) {
	for text, p := range map[string]Planned{
		"steps|3|2M tokens":                                {Steps: 3, Tokens: 2e6},
		"KV cache|1.0 MiB|while":                           {KVCache: 1 << 20},
		"time of a step|2 s|time|10s  without evaluations": {StepSeconds: 2, Seconds: 10},
		"time of answers|1.5 s  to write":                  {StepSeconds: 2, RolloutSeconds: 1.5},
	} {
		var b bytes.Buffer
		p.Print(&b)
		for _, want := range strings.Split(text, "|") {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%+v has no %q:\n%s", p, want, b.String())
			}
		}
		for what, known := range map[string]bool{"KV cache": p.KVCache > 0, "time of answers": p.RolloutSeconds > 0, "time of a step": p.StepSeconds > 0} {
			if strings.Contains(b.String(), what) != known {
				t.Errorf("%s is there, or is not:\n%s", what, b.String())
			}
		}
	}
}

// TestPlannedTokens are those of the steps, of which rows may be a share.
func TestPlannedTokens(t *testing.T) {
	c := sound()
	c.BatchSize, c.SequenceLength, c.GradientAccumulationSteps = 4, 16, 2
	p, err := c.Planned("sft", plan.Memory{}, 10, 0.5, nil)
	if err != nil || p.Stage != "sft" || p.Steps != 10 || p.Tokens != 640 || p.StepSeconds != 0 || p.Seconds != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	clock := func(plan.Work) (plan.Rates, error) {
		return plan.Rates{F32: 1, BF16: 1, ReadGBs: 1, CopyGBs: 2, UpdateGBs: 1, CallUS: 1}, nil
	}
	if p, err = c.Planned("sft", plan.Memory{Work: plan.Work{Moved: 4e9}}, 10, 1, clock); err != nil || !(p.StepSeconds > 1.9 && p.StepSeconds < 2.2) || p.Seconds != 10*p.StepSeconds {
		t.Errorf("at 2 GB/s 4 GB take %+v, %v", p, err)
	}
	full, err := c.Full()
	if err != nil || full.Rows != 1 || full.Largest.Rows() != 64 || full.Largest.Tokens != 64 || len(full.Largest.Offsets) != 5 || full.Largest.Positions[17] != 1 {
		t.Errorf("%+v, %v", full, err)
	}
}
