package corpus

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/data/curate"
	"hone/recipe"
	"hone/recipe/config"
	"hone/recipe/curation"
	"hone/report"
)

func curateCommand(a *cli.App) *cobra.Command {
	defaults := curation.DefaultCurate()
	return &cobra.Command{
		Use:   "curate [RECIPE.yaml] [path=value ...]",
		Short: "Filter documents and remove copies",
		Long: "Puts documents through filters that mend or reject them with a reason, removes documents that equal or nearly equal (near.threshold) another, and writes what is left with where it\n" +
			"comes from. Memory does not grow with the corpus, but for the copies found. A run that was stopped goes on where it was.\n\nKeys, in YAML or as path=value:\n" + cli.Keys(&defaults),
		Example: "  hone data curate data=crawl/ out=curated\n  hone data curate data=src/ out=code filters=mend,code,pii",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := curation.DefaultCurate()
			path, overrides := cli.SplitArgs(args)
			if err := config.Load(&c, path, overrides); err != nil {
				return err
			}
			return runCurate(cmd.Context(), a, &c)
		},
	}
}

// runCurate runs the recipe, writes its report and prints the funnel.
func runCurate(ctx context.Context, a *cli.App, c *curation.Curate) (err error) {
	// before a model or a tokenizer is looked for whose name may be missing
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Tokenizer, err = machine.TokenizerPath(c.Tokenizer); err != nil {
		return err
	}
	usual := curation.DefaultCurate()
	a.NoteUnused(c, &usual)
	env := recipe.Env{}
	if slices.Contains(c.Filters, "perplexity") {
		dir, err := machine.ModelDir(c.Perplexity.Model)
		if err != nil {
			return err
		}
		c.Perplexity.Model = dir
		dev, done, err := machine.OpenDevice("cpu", c.Threads)
		if err != nil {
			return err
		}
		defer done()
		env.Device = dev
	}
	bar := cli.NewProgress(a.Err)
	env.Progress = func(stage string, n, _ int64) { bar.Live(fmt.Sprintf("%s: %d documents", stage, n), false) }
	result, stats, err := c.Run(ctx, env)
	bar.Clear()
	if err != nil {
		return err
	}
	noteRead(a, stats)
	for _, note := range result.Notes {
		fmt.Fprintln(a.Notes(), note)
	}
	if _, err := report.WriteCuration(c.Out); err != nil {
		return err
	}
	shown := *result
	// They are texts, and may be long: a result is what a person or a script reads at once.
	shown.Clusters, shown.Examples = nil, nil // in curation.json
	return a.Result(shown, func(w io.Writer) {
		Funnel(w, &shown, "documents")
		fmt.Fprintf(w, "\n%s/report.html shows what was left out and why; curation.json has the counts, duplicates.jsonl the copies\n", c.Out)
		if shown.Kept.Documents == 0 {
			fmt.Fprintln(w, "nothing is left to train on: see the reasons above, and begin again in another folder")
			return
		}
		fmt.Fprintf(w, "next: hone pretrain data=%s out=runs/first\n", cli.Word(c.Out))
	})
}

// Funnel prints how many documents, or what they are called, each step left.
func Funnel(out io.Writer, r *curate.Result, documents string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	unit, unitName := 1e6, "MB"
	if r.Read.Bytes < 1e6 {
		unit, unitName = 1e3, "kB"
	}
	row := func(name string, c curate.Count, note string) {
		tokens := ""
		if r.Read.Tokens > 0 {
			tokens = fmt.Sprintf("%d\t", c.Tokens)
		}
		fmt.Fprintf(w, "%s\t%d\t%.1f %s\t%s%5.1f%%\t  %s\n", name, c.Documents, float64(c.Bytes)/unit, unitName, tokens, 100*quotient(c.Bytes, r.Read.Bytes), note)
	}
	tokens := ""
	if r.Read.Tokens > 0 {
		tokens = "tokens\t"
	}
	fmt.Fprintf(w, "\t%s\ttext\t%sof all\t\n", documents, tokens)
	row("read", r.Read, "")
	for _, s := range r.Steps {
		row(s.Name, s.Kept, reasons(s))
	}
	for _, s := range r.Stages() {
		row(s.Name, s.Left, s.Note)
	}
	w.Flush()
}

func quotient(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// reasons lists why a step rejected, the most frequent first.
func reasons(s curate.StepCount) string {
	names := slices.SortedFunc(maps.Keys(s.Rejected), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Rejected[b].Documents, s.Rejected[a].Documents), cmp.Compare(a, b))
	})
	text := ""
	if s.Changed > 0 {
		text = fmt.Sprintf("%d changed", s.Changed)
	}
	const shown = 4
	for i, name := range names {
		if text != "" {
			text += ", "
		}
		if i == shown {
			return text + fmt.Sprintf("%d more reasons", len(names)-shown)
		}
		text += fmt.Sprintf("%d %s", s.Rejected[name].Documents, name)
	}
	return text
}
