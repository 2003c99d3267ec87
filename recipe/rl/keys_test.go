package rl

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hone/data"
	"hone/device"
	"hone/device/devicetest"
	"hone/model"
	"hone/nn"
	"hone/recipe"
	"hone/recipe/example"
	"hone/recipe/recipetest"
	"hone/reward"
	"hone/tensor"
	"hone/train"
)

// TestKeysAtTheirBounds: each key at its bounds, and past them with an error of one line that names it.
func TestKeysAtTheirBounds(t *testing.T) {
	ppo := func(keys string) error { return tinyPPO(t, "m", "p", "o", strings.Fields(keys)...).Validate() }
	grpo := func(keys string) error { return tinyGRPO(t, "m", "p", "o", strings.Fields(keys)...).Validate() }
	for _, fine := range []string{
		"num_ppo_epochs=1", "kl_coef=0", "gamma=0 lam=0", "gamma=1 lam=1", "vf_coef=0 entropy_coef=0", "cliprange_high=0", "cliprange_value=0", "dual_clip=1.1", "kl_target=1 kl_horizon=1", "critic.kind=separate critic.model=x",
		"critic.warmup=1", "on_bad_record=skip", "reward_timeout=0 reward_retries=0", "score_clip=0", "num_mini_batches=8", "ema_decay=0", "ema_decay=0.99", "stop_token_ids=0,17", "max_completion_length=47", "ptx.data=x ptx.coef=0.1",
	} {
		if err := ppo(fine); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
	for keys, want := range map[string]string{
		"num_ppo_epochs=0": "num_ppo_epochs is 0", "kl_coef=-1": "kl_coef is -1", "gamma=1.1": "gamma is 1.1", "lam=-0.1": "lam -0.1", "vf_coef=-1": "vf_coef is -1", "entropy_coef=-1": "entropy_coef -1",
		"kl_target=1 kl_horizon=0": "kl_horizon above 0", "critic.model=x": "critic.kind is head", "critic.warmup=-1": "critic.warmup is -1", "critic.learning_rate=-1": "critic.learning_rate -1", "critic.learning_rate=1e39": "critic.learning_rate is 1e+39; it must be at most 3.4e+38", "critic.warmup=1 ptx.data=x": "which ptx would train",
		"model=": "model is not set", "on_bad_record=warn": `on_bad_record is "warn"`, "reward_timeout=-1": "reward_timeout is -1", "reward_retries=-1": "reward_retries -1", "score_clip=-1": "score_clip is -1", "iterations=0": "iterations is 0",
		"rollout_batch_size=1048577": "rollout_batch_size is 1048577", "num_mini_batches=9": "more than the 8 answers", "ema_decay=1": "ema_decay is 1", "z_loss=0.1": "z_loss or", "label_smoothing=0.1": "label_smoothing is set",
		"reward_weights=x": `reward_weights has "x"`, "reward_weights=inf": `reward_weights has "inf"`, "stop_token_ids=-1": `stop_token_ids has "-1"`, "dual_clip=1": "dual_clip is 1",
	} {
		if err := ppo(keys); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", keys, err, want)
		}
	}
	if err := grpo("num_iterations=0"); err == nil || !strings.Contains(err.Error(), "num_iterations is 0") {
		t.Errorf("no iterations over the answers: %v", err)
	}
	if err := grpo("beta=0 entropy_coef=0 epsilon=0.99 epsilon_high=0 num_generations=2"); err != nil {
		t.Error(err)
	}
	c := tinyPPO(t, "m", "p", "o", "stop_token_ids=0,17", "reward=length:5,go_parser,org/name,runs")
	if c.StopStrings = []string{"a", ""}; c.Validate() == nil {
		t.Error("an empty text ends every answer at once")
	}
	if ids, err := c.stopIDs(); err != nil || !slices.Equal(ids, []int32{0, 17}) {
		t.Errorf("tokens %v end an answer, %v", ids, err)
	}
	if w, err := c.weights(); err != nil || !slices.Equal(w, []float64{1, 1, 1, 1}) {
		t.Errorf("rewards count %v, %v", w, err)
	}
	if models := c.Models(); !slices.Equal(models, []*string{&c.Model, &c.Reward[2]}) { // what may be a name in the cache
		t.Errorf("%d names of models", len(models))
	}
}

// TestKeysWithoutEffect are told with the setting beside which they change nothing.
func TestKeysWithoutEffect(t *testing.T) {
	for _, c := range []struct{ set, key, ppo, grpo string }{
		{"", "kl_estimator", "", "beta=0"}, {"", "kl_horizon", "kl_target=0", ""}, {"", "ptx.coef", "ptx.data not set", ""},
		{"", "reward_timeout", "a reward that is no program", "a reward that is no program"}, {"", "reward_retries", "a reward that is no program", "a reward that is no program"}, {"reward=program:./x", "reward_timeout", "", ""},
		{"", "eval.every", "nothing held out", "nothing held out"}, {"validation_prompts=p", "eval.every", "", ""},
		{"validation_prompts=p", "eval.max_tokens", "validation_prompts, all of which are answered", "validation_prompts, all of which are answered"},
		{"", "use_score_norm", "use_score_scaling=false", "use_score_scaling=false"}, {"use_score_scaling=true", "use_score_norm", "", ""},
		{"", "diagnosis.max_kl", "diagnosis.on=off", "diagnosis.on=off"}, {"", "diagnosis.on", "", ""}, {"diagnosis.on=warn", "diagnosis.max_kl", "", ""},
		{"", "iterations", "", ""}, {"steps=3", "iterations", "steps=3", "steps=3"}, {"", "samples.max_tokens", "samples.every=0", "samples.every=0"},
	} {
		keys := strings.Fields(c.set)
		if got := tinyPPO(t, "m", "p", "o", keys...).Unused(c.key); got != c.ppo {
			t.Errorf("ppo %s: %s is without effect with %q, want %q", c.set, c.key, got, c.ppo)
		}
		if got := tinyGRPO(t, "m", "p", "o", keys...).Unused(c.key); got != c.grpo {
			t.Errorf("grpo %s: %s is without effect with %q, want %q", c.set, c.key, got, c.grpo)
		}
	}
	for set, key := range map[string]string{"beta=0.1": "kl_estimator"} {
		if got := tinyGRPO(t, "m", "p", "o", set).Unused(key); got != "" {
			t.Errorf("with %s %s is without effect: %q", set, key, got)
		}
	}
	for set, key := range map[string]string{"kl_target=1": "kl_horizon", "ptx.data=x": "ptx.coef"} {
		if got := tinyPPO(t, "m", "p", "o", set).Unused(key); got != "" {
			t.Errorf("with %s %s is without effect: %q", set, key, got)
		}
	}
}

// says is a reward of the same scores whatever the answers.
type says []float64

func (s says) Score(context.Context, []reward.Answer) ([]float64, error) { return s, nil }

// TestRewardsAreSummed by their weights; one that is no number is told with the answer's.
func TestRewardsAreSummed(t *testing.T) {
	from := []example.Prompt{{Text: "q"}}
	answers := []*rollout{answerOf(1, 7, true), answerOf(1, 7, true)}
	r := &rewards{sources: []rewardSource{{name: "a", rule: says{1, 2}}, {name: "b", rule: says{10, 20}}}, weights: []float64{2, 0.5}}
	if err := r.score(t.Context(), from, answers); err != nil || answers[0].Raw != 7 || answers[1].Raw != 14 {
		t.Errorf("scores %v and %v, %v", answers[0].Raw, answers[1].Raw, err)
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		r.sources[1].rule = says{0, v}
		if err := r.score(t.Context(), from, answers); err == nil || err.Error() != fmt.Sprintf("reward b gives answer 2 the score %v; a reward must be a number", v) {
			t.Errorf("a score of %v: %v", v, err)
		}
	}
}

// TestSampledPrompts: the first three that are held out, or else of those that are learned from.
func TestSampledPrompts(t *testing.T) {
	s := &rolling{prompt: []example.Prompt{{Text: "a", IDs: []int32{1}}, {Text: "b", IDs: []int32{2}}, {Text: "c"}, {Text: "d"}}}
	r := &recipe.Run{Training: &recipe.Training{}}
	if ids, texts := s.Prompts(r); strings.Join(texts, "") != "abc" || len(ids) != 3 || ids[1][0] != 2 {
		t.Errorf("%v, %q", ids, texts)
	}
	s.held = []example.Prompt{{Text: "x"}}
	if _, texts := s.Prompts(r); strings.Join(texts, "") != "x" {
		t.Errorf("beside held-out prompts %q", texts)
	}
}

// TestTemperature: probabilities are those that answers are drawn from; a model whose output layer cannot be
// scaled is refused before it learns.
func TestTemperature(t *testing.T) {
	dev := devicetest.NewReference()
	m, err := model.Open(filepath.Join("..", "..", "testdata", "golden", "llama_untied"), dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Free()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	tape.Infer()
	a := &rollout{IDs: []int32{3, 1, 4, 1}, From: 2}
	b := dealAnswers([]*rollout{a}, 1)[0]
	logits, err := nn.Logits(m, m.Hidden(nn.NewInput(tape, []int32{3, 1, 4, 1}, []int32{0, 1, 2, 3}, []int32{0, 4})), nil).Float32s()
	if err != nil {
		t.Fatal(err)
	}
	for _, temperature := range []float64{1, 0.5, 2} {
		s := &rolling{c: &Rollouts{Temperature: temperature}, algorithm: &grpo{&GRPO{}}}
		got := tensor.Values(s.forward(tape, m, &b, recipe.Inputs{}).logProbs)
		for i, id := range []int{4, 1} { // the tokens of the answer, after those at rows 1 and 2
			row, sum := logits[(1+i)*m.Shape().Vocab:(2+i)*m.Shape().Vocab], 0.0
			for _, v := range row {
				sum += math.Exp(float64(v) / temperature)
			}
			if want := float64(row[id])/temperature - math.Log(sum); math.Abs(got[i]-want) > 1e-4 {
				t.Errorf("temperature %v: token %d has the log-probability %v, want %v", temperature, i, got[i], want)
			}
		}
	}

	// with a bias, with a soft cap
	for from, refused := range map[string]bool{"llama_untied": false, "phi_partial": true, "gemma2": true} {
		training := recipe.DefaultTraining()
		s := &rolling{c: &Rollouts{Temperature: 0.7}, t: &training, algorithm: &grpo{&GRPO{}}}
		before := dev.Memory().InUse
		m, err := s.Open(&recipe.Run{Training: &training, From: filepath.Join("..", "..", "testdata", "golden", from), Env: recipe.Env{Device: dev}}, device.F32)
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "temperature is 0.7") {
			t.Errorf("%s: %v", from, err)
		}
		if m != nil {
			m.Free()
		}
		if left := dev.Memory().InUse - before; left != 0 {
			t.Errorf("%s: %d bytes are left", from, left)
		}
	}
}

// TestPartsOfGroupLosses: a divergence adds its weighted mean over tokens, and entropy takes its own off.
func TestPartsOfGroupLosses(t *testing.T) {
	dev := devicetest.NewReference()
	tape := tensor.NewTape(dev, device.F32)
	defer tape.Reset()
	tape.Infer()
	list := []*rollout{answerOf(2, 0, true), answerOf(1, 0, true)}
	for i, a := range list {
		a.LogProbs, a.Ref, a.Advantages = make([]float32, a.tokens()), slices.Repeat([]float32{-1}, a.tokens()), []float64{float64(i)}
	}
	p := &pass{rolled: &rolled{answers: list, tokens: 3, whole: 2}, tape: tape, batch: &data.Batch{}, owner: []int32{0, 0, 1}, logProbs: tape.Constant(make([]float32, 3), 3),
		entropy: tape.Constant([]float32{1, 2, 6}, 3)}
	lossOf := func(beta, entropy float64) float64 {
		c := DefaultGRPO()
		c.Beta, c.EntropyCoef, c.KLEstimator = beta, entropy, "k1"
		return tensor.Values((&grpo{&c}).loss(&rolling{meter: train.NewMeter()}, p))[0]
	}
	plain := lossOf(0, 0)
	if math.Abs(plain+1.0/3) > 1e-6 { // minus the advantages, of tokens: 0, 0 and 1
		t.Errorf("the loss is %v", plain)
	}
	if got := lossOf(0.5, 0) - plain; math.Abs(got-0.5) > 1e-6 { // every token is e times as likely as under the reference
		t.Errorf("half of the divergence adds %v", got)
	}
	if got := lossOf(0, 0.5) - plain; math.Abs(got+1.5) > 1e-6 { // of 1, 2 and 6
		t.Errorf("half of the entropy adds %v", got)
	}
	// the mean of two tokens' ratios, or their product
	for kind, scale := range map[string][]float32{"gspo": {1.0 / 2, 1}, "rloo": {1, 1}} {
		s := (&grpo{&GRPO{LossType: kind}}).sequences(p)
		if got := tensor.Values(s.Weights); !slices.Equal(s.Scale, scale) || got[0] != 0.5 || got[1] != 0.5 || tensor.Values(s.Advantages)[1] != 1 {
			t.Errorf("%s: weights %v, log-ratios are scaled by %v", kind, got, s.Scale)
		}
	}
}

// TestSmallQuestions that the parts of a run ask.
func TestSmallQuestions(t *testing.T) {
	if o := (&Rollouts{RewardTimeout: 1.5, RewardRetries: 2}).programs(); o.Timeout != 1500*time.Millisecond || o.Retries != 2 {
		t.Errorf("programs have %+v", o)
	}
	for temperature, want := range map[float64]bool{1: true, 2: false, 0.5: false} {
		if got := (&rolling{c: &Rollouts{Temperature: temperature}, critic: &critic{}}).valuesCome(); got != want {
			t.Errorf("at temperature %v values come with answers: %v", temperature, got)
		}
	}
	if s := (&rolling{c: &Rollouts{Temperature: 1}, critic: &critic{separate: true}}); s.valuesCome() {
		t.Error("a critic of its own gives values while the policy writes")
	}
	for coefficient, want := range map[float64]bool{0: false, 1e-6: true, 1: true} {
		if (&grpo{&GRPO{EntropyCoef: coefficient}}).entropyBonus() != want || (&ppo{&PPO{EntropyCoef: coefficient}}).entropyBonus() != want || (&grpo{&GRPO{Beta: coefficient}}).needsReference() != want {
			t.Errorf("a coefficient of %v", coefficient)
		}
	}
}

// TestEstimators: what is not set is the estimator that holds the policy to the reference where it counts;
// others are warned of.
func TestEstimators(t *testing.T) {
	for keys, want := range map[string][2]string{
		"": {"k1", ""}, "kl_in=loss": {"k2", ""}, "kl_estimator=k3": {"k3", "k3 in the reward hardly"}, "kl_estimator=k2": {"k2", "k2 in the reward hardly"},
		"kl_in=loss kl_estimator=k1": {"k1", "k1 in the loss does not"}, "kl_in=loss kl_estimator=k3": {"k3", ""}, "kl_in=loss kl_estimator=k1 kl_coef=0": {"k1", ""},
	} {
		c := tinyPPO(t, "m", "p", "o", strings.Fields(keys)...)
		if err := c.Validate(); err != nil || c.KLEstimator != want[0] || !strings.Contains((&ppo{c}).note(), want[1]) || want[1] == "" && (&ppo{c}).note() != "" {
			t.Errorf("ppo %s: %s, %q, %v; want %q", keys, c.KLEstimator, (&ppo{c}).note(), err, want)
		}
	}
	for keys, want := range map[string][2]string{
		"beta=1": {"k3", ""}, "beta=1 loss_type=rloo": {"k1", ""}, "beta=1 loss_type=rloo kl_estimator=k3": {"k3", "k3 in the reward hardly"},
		"beta=1 kl_estimator=k1": {"k1", "k1 in the loss does not"}, "kl_estimator=k1": {"k1", ""}, "beta=1 kl_estimator=k2": {"k2", ""},
	} {
		c := tinyGRPO(t, "m", "p", "o", strings.Fields(keys)...)
		if err := c.Validate(); err != nil || c.KLEstimator != want[0] || !strings.Contains((&grpo{c}).note(), want[1]) || want[1] == "" && (&grpo{c}).note() != "" {
			t.Errorf("grpo %s: %s, %q, %v; want %q", keys, c.KLEstimator, (&grpo{c}).note(), err, want)
		}
	}
}

// TestResumeIgnoresTheEstimator where no divergence counts: its default depends on other keys, and would
// refuse checkpoints of the same updates.
func TestResumeIgnoresTheEstimator(t *testing.T) {
	from, prompts := base(t), promptFile(t)
	for beta, want := range map[string]string{"beta=0": "", "beta=0.1": "kl_estimator was k3 and is k1"} {
		out := filepath.Join(t.TempDir(), "run")
		run := func(args ...string) error {
			args = append([]string{"loss_type=rloo", beta, "prompts_per_iteration=1", "num_generations=2"}, args...)
			_, _, err := recipetest.Start(t, tinyGRPO(t, from, prompts, out, args...), 1)
			return err
		}
		if err := run("iterations=1", "kl_estimator=k3"); err != nil {
			t.Fatal(err)
		}
		if err := run("iterations=2", "resume=true"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", beta, err, want)
		}
	}
}

// TestResumeKeepsTheText: text that is mixed in may move, and is refused where it is another under its old name.
func TestResumeKeepsTheText(t *testing.T) {
	from, prompts, text, out := base(t), promptFile(t), recipetest.TextFolder(t), filepath.Join(t.TempDir(), "run")
	run := func(text string, args ...string) error {
		_, _, err := recipetest.Start(t, tinyPPO(t, from, prompts, out, append([]string{"ptx.data=" + text}, args...)...), 1)
		return err
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := cmp.Or(run(text, "iterations=1"), os.Rename(text, moved), run(moved, "iterations=2", "resume=true")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(moved, "03.txt"), []byte("one and one make three.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(moved, "iterations=3", "resume=true"); err == nil || !strings.Contains(err.Error(), "contents of ptx.data was") {
		t.Errorf("other text: %v", err)
	}
}
