package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"hone/chat"
	"hone/data"
	"hone/device"
	"hone/generate"
	"hone/internal/atomicfile"
	"hone/loss"
	"hone/model"
	"hone/nn"
	"hone/optim"
	"hone/tensor"
	"hone/tokenizer"
	"hone/train"
)

// algorithm is what PPO and the GRPO family do not share.
type algorithm interface {
	// advantages says how good each token of the answers was, and what of it is worth a metric.
	advantages(s *rolling, answers []*rollout) map[string]float64
	// loss is that of a micro-batch; p holds the policy's log-probabilities.
	loss(s *rolling, p *pass) *tensor.Tensor
	needsReference() bool
}

// rolling is the stage of learning from rollouts: in each iteration the model writes answers, they are scored, and the
// following steps learn from them. Which answers a step learns from, and in which order, is a function of the step.
type rolling struct {
	c         *Rollouts
	t         *Training
	epochs    int
	algorithm algorithm
	critic    *critic      // nil without one
	ref       *model.Model // a copy of the model as it is before training; nil with an adapter, which is switched off, or without reference
	rewards   *rewards
	template  *chat.Template
	prompt    []question
	held      []question
	stats     data.Stats
	stop      generate.Options // what ends an answer
	meter     *meter
	ptx       *ptx
	ema       *ema // nil without one
	again     int  // layers to run again in the backward pass
	state     rollingState
	far       share              // approximate KL of the update at hand
	entropy   share              // of its tokens
	last      map[string]float64 // metrics of the last iteration of this session
	r         *run
}

// question is a prompt to answer.
type question struct {
	ids      []int32
	text     string
	messages []chat.Message // of a conversation
}

// rollingState is what a run needs besides the weights to go on bit for bit.
type rollingState struct {
	Iteration int            `json:"iteration"` // that Answers are of, from 0
	Answers   []*rollout     `json:"answers"`   // nil before the first iteration
	Stopped   bool           `json:"stopped"`   // the policy is target_kl away from the one that wrote
	KL        loss.KLControl `json:"kl"`
	Scores    loss.Moments   `json:"scores"`
	Far       share          `json:"far"`     // approximate KL of the last update
	Entropy   share          `json:"entropy"` // over the updates of the iteration
	Watch     watch          `json:"watch"`
}

// share is a sum and a count.
type share struct {
	Sum   float64 `json:"sum"`
	Count float64 `json:"count"`
}

func (s *share) add(v ...float64) {
	for _, x := range v {
		s.Sum += x
		s.Count++
	}
}

func (s share) mean() float64 { return s.Sum / max(s.Count, 1) }

// rollout is an answer that the policy wrote.
type rollout struct {
	Prompt     int       `json:"prompt"`     // number of the question
	IDs        []int32   `json:"ids"`        // prompt and answer
	From       int       `json:"from"`       // the first token of the answer
	LogProbs   []float32 `json:"logprobs"`   // of its tokens when it was written
	Ref        []float32 `json:"ref"`        // under the reference
	Values     []float32 `json:"values"`     // of the critic
	Text       string    `json:"text"`       // of the answer
	Ended      bool      `json:"ended"`      // by an end token or a stop string
	Raw        float64   `json:"raw"`        // the score as it was given
	Score      float64   `json:"score"`      // as it counts
	Advantages []float64 `json:"advantages"` // of its tokens, or one for all of them
	Returns    []float64 `json:"returns"`
}

func (a *rollout) tokens() int { return len(a.IDs) - a.From }

// kl sums the estimates of an answer's tokens.
func (a *rollout) kl(estimator string) float64 {
	sum := 0.0
	for i := range a.Ref {
		sum += loss.EstimateKL(estimator, float64(a.LogProbs[i])-float64(a.Ref[i]))
	}
	return sum
}

func (s *rolling) openData(ctx context.Context, r *run) (err error) {
	s.r = r
	if r.tok, err = tokenizer.Load(s.c.Model); err != nil {
		return err
	}
	if bos, ok := r.tok.BOS(); ok {
		r.begin = []int32{bos}
	}
	if s.template, err = chatTemplate(s.c.ChatTemplate, s.c.Model, r.tok); err != nil {
		return err
	}
	if s.prompt, err = s.questions(ctx, s.c.Prompts, &s.stats); err != nil {
		return err
	}
	if len(s.c.ValidationPrompts) > 0 {
		if s.held, err = s.questions(ctx, s.c.ValidationPrompts, &data.Stats{}); err != nil {
			return err
		}
	}
	if len(s.prompt) == 0 || len(s.c.ValidationPrompts) > 0 && len(s.held) == 0 {
		return fmt.Errorf("no prompt is left (%s); raise sequence_length, lower max_completion_length, or give other prompts", s.stats.String())
	}
	s.setStops()
	if s.t.Steps == 0 {
		s.t.Steps = s.c.Iterations * s.c.updates(s.epochs)
	}
	if s.ptx != nil {
		return s.ptx.open(ctx, r, s.c)
	}
	return nil
}

// setStops collects what ends an answer.
func (s *rolling) setStops() {
	s.stop = generate.DefaultOptions()
	s.stop.EOS, _ = s.c.stopIDs() // validated
	if eos, ok := s.r.tok.EOS(); ok {
		s.stop.EOS = append(s.stop.EOS, eos)
	}
	s.stop.Stop = slices.Clone(s.c.StopStrings)
	if s.template != nil {
		ids, texts := s.template.Stops(s.r.tok)
		s.stop.EOS, s.stop.Stop = append(s.stop.EOS, ids...), append(s.stop.Stop, texts...)
	}
	s.stop.Temperature, s.stop.MaxNewTokens, s.stop.BatchSize = s.c.Temperature, s.c.MaxCompletionLength, s.c.RolloutBatchSize
}

// questions reads prompts and leaves out and counts those that leave no room for an answer.
func (s *rolling) questions(ctx context.Context, paths []string, stats *data.Stats) (list []question, err error) {
	enc := exampleEncoder{tok: s.r.tok, enc: s.r.tok.NewEncoder(), template: s.template}
	for e, err := range data.Prompts(data.Sources{Paths: paths, OnBadRecord: data.BadRecord(s.c.OnBadRecord)}, stats) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		q, err := enc.question(&e)
		if err != nil {
			return nil, fmt.Errorf("prompt %d: %w", len(list)+1, err)
		}
		if len(q.ids)+s.c.MaxCompletionLength > s.t.SequenceLength || len(q.ids) == 0 {
			if stats.Skipped == nil {
				stats.Skipped = map[data.Reason]int{}
			}
			stats.Skipped[longPrompt]++
			continue
		}
		list = append(list, q)
	}
	return list, nil
}

// question renders a prompt up to where its answer begins.
func (e *exampleEncoder) question(ex *data.Example) (q question, err error) {
	if ex.Messages == nil {
		if bos, ok := e.tok.BOS(); ok {
			q.ids = append(q.ids, bos)
		}
		q.ids, q.text = e.enc.Encode(q.ids, []byte(ex.Prompt)), ex.Prompt
		return q, nil
	}
	if e.template == nil {
		return q, errors.New("it is a conversation and the model has no chat template; set chat_template")
	}
	if q.messages, err = chatMessages(ex); err != nil {
		return q, err
	}
	enc, err := e.template.Encode(e.tok, q.messages, chat.Options{Tools: ex.Tools, AddGenerationPrompt: true})
	q.ids, q.text = enc.IDs, enc.Text
	return q, err
}

func (s *rolling) config(*run) ([]byte, error) { return nil, nil }

// open loads the policy and, where it is trained in full, a copy for the reference.
func (s *rolling) open(r *run, dtype device.DType) (m *model.Model, err error) {
	if m, err = model.Open(r.dir, r.env.Device, dtype); err != nil {
		return nil, err
	}
	if top := m.Head(); s.c.Temperature != 1 && (top.Bias != nil || top.SoftCap != 0) {
		m.Free()
		return nil, fmt.Errorf("temperature is %v, which this model's output layer (with a bias or a soft cap) cannot be trained at; use 1", s.c.Temperature)
	}
	if s.t.Method == "full" && s.algorithm.needsReference() {
		if s.ref, err = model.Open(r.dir, r.env.Device, dtype); err != nil {
			m.Free()
			return nil, err
		}
	}
	return m, nil
}

// with adds the critic to what is trained and opens what gives rewards.
func (s *rolling) with(r *run, t trained, dtype device.DType) (trained, error) {
	var err error
	if s.rewards, err = s.c.openRewards(r.tok, s.template, r.env.Device, dtype); err != nil {
		return t, err
	}
	if s.critic == nil {
		return t, nil
	}
	if err := s.critic.open(r, dtype); err != nil {
		return t, err
	}
	return &withCritic{t, s.critic}, nil
}

func (s *rolling) close() error {
	if s.ema != nil {
		s.ema.free()
	}
	if s.ref != nil {
		s.ref.Free()
	}
	if s.rewards != nil {
		s.rewards.free()
	}
	if s.ptx != nil {
		return s.ptx.close()
	}
	return nil
}

func (s *rolling) setLoop(r *run) (err error) {
	s.again, err = r.c.recompute(r.model.Shape().Layers)
	r.loop.Batches = s.step
	r.loop.Objective = s.objective
	r.loop.Metrics = s.made
	if s.held != nil {
		r.loop.Evaluate = s.evaluate
	}
	if s.c.EMADecay > 0 {
		policy := r.trained
		if w, ok := policy.(*withCritic); ok {
			policy = w.trained
		}
		s.ema = newEMA(r.env.Device, s.c.EMADecay, policy.params(), r.opt)
		r.loop.Every = append(r.loop.Every, train.Every{Steps: 1, Do: func(context.Context, int) ([]train.Event, error) {
			if !s.state.Stopped {
				s.ema.update()
			}
			return nil, nil
		}})
	}
	return err
}

// step is the stream of batches: it writes answers when an iteration begins and then deals them out.
func (s *rolling) step(ctx context.Context, step int) ([]data.Batch, error) {
	per := s.c.updates(s.epochs)
	iteration, update := step/per, step%per
	if s.state.Answers == nil || s.state.Iteration != iteration {
		if err := s.collect(ctx, iteration, step); err != nil {
			return nil, err
		}
	} else if s.c.TargetKL > 0 && s.state.Far.mean() > s.c.TargetKL {
		s.state.Stopped = true
	}
	if s.state.Stopped {
		return nil, train.ErrNoUpdate
	}
	s.far, s.entropy = share{}, share{}
	if s.critic != nil {
		s.critic.warm(s.r, iteration)
	}
	n, part := len(s.state.Answers), update%s.c.NumMiniBatches
	epoch := iteration*s.epochs + update/s.c.NumMiniBatches
	var list []*rollout
	for i := part * n / s.c.NumMiniBatches; i < (part+1)*n/s.c.NumMiniBatches; i++ {
		list = append(list, s.state.Answers[data.Draw(s.t.Seed, int64(n), int64(epoch*n+i))])
	}
	batches := dealAnswers(list, s.t.BatchSize)
	if s.ptx != nil {
		batches = s.ptx.mix(batches, step)
	}
	return batches, nil
}

// rolled is what a micro-batch is made of and the counts over the whole batch.
type rolled struct {
	answers []*rollout
	tokens  int // of all answers of the whole batch
	whole   int // answers of the whole batch
}

func dealAnswers(list []*rollout, size int) (batches []data.Batch) {
	tokens := 0
	for _, a := range list {
		tokens += a.tokens()
	}
	for at := 0; at < len(list); at += size {
		d := &rolled{answers: list[at:min(at+size, len(list))], tokens: tokens, whole: len(list)}
		b := data.Batch{Tokens: tokens, Extra: d}
		for _, a := range d.answers {
			b.AppendMarked(a.marks())
		}
		batches = append(batches, b)
	}
	return batches
}

// marks are the answer's tokens as supervised ones.
func (a *rollout) marks() []int32 {
	marks := make([]int32, len(a.IDs))
	for i, id := range a.IDs {
		marks[i] = data.Mark(id, i >= a.From)
	}
	return marks
}

// pass is a micro-batch on its way through the policy; the tensors have an element for each of the M tokens of the answers.
type pass struct {
	*rolled
	tape              *tensor.Tape
	batch             *data.Batch
	rows, owner       []int32        // of each token: its row, and its answer in the micro-batch
	hidden            *tensor.Tensor // [M, C]
	logProbs, entropy *tensor.Tensor // [M]
}

// begin lists the answers' tokens of a micro-batch.
func begin(t *tensor.Tape, b *data.Batch) (p *pass, targets []int32) {
	p = &pass{rolled: b.Extra.(*rolled), tape: t, batch: b}
	p.rows, targets, p.owner = supervisedRows(b)
	return p, targets
}

// run computes the hidden states of a model at the answers' tokens: [M, C].
func (p *pass) run(m nn.Model, in inputOptions) *tensor.Tensor {
	return tensor.Rows(m.Hidden(in.input(p.tape, p.batch)), p.tape.Ints(p.rows))
}

// forward runs a policy on the answers' tokens.
func (s *rolling) forward(t *tensor.Tape, m nn.Model, b *data.Batch, in inputOptions) *pass {
	p, targets := begin(t, b)
	p.hidden = p.run(m, in)
	h := p.hidden
	if s.c.Temperature != 1 {
		h = tensor.Scale(h, float32(1/s.c.Temperature))
	}
	p.logProbs, p.entropy = tensor.LogProbs(h, m.Head(), t.Ints(targets))
	return p
}

// constant puts a number for each token on the device.
func (p *pass) constant(of func(a *rollout, i int) float64) *tensor.Tensor {
	v := make([]float32, 0, len(p.owner))
	for _, a := range p.answers {
		for i := range a.tokens() {
			v = append(v, float32(of(a, i)))
		}
	}
	return p.tape.Constant(v, len(v))
}

func (p *pass) old() *tensor.Tensor {
	return p.constant(func(a *rollout, i int) float64 { return float64(a.LogProbs[i]) })
}

func (p *pass) ref() *tensor.Tensor {
	return p.constant(func(a *rollout, i int) float64 { return float64(a.Ref[i]) })
}

func (p *pass) advantages() *tensor.Tensor {
	return p.constant(func(a *rollout, i int) float64 { return a.Advantages[min(i, len(a.Advantages)-1)] })
}

// perToken are weights that make a mean over the tokens of the whole batch.
func (p *pass) perToken() *tensor.Tensor {
	return p.constant(func(*rollout, int) float64 { return 1 / float64(p.tokens) })
}

func (s *rolling) objective(t *tensor.Tape, b data.Batch) *tensor.Tensor {
	in := inputOptions{recompute: s.again}
	if text, ok := b.Extra.(*ptxPart); ok {
		return s.ptx.loss(t, s.r.model, &b, text, in)
	}
	p := s.forward(t, s.r.model, &b, in)
	l := s.algorithm.loss(s, p)
	s.measure(p)
	return l
}

// measure notes how far the policy has moved from the one that wrote.
func (s *rolling) measure(p *pass) {
	now, entropy := values(p.logProbs), values(p.entropy)
	at := 0
	for _, a := range p.answers {
		for _, old := range a.LogProbs {
			d := now[at] - float64(old)
			s.far.add(d * d / 2)
			s.meter.add("policy/approxkl_avg", d*d/2)
			s.meter.add("val/ratio", math.Exp(d))
			at++
		}
	}
	s.entropy.add(entropy...)
	s.meter.add("policy/entropy_avg", entropy...)
}

// made keeps what was measured in an update once it is made, so that one that is interrupted leaves nothing.
func (s *rolling) made() map[string]float64 {
	s.state.Far = s.far
	s.state.Entropy.Sum += s.entropy.Sum
	s.state.Entropy.Count += s.entropy.Count
	return s.meter.take()
}

// clipped notes the share of ratios that were clipped.
func (s *rolling) clipped(ratio *tensor.Tensor, c loss.Clip) {
	for _, r := range values(ratio) {
		out := 0.0
		if r < 1-float64(c.Low) || r > 1+float64(c.High) {
			out = 1
		}
		s.meter.add("policy/clipfrac_avg", out)
	}
}

// collect writes and scores the answers of an iteration.
func (s *rolling) collect(ctx context.Context, iteration, step int) error {
	begin := time.Now()
	questions := make([]int, s.c.PromptsPerIteration)
	for i := range questions {
		questions[i] = int(data.Draw(s.t.Seed, int64(len(s.prompt)), int64(iteration*s.c.PromptsPerIteration+i)))
	}
	answers, err := s.write(ctx, s.prompt, questions, s.c.NumGenerations, uint64(iteration)+1)
	if err != nil {
		return err
	}
	wrote := time.Since(begin).Seconds()
	if err := errors.Join(s.recall(ctx, answers), checkRecalled(answers)); err != nil {
		return err
	}
	begun := time.Now()
	if err := s.rewards.score(ctx, s.prompt, answers); err != nil {
		return errors.Join(err, s.keepAnswers(answers, iteration))
	}
	scored := time.Since(begun).Seconds()
	s.shape(answers)
	metrics := s.describe(answers)
	for name, v := range s.algorithm.advantages(s, answers) {
		metrics[name] = v
	}
	metrics["time/rollout"], metrics["time/scoring"] = wrote, scored
	stop := s.state.Watch.see(&s.c.Diagnosis, s.observe(answers))
	s.state.Iteration, s.state.Answers, s.state.Stopped, s.state.Far, s.state.Entropy = iteration, answers, false, share{}, share{}
	s.last = finite(metrics)
	return errors.Join(s.tell(train.RolloutEvent{Step: step + 1, Iteration: iteration + 1, Metrics: s.last, Took: time.Since(begin).Seconds()}), s.diagnose(stop))
}

func (s *rolling) tell(e train.Event) error { return s.r.metrics.Append(e) }

// finite leaves out what JSON has no word for.
func finite(metrics map[string]float64) map[string]float64 {
	for name, v := range metrics {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			delete(metrics, name)
		}
	}
	return metrics
}

// keepAnswers writes answers that could not be scored beside the run, so that they are not lost.
func (s *rolling) keepAnswers(answers []*rollout, iteration int) error {
	var text []byte
	for _, a := range answers {
		line, err := json.Marshal(map[string]any{"prompt": s.prompt[a.Prompt].text, "answer": a.Text, "ended": a.Ended})
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	path := s.r.folder.path(filepath.Join("rollouts", fmt.Sprintf("iteration-%d.jsonl", iteration+1)))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(path, text); err != nil {
		return err
	}
	return fmt.Errorf("the answers are kept in %s", path)
}

// write lets the policy answer the questions, each as often as generations says.
func (s *rolling) write(ctx context.Context, from []question, questions []int, generations int, draw uint64) ([]*rollout, error) {
	var prompts [][]int32
	var answers []*rollout
	for _, q := range questions {
		for range generations {
			prompts = append(prompts, from[q].ids)
			answers = append(answers, &rollout{Prompt: q, From: len(from[q].ids)})
		}
	}
	o := s.stop
	random := tensor.NewRandom(s.t.Seed, draw)
	o.Seed = random.Uint64()
	outs, err := generate.New(s.r.env.Device, s.r.tape.DType, s.r.model, s.r.tok).Run(ctx, prompts, o, nil)
	if err != nil {
		return nil, err
	}
	for i, out := range outs {
		a := answers[i]
		a.IDs, a.LogProbs, a.Text, a.Ended = slices.Concat(prompts[i], out.Tokens), out.LogProbs, out.Text, out.Finish != generate.FinishLength
	}
	return answers, nil
}

// recallRows is about how many tokens go through a model at once where nothing is trained.
const recallRows = 4096

// recall computes what is needed of the answers besides themselves: log-probabilities under the reference, values of the
// critic and, where the temperature is not 1, the policy's own log-probabilities at it.
func (s *rolling) recall(ctx context.Context, answers []*rollout) error {
	longest := 1
	for _, a := range answers {
		longest = max(longest, len(a.IDs))
	}
	for _, b := range dealAnswers(answers, max(1, recallRows/longest)) {
		if s.critic != nil || s.c.Temperature != 1 {
			if err := inferring(ctx, s.r.tape, func() error { s.recallPolicy(&b); return nil }); err != nil {
				return err
			}
		}
		if !s.algorithm.needsReference() {
			continue
		}
		m := nn.Model(s.r.model)
		if s.ref != nil {
			m = s.ref
		}
		err := s.r.withoutAdapter(func() error {
			return inferring(ctx, s.r.tape, func() error {
				p := s.forward(s.r.tape, m, &b, inputOptions{})
				return p.spread(p.logProbs, func(a *rollout, v []float32) { a.Ref = v })
			})
		})
		if err != nil {
			return fmt.Errorf("log-probabilities of the reference: %w", err)
		}
	}
	return nil
}

func (s *rolling) recallPolicy(b *data.Batch) {
	var p *pass
	if s.c.Temperature != 1 {
		p = s.forward(s.r.tape, s.r.model, b, inputOptions{})
		p.mustSpread(p.logProbs, func(a *rollout, v []float32) { a.LogProbs = v })
	} else if p, _ = begin(s.r.tape, b); !s.critic.separate {
		p.hidden = p.run(s.r.model, inputOptions{})
	}
	if s.critic != nil {
		p.mustSpread(s.critic.forward(p, inputOptions{}), func(a *rollout, v []float32) { a.Values = v })
	}
}

// checkRecalled refuses answers of a policy or a critic that has diverged, which no update and no file could hold.
func checkRecalled(answers []*rollout) error {
	for _, a := range answers {
		for name, list := range map[string][]float32{"log-probabilities": a.LogProbs, "log-probabilities under the reference": a.Ref, "values of the critic": a.Values} {
			for _, v := range list {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					return fmt.Errorf("the %s are not finite: training diverged; go back to an earlier checkpoint with a lower optimizer.learning_rate", name)
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

func (p *pass) mustSpread(x *tensor.Tensor, give func(*rollout, []float32)) {
	if err := p.spread(x, give); err != nil {
		panic(&tensor.Error{Op: "read", Problem: err.Error()})
	}
}

// shape turns scores as they were given into what counts.
func (s *rolling) shape(answers []*rollout) {
	raw := make([]float64, len(answers))
	for i, a := range answers {
		raw[i] = a.Raw
	}
	s.state.Scores.Add(raw)
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
		if !a.Ended {
			a.Score -= s.c.MissingEOS
		}
	}
}

// describe are the metrics of an iteration's answers, by TRL's names where it has one.
func (s *rolling) describe(answers []*rollout) map[string]float64 {
	var raw loss.Moments
	var length, ended, kl share
	for _, a := range answers {
		raw.Add([]float64{a.Raw})
		length.add(float64(a.tokens()))
		if kl.add(a.kl(loss.K1)); a.Ended {
			ended.add(1)
		} else {
			ended.add(0)
		}
	}
	m := map[string]float64{"objective/scores": raw.Mean, "objective/scores_std": raw.Std(), "completions/mean_length": length.mean(), "completions/eos_share": ended.mean()}
	if s.algorithm.needsReference() {
		m["objective/kl"] = kl.mean()
	}
	return m
}

// evaluate answers the held-out prompts, always with the same random numbers, and scores them.
func (s *rolling) evaluate(ctx context.Context) (map[string]float64, error) {
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
	if err := s.rewards.score(ctx, s.held, answers); err != nil {
		return nil, err
	}
	return finite(s.describe(answers)), nil
}

// keep writes the state into a checkpoint.
func (s *rolling) keep(dir string) error {
	text, err := json.Marshal(&s.state)
	if err == nil && s.ema != nil {
		err = s.ema.keep(dir)
	}
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, rolloutsName), text)
}

// rolloutsName is the file of a checkpoint with the answers that are being learned from.
const rolloutsName = "rollouts.json"

// restore reads the state of a checkpoint.
func (s *rolling) restore(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, rolloutsName))
	if err != nil {
		return err
	}
	s.state = rollingState{}
	if err := json.Unmarshal(text, &s.state); err != nil || s.ema == nil {
		return err
	}
	return s.ema.restore(dir)
}

func (s *rolling) identity() map[string]string {
	list := make([][]int32, len(s.prompt))
	for i := range s.prompt {
		list[i] = s.prompt[i].ids
	}
	return map[string]string{"contents of prompts": fmt.Sprintf("%016x", hashMarks(list...))}
}

func (s *rolling) info() (map[string]any, string) {
	values := map[string]any{"prompts": len(s.prompt), "validation_prompts": len(s.held), "answers_per_iteration": s.c.answers(), "updates_per_iteration": s.c.updates(s.epochs)}
	return values, fmt.Sprintf("prompts: %s; %d to answer%s", s.stats.String(), len(s.prompt), s.rewards.note)
}

func (s *rolling) example(*run) []train.Part { return nil }

func (s *rolling) prompts(r *run) (ids [][]int32, texts []string) {
	if len(r.c.Samples.Prompts) > 0 {
		return r.givenPrompts()
	}
	list := s.held
	if list == nil {
		list = s.prompt
	}
	for _, q := range list[:min(3, len(list))] {
		ids, texts = append(ids, q.ids), append(texts, q.text)
	}
	return ids, texts
}

func (s *rolling) beside(dir string) error { return saveTemplate(dir, s.template) }
func (s *rolling) summarise(sum *Summary)  { sum.Metrics = s.last }

// learningRates scales the learning rate of the critic.
func (s *rolling) learningRates(list []optim.Param) {
	if s.critic != nil {
		s.critic.learningRates(list, s.t.Optimizer.LearningRate)
	}
}
