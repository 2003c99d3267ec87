package rl

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/loss"
	"hone/optim"
	"hone/recipe"
	"hone/recipe/config"
	"hone/train"
)

// answerOf is an answer of so many tokens behind a prompt of two, of which nothing else is known.
func answerOf(tokens int, score float64, ended bool) *rollout {
	return &rollout{IDs: make([]int32, 2+tokens), From: 2, Raw: score, Ended: ended}
}

func closeTo(got, want []float64) bool {
	return slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) <= 1e-9 || math.IsNaN(a) && math.IsNaN(b) })
}

// TestScoresAreShaped: norm, scale, clip, and then what an answer without an end loses, in this order. The
// scores are 1, 2 and 6: their mean is 3 and their deviation sqrt((4+1+9)/2) = sqrt(7).
func TestScoresAreShaped(t *testing.T) {
	std := math.Sqrt(7)
	for _, c := range []struct {
		keys string
		want []float64
	}{
		{"", []float64{1, 2, 6}},
		{"use_score_norm=true", []float64{1, 2, 6}}, // with use_score_scaling alone
		{"use_score_scaling=true", []float64{1 / std, 2 / std, 6 / std}},
		{"use_score_scaling=true use_score_norm=true", []float64{-2 / std, -1 / std, 3 / std}},
		{"score_clip=1.5", []float64{1, 1.5, 1.5}},
		{"use_score_scaling=true use_score_norm=true score_clip=0.5", []float64{-0.5, -1 / std, 0.5}},
		{"missing_eos_penalty=4", []float64{1, -2, 6}},
		{"score_clip=1.5 missing_eos_penalty=4", []float64{1, -2.5, 1.5}},
	} {
		r := defaultRollouts()
		if err := config.Override(&r, strings.Fields(c.keys)); err != nil {
			t.Fatal(err)
		}
		s := &rolling{c: &r}
		answers := []*rollout{answerOf(1, 1, true), answerOf(1, 2, false), answerOf(1, 6, true)}
		s.shape(answers)
		var got []float64
		for i, a := range answers {
			if got = append(got, a.Score); a.Raw != []float64{1, 2, 6}[i] {
				t.Errorf("%s: the score as it was given is %v now", c.keys, a.Raw)
			}
		}
		if !closeTo(got, c.want) {
			t.Errorf("%s: scores %v, want %v", c.keys, got, c.want)
		}
	}
}

// TestScoresAreScaledByTheWholeRun: the second iteration's by what both had, so that the scale does not jump.
func TestScoresAreScaledByTheWholeRun(t *testing.T) {
	r := defaultRollouts()
	r.ScoreScaling = true
	s := &rolling{c: &r}
	first := []*rollout{answerOf(1, 3, true)}
	if s.shape(first); first[0].Score != 3 { // of one score there is no deviation
		t.Errorf("a single score becomes %v", first[0].Score)
	}
	second := []*rollout{answerOf(1, 5, true)}
	if s.shape(second); math.Abs(second[0].Score-5/math.Sqrt2) > 1e-12 || s.state.Scores.Count != 2 {
		t.Errorf("the second becomes %v, of %+v", second[0].Score, s.state.Scores)
	}
}

// ppoStage is a stage of PPO that has everything but models.
func ppoStage(t *testing.T, keys ...string) (*rolling, *ppo) {
	t.Helper()
	c := DefaultPPO()
	c.WhitenAdv = false
	if err := config.Override(&c, keys); err != nil {
		t.Fatal(err)
	}
	r := c.run(recipe.Env{})
	s := r.Stage.(*rolling)
	return s, s.algorithm.(*ppo)
}

// TestPPOAdvantages by hand. The answer has three tokens, log-ratios 0.5, 0, -1 to the reference,
// values 1, 2, 4 and a score of 10.
func TestPPOAdvantages(t *testing.T) {
	write := func() []*rollout {
		a := answerOf(3, 10, true)
		a.Score, a.LogProbs, a.Ref, a.Values = 10, []float32{-1, -2, -3}, []float32{-1.5, -2, -2}, []float32{1, 2, 4}
		return []*rollout{a}
	}
	for _, c := range []struct {
		keys                []string
		advantages, returns []float64
		penalty             float64
	}{
		// rewards 0, 0, 10: δ are 2-1, 4-2, 10-4, summed from the end
		{[]string{"kl_coef=0", "lam=1"}, []float64{9, 8, 6}, []float64{10, 10, 10}, 0},
		{[]string{"kl_coef=0", "lam=0"}, []float64{1, 2, 6}, []float64{2, 4, 10}, 0},
		{[]string{"kl_coef=0", "lam=0.5"}, []float64{1 + 0.5*5, 2 + 0.5*6, 6}, []float64{4.5, 7, 10}, 0},
		{[]string{"kl_coef=0", "lam=1", "gamma=0.5"}, []float64{0 + 0 + 0.25*6, 0 + 0.5*6, 6}, []float64{2.5, 5, 10}, 0},
		// k1: rewards -0.2·0.5, 0, 10+0.2
		{[]string{"kl_coef=0.2", "lam=1"}, []float64{9.1, 8.2, 6.2}, []float64{10.1, 10.2, 10.2}, -0.1 + 0.2},
		// k2: d²/2 is 0.125, 0, 0.5
		{[]string{"kl_coef=0.2", "lam=0", "kl_estimator=k2"}, []float64{1 - 0.025, 2, 6 - 0.1}, []float64{2 - 0.025, 4, 9.9}, -0.125},
		// k3: exp(-d)-1+d is exp(-0.5)-0.5, 0, e-2
		{[]string{"kl_coef=1", "lam=0", "kl_estimator=k3"}, []float64{1 - (math.Exp(-0.5) - 0.5), 2, 6 - (math.E - 2)}, []float64{2 - (math.Exp(-0.5) - 0.5), 4, 10 - (math.E - 2)},
			-(math.Exp(-0.5) - 0.5) - (math.E - 2)},
		// in the loss it is not in the rewards
		{[]string{"kl_coef=0.2", "lam=0", "kl_in=loss"}, []float64{1, 2, 6}, []float64{2, 4, 10}, 0},
	} {
		s, p := ppoStage(t, c.keys...)
		answers := write()
		m := p.advantages(s, answers)
		if !closeTo(answers[0].Advantages, c.advantages) || !closeTo(answers[0].Returns, c.returns) {
			t.Errorf("%v: advantages %v and returns %v, want %v and %v", c.keys, answers[0].Advantages, answers[0].Returns, c.advantages, c.returns)
		}
		if got := []float64{m["objective/non_score_reward"], m["objective/rlhf_reward"]}; !closeTo(got, []float64{c.penalty, c.penalty + 10}) {
			t.Errorf("%v: beside the score %v, with it %v; want %v", c.keys, got[0], got[1], c.penalty)
		}
	}
}

// TestKLIsSteered after an iteration, whose own rewards have the coefficient of before; losses, which come later, have the new one.
func TestKLIsSteered(t *testing.T) {
	answers := func(kl float32) []*rollout {
		list := make([]*rollout, 10)
		for i := range list {
			list[i] = answerOf(1, 0, true)
			list[i].LogProbs, list[i].Ref, list[i].Values = []float32{kl}, []float32{0}, []float32{0}
		}
		return list
	}
	for kl, want := range map[float32]float64{2: 0.1, 2.2: 0.1 * (1 + 0.1*10/100), 200: 0.1 * (1 + 0.2*10/100), 0: 0.1 * (1 - 0.2*10/100)} {
		s, p := ppoStage(t, "kl_coef=0.1", "kl_target=2", "kl_horizon=100")
		m := p.advantages(s, answers(kl))
		if m["objective/kl_coef"] != 0.1 || math.Abs(s.state.KL.Coefficient-want) > 1e-8 {
			t.Errorf("a KL of %v: the iteration's coefficient is %v, the next one's %v, want %v", kl, m["objective/kl_coef"], s.state.KL.Coefficient, want)
		}
	}
	s, p := ppoStage(t, "kl_coef=0.1", "kl_target=2", "kl_horizon=100", "kl_in=loss")
	if m := p.advantages(s, answers(200)); m["objective/kl_coef"] != s.state.KL.Coefficient || s.state.KL.Coefficient == 0.1 {
		t.Errorf("in the loss the iteration's coefficient is told to be %v, its updates have %v", m["objective/kl_coef"], s.state.KL.Coefficient)
	}
	s, p = ppoStage(t, "kl_coef=0.1")
	if p.advantages(s, answers(50)); s.state.KL.Coefficient != 0.1 {
		t.Errorf("without a target it becomes %v", s.state.KL.Coefficient)
	}
}

// TestWhitened: over all tokens of the iteration, advantages to mean 0 and both to unit variance.
func TestWhitened(t *testing.T) {
	s, p := ppoStage(t, "kl_coef=0", "lam=0", "whiten_advantages=true")
	a, b := answerOf(1, 0, true), answerOf(2, 0, true)
	a.Score, a.Values, b.Score, b.Values = 1, []float32{0}, 6, []float32{0, 0}
	a.LogProbs, a.Ref, b.LogProbs, b.Ref = []float32{0}, []float32{0}, []float32{0, 0}, []float32{0, 0}
	p.advantages(s, []*rollout{a, b}) // advantages 1, 0, 6: mean 7/3, variance ((4/3)²+(7/3)²+(11/3)²)/2 = 31/3
	std := math.Sqrt(31.0/3 + 1e-8)
	if got, want := slices.Concat(a.Advantages, b.Advantages), []float64{(1 - 7.0/3) / std, (0 - 7.0/3) / std, (6 - 7.0/3) / std}; !closeTo(got, want) {
		t.Errorf("advantages %v, want %v", got, want)
	}
	if got := slices.Concat(a.Returns, b.Returns); !closeTo(got, []float64{1, 0, 6}) {
		t.Errorf("the returns are whitened, too: %v", got)
	}
	s, p = ppoStage(t, "kl_coef=0", "lam=0", "whiten_rewards=true")
	p.advantages(s, []*rollout{a, b})
	if got, want := slices.Concat(a.Returns, b.Returns), []float64{(1-7.0/3)/std + 7.0/3, (0-7.0/3)/std + 7.0/3, (6-7.0/3)/std + 7.0/3}; !closeTo(got, want) {
		t.Errorf("rewards %v, want %v", got, want) // scaled around their mean
	}
}

// TestExplainedVariance: 1 of values that are the returns, 0 of a constant, and not known of returns that do not vary.
func TestExplainedVariance(t *testing.T) {
	of := func(values []float32, returns ...float64) float64 {
		return explained([]*rollout{{Values: values[:1], Returns: returns[:1]}, {Values: values[1:], Returns: returns[1:]}})
	}
	got := []float64{of([]float32{1, 2, 6}, 1, 2, 6), of([]float32{3, 3, 3}, 1, 2, 6), of([]float32{1, 2, 3}, 1, 2, 6), of([]float32{1, 2, 3}, 5, 5, 5)}
	// of the third, the rest 0, 0, 3 varies by 6 and the returns by 14
	if want := []float64{1, 0, 1 - 6.0/14, math.NaN()}; !closeTo(got, want) {
		t.Errorf("explained %v, want %v", got, want)
	}
}

// TestGroupAdvantages: each loss's own comparison of the answers to a prompt.
func TestGroupAdvantages(t *testing.T) {
	const eps = 1e-4
	group := math.Sqrt2 / 2 // deviation of 1, 2 and of 5, 6
	whole := math.Sqrt((6.25 + 2.25 + 2.25 + 6.25) / 3)
	for _, c := range []struct {
		keys string
		want []float64
	}{
		{"loss_type=dapo", []float64{-0.5 / (group + eps), 0.5 / (group + eps), -0.5 / (group + eps), 0.5 / (group + eps)}},
		{"loss_type=gspo", []float64{-0.5 / (group + eps), 0.5 / (group + eps), -0.5 / (group + eps), 0.5 / (group + eps)}},
		{"loss_type=grpo scale_rewards=batch", []float64{-0.5 / (whole + eps), 0.5 / (whole + eps), -0.5 / (whole + eps), 0.5 / (whole + eps)}},
		{"loss_type=grpo scale_rewards=none", []float64{-0.5, 0.5, -0.5, 0.5}},
		{"loss_type=dr_grpo", []float64{-0.5, 0.5, -0.5, 0.5}}, // whose point it is
		{"loss_type=dr_grpo scale_rewards=group", []float64{-0.5 / (group + eps), 0.5 / (group + eps), -0.5 / (group + eps), 0.5 / (group + eps)}},
		{"loss_type=rloo", []float64{-1, 1, -1, 1}},
		{"loss_type=rloo beta=0.5", []float64{-1.5, 1.5, -1, 1}}, // the first answer is 1 nat away
	} {
		g := DefaultGRPO()
		if err := config.Override(&g, append(strings.Fields(c.keys), "num_generations=2", "kl_estimator=k1")); err != nil {
			t.Fatal(err)
		}
		var answers []*rollout
		for i, score := range []float64{1, 2, 5, 6} {
			a := answerOf(1, score, true)
			a.Score, a.LogProbs, a.Ref = score, []float32{0}, []float32{0}
			if i == 0 {
				a.Ref[0] = -1
			}
			answers = append(answers, a)
		}
		m := (&grpo{&g}).advantages(&rolling{}, answers)
		var got []float64
		for _, a := range answers {
			got = append(got, a.Advantages...)
		}
		if !closeTo(got, c.want) || m["frac_reward_zero_std"] != 0 {
			t.Errorf("%s: advantages %v, want %v; %v", c.keys, got, c.want, m)
		}
	}
	g := DefaultGRPO()
	g.NumGenerations = 2
	answers := []*rollout{answerOf(1, 0, true), answerOf(1, 0, true), answerOf(1, 0, true), answerOf(1, 0, true)}
	for i, score := range []float64{0.1, 0.1, 2, 3} {
		answers[i].Score = score
	}
	if m := (&grpo{&g}).advantages(&rolling{}, answers); m["frac_reward_zero_std"] != 0.5 || answers[0].Advantages[0] != 0 {
		t.Errorf("a group of equal rewards: %v, advantage %v", m, answers[0].Advantages)
	}
}

// TestWeightsOfTokens: what makes a mean of each loss. Two answers of 2 and 6 tokens are the
// batch, and 10 an answer's limit.
func TestWeightsOfTokens(t *testing.T) {
	c := DefaultGRPO()
	c.MaxCompletionLength = 10
	short, long := answerOf(2, 0, true), answerOf(6, 0, true)
	p := &pass{rolled: &rolled{answers: []*rollout{short, long}, tokens: 8, whole: 2}}
	for name, want := range map[string][2]float64{"grpo": {1.0 / 4, 1.0 / 12}, "gspo": {1.0 / 4, 1.0 / 12}, "rloo": {1.0 / 4, 1.0 / 12}, "dapo": {1.0 / 8, 1.0 / 8}, "dr_grpo": {1.0 / 20, 1.0 / 20}} {
		kind := groupLosses[name]
		if got := [2]float64{kind.weight(&c, p, short), kind.weight(&c, p, long)}; got != want || kind.sequence != (name == "gspo" || name == "rloo") {
			t.Errorf("%s: weights %v, want %v", name, got, want)
		}
	}
	if len(groupLosses) != 5 {
		t.Errorf("there are %d losses", len(groupLosses))
	}
}

// TestTurns: every epoch goes through all answers once, in an order of its own that a resumed run finds
// again, whether or not they divide evenly.
func TestTurns(t *testing.T) {
	for _, c := range []struct{ prompts, generations, parts, epochs int }{{8, 1, 2, 2}, {5, 2, 3, 3}, {7, 1, 7, 1}, {3, 1, 1, 4}} {
		r := defaultRollouts()
		r.PromptsPerIteration, r.NumGenerations, r.NumMiniBatches = c.prompts, c.generations, c.parts
		s := &rolling{c: &r, t: &recipe.Training{Seed: 3}, epochs: c.epochs}
		orders := map[string]bool{}
		for iteration := range 3 {
			for epoch := range c.epochs {
				var order []int
				for part := range c.parts {
					turn := s.turn(iteration, epoch*c.parts+part)
					if n, even := len(turn), r.answers()/c.parts; n < even || n > even+1 {
						t.Errorf("%+v: an update has %d answers", c, n)
					}
					order = append(order, turn...)
				}
				orders[fmt.Sprint(order)] = true
				slices.Sort(order)
				for i := range r.answers() {
					if i >= len(order) || order[i] != i {
						t.Fatalf("%+v: epoch %d of iteration %d learns from %v", c, epoch, iteration, order)
					}
				}
			}
		}
		if len(orders) < 2 {
			t.Errorf("%+v: all epochs have one order", c)
		}
		if r.updates(c.epochs) != c.parts*c.epochs {
			t.Errorf("%+v: %d updates", c, r.updates(c.epochs))
		}
	}
}

// TestAnswersAreDealt: each micro-batch knows the counts of the whole, and learns from the tokens of answers alone.
func TestAnswersAreDealt(t *testing.T) {
	list := []*rollout{answerOf(1, 0, true), answerOf(4, 0, true), answerOf(2, 0, true)}
	batches := dealAnswers(list, 2)
	if len(batches) != 2 {
		t.Fatalf("%d micro-batches", len(batches))
	}
	learned := 0
	for i, b := range batches {
		d := b.Extra.(*rolled)
		if b.Tokens != 7 || d.tokens != 7 || d.whole != 3 || len(d.answers) != []int{2, 1}[i] {
			t.Errorf("micro-batch %d is %+v of %d tokens", i, d, b.Tokens)
		}
		learned += b.Supervised()
	}
	if learned != 7 {
		t.Errorf("%d tokens are learned", learned)
	}
	if got := dealAnswers(nil, 2); len(got) != 0 {
		t.Errorf("of no answer: %v", got)
	}
}

// TestAnswersAreDescribed by TRL's names; equal scores do not spread, and without a reference
// there is no divergence from one.
func TestAnswersAreDescribed(t *testing.T) {
	a, b := answerOf(2, 1, true), answerOf(4, 3, false)
	a.LogProbs, a.Ref, b.LogProbs, b.Ref = []float32{-1, -1}, []float32{-2, -1}, []float32{0, 0, 0, 0}, []float32{0, -1, -1, 0}
	s := &rolling{algorithm: &ppo{}}
	want := map[string]float64{"objective/scores": 2, "objective/scores_std": math.Sqrt2, "completions/mean_length": 3, "completions/eos_share": 0.5, "objective/kl": 1.5}
	if diff := cmp.Diff(want, s.describe([]*rollout{a, b})); diff != "" {
		t.Error(diff)
	}
	s.algorithm = &grpo{&GRPO{}}
	got := s.describe([]*rollout{a, a})
	if _, ok := got["objective/kl"]; ok || got["objective/scores_std"] != 0 || got["completions/eos_share"] != 1 {
		t.Errorf("%v", got)
	}
	o := s.observe([]*rollout{a, b})
	if o.Score != 2 || o.Length != 3 || o.KL != 1.5 || math.Abs(o.FollowsLen-1) > 1e-12 || o.Entropy != 0 {
		t.Errorf("the rules see %+v", o)
	}
	if o := s.observe([]*rollout{a, a}); o.FollowsLen != 0 {
		t.Errorf("of equal scores the correlation is %v", o.FollowsLen)
	}
}

// TestDivergedAnswers are told of, whatever of them is no number.
func TestDivergedAnswers(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for want, a := range map[string]*rollout{"log-probabilities are": {LogProbs: []float32{0, nan}}, "under the reference are": {Ref: []float32{inf}}, "values of the critic are": {Values: []float32{0, 1, nan}}} {
		if err := checkRecalled([]*rollout{{LogProbs: []float32{-1}}, a}); err == nil || !strings.Contains(err.Error(), want+" not finite") || !strings.Contains(err.Error(), "lower optimizer.learning_rate") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := checkRecalled([]*rollout{{LogProbs: []float32{-1}, Ref: []float32{-2}}}); err != nil {
		t.Error(err)
	}
	if got := finite(map[string]float64{"a": 1, "b": math.NaN(), "c": math.Inf(1)}); !cmp.Equal(got, map[string]float64{"a": 1}) {
		t.Errorf("metrics %v", got)
	}
}

// TestFindingsEndOrWarn: stop is in good order and with the reason, a warning comes once for each rule.
func TestFindingsEndOrWarn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	var said []string
	m, err := train.OpenMetrics(path, 0, func(e train.Event) { said = append(said, e.(train.MessageEvent).Text) })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := defaultRollouts()
	s := &rolling{c: &c, r: &recipe.Run{Metrics: m, Loop: &train.Loop{}}}
	c.Diagnosis.On = "stop"
	stop := (*train.Stop)(nil)
	if err := s.diagnose(4, &finding{"KL exploding", "why"}); !errors.As(err, &stop) || stop.Reason != "KL exploding: why" {
		t.Errorf("stop: %v", err)
	}
	c.Diagnosis.On = "warn"
	for _, rule := range []string{"a", "b", "a", "b"} {
		if err := s.diagnose(4, &finding{rule, "why"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.diagnose(4, nil); err != nil || !slices.Equal(said, []string{"warning: a: why", "warning: b: why"}) || !slices.Equal(s.state.Watch.Told, []string{"a", "b"}) {
		t.Errorf("%v, said %q, remembered %q", err, said, s.state.Watch.Told)
	}
}

// TestWithoutAReference: a divergence of exactly 0 is not below any bound.
func TestWithoutAReference(t *testing.T) {
	d := defaultRollouts().Diagnosis
	d.NegativeKL = 0
	var w watch
	for i := range 10 {
		if f := w.see(&d, observation{Entropy: 1}); f != nil {
			t.Fatalf("iteration %d: %s", i, f.rule)
		}
	}
	d.NegativeKL = 0.5
	for _, kl := range []float64{-0.6, -0.5, -0.6} {
		if f := w.see(&d, observation{Entropy: 1, KL: kl}); f != nil {
			t.Errorf("a KL of %v: %s", kl, f.rule)
		}
	}
	if f := w.see(&d, observation{Entropy: 1, KL: -0.51}); ruleOf(f) != "negative KL" {
		t.Errorf("twice in a row: %v", f)
	}
}

// TestCriticLearnsAtItsOwnRate, as a factor on the policy's; without one at the same.
func TestCriticLearnsAtItsOwnRate(t *testing.T) {
	list := []optim.Param{{Name: "model.w"}, {Name: "critic.summary.weight"}, {Name: "critical"}}
	(&critic{}).learningRates(list, 1e-4)
	if list[1].LRScale != 0 {
		t.Errorf("without a rate of its own its factor is %v", list[1].LRScale)
	}
	(&critic{rate: 1e-3}).learningRates(list, 1e-4)
	if list[0].LRScale != 0 || math.Abs(float64(list[1].LRScale)-10) > 1e-5 || list[2].LRScale != 0 {
		t.Errorf("the factors are %v, %v and %v", list[0].LRScale, list[1].LRScale, list[2].LRScale)
	}
	for iteration, want := range []bool{true, true, false, false} {
		if c := (critic{warmup: 2}); c.warming(iteration) != want {
			t.Errorf("iteration %d warms up: %v", iteration, !want)
		}
	}
}

// TestAveragesAndKL: means of what was added, of nothing 0; an answer's divergence is the sum of its tokens'.
func TestAveragesAndKL(t *testing.T) {
	var s average
	if s.mean() != 0 {
		t.Errorf("the mean of nothing is %v", s.mean())
	}
	if s.add(1, 2); s.mean() != 1.5 {
		t.Errorf("%+v", s)
	}
	a := &rollout{LogProbs: []float32{-1, -2}, Ref: []float32{-2, -1}}
	for name, want := range map[string]float64{loss.K1: 0, loss.K2: 1, loss.K3: (math.Exp(-1) - 1 + 1) + (math.E - 1 - 1)} {
		if got := a.kl(name); math.Abs(got-want) > 1e-6 {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if (&rollout{LogProbs: []float32{-1}}).kl(loss.K1) != 0 {
		t.Error("without a reference there is a divergence")
	}
}
