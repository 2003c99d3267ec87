package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/plan"
	"hone/recipe"
	"hone/report"
)

func pretrainCommand(a *app) *cobra.Command {
	defaults := recipe.DefaultPretrain()
	dry := false
	cmd := &cobra.Command{
		Use:   "pretrain [RECIPE.yaml] [path=value ...]",
		Short: "Train a language model on raw text",
		Long:  "Trains a model on raw text, from scratch or from a model folder (model=DIR).\n\nKeys, in YAML or as path=value:\n" + keys(&defaults),
		Example: "  hone pretrain data=corpus/ out=runs/first steps=2000 model.hidden_size=256\n" +
			"  hone pretrain recipe.yaml out=runs/second resume=true",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := recipe.DefaultPretrain()
			path, overrides := splitArgs(args)
			if err := recipe.LoadConfig(&c, path, overrides); err != nil {
				return err
			}
			if dry {
				return a.dryRun(&c)
			}
			s, err := a.train(cmd.Context(), &c, &c.Training)
			if err != nil {
				return err
			}
			return a.result(s, func(w io.Writer) { summarise(w, s) })
		},
	}
	dryRunFlag(cmd, &dry)
	return cmd
}

func dryRunFlag(cmd *cobra.Command, dry *bool) {
	cmd.Flags().BoolVar(dry, "dry-run", false, "say how much memory the run will take, and start nothing")
}

// planner is a recipe whose memory can be planned.
type planner interface {
	Validate() error
	Plan() (plan.Memory, error)
}

// dryRun prints what a run would need.
func (a *app) dryRun(r planner) error {
	if err := r.Validate(); err != nil {
		return err
	}
	m, err := r.Plan()
	if err != nil {
		return err
	}
	return a.result(m, m.Print)
}

// splitArgs tells a recipe's path, the first argument without "=", from overrides.
func splitArgs(args []string) (path string, overrides []string) {
	if len(args) > 0 && !strings.Contains(args[0], "=") {
		return args[0], args[1:]
	}
	return "", args
}

// keys lists the keys of a recipe with their defaults.
func keys(c any) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range recipe.Fields(c) {
		doc := f.Doc
		if f.Default != "" {
			doc += " [" + f.Default + "]"
		}
		fmt.Fprintf(w, "  %s\t%s\n", f.Path, doc)
	}
	w.Flush()
	return b.String()
}

// trainer is a recipe of training.
type trainer interface {
	Validate() error
	Run(ctx context.Context, env recipe.Env) (*recipe.Summary, error)
}

// train runs a recipe, whose shared keys are c, and writes its report.
func (a *app) train(ctx context.Context, r trainer, c *recipe.Training) (*recipe.Summary, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	dev, done, err := openDevice(c.Device, c.Threads)
	if err != nil {
		return nil, err
	}
	defer done()
	p := newProgress(a.notes(), c.Steps)
	p.peak = newPeakMeter(c.Threads, c.DType)
	s, err := r.Run(ctx, recipe.Env{Device: dev, Events: p.event, Progress: p.stage})
	p.clear()
	if err != nil {
		return nil, err
	}
	if _, err := report.Write(c.Out); err != nil {
		return nil, err
	}
	return s, nil
}

// against words the plan of the memory beside what was taken.
func against(s *recipe.Summary) string {
	if s.PlannedMemoryBytes == 0 {
		return ""
	}
	return fmt.Sprintf(" (planned: %s, %+.0f%%)", bytesText(s.PlannedMemoryBytes), 100*(float64(s.PlannedMemoryBytes)/float64(s.PeakMemoryBytes)-1))
}

// summarise prints the outcome of a run as a table.
func summarise(out io.Writer, s *recipe.Summary) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if s.Interrupted {
		fmt.Fprintf(w, "interrupted\tsaved at step %d; go on with resume=true\n", s.Steps)
	}
	fmt.Fprintf(w, "parameters\t%d\n", s.Parameters)
	if s.Trainable < s.Parameters {
		fmt.Fprintf(w, "trainable\t%d (%.2f%%)\n", s.Trainable, 100*float64(s.Trainable)/float64(s.Parameters))
	}
	fmt.Fprintf(w, "steps\t%d, %d tokens in %.0f s (%.0f tokens/s)\n", s.Steps, s.Tokens, s.Seconds, s.TokensPerS)
	if s.Unigram > 0 {
		fmt.Fprintf(w, "unigram baseline\t%.4f\n", s.Unigram)
		fmt.Fprintf(w, "bigram baseline\t%.4f\n", s.Bigram)
	}
	if v, ok := s.Validation["loss"]; ok {
		fmt.Fprintf(w, "held-out loss\t%.4f\n", v)
	}
	fmt.Fprintf(w, "peak memory\t%s%s\n", bytesText(s.PeakMemoryBytes), against(s))
	fmt.Fprintf(w, "report\t%s/report.html\n", s.Out)
	if s.ModelDir != "" {
		fmt.Fprintf(w, "%s\t%s\n", filepath.Base(s.ModelDir), s.ModelDir)
	}
	w.Flush()
}
