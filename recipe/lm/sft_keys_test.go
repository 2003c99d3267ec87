package lm

import (
	"cmp"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/recipe/config"
	"hone/recipe/recipetest"
	"hone/train"
)

// TestSFTResumeIgnores: keys of what is not in use may change on resume, those that decide the updates are named.
func TestSFTResumeIgnores(t *testing.T) {
	from, examples, out := base(t), recipetest.ExampleFile(t, "completion"), filepath.Join(t.TempDir(), "run")
	run := func(args ...string) error {
		_, _, err := tune(t, tinySFT(t, from, examples, out, append([]string{"method=full", "checkpoint.every=2"}, args...)...))
		return err
	}
	if err := run("steps=2"); err != nil {
		t.Fatal(err)
	}
	err := run("steps=4", "resume=true", "lora.r=2", "lora.dropout=0.5", "qlora.bits=8", "prompt.num_virtual_tokens=3",
		"data_temperature=2", "epochs=3")
	if err != nil {
		t.Errorf("keys of other methods: %v", err)
	}
	for key, arg := range map[string]string{"method was full and is lora": "method=lora", "label_smoothing": "label_smoothing=0.1", "replay.self was false and is true": "replay.self=true",
		"contents of replay.data was not set": "replay.data=" + recipetest.TextFolder(t)} {
		if err := run("steps=6", "resume=true", arg); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// TestSFTResumeKeepsOrder: a run of several sources goes on where they alternate as they did, and is
// refused where they did otherwise.
func TestSFTResumeKeepsOrder(t *testing.T) {
	from, both, out := base(t), recipetest.ExampleFile(t, "completion")+","+recipetest.ExampleFile(t, "messages"), filepath.Join(t.TempDir(), "run")
	run := func(args ...string) error {
		_, _, err := tune(t, tinySFT(t, from, both, out, append([]string{"chat_template=zephyr", "data_weights=1,1", "checkpoint.every=1"}, args...)...))
		return err
	}
	if err := cmp.Or(run("steps=1"), run("steps=2", "resume=true")); err != nil {
		t.Fatal(err)
	}
	const place = "checkpoints/step-2/recipe.json"
	// of the same size, which is checked, too; and as of a build that did not compare contents whole
	other := strings.NewReplacer("even turns", "odd1 turns", comparedKey, strings.Repeat("x", len(comparedKey))).Replace(string(recipetest.Read(t, out, place)))
	if err := os.WriteFile(filepath.Join(out, place), []byte(other), 0o666); err != nil {
		t.Fatal(err)
	}
	recipetest.Unsummed(t, filepath.Join(out, filepath.Dir(place)))
	err := run("steps=3", "resume=true")
	for _, want := range []string{"order of the sources was odd1 turns and is even turns", "contents are compared was not set and is whole (by samples in runs of an earlier hone, which"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a checkpoint of another order and comparison: %v; want %s", err, want)
		}
	}
}

// TestSFTMeasures: what can be watched is what is measured, a slip is told before the first step, and the
// summary speaks of the weights that are kept.
func TestSFTMeasures(t *testing.T) {
	from := base(t)
	both := recipetest.ExampleFile(t, "completion") + "," + recipetest.ExampleFile(t, "messages")
	args := []string{"chat_template=zephyr", "data_weights=1,1", "replay.data=" + recipetest.TextFolder(t), "steps=30", "eval.every=3"}
	out := filepath.Join(t.TempDir(), "run")
	_, events, err := tune(t, tinySFT(t, from, both, out, append(args, "early_stopping.metric=los")...))
	want := `early_stopping.metric is "los", but the evaluation has only: forgetting, general_loss, loss, loss/completion, loss/messages, perplexity, train_loss`
	if err == nil || !strings.Contains(err.Error(), want) || len(events) > 0 {
		t.Errorf("a metric that is none: %v after %d events", err, len(events))
	}
	sum, events, err := tune(t, tinySFT(t, from, both, out, append(args, "early_stopping.metric=train_loss", "early_stopping.mode=max", "early_stopping.patience=2")...))
	if err != nil {
		t.Fatal(err)
	}
	best, last := measuredAt(events, sum.BestStep), measuredAt(events, sum.Steps)
	names := strings.Join(slices.Sorted(maps.Keys(best)), ", ")
	if !strings.HasSuffix(want, ": "+names) {
		t.Errorf("the evaluation has %s", names)
	}
	if !sum.StoppedEarly || sum.BestStep == sum.Steps || sum.ValidationStep != sum.BestStep || !maps.Equal(sum.Validation, best) || !maps.Equal(sum.Last, last) {
		t.Errorf("summary %+v; at the best step %v, at the last %v", sum, best, last)
	}
	for _, v := range best {
		if math.IsNaN(v) {
			t.Errorf("at the best step: %v", best)
		}
	}
}

// measuredAt are the metrics of a step.
func measuredAt(events []train.Event, step int) map[string]float64 {
	for _, e := range events {
		if e, ok := e.(train.EvalEvent); ok && e.Step == step {
			return e.Metrics
		}
	}
	return nil
}

// TestSFTSequenceLength: without the key a sequence is as long as the model allows.
func TestSFTSequenceLength(t *testing.T) {
	from, examples := base(t), recipetest.ExampleFile(t, "completion")
	for method, want := range map[string]int{"full": 64, "prompt": 44} {
		c := DefaultSFT()
		if err := config.Override(&c, []string{"model=" + from, "data=" + examples, "out=" + t.TempDir(), "method=" + method}); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil || c.SequenceLength != want {
			t.Errorf("%s: sequences of %d, want %d; %v", method, c.SequenceLength, want, err)
		}
	}
	c := DefaultSFT()
	if c.Longest(t.TempDir()) != 1024 {
		t.Error("a folder without a model says how long sequences are")
	}
}
