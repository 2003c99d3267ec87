package report

import "testing"

func TestOverfitting(t *testing.T) {
	train := func(losses ...float64) (s []step) {
		for i, l := range losses {
			s = append(s, step{Step: 10 * (i + 1), Loss: l})
		}
		return s
	}
	held := func(losses ...float64) (e []eval) {
		for i, l := range losses {
			e = append(e, eval{Step: 10 * (i + 1), Metrics: map[string]float64{"loss": l}})
		}
		return e
	}
	for _, c := range []struct {
		name string
		run  run
		want int // step, 0 for none
	}{
		{"rises while training falls", run{steps: train(4, 3, 2, 1, 0.5), evals: held(4, 3, 2.5, 2.7, 3)}, 30},
		{"still falls", run{steps: train(4, 3, 2, 1), evals: held(4, 3, 2.5, 2.4)}, 0},
		{"rises by a little more than noise", run{steps: train(4, 3, 2, 1), evals: held(4, 3, 2.5, 2.54)}, 30},
		{"rises within noise", run{steps: train(4, 3, 2, 1), evals: held(4, 3, 2.5, 2.51)}, 0},
		{"both rise: diverged", run{steps: train(4, 3, 5, 9), evals: held(4, 3, 5, 9)}, 0},
		{"too few evaluations", run{steps: train(4, 3), evals: held(2, 3)}, 0},
		{"none", run{}, 0},
	} {
		at, ok := c.run.overfitting()
		if ok != (c.want > 0) || ok && at.Step != c.want {
			t.Errorf("%s: step %d, %v", c.name, at.Step, ok)
		}
		if f := c.run.lossFigure(); f != nil && (len(f.Marks) > 0) != ok {
			t.Errorf("%s: marks %v", c.name, f.Marks)
		}
	}
}
