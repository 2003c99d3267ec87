package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hone/plan"
	"hone/recipe"
)

// benchMethod is a row of hone bench methods.
type benchMethod struct {
	Method      string  `json:"method"`
	Rate        float64 `json:"learning_rate"`
	Before      float64 `json:"held_out_loss_before"`
	Loss        float64 `json:"held_out_loss"`
	Trainable   int     `json:"trainable_parameters"`
	SPerStep    float64 `json:"s_per_step"`
	PeakBytes   int64   `json:"peak_memory_bytes"`
	PlannedPeak int64   `json:"planned_memory_bytes"`
}

// methodRates are learning rates that suit the model of the quickstart: of 1, 2 and 5 times the powers of ten those with the
// lowest held-out loss. Other methods take the recipe's.
var methodRates = map[string]string{"full": "2e-3", "lora": "1e-2", "qlora": "1e-2"}

func benchMethodsCommand(a *app) *cobra.Command {
	var methods []string
	cmd := &cobra.Command{
		Use: "methods MODEL [path=value ...]", Short: "Fine-tune by one method after the other and compare loss, time and memory",
		Long: "Runs hone sft once for each method, on the same examples in the same order, and prints a table. Any key of hone sft can be set;\n" +
			"learning rates are those that suit the quickstart's model unless optimizer.learning_rate is set.",
		Example: "  hone quickstart --out q && hone bench methods q/model data=q/pairs.jsonl steps=100 chat_template=zephyr sequence_length=256",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var rows []benchMethod
			for _, method := range methods {
				row, err := a.benchMethod(cmd.Context(), method, args[0], args[1:])
				if err != nil {
					return fmt.Errorf("%s: %w", method, err)
				}
				rows = append(rows, row)
			}
			return a.result(rows, func(w io.Writer) { printMethods(w, rows) })
		},
	}
	cmd.Flags().StringSliceVar(&methods, "methods", recipe.Methods(), "what to compare")
	return cmd
}

// benchMethod runs one of them in a folder that is removed afterwards.
func (a *app) benchMethod(ctx context.Context, method, model string, overrides []string) (row benchMethod, err error) {
	dir, err := os.MkdirTemp("", "hone-methods-")
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := recipe.DefaultSFT()
	args := []string{"model=" + model, "method=" + method, "out=" + filepath.Join(dir, "run"), "eval.on_start=true", "eval.every=0", "checkpoint.every=0"}
	if rate := methodRates[method]; rate != "" && !slices.ContainsFunc(overrides, func(s string) bool { return strings.HasPrefix(s, "optimizer.learning_rate=") }) {
		args = append(args, "optimizer.learning_rate="+rate)
	}
	if err := recipe.LoadConfig(&c, "", args); err != nil {
		return row, err
	}
	if err := recipe.Override(&c, overrides); err != nil {
		return row, err
	}
	s, err := a.train(ctx, &c, &c.Training)
	if err != nil {
		return row, err
	}
	if s.Interrupted {
		return row, context.Canceled
	}
	return benchMethod{Method: method, Rate: c.Optimizer.LearningRate, Before: s.Before["loss"], Loss: s.Validation["loss"], Trainable: s.Trainable,
		SPerStep: s.Seconds / float64(s.Steps), PeakBytes: s.PeakMemoryBytes, PlannedPeak: s.PlannedMemoryBytes}, nil
}

// printMethods writes the table of docs/methods.md.
func printMethods(w io.Writer, rows []benchMethod) {
	fmt.Fprintf(w, "| method | learning rate | held-out loss | trained parameters | s/step | peak memory | planned |\n|---|---|---|---|---|---|---|\n")
	if len(rows) > 0 {
		fmt.Fprintf(w, "| none | | %.4f | | | | |\n", rows[0].Before)
	}
	for _, r := range rows {
		fmt.Fprintf(w, "| %s | %g | %.4f | %d | %.3f | %s | %s |\n", r.Method, r.Rate, r.Loss, r.Trainable, r.SPerStep, plan.Bytes(r.PeakBytes), plan.Bytes(r.PlannedPeak))
	}
}
