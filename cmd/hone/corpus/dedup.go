package corpus

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/recipe/config"
	"hone/recipe/curation"
)

func dedupCommand(a *cli.App) *cobra.Command {
	var by []string
	out := ""
	cmd := &cobra.Command{
		Use:   "dedup DATA ... [path=value ...]",
		Short: "Remove copies from a corpus and change nothing else",
		Long: "Removes, by one or more of\n" +
			"  exact       documents with equal texts: the first stays\n" +
			"  minhash     documents that share at least near.threshold of their word 5-grams: the longest stays\n" +
			"  paragraphs  paragraphs that stood before, anywhere in the corpus\n" +
			"  lines       the same of lines\n" +
			"  substring   spans of at least substring.length bytes that stood before, in text or code\n" +
			"It is hone data curate without filters, so its keys hold too: near.threshold=0.9, lines.min_chars=50, format=parquet, threads=4 …",
		Example: "  hone data dedup crawl/ --by exact,minhash --out unique\n  hone data dedup src/ --by exact,substring substring.whole=lines --out code",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := curation.DefaultCurate()
			c.Filters, c.Dedup, c.Out = nil, by, out
			if err := readData(&c, args); err != nil {
				return err
			}
			return runCurate(cmd.Context(), a, &c)
		},
	}
	cmd.Flags().StringSliceVar(&by, "by", []string{"exact", "minhash"}, "what to compare")
	cmd.Flags().StringVar(&out, "out", "deduplicated", "folder of the result")
	return cmd
}

// readData takes the files to read from the arguments, and keys of the recipe as path=value.
func readData(c *curation.Curate, args []string) error {
	var overrides []string
	for _, arg := range args {
		if strings.Contains(arg, "=") {
			overrides = append(overrides, arg)
		} else {
			c.Data = append(c.Data, arg)
		}
	}
	if len(c.Data) == 0 {
		return errors.New("there is no data; name files, folders or globs")
	}
	return config.Override(c, overrides)
}
