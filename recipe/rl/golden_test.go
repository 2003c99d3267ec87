package rl

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"hone/device"
	"hone/device/cpu"
	"hone/loss"
	"hone/model"
	"hone/nn"
	"hone/recipe"
	"hone/recipe/recipetest"
	"hone/tensor"
	"hone/train"
)

// TestGoldenSteps follows five updates of PPO by transformers and torch, in one micro-batch and in two.
func TestGoldenSteps(t *testing.T) {
	golden := filepath.Join("..", "..", "testdata", "golden")
	var all struct {
		PPO struct {
			recipetest.Golden
			Head    struct{ Weight, Bias []float32 }
			Answers []*rollout
		}
	}
	if err := json.Unmarshal(recipetest.Read(t, golden, "preference_steps.json"), &all); err != nil {
		t.Fatal(err)
	}
	g := &all.PPO
	told := map[int]map[string]float64{} // metrics of the updates
	for _, size := range []int{4, 3} {   // so that one of two micro-batches has more tokens
		dev := cpu.New(cpu.Options{Threads: 1})
		m, err := model.Open(filepath.Join(golden, "llama_untied"), dev, device.F32)
		if err != nil {
			t.Fatal(err)
		}
		r := &recipe.Run{Env: recipe.Env{Device: dev}.WithDefaults(), Tape: tensor.NewTape(dev, device.F32), Model: m}
		c := DefaultPPO()
		c.KLIn, c.KLEstimator = "loss", loss.K3
		s := &rolling{c: &c.Rollouts, t: &c.Training, epochs: c.NumPPOEpochs, algorithm: &ppo{&c}, meter: train.NewMeter(), critic: &critic{}, r: r}
		s.state.KL.Coefficient = c.KLCoef
		s.critic.head = model.NewScoreHead(m.Shape().Hidden, model.ValueLayout)
		s.critic.head.Weight.Set(dev, device.F32, g.Head.Weight)
		s.critic.head.Bias.Set(dev, device.F32, g.Head.Bias)
		params := slices.Concat(m.Params, s.critic.params())
		g.Follow(t, "ppo", r, recipetest.Updates{Params: params, Objective: s.objective, Batches: dealAnswers(g.Answers, size)})
		told[size] = s.meter.Take()
		nn.Free(params)
		m.Free()
		dev.Close()
	}
	for name, v := range told[4] {
		if math.Abs(told[3][name]-v) > 1e-5*math.Abs(v)+1e-6 {
			t.Errorf("%s is %v in one micro-batch and %v in two", name, v, told[3][name])
		}
	}
}
