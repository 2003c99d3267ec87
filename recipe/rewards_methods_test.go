package recipe

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/adapter"
	"hone/device"
	"hone/device/cpu"
	"hone/generate"
	"hone/model"
	"hone/tensor"
	"hone/train"
)

// adapters are the methods beside full, each with a rate that moves its parameters, and whether the model begins as its base.
var adapters = []struct {
	args  string
	begin bool
}{
	{"method=qlora", true}, {"method=prefix prompt.num_virtual_tokens=3 sequence_length=48", false}, {"method=lora", true}, {"method=qlora qlora.bits=8", true},
	{"method=prompt prompt.num_virtual_tokens=3 sequence_length=48", false}, {"method=ptuning prompt.num_virtual_tokens=3 sequence_length=48", false},
}

// frozen runs a recipe and looks, at its end, at the base's weights, which must be what they were when the run began.
func frozen(t *testing.T, r *run) (*Summary, []train.Event) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 2})
	defer dev.Close()
	var events []train.Event
	var before [][]float32
	weights := func() (all [][]float32) {
		for _, p := range r.model.Params {
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
	r.env = Env{Device: dev, Events: func(e train.Event) {
		if _, ok := e.(train.StepEvent); ok && before == nil {
			before = weights()
		}
		events = append(events, e)
		if s, ok := e.(train.StepEvent); ok && s.Step == r.c.Steps {
			if after := weights(); len(after) == 0 || !slices.EqualFunc(before, after, slices.Equal) {
				t.Errorf("%s: weights of the base have changed", r.c.Method)
			}
		}
	}}
	sum, err := execute(context.Background(), r)
	if err != nil {
		t.Fatalf("%s: %v", r.c.Method, err)
	}
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("%s: the run left %d bytes on the device", r.c.Method, left)
	}
	return sum, events
}

// TestRewardMethods trains a reward model by each adapter; what is saved scores again, alone and in a batch. With scores near 0
// and a margin of ½ the first loss is -log σ(-½).
func TestRewardMethods(t *testing.T) {
	from, pairs := base(t), preferenceFile(t, "pairs")
	for _, m := range few(2, adapters...) {
		args := append(strings.Fields(m.args), "steps=150", "lora.r=8", "optimizer.learning_rate=0.002", "schedule.name=linear")
		if !m.begin {
			args = append(args, "optimizer.learning_rate=0.03")
		}
		sum, events := frozen(t, tinyReward(t, from, pairs, filepath.Join(t.TempDir(), "run"), args...).run(Env{}))
		if got, first := sum.Validation["accuracy"], steps(events)[0].Loss; !(got > 0.7) || math.Abs(first-0.974) > 0.01 {
			t.Errorf("%s: the first loss is %v, the accuracy on held-out pairs %v", m.args, first, got)
		}
		if filepath.Base(sum.ModelDir) != "adapter" {
			t.Errorf("%s: the result is %s", m.args, sum.ModelDir)
		}
		head, err := adapter.ReadHead(sum.ModelDir)
		if err != nil || head.TaskType != adapter.TaskSequence || !slices.Contains(head.ModulesToSave, "score") || head.BaseModel != from {
			t.Errorf("%s: %+v, %v", m.args, head, err)
		}
		checkScores(t, sum.ModelDir, m.args)
	}
}

// TestMethodsAtTheStart: with every adapter the policy is at first the one that wrote, ratio 1 and KL 0, and where an adapter
// begins as its base the KL divergence from the reference is 0 and the loss of DPO ln 2. Nothing of the base changes, and the
// result can be put on it.
func TestMethodsAtTheStart(t *testing.T) {
	from, prompts, pairs := base(t), promptFile(t), preferenceFile(t, "pairs")
	for _, m := range few(2, adapters...) {
		args := strings.Fields(m.args)
		sum, events := frozen(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "ppo"), args...).run(Env{}))
		for i, s := range steps(events) {
			exact := s.Metrics["val/ratio"] == 1 && s.Metrics["policy/approxkl_avg"] == 0 && s.Metrics["policy/clipfrac_avg"] == 0
			if exact != (i%4 == 0) {
				t.Errorf("%s: update %d of an iteration: %v", m.args, i%4+1, s.Metrics)
			}
		}
		if kl := rolloutEvents(events)[0].Metrics["objective/kl"]; (kl == 0) != m.begin {
			t.Errorf("%s: the first KL from the reference is %v", m.args, kl)
		}
		checkGenerates(t, from, sum.ModelDir)
		_, events, err := start(t, tinyGRPO(t, from, prompts, filepath.Join(t.TempDir(), "grpo"), append(args, "beta=0.04", "iterations=1")...), 1)
		if err != nil {
			t.Fatalf("%s: %v", m.args, err)
		}
		if s := steps(events)[0]; s.Metrics["val/ratio"] != 1 || s.GradNorm == 0 {
			t.Errorf("%s: GRPO begins with %v", m.args, s)
		}
		_, events, err = start(t, tinyDPO(t, from, pairs, filepath.Join(t.TempDir(), "dpo"), append(args, "steps=2")...), 1)
		if err != nil {
			t.Fatalf("%s: %v", m.args, err)
		}
		if first := steps(events)[0].Loss; (math.Abs(first-math.Ln2) < 1e-6) != m.begin {
			t.Errorf("%s: DPO begins with the loss %v", m.args, first)
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
	config := bytes.Replace(read(t, from, "config.json"), []byte("{"), []byte(`{"note": "a copy",`), 1)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rebased is a copy of an adapter that names another base.
func rebased(t *testing.T, from, base string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "adapter")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	if err := json.Unmarshal(read(t, from, adapter.ConfigName), &config); err != nil {
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

// TestOneBase: policy, critic and reward model are adapters on one base in memory. What comes out, weights and scores, is bit
// for bit what comes out with a copy of the base for each, which takes as much more memory as the run says it saves, and the
// scores are those of the reward model alone.
func TestOneBase(t *testing.T) {
	from, prompts, pairs := base(t), promptFile(t), preferenceFile(t, "pairs")
	other := otherwise(t, from)
	for _, kind := range few(1, "lora", "prefix") {
		judge, _, err := start(t, tinyReward(t, from, pairs, filepath.Join(t.TempDir(), "judge"), "method="+kind, "sequence_length=48", "prompt.num_virtual_tokens=3", "steps=5", "optimizer.learning_rate=0.01"), 1)
		if err != nil {
			t.Fatal(err)
		}
		apart := rebased(t, judge.ModelDir, other)
		for _, args := range few(1, "method=lora recompute=layers", "method=full", "method=prompt prompt.num_virtual_tokens=2") {
			run := func(reward string) (*Summary, []train.Event) {
				sum, events, err := start(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), append(strings.Fields(args), "reward="+reward, "critic.kind=separate",
					"critic.model="+reward, "iterations=2", "kl_coef=0.01")...), 2)
				if err != nil {
					t.Fatalf("%s on %s: %v", args, kind, err)
				}
				return sum, events
			}
			one, events := run(judge.ModelDir)
			three, _ := run(apart)
			for _, file := range []string{one.ModelDir[len(one.Out)+1:], filepath.Join("checkpoints", "step-8")} {
				for _, name := range []string{"adapter_model.safetensors", "model.safetensors", "optimizer.safetensors", rolloutsName} {
					if _, err := os.Stat(filepath.Join(one.Out, file, name)); err == nil && !bytes.Equal(read(t, one.Out, file, name), read(t, three.Out, file, name)) {
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
			checkRaw(t, one.Out, judge.ModelDir, JudgeOptions{})
		}
		sum, _, err := start(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), "method=qlora", "reward="+judge.ModelDir, "iterations=2"), 1)
		if err != nil {
			t.Fatal(err)
		}
		packing, err := device.PackingOf(4)
		if err != nil {
			t.Fatal(err)
		}
		checkRaw(t, sum.Out, judge.ModelDir, JudgeOptions{Packed: model.Packed{Packing: packing}})
	}
}

// checkRaw compares the scores of a run's last answers with those of the reward model by itself.
func checkRaw(t *testing.T, out, judge string, o JudgeOptions) {
	t.Helper()
	var state rollingState
	if err := json.Unmarshal(read(t, out, "checkpoints", "step-8", rolloutsName), &state); err != nil {
		t.Fatal(err)
	}
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	j, err := OpenJudge(judge, dev, device.F32, o)
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

// TestAdapterScores compares reward models that PEFT wrote as adapters with the scores it gives, on a base of their own and on
// one that is loaded already.
func TestAdapterScores(t *testing.T) {
	golden := filepath.Join("..", "testdata", "golden")
	dev := cpu.New(cpu.Options{Threads: 2})
	defer dev.Close()
	for _, name := range []string{"lora", "prompt"} {
		dir := rebased(t, filepath.Join(golden, "score", name), filepath.Join(golden, "llama_untied"))
		var want struct {
			Sequences [][]int32
			Scores    []float64
		}
		if err := json.Unmarshal(read(t, dir, "scores.json"), &want); err != nil {
			t.Fatal(err)
		}
		m, err := model.Open(filepath.Join(golden, "llama_untied"), dev, device.F32)
		if err != nil {
			t.Fatal(err)
		}
		var first []float64
		for _, base := range []*model.Model{nil, m} {
			j := &Judge{tape: tensor.NewTape(dev, device.F32)}
			if err := j.open(dir, dev, device.F32, JudgeOptions{Base: base}); err != nil {
				t.Fatal(err)
			}
			got, err := j.ScoreTokens(context.Background(), want.Sequences)
			if err != nil || j.Shared() != (base != nil) {
				t.Fatalf("%s: shared %v, %v", name, j.Shared(), err)
			}
			for i := range got {
				if math.Abs(got[i]-want.Scores[i]) > 1e-5 {
					t.Errorf("%s: score %d is %v, want %v", name, i, got[i], want.Scores[i])
				}
			}
			if first == nil {
				first = got
			} else if !slices.Equal(first, got) {
				t.Errorf("%s: scores are %v on a base of their own and %v on a shared one", name, first, got)
			}
			j.Free()
		}
		m.Free()
		lost := rebased(t, dir, "some/model")
		if err := (&Judge{tape: tensor.NewTape(dev, device.F32)}).open(lost, dev, device.F32, JudgeOptions{}); err == nil || !strings.Contains(err.Error(), "base_model_name_or_path") {
			t.Errorf("%s on a base that is not there: %v", name, err)
		}
	}
	if n := dev.Memory().InUse; n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

// TestStageDefaults: without the keys a sequence is as long as the model allows, and the learning rate the method's, in every stage.
func TestStageDefaults(t *testing.T) {
	from, pairs, prompts := base(t), preferenceFile(t, "pairs"), promptFile(t)
	rates := map[string][]float64{}
	for method, want := range map[string]int{"full": 64, "qlora": 64, "prefix": 44} {
		reward, dpo, ppo, grpo := DefaultReward(), DefaultDPO(), DefaultPPO(), DefaultGRPO()
		for _, c := range []struct {
			recipe interface{ Validate() error }
			t      *Training
			data   string
		}{{&reward, &reward.Training, "data=" + pairs}, {&dpo, &dpo.Training, "data=" + pairs}, {&ppo, &ppo.Training, "prompts=" + prompts}, {&grpo, &grpo.Training, "prompts=" + prompts}} {
			set(t, c.recipe, "model="+from, c.data, "out=o", "method="+method)
			if strings.HasPrefix(c.data, "prompts") {
				set(t, c.recipe, "reward=go_parser", "max_completion_length=8")
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
