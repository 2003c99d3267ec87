package rl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hone/data"
	"hone/device"
	"hone/generate"
	"hone/internal/atomicfile"
	"hone/internal/clock"
	"hone/loss"
	"hone/nn"
	"hone/recipe"
	"hone/recipe/example"
	"hone/tensor"
	"hone/train"
)

// collect writes and scores the answers of an iteration.
func (s *rolling) collect(ctx context.Context, iteration, step int) error {
	begin := clock.Now()
	questions := s.asked(iteration)
	s.keep(iteration, questions) // first, because writing fills it
	answers, err := s.write(ctx, s.prompt, questions, s.c.NumGenerations, uint64(iteration)+1)
	if err != nil {
		return err
	}
	wrote, begun := clock.Since(begin).Seconds(), clock.Now()
	if err := errors.Join(s.recall(ctx, answers), checkRecalled(answers)); err != nil {
		return err
	}
	if err := s.score(ctx, s.prompt, answers); err != nil {
		// writing them took most of the time, and a reward program that failed may be repaired
		return s.keepAnswers(err, answers, iteration)
	}
	scored := clock.Since(begun).Seconds()
	s.shape(answers)
	metrics := s.describe(answers)
	for name, v := range s.algorithm.advantages(s, answers) {
		metrics[name] = v
	}
	metrics["time/rollout"], metrics["time/scoring"] = wrote, scored
	stop := s.state.Watch.see(&s.c.Diagnosis, s.observe(answers)) // first, because it reads the entropy that the next line clears
	s.state.Iteration, s.state.Answers, s.state.Stopped = iteration, answers, false
	s.state.ApproxKL, s.state.Entropy, s.state.Warning = average{}, average{}, ""
	s.last = finite(metrics)
	event := train.RolloutEvent{Step: step + 1, Iteration: iteration + 1, Metrics: s.last, Took: clock.Since(begin).Seconds()}
	s.state.Told = timeless(event)
	return errors.Join(s.tell(event), s.diagnose(step, stop))
}

// timeless is the event without what depends on the clock, since checkpoints of equal runs are equal.
func timeless(e train.RolloutEvent) *train.RolloutEvent {
	e.Took, e.Metrics = 0, maps.Clone(e.Metrics)
	maps.DeleteFunc(e.Metrics, func(name string, _ float64) bool { return strings.HasPrefix(name, "time/") })
	return &e
}

// asked are the prompts of an iteration. They are drawn without replacement until all were asked, then anew: a function of (seed, iteration), so
// that a resumed run asks the same ones.
func (s *rolling) asked(iteration int) []int {
	questions := make([]int, s.c.PromptsPerIteration)
	for i := range questions {
		questions[i] = int(data.Draw(s.t.Seed, int64(len(s.prompt)), int64(iteration*s.c.PromptsPerIteration+i)))
	}
	return questions
}

// tell writes an event into the run's metrics.
func (s *rolling) tell(e train.Event) error { return s.r.Metrics.Append(e) }

// finite leaves out what JSON has no word for.
func finite(metrics map[string]float64) map[string]float64 {
	for name, v := range metrics {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			delete(metrics, name)
		}
	}
	return metrics
}

// keepAnswers writes answers that could not be scored beside the run, so that they are not lost,
// and adds to why where they are.
func (s *rolling) keepAnswers(why error, answers []*rollout, iteration int) error {
	var text []byte
	for _, a := range answers {
		line, err := json.Marshal(map[string]any{"prompt": s.prompt[a.Prompt].Text, "answer": a.Text, "ended": a.Ended})
		if err != nil {
			return errors.Join(why, err)
		}
		text = append(append(text, line...), '\n')
	}
	path := s.r.Folder.Path(filepath.Join("rollouts", fmt.Sprintf("iteration-%d.jsonl", iteration+1)))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return errors.Join(why, err)
	}
	if err := atomicfile.WriteFile(path, text); err != nil {
		return errors.Join(why, err)
	}
	return fmt.Errorf("%w; the answers are kept in %s", why, path)
}

// write lets the policy answer the questions, each as often as generations says.
func (s *rolling) write(ctx context.Context, from []example.Prompt, questions []int, generations int,
	draw uint64) ([]*rollout, error) {
	var prompts [][]int32
	var answers []*rollout
	for _, q := range questions {
		for range generations {
			prompts = append(prompts, from[q].IDs)
			answers = append(answers, &rollout{Prompt: q, From: len(from[q].IDs)})
		}
	}
	o := s.stop
	o.Joined = func(i int) bool { return from[answers[i].Prompt].Messages == nil }
	random := tensor.NewRandom(s.t.Seed, draw) // of (seed, iteration): a resumed run writes the same answers
	// draw 0 is that of evaluations, which so differ by the policy alone; iterations begin at 1
	o.Seed = random.Uint64()
	if s.kept != nil {
		o.Results, o.Keep = s.kept, func(i int) bool { return s.keeps[i] }
	}
	if s.valuesCome() {
		o.Value = s.critic.head.Forward
	}
	done := func() {}
	_ = tensor.Try(func() { done = nn.ArrangeBeside(s.r.Model.Model) }) // without room for it, writing is slower
	outs, err := generate.New(s.r.Env.Device, s.r.Tape.DType, s.r.Model, s.r.Tokenizer).Run(ctx, prompts, o, nil)
	done()
	if err != nil {
		return nil, err
	}
	for i, out := range outs {
		a := answers[i]
		a.kept = out.Rows
		a.IDs, a.LogProbs, a.Values = slices.Concat(prompts[i], out.Tokens), out.LogProbs, out.Values
		a.Text, a.Ended, a.cutOff = out.Text, out.Finish != generate.FinishLength, s.cutOff(&out)
	}
	return answers, nil
}

// valuesCome tells that answers are written with their values, whose head is on the states that tokens are drawn from.
func (s *rolling) valuesCome() bool {
	return s.critic != nil && !s.critic.separate && s.c.Temperature == 1
}

// recallRows is about how many tokens go through a model at once where nothing is trained.
const recallRows = 4096

// recall computes what is needed of the answers and was not at hand when they were written: log-probabilities
// under the reference, values of a separate critic and, where recallsPolicy, the policy's own log-probabilities.
func (s *rolling) recall(ctx context.Context, answers []*rollout) error {
	longest := 1
	for _, a := range answers {
		longest = max(longest, len(a.IDs))
	}
	// One micro-batch goes through all models before the next: what it holds is freed in between. The number of
	// answers that go together bounds memory by the longest of them; rows have the same bits whatever is beside them.
	for _, b := range dealAnswers(answers, max(1, recallRows/longest)) {
		if s.critic != nil && !s.valuesCome() || s.recallsPolicy() {
			if err := train.Infer(ctx, s.r.Tape, func() error { s.recallPolicy(&b); return nil }); err != nil {
				return err
			}
		}
		if !s.algorithm.needsReference() {
			continue
		}
		m := nn.Model(s.r.Model)
		if s.ref != nil {
			m = s.ref
		}
		err := s.r.WithoutAdapter(func() error {
			return train.Infer(ctx, s.r.Tape, func() error {
				// not recorded, so it does not use up the results that were kept from writing
				p := s.forward(s.r.Tape, m, &b, recipe.Inputs{})
				return p.spread(p.logProbs, func(a *rollout, v []float32) { a.Ref = v })
			})
		})
		if err != nil {
			return fmt.Errorf("log-probabilities of the reference: %w", err)
		}
	}
	return nil
}

// recallsPolicy tells that the log-probabilities from when an answer was written are not those that training begins
// with: at another temperature, and on a device that rounds a token's products otherwise when many are beside it.
func (s *rolling) recallsPolicy() bool {
	return device.IsLoose(s.r.Env.Device) || s.c.Temperature != 1
}

// recallPolicy sets the log-probabilities and values of answers that were not at hand when they were
// written, by a pass like training's.
func (s *rolling) recallPolicy(b *data.Batch) {
	var p *pass
	if s.recallsPolicy() {
		p = s.forward(s.r.Tape, s.r.Model, b, recipe.Inputs{})
		p.mustSpread(p.logProbs, func(a *rollout, v []float32) { a.LogProbs = v })
	} else if p, _ = begin(s.r.Tape, b); !s.critic.separate {
		p.hidden = p.run(s.r.Model, recipe.Inputs{})
	}
	if s.critic != nil {
		p.mustSpread(s.critic.forward(p, recipe.Inputs{}), func(a *rollout, v []float32) { a.Values = v })
	}
}

// checkRecalled refuses answers of a policy or a critic that has diverged, which no update and no file could hold.
func checkRecalled(answers []*rollout) error {
	for _, a := range answers {
		for name, list := range map[string][]float32{
			"log-probabilities": a.LogProbs, "log-probabilities under the reference": a.Ref, "values of the critic": a.Values,
		} {
			for _, v := range list {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					return fmt.Errorf("the %s are not finite: training diverged; "+
						"go back to an earlier checkpoint with a lower optimizer.learning_rate", name)
				}
			}
		}
	}
	return nil
}

// spread gives each answer its part of a tensor of tokens.
func (p *pass) spread(x *tensor.Tensor, give func(*rollout, []float32)) error {
	v, err := x.Float32s()
	if err != nil {
		return err
	}
	for _, a := range p.answers {
		n := a.tokens()
		give(a, v[:n:n])
		v = v[n:]
	}
	return nil
}

// mustSpread is spread within a pass, whose failures are panics.
func (p *pass) mustSpread(x *tensor.Tensor, give func(*rollout, []float32)) {
	if err := p.spread(x, give); err != nil {
		panic(&tensor.Error{Op: "read", Problem: err.Error()})
	}
}

// score asks the rewards, with the policy's adapter off the base that they may share with it.
func (s *rolling) score(ctx context.Context, from []example.Prompt, answers []*rollout) error {
	return s.r.WithoutAdapter(func() error { return s.rewards.score(ctx, from, answers) })
}

// shape turns scores as they were given into what counts.
func (s *rolling) shape(answers []*rollout) {
	raw := make([]float64, len(answers))
	for i, a := range answers {
		raw[i] = a.Raw
	}
	s.state.Scores.Add(raw) // over the whole run, so that the scale does not jump with each iteration
	for _, a := range answers {
		a.Score = a.Raw
		if s.c.ScoreScaling {
			if s.c.UseScoreNorm {
				a.Score -= s.state.Scores.Mean
			}
			a.Score /= s.state.Scores.Std()
		}
		if s.c.ScoreClip > 0 {
			a.Score = min(max(a.Score, -s.c.ScoreClip), s.c.ScoreClip)
		}
		// last, so that neither scaling nor clipping makes the penalty smaller than the recipe says
		if !a.Ended {
			a.Score -= s.c.MissingEOS
		}
	}
}

// describe are the metrics of an iteration's answers, by TRL's names where it has one.
func (s *rolling) describe(answers []*rollout) map[string]float64 {
	var raw loss.Moments
	var length, ended, kl average
	for _, a := range answers {
		raw.Add([]float64{a.Raw})
		length.add(float64(a.tokens()))
		if kl.add(a.kl(loss.K1)); a.Ended {
			ended.add(1)
		} else {
			ended.add(0)
		}
	}
	// Moments.Std is 1 where nothing varies, which is right for a divisor and wrong for a metric.
	spread := 0.0 // of equal scores
	if raw.M2 > 0 {
		spread = raw.Std()
	}
	m := map[string]float64{
		"objective/scores": raw.Mean, "objective/scores_std": spread,
		"completions/mean_length": length.mean(), "completions/eos_share": ended.mean(),
	}
	if s.algorithm.needsReference() {
		m["objective/kl"] = kl.mean()
	}
	return m
}

// evaluate answers the held-out prompts, always with the same random numbers, and scores them.
func (s *rolling) evaluate(ctx context.Context) (map[string]float64, error) {
	// what was kept of the answers that are being learned from would not be of those that are written now
	s.forget()
	questions := make([]int, len(s.held))
	for i := range questions {
		questions[i] = i
	}
	answers, err := s.write(ctx, s.held, questions, 1, 0)
	if err != nil {
		return nil, err
	}
	if err := s.recall(ctx, answers); err != nil {
		return nil, err
	}
	if err := s.score(ctx, s.held, answers); err != nil {
		return nil, err
	}
	return finite(s.describe(answers)), nil
}
