package report

import "fmt"

// overfitting is where a run began to fit its examples rather than what they have in common: at the evaluation with the lowest
// held-out loss, when a later one ends more than overfitShare above it while the training loss went on falling.
func (r *run) overfitting() (at eval, ok bool) {
	evals := r.measured()
	if len(evals) < 3 || len(r.steps) == 0 {
		return eval{}, false
	}
	best, last := 0, len(evals)-1
	for i, e := range evals {
		if e.Metrics["loss"] < evals[best].Metrics["loss"] {
			best = i
		}
	}
	at = evals[best]
	smooth := smoothed(r.steps)
	then := len(r.steps) - 1
	for i, s := range r.steps {
		if s.Step >= at.Step {
			then = i
			break
		}
	}
	rose := evals[last].Metrics["loss"] > at.Metrics["loss"]*(1+overfitShare)
	return at, rose && smooth[len(smooth)-1] < smooth[then]
}

// measured are the evaluations with a loss: that of a model that diverged is no number and left out of its event.
func (r *run) measured() (evals []eval) {
	for _, e := range r.evals {
		if _, has := e.Metrics["loss"]; has {
			evals = append(evals, e)
		}
	}
	return evals
}

// overfitShare is by how much the held-out loss must have risen to be taken for more than noise.
const overfitShare = 0.01

// overfitTile says where overfitting starts.
func (r *run) overfitTile() []tile {
	at, ok := r.overfitting()
	if !ok {
		return nil
	}
	evals := r.measured()
	last := evals[len(evals)-1].Metrics["loss"]
	return []tile{{"overfitting from", "step " + grouped(float64(at.Step)),
		fmt.Sprintf("lowest validation loss %s, later %s", exact(at.Metrics["loss"]), exact(last))}}
}
