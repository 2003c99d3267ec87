package corpus

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/machine"
	"hone/data/curate"
	"hone/recipe/config"
	"hone/recipe/curation"
)

// mixCommand reads SRC=WEIGHT beside path=value, in which a source that is called like a key loses.
func mixCommand(a *cli.App) *cobra.Command {
	defaults := curation.DefaultMix()
	return &cobra.Command{
		Use: "mix [RECIPE.yaml] [SRC=WEIGHT ...] [path=value ...]", Short: "Mix sources by weight into one corpus",
		Long: "Writes documents of several sources in turn, so that at every point each has its share of the text, and says how many documents of each there\n" +
			"are and how often a source was repeated. Weights are SRC=WEIGHT or data_weights; without any a source's weight is its size, and\n" +
			"data_temperature evens the shares out. The result depends on the sources and the recipe alone;\n" +
			"a run that was stopped goes on where it was.\n\nKeys, in YAML or as path=value:\n" + cli.Keys(&defaults),
		Example: "  hone data mix wiki/=0.7 code/=0.3 out=mixed amount=1000000000\n  hone data mix data=de/,en/,fr/ data_temperature=3 out=mixed until=all format=parquet",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			c := curation.DefaultMix()
			path, rest := cli.SplitArgs(args)
			var overrides []string
			var weighed curation.Mix
			for _, arg := range rest {
				// SRC=WEIGHT and key=value look alike; keys of the recipe come first.
				if !weighed.SourceWeight(arg) {
					overrides = append(overrides, arg)
				}
			}
			if err := config.Load(&c, path, overrides); err != nil {
				return err
			}
			if len(weighed.Data) > 0 {
				c.Data, c.DataWeights = weighed.Data, weighed.DataWeights
			}
			if c.Tokenizer, err = machine.TokenizerPath(c.Tokenizer); err != nil {
				return err
			}
			bar := cli.NewProgress(a.Err)
			mixed, stats, err := c.Run(cmd.Context(), func(n, sum int64) {
				if n%1000 == 0 {
					bar.Live(fmt.Sprintf("%d documents, %s", n, cli.BytesText(sum)), false)
				}
			})
			bar.Clear()
			if err != nil {
				return err
			}
			noteRead(a, stats)
			return a.Result(mixed, func(w io.Writer) { showMix(w, mixed, c.Out) })
		},
	}
}

// showMix prints what a mix has of each source.
func showMix(out io.Writer, m *curate.Mixed, dir string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	tokens := m.Unit == "tokens"
	row := func(name string, c curate.Count, share, note string) {
		counted := ""
		if tokens {
			counted = fmt.Sprintf("%d\t", c.Tokens)
		}
		fmt.Fprintf(w, "%s\t%d\t%.1f MB\t%s%s\t  %s\n", name, c.Documents, float64(c.Bytes)/1e6, counted, share, note)
	}
	head := ""
	if tokens {
		head = "tokens\t"
	}
	fmt.Fprintf(w, "\tdocuments\ttext\t%sof %s (wanted)\t\n", head, m.Unit)
	for _, s := range m.Sources {
		row(s.Name, s.Count, fmt.Sprintf("%.1f%% (%.1f%%)", 100*s.Share, 100*s.Wanted), repeats(s))
	}
	row("all", m.Total, "", "")
	w.Flush()
	fmt.Fprintf(out, "\n%d parts in %s\nnext: hone pretrain data=%s out=runs/first\n", m.Parts, dir, cli.Word(dir))
}

// repeats says how often a source was read.
func repeats(s curate.MixedSource) string {
	if s.Repeated.Documents == 0 {
		return ""
	}
	once := s.Count.Bytes - s.Repeated.Bytes
	return fmt.Sprintf("upsampled %.1f times: %d documents are repeats", quotient(s.Count.Bytes, once), s.Repeated.Documents)
}
