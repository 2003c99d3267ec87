// Package corpus has the commands that prepare data: hone data, a file for each of its commands, and hone tokenizer.
package corpus

import (
	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
)

// Data is hone data, with a command for each thing that is done to a corpus.
func Data(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{Use: "data", Short: "Know a corpus, clean it, mix it", Example: "  hone data stats crawl/\n  hone data curate data=crawl/ out=curated",
		Args: cobra.ArbitraryArgs, RunE: cli.OnlyCommands}
	cmd.AddCommand(curateCommand(a), statsCommand(a), sampleCommand(a), mixCommand(a), checkCommand(a))
	cmd.AddCommand(dedupCommand(a), decontaminateCommand(a), classifierCommand(a))
	return cmd
}
