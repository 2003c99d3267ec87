package main

import (
	"io"

	"github.com/spf13/cobra"

	"hone/recipe"
)

func sftCommand(a *app) *cobra.Command {
	defaults := recipe.DefaultSFT()
	dry := false
	cmd := &cobra.Command{
		Use:   "sft [RECIPE.yaml] [path=value ...]",
		Short: "Fine-tune a model on examples of instructions and answers",
		Long: "Trains a model on examples: all weights (method=full) or a LoRA adapter beside them (method=lora).\n\n" +
			"Keys, in YAML or as path=value:\n" + keys(&defaults),
		Example: "  hone sft model=runs/first/model data=examples.jsonl out=runs/tuned\n" +
			"  hone sft model=runs/first/model data=examples.jsonl out=runs/adapter method=lora lora.r=16",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := recipe.DefaultSFT()
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
