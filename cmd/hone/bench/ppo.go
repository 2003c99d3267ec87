package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hone/adapter"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/device"
	"hone/device/cpu"
	"hone/internal/clock"
	"hone/model"
	"hone/plan"
	"hone/plan/meter"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/rl"
	"hone/tokenizer"
	"hone/train"
)

// ppoWorkload is an iteration of PPO with LoRA to time. The policy and the reward model have one shape and random weights.
type ppoWorkload struct {
	config                 string
	vocab                  int // of config
	prompts, prompt, wrote int // prompts of an iteration, tokens of each and tokens of each answer
	rank                   int
}

var ppoWorkloads = map[string]ppoWorkload{
	"W5_ppo_smollm135m": {config: smollm, vocab: 49152, prompts: 16, prompt: 64, wrote: 64, rank: 16},
}

// ppoResult is the result of hone bench ppo: medians over iterations.
type ppoResult struct {
	Workload     string  `json:"workload"`
	Device       string  `json:"device"`
	DType        string  `json:"dtype"`
	Threads      int     `json:"threads"`
	Iterations   int     `json:"iterations"` // timed
	Epochs       int     `json:"epochs"`     // over the answers of an iteration
	Reward       string  `json:"reward"`     // model, or adapter on the policy's base
	SPerIter     float64 `json:"s_per_iteration"`
	RolloutS     float64 `json:"rollout_s"`  // answers written
	ScoringS     float64 `json:"scoring_s"`  // log-probabilities under the reference, values, rewards
	TrainingS    float64 `json:"training_s"` // updates of all epochs
	TokensPerS   float64 `json:"rollout_tokens_per_s"`
	PeakRSSMB    float64 `json:"peak_rss_mb"`
	PeakDeviceMB float64 `json:"peak_device_mb"` // of the tensors alone
	SharedMB     float64 `json:"shared_base_mb"` // what one base for several saves, by the run

	PlannedMB        float64 `json:"planned_mb"`         // what the plan says of them
	PlannedS         float64 `json:"planned_s"`          // of an iteration, at the rates of this machine
	PlannedAnswersS  float64 `json:"planned_answers_s"`  // of rollout and scoring
	PlannedTrainingS float64 `json:"planned_training_s"` // of all epochs

	cpuProfile string // file to write, empty for none
}

// ppoCommand times iterations of PPO in their parts: writing answers, scoring them, learning.
func ppoCommand(a *cli.App) *cobra.Command {
	r := ppoResult{}
	cmd := &cobra.Command{
		Use: "ppo", Short: "Time iterations of PPO: rollout, scoring, training",
		Long: "Runs hone ppo with LoRA of rank 16 and a reward model of the policy's shape, both of random weights: 16 prompts of 64 tokens,\n" +
			"64 new tokens each, 4 epochs of one update. Files of 1.1 GB are made in a temporary folder and removed.",
		Example: "  hone bench ppo --workload W5_ppo_smollm135m --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, ok := ppoWorkloads[r.Workload]
			if !ok {
				return fmt.Errorf("workload %q is unknown; use W5_ppo_smollm135m", r.Workload)
			}
			if err := r.run(cmd.Context(), w); err != nil {
				return err
			}
			return a.Result(r, func(out io.Writer) {
				fmt.Fprintf(out, "%s %s, %s: %.2f s per iteration, planned %.2f (rollout %.2f at %.0f tokens/s, scoring %.2f, training %.2f), %.0f MB\n",
					r.Workload, r.DType, r.Device, r.SPerIter, r.PlannedS, r.RolloutS, r.TokensPerS, r.ScoringS, r.TrainingS, r.PeakRSSMB)
			})
		},
	}
	cmd.Flags().StringVar(&r.Workload, "workload", "W5_ppo_smollm135m", "the only one: W5_ppo_smollm135m")
	cmd.Flags().StringVar(&r.Device, "device", "cpu", "where to compute: cpu, cuda or cuda:N")
	cmd.Flags().StringVar(&r.DType, "dtype", "f32", "f32 or bf16")
	cmd.Flags().IntVar(&r.Threads, "threads", runtime.GOMAXPROCS(0), "cores to use")
	cmd.Flags().IntVar(&r.Epochs, "epochs", 4, "of the training of an iteration, one update each")
	cmd.Flags().StringVar(&r.Reward, "reward", "model", "what gives rewards: a model of its own, or an adapter on the policy's base")
	cmd.Flags().IntVar(&r.Iterations, "iterations", 2, "iterations to time, after one to warm up")
	cmd.Flags().StringVar(&r.cpuProfile, "cpuprofile", "", "write a CPU profile of all iterations to this file, for go tool pprof")
	return cmd
}

func (r *ppoResult) run(ctx context.Context, w ppoWorkload) (err error) {
	if r.Iterations < 1 || r.Threads < 1 || r.Epochs < 1 {
		return fmt.Errorf("iterations is %d, epochs %d and threads %d; all must be at least 1", r.Iterations, r.Epochs, r.Threads)
	}
	if r.Reward != "model" && r.Reward != "adapter" {
		return fmt.Errorf("reward is %q; use model or adapter", r.Reward)
	}
	dtype, err := device.ParseDType(r.DType)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hone-ppo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	dev, done, err := machine.OpenTimed(r.Device, r.Threads, false)
	if err != nil {
		return err
	}
	defer done()
	r.Device = dev.Name()
	if err := w.files(ctx, dir, dev, dtype, r.Reward); err != nil {
		return err
	}
	c := rl.DefaultPPO()
	if err := config.Override(&c, w.recipe(dir, r)); err != nil {
		return err
	}
	var clock ppoClock
	stop, err := startCPUProfile(r.cpuProfile)
	if err != nil {
		return err
	}
	s, err := c.Run(ctx, recipe.Env{Device: dev, Events: clock.event})
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	if s.Interrupted {
		return context.Canceled
	}
	r.medians(w, clock.iterations[1:])
	r.PeakRSSMB, r.PeakDeviceMB, r.SharedMB = peakRSS(), float64(s.PeakMemoryBytes)/1e6, float64(clock.shared)/1e6
	p, err := c.Plan(ctx, recipe.Env{Meter: meter.PeakOf(dev, r.Threads, r.DType).Meter(plan.Rates{}), Arranged: cpu.ArrangedLen})
	if err != nil {
		return err
	}
	r.PlannedMB, r.PlannedAnswersS, r.PlannedTrainingS = float64(p.Peak)/1e6, p.RolloutSeconds, p.StepSeconds*float64(r.Epochs)
	r.PlannedS = r.PlannedAnswersS + r.PlannedTrainingS
	return nil
}

// recipe are the keys of the run. An update sees all answers at once.
func (w *ppoWorkload) recipe(dir string, r *ppoResult) []string {
	keys := []string{"diagnosis.on=off", "method=lora", "checkpoint.every=0", "checkpoint.seconds=0", "samples.every=0", "eval.every=0", "dtype=" + r.DType}
	for key, file := range map[string]string{"model": "policy", "reward": "reward", "prompts": "prompts.txt", "out": "run"} {
		keys = append(keys, key+"="+filepath.Join(dir, file))
	}
	for key, n := range map[string]int{"lora.r": w.rank, "prompts_per_iteration": w.prompts, "max_completion_length": w.wrote, "sequence_length": w.prompt + w.wrote,
		"batch_size": w.prompts, "num_ppo_epochs": r.Epochs, "iterations": r.Iterations + 1, "threads": r.Threads} {
		keys = append(keys, fmt.Sprintf("%s=%d", key, n))
	}
	return keys
}

// files makes the policy, the reward model or adapter, their tokenizer and the prompts.
func (w *ppoWorkload) files(ctx context.Context, dir string, dev device.Device, dtype device.DType, kind string) error {
	policy, reward := filepath.Join(dir, "policy"), filepath.Join(dir, "reward")
	m, err := model.New([]byte(w.config), dev, dtype, 1)
	if err != nil {
		return err
	}
	err = m.Save(policy, dtype, model.Values)
	m.Free()
	if err != nil {
		return err
	}
	s, err := model.OpenScorer(policy, dev, dtype, model.ScorerOptions{Layout: model.ScoreLayout, Seed: 2})
	if err != nil {
		return err
	}
	if kind == "adapter" {
		err = w.saveAdapter(policy, reward, s, dev, dtype)
	} else {
		err = s.Save(reward, dtype, model.Values)
	}
	s.Free()
	if err != nil {
		return err
	}
	text, err := w.tokenizer(ctx)
	for _, folder := range []string{policy, reward} {
		err = errors.Join(err, os.WriteFile(filepath.Join(folder, "tokenizer.json"), text, 0o666))
	}
	return errors.Join(err, os.WriteFile(filepath.Join(dir, "prompts.txt"), w.lines(), 0o666))
}

// saveAdapter writes a fresh LoRA on the policy with the scorer's head.
func (w *ppoWorkload) saveAdapter(policy, dir string, s *model.Scorer, dev device.Device, dtype device.DType) error {
	c := adapter.Default()
	c.BaseModel, c.TaskType, c.R, c.LoraAlpha, c.ModulesToSave = policy, adapter.TaskSequence, w.rank, 2*float64(w.rank), []string{s.Score.Layout.Module()}
	l, err := adapter.Attach(adapter.Model{Model: s.Model.Model, Params: s.Params}, c)
	if err != nil {
		return err
	}
	defer l.Free()
	if err := l.Initialize(dev, dtype, 3); err != nil {
		return err
	}
	return l.Save(dir, dtype, model.Values)
}

// tokenizer is one of bytes, so that a text has as many tokens as letters, with names for all that the model can write.
func (w *ppoWorkload) tokenizer(ctx context.Context) ([]byte, error) {
	text := func(yield func([]byte, error) bool) { yield([]byte("a"), nil) }
	t, err := tokenizer.Train(ctx, text, tokenizer.TrainConfig{VocabSize: 256})
	if err != nil {
		return nil, err
	}
	bytes, err := t.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var whole map[string]any
	if err := json.Unmarshal(bytes, &whole); err != nil {
		return nil, err
	}
	vocab := whole["model"].(map[string]any)["vocab"].(map[string]any)
	for id := len(vocab); id < w.vocab; id++ {
		vocab[fmt.Sprintf("word%d", id)] = id
	}
	return json.Marshal(whole)
}

// lines are random letters, a prompt each.
func (w *ppoWorkload) lines() []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for range w.prompts {
		for range w.prompt {
			b.WriteByte('a' + byte(random.IntN(26)))
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// ppoClock takes the times of iterations from what a run tells.
type ppoClock struct {
	began      clock.Time // training of the last iteration
	iterations []ppoTimes
	shared     int64 // bytes that one base saves
}

type ppoTimes struct{ whole, rollout, scoring, training, length float64 }

func (c *ppoClock) event(e train.Event) {
	switch e := e.(type) {
	case train.InfoEvent:
		if n, ok := e.Values["shared_base_bytes"].(int64); ok {
			c.shared = n
		}
	case train.RolloutEvent:
		c.began = clock.Now()
		c.iterations = append(c.iterations, ppoTimes{whole: e.Took, rollout: e.Metrics["time/rollout"], scoring: e.Metrics["time/scoring"], length: e.Metrics["completions/mean_length"]})
	case train.StepEvent:
		last := &c.iterations[len(c.iterations)-1]
		last.whole -= last.training
		last.training = clock.Since(c.began).Seconds()
		last.whole += last.training
	}
}

func (r *ppoResult) medians(w ppoWorkload, list []ppoTimes) {
	median := func(of func(ppoTimes) float64) float64 {
		var v []float64
		for _, t := range list {
			v = append(v, of(t))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	r.SPerIter = median(func(t ppoTimes) float64 { return t.whole })
	r.RolloutS = median(func(t ppoTimes) float64 { return t.rollout })
	r.ScoringS = median(func(t ppoTimes) float64 { return t.scoring })
	r.TrainingS = median(func(t ppoTimes) float64 { return t.training })
	r.TokensPerS = median(func(t ppoTimes) float64 { return float64(w.prompts) * t.length / t.rollout })
}
