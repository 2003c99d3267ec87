package lm

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/recipetest"
	"hone/tokenizer"
	"hone/train"
)

// TestPretrain looks at all that a run leaves.
func TestPretrain(t *testing.T) {
	text, out := recipetest.TextFolder(t), filepath.Join(t.TempDir(), "deep", "run")
	for _, kind := range []string{"llama", "gpt2"} {
		dir := filepath.Join(out, kind)
		c := tiny(t, text, dir, "steps=200", "eval.every=100", "model.model_type="+kind, "samples.every=100", "optimizer.learning_rate=0.01", "dropout=0")
		sum, events := mustRun(t, c)
		if loss := sum.Validation["loss"]; !(loss < 0.95*sum.Bigram && loss < 0.5*sum.Unigram && sum.Bigram < sum.Unigram) {
			t.Errorf("%s: loss %v, bigram %v, unigram %v", kind, loss, sum.Bigram, sum.Unigram)
		}
		if sum.Steps != 200 || sum.ModelDir != filepath.Join(dir, "model") || sum.Tokens == 0 || sum.TokensPerS == 0 || sum.PeakMemoryBytes == 0 {
			t.Errorf("%s: summary %+v", kind, sum)
		}
		for _, name := range []string{"model/config.json", "model/model.safetensors", "model/tokenizer.json", "model/tokenizer_config.json",
			"model/generation_config.json", "recipe.yaml", "metrics.jsonl", "checkpoints/step-200/complete.json", "checkpoints/step-200/config.json"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
		counts := make(map[string]int)
		for _, e := range events {
			counts[e.Kind()]++
		}
		if counts["step"] != 200 || counts["eval"] != 2 || counts["sample"] != 6 || counts["checkpoint"] != 1 || counts["info"] != 2 {
			t.Errorf("%s: events %v", kind, counts)
		}
		if written := recipetest.Metrics(t, dir); len(written) != len(events) {
			t.Errorf("%s: %d events in the file, %d told", kind, len(written), len(events))
		}
		openBack(t, filepath.Join(dir, "model"), sum)
		openBack(t, filepath.Join(dir, "checkpoints", "step-200"), sum) // a checkpoint is a model folder too
		noLeftovers(t, dir)
	}
}

// openBack loads a model folder as any program would.
func openBack(t *testing.T, dir string, sum *recipe.Summary) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.Open(dir, dev, device.F32)
	if err != nil {
		t.Error(err)
		return
	}
	defer m.Free()
	tok, err := tokenizer.Load(dir)
	if err != nil || tok.VocabSize() != m.Shape().Vocab || tok.VocabSize() != sum.VocabSize {
		t.Errorf("tokenizer of %s: %v", dir, err)
	}
	var config map[string]any
	if err := json.Unmarshal(recipetest.Read(t, dir, "config.json"), &config); err != nil {
		t.Error(err)
	}
	if eos, ok := tok.EOS(); !ok || config["eos_token_id"] != float64(eos) {
		t.Errorf("eos_token_id is %v", config["eos_token_id"])
	}
}

func noLeftovers(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "unfinished") || strings.Contains(path, ".tmp-") || strings.HasSuffix(path, ".old") {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// losses are the training losses in a run's file.
func losses(t *testing.T, dir string) map[int]float64 {
	t.Helper()
	all := make(map[int]float64)
	for _, l := range recipetest.Metrics(t, dir) {
		if l.Event == "step" {
			if _, twice := all[l.Step]; twice {
				t.Errorf("step %d is in the file twice", l.Step)
			}
			all[l.Step] = l.Loss
		}
	}
	return all
}

// TestPretrainResume: 4 + 4 steps equal 8 in every byte of the model, with the defaults' schedule, both dtypes,
// other numbers of threads and recomputed layers.
func TestPretrainResume(t *testing.T) {
	text := recipetest.TextFolder(t)
	for _, dtype := range []string{"dtype=f32", "dtype=bf16"} {
		whole, parts := t.TempDir(), t.TempDir()
		accumulate := "gradient_accumulation_steps=2"
		mustRun(t, tiny(t, text, whole, dtype, accumulate, "resume=true"))
		mustRun(t, tiny(t, text, parts, dtype, accumulate, "steps=4"))
		sum, events := mustRun(t, tiny(t, text, parts, dtype, accumulate, "resume=true", "threads=3", "recompute=layers", "checkpoint.every=3", "eval.every=2"))
		if sum.Steps != 8 {
			t.Errorf("%s: ended at step %d", dtype, sum.Steps)
		}
		if !slices.ContainsFunc(events, func(e train.Event) bool {
			m, ok := e.(train.MessageEvent)
			return ok && strings.Contains(m.Text, "resumed from the checkpoint of step 4")
		}) {
			t.Errorf("%s: nothing says that the run was resumed", dtype)
		}
		for _, name := range []string{"model/model.safetensors", "checkpoints/step-8/optimizer.safetensors", "model/config.json", "model/tokenizer.json"} {
			if string(recipetest.Read(t, whole, name)) != string(recipetest.Read(t, parts, name)) {
				t.Errorf("%s: %s differs", dtype, name)
			}
		}
		if diff := cmp.Diff(losses(t, whole), losses(t, parts)); diff != "" {
			t.Error(dtype, diff)
		}
	}
}

// TestPretrainContinue trains an existing model folder further.
func TestPretrainContinue(t *testing.T) {
	text, first, second := recipetest.TextFolder(t), t.TempDir(), t.TempDir()
	a, _ := mustRun(t, tiny(t, text, first, "steps=40", "optimizer.learning_rate=0.01"))
	c := tiny(t, text, second, "model="+a.ModelDir, "steps=20", "save_dtype=bf16", "shard_size=10KB")
	b, _ := mustRun(t, c)
	if b.Validation["loss"] >= a.Validation["loss"] {
		t.Errorf("loss %v, then %v", a.Validation["loss"], b.Validation["loss"])
	}
	if weights := recipetest.Read(t, second, "model/model.safetensors.index.json"); !strings.Contains(string(weights), "model-00002-of-000") {
		t.Errorf("the weights are not in shards: %s", weights)
	}
	if string(recipetest.Read(t, first, "model/tokenizer.json")) != string(recipetest.Read(t, second, "model/tokenizer.json")) {
		t.Error("the tokenizer changed")
	}
	var config map[string]any
	if err := json.Unmarshal(recipetest.Read(t, second, "model/config.json"), &config); err != nil || config["torch_dtype"] != "bfloat16" && config["dtype"] != "bfloat16" {
		t.Errorf("config %v, error %v", config, err)
	}
}

// TestPretrainRefuses: each is one sentence that names the place, and nothing is lost.
func TestPretrainRefuses(t *testing.T) {
	text, out, early := recipetest.TextFolder(t), t.TempDir(), t.TempDir()
	mustRun(t, tiny(t, text, out))
	before := recipetest.Read(t, out, "model/model.safetensors")
	small := filepath.Join(t.TempDir(), "small.txt")
	if err := os.WriteFile(small, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		c    *Pretrain
		want string
	}{
		{tiny(t, text, out), "already holds a run; go on with it by resume=true"},
		{tiny(t, text, out, "resume=true", "seed=2", "optimizer.beta1=0.5"), "optimizer.beta1 was 0.9 and is 0.5, seed was 1 and is 2;"},
		{tiny(t, text, out, "resume=true", "model.hidden_size=64"), "is of another recipe"},
		{tiny(t, text, out, "resume=true", "steps=1"), "is to end after step 1, but"},
		{tiny(t, small, out, "resume=true", "validation_fraction=0"), "has a tokenizer that was trained on other data"},
		{tiny(t, small, out, "resume=true", "validation_fraction=0", "tokenizer="+filepath.Join(out, tokenizerName)), "contents of data was"},
		{tiny(t, text, small), "which is a file"},
		{tiny(t, text+"/none", t.TempDir()), "none"},
		{tiny(t, text, t.TempDir(), "model.vocab_size=100"), "model.vocab_size is 100 but the tokenizer has"},
		{tiny(t, text, t.TempDir(), "model="+filepath.Join(out, "model"), "sequence_length=64"), "sequence_length is 64 but the model has only 32 positions"},
		{tiny(t, text, t.TempDir(), "tokenizer="+text), "tokenizer"},
		{tiny(t, text, t.TempDir(), "steps=0"), "steps is 0"},
		{tiny(t, text, t.TempDir(), "method=loraa"), `method is "loraa"`},
		{tiny(t, text, t.TempDir(), "method=lora"), "trains beside a finished model"},
		{tiny(t, text, early, "validation_data=none"), "there is no file or folder none"},
	} {
		_, _, err := runTiny(t, e.c)
		if err == nil || !strings.Contains(err.Error(), e.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %q", err, e.want)
		}
	}
	if string(before) != string(recipetest.Read(t, out, "model/model.safetensors")) {
		t.Error("a refused run changed the model")
	}
	if _, err := os.Stat(filepath.Join(early, tokenizerName)); err == nil {
		t.Error("a tokenizer was trained before the name of the held-out text was looked up")
	}
}

// TestPretrainEarlyStopping: the model is that of the best evaluation.
func TestPretrainEarlyStopping(t *testing.T) {
	text, out := recipetest.TextFolder(t), t.TempDir()
	args := []string{"steps=60", "eval.every=5", "early_stopping.patience=1", "early_stopping.min_delta=0.5", "optimizer.learning_rate=0.003", "checkpoint.keep_last=1"}
	sum, _ := mustRun(t, tiny(t, text, out, append(args, "early_stopping.metric=loss")...))
	if !sum.StoppedEarly || sum.BestStep == 0 || sum.BestStep == sum.Steps {
		t.Fatalf("summary %+v", sum)
	}
	best := fmt.Sprintf("checkpoints/step-%d", sum.BestStep)
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	a, err := model.Open(filepath.Join(out, best), dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	b, err := model.Open(filepath.Join(out, "model"), dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Params {
		x, _ := a.Params[i].Float32s()
		y, _ := b.Params[i].Float32s()
		if !slices.Equal(x, y) {
			t.Errorf("%s is not that of step %d", a.Params[i].Name, sum.BestStep)
		}
	}
	// weights that are not those of the best evaluation are no result
	path := filepath.Join(out, best, "model.safetensors")
	weights := recipetest.Read(t, path)
	weights[len(weights)/2] ^= 1
	if err := os.WriteFile(path, weights, 0o666); err != nil {
		t.Fatal(err)
	}
	_, _, err = runTiny(t, tiny(t, text, out, append(args, "resume=true", "early_stopping.metric=loss")...))
	if err == nil || !strings.Contains(err.Error(), "its model.safetensors is not as it was written; put a copy in its place, or take those of the last step by") {
		t.Errorf("damaged weights of the best evaluation: %v", err)
	}
	if again, _ := mustRun(t, tiny(t, text, out, append(args, "resume=true", "early_stopping.metric=")...)); again.Steps < sum.Steps {
		t.Errorf("without them the run ends at step %d", again.Steps)
	}
}

// TestPretrainInterrupted saves, says so, and goes on.
func TestPretrainInterrupted(t *testing.T) {
	text, whole, parts := recipetest.TextFolder(t), t.TempDir(), t.TempDir()
	mustRun(t, tiny(t, text, whole))
	ctx, cancel := context.WithCancel(context.Background())
	dev := cpu.New(cpu.Options{Threads: 2})
	defer dev.Close()
	sum, err := tiny(t, text, parts).Run(ctx, recipe.Env{Device: dev, Events: func(e train.Event) {
		if e.Kind() == "step" && e.At() == 3 {
			cancel()
		}
	}})
	if err != nil || !sum.Interrupted || sum.Steps != 3 || sum.ModelDir != "" {
		t.Fatalf("summary %+v, error %v", sum, err)
	}
	mustRun(t, tiny(t, text, parts, "resume=true"))
	if string(recipetest.Read(t, whole, "model/model.safetensors")) != string(recipetest.Read(t, parts, "model/model.safetensors")) {
		t.Error("the models differ")
	}
	if diff := cmp.Diff(losses(t, whole), losses(t, parts)); diff != "" {
		t.Error(diff)
	}
}

// TestResolvedRecipe: the recipe that a run leaves makes the same run again.
func TestResolvedRecipe(t *testing.T) {
	text, out, again := recipetest.TextFolder(t), t.TempDir(), t.TempDir()
	mustRun(t, tiny(t, text, out, "resume=true"))
	c := DefaultPretrain()
	if err := config.Load(&c, filepath.Join(out, "recipe.yaml"), []string{"out=" + again}); err != nil {
		t.Fatal(err)
	}
	if c.Resume {
		t.Error("the recipe would resume")
	}
	mustRun(t, &c)
	if string(recipetest.Read(t, out, "model/model.safetensors")) != string(recipetest.Read(t, again, "model/model.safetensors")) {
		t.Error("the models differ")
	}
}

// TestBadRecords are skipped with a count where that is asked for.
func TestBadRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.jsonl")
	lines := strings.Repeat(`{"text": "one and two make three, and so on."}`+"\n", 50)
	if err := os.WriteFile(path, []byte(lines+"{broken\n"+strings.ReplaceAll(lines, "one", "six")), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err := runTiny(t, tiny(t, path, t.TempDir()))
	if err == nil || !strings.Contains(err.Error(), path+":51") {
		t.Errorf("error %v, want one that names the line", err)
	}
	_, events := mustRun(t, tiny(t, path, t.TempDir(), "on_bad_record=skip"))
	said := ""
	for _, e := range events {
		if m, ok := e.(train.MessageEvent); ok {
			said += m.Text + "\n"
		}
	}
	if !strings.Contains(said, "skipped 1") {
		t.Errorf("messages:\n%s", said)
	}
}

// tiny is a recipe that takes a fraction of a second.
// TestOtherTextIsEvaluated: a run that has made its steps and goes on with other text held out, or more of it, is evaluated on that; with the same
// the evaluation of before stands.
func TestOtherTextIsEvaluated(t *testing.T) {
	text, other, out := recipetest.TextFolder(t), filepath.Join(t.TempDir(), "other.txt"), filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(other, []byte(strings.Repeat("0123456789 ", 40)), 0o644); err != nil {
		t.Fatal(err)
	}
	loss := func(args ...string) float64 {
		sum, _ := mustRun(t, tiny(t, text, out, append([]string{"steps=2", "validation_data=" + text}, args...)...))
		return sum.Validation["loss"]
	}
	first := loss()
	for _, c := range []struct {
		arg  string
		made int
	}{{"resume=true", 1}, {"validation_data=" + other, 2}, {"eval.max_tokens=32", 3}} {
		again, evaluations := loss("resume=true", c.arg), 0
		for _, l := range recipetest.Metrics(t, out) {
			if l.Event == "eval" {
				evaluations++
			}
		}
		if (again == first) != (c.made == 1) || evaluations != c.made {
			t.Errorf("%s: a loss of %v after %v, and %d evaluations", c.arg, again, first, evaluations)
		}
	}
}

func tiny(t testing.TB, text, out string, args ...string) *Pretrain {
	t.Helper()
	c := DefaultPretrain()
	recipetest.Tiny(t, &c, text, out, args...)
	return &c
}

func runTiny(t testing.TB, c *Pretrain) (*recipe.Summary, []train.Event, error) {
	t.Helper()
	return recipetest.Start(t, c, max(c.Threads, 1))
}

func mustRun(t testing.TB, c *Pretrain) (*recipe.Summary, []train.Event) {
	t.Helper()
	sum, events, err := runTiny(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return sum, events
}
