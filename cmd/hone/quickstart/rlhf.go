package quickstart

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"hone/chat"
	"hone/data"
	"hone/device"
	"hone/device/cpu"
	"hone/eval"
	"hone/generate"
	"hone/internal/atomicfile"
	"hone/model"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/judge"
	"hone/recipe/lm"
	"hone/recipe/preference"
	"hone/recipe/rl"
	"hone/reward"
	"hone/tensor"
	"hone/tokenizer"
)

// The size of the part of the quickstart that learns from preferences.
const (
	comparisons  = 400 // prompts that the stand-in annotator is shown two answers to
	heldOutTasks = 200 // held-out prompts that each stage answers
	answerTokens = 96  // tokens of an answer at most
)

// task is a function to write: the instruction, and how people wrote it.
type task struct{ instruction, answer string }

// row is a stage of the quickstart on held-out prompts.
type row struct {
	Stage       string      `json:"stage"` // base, sft, ppo or dpo
	ParseRate   float64     `json:"parse_rate"`
	ParseCI     [2]float64  `json:"parse_rate_ci95"`
	HeldOutLoss float64     `json:"heldout_loss"` // nats per token of people's answers
	LossCI      [2]float64  `json:"heldout_loss_ci95"`
	Reward      *float64    `json:"reward"` // of the reward model; null where there is none
	RewardCI    *[2]float64 `json:"reward_ci95"`
	KL          float64     `json:"kl"` // nats an answer from sft
	KLCI        [2]float64  `json:"kl_ci95"`
}

// tasks reads the pairs of the stage before and parts them as that did.
func tasks(path string, heldOut float64) (train, held []task, err error) {
	var stats data.Stats
	for d, err := range data.Split(data.Sources{Paths: []string{path}, Records: true}.Documents(&stats), heldOut, false, data.ExampleContent) {
		if err != nil {
			return nil, nil, err
		}
		ex, err := data.ParseExample(d.Text)
		if err != nil {
			return nil, nil, err
		}
		var m [2]struct{ Content string }
		for i := range m {
			if err := json.Unmarshal(ex.Messages[i], &m[i]); err != nil {
				return nil, nil, err
			}
		}
		if t := (task{m[0].Content, m[1].Content}); d.Held {
			held = append(held, t)
		} else {
			train = append(train, t)
		}
	}
	return train, held, nil
}

// answerer is a model opened to answer.
type answerer struct {
	dev      device.Device
	model    *model.Model
	tok      *tokenizer.Tokenizer
	template *chat.Template
	tape     *tensor.Tape
}

func (w *answerer) free() { w.model.Free() }

// written is an answer with its tokens.
type written struct {
	text  string
	marks []int32 // of prompt and answer; see data.Mark
	logp  float64 // of the answer under the model that wrote it
}

// answer writes an answer to each task.
func (w *answerer) answer(ctx context.Context, list []task, seed uint64) ([]written, error) {
	o := generate.DefaultOptions()
	o.MaxNewTokens, o.BatchSize, o.Seed = answerTokens, 64, seed
	o.EOS, o.Stop = w.template.Stops(w.tok)
	if eos, ok := w.tok.EOS(); ok {
		o.EOS = append(o.EOS, eos)
	}
	prompts := make([][]int32, len(list))
	for i, t := range list {
		e, err := w.template.Encode(w.tok, []chat.Message{chat.NewMessage("user", t.instruction)}, chat.Options{AddGenerationPrompt: true})
		if err != nil {
			return nil, err
		}
		// The end of a prompt has the signature, which matters more than where its comment begins.
		prompts[i] = e.IDs[max(0, len(e.IDs)+answerTokens-w.model.Shape().MaxPositions):]
	}
	outs, err := generate.New(w.dev, device.F32, w.model, w.tok).Run(ctx, prompts, o, nil)
	if err != nil {
		return nil, err
	}
	answers := make([]written, len(outs))
	for i, out := range outs {
		a := written{text: out.Text}
		for _, id := range prompts[i] {
			a.marks = append(a.marks, data.Mark(id, false))
		}
		for k, id := range out.Tokens {
			a.marks = append(a.marks, data.Mark(id, true))
			a.logp += float64(out.LogProbs[k])
		}
		answers[i] = a
	}
	return answers, nil
}

// annotate is the stand-in annotator: an answer that parses is worth a point, and one that also is gofmt-clean another.
func annotate(t task, answer string) int {
	points := 0
	if reward.Parses(t.instruction, answer) {
		points++
	}
	if points > 0 && reward.Formatted(t.instruction, answer) {
		points++
	}
	return points
}

// compare lets the tuned model answer each task twice and the stand-in annotator choose; ties are left out.
func compare(ctx context.Context, w *answerer, list []task, path string) (n int, err error) {
	var twice [2][]written
	for k := range twice {
		if twice[k], err = w.answer(ctx, list, uint64(k+1)); err != nil {
			return 0, err
		}
	}
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	for i, t := range list {
		a, b := twice[0][i].text, twice[1][i].text
		x, y := annotate(t, a), annotate(t, b)
		// Ties teach nothing, and an answer of nothing would teach to say anything.
		if x == y || strings.TrimSpace(a) == "" || strings.TrimSpace(b) == "" {
			continue
		}
		if x < y {
			a, b = b, a
		}
		say := func(role, text string) map[string]string { return map[string]string{"role": role, "content": text} }
		if err := lines.Encode(map[string]any{"prompt": []any{say("user", t.instruction)}, "chosen": []any{say("assistant", a)},
			"rejected": []any{say("assistant", b)}, "annotator": "stand-in"}); err != nil {
			return 0, err
		}
		n++
	}
	if n < 10 {
		return n, &tooFew{n, len(list)}
	}
	return n, atomicfile.WriteFile(path, out.Bytes())
}

// heldOut is what the stages are measured with, each in the same way.
type heldOut struct {
	sft   *answerer    // from which KL is measured
	judge *judge.Judge // nil: there is no reward model
	tasks []task
}

// measure takes a stage's measures: what it writes, and how it finds what people and sft write.
func (h heldOut) measure(ctx context.Context, name string, w *answerer) (row, error) {
	answers, err := w.answer(ctx, h.tasks, 7)
	if err != nil {
		return row{}, err
	}
	r := row{Stage: name}
	var marks [][]int32
	var texts []judge.Text
	parsed := 0
	for i, a := range answers {
		marks = append(marks, a.marks)
		texts = append(texts, judge.Text{Messages: []chat.Message{chat.NewMessage("user", h.tasks[i].instruction)}, Answer: a.text})
		if reward.Parses(h.tasks[i].instruction, a.text) {
			parsed++
		}
	}
	r.ParseRate = float64(parsed) / float64(len(h.tasks))
	r.ParseCI[0], r.ParseCI[1] = eval.Wilson(float64(parsed), float64(len(h.tasks)))
	if h.judge != nil {
		scores, err := h.judge.Score(ctx, texts)
		if err != nil {
			return r, err
		}
		mean, ci := interval(scores)
		r.Reward, r.RewardCI = &mean, &ci
	}
	under, err := preference.AnswerLogProbs(ctx, h.sft.model, h.sft.tape, marks)
	if err != nil {
		return r, err
	}
	kl := make([]float64, len(under))
	for i, logp := range under {
		kl[i] = answers[i].logp - logp
	}
	r.KL, r.KLCI = interval(kl) // of sft itself but for rounding
	r.HeldOutLoss, r.LossCI, err = w.heldOutLoss(ctx, h.tasks)
	return r, err
}

// heldOutLoss is the mean loss of a token of people's answers, and its interval over answers.
func (w *answerer) heldOutLoss(ctx context.Context, held []task) (float64, [2]float64, error) {
	var marks [][]int32
	var tokens []float64
	total := 0.0
	for _, t := range held {
		e, err := w.template.Encode(w.tok, []chat.Message{chat.NewMessage("user", t.instruction), chat.NewMessage("assistant", t.answer)}, chat.Options{})
		if err != nil {
			return 0, [2]float64{}, err
		}
		n, most := 0.0, min(len(e.IDs), w.model.Shape().MaxPositions)
		list := make([]int32, most)
		for i := range list {
			if list[i] = data.Mark(e.IDs[i], i > 0 && e.Answer[i] >= 0); list[i]&1 == 1 {
				n++
			}
		}
		marks, tokens = append(marks, list), append(tokens, n)
		total += n
	}
	sums, err := preference.AnswerLogProbs(ctx, w.model, w.tape, marks)
	if err != nil {
		return 0, [2]float64{}, err
	}
	loss, off := 0.0, make([]float64, len(sums))
	for i := range sums {
		loss -= sums[i] / total
	}
	// The loss is Σ nats / Σ tokens. Answers are what was drawn, so their interval is that of the ratio: residuals nats - loss·tokens, by the delta method.
	for i := range sums { // of a ratio of sums, to first order
		off[i] = (-sums[i] - loss*tokens[i]) * float64(len(sums)) / total
	}
	_, ci := interval(off)
	return loss, [2]float64{loss + ci[0], loss + ci[1]}, nil
}

// interval is a mean with its 95% interval.
func interval(v []float64) (mean float64, ci [2]float64) {
	n, m2 := float64(len(v)), 0.0
	for _, x := range v {
		mean += x / n
	}
	for _, x := range v {
		m2 += (x - mean) * (x - mean)
	}
	half := 1.959964 * math.Sqrt(m2/max(n-1, 1)/n)
	return mean, [2]float64{mean - half, mean + half}
}

// align goes on from the tuned model where there is one.
func (q *quickstart) align(ctx context.Context, results map[string]*recipe.Summary) ([]row, error) {
	if results["sft"] == nil {
		return nil, nil
	}
	return rlhf(ctx, q, results)
}

// object is the object of --json: the stages, and the table that compares them.
func object(results map[string]*recipe.Summary, table []row) map[string]any {
	object := map[string]any{}
	for name, s := range results {
		object[name] = s
	}
	if table != nil {
		object["table"] = table
	}
	return object
}

// tooFew is the error of a model whose answers the annotator cannot tell apart.
type tooFew struct{ told, pairs int }

func (e *tooFew) Error() string {
	return fmt.Sprintf("the stand-in annotator could tell only %d of %d pairs of answers apart; train longer with --steps", e.told, e.pairs)
}

// rlhf goes on from the tuned model in OUT/sft-full: preferences, a reward model, PPO and DPO, and the table of all stages; of base and sft alone where
// the model has not learned enough to write what the annotator can tell apart.
func rlhf(ctx context.Context, q *quickstart, results map[string]*recipe.Summary) ([]row, error) {
	c := lm.DefaultSFT()
	train, held, err := tasks(filepath.Join(q.out, "pairs.jsonl"), c.ValidationFraction)
	if err != nil {
		return nil, err
	}
	if len(held) > heldOutTasks {
		held = held[:heldOutTasks]
	}
	// in place: the source of element i is never before i
	if len(train) > comparisons { // spread over all packages
		for i := range comparisons {
			train[i] = train[i*len(train)/comparisons]
		}
		train = train[:comparisons]
	}
	err = q.preferences(ctx, train)
	if few := (*tooFew)(nil); errors.As(err, &few) {
		fmt.Fprintln(q.app.Notes(), few)
		return q.table(ctx, held, false)
	}
	if err != nil {
		return nil, err
	}
	for _, s := range []stage{{"reward", rewardModel}, {"ppo", ppo}, {"dpo", dpo}} {
		if results[s.name], err = s.run(ctx, q); err != nil {
			return nil, fmt.Errorf("quickstart, %s: %w", s.name, err)
		}
		if results[s.name].Interrupted {
			return nil, nil
		}
	}
	return q.table(ctx, held, true)
}

func (q *quickstart) path(parts ...string) string {
	return filepath.Join(append([]string{q.out}, parts...)...)
}

// preferences writes preferences.jsonl and prompts.jsonl.
func (q *quickstart) preferences(ctx context.Context, list []task) error {
	dev := cpu.New(cpu.Options{})
	defer dev.Close()
	w, err := q.open("sft-full", dev)
	if err != nil {
		return err
	}
	defer w.free()
	n, err := compare(ctx, w, list, q.path("preferences.jsonl"))
	if err != nil {
		return err
	}
	fmt.Fprintf(q.app.Notes(), "the stand-in annotator chose in %d of %d pairs of answers\n", n, len(list))
	var prompts bytes.Buffer
	lines := json.NewEncoder(&prompts)
	for _, t := range list {
		if err := lines.Encode(map[string]any{"prompt": []any{map[string]string{"role": "user", "content": t.instruction}}}); err != nil {
			return err
		}
	}
	return atomicfile.WriteFile(q.path("prompts.jsonl"), prompts.Bytes())
}

// open opens the model of a stage; all share the tokenizer and the template of the tuned one.
func (q *quickstart) open(stage string, dev device.Device) (*answerer, error) {
	tuned := q.path("sft-full", "model")
	tok, err := tokenizer.Load(tuned)
	if err != nil {
		return nil, err
	}
	c := tok.Config()
	template, err := chat.Load(tuned, chat.Tokens{BOS: c.BOS, EOS: c.EOS, PAD: c.PAD, UNK: c.UNK})
	if err != nil {
		return nil, err
	}
	m, err := model.Open(q.path(stage, "model"), dev, device.F32)
	if err != nil {
		return nil, err
	}
	return &answerer{dev: dev, model: m, tok: tok, template: template, tape: tensor.NewTape(dev, device.F32)}, nil
}

// scaled is a number of steps of the full quickstart for the one that was asked for.
func (q *quickstart) scaled(n int) int { return max(1, n*q.steps/2000) }

// rewardModel learns which of two answers the annotator prefers, its scores centred so that those of the table have an origin.
func rewardModel(ctx context.Context, q *quickstart) (*recipe.Summary, error) {
	c := preference.DefaultReward()
	if err := config.Load(&c, "", []string{"model=" + q.path("sft-full", "model"), "data=" + q.path("preferences.jsonl"), "out=" + q.path("reward"),
		"sequence_length=256", "batch_size=8", fmt.Sprint("steps=", q.scaled(60)), "optimizer.learning_rate=3e-4", "validation_fraction=0.15",
		"center_rewards_coefficient=0.01", "eval.every=0", "checkpoint.keep_last=1"}); err != nil {
		return nil, err
	}
	c.Resume = q.resume
	return q.train(ctx, &c, &c.Training)
}

// ppo scores by the reward model alone: what the annotator likes, the policy knows only through it.
func ppo(ctx context.Context, q *quickstart) (*recipe.Summary, error) {
	c := rl.DefaultPPO()
	if err := config.Load(&c, "", []string{"model=" + q.path("sft-full", "model"), "reward=" + q.path("reward", "model"), "prompts=" + q.path("prompts.jsonl"),
		"out=" + q.path("ppo"), "sequence_length=256", fmt.Sprint("max_completion_length=", answerTokens), fmt.Sprint("iterations=", q.scaled(12)),
		"prompts_per_iteration=64", "rollout_batch_size=64", "num_ppo_epochs=2", "num_mini_batches=2", "batch_size=16", "optimizer.learning_rate=1e-4",
		"kl_coef=0.02", "use_score_scaling=true", "use_score_norm=true", "missing_eos_penalty=1", "checkpoint.keep_last=1", "diagnosis.on=warn"}); err != nil {
		return nil, err
	}
	c.Resume = q.resume
	return q.train(ctx, &c, &c.Training)
}

// dpo learns from the same preferences without a reward model, to be set beside PPO.
func dpo(ctx context.Context, q *quickstart) (*recipe.Summary, error) {
	c := preference.DefaultDPO()
	if err := config.Load(&c, "", []string{"model=" + q.path("sft-full", "model"), "data=" + q.path("preferences.jsonl"), "out=" + q.path("dpo"),
		"sequence_length=256", "batch_size=8", fmt.Sprint("steps=", q.scaled(40)), "optimizer.learning_rate=5e-5", "validation_fraction=0.15",
		"eval.every=0", "checkpoint.keep_last=1"}); err != nil {
		return nil, err
	}
	c.Resume = q.resume
	return q.train(ctx, &c, &c.Training)
}

// table measures every stage on the held-out tasks, or those before preferences, for which there is no reward model.
func (q *quickstart) table(ctx context.Context, held []task, preferred bool) (rows []row, err error) {
	dev := cpu.New(cpu.Options{})
	defer dev.Close()
	sft, err := q.open("sft-full", dev)
	if err != nil {
		return nil, err
	}
	defer sft.free()
	measures := heldOut{sft: sft, tasks: held}
	stages := []struct{ name, dir string }{{"base", "."}, {"sft", "sft-full"}, {"ppo", "ppo"}, {"dpo", "dpo"}}
	if preferred {
		if measures.judge, err = judge.Open(q.path("reward", "model"), dev, device.F32, judge.Options{}); err != nil {
			return nil, err
		}
		defer measures.judge.Free()
	} else {
		stages = stages[:2]
	}
	for _, s := range stages {
		w, err := q.open(s.dir, dev)
		if err != nil {
			return nil, err
		}
		r, err := measures.measure(ctx, s.name, w)
		w.free()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("stage %s", s.name), err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// showTable prints the stages side by side.
func showTable(out io.Writer, rows []row) {
	if len(rows) == 0 {
		return
	}
	learned := rows[0].Reward != nil
	fmt.Fprint(out, "\nheld-out functions, with 95% intervals")
	if learned {
		fmt.Fprint(out, "; the annotator that the reward model learned from is a stand-in (go/parser and gofmt)")
	}
	fmt.Fprintln(out, ":")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "stage\tparses\t\theld-out loss\t\treward\t\tKL from sft\t\t")
	for _, r := range rows {
		score := "-\t"
		if learned {
			score = fmt.Sprintf("%.3f\t±%.3f", *r.Reward, half(*r.RewardCI))
		}
		fmt.Fprintf(w, "%s\t%.1f%%\t%.1f-%.1f\t%.4f\t±%.4f\t%s\t%.2f\t±%.2f\t\n", r.Stage, 100*r.ParseRate, 100*r.ParseCI[0], 100*r.ParseCI[1],
			r.HeldOutLoss, half(r.LossCI), score, math.Abs(r.KL), half(r.KLCI))
	}
	w.Flush()
}

func half(ci [2]float64) float64 { return (ci[1] - ci[0]) / 2 }
