package rl

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/recipe"
	"hone/recipe/example"
	"hone/recipe/judge"
	"hone/recipe/lm"
	"hone/recipe/recipetest"
	"hone/train"
)

// TestRewardModelAsReward trains a reward model and then a policy from it, as an adapter of the same base and
// by itself, with text of pre-training mixed in.
func TestRewardModelAsReward(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for _, method := range recipetest.Few(1, "full", "lora") {
		judge, _, err := recipetest.Start(t, tinyReward(t, from, recipetest.PreferenceFile(t, "pairs"), filepath.Join(t.TempDir(), "judge"), "method="+method, "steps=5"), 1)
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"reward=" + judge.ModelDir + ",length:4", "reward_weights=1,0.5", "method=" + method, "ptx.data=" + recipetest.TextFolder(t), "entropy_coef=0.01", "kl_in=loss", "kl_estimator=k3"}
		if method == "full" {
			args = append(args, "critic.kind=separate", "critic.model="+judge.ModelDir, "critic.learning_rate=0.0005")
		}
		sum, events, err := recipetest.Start(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), args...), 2)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if sum.Steps != 12 || len(sum.Metrics) == 0 {
			t.Errorf("%s: %+v", method, sum)
		}
		for _, name := range []string{"objective/kl", "objective/scores", "objective/scores_std", "objective/rlhf_reward", "objective/non_score_reward", "completions/mean_length",
			"completions/eos_share", "val/explained_variance", "time/rollout", "time/scoring"} {
			if _, ok := rolloutEvents(events)[0].Metrics[name]; !ok {
				t.Errorf("%s: an iteration has no %s: %v", method, name, rolloutEvents(events)[0].Metrics)
			}
		}
		for _, name := range []string{"policy/approxkl_avg", "policy/clipfrac_avg", "policy/entropy_avg", "loss/policy_avg", "loss/value_avg", "val/ratio"} {
			if _, ok := recipetest.Steps(events)[0].Metrics[name]; !ok {
				t.Errorf("%s: a step has no %s: %v", method, name, recipetest.Steps(events)[0].Metrics)
			}
		}
	}
}

// TestOtherVocabulary: a reward model with another tokenizer reads the answers as text, and the run says so.
func TestOtherVocabulary(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	out := filepath.Join(t.TempDir(), "other")
	c := lm.DefaultPretrain()
	recipetest.Tiny(t, &c, recipetest.TextFolder(t), out, "steps=5", "sequence_length=64", "tokenizer.vocab_size=290")
	other, _, err := recipetest.Start(t, &c, 1)
	if err != nil {
		t.Fatal(err)
	}
	judge, _, err := recipetest.Start(t, tinyReward(t, other.ModelDir, recipetest.PreferenceFile(t, "pairs"), filepath.Join(t.TempDir(), "judge"), "steps=2"), 1)
	if err != nil {
		t.Fatal(err)
	}
	_, events, err := recipetest.Start(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), "reward="+judge.ModelDir, "iterations=1"), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if m, ok := e.(train.MessageEvent); ok && strings.Contains(m.Text, "another tokenizer") {
			return
		}
	}
	t.Error("nothing says that the reward model has another tokenizer")
}

// TestStoppedAnswersAreScored as the texts that a reward model learned from: an answer that a stop string or token of the recipe ended has their end,
// one that ended by itself or by its length is scored as it was drawn, the former with the line end that the template writes behind it.
func TestStoppedAnswersAreScored(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for template, form := range map[string]string{"": "pairs", "zephyr": "messages"} {
		c := tinyReward(t, from, recipetest.PreferenceFile(t, form), filepath.Join(t.TempDir(), "judge"), "steps=5", "chat_template="+template)
		model, _, err := recipetest.Start(t, c, 1)
		if err != nil {
			t.Fatal(err)
		}
		dev := cpu.New(cpu.Options{Threads: 1})
		j, err := judge.Open(model.ModelDir, dev, device.F32, judge.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), "reward="+model.ModelDir, "chat_template="+template, "stop_strings=ee", fmt.Sprint("stop_token_ids=", j.Tokenizer().Encode(nil, []byte(" one"))[0]), "iterations=1", "prompts_per_iteration=32").run(recipe.Env{})
		tokens, texts, whole := 0, 0, 0
		r.Env = recipe.Env{Device: dev, Events: func(e train.Event) {
			if _, ok := e.(train.RolloutEvent); !ok {
				return
			}
			s := r.Stage.(*rolling)
			for _, a := range s.state.Answers {
				q := s.prompt[a.Prompt]
				want, err := j.Score(t.Context(), []judge.Text{{Prompt: q.Text, Messages: q.Messages, Answer: a.Text}})
				switch {
				case a.cutOff && strings.Contains(string(j.Tokenizer().Decode(a.IDs[a.From:])), "ee"):
					texts++
				case a.cutOff:
					tokens++
				default:
					whole++
					ids := a.IDs
					if a.Ended && template == "zephyr" {
						ids = j.Tokenizer().Encode(slices.Clone(ids), []byte("\n"))
					}
					want, err = j.ScoreTokens(t.Context(), [][]int32{ids})
				}
				if ended := slices.Contains(s.end.EOS, a.IDs[len(a.IDs)-1]); err != nil || a.Raw != want[0] || a.cutOff != (a.Ended && !ended) {
					t.Errorf("answer %q, cut off %v, ended %v, scores %v, want %v; %v", a.Text, a.cutOff, a.Ended, a.Raw, want, err)
				}
			}
		}}
		if _, err := recipe.Execute(t.Context(), r); err != nil || tokens == 0 || texts == 0 || whole == 0 {
			t.Errorf("template %q: %d answers cut off by a token, %d by a text and %d not; %v", template, tokens, texts, whole, err)
		}
		j.Free()
		dev.Close()
	}
}

// TestBrokenReward: a program that breaks in the middle of a run ends it with an error that says why; the
// answers and the checkpoint are kept, and with the program repaired the run goes on.
func TestBrokenReward(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skipf("no /bin/sh to run the reward program, a shell script: %v", err)
	}
	from, prompts := base(t), promptFile(t)
	dir := t.TempDir()
	program, broken := filepath.Join(dir, "score"), filepath.Join(dir, "broken")
	text := fmt.Sprintf("#!/bin/sh\nif [ -e '%s' ]; then echo out of coffee >&2; exit 1; fi\nwhile read -r line; do echo '{\"score\": 0.5}'; done\n", broken)
	if err := os.WriteFile(program, []byte(text), 0o777); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "run")
	args := []string{"reward=program:" + program, "reward_retries=1"}
	if _, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, out, append(args, "steps=4")...), 1); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, out, append(args, "steps=8", "resume=true")...), 1)
	if err == nil || !strings.Contains(err.Error(), "out of coffee") || !strings.Contains(err.Error(), "tried 2 times") || !strings.Contains(err.Error(), "; the answers are kept in") {
		t.Errorf("%v", err)
	}
	kept := string(recipetest.Read(t, out, "rollouts", "iteration-2.jsonl"))
	if strings.Count(kept, "\n") != 8 || !strings.Contains(kept, `"prompt"`) {
		t.Errorf("kept answers: %s", kept)
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	if sum, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, out, append(args, "steps=8", "resume=true")...), 1); err != nil || sum.Steps != 8 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestStopRule ends a run that goes wrong, with its weights, and says why.
func TestStopRule(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	sum, events, err := recipetest.Start(t, tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), "iterations=30", "optimizer.learning_rate=0.003", "kl_coef=0", "diagnosis.on=stop",
		"diagnosis.max_kl=0.2", "diagnosis.min_iterations=2", "diagnosis.entropy_ratio=0"), 1)
	if err != nil || !sum.StoppedEarly || !strings.HasPrefix(sum.StopReason, "KL exploding") || sum.ModelDir == "" || sum.Steps >= 120 {
		t.Fatalf("%+v, %v", sum, err)
	}
	if !slices.ContainsFunc(events, func(e train.Event) bool {
		m, ok := e.(train.MessageEvent)
		return ok && m.Text == fmt.Sprintf("stopped after step %d of 120: %s", sum.Steps, sum.StopReason)
	}) {
		t.Errorf("the run ends without a word on %s", sum.StopReason)
	}
}

// TestHeldOutPrompts are answered and scored in evaluations, always alike.
func TestHeldOutPrompts(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	sum, _, err := recipetest.Start(t, tinyGRPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), "validation_prompts="+prompts, "eval.every=1", "stop_strings=two,three"), 1)
	if err != nil || sum.Validation["completions/mean_length"] == 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	if _, ok := sum.Validation["objective/scores"]; !ok {
		t.Errorf("%v", sum.Validation)
	}
}

func TestRolloutsRefuse(t *testing.T) {
	for arg, want := range map[string]string{
		"reward=": "reward is not set", "prompts=": "prompts is not set", "num_mini_batches=100": "num_mini_batches", "temperature=0": "temperature", "dropout=0.1": "dropout", "neftune_noise_alpha=5": "neftune_noise_alpha", "ema_decay=0.9 optimizer.paged=true": "ema_decay",
		"max_completion_length=48": "max_completion_length", "gradient_accumulation_steps=2": "gradient_accumulation_steps", "reward_weights=1,2": "reward_weights",
		"stop_token_ids=x": "stop_token_ids", "kl_estimator=k4": "kl_estimator", "kl_in=both": "kl_in", "critic.kind=none": "critic.kind", "cliprange=0": "cliprange",
		"kl_target=1 kl_coef=0": "kl_target needs kl_coef and kl_horizon above 0, which are 0 and 10000", "kl_target=-1": "kl_target is -1; it must be above 0", "dual_clip=0.5": "dual_clip", "reward=length:0": "length", "diagnosis.on=maybe": "diagnosis.on", "ptx.data=x ptx.coef=0": "ptx.coef",
	} {
		c := tinyPPO(t, "m", "p", "o", strings.Fields(arg)...)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
	for arg, want := range map[string]string{"num_generations=1": "num_generations", "loss_type=ppo": "loss_type", "scale_rewards=all": "scale_rewards", "epsilon=1": "epsilon", "beta=-1": "beta"} {
		c := tinyGRPO(t, "m", "p", "o", strings.Fields(arg)...)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
	from := base(t)
	_, _, err := recipetest.Start(t, tinyPPO(t, from, promptFile(t), filepath.Join(t.TempDir(), "run"), "reward="+from), 1)
	if err == nil || !strings.Contains(err.Error(), "no scalar head") {
		t.Errorf("a language model as reward model: %v", err)
	}
	_, _, err = recipetest.Start(t, tinyPPO(t, from, promptFile(t), filepath.Join(t.TempDir(), "run"), "sequence_length=10"), 1)
	if err == nil || !strings.Contains(err.Error(), string(example.LongPrompt)) {
		t.Errorf("prompts that leave no room: %v", err)
	}
}

// TestPromptsAs: a prompt that is a text is what the user says where there is a chat template, unless the
// recipe says otherwise; the run tells, and a reward program reads the text as it was given.
func TestPromptsAs(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for _, c := range []struct{ args, said, prompt, fails string }{
		{"", "gone on from as they are", "one and one make", ""},
		{"chat_template=zephyr", "what the user says", "<|user|>\none and one make", ""},
		{"chat_template=zephyr prompts_as=text", "gone on from as they are", "one and one make", ""},
		{"prompts_as=user", "", "", "no chat template"},
		{"prompts_as=system", "", "", "prompts_as"},
	} {
		config := tinyPPO(t, from, prompts, filepath.Join(t.TempDir(), "run"), append(strings.Fields(c.args), "iterations=1", "num_ppo_epochs=1", "num_mini_batches=1", "sequence_length=60")...)
		if err := config.Validate(); err != nil {
			if c.fails == "" || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v", c.args, err)
			}
			continue
		}
		r := config.run(recipe.Env{})
		dev := cpu.New(cpu.Options{Threads: 1})
		said := ""
		r.Env = recipe.Env{Device: dev, Events: func(e train.Event) {
			if m, ok := e.(train.MessageEvent); ok {
				said += m.Text
			}
		}}
		_, err := recipe.Execute(context.Background(), r)
		dev.Close()
		if err != nil || c.fails != "" {
			if c.fails == "" || err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v", c.args, err)
			}
			continue
		}
		q := r.Stage.(*rolling).prompt[0]
		if text := string(r.Tokenizer.Decode(q.IDs)); !strings.Contains(said, c.said) || !strings.Contains(text, c.prompt) || strings.Contains(text, "<|user|>") != strings.Contains(c.prompt, "<|user|>") || q.Text != "one and one make" {
			t.Errorf("%s: the run says %q and asks %q", c.args, said, text)
		}
	}
}
