package main

import (
	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
)

func dataCommand(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{Use: "data", Short: "Know a corpus, clean it, mix it", Example: "  hone data stats crawl/\n  hone data curate data=crawl/ out=curated",
		Args: cobra.ArbitraryArgs, RunE: cli.OnlyCommands}
	cmd.AddCommand(curateCommand(a), statsCommand(a), sampleCommand(a), mixCommand(a), checkCommand(a))
	cmd.AddCommand(dedupCommand(a), decontaminateCommand(a), classifierCommand(a))
	return cmd
}
