package preference

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/recipe"
	"hone/recipe/recipetest"
)

func tinyDPO(t testing.TB, modelDir, data, out string, args ...string) *DPO {
	c := DefaultDPO()
	recipetest.Set(t, &c, append([]string{"model=" + modelDir, "data=" + data, "out=" + out, "sequence_length=64", "batch_size=4", "eval.every=20", "validation_fraction=0.2",
		"optimizer.learning_rate=0.001", "schedule.warmup_steps=2", "schedule.name=constant", "lora.r=8"}, args...)...)
	return &c
}

// TestDPO learns from pairs by every loss and both methods; the accuracy on held-out pairs is that of the
// implicit rewards.
func TestDPO(t *testing.T) {
	from := base(t)
	type variant struct{ loss, method, more string }
	for _, c := range recipetest.Few(2, []variant{
		{"sigmoid", "full", "label_smoothing=0"}, {"sigmoid", "lora", "label_smoothing=0.1"}, {"hinge", "full", "beta=0.5"}, {"ipo", "full", "beta=0.5"},
		{"ipo_sum", "lora", "beta=0.5"}, {"robust", "full", "label_smoothing=0.1"}, {"simpo", "full", "beta=2"}, {"orpo", "full", "beta=1"}, {"kto", "full", "beta=0.5"},
		{"kto", "lora", "beta=0.5"},
	}...) {
		form := "pairs"
		if c.loss == "kto" && c.method == "full" {
			form = "verdicts"
		}
		// of nine sums in all, so that none of a prompt that was not learned could be known
		pairs := recipetest.PreferenceFile(t, form)
		sum, events, err := recipetest.Start(t, tinyDPO(t, from, pairs, filepath.Join(t.TempDir(), "run"), "method="+c.method, "loss_type="+c.loss, "steps=80", "eval.every=80", "validation_data="+pairs, c.more), 1)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		first, v := recipetest.Steps(events)[0], sum.Validation
		if c.loss != "kto" && (!(v["rewards/accuracies"] > 0.6) || math.Abs(v["rewards/margins"]-(v["rewards/chosen"]-v["rewards/rejected"])) > 1e-6) {
			t.Errorf("%+v: %v", c, v)
		}
		if c.loss == "kto" && !(v["rewards/chosen"] > v["rewards/rejected"]) {
			t.Errorf("%+v: %v", c, v)
		}
		if c.loss != "simpo" && c.loss != "orpo" && first.Metrics["rewards/chosen"] != 0 {
			t.Errorf("%+v: before the first update the reward is %v", c, first.Metrics)
		}
		_, err = os.Stat(filepath.Join(sum.Out, referenceName))
		if reference := c.loss != "simpo" && c.loss != "orpo"; reference != (err == nil) || err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%+v: the file of the reference: %v", c, err)
		}
	}
}

// TestDPOAtTheStart: the policy is the reference, so the loss is ln 2 and KTO's is ½ times the
// weights, whatever is packed with what.
func TestDPOAtTheStart(t *testing.T) {
	from, pairs := base(t), recipetest.PreferenceFile(t, "pairs")
	for loss, want := range map[string]float64{"sigmoid": math.Ln2, "hinge": 1, "ipo": 25, "ipo_sum": 25, "robust": math.Ln2, "kto": 0.5} {
		all := [][]string{{"method=full"}, {"method=lora"}, {"batch_size=1", "gradient_accumulation_steps=4"}, {"dtype=bf16"}}
		if loss != "sigmoid" && loss != "kto" {
			all = recipetest.Few(0, all[0]) // only the loss itself is another
		}
		for _, args := range recipetest.Few(2, all...) {
			args = append(args, "loss_type="+loss, "steps=1", "validation_fraction=0")
			_, events, err := recipetest.Start(t, tinyDPO(t, from, pairs, filepath.Join(t.TempDir(), "run"), args...), 2)
			if err != nil {
				t.Fatal(err)
			}
			first := recipetest.Steps(events)[0]
			if math.Abs(first.Loss-want) > 2e-7*want || first.Metrics["rewards/margins"] != 0 || first.Metrics["kl"] != 0 {
				t.Errorf("%s %v: the first loss is %v, want %v; %v", loss, args, first.Loss, want, first.Metrics)
			}
		}
	}
}

// TestDPOResume: n + n steps equal 2n bit for bit, although the reference cannot be computed from the weights
// any more; other micro-batches give the same losses.
func TestDPOResume(t *testing.T) {
	from, pairs := base(t), recipetest.PreferenceFile(t, "pairs")
	for _, args := range recipetest.Few(1, [][]string{{"loss_type=kto"}, {"method=full"}, {"method=lora"}}...) {
		with := func(more ...string) []string { return append(append([]string{}, args...), more...) }
		sum, whole, err := recipetest.Start(t, tinyDPO(t, from, pairs, filepath.Join(t.TempDir(), "whole"), with("steps=8")...), 2)
		if err != nil {
			t.Fatal(err)
		}
		half := filepath.Join(t.TempDir(), "half")
		if _, _, err := recipetest.Start(t, tinyDPO(t, from, pairs, half, with("steps=4")...), 1); err != nil {
			t.Fatal(err)
		}
		before := recipetest.Read(t, half, referenceName)
		again, _, err := recipetest.Start(t, tinyDPO(t, from, pairs, half, with("steps=8", "resume=true")...), 1)
		if err != nil {
			t.Fatal(err)
		}
		name := map[bool]string{true: "adapter_model.safetensors", false: "model.safetensors"}[args[0] == "method=lora"]
		if !bytes.Equal(recipetest.Read(t, sum.ModelDir, name), recipetest.Read(t, again.ModelDir, name)) {
			t.Errorf("%v: a run that was resumed gives other weights", args)
		}
		if !bytes.Equal(before, recipetest.Read(t, half, referenceName)) {
			t.Errorf("%v: the reference changed on resume", args)
		}
		fewer := filepath.Join(t.TempDir(), "fewer.jsonl")
		text, err := os.ReadFile(pairs)
		if err == nil {
			err = os.WriteFile(fewer, text[:1+bytes.LastIndexByte(text[:len(text)-1], '\n')], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := recipetest.Start(t, tinyDPO(t, from, fewer, half, with("steps=8", "resume=true")...), 1); err == nil || !strings.Contains(err.Error(), "is of another recipe") {
			t.Errorf("%v: other data: %v", args, err)
		}
		if !bytes.Equal(before, recipetest.Read(t, half, referenceName)) {
			t.Errorf("%v: a run that was refused wrote its reference", args)
		}
		_, parts, err := recipetest.Start(t, tinyDPO(t, from, pairs, filepath.Join(t.TempDir(), "parts"), with("steps=8", "batch_size=2", "gradient_accumulation_steps=2")...), 1)
		if err != nil {
			t.Fatal(err)
		}
		nearLosses(t, whole, parts, 2e-4)
	}
}

func TestDPORefuses(t *testing.T) {
	for arg, want := range map[string]string{"loss_type=dpo": "loss_type is", "beta=0": "beta is 0", "label_smoothing=0.5": "label_smoothing", "z_loss=1": "z_loss", "neftune_noise_alpha=5": "neftune_noise_alpha",
		"loss_type=kto batch_size=1": "batch_size", "loss_type=orpo label_smoothing=0.1": "label_smoothing", "data=": "data is not set"} {
		c := DefaultDPO()
		recipetest.Set(t, &c, append([]string{"model=m", "data=d", "out=o"}, strings.Fields(arg)...)...)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// TestFilesOfMismatchedAnswers stand in the order of what they are of: behind that of the records those of
// the items and then those that are held out.
func TestFilesOfMismatchedAnswers(t *testing.T) {
	from, verdicts := base(t), recipetest.PreferenceFile(t, "verdicts")
	for range 6 { // the order came from a map once
		dir := t.TempDir()
		r := tinyDPO(t, from, verdicts, dir, "loss_type=kto").run(recipe.Env{}.WithDefaults())
		r.Folder = recipe.Folder{Dir: dir}
		s := r.Stage.(*preferring)
		if err := s.OpenData(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		files := s.records.files
		if len(files) != 3 {
			t.Fatalf("%d files", len(files))
		}
		for i, list := range [][]judged{slices.Concat(s.records.items, s.records.held), s.mismatched, s.heldWrong} {
			tokens := 0
			for _, j := range list {
				tokens += j.tokens()
			}
			if tokens == 0 || len(files[i].mapped.Bytes()) != 4*tokens {
				t.Errorf("file %d has %d bytes for %d tokens", i, len(files[i].mapped.Bytes()), tokens)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
