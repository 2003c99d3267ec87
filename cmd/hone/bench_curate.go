package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/data/curate"
	"hone/recipe"
)

// benchCurate is the result of hone bench curate.
type benchCurate struct {
	Raw     curate.Count `json:"raw"`
	Curated curate.Count `json:"curated"`
	Tokens  int64        `json:"tokens"` // that each run trains on
	Runs    []curateRun  `json:"runs"`
	Mean    float64      `json:"mean_difference"` // of raw less curated loss over the seeds
	Error   float64      `json:"standard_error"`  // of the mean
}

// curateRun is a seed with both texts: held-out loss in nats per token, of the same tokenizer on the same text.
type curateRun struct {
	Seed    uint64  `json:"seed"`
	Raw     float64 `json:"raw_loss"`
	Curated float64 `json:"curated_loss"`
}

// valueOfCuration is what hone bench curate is told.
type valueOfCuration struct {
	steps, seeds int
	seed         uint64   // the first
	raw, held    []string // the user's own texts; none: made ones
	recipe       []string // keys of hone data curate
	dir          string
}

func benchCurateCommand(a *app) *cobra.Command {
	v := &valueOfCuration{}
	cmd := &cobra.Command{
		Use: "curate [path=value ...]", Short: "Train on raw and on curated text and compare the held-out loss",
		Long: "Curates a raw text, trains the same small model with the same number of tokens on the raw and on the curated text, for several seeds, and compares the\n" +
			"loss on held-out text. The tokenizer is one for all, trained on the raw text. Without --raw the text is made of Go's standard library: its files with\n" +
			"mirrored copies, pages of one template, generated tables, minified scripts and dumps, two thirds of it all; files that are held out are as they are.\n" +
			"Keys are those of hone data curate.",
		Example: "  hone bench curate\n  hone bench curate --raw crawl/ --held-out book.txt --seeds 5 filters=mend,gopher_quality,fineweb",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if v.steps < 1 || v.seeds < 1 {
				return fmt.Errorf("steps is %d and seeds %d; both must be at least 1", v.steps, v.seeds)
			}
			if (len(v.raw) > 0) != (len(v.held) > 0) {
				return errors.New("--raw and --held-out belong together; give both or none")
			}
			if v.dir, err = os.MkdirTemp("", "hone-bench-curate-"); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(v.dir)) }()
			v.recipe = args
			r, err := v.run(cmd.Context(), a)
			if err != nil {
				return err
			}
			return a.result(r, func(w io.Writer) { showValue(w, r) })
		},
	}
	cmd.Flags().IntVar(&v.steps, "steps", 400, "training steps, of 1024 tokens")
	cmd.Flags().IntVar(&v.seeds, "seeds", 3, "runs with each text")
	cmd.Flags().Uint64Var(&v.seed, "seed", 1, "the first of the seeds")
	cmd.Flags().StringSliceVar(&v.raw, "raw", nil, "text to curate (default: made of Go's standard library)")
	cmd.Flags().StringSliceVar(&v.held, "held-out", nil, "text to judge by")
	return cmd
}

func (v *valueOfCuration) run(ctx context.Context, a *app) (*benchCurate, error) {
	c := recipe.DefaultCurate()
	defaults := []string{}
	if len(v.raw) == 0 {
		v.raw, v.held = []string{filepath.Join(v.dir, "raw.jsonl")}, []string{filepath.Join(v.dir, "held.jsonl")}
		if err := v.makeTexts(ctx); err != nil {
			return nil, err
		}
		// the licence stays: the held-out files have it
		defaults = []string{"filters=mend,code", "code.strip_license=false", "near.threshold=0.7"}
	}
	if err := recipe.LoadConfig(&c, "", defaults); err != nil {
		return nil, err
	}
	if err := recipe.Override(&c, v.recipe); err != nil {
		return nil, err
	}
	c.Data, c.Out = v.raw, filepath.Join(v.dir, "curated")
	curated, _, err := c.Run(ctx, recipe.Env{})
	if err != nil {
		return nil, err
	}
	funnel(a.notes(), curated)
	r := &benchCurate{Raw: curated.Read, Curated: curated.Kept}
	tokenizer := ""
	for seed := range uint64(v.seeds) {
		run := curateRun{Seed: v.seed + seed}
		for _, text := range []struct {
			data []string
			loss *float64
		}{{v.raw, &run.Raw}, {[]string{c.Out}, &run.Curated}} {
			s, err := v.train(ctx, a, text.data, run.Seed, tokenizer)
			if err != nil {
				return nil, err
			}
			*text.loss, r.Tokens = s.Validation["loss"], s.Tokens
			if tokenizer == "" {
				tokenizer = filepath.Join(s.Out, "tokenizer")
			}
		}
		r.Runs = append(r.Runs, run)
	}
	r.average()
	return r, nil
}

// train trains the model of the quickstart.
func (v *valueOfCuration) train(ctx context.Context, a *app, text []string, seed uint64, tokenizer string) (*recipe.Summary, error) {
	p := recipe.DefaultPretrain()
	args := []string{
		fmt.Sprintf("seed=%d", seed), fmt.Sprintf("steps=%d", v.steps), "sequence_length=256", "batch_size=4",
		"model.hidden_size=160", "model.num_hidden_layers=4", "model.num_attention_heads=4", "model.tie_word_embeddings=true",
		"optimizer.learning_rate=4e-3", "schedule.name=cosine", "schedule.warmup_steps=0.05", "eval.every=0", "eval.max_tokens=65536", "checkpoint.every=0",
	}
	if tokenizer != "" {
		args = append(args, "tokenizer.path="+tokenizer)
	} else {
		args = append(args, "tokenizer.vocab_size=1024")
	}
	if err := recipe.LoadConfig(&p, "", args); err != nil {
		return nil, err
	}
	out, err := os.MkdirTemp(v.dir, "run-")
	if err != nil {
		return nil, err
	}
	p.Data, p.ValidationData, p.Out = text, v.held, filepath.Join(out, "run")
	s, err := a.train(ctx, &p, &p.Training)
	if err == nil && s.Interrupted {
		err = context.Canceled
	}
	return s, err
}

// average sets the mean difference and its standard error.
func (r *benchCurate) average() {
	n := float64(len(r.Runs))
	for _, run := range r.Runs {
		r.Mean += (run.Raw - run.Curated) / n
	}
	squares := 0.0
	for _, run := range r.Runs {
		squares += math.Pow(run.Raw-run.Curated-r.Mean, 2)
	}
	if n > 1 {
		r.Error = math.Sqrt(squares / (n - 1) / n)
	}
}

func showValue(out io.Writer, r *benchCurate) {
	fmt.Fprintf(out, "\nheld-out loss after %d tokens of each text, nats per token\n", r.Tokens)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "seed\traw\tcurated\tdifference\t")
	for _, run := range r.Runs {
		fmt.Fprintf(w, "%d\t%.4f\t%.4f\t%.4f\t\n", run.Seed, run.Raw, run.Curated, run.Raw-run.Curated)
	}
	w.Flush()
	fmt.Fprintf(out, "on average curated text is %.4f lower, with a standard error of %.4f\n", r.Mean, r.Error)
}
