package main

import (
	"io"

	"github.com/spf13/cobra"

	"hone/recipe"
)

func grpoCommand(a *app) *cobra.Command {
	defaults := recipe.DefaultGRPO()
	return &cobra.Command{
		Use:   "grpo [RECIPE.yaml] [path=value ...]",
		Short: "Train a policy on groups of answers: GRPO and kin",
		Long: "Trains a policy on groups of answers to the same prompt, each compared with the others of its group: GRPO, Dr. GRPO, DAPO, GSPO and\n" +
			"RLOO. There is no critic. Rewards are as in hone ppo.\n\n" +
			"Keys, in YAML or as path=value:\n" + keys(&defaults),
		Example: "  hone grpo model=runs/tuned/model reward=go_parser prompts=prompts.jsonl out=runs/grpo\n" +
			"  hone grpo model=runs/tuned/model reward=\"program:./score.py\" prompts=prompts.jsonl out=runs/rloo loss_type=rloo",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := recipe.DefaultGRPO()
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
				showMetrics(w, s.Metrics)
			})
		},
	}
}
