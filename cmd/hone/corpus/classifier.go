package corpus

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/data/curate/classifier"
)

func classifierCommand(a *cli.App) *cobra.Command {
	c := classifier.Default()
	out := ""
	cmd := &cobra.Command{
		Use:   "classifier --positive FILES --negative FILES",
		Short: "Learn from examples which documents to keep",
		Long: "Trains a linear classifier of hashed words and word pairs on two sets of examples and says how well it tells apart those that it was not shown.\n" +
			"hone data curate keeps documents by it with filters=classifier classifier.model=FILE. The result depends on the examples and the flags alone.",
		Example: "  hone data classifier --positive good/ --negative crawl-sample.jsonl --out taste.safetensors\n" +
			"  hone data curate data=crawl/ out=curated filters=mend,classifier classifier.model=taste.safetensors classifier.threshold=0.8",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := c.Validate(); err != nil {
				return err
			}
			m, err := c.Train()
			if err != nil {
				return err
			}
			if err := m.Save(out); err != nil {
				return err
			}
			return a.Result(m.Report, func(w io.Writer) { fmt.Fprintf(w, "%s\n%s\n", m.Report, out) })
		},
	}
	t := &c.Training
	f := cmd.Flags()
	f.StringSliceVar(&c.Positive, "positive", nil, "files, folders or globs of examples to keep the likes of")
	f.StringSliceVar(&c.Negative, "negative", nil, "the same of examples to reject the likes of")
	f.StringVar(&out, "out", "classifier.safetensors", "file of the result")
	f.IntVar(&t.NGram, "ngram", t.NGram, "words in the longest feature")
	f.IntVar(&t.Buckets, "buckets", t.Buckets, "weights, a power of two")
	f.IntVar(&t.Examples, "examples", t.Examples, "most examples of a set")
	f.IntVar(&t.Epochs, "epochs", t.Epochs, "passes over the examples")
	f.Float64Var(&t.LearningRate, "learning-rate", t.LearningRate, "of AdaGrad")
	f.Float64Var(&t.HeldOut, "held-out", t.HeldOut, "share of the examples that only measure")
	f.Uint64Var(&t.Seed, "seed", t.Seed, "of the order and of what is held out")
	return cmd
}
