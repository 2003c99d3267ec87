package main

import (
	"context"

	"github.com/spf13/cobra"

	"hone/cmd/hone/bench"
	"hone/cmd/hone/cli"
	"hone/cmd/hone/corpus"
	"hone/cmd/hone/machine"
	"hone/cmd/hone/quickstart"
	"hone/cmd/hone/training"
	"hone/recipe"
)

// Commands that are packages of their own, with what they need of this one.

// trained runs a recipe, as its own command does.
func trained(a *cli.App) func(context.Context, recipe.Runner, *recipe.Training) (*recipe.Summary, error) {
	return func(ctx context.Context, r recipe.Runner, c *recipe.Training) (*recipe.Summary, error) {
		return training.Train(ctx, a, r, c)
	}
}

func quickstartCommand(a *cli.App) *cobra.Command {
	show := func(s *recipe.Summary) {
		if !a.JSON {
			training.Summarise(a.Out, s)
		}
	}
	return quickstart.Command(&quickstart.Program{Result: a.Result, Notes: a.Notes, Show: show, Train: trained(a)})
}

func benchCommand(a *cli.App) *cobra.Command {
	cmd := bench.Command(&bench.Program{
		Result: a.Result, Notes: a.Notes, Open: machine.OpenTimed, ModelDir: machine.ModelDir, Train: trained(a), Rate: quickstart.Rate, SourceFlags: corpus.SourceFlags, Funnel: corpus.Funnel,
	})
	cmd.Args, cmd.RunE = cobra.ArbitraryArgs, cli.OnlyCommands
	return cmd
}
