package corpus

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/data"
	"hone/data/curate"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/curation"
	"hone/report"
)

func checkCommand(a *cli.App) *cobra.Command {
	defaults := curation.DefaultCheck()
	return &cobra.Command{
		Use: "check FILE... [path=value ...]", Short: "Look through data for fine-tuning and preferences, and keep what is sound",
		Long: "Reads records of hone sft and hone dpo (messages, prompt and completion, Alpaca, ShareGPT, chosen and rejected) and counts, by reason, those that\n" +
			"cannot be read, have an empty or refused answer, a length far from most, another script, equal answers, listed words, or a prompt that\n" +
			"nearly stood before. With out=DIR the others are kept as they are; hone sft data=DIR reads them, and of preferences hone reward and hone dpo.\n\nKeys, in YAML or as path=value:\n" + cli.Keys(&defaults),
		Example: "  hone data check sft.jsonl\n" +
			"  hone data check pairs.jsonl out=sound scripts.keep=Latin words.lists=toxic.txt checks=format,same_answers,refusals,scripts,words",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := curation.DefaultCheck()
			var files, overrides []string
			path := ""
			for _, arg := range args {
				switch {
				case strings.Contains(arg, "="):
					overrides = append(overrides, arg)
				case strings.HasSuffix(arg, ".yaml") || strings.HasSuffix(arg, ".yml"):
					path = arg
				default:
					files = append(files, arg)
				}
			}
			if err := config.Load(&c, path, overrides); err != nil {
				return err
			}
			c.Data = append(c.Data, files...)
			return lookThrough(cmd, a, &c)
		},
	}
}

// lookThrough runs the recipe and prints what it found.
func lookThrough(cmd *cobra.Command, a *cli.App, c *curation.Check) error {
	usual := curation.DefaultCheck()
	a.NoteUnused(c, &usual)
	bar := cli.NewProgress(a.Err)
	result, stats, err := c.Run(cmd.Context(), recipe.Env{Progress: func(stage string, n, _ int64) { bar.Live(fmt.Sprintf("%s: %d records", stage, n), false) }})
	bar.Clear()
	if err != nil {
		return err
	}
	noteRead(a, stats)
	if c.Out != "" {
		if _, err := report.WriteCuration(c.Out); err != nil {
			return err
		}
	}
	shown := *result
	shown.Clusters = nil // in curation.json
	return a.Result(shown, func(w io.Writer) {
		Funnel(w, &shown, "records")
		showExamples(w, &shown)
		if c.Out != "" {
			fmt.Fprintf(w, "\n%s/report.html shows what was left out and why; duplicates.jsonl has the copies\n"+
				"next: hone sft data=%s model=DIR out=runs/tuned\n      hone dpo data=%s model=DIR out=runs/dpo, if these are preferences\n",
				c.Out, cli.Word(c.Out), cli.Word(c.Out))
		}
	})
}

// showExamples prints a record for each reason.
func showExamples(w io.Writer, r *curate.Result) {
	const most = 160
	seen := map[string]bool{}
	for _, e := range r.Examples {
		key := e.Step + ": " + e.Reason
		if seen[key] {
			continue
		}
		if len(seen) == 0 {
			fmt.Fprintln(w, "\nfor example")
		}
		seen[key] = true
		text := []rune(cli.Shown(strings.Join(strings.Fields(e.Text), " ")))
		fmt.Fprintf(w, "  %s, %s\n    %s\n", key, e.Place, string(text[:min(len(text), most)]))
		if strings.HasSuffix(e.Reason, "of no known format") {
			fmt.Fprintf(w, "    give its keys other names; known are %s; chosen and rejected\n", data.Formats)
		}
	}
}
