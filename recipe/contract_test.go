package recipe

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"hone/data"
	"hone/device/cpu"
	"hone/plan"
	"hone/tokenizer"
	"hone/train"
)

// scripted is a stage that has all that a stage may have, notes what it is asked for, and fails or
// stops the run where it is told to.
type scripted struct {
	calls   []string
	fails   string          // the method that returns errScripted
	full    bool            // the disk, when Beside the result fails
	losses  map[int]float64 // of evaluations by their step
	at      func(step int)  // called before each step
	data    string          // what the data is, to be the same for a resume
	metrics []string        // that the stage says it measures
	eos     string          // the tokenizer's end of text; "": <eos>
	inner   int             // width of the feed-forward layer; 0: 12
	run     *Run
}

var errScripted = errors.New("scripted")

func (s *scripted) note(name string) error {
	s.calls = append(s.calls, name)
	if s.fails == name {
		return errScripted
	}
	return nil
}

func (s *scripted) OpenData(ctx context.Context, r *Run) (err error) {
	s.run = r
	docs := func(yield func([]byte, error) bool) { yield([]byte("abc"), nil) }
	eos := cmp.Or(s.eos, "<eos>")
	if r.Tokenizer, err = tokenizer.Train(ctx, docs, tokenizer.TrainConfig{VocabSize: 257, SpecialTokens: []string{eos}, EOS: eos, Pattern: tokenizer.PatternGPT2, Workers: 1}); err != nil {
		return err
	}
	return s.note("OpenData")
}

func (s *scripted) Config(*Run) ([]byte, error) {
	return fmt.Appendf(nil, `{"model_type":"llama","vocab_size":260,"hidden_size":8,"intermediate_size":%d,"num_hidden_layers":1,"num_attention_heads":2,"max_position_embeddings":16}`,
		cmp.Or(s.inner, 12)), s.note("Config")
}

func (s *scripted) SetLoop(r *Run) error {
	r.Loop.Batches = func(_ context.Context, step int) ([]data.Batch, error) {
		if s.at != nil {
			s.at(step)
		}
		marks := make([]int32, 8)
		for i := range marks {
			marks[i] = data.Mark(int32((7*step+3*i)%256), i > 0)
		}
		b := data.Batch{Tokens: len(marks) - 1}
		b.AppendMarked(marks)
		return []data.Batch{b}, nil
	}
	r.Loop.Evaluate = func(context.Context) (map[string]float64, error) {
		return map[string]float64{"loss": s.losses[r.Loop.Step()], "own": float64(r.Loop.Step())}, s.note("evaluate")
	}
	return errors.Join(r.TrainNextToken(), s.note("SetLoop"))
}

func (s *scripted) Identity() map[string]string {
	_ = s.note("Identity")
	return map[string]string{"contents of data": s.data}
}

func (s *scripted) Info() (map[string]any, string) {
	_ = s.note("Info")
	return map[string]any{"seen": 3}, "the data is " + s.data
}

func (s *scripted) Example(*Run) []train.Part {
	_ = s.note("Example")
	return []train.Part{{Text: "x", Supervised: true}}
}

func (s *scripted) Prompts(r *Run) ([][]int32, []string) {
	_ = s.note("Prompts")
	return [][]int32{r.Tokenizer.Encode(nil, []byte("abc"))}, []string{"abc"}
}

func (s *scripted) Beside(dir string) error {
	if s.fails == "Beside the result" && !strings.Contains(dir, checkpointsName) {
		if s.full {
			return &os.PathError{Op: "write", Path: dir, Err: syscall.ENOSPC}
		}
		return errScripted
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "beside"), nil, 0o666), s.note("Beside"))
}

func (s *scripted) Summarise(sum *Summary) {
	_ = s.note("Summarise")
	sum.BytesPerToken = 7
}

func (s *scripted) Close() error { return s.note("Close") }

func (s *scripted) BeforeTraining(context.Context, *Run) error { return s.note("BeforeTraining") }

func (s *scripted) Finish(*Run) error { return s.note("Finish") }

func (s *scripted) Measures() []string { return s.metrics }

func (s *scripted) Keep(dir string) error {
	return errors.Join(os.WriteFile(filepath.Join(dir, "kept"), []byte(fmt.Sprint(s.run.Loop.Step())), 0o666), s.note("Keep"))
}

func (s *scripted) Restore(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "kept"))
	s.calls = append(s.calls, "Restore "+string(text))
	return errors.Join(err, s.note("Restore"))
}

func (s *scripted) Ignores(key string) bool { return key == "z_loss" }

// execute runs a stage with four steps, an evaluation and a checkpoint after every second one.
func execute(t *testing.T, out string, s *scripted, change func(*Training)) (*Summary, []train.Event, error) {
	t.Helper()
	c := sound()
	c.Out, c.Steps, c.Threads, c.SequenceLength, c.BatchSize = out, 4, 1, 8, 1
	c.Eval.Every, c.Checkpoint.Every, c.Schedule.WarmupSteps = 2, 2, 0
	if change != nil {
		change(&c)
	}
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	var events []train.Event
	sum, err := Execute(t.Context(), &Run{Stage: s, Training: &c, Recipe: &c, NextToken: true, Env: Env{Device: dev, Events: func(e train.Event) { events = append(events, e) }}})
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%d bytes are left on the device", left)
	}
	return sum, events, err
}

// first are the calls without what was called before.
func (s *scripted) first() (names []string) {
	for _, name := range s.calls {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// TestStageIsAskedInOrder: what a stage is asked for, in which order, and where what it gives is found.
func TestStageIsAskedInOrder(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	s := &scripted{data: "d"}
	sum, events, err := execute(t, out, s, func(c *Training) { c.Samples.Every, c.Samples.MaxTokens = 3, 2 })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"OpenData", "Config", "SetLoop", "Identity", "BeforeTraining", "Info", "Example", "evaluate", "Beside", "Keep", "Prompts", "Summarise", "Finish", "Close"}
	if got := s.first(); !slices.Equal(got, want) {
		t.Errorf("the stage is asked for %q, want %q", got, want)
	}
	if n := len(s.calls) - 1; s.calls[n] != "Close" || slices.Index(s.calls, "Close") != n {
		t.Errorf("it is closed before the end, or twice: %q", s.calls)
	}
	for _, name := range []string{"recipe.yaml", "metrics.jsonl", "checkpoints/step-2/beside", "checkpoints/step-4/kept", "checkpoints/step-4/model.safetensors", "model/beside", "model/config.json", "model/tokenizer.json", "model/model.safetensors"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "model", "kept")); err == nil {
		t.Error("the state between steps is in the result")
	}
	if sum.ModelDir != filepath.Join(out, "model") || sum.Steps != 4 || sum.Tokens != 28 || sum.BytesPerToken != 7 || sum.VocabSize != 257 || sum.Interrupted || sum.StoppedEarly || sum.ValidationStep != 4 || sum.Last != nil ||
		sum.Parameters != sum.Trainable || sum.StepSeconds <= 0 || sum.PlannedMemoryBytes <= 0 || sum.TokensPerS != 28/sum.Seconds || !(sum.SetupSeconds > 0 && sum.SetupSeconds < 1000) {
		t.Errorf("the summary is %+v", sum)
	}
	var kinds []string
	for _, e := range events {
		if kinds = append(kinds, e.Kind()); e.Kind() == "info" && slices.Index(kinds, "info") == len(kinds)-1 {
			v := e.(train.InfoEvent).Values
			if v["seen"] != 3 || v["steps"] != 4 || v["vocab_size"] != 260 || v["tokenizer_tokens"] != 257 || v["parameters"] != sum.Parameters || v["dtype"] != "f32" ||
				v["setup_seconds"] != sum.SetupSeconds || v["planned_memory"] == nil {
				t.Errorf("the run says of itself %v", v)
			}
		}
	}
	if got, want := strings.Join(kinds, " "), "message example info step step eval checkpoint step sample step eval checkpoint info table"; got != want {
		t.Errorf("the events are %s, want %s", got, want)
	}
}

// TestStageThatFails: whatever fails ends the run with that error, and the stage is closed, once.
func TestStageThatFails(t *testing.T) {
	for _, name := range []string{"OpenData", "Config", "SetLoop", "BeforeTraining", "evaluate", "Beside", "Beside the result", "Keep", "Finish"} {
		s := &scripted{data: "d", fails: name}
		sum, _, err := execute(t, filepath.Join(t.TempDir(), "run"), s, nil)
		if !errors.Is(err, errScripted) || s.calls[len(s.calls)-1] != "Close" || slices.Index(s.calls, "Close") != len(s.calls)-1 {
			t.Errorf("%s fails: %+v, %v, after %q", name, sum, err, s.calls)
		}
	}
}

// TestResultOnAFullDisk: a run whose result has no room is not lost, as was said, but goes on from its last checkpoint.
func TestResultOnAFullDisk(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	_, _, err := execute(t, out, &scripted{data: "d", fails: "Beside the result", full: true}, nil)
	want := "save " + filepath.Join(out, "model") + ": " + syscall.ENOSPC.Error() + "; the checkpoint of step 4 is kept, go on from it with resume=true after freeing some space"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	sum, _, err := execute(t, out, &scripted{data: "d"}, func(c *Training) { c.Resume = true })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(sum.ModelDir, "model.safetensors")); err != nil {
		t.Error(err)
	}
}

// TestRunGoesOn: a run that is interrupted and one that is made longer have, in the end, the weights of one
// that never paused, to the bit.
func TestRunGoesOn(t *testing.T) {
	weights := func(out string) []byte {
		text, err := os.ReadFile(filepath.Join(out, "model", "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	whole := filepath.Join(t.TempDir(), "whole")
	if _, _, err := execute(t, whole, &scripted{data: "d"}, func(c *Training) { c.Steps = 7 }); err != nil {
		t.Fatal(err)
	}

	longer := filepath.Join(t.TempDir(), "longer")
	if _, _, err := execute(t, longer, &scripted{data: "d"}, nil); err != nil {
		t.Fatal(err)
	}
	s := &scripted{data: "d"}
	sum, events, err := execute(t, longer, s, func(c *Training) { c.Steps, c.Resume, c.ZLoss = 7, true, 0 })
	if err != nil || sum.Steps != 7 || sum.Tokens != 49 || !slices.Contains(s.calls, "Restore 4") || slices.Index(s.calls, "Restore") < slices.Index(s.calls, "BeforeTraining") {
		t.Fatalf("%+v, %v; %q", sum, err, s.calls)
	}
	if m, ok := events[0].(train.MessageEvent); !ok || m.Text != "resumed from the checkpoint of step 4" || m.Step != 4 {
		t.Errorf("the run begins with %+v", events[0])
	}
	if text, err := os.ReadFile(filepath.Join(longer, "recipe.yaml")); err != nil || strings.Contains(string(text), "resume: true") {
		t.Errorf("the recipe to start another run from goes on with this one: %v\n%s", err, text)
	}
	if !bytes.Equal(weights(longer), weights(whole)) {
		t.Error("4 and 3 steps give other weights than 7")
	}

	paused := filepath.Join(t.TempDir(), "paused")
	ctx, cancel := context.WithCancel(t.Context())
	c := sound()
	c.Out, c.Steps, c.Threads, c.SequenceLength, c.BatchSize, c.Eval.Every, c.Checkpoint.Every, c.Schedule.WarmupSteps = paused, 7, 1, 8, 1, 2, 2, 0
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	s = &scripted{data: "d", at: func(step int) {
		if step == 3 {
			cancel() // Ctrl-C while the fourth step is made
		}
	}}
	told := ""
	tell := func(e train.Event) {
		if m, ok := e.(train.MessageEvent); ok {
			told = m.Text
		}
	}
	sum, err = Execute(ctx, &Run{Stage: s, Training: &c, Recipe: &c, NextToken: true, Env: Env{Device: dev, Events: tell}})
	if told != "interrupted after step 3 and saved; go on with resume=true" {
		t.Errorf("the last word is %q", told)
	}
	if err != nil || !sum.Interrupted || sum.Steps != 3 || sum.ModelDir != "" || slices.Contains(s.calls, "Finish") {
		t.Fatalf("interrupted: %+v, %v; %q", sum, err, s.calls)
	}
	if _, err := os.Stat(filepath.Join(paused, "model")); err == nil {
		t.Error("an interrupted run has a result")
	}
	if sum, _, err = execute(t, paused, &scripted{data: "d"}, func(c *Training) { c.Steps, c.Resume = 7, true }); err != nil || sum.Steps != 7 || sum.Interrupted {
		t.Fatalf("gone on: %+v, %v", sum, err)
	}
	if !bytes.Equal(weights(paused), weights(whole)) {
		t.Error("a run that was interrupted gives other weights")
	}
}

// TestWhatAResumeRefuses: other data, other keys that change updates, and fewer steps than were made;
// keys that change none are free.
func TestWhatAResumeRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	if _, _, err := execute(t, out, &scripted{data: "d"}, nil); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]struct {
		stage  scripted
		change func(*Training)
	}{
		"contents of data was d and is other":          {scripted{data: "other"}, func(*Training) {}},
		"tokenizer was ":                               {scripted{data: "d", eos: "<end>"}, func(*Training) {}},
		"config.json of the model was ":                {scripted{data: "d", inner: 13}, func(*Training) {}},
		"seed was 1 and is 2":                          {scripted{data: "d"}, func(c *Training) { c.Seed = 2 }},
		"optimizer.learning_rate was 0.001 and is 0.5": {scripted{data: "d"}, func(c *Training) { c.Optimizer.LearningRate = 0.5 }},
		"the run is to end after step 3, but " + out + " has made 4 already; go on to at least that many": {scripted{data: "d"}, func(c *Training) { c.Steps = 3 }},
	} {
		_, _, err := execute(t, out, &c.stage, func(t *Training) { t.Resume = true; c.change(t) })
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// the stage ignores z_loss, and a run with all weights lora.r
	sum, _, err := execute(t, out, &scripted{data: "d"}, func(c *Training) {
		c.Resume, c.ZLoss, c.LoRA.R, c.Eval.Every, c.Checkpoint.KeepLast = true, 0.1, 3, 1, 1
	})
	if err != nil || sum.Steps != 4 || sum.StepSeconds != 0 || sum.PlannedStepSeconds != 0 {
		t.Errorf("keys that change no update: %+v, %v", sum, err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	_, events, err := execute(t, empty, &scripted{data: "d"}, func(c *Training) { c.Resume = true })
	if err != nil || events[0].(train.MessageEvent).Text != "there is no checkpoint to resume in "+empty+": starting from the beginning" {
		t.Errorf("nothing to resume: %v, %v", err, events)
	}
}

// TestTheBestIsKept: with early stopping the result is the best evaluation's weights, and every number of the
// summary is of them or says that it is not.
func TestTheBestIsKept(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	watch := func(c *Training) {
		c.Steps, c.Eval.Every, c.Checkpoint.Every, c.Checkpoint.KeepLast = 9, 1, 0, 1
		c.EarlyStopping = EarlyStopping{Metric: "loss", Mode: "min", Patience: 3}
	}
	s := &scripted{data: "d", metrics: []string{"loss", "own"}, losses: map[int]float64{1: 5, 2: 3, 3: 4, 4: 4, 5: 4, 6: 1}}
	sum, events, err := execute(t, out, s, watch)
	if err != nil || !sum.StoppedEarly || sum.Steps != 5 || sum.BestStep != 2 || sum.ValidationStep != 2 || sum.Validation["loss"] != 3 || sum.Validation["own"] != 2 || sum.Last["loss"] != 4 || sum.Last["own"] != 5 {
		t.Fatalf("%+v, %v", sum, err)
	}
	best, err := os.ReadFile(filepath.Join(out, "checkpoints", "step-2", "model.safetensors"))
	result, err2 := os.ReadFile(filepath.Join(out, "model", "model.safetensors"))
	if errors.Join(err, err2) != nil || !bytes.Equal(best[len(best)-1000:], result[len(result)-1000:]) {
		t.Errorf("the result is not that of step 2: %v", errors.Join(err, err2))
	}
	kept := -1
	for _, e := range events {
		if info, ok := e.(train.InfoEvent); ok && info.Values["kept_step"] != nil {
			kept = info.Values["kept_step"].(int)
		}
	}
	if kept != 2 {
		t.Errorf("the run says that step %d is kept", kept)
	}
	if why := "stopped after step 5 of 9: early_stopping: loss is not better than at step 2 in 3 evaluations"; !slices.ContainsFunc(events, func(e train.Event) bool {
		m, ok := e.(train.MessageEvent)
		return ok && m.Text == why
	}) {
		t.Errorf("the run does not say %q", why)
	}
	_, events, err = execute(t, filepath.Join(t.TempDir(), "run"), s, func(c *Training) { watch(c); c.EarlyStopping.Metric = "los" })
	if len(events) != 0 {
		t.Errorf("before a metric that there is not is refused, the run says %v", events)
	}
	if err == nil || !strings.Contains(err.Error(), `early_stopping.metric is "los", but the evaluation has only: loss, own, train_loss`) {
		t.Errorf("a metric that there is not: %v", err)
	}
}

// TestPlansByHand: the averages that a rehearsal takes, the cache of what is written, and what runs are
// like where no key says otherwise.
func TestPlansByHand(t *testing.T) {
	d := dealt{}
	steps := 0
	r := &Run{Training: &Training{Steps: 450}, Loop: &train.Loop{Batches: func(_ context.Context, step int) ([]data.Batch, error) {
		steps++
		b := data.Batch{IDs: make([]int32, 1+step%7)}
		return []data.Batch{b, b}, nil
	}}}
	if err := d.look(t.Context(), r, true); err != nil || steps != looked || d.steps != looked || d.most != 14 || d.mean() != float64(d.rows)/looked {
		t.Errorf("%+v after %d steps, %v", d, steps, err)
	}
	d, steps = dealt{}, 0
	if err := d.look(t.Context(), r, false); err != nil || steps != 1 || d.mean() != 2 {
		t.Errorf("where steps are not alike %+v after %d, %v", d, steps, err)
	}
	d, steps, r.Training.Steps = dealt{}, 0, 3
	if err := d.look(t.Context(), r, true); err != nil || steps != 3 {
		t.Errorf("of 3 steps %d are looked at, %v", steps, err)
	}
	dev := plan.NewDevice()
	dev.Fill(dev.Alloc(10, 0), 1)
	work, err := workOf(dev, func() error { dev.Fill(dev.Alloc(100, 0), 1); return errScripted })
	if work.Calls != 1 || work.Moved != 400 || !errors.Is(err, errScripted) {
		t.Errorf("counted %+v, %v", work, err)
	}
	tuning := DefaultTuning()
	if tuning.Steps != 0 || tuning.SequenceLength != 0 || tuning.Optimizer.LearningRate != 0 || tuning.Optimizer.Beta2 != 0.999 || tuning.Optimizer.WeightDecay != 0 || tuning.Schedule.Name != "linear" || tuning.Eval.Every != 50 {
		t.Errorf("learning from preferences begins with %+v", tuning)
	}
	for keys, want := range map[string]bool{"full": true, "lora": false, "qlora": false, "prefix": false, "lora modules": true, "lora bias": true, "qlora bias": true, "prefix bias": false} {
		c := sound()
		method, more, _ := strings.Cut(keys, " ")
		switch c.Method = method; more {
		case "modules":
			c.LoRA.ModulesToSave = []string{"lm_head"}
		case "bias":
			c.LoRA.Bias = "all"
		}
		if got := c.TrainsBase(); got != want {
			t.Errorf("%s trains the base: %v", keys, got)
		}
	}
}
