package main

import (
	"io"

	"github.com/spf13/cobra"

	"hone/recipe"
)

func ppoCommand(a *app) *cobra.Command {
	defaults := recipe.DefaultPPO()
	return &cobra.Command{
		Use:   "ppo [RECIPE.yaml] [path=value ...]",
		Short: "Train a policy by PPO from a reward model or rules",
		Long: "Trains a policy by proximal policy optimisation: in each iteration the model answers prompts, a reward model or rules score the\n" +
			"answers, and the policy learns from them, held to what it was by the KL divergence. Rewards are folders of reward models,\n" +
			"go_parser, gofmt, length:TOKENS, format:REGEX and program:PATH ARGUMENTS, which reads JSON lines and prints scores.\n\n" +
			"Keys, in YAML or as path=value:\n" + keys(&defaults),
		Example: "  hone ppo model=runs/tuned/model reward=runs/reward/model prompts=prompts.jsonl out=runs/ppo\n" +
			"  hone ppo model=runs/tuned/model reward=go_parser prompts=prompts.jsonl out=runs/ppo method=lora kl_target=6",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := recipe.DefaultPPO()
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
