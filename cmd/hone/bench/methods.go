package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/cmd/hone/quickstart"
	"hone/cmd/hone/training"
	"hone/plan"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/lm"
)

// methodRow is a row of hone bench methods.
type methodRow struct {
	Method      string       `json:"method"`
	Rate        float64      `json:"learning_rate"`
	Before      float64      `json:"held_out_loss_before"`
	Loss        float64      `json:"held_out_loss"` // the mean of all seeds
	Losses      []float64    `json:"losses"`        // by seed
	Tried       [][2]float64 `json:"tried"`         // with --sweep: learning rates and the losses of the first seed with them
	Trainable   int          `json:"trainable_parameters"`
	SPerStep    float64      `json:"s_per_step"` // median
	PeakBytes   int64        `json:"peak_memory_bytes"`
	PlannedPeak int64        `json:"planned_memory_bytes"`
}

// methodsBench is what hone bench methods compares, and how.
type methodsBench struct {
	methods []string
	rates   map[string]string
	sweep   bool
	seeds   int
}

// methodsCommand trains one model by every method on the same data: loss, parameters, time of a step and memory, side by side.
func methodsCommand(a *cli.App) *cobra.Command {
	var b methodsBench
	cmd := &cobra.Command{
		Use: "methods MODEL [path=value ...]", Short: "Fine-tune by one method after the other and compare loss, time and memory",
		Long: "Runs hone sft for each method, on the same examples in the same order, and prints a table. Any key of hone sft can be set. Learning rates are\n" +
			"each method's own (--rates; not set: those that suit the quickstart's model); --sweep tries half and twice as much as well, and keeps the best.",
		Example: "  hone quickstart --out q && hone bench methods q/model data=q/pairs.jsonl steps=50 chat_template=zephyr lora.r=8 --sweep --seeds 3\n" +
			"  hone bench methods HuggingFaceTB/SmolLM2-135M-Instruct data=q/pairs.jsonl steps=60 dtype=bf16 --rates full=1.3e-4,lora=1.3e-3,qlora=1.3e-3,prompt=0.03",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := machine.ModelDir(args[0])
			if err != nil {
				return err
			}
			if b.seeds < 1 {
				return fmt.Errorf("--seeds is %d; it must be at least 1", b.seeds)
			}
			var rows []methodRow
			for _, method := range b.methods {
				row, err := b.compare(cmd.Context(), a, method, append([]string{"model=" + dir}, args[1:]...))
				if err != nil {
					return fmt.Errorf("%s: %w", method, err)
				}
				rows = append(rows, row)
			}
			return a.Result(rows, func(w io.Writer) { printMethods(w, rows) })
		},
	}
	cmd.Flags().StringSliceVar(&b.methods, "methods", recipe.Methods(), "what to compare")
	cmd.Flags().StringToStringVar(&b.rates, "rates", nil, "learning `rates`, as in full=2e-5,lora=2e-4")
	cmd.Flags().Lookup("rates").DefValue = "" // not "[]"
	cmd.Flags().BoolVar(&b.sweep, "sweep", false, "try half and twice the learning rates as well, and keep each method's best")
	cmd.Flags().IntVar(&b.seeds, "seeds", 1, "runs of each method with its learning rate, with the seeds 1, 2, ...")
	return cmd
}

// compare finds the learning rate of a method and runs it with every seed.
func (b *methodsBench) compare(ctx context.Context, a *cli.App, method string, keys []string) (best methodRow, err error) {
	for _, factor := range b.factors() {
		row, err := b.once(ctx, a, methodRun{method, keys, factor, 1})
		if err != nil {
			return best, err
		}
		tried := append(best.Tried, [2]float64{row.Rate, row.Loss})
		if best.Method == "" || row.Loss < best.Loss {
			best = row
		}
		best.Tried = tried
	}
	factor := best.Rate / best.Tried[0][0]
	best.Losses = []float64{best.Loss}
	for seed := 2; seed <= b.seeds; seed++ {
		row, err := b.once(ctx, a, methodRun{method, keys, factor, seed})
		if err != nil {
			return best, err
		}
		best.Losses = append(best.Losses, row.Loss)
		best.Loss += (row.Loss - best.Loss) / float64(seed)
	}
	return best, nil
}

// factors are on the learning rates; the first is 1.
func (b *methodsBench) factors() []float64 {
	if b.sweep {
		return []float64{1, 0.5, 2}
	}
	return []float64{1}
}

// methodRun is one run of a comparison.
type methodRun struct {
	method string
	keys   []string // of the recipe, as path=value
	factor float64  // on the learning rate
	seed   int
}

// once does a run in a folder that is removed afterwards.
func (b *methodsBench) once(ctx context.Context, a *cli.App, run methodRun) (row methodRow, err error) {
	dir, err := os.MkdirTemp("", "hone-methods-")
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := lm.DefaultSFT()
	args := []string{"method=" + run.method, "out=" + filepath.Join(dir, "run"), "eval.on_start=true", "eval.every=0", "checkpoint.every=0", fmt.Sprint("seed=", run.seed)}
	if rate := cmp.Or(b.rates[run.method], quickstart.Rate(run.method)); rate != "" {
		args = append(args, "optimizer.learning_rate="+rate)
	}
	if err := config.Load(&c, "", args); err != nil {
		return row, err
	}
	if err := config.Override(&c, run.keys); err != nil {
		return row, err
	}
	if err := c.Validate(); err != nil { // fills the learning rate in
		return row, err
	}
	c.Optimizer.LearningRate *= run.factor
	s, err := training.Train(ctx, a, &c, &c.Training)
	if err != nil {
		return row, err
	}
	if s.Interrupted {
		return row, context.Canceled
	}
	return methodRow{Method: run.method, Rate: c.Optimizer.LearningRate, Before: s.Before["loss"], Loss: s.Validation["loss"], Trainable: s.Trainable,
		SPerStep: s.StepSeconds, PeakBytes: s.PeakMemoryBytes, PlannedPeak: s.PlannedMemoryBytes}, nil
}

// printMethods writes the table of docs/methods.md.
func printMethods(w io.Writer, rows []methodRow) {
	fmt.Fprintf(w, "| method | learning rate | held-out loss | trained parameters | s/step | peak memory | planned |\n|---|---|---|---|---|---|---|\n")
	if len(rows) > 0 {
		fmt.Fprintf(w, "| none | | %.4f | | | | |\n", rows[0].Before)
	}
	for _, r := range rows {
		fmt.Fprintf(w, "| %s | %g | %s | %d | %.3f | %s | %s |\n", r.Method, r.Rate, r.lossText(), r.Trainable, r.SPerStep, plan.Bytes(r.PeakBytes), plan.Bytes(r.PlannedPeak))
	}
}

// lossText is the loss, with the largest distance of a seed's from it.
func (r *methodRow) lossText() string {
	if len(r.Losses) < 2 {
		return fmt.Sprintf("%.4f", r.Loss)
	}
	return fmt.Sprintf("%.4f ± %.4f", r.Loss, max(slices.Max(r.Losses)-r.Loss, r.Loss-slices.Min(r.Losses)))
}
