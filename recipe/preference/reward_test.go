package preference

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/chat"
	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/nn"
	"hone/recipe"
	"hone/recipe/example"
	"hone/recipe/judge"
	"hone/recipe/lm"
	"hone/recipe/recipetest"
	"hone/tensor"
	"hone/train"
)

func TestReward(t *testing.T) {
	from := base(t)
	for _, form := range recipetest.Few(1, "pairs", "messages") {
		for _, method := range recipetest.Few(1, "full", "lora") {
			out := filepath.Join(t.TempDir(), "run")
			pairs := recipetest.PreferenceFile(t, form)
			// There are nine sums in all, so that none of a prompt that was not learned could be known.
			// At a constant rate what is learned goes up and down with rounding.
			args := []string{"method=" + method, "steps=200", "schedule.name=linear", "eval.every=200", "validation_data=" + pairs}
			if method == "lora" {
				args = append(args, "optimizer.learning_rate=0.002", "lora.r=8", "steps=300")
			}
			if form == "messages" {
				args = append(args, "chat_template=zephyr")
			}
			sum, events, err := recipetest.Start(t, tinyReward(t, from, pairs, out, args...), 1)
			if err != nil {
				t.Fatal(err)
			}
			if got := sum.Validation["accuracy"]; !(got > 0.7) { // eve is against it in a twelfth
				t.Errorf("%s, %s: accuracy on held-out pairs is %v: %v", form, method, got, sum.Validation)
			}
			if form == "pairs" {
				checkJudged(t, sum, events)
			}
			checkScores(t, sum.ModelDir, method)
		}
	}
}

// checkJudged looks for what a reward model must be known by.
func checkJudged(t *testing.T, sum *recipe.Summary, events []train.Event) {
	for _, name := range []string{"loss", "margin", "calibration_error", "length_correlation", "length_gap_correlation", "agreement/ann", "agreement/eve"} {
		if v, ok := sum.Validation[name]; !ok || math.IsNaN(v) {
			t.Errorf("the evaluation lacks %s: %v", name, sum.Validation)
		}
	}
	if sum.Validation["agreement/ann"] <= sum.Validation["agreement/eve"] {
		t.Errorf("the model agrees with eve, who judges the other way round: %v", sum.Validation)
	}
	titles := map[string]int{}
	for _, e := range events {
		if table, ok := e.(train.TableEvent); ok {
			titles[table.Title]++
		}
	}
	if titles["calibration on held-out pairs"] == 0 || titles["agreement with annotators"] == 0 {
		t.Errorf("tables %v", titles)
	}
}

// TestRewardResume: n + n steps equal 2n bit for bit, and so do other micro-batches but for rounding.
func TestRewardResume(t *testing.T) {
	from, pairs := base(t), recipetest.PreferenceFile(t, "pairs")
	whole := filepath.Join(t.TempDir(), "whole")
	sum, events, err := recipetest.Start(t, tinyReward(t, from, pairs, whole, "steps=8", "dropout=0.1"), 2)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(t.TempDir(), "half")
	if _, _, err := recipetest.Start(t, tinyReward(t, from, pairs, half, "steps=4", "dropout=0.1"), 1); err != nil {
		t.Fatal(err)
	}
	again, _, err := recipetest.Start(t, tinyReward(t, from, pairs, half, "steps=8", "dropout=0.1", "resume=true"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(recipetest.Read(t, sum.ModelDir, "model.safetensors"), recipetest.Read(t, again.ModelDir, "model.safetensors")) {
		t.Error("a run that was resumed gives other weights")
	}
	_, plain, err := recipetest.Start(t, tinyReward(t, from, pairs, filepath.Join(t.TempDir(), "plain"), "steps=8"), 1)
	if err != nil {
		t.Fatal(err)
	}
	_, parts, err := recipetest.Start(t, tinyReward(t, from, pairs, filepath.Join(t.TempDir(), "parts"), "steps=8", "batch_size=1", "gradient_accumulation_steps=4"), 1)
	if err != nil {
		t.Fatal(err)
	}
	nearLosses(t, plain, parts, 1e-4)
	if slices.Equal(stepLosses(plain), stepLosses(events)) {
		t.Error("dropout changes nothing")
	}
}

func stepLosses(events []train.Event) (losses []float64) {
	for _, e := range events {
		if s, ok := e.(train.StepEvent); ok {
			losses = append(losses, s.Loss)
		}
	}
	return losses
}

func nearLosses(t *testing.T, a, b []train.Event, tolerance float64) {
	t.Helper()
	x, y := stepLosses(a), stepLosses(b)
	if len(x) != len(y) || len(x) == 0 {
		t.Fatalf("%d and %d steps", len(x), len(y))
	}
	for i := range x {
		if math.Abs(x[i]-y[i]) > tolerance*max(1, math.Abs(x[i])) {
			t.Errorf("step %d: losses %v and %v", i+1, x[i], y[i])
		}
	}
}

// TestRewardLayouts: both layouts of a head are written and read back to the same scores.
func TestRewardLayouts(t *testing.T) {
	from, pairs := base(t), recipetest.PreferenceFile(t, "pairs")
	for _, head := range []string{"score", "v_head"} {
		sum, _, err := recipetest.Start(t, tinyReward(t, from, pairs, filepath.Join(t.TempDir(), "run"), "steps=3", "head="+head), 1)
		if err != nil {
			t.Fatal(err)
		}
		dev := cpu.New(cpu.Options{Threads: 1})
		s, err := model.OpenScorer(sum.ModelDir, dev, device.F32, model.ScorerOptions{Layout: model.ScoreLayout, Seed: 99})
		if err != nil {
			t.Fatal(err)
		}
		config := string(recipetest.Read(t, sum.ModelDir, "config.json"))
		if s.Fresh || string(s.Score.Layout) != head || strings.Contains(config, "LlamaForSequenceClassification") != (head == "score") {
			t.Errorf("%s: fresh %v, layout %s, config %s", head, s.Fresh, s.Score.Layout, config)
		}
		tape := tensor.NewTape(dev, device.F32)
		tape.Infer()
		v, err := s.Scores(nn.NewInput(tape, []int32{1, 2, 3}, []int32{0, 1, 2}, []int32{0, 3}), []int32{2}).Float32s()
		if err != nil || v[0] == 0 {
			t.Errorf("%s: score %v, %v", head, v, err)
		}
		tape.Reset()
		s.Free()
		dev.Close()
	}
}

// TestEndTokenAsPad: of a model whose pad is its end token the score is at the token before, in training as where it is used, and in
// transformers. A value head, which they do not read by that rule, is at the end token.
func TestEndTokenAsPad(t *testing.T) {
	from, pairs := base(t), filepath.Join(t.TempDir(), "pairs.jsonl")
	var config map[string]any
	if err := json.Unmarshal(recipetest.Read(t, from, "config.json"), &config); err != nil {
		t.Fatal(err)
	}
	config["pad_token_id"] = config["eos_token_id"]
	text, err := json.Marshal(config)
	if err == nil {
		err = os.WriteFile(filepath.Join(from, "config.json"), text, 0o666)
	}
	if err == nil {
		err = os.WriteFile(pairs, []byte(`{"prompt":"one and one make","chosen":" two","rejected":" six five"}`+"\n"), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	for head, pad := range map[string]int32{"score": int32(config["eos_token_id"].(float64)), "v_head": -1} {
		c := tinyReward(t, from, recipetest.PreferenceFile(t, "pairs"), filepath.Join(t.TempDir(), "run"), "steps=3", "head="+head, "validation_data="+pairs)
		j := scoresAsTrained(t, c, dev, judge.Text{Prompt: "one and one make", Answer: " two"}, judge.Text{Prompt: "one and one make", Answer: " six five"})
		if j.Pad != pad {
			t.Errorf("%s: the pad is %d, want %d", head, j.Pad, pad)
		}
		j.Free()
	}
}

// scoresAsTrained trains a reward model and says so if it gives the one pair that is held out another gap of scores than the evaluation did.
func scoresAsTrained(t *testing.T, c *Reward, dev device.Device, chosen, rejected judge.Text) *judge.Judge {
	t.Helper()
	sum, _, err := recipetest.Start(t, c, 1)
	if err != nil {
		t.Fatal(err)
	}
	j, err := judge.Open(sum.ModelDir, dev, device.F32, judge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	scores, err := j.Score(t.Context(), []judge.Text{chosen, rejected})
	if err != nil || math.Abs(scores[0]-scores[1]-sum.Validation["margin"]) > 1e-5 {
		t.Errorf("head=%s: scores %v, want a gap of %v; %v", c.Head, scores, sum.Validation["margin"], err)
	}
	return j
}

// TestWhereChatsAreScored: a head in the layout score is trained and read at the last token that the template writes, as TRL does, a value head at the
// end of the answer.
func TestWhereChatsAreScored(t *testing.T) {
	from, pairs := base(t), filepath.Join(t.TempDir(), "pairs.jsonl")
	turn := func(role, content string) string { return fmt.Sprintf(`{"role":%q,"content":%q}`, role, content) }
	record := fmt.Sprintf(`{"prompt":[%s],"chosen":[%s],"rejected":[%s]}`, turn("user", "one and one"), turn("assistant", "two"), turn("assistant", "six five"))
	if err := os.WriteFile(pairs, []byte(record+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	for head, behind := range map[string]string{"score": "\n", "v_head": ""} {
		c := tinyReward(t, from, recipetest.PreferenceFile(t, "messages"), filepath.Join(t.TempDir(), "run"), "steps=3", "head="+head, "validation_data="+pairs, "chat_template=zephyr")
		asked := []chat.Message{chat.NewMessage("user", "one and one")}
		chosen := judge.Text{Messages: asked, Answer: "two"}
		j := scoresAsTrained(t, c, dev, chosen, judge.Text{Messages: asked, Answer: "six five"})
		ids, err := j.Tokens(&chosen)
		if text := string(j.Tokenizer().Decode(ids)); err != nil || !strings.HasSuffix(text, "two<|endoftext|>"+behind) {
			t.Errorf("%s: %q is read, %v", head, text, err)
		}
		j.Free()
	}
}

// TestBadPreferences: records that cannot be used stop a run, or are counted.
func TestBadPreferences(t *testing.T) {
	from := base(t)
	good := string(recipetest.Read(t, filepath.Dir(recipetest.PreferenceFile(t, "pairs")), "pairs.jsonl"))
	for name, record := range map[string]string{
		"chosen and rejected are equal": `{"prompt":"a","chosen":"b","rejected":"b"}`,
		"an answer is empty":            `{"prompt":"a","chosen":"b","rejected":""}`,
		"needs chosen and rejected":     `{"prompt":"a","completion":"b"}`,
		"loss_type=kto":                 `{"prompt":"a","completion":"b","label":true}`,
	} {
		path := filepath.Join(t.TempDir(), "bad.jsonl")
		if err := os.WriteFile(path, []byte(good+record+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, _, err := recipetest.Start(t, tinyReward(t, from, path, filepath.Join(t.TempDir(), "run"), "steps=1"), 1); err == nil ||
			!strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "bad.jsonl:241") {
			t.Errorf("%s: %v", record, err)
		}
		_, events, err := recipetest.Start(t, tinyReward(t, from, path, filepath.Join(t.TempDir(), "run"), "steps=1", "on_bad_record=skip"), 1)
		if err != nil {
			t.Errorf("%s, skipped: %v", record, err)
		}
		if !slices.ContainsFunc(events, func(e train.Event) bool {
			m, ok := e.(train.MessageEvent)
			return ok && strings.Contains(m.Text, "skipped 1 ")
		}) {
			t.Errorf("%s: nothing says that it was skipped", record)
		}
	}
	_, _, err := recipetest.Start(t, tinyReward(t, from, recipetest.PreferenceFile(t, "pairs"), filepath.Join(t.TempDir(), "run"), "steps=1", "sequence_length=4"), 1)
	if err == nil || !strings.Contains(err.Error(), string(example.LongPrompt)) {
		t.Errorf("prompts longer than the sequence: %v", err)
	}
	long := filepath.Join(t.TempDir(), "long.jsonl")
	if err := os.WriteFile(long, []byte(`{"prompt":"`+strings.Repeat("one and two ", 100)+`","chosen":"b","rejected":"c"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	_, _, err = recipetest.Start(t, tinyReward(t, from, recipetest.PreferenceFile(t, "pairs"), filepath.Join(t.TempDir(), "run"), "steps=1", "validation_data="+long), 1)
	if err == nil || !strings.Contains(err.Error(), "no record is left to hold out") || !strings.Contains(err.Error(), "set validation_fraction=0") {
		t.Errorf("nothing fits that is held out: %v", err)
	}
}

// base trains the model that is started from.
func base(t testing.TB, args ...string) string {
	t.Helper()
	c := lm.DefaultPretrain()
	return recipetest.Base(t, &c, args...)
}

func tinyReward(t testing.TB, modelDir, data, out string, args ...string) *Reward {
	c := DefaultReward()
	recipetest.Set(t, &c, append([]string{"model=" + modelDir, "data=" + data, "out=" + out, "sequence_length=64", "batch_size=4", "eval.every=20", "validation_fraction=0.2",
		"optimizer.learning_rate=0.003", "schedule.warmup_steps=2", "schedule.name=constant", "lora.r=4"}, args...)...)
	return &c
}

// checkScores opens the model again: a right sum scores above a wrong one, whatever stands beside it in the batch.
func checkScores(t *testing.T, dir, method string) {
	dev := cpu.New(cpu.Options{Threads: 2})
	defer dev.Close()
	j, err := judge.Open(dir, dev, device.F32, judge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Free()
	texts := []judge.Text{{Prompt: "two and three make", Answer: " five"}, {Prompt: "one and one make", Answer: " two"}, {Prompt: "one and three make", Answer: " four five six one two"}}
	all, err := j.Score(context.Background(), texts)
	if err != nil {
		t.Fatal(err)
	}
	for i := range texts {
		if alone, err := j.Score(context.Background(), texts[i:i+1]); err != nil || alone[0] != all[i] {
			t.Errorf("%s: text %d scores %v in a batch and %v alone, %v", method, i, all[i], alone, err)
		}
	}
	if all[0] == all[1] {
		t.Errorf("%s: all scores are %v", method, all[0])
	}
}
