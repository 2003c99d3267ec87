package rl

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/nn"
	"hone/recipe"
	"hone/recipe/recipetest"
	"hone/reward"
	"hone/tensor"
	"hone/train"
)

// nothing is an algorithm without a loss of its own, so that what the stage adds to one stands alone.
type nothing struct {
	algorithm
	entropy bool
}

func (n nothing) entropyBonus() bool { return n.entropy }

func (nothing) loss(_ *rolling, p *pass) *tensor.Tensor {
	return p.tape.Constant(make([]float32, 1), 1)
}

// staged is a stage on a golden model, without rewards or critic, and answers of it to learn from:
// one of two tokens and two of one.
func staged(t *testing.T, name string) (s *rolling, answers []*rollout) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: 1})
	m, err := model.Open(filepath.Join("..", "..", "testdata", "golden", name), dev, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	tape := tensor.NewTape(dev, device.F32)
	t.Cleanup(func() { tape.Reset(); m.Free(); dev.Close() })
	r := &recipe.Run{Env: recipe.Env{Device: dev}.WithDefaults(), Tape: tape, Model: m}
	c := defaultRollouts()
	s = &rolling{c: &c, t: &recipe.Training{}, algorithm: nothing{}, meter: train.NewMeter(), r: r}
	for i, ids := range [][]int32{{5, 1, 4, 2}, {3, 2, 6}, {7, 7, 1}} {
		answers = append(answers, &rollout{IDs: ids, From: 2, LogProbs: make([]float32, len(ids)-2), Prompt: i})
	}
	return s, answers
}

// TestShareOfTheBalance: the load-balancing loss of a micro-batch counts by its share of the answers, so that
// those of an update add up to a mean.
func TestShareOfTheBalance(t *testing.T) {
	s, answers := staged(t, "mixtral")
	coefficient := float64(s.r.Model.Shape().RouterLoss)
	for i, b := range dealAnswers(answers, 2) {
		s.r.Tape.Train(1, 0, i)
		got := tensor.Values(s.objective(s.r.Tape, b))[0]
		balance := s.meter.Take()["router_aux_loss"]
		if share := []float64{2.0 / 3, 1.0 / 3}[i]; !(balance > 0) || math.Abs(got-coefficient*share*balance) > 1e-6*got {
			t.Errorf("micro-batch %d: %v of a load-balancing loss of %v times %v, want %.3f", i, got, balance, coefficient, share)
		}
	}
	s.critic = &critic{warmup: 1} // which alone learns then
	s.r.Tape.Train(1, 0, 0)
	if got := tensor.Values(s.objective(s.r.Tape, dealAnswers(answers, 3)[0]))[0]; got != 0 {
		t.Errorf("while the critic warms up the loss is %v", got)
	}
}

// TestEntropyByHand: that of each token of the answers, at the temperature that they are drawn at, by the logits
// that predict it; an update has the mean over its tokens, and an iteration that over all of its updates.
func TestEntropyByHand(t *testing.T) {
	s, answers := staged(t, "llama_untied")
	for _, temperature := range []float64{1, 0.5} {
		for _, bonus := range []bool{false, true} {
			s.c.Temperature, s.algorithm, s.state.Entropy = temperature, nothing{entropy: bonus}, average{}
			whole := 0.0
			// updates of two tokens each, the second of two answers
			for at, list := range [][]*rollout{answers[:1], answers[1:]} {
				s.approxKL, s.entropy = average{}, average{}
				want := 0.0
				for i, b := range dealAnswers(list, 1) {
					a := list[i]
					s.r.Tape.Infer()
					vocab := s.r.Model.Shape().Vocab
					logits := tensor.Values(nn.Logits(s.r.Model, s.r.Model.Hidden(recipe.Inputs{}.Of(s.r.Tape, &b)), nil))
					for row := a.From - 1; row < len(a.IDs)-1; row++ {
						want += entropyOf(logits[row*vocab:(row+1)*vocab], temperature) / 2
					}
					s.r.Tape.Train(1, 0, i)
					s.objective(s.r.Tape, b)
				}
				whole += want / 2
				if got := s.made()["policy/entropy_avg"]; math.Abs(got-want) > 1e-5 {
					t.Errorf("temperature %v, bonus %v: the entropy of update %d is %v, want %v", temperature, bonus, at, got, want)
				}
			}
			if got := s.observe(answers).Entropy; math.Abs(got-whole) > 1e-5 {
				t.Errorf("temperature %v, bonus %v: the entropy of the iteration is %v, want %v", temperature, bonus, got, whole)
			}
		}
	}
}

// entropyOf is that of the distribution of logits at a temperature.
func entropyOf(logits []float64, temperature float64) (h float64) {
	most, sum := slices.Max(logits)/temperature, 0.0
	for _, x := range logits {
		sum += math.Exp(x/temperature - most)
	}
	for _, x := range logits {
		logp := x/temperature - most - math.Log(sum)
		h -= math.Exp(logp) * logp
	}
	return h
}

// inside runs a recipe and calls see with its stage when each iteration has its answers.
func inside(t *testing.T, c *PPO, see func(s *rolling)) {
	t.Helper()
	r := c.run(recipe.Env{})
	dev := cpu.New(cpu.Options{Threads: 1})
	defer dev.Close()
	r.Env = recipe.Env{Device: dev, Events: func(e train.Event) {
		if _, ok := e.(train.RolloutEvent); ok {
			see(r.Stage.(*rolling))
		}
	}}
	if _, err := recipe.Execute(context.Background(), r); err != nil {
		t.Fatal(err)
	}
}

// TestTextHasItsOwnMean: text that is mixed in adds ptx.coef times the mean over its own tokens, however many
// tokens the answers have, by whose count the loop divides.
func TestTextHasItsOwnMean(t *testing.T) {
	c := tinyPPO(t, base(t), promptFile(t), filepath.Join(t.TempDir(), "run"), "iterations=1", "ptx.data="+recipetest.TextFolder(t), "ptx.coef=0.25")
	seen := 0
	inside(t, c, func(s *rolling) {
		seen++
		batches := s.ptx.mix([]data.Batch{{Tokens: 3}}, 0)
		if len(batches) != 2 {
			t.Fatalf("%d micro-batches", len(batches))
		}
		b := batches[1]
		own := b
		if own.Tokens = b.Supervised(); b.Tokens != 3 || own.Tokens < 2*3 {
			t.Errorf("text of %d tokens, %d for the loop", own.Tokens, b.Tokens)
		}
		s.r.Tape.Infer()
		want := tensor.Values(recipe.HeldOut(s.r.Model)(s.r.Tape, own))[0] / 4
		s.r.Tape.Infer()
		if got := tensor.Values(s.objective(s.r.Tape, b))[0]; math.Abs(got-want) > 1e-5*want {
			t.Errorf("text adds %v, want %v", got, want)
		}
	})
	if seen != 1 {
		t.Errorf("%d iterations", seen)
	}
}

// heard keeps the answers that it scores.
type heard struct{ last []string }

func (h *heard) Score(_ context.Context, answers []reward.Answer) ([]float64, error) {
	h.last = nil
	for _, a := range answers {
		h.last = append(h.last, a.Text)
	}
	return make([]float64, len(answers)), nil
}

// TestEvaluationsDrawAlike: the held-out prompts are answered by the same random numbers each time, so that
// evaluations differ by the policy alone, and by others than the iterations are.
func TestEvaluationsDrawAlike(t *testing.T) {
	prompts := filepath.Join(t.TempDir(), "prompts.jsonl")
	if err := os.WriteFile(prompts, []byte(strings.Repeat(`{"prompt":"one and"}`+"\n", 8)), 0o666); err != nil {
		t.Fatal(err)
	}
	c := tinyPPO(t, base(t), prompts, filepath.Join(t.TempDir(), "run"), "iterations=3", "num_ppo_epochs=1", "num_mini_batches=1", "validation_prompts="+prompts, "eval.every=100", "optimizer.learning_rate=1e-12")
	var written, evaluated []string
	h := &heard{}
	inside(t, c, func(s *rolling) {
		for i := range s.rewards.sources {
			s.rewards.sources[i].rule = h
		}
		texts := ""
		for _, a := range s.state.Answers {
			texts += a.Text + "|"
		}
		if _, err := s.evaluate(context.Background()); err != nil {
			t.Fatal(err)
		}
		written, evaluated = append(written, texts), append(evaluated, strings.Join(h.last, "|")+"|")
	})
	if len(evaluated) != 3 || evaluated[0] != evaluated[1] || evaluated[0] != evaluated[2] {
		t.Errorf("evaluations have the answers %q", evaluated)
	}
	if slices.Contains(written, evaluated[0]) {
		t.Errorf("an evaluation has the answers of an iteration, %q", evaluated[0])
	}
}
