package main

import (
	"io"

	"github.com/spf13/cobra"

	"hone/recipe"
)

func dpoCommand(a *app) *cobra.Command {
	defaults := recipe.DefaultDPO()
	return &cobra.Command{
		Use:   "dpo [RECIPE.yaml] [path=value ...]",
		Short: "Train a model on preferences directly: DPO, IPO, KTO, SimPO, ORPO and kin",
		Long: "Trains a model on preferences without a reward model. The reference is the model as it was before training; its\n" +
			"log-probabilities are computed once.\n\n" +
			"Keys, in YAML or as path=value:\n" + keys(&defaults),
		Example: "  hone dpo model=runs/tuned/model data=preferences.jsonl out=runs/dpo\n" +
			"  hone dpo model=runs/tuned/model data=verdicts.jsonl out=runs/kto loss_type=kto method=lora",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := recipe.DefaultDPO()
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
