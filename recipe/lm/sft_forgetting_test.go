package lm

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/recipe"
	"hone/recipe/recipetest"
	"hone/tensor"
	"hone/train"
)

func evaluations(events []train.Event) (metrics []map[string]float64) {
	for _, e := range events {
		if e, ok := e.(train.EvalEvent); ok {
			metrics = append(metrics, e.Metrics)
		}
	}
	return metrics
}

// TestForgetting: the meter stands at 0 where nothing is learned, and far above where the model is bent to other text;
// a resumed run goes on with the base's loss although its weights are no longer the base's.
func TestForgetting(t *testing.T) {
	from, examples, text := base(t), recipetest.ExampleFile(t, "completion"), recipetest.TextFolder(t)
	out := filepath.Join(t.TempDir(), "run")
	last := func(out string, args ...string) map[string]float64 {
		_, events, err := tune(t, tinySFT(t, from, examples, out, append([]string{"forgetting.data=" + text}, args...)...))
		if err != nil {
			t.Fatal(err)
		}
		all := evaluations(events)
		return all[len(all)-1]
	}
	if m := last(filepath.Join(t.TempDir(), "still"), "steps=2", "optimizer.learning_rate=1e-12"); math.Abs(m["forgetting"]) > 1e-5 || m["general_loss"] < 0.1 {
		t.Errorf("nothing was learned, and the meter says %v", m)
	}
	first := last(out, "steps=20")
	if !(first["forgetting"] > 0.05) {
		t.Errorf("20 steps at a high rate forget %v", first)
	}
	again := last(out, "steps=22", "resume=true")
	if was, is := first["general_loss"]-first["forgetting"], again["general_loss"]-again["forgetting"]; math.Abs(was-is) > 1e-9 {
		t.Errorf("the base's loss was %v and is %v after resuming", was, is)
	}
}

// TestSelfReplay: without text at hand the base writes some, which a resumed run finds again.
func TestSelfReplay(t *testing.T) {
	from, examples := base(t), recipetest.ExampleFile(t, "completion")
	args := []string{"replay.self=true", "replay.ratio=0.5", "replay.self_tokens=2000"}
	whole, parts := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts")
	var events []train.Event
	for _, c := range []*SFT{
		tinySFT(t, from, examples, whole, append(args, "steps=8")...),
		tinySFT(t, from, examples, parts, append(args, "steps=4")...),
		tinySFT(t, from, examples, parts, append(args, "steps=8", "resume=true")...),
	} {
		var err error
		if _, events, err = tune(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(recipetest.Read(t, whole, "model/model.safetensors"), recipetest.Read(t, parts, "model/model.safetensors")) {
		t.Error("the resumed run differs")
	}
	if n := strings.Count(string(recipetest.Read(t, whole, "replay/self.jsonl")), "\n"); n < selfBatch {
		t.Errorf("%d texts were written", n)
	}
	if m := evaluations(events); m[0]["forgetting"] == 0 {
		t.Errorf("there is no forgetting meter on the base's own text: %v", m)
	}
	begun := filepath.Join(t.TempDir(), "begun") // by another base, and killed before its first checkpoint
	other := []byte(`{"text":"of another base"}` + "\n")
	if err := cmp.Or(os.MkdirAll(filepath.Join(begun, selfName), 0o777), os.WriteFile(filepath.Join(begun, selfName, "self.jsonl"), other, 0o666)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tune(t, tinySFT(t, from, examples, begun, append(args, "steps=1", "resume=true")...)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(recipetest.Read(t, begun, "replay/self.jsonl"), recipetest.Read(t, whole, "replay/self.jsonl")) {
		t.Error("a run without a checkpoint replays what stood in its folder")
	}
	_, _, err := tune(t, tinySFT(t, from, examples, filepath.Join(t.TempDir(), "both"), append(args, "replay.data=x")...))
	if err == nil || !strings.Contains(err.Error(), "leave one out") {
		t.Errorf("replay.data and replay.self: %v", err)
	}
}

// TestNoise: NEFTune's noise changes training and not evaluation, and resumes bit for bit.
func TestNoise(t *testing.T) {
	from, examples := base(t), recipetest.ExampleFile(t, "completion")
	args := []string{"neftune_noise_alpha=5", "eval.every=1"}
	whole, parts := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts")
	var events [2][]train.Event
	for i, c := range []*SFT{
		tinySFT(t, from, examples, whole, append(args, "steps=4", "optimizer.learning_rate=1e-12")...),
		tinySFT(t, from, examples, filepath.Join(t.TempDir(), "plain"), "steps=4", "eval.every=1", "optimizer.learning_rate=1e-12"),
	} {
		var err error
		if _, events[i], err = tune(t, c); err != nil {
			t.Fatal(err)
		}
	}
	noisy, plain := evaluations(events[0]), evaluations(events[1])
	if math.Abs(noisy[0]["loss"]-plain[0]["loss"]) > 1e-6 || math.Abs(noisy[0]["train_loss"]-plain[0]["train_loss"]) < 1e-6 {
		t.Errorf("with noise %v, without %v", noisy[0], plain[0])
	}
	for _, c := range []*SFT{
		tinySFT(t, from, examples, parts, append(args, "steps=2", "optimizer.learning_rate=1e-12")...),
		tinySFT(t, from, examples, parts, append(args, "steps=4", "optimizer.learning_rate=1e-12", "resume=true", "recompute=layers", "threads=2")...),
	} {
		if _, _, err := tune(t, c); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(recipetest.Read(t, whole, "checkpoints/step-4/optimizer.safetensors"), recipetest.Read(t, parts, "checkpoints/step-4/optimizer.safetensors")) {
		t.Error("the resumed run with noise differs")
	}
}

// TestCheckPackingFindsLeaks: the self-check passes on the batch as it is and fails when two examples are one sequence.
func TestCheckPackingFindsLeaks(t *testing.T) {
	c := tinySFT(t, base(t), recipetest.ExampleFile(t, "completion"), filepath.Join(t.TempDir(), "run"), "steps=1")
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s := &tuning{c: c}
	r := &recipe.Run{Stage: s, Training: &c.Training, From: c.Model, Env: recipe.Env{Device: dev}.WithDefaults(), Folder: recipe.Folder{Dir: t.TempDir()}, Tape: tensor.NewTape(dev, device.F32)}
	defer s.Close()
	if err := s.OpenData(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.Model, err = model.Open(c.Model, dev, device.F32); err != nil {
		t.Fatal(err)
	}
	defer r.Model.Free()
	b, changed := neighbours(&s.mixture.Step(0)[0])
	if b == nil {
		t.Fatal("the first batch has no neighbours")
	}
	if err := compare(r, b, changed, b.Offsets); err != nil {
		t.Error(err)
	}
	if err := compare(r, b, changed, []int32{0, int32(len(b.IDs))}); err == nil {
		t.Error("two examples that are one sequence went unseen")
	}
}
