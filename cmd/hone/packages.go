package main

import (
	"github.com/spf13/cobra"

	"hone/cmd/hone/bench"
	"hone/cmd/hone/quickstart"
	"hone/recipe"
)

// Commands that are packages of their own, with what they need of this one.

func quickstartCommand(a *app) *cobra.Command {
	show := func(s *recipe.Summary) {
		if !a.json {
			summarise(a.out, s)
		}
	}
	return quickstart.Command(&quickstart.Program{Result: a.result, Notes: a.notes, Show: show, Train: a.train})
}

func benchCommand(a *app) *cobra.Command {
	cmd := bench.Command(&bench.Program{
		Result: a.result, Notes: a.notes, Open: openTimed, ModelDir: modelDir, Train: a.train, Rate: quickstart.Rate, SourceFlags: sourceFlags, Funnel: funnel,
	})
	cmd.Args, cmd.RunE = cobra.ArbitraryArgs, onlyCommands
	return cmd
}
