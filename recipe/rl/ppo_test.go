package rl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/nn"
	"hone/recipe"
	"hone/recipe/lm"
	"hone/recipe/preference"
	"hone/recipe/recipetest"
	"hone/tensor"
	"hone/tokenizer"
	"hone/train"
)

// promptFile writes the first words of sums.
func promptFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prompts.jsonl")
	words := []string{"one", "two", "three"}
	var b strings.Builder
	for _, x := range words {
		for _, y := range words {
			fmt.Fprintf(&b, `{"prompt":%q}`+"\n", x+" and "+y+" make")
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// shortReward likes answers that say "one".
const shortReward = "format:one"

func tinyPPO(t testing.TB, modelDir, prompts, out string, args ...string) *PPO {
	c := DefaultPPO()
	recipetest.Set(t, &c, append([]string{"model=" + modelDir, "prompts=" + prompts, "out=" + out, "reward=" + shortReward, "sequence_length=48", "batch_size=4",
		"prompts_per_iteration=8", "max_completion_length=6", "iterations=3", "num_ppo_epochs=2", "num_mini_batches=2", "optimizer.learning_rate=0.001",
		"diagnosis.on=off", "lora.r=4"}, args...)...)
	return &c
}

func tinyGRPO(t testing.TB, modelDir, prompts, out string, args ...string) *GRPO {
	c := DefaultGRPO()
	recipetest.Set(t, &c, append([]string{"model=" + modelDir, "prompts=" + prompts, "out=" + out, "reward=" + shortReward, "sequence_length=48", "batch_size=4",
		"prompts_per_iteration=4", "num_generations=4", "max_completion_length=6", "iterations=3", "optimizer.learning_rate=0.001", "diagnosis.on=off", "lora.r=4"}, args...)...)
	return &c
}

func rolloutEvents(events []train.Event) (list []train.RolloutEvent) {
	for _, e := range events {
		if r, ok := e.(train.RolloutEvent); ok {
			list = append(list, r)
		}
	}
	return list
}

// TestPPOAtTheStart: in the first update of an iteration the policy is the one that wrote: every ratio is
// exactly 1 and the KL divergence exactly 0, and that from the reference too in the first iteration. It holds
// for both methods and types, packed anyhow, with any threads.
func TestPPOAtTheStart(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for _, args := range recipetest.Few(3, [][]string{{"method=full"}, {"method=lora"}, {"dtype=bf16"}, {"method=lora", "lora.modules_to_save=lm_head"}, {"batch_size=1"}, {"rollout_batch_size=3"}, {"temperature=0.7"}, {"critic.kind=separate"}, {"recompute=layers"}}...) {
		_, events, err := recipetest.Start(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), args...), 2)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		for i, s := range recipetest.Steps(events) {
			at, ratio := i%4, s.Metrics["val/ratio"]
			if exact := ratio == 1 && s.Metrics["policy/approxkl_avg"] == 0 && s.Metrics["policy/clipfrac_avg"] == 0; exact != (at == 0) {
				t.Errorf("%v: update %d of an iteration: %v", args, at+1, s.Metrics)
			}
		}
		for i, r := range rolloutEvents(events) {
			if kl := r.Metrics["objective/kl"]; (kl == 0) != (i == 0) || r.Step != 4*i+1 {
				t.Errorf("%v: iteration %d, step %d: KL from the reference %v", args, i+1, r.Step, kl)
			}
		}
		if len(recipetest.Steps(events)) != 12 || len(rolloutEvents(events)) != 3 {
			t.Errorf("%v: %d steps, %d iterations", args, len(recipetest.Steps(events)), len(rolloutEvents(events)))
		}
	}
}

// TestGRPOAtTheStart is the same for the group losses, of which the first step is the only one of an iteration.
func TestGRPOAtTheStart(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for _, loss := range recipetest.Few(2, "gspo", "dapo", "grpo", "dr_grpo", "rloo") {
		sum, events, err := recipetest.Start(t, tinyGRPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), "loss_type="+loss, "beta=0.04"), 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range recipetest.Steps(events) {
			if s.Metrics["val/ratio"] != 1 || s.Metrics["policy/approxkl_avg"] != 0 {
				t.Errorf("%s: %v", loss, s.Metrics)
			}
		}
		if sum.Steps != 3 {
			t.Errorf("%s: %d steps", loss, sum.Steps)
		}
	}
}

// TestEqualRewardsTeachNothing: where all answers of a group score the same there is no gradient, and the weights stay.
func TestEqualRewardsTeachNothing(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for _, loss := range recipetest.Few(2, "gspo", "dapo", "grpo", "dr_grpo", "rloo") {
		for _, scale := range []string{"group", "batch"}[:1+len(loss)%2] {
			sum, events, err := recipetest.Start(t, tinyGRPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), "loss_type="+loss, "reward=format:.*", "scale_rewards="+scale, "num_iterations=2"), 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range recipetest.Steps(events) {
				if s.GradNorm != 0 || s.Loss != 0 {
					t.Errorf("%s: gradient %v, loss %v", loss, s.GradNorm, s.Loss)
				}
			}
			if r := rolloutEvents(events)[0].Metrics; r["frac_reward_zero_std"] != 1 || r["objective/scores_std"] != 0 {
				t.Errorf("%s: %v", loss, r)
			}
			if !bytes.Equal(recipetest.Read(t, from, "model.safetensors"), recipetest.Read(t, sum.ModelDir, "model.safetensors")) {
				t.Errorf("%s: the weights have changed", loss)
			}
		}
	}
}

// TestPPOResume: stopped in the middle of an iteration and gone on, the run gives the same weights bit for bit,
// with everything that has a state: an adaptive coefficient, running statistics, a critic, early stopping by KL.
func TestPPOResume(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for _, args := range [][]string{
		{"method=full", "kl_target=0.05", "kl_horizon=20", "use_score_scaling=true", "use_score_norm=true", "critic.kind=separate", "critic.warmup=1", "ema_decay=0.9"},
		{"method=lora", "target_kl=0.00002", "score_clip=1", "missing_eos_penalty=0.5"},
		{"method=qlora", "critic.kind=separate", "recompute=layers"},
	} {
		with := func(more ...string) []string { return append(slices.Clone(args), more...) }
		whole, events, err := recipetest.Start(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "whole"), with("steps=12")...), 2)
		if err != nil {
			t.Fatal(err)
		}
		half := filepath.Join(t.TempDir(), "half")
		if _, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, half, with("steps=6")...), 1); err != nil {
			t.Fatal(err)
		}
		again, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, half, with("steps=12", "resume=true")...), 1)
		if err != nil {
			t.Fatal(err)
		}
		name := map[bool]string{true: "model.safetensors", false: "adapter_model.safetensors"}[args[0] == "method=full"]
		if args[0] == "method=full" {
			average, last := recipetest.Read(t, whole.Out, "model_ema", name), recipetest.Read(t, whole.Out, "model", name)
			if bytes.Equal(average, last) || !bytes.Equal(average, recipetest.Read(t, again.Out, "model_ema", name)) {
				t.Error("the average of the weights is wrong")
			}
		}
		for _, file := range []string{filepath.Join("checkpoints", "step-12", name), filepath.Join("checkpoints", "step-12", "optimizer.safetensors"), filepath.Join("checkpoints", "step-12", rolloutsName)} {
			if !bytes.Equal(recipetest.Read(t, whole.Out, file), recipetest.Read(t, again.Out, file)) {
				t.Errorf("%v: a run that was resumed gives another %s", args, file)
			}
		}
		written := 0
		for _, l := range recipetest.Metrics(t, half) {
			if l.Event == "rollout" {
				written++
			}
		}
		if want := len(rolloutEvents(events)); written != want {
			t.Errorf("%v: %d iterations in the file, want %d", args, written, want)
		}
		if args[0] == "method=lora" && len(recipetest.Steps(events)) >= 12 {
			t.Errorf("target_kl left no update out")
		}
	}
}

// TestSummaryOfAnEarlierIteration: a session that goes on within an iteration and ends in it tells of it as the one that began it, but for times.
func TestSummaryOfAnEarlierIteration(t *testing.T) {
	from, prompts, out := base(t), promptFile(t), filepath.Join(t.TempDir(), "run")
	first, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, out, "steps=2"), 1)
	if err != nil {
		t.Fatal(err)
	}
	second, events, err := recipetest.Start(t, tinyPPO(t, from, prompts, out, "steps=3", "resume=true"), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := timeless(train.RolloutEvent{Metrics: first.Metrics}).Metrics
	if len(rolloutEvents(events)) > 0 || len(want) == 0 || !maps.Equal(second.Metrics, want) {
		t.Errorf("%d iterations were begun, and the summary has %v, want %v", len(rolloutEvents(events)), second.Metrics, want)
	}
}

// recorded are the events of a kind in the metrics.jsonl of a run.
func recorded[E train.Event](t testing.TB, run string) (list []E) {
	t.Helper()
	for text := range bytes.Lines(recipetest.Read(t, run, "metrics.jsonl")) {
		var kind struct{ Event string }
		var e E
		if err := json.Unmarshal(text, &kind); err != nil {
			t.Fatal(err)
		}
		if kind.Event != e.Kind() {
			continue
		}
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// TestPPOInterrupt: cancelled in the middle of an update and gone on, a run gives the same weights bit for bit.
func TestPPOInterrupt(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	args := []string{"steps=12", "target_kl=0.00002", "batch_size=1", "diagnosis.on=warn", "diagnosis.min_iterations=3", "diagnosis.entropy_ratio=1.5"}
	whole, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "whole"), args...), 1)
	if err != nil {
		t.Fatal(err)
	}
	warnings := func(out string) (list []train.MessageEvent) {
		for _, m := range recorded[train.MessageEvent](t, out) {
			if strings.HasPrefix(m.Text, "warning: ") {
				list = append(list, m)
			}
		}
		return list
	}
	// of the step that learns from what is warned of: a run that is killed before it and goes on warns again
	if w := warnings(whole.Out); len(w) != 1 || w[0].Step != 9 {
		t.Errorf("warned of %v, want once at step 9", w)
	}
	iterations := func(out string) (list []*train.RolloutEvent) {
		for _, e := range recorded[train.RolloutEvent](t, out) {
			list = append(list, timeless(e))
		}
		return list
	}
	cut := 0
	for left := 20; left < 130; left += 15 { // looks at the context come with every micro-batch and every token
		out := filepath.Join(t.TempDir(), "cut")
		dev := cpu.New(cpu.Options{Threads: 1})
		sum, err := tinyPPO(t, from, prompts, out, args...).Run(&recipetest.Countdown{Context: context.Background(), Left: left}, recipe.Env{Device: dev})
		dev.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !sum.Interrupted || sum.Steps == 0 {
			continue
		}
		cut++
		again, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, out, append(args, "resume=true")...), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"model.safetensors", "optimizer.safetensors", rolloutsName} {
			if !bytes.Equal(recipetest.Read(t, whole.Out, "checkpoints", "step-12", file), recipetest.Read(t, again.Out, "checkpoints", "step-12", file)) {
				t.Errorf("a run that was interrupted after step %d gives another %s", sum.Steps, file)
			}
		}
		if diff := cmp.Diff(iterations(whole.Out), iterations(out)); diff != "" {
			t.Errorf("a run that was interrupted after step %d tells other iterations: %s", sum.Steps, diff)
		}
		if diff := cmp.Diff(warnings(whole.Out), warnings(out)); diff != "" {
			t.Errorf("a run that was interrupted after step %d warns otherwise: %s", sum.Steps, diff)
		}
	}
	if cut < 3 {
		t.Errorf("only %d runs were interrupted in their middle", cut)
	}
}

// bandit is a control task whose optimum is known: answers of one token to prompts, of which the reward likes
// some. With the KL divergence in the objective J(π) = E[r] - β·KL(π, π_ref) the best policy is
// π_ref·exp(r/β)/Z and its objective β·log Z (Rafailov et al., 2023, appendix A.1), a mean over prompts.
type bandit struct {
	prompts [][]int32
	good    []bool // by token
	beta    float64
	ref     [][]float64 // log-probabilities by prompt
}

// answers are the log-probabilities of the first token of an answer to each prompt.
func (b *bandit) answers(t *testing.T, dir string) (rows [][]float64) {
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	m, err := model.Open(dir, dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	for _, ids := range b.prompts {
		tape := tensor.NewTape(dev, device.F32)
		tape.Infer()
		positions := make([]int32, len(ids))
		for i := range positions {
			positions[i] = int32(i)
		}
		h := m.Hidden(nn.NewInput(tape, ids, positions, []int32{0, int32(len(ids))}))
		logits := tensor.Values(nn.Logits(m, h, tape.Ints([]int32{int32(len(ids) - 1)})))
		tape.Reset()
		most, sum := slices.Max(logits), 0.0
		for _, x := range logits {
			sum += math.Exp(x - most)
		}
		for i := range logits {
			logits[i] -= most + math.Log(sum)
		}
		rows = append(rows, logits)
	}
	return rows
}

// objective is J of a policy.
func (b *bandit) objective(policy [][]float64) float64 {
	j := 0.0
	for p := range policy {
		for a, logp := range policy[p] {
			r := 0.0
			if b.good[a] {
				r = 1
			}
			j += math.Exp(logp) * (r - b.beta*(logp-b.ref[p][a])) / float64(len(policy))
		}
	}
	return j
}

func (b *bandit) best() float64 {
	j := 0.0
	for p := range b.ref {
		z := 0.0
		for a, logp := range b.ref[p] {
			r := 0.0
			if b.good[a] {
				r = 1
			}
			z += math.Exp(logp + r/b.beta)
		}
		j += b.beta * math.Log(z) / float64(len(b.ref))
	}
	return j
}

// TestControl: PPO and the losses of groups come within 5% of the best objective; with the
// reward's sign turned they must not.
func TestControl(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	tok, err := tokenizer.Load(from)
	if err != nil {
		t.Fatal(err)
	}
	b := &bandit{beta: 0.3}
	for line := range bytes.Lines(recipetest.Read(t, prompts)) {
		var record struct{ Prompt string }
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatal(err)
		}
		var ids []int32
		if bos, ok := tok.BOS(); ok {
			ids = append(ids, bos)
		}
		b.prompts = append(b.prompts, tok.Encode(ids, []byte(record.Prompt)))
	}
	for id := range int32(tok.VocabSize()) {
		text := ""
		if eos, ok := tok.EOS(); !ok || id != eos {
			text = string(tok.Decode([]int32{id}))
		}
		b.good = append(b.good, strings.ContainsAny(text, "aeiou"))
	}
	b.ref = b.answers(t, from)
	start0, best := b.objective(b.ref), b.best()
	if !(start0 < 0.8*best) {
		t.Fatalf("the task is too easy: the reference has %v of %v", start0, best)
	}
	shared := []string{"max_completion_length=1", "reward=format:[aeiou]", "temperature=1", "optimizer.weight_decay=0", "batch_size=72", "schedule.name=linear"}
	for _, sign := range recipetest.Few(1, "1", "-1") {
		with := func(more ...string) []string {
			return append(append(slices.Clone(shared), "reward_weights="+sign), more...)
		}
		runs := map[string]interface {
			Run(context.Context, recipe.Env) (*recipe.Summary, error)
		}{
			"ppo": tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "ppo"), with("kl_coef=0.3", "iterations=70", "prompts_per_iteration=9", "num_generations=8", "num_ppo_epochs=2",
				"num_mini_batches=1", "optimizer.learning_rate=0.003", "whiten_advantages=false", "vf_coef=0.5")...),
		}
		for _, loss := range []string{"dapo", "rloo"} { // with one token the others are dapo
			runs[loss] = tinyGRPO(t, from, prompts, filepath.Join(t.TempDir(), loss), with("loss_type="+loss, "beta=0.3", "scale_rewards=none", "iterations=50",
				"prompts_per_iteration=9", "num_generations=8", "optimizer.learning_rate=0.003")...)
		}
		// the divergence that the best policy is about; the one of rloo, not set, is it already
		runs["dapo"].(*GRPO).KLEstimator = "k2"
		if sign == "1" && !testing.Short() {
			runs["ppo, KL in the loss"] = tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "ppol"), with("kl_coef=0.3", "iterations=70", "prompts_per_iteration=9", "num_generations=8", "num_ppo_epochs=2",
				"num_mini_batches=1", "optimizer.learning_rate=0.003", "whiten_advantages=false", "vf_coef=0.5", "kl_in=loss")...)
		}
		for name, c := range runs {
			sum, _, err := recipetest.Start(t, c, 1)
			if err != nil {
				t.Fatal(err)
			}
			got := b.objective(b.answers(t, sum.ModelDir))
			if reached := got > 0.95*best; reached != (sign == "1") {
				t.Errorf("%s with the reward times %s reaches %.4f; the reference has %.4f, the best policy %.4f", name, sign, got, start0, best)
			} else {
				t.Logf("%s times %s: %.4f of %.4f, the reference %.4f", name, sign, got, best, start0)
			}
		}
	}
}

// TestValuesComeWithAnswers: the values that come with the writing of answers are, bit for bit, those of a
// pass over them.
func TestValuesComeWithAnswers(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for _, args := range recipetest.Few(2, [][]string{{"dtype=f32"}, {"method=prefix", "prompt.num_virtual_tokens=3"}, {"dtype=bf16", "rollout_batch_size=3"}}...) {
		r := tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), args...).run(recipe.Env{})
		dev := cpu.New(cpu.Options{Threads: 2})
		compared := 0
		r.Env = recipe.Env{Device: dev, Events: func(e train.Event) {
			if _, ok := e.(train.RolloutEvent); !ok {
				return
			}
			s := r.Stage.(*rolling)
			for _, a := range s.state.Answers {
				written := slices.Clone(a.Values)
				b := dealAnswers([]*rollout{a}, 1)[0]
				if err := train.Infer(context.Background(), r.Tape, func() error { s.recallPolicy(&b); return nil }); err != nil {
					t.Error(err)
				}
				if compared += len(written); len(written) != a.tokens() || !slices.Equal(written, a.Values) {
					t.Errorf("%v: values %v came with an answer, a pass over it gives %v", args, written, a.Values)
				}
			}
		}}
		if _, err := recipe.Execute(context.Background(), r); err != nil || compared == 0 {
			t.Errorf("%v: %d compared, %v", args, compared, err)
		}
		dev.Close()
	}
}

// base trains the model that is started from.
func base(t testing.TB, args ...string) string {
	t.Helper()
	c := lm.DefaultPretrain()
	return recipetest.Base(t, &c, args...)
}

// tinyReward is a recipe of the reward model that scores.
func tinyReward(t testing.TB, modelDir, data, out string, args ...string) *preference.Reward {
	c := preference.DefaultReward()
	recipetest.Set(t, &c, append([]string{"model=" + modelDir, "data=" + data, "out=" + out, "sequence_length=64", "batch_size=4", "eval.every=20", "validation_fraction=0.2",
		"optimizer.learning_rate=0.003", "schedule.warmup_steps=2", "schedule.name=constant", "lora.r=4"}, args...)...)
	return &c
}
