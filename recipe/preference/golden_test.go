package preference

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"hone/data"
	"hone/device"
	"hone/device/cpu"
	"hone/model"
	"hone/recipe"
	"hone/recipe/recipetest"
	"hone/tensor"
	"hone/train"
)

// goldenSteps are updates on pairs; answers begin at token From.
type goldenSteps struct {
	recipetest.Golden
	Pairs []struct {
		From             int
		Chosen, Rejected []int32
		Margin           float32
	}
}

func (g *goldenSteps) items() (list []judged) {
	for _, p := range g.Pairs {
		list = append(list, judged{answers: [][]int32{recipetest.Marked(p.Chosen, p.From), recipetest.Marked(p.Rejected, p.From)}, margin: p.Margin})
	}
	return list
}

// TestGoldenSteps follows five updates of transformers and torch for a reward model and for DPO (also of a
// mixture of experts), in one micro-batch and in two.
func TestGoldenSteps(t *testing.T) {
	var all map[string]*goldenSteps
	if err := json.Unmarshal(recipetest.Read(t, "..", "..", "testdata", "golden", "preference_steps.json"), &all); err != nil {
		t.Fatal(err)
	}
	for name, base := range map[string]string{"reward": "score/llama", "dpo": "llama_untied", "dpo_experts": "mixtral"} {
		for _, size := range []int{4, 2} {
			if name == "dpo_experts" && size == 2 {
				continue // shares of experts are those of a micro-batch
			}
			dev := cpu.New(cpu.Options{Threads: 1})
			r := &recipe.Run{Env: recipe.Env{Device: dev}.WithDefaults(), Tape: tensor.NewTape(dev, device.F32)}
			items := all[name].items()
			dir := filepath.Join("..", "..", "testdata", "golden", filepath.FromSlash(base))
			objective := dpoSteps
			if name == "reward" {
				objective = rewardSteps
			}
			f := objective(t, r, items, dir)
			all[name].Follow(t, name, r, recipetest.Updates{Params: r.Model.Params, Objective: f, Batches: deal(items, []int{0, 1, 2, 3}, size)})
			r.Model.Free()
			dev.Close()
		}
	}
}

func rewardSteps(t *testing.T, r *recipe.Run, _ []judged, dir string) train.Objective {
	c := DefaultReward()
	c.CenterRewardsCoefficient = 0.125
	s := &rewarding{c: &c, meter: train.NewMeter()}
	var err error
	if s.scorer, err = model.OpenScorer(dir, r.Env.Device, device.F32, model.ScorerOptions{Layout: model.ScoreLayout}); err != nil {
		t.Fatal(err)
	}
	r.Model = s.scorer.Model
	return func(tape *tensor.Tape, b data.Batch) *tensor.Tensor { return s.objective(tape, b, recipe.Inputs{}) }
}

func dpoSteps(t *testing.T, r *recipe.Run, items []judged, dir string) train.Objective {
	c := DefaultDPO()
	c.Beta, c.BatchSize = 0.5, 3
	r.Training = &c.Training
	var err error
	if r.Model, err = model.Open(dir, r.Env.Device, device.F32); err != nil {
		t.Fatal(err)
	}
	if err := computeReference(t.Context(), r, map[string][]judged{"items": items}); err != nil {
		t.Fatal(err)
	}
	s := &preferring{c: &c, meter: train.NewMeter()}
	return func(tape *tensor.Tape, b data.Batch) *tensor.Tensor { return s.objective(r.Model, tape, b) }
}
