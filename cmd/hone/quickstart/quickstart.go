// Package quickstart is hone quickstart: every stage of training, one after the other, on a small model and texts that are at hand.
package quickstart

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/training"
	"hone/internal/gosource"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/lm"
)

// stage is a part of the quickstart; each goes on from the folder of the one before.
type stage struct {
	name string
	run  func(ctx context.Context, q *quickstart) (*recipe.Summary, error)
}

var stages = []stage{{"pretrain", pretrain}, {"sft", sft("full")}, {"sft_lora", sft("lora")}}

// quickstart is what its stages share.
type quickstart struct {
	app       *cli.App
	train     func(ctx context.Context, r recipe.Runner, c *recipe.Training) (*recipe.Summary, error) // runs a recipe, whose shared keys are c
	out       string
	steps     int
	overrides []string
	resume    bool     // the stages that were begun go on
	source    []string // globs of Go's packages; none when other texts are given
}

// Command is hone quickstart, which runs the stages one after the other. One that is interrupted ends it: the next would have nothing to start from.
func Command(a *cli.App) *cobra.Command {
	q := &quickstart{app: a, train: func(ctx context.Context, r recipe.Runner, c *recipe.Training) (*recipe.Summary, error) {
		return training.Train(ctx, a, r, c)
	}}
	cmd := &cobra.Command{
		Use:   "quickstart [path=value ...]",
		Short: "Train a small model on Go's standard library, end to end, in minutes",
		Long: "Trains a tokenizer and a Llama-style model of 1.4 million parameters on the source of Go's standard library, without a\n" +
			"download, and writes a report. Then teaches it, with all weights and by LoRA, to write a function from its comment and signature,\n" +
			"and goes on from preferences of a stand-in annotator, who likes Go that parses and is gofmt-clean: a reward model, PPO and DPO.\n" +
			"Without Go's source at hand give data=PATH; then there are no functions to teach. Any key of hone pretrain can be set;\n" +
			"with --out, resume=true goes on with the stages that were begun.",
		Example: "  hone quickstart\n  hone quickstart --steps 100 --out runs/try data=my/texts",
		RunE: func(cmd *cobra.Command, args []string) error {
			q.overrides = args
			results := map[string]*recipe.Summary{}
			for _, s := range stages {
				summary, err := s.run(cmd.Context(), q)
				if err != nil {
					return fmt.Errorf("quickstart, %s: %w", s.name, err)
				}
				if summary == nil { // nothing to do it with
					continue
				}
				results[s.name] = summary
				if !a.JSON {
					training.Summarise(a.Out, summary)
				}
				if summary.Interrupted { // the next stage has nothing to start from
					return a.Result(results, func(io.Writer) {})
				}
			}
			table, err := q.align(cmd.Context(), results)
			if err != nil {
				return err
			}
			return a.Result(object(results, table), func(w io.Writer) {
				tuned(w, results)
				showTable(w, table)
				fmt.Fprintf(w, "\nnext: hone generate %s \"func (s *Server) \"\n      hone eval %s data=FILE\n",
					cli.Word(filepath.Join(q.out, "model")), cli.Word(filepath.Join(q.out, "model")))
			})
		},
	}
	cmd.Flags().IntVar(&q.steps, "steps", 2000, "training steps")
	cmd.Flags().StringVar(&q.out, "out", "", "folder of the run (default: a new one in the temporary folder)")
	return cmd
}

// pretrain trains on raw text.
func pretrain(ctx context.Context, q *quickstart) (*recipe.Summary, error) {
	if q.out == "" {
		dir, err := os.MkdirTemp("", "hone-quickstart-")
		if err != nil {
			return nil, err
		}
		q.out = dir
		defer os.Remove(dir) // which fails, as it should, where there is a run in it
	}
	c := lm.DefaultPretrain()
	args := []string{
		"out=" + q.out, fmt.Sprintf("steps=%d", q.steps), "tokenizer.vocab_size=1024", "sequence_length=256", "batch_size=4",
		"model.hidden_size=160", "model.num_hidden_layers=4", "model.num_attention_heads=4", "model.tie_word_embeddings=true",
		"optimizer.learning_rate=4e-3", "schedule.name=cosine", "schedule.warmup_steps=0.05",
		fmt.Sprintf("eval.every=%d", max(q.steps/4, 1)), "eval.max_tokens=32768",
		fmt.Sprintf("samples.every=%d", max(q.steps/2, 1)), "samples.temperature=0.7", "samples.max_tokens=96", "checkpoint.keep_last=1",
	}
	// With texts of the user's there are no functions to teach, and the later stages are left out.
	if !slices.ContainsFunc(q.overrides, func(s string) bool { return strings.HasPrefix(s, "data=") }) {
		src, err := gosource.Packages(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w; name texts to train on with data=PATH", err)
		}
		q.source = src
		args = append(args, "data="+strings.Join(src, ","))
		c.Samples.Prompts = []string{"// NewReader returns ", "func (b *Buffer) ", "\tif err != nil {\n", "package strings\n\nimport ("}
	}
	if err := config.Load(&c, "", args); err != nil {
		return nil, err
	}
	if err := config.Override(&c, q.overrides); err != nil {
		return nil, err
	}
	q.out, q.resume = c.Out, c.Resume
	return q.train(ctx, &c, &c.Training)
}
