package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/recipe"
)

func rewardCommand(a *app) *cobra.Command {
	defaults := recipe.DefaultReward()
	return &cobra.Command{
		Use:   "reward [RECIPE.yaml] [path=value ...]",
		Short: "Train a reward model on preferences",
		Long: "Trains a model with a scalar head to tell which of two answers people prefer: all weights (method=full) or an adapter\n" +
			"(method=lora). Held-out pairs give accuracy, calibration, the bias to length and the agreement with each annotator.\n\n" +
			"Keys, in YAML or as path=value:\n" + keys(&defaults),
		Example: "  hone reward model=runs/tuned/model data=preferences.jsonl out=runs/reward\n" +
			"  hone reward model=runs/tuned/model data=preferences.jsonl out=runs/reward method=lora center_rewards_coefficient=0.01",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := recipe.DefaultReward()
			path, overrides := splitArgs(args)
			if err := recipe.LoadConfig(&c, path, overrides); err != nil {
				return err
			}
			s, err := a.train(cmd.Context(), &c, &c.Training)
			if err != nil {
				return err
			}
			return a.result(s, func(w io.Writer) {
				summarise(w, s)
				showMetrics(w, s.Validation)
			})
		},
	}
}

// showMetrics prints numbers by name.
func showMetrics(out io.Writer, metrics map[string]float64) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		fmt.Fprintf(w, "%s\t%.4f\n", name, metrics[name])
	}
	w.Flush()
}
