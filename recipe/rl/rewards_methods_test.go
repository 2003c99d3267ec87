package rl

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/cpu"
	"hone/generate"
	"hone/model"
	"hone/recipe"
	"hone/recipe/judge"
	"hone/recipe/preference"
	"hone/recipe/recipetest"
	"hone/train"
)

// TestMethodsAtTheStart: with every adapter the policy is at first the one that wrote, ratio 1 and KL 0, and
// where an adapter begins as its base the KL divergence from the reference is 0. Nothing of the base changes,
// and the result can be put on it.
func TestMethodsAtTheStart(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for _, m := range recipetest.Few(2, recipetest.Adapters...) {
		args := strings.Fields(m.Args)
		sum, events := recipetest.Frozen(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "ppo"), args...).run(recipe.Env{}))
		for i, s := range recipetest.Steps(events) {
			exact := s.Metrics["val/ratio"] == 1 && s.Metrics["policy/approxkl_avg"] == 0 && s.Metrics["policy/clipfrac_avg"] == 0
			if exact != (i%4 == 0) {
				t.Errorf("%s: update %d of an iteration: %v", m.Args, i%4+1, s.Metrics)
			}
		}
		if kl := rolloutEvents(events)[0].Metrics["objective/kl"]; (kl == 0) != m.AsBase {
			t.Errorf("%s: the first KL from the reference is %v", m.Args, kl)
		}
		checkGenerates(t, from, sum.ModelDir)
		_, events, err := recipetest.Start(t, tinyGRPO(t, from, prompts, filepath.Join(t.TempDir(), "grpo"), append(args, "beta=0.04", "iterations=1")...), 1)
		if err != nil {
			t.Fatalf("%s: %v", m.Args, err)
		}
		if s := recipetest.Steps(events)[0]; s.Metrics["val/ratio"] != 1 || s.GradNorm == 0 {
			t.Errorf("%s: GRPO begins with %v", m.Args, s)
		}
	}
}

// checkGenerates puts an adapter on its base and lets both write.
func checkGenerates(t *testing.T, from, dir string) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.Open(from, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	a, err := adapter.OpenAny(dir, adapter.Model{Model: m.Model, Params: m.Params}, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Free()
	o := generate.DefaultOptions()
	o.MaxNewTokens = 3
	if outs, err := generate.New(dev, device.F32, a.Wrapped(), nil).Run(context.Background(), [][]int32{{1, 2, 3}}, o, nil); err != nil || len(outs[0].Tokens) == 0 {
		t.Errorf("%s: %v, %v", dir, outs, err)
	}
}

// otherwise is a copy of a model that differs in a word of its configuration, so that it is taken for another.
func otherwise(t *testing.T, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "other")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	config := bytes.Replace(recipetest.Read(t, from, "config.json"), []byte("{"), []byte(`{"note": "a copy",`), 1)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOneBase: policy, critic and reward model are adapters on one base in memory. What comes out, weights
// and scores, is bit for bit what comes out with a copy of the base for each, which takes as much more memory
// as the run says it saves, and the scores are those of the reward model alone.
func TestOneBase(t *testing.T) {
	from, prompts, pairs := base(t), promptFile(t), recipetest.PreferenceFile(t, "pairs")
	other := otherwise(t, from)
	for _, kind := range recipetest.Few(1, "lora", "prefix") {
		rm, _, err := recipetest.Start(t, tinyReward(t, from, pairs, filepath.Join(t.TempDir(), "judge"), "method="+kind, "sequence_length=48", "prompt.num_virtual_tokens=3", "steps=5", "optimizer.learning_rate=0.01"), 1)
		if err != nil {
			t.Fatal(err)
		}
		apart := recipetest.Rebased(t, rm.ModelDir, other)
		for _, args := range recipetest.Few(1, "method=lora recompute=layers", "method=full", "method=prompt prompt.num_virtual_tokens=2") {
			run := func(reward string) (*recipe.Summary, []train.Event) {
				sum, events, err := recipetest.Start(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), append(strings.Fields(args), "reward="+reward, "critic.kind=separate",
					"critic.model="+reward, "iterations=2", "kl_coef=0.01")...), 2)
				if err != nil {
					t.Fatalf("%s on %s: %v", args, kind, err)
				}
				return sum, events
			}
			one, events := run(rm.ModelDir)
			three, _ := run(apart)
			for _, file := range []string{one.ModelDir[len(one.Out)+1:], filepath.Join("checkpoints", "step-8")} {
				for _, name := range []string{"adapter_model.safetensors", "model.safetensors", "optimizer.safetensors", rolloutsName} {
					if _, err := os.Stat(filepath.Join(one.Out, file, name)); err == nil && !bytes.Equal(recipetest.Read(t, one.Out, file, name), recipetest.Read(t, three.Out, file, name)) {
						t.Errorf("%s on %s: %s differs", args, kind, filepath.Join(file, name))
					}
				}
			}
			said, saved := int64(0), three.PeakMemoryBytes-one.PeakMemoryBytes
			for _, e := range events {
				if i, ok := e.(train.InfoEvent); ok && i.Values["shared_base_bytes"] != nil {
					said = i.Values["shared_base_bytes"].(int64)
				}
			}
			if math.Abs(float64(said-saved)) > 0.03*float64(saved) { // the tables of positions are not counted
				t.Errorf("%s on %s: one base saves %d bytes and the run says %d", args, kind, saved, said)
			}
			checkRaw(t, one.Out, rm.ModelDir, judge.Options{})
		}
		sum, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), "method=qlora", "reward="+rm.ModelDir, "iterations=2"), 1)
		if err != nil {
			t.Fatal(err)
		}
		packing, err := device.PackingOf(4)
		if err != nil {
			t.Fatal(err)
		}
		checkRaw(t, sum.Out, rm.ModelDir, judge.Options{Packed: model.Packed{Packing: packing}})
	}
}

// checkRaw compares the scores of a run's last answers with those of the reward model by itself.
func checkRaw(t *testing.T, out, dir string, o judge.Options) {
	t.Helper()
	var state rollingState
	if err := json.Unmarshal(recipetest.Read(t, out, "checkpoints", "step-8", rolloutsName), &state); err != nil {
		t.Fatal(err)
	}
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	j, err := judge.Open(dir, dev, device.F32, o)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Free()
	for _, a := range state.Answers {
		score, err := j.ScoreTokens(context.Background(), [][]int32{a.IDs})
		if err != nil || score[0] != a.Raw {
			t.Errorf("an answer is scored %v in the run and %v by the reward model alone, %v", a.Raw, score, err)
		}
	}
}

// TestStageDefaults: without the keys a sequence is as long as the model allows, and the learning
// rate the method's, in every stage.
func TestStageDefaults(t *testing.T) {
	from, pairs, prompts := base(t), recipetest.PreferenceFile(t, "pairs"), promptFile(t)
	rates := map[string][]float64{}
	for method, want := range map[string]int{"full": 64, "qlora": 64, "prefix": 44} {
		reward, dpo, ppo, grpo := preference.DefaultReward(), preference.DefaultDPO(), DefaultPPO(), DefaultGRPO()
		for _, c := range []struct {
			recipe interface{ Validate() error }
			t      *recipe.Training
			data   string
		}{{&reward, &reward.Training, "data=" + pairs}, {&dpo, &dpo.Training, "data=" + pairs}, {&ppo, &ppo.Training, "prompts=" + prompts}, {&grpo, &grpo.Training, "prompts=" + prompts}} {
			recipetest.Set(t, c.recipe, "model="+from, c.data, "out=o", "method="+method)
			if strings.HasPrefix(c.data, "prompts") {
				recipetest.Set(t, c.recipe, "reward=go_parser", "max_completion_length=8")
			}
			if err := c.recipe.Validate(); err != nil || c.t.SequenceLength != want {
				t.Errorf("%T, %s: sequences of %d, want %d; %v", c.recipe, method, c.t.SequenceLength, want, err)
			}
			rates[method] = append(rates[method], c.t.Optimizer.LearningRate)
		}
	}
	for i := range 4 { // reward, dpo, ppo, grpo
		if full, lora, prefix := rates["full"][i], rates["qlora"][i], rates["prefix"][i]; math.Abs(lora-10*full) > 1e-12 || math.Abs(prefix-50*lora) > 1e-9 {
			t.Errorf("stage %d: learning rates %v, %v, %v", i, full, lora, prefix)
		}
	}
}
