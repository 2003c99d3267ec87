package recipe

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"hone/data"
	"hone/device"
	"hone/device/cpu"
	"hone/loss"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/tensor"
	"hone/train"
)

// goldenSteps is a case of testdata/golden/preference_steps.json, made by testdata/gen/preference_steps.py.
type goldenSteps struct {
	Pairs []struct {
		From             int
		Chosen, Rejected []int32
		Margin           float32
	}
	Head          struct{ Weight, Bias []float32 }
	Answers       []*rollout
	Losses, Norms []float64
}

// marked marks the tokens from number first on as supervised.
func marked(ids []int32, first int) []int32 {
	marks := make([]int32, len(ids))
	for i, id := range ids {
		marks[i] = data.Mark(id, i >= first)
	}
	return marks
}

func (g *goldenSteps) items() (list []judged) {
	for _, p := range g.Pairs {
		list = append(list, judged{answers: [][]int32{marked(p.Chosen, p.From), marked(p.Rejected, p.From)}, margin: p.Margin})
	}
	return list
}

// TestGoldenSteps follows five updates of transformers and torch for a reward model, DPO (also of a mixture of experts) and PPO, in one micro-batch and in two.
func TestGoldenSteps(t *testing.T) {
	var all map[string]*goldenSteps
	if err := json.Unmarshal(read(t, "..", "testdata", "golden", "preference_steps.json"), &all); err != nil {
		t.Fatal(err)
	}
	for name, g := range all {
		for _, size := range []int{4, 2} {
			if name == "dpo_experts" && size == 2 {
				continue // shares of experts are those of a micro-batch
			}
			dev := cpu.New(cpu.Options{Threads: 1})
			r := &run{env: Env{Device: dev}.withDefaults(), tape: tensor.NewTape(dev, device.F32)}
			var objective train.Objective
			var batches []data.Batch
			var params []nn.Named
			switch name {
			case "reward":
				objective, params = rewardSteps(t, r)
				batches = deal(g.items(), []int{0, 1, 2, 3}, size)
			case "dpo", "dpo_experts":
				items := g.items()
				objective, params = dpoSteps(t, r, items, map[string]string{"dpo": "llama_untied", "dpo_experts": "mixtral"}[name])
				batches = deal(items, []int{0, 1, 2, 3}, size)
			case "ppo":
				objective, params = ppoSteps(t, r, g)
				batches = dealAnswers(g.Answers, size)
			}
			followSteps(t, name, r, params, objective, batches, g)
			nn.Free(params)
			r.model.Free()
			dev.Close()
		}
	}
}

func followSteps(t *testing.T, name string, r *run, params []nn.Named, objective train.Objective, batches []data.Batch, g *goldenSteps) {
	t.Helper()
	var list []optim.Param
	for _, p := range params {
		list = append(list, optim.Param{Name: p.Name, Tensor: p.Tensor})
	}
	opt := optim.New(r.env.Device, list, optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxGradNorm: 1})
	defer opt.Free()
	for step, want := range g.Losses {
		total := 0.0
		for i, b := range batches {
			r.tape.Train(1, step, i)
			l := objective(r.tape, b)
			v, err := l.Item()
			if err != nil {
				t.Fatal(err)
			}
			total += v
			r.tape.Backward(l)
			r.tape.Reset()
		}
		norm, err := opt.Step(1e-3)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(total-want) > 2e-4*max(1, math.Abs(want)) || math.Abs(norm-g.Norms[step]) > 2e-3*g.Norms[step] {
			t.Errorf("%s in %d micro-batches, step %d: loss %.6f and norm %.5f, want %.6f and %.5f", name, len(batches), step+1, total, norm, want, g.Norms[step])
		}
	}
}

func rewardSteps(t *testing.T, r *run) (train.Objective, []nn.Named) {
	c := DefaultReward()
	c.CenterRewardsCoefficient = 0.125
	s := &rewarding{c: &c, meter: newMeter()}
	scorer, err := model.OpenScorer(filepath.Join("..", "testdata", "golden", "score", "llama"), r.env.Device, device.F32, model.ScorerOptions{Layout: model.ScoreLayout})
	if err != nil {
		t.Fatal(err)
	}
	s.scorer, r.model = scorer, scorer.Model
	return func(tape *tensor.Tape, b data.Batch) *tensor.Tensor { return s.objective(tape, b, inputOptions{}) }, scorer.Params
}

func openGolden(t *testing.T, r *run, name string) *model.Model {
	t.Helper()
	m, err := model.Open(filepath.Join("..", "testdata", "golden", name), r.env.Device, device.F32)
	if err != nil {
		t.Fatal(err)
	}
	r.model = m
	return m
}

func dpoSteps(t *testing.T, r *run, items []judged, name string) (train.Objective, []nn.Named) {
	c := DefaultDPO()
	c.Beta, c.BatchSize = 0.5, 3
	r.c = &c.Training
	m := openGolden(t, r, name)
	if err := r.computeReference(t.Context(), map[string][]judged{"items": items}); err != nil {
		t.Fatal(err)
	}
	s := &preferring{c: &c, meter: newMeter()}
	return func(tape *tensor.Tape, b data.Batch) *tensor.Tensor { return s.objective(m, tape, b) }, m.Params
}

func ppoSteps(t *testing.T, r *run, g *goldenSteps) (train.Objective, []nn.Named) {
	c := DefaultPPO()
	c.KLIn, c.KLEstimator = "loss", loss.K3
	m := openGolden(t, r, "llama_untied")
	s := &rolling{c: &c.Rollouts, t: &c.Training, epochs: c.NumPPOEpochs, algorithm: &ppo{&c}, meter: newMeter(), critic: &critic{}, r: r}
	s.state.KL.Coefficient = c.KLCoef
	s.critic.head = model.NewScoreHead(m.Shape().Hidden, model.ValueLayout)
	s.critic.head.Weight.Set(r.env.Device, device.F32, g.Head.Weight)
	s.critic.head.Bias.Set(r.env.Device, device.F32, g.Head.Bias)
	return s.objective, slices.Concat(m.Params, s.critic.params())
}
