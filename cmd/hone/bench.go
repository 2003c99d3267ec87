package main

import (
	"context"

	"github.com/spf13/cobra"

	"hone/cmd/hone/bench"
	"hone/recipe"
)

func benchCommand(a *app) *cobra.Command {
	cmd := bench.Command(&bench.Program{
		Result: a.result, Notes: a.notes, Open: openTimed, ModelDir: modelDir, Rates: methodRates, SourceFlags: sourceFlags, Funnel: funnel,
		Train: func(ctx context.Context, r bench.Recipe, c *recipe.Training) (*recipe.Summary, error) {
			return a.train(ctx, r, c)
		},
	})
	cmd.Args, cmd.RunE = cobra.ArbitraryArgs, onlyCommands
	return cmd
}
