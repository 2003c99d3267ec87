package recipetest

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"hone/adapter"
	"hone/data"
	"hone/device"
	"hone/device/cpu"
	"hone/nn"
	"hone/optim"
	"hone/plan"
	"hone/recipe"
	"hone/train"
)

// Slow is a machine on which a step of the tests takes a time that can be told from 0.
func Slow(plan.Work) (plan.Rates, error) {
	few := plan.FewRows{GBs: 1, GFLOPS: 1}
	return plan.Rates{F32: 1, ReadGBs: 1, CopyGBs: 1, UpdateGBs: 1, FewF32: few, FewBF16: few, NF4GBs: 1, Int8GBs: 1}, nil
}

// Recipe is one of any stage.
type Recipe interface {
	Run(ctx context.Context, env recipe.Env) (*recipe.Summary, error)
}

// Start runs a recipe on a device of its own, which it must leave empty.
func Start(t testing.TB, c Recipe, threads int) (*recipe.Summary, []train.Event, error) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: threads})
	defer dev.Close()
	var events []train.Event
	sum, err := c.Run(context.Background(), recipe.Env{Device: dev, Events: func(e train.Event) { events = append(events, e) }})
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("the run left %d bytes on the device", left)
	}
	return sum, events, err
}

// Steps are the updates among events.
func Steps(events []train.Event) (list []train.StepEvent) {
	for _, e := range events {
		if s, ok := e.(train.StepEvent); ok {
			list = append(list, s)
		}
	}
	return list
}

// Adapters are the methods beside full by the keys that choose them, and whether the model begins as its base.
var Adapters = []struct {
	Args   string
	AsBase bool
}{
	{"method=qlora", true}, {"method=prefix prompt.num_virtual_tokens=3 sequence_length=48", false}, {"method=lora", true}, {"method=qlora qlora.bits=8", true},
	{"method=prompt prompt.num_virtual_tokens=3 sequence_length=48", false}, {"method=ptuning prompt.num_virtual_tokens=3 sequence_length=48", false},
}

// Frozen runs a recipe and looks, at its end, at the base's weights, which must be what they were when the run began.
func Frozen(t *testing.T, r *recipe.Run) (*recipe.Summary, []train.Event) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 2})
	defer dev.Close()
	var events []train.Event
	var before [][]float32
	weights := func() (all [][]float32) {
		for _, p := range r.Model.Params {
			if p.NeedsGrad() || p.Packing() != device.Unpacked { // what is packed cannot be written
				continue
			}
			v, err := p.Float32s()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, v)
		}
		return all
	}
	r.Env = recipe.Env{Device: dev, Events: func(e train.Event) {
		if _, ok := e.(train.StepEvent); ok && before == nil {
			before = weights()
		}
		events = append(events, e)
		if s, ok := e.(train.StepEvent); ok && s.Step == r.Training.Steps {
			if after := weights(); len(after) == 0 || !slices.EqualFunc(before, after, slices.Equal) {
				t.Errorf("%s: weights of the base have changed", r.Training.Method)
			}
		}
	}}
	sum, err := recipe.Execute(context.Background(), r)
	if err != nil {
		t.Fatalf("%s: %v", r.Training.Method, err)
	}
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%s: the run left %d bytes on the device", r.Training.Method, left)
	}
	return sum, events
}

// Rebased is a copy of an adapter that names another base.
func Rebased(t *testing.T, from, base string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "adapter")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	if err := json.Unmarshal(Read(t, from, adapter.ConfigName), &config); err != nil {
		t.Fatal(err)
	}
	config["base_model_name_or_path"] = base
	text, err := json.Marshal(config)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, adapter.ConfigName), text, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Marked marks the tokens from number first on as supervised.
func Marked(ids []int32, first int) []int32 {
	marks := make([]int32, len(ids))
	for i, id := range ids {
		marks[i] = data.Mark(id, i >= first)
	}
	return marks
}

// Golden is what transformers and torch make of a few updates: a case of testdata/golden/preference_steps.json, by testdata/gen/preference_steps.py.
type Golden struct{ Losses, Norms []float64 }

// Updates are what is compared with a Golden.
type Updates struct {
	Params    []nn.Named
	Objective train.Objective
	Batches   []data.Batch // of every step
}

// Follow makes the updates with the run's device and tape, and compares them.
func (g *Golden) Follow(t *testing.T, name string, r *recipe.Run, u Updates) {
	t.Helper()
	var list []optim.Param
	for _, p := range u.Params {
		list = append(list, optim.Param{Name: p.Name, Tensor: p.Tensor})
	}
	opt := optim.New(r.Env.Device, list, optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxGradNorm: 1})
	defer opt.Free()
	for step, want := range g.Losses {
		total := 0.0
		for i, b := range u.Batches {
			r.Tape.Train(1, step, i)
			l := u.Objective(r.Tape, b)
			v, err := l.Item()
			if err != nil {
				t.Fatal(err)
			}
			total += v
			r.Tape.Backward(l)
			r.Tape.Reset()
		}
		norm, err := opt.Step(1e-3)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(total-want) > 2e-4*max(1, math.Abs(want)) || math.Abs(norm-g.Norms[step]) > 2e-3*g.Norms[step] {
			t.Errorf("%s in %d micro-batches, step %d: loss %.6f and norm %.5f, want %.6f and %.5f", name, len(u.Batches), step+1, total, norm, want, g.Norms[step])
		}
	}
}

// Tiny sets the keys of a recipe of pre-training to one that takes a fraction of a second.
func Tiny(t testing.TB, c any, text, out string, args ...string) {
	t.Helper()
	Set(t, c, append([]string{"data=" + text, "out=" + out, "steps=8", "batch_size=2", "sequence_length=32", "tokenizer.vocab_size=280",
		"model.hidden_size=32", "model.num_hidden_layers=2", "model.num_attention_heads=2", "validation_fraction=0.1",
		"eval.every=4", "eval.max_tokens=2000", "schedule.warmup_steps=2", "dropout=0.1"}, args...)...)
}

// bases are the folders of the models that Base trained, by the keys beside the usual ones: each is trained once in a test program.
var bases = struct {
	sync.Mutex
	byKeys map[string]fstest.MapFS
}{byKeys: map[string]fstest.MapFS{}}

// Base trains, by a recipe of pre-training, the model that other stages start from, and gives each test a copy of its own.
func Base(t testing.TB, c Recipe, args ...string) string {
	t.Helper()
	bases.Lock()
	defer bases.Unlock()
	keys := strings.Join(args, " ")
	if bases.byKeys[keys] == nil {
		Tiny(t, c, TextFolder(t), filepath.Join(t.TempDir(), "base"), append([]string{"steps=60", "optimizer.learning_rate=0.01", "dropout=0", "sequence_length=64"}, args...)...)
		sum, _, err := Start(t, c, 1)
		if err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(sum.ModelDir)
		if err != nil {
			t.Fatal(err)
		}
		bases.byKeys[keys] = fstest.MapFS{}
		for _, f := range files {
			bases.byKeys[keys][f.Name()] = &fstest.MapFile{Data: Read(t, sum.ModelDir, f.Name()), Mode: 0o666}
		}
	}
	dir := filepath.Join(t.TempDir(), "base", "model")
	if err := os.CopyFS(dir, bases.byKeys[keys]); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Countdown is a context that is cancelled after a number of looks at it.
type Countdown struct {
	context.Context
	Left int
}

// Err takes a look.
func (c *Countdown) Err() error {
	if c.Left--; c.Left < 0 {
		return context.Canceled
	}
	return nil
}
