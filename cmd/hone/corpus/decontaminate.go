package corpus

import (
	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/recipe/curation"
)

func decontaminateCommand(a *cli.App) *cobra.Command {
	c := curation.DefaultCurate()
	c.Filters, c.Dedup, c.Out = []string{"decontaminate"}, nil, "decontaminated"
	cmd := &cobra.Command{
		Use:   "decontaminate DATA ... --against FILES [path=value ...]",
		Short: "Remove documents that contain what an evaluation asks",
		Long: "Removes documents that share a row of 13 words with a record of the evaluation's files (.jsonl, .json, .parquet, .csv, .tsv, text: all strings of a\n" +
			"record count), or with --cut only those passages and 200 bytes around them. It is hone data curate with this filter alone, so its keys hold too:\n" +
			"decontaminate.ngram=10, decontaminate.max_share=0.1, format=parquet, threads=4 …",
		Example: "  hone data decontaminate curated/ --against gsm8k.jsonl,mmlu.parquet --out clean\n  hone data decontaminate curated/ --against evals/ --cut",
		RunE: func(cmd *cobra.Command, args []string) error {
			if cut, err := cmd.Flags().GetBool("cut"); err != nil {
				return err
			} else if cut {
				c.Decontaminate.Action = "cut"
			}
			if err := readData(&c, args); err != nil {
				return err
			}
			return runCurate(cmd.Context(), a, &c)
		},
	}
	cmd.Flags().StringSliceVar(&c.Decontaminate.Against, "against", nil, "files, folders or globs of the evaluation")
	cmd.Flags().Bool("cut", false, "cut the passages out and keep the rest")
	cmd.Flags().StringVar(&c.Out, "out", c.Out, "folder of the result")
	return cmd
}
