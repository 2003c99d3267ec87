package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/data"
	"hone/data/curate"
	"hone/internal/atomicfile"
)

// sampleCommand draws documents in one pass, in memory for those that are drawn.
func sampleCommand(a *cli.App) *cobra.Command {
	s, n, seed, out := data.Sources{}, 0, uint64(0), ""
	cmd := &cobra.Command{
		Use: "sample DATA...", Short: "Draw documents, each with the same probability",
		Long: "Reads files, folders or globs once and writes N of their documents as JSON lines, in the order of the data, with where they come from;\n" +
			"with --records whole records as they are. The same seed draws the same documents. Memory holds the N documents.",
		Example: "  hone data sample crawl/ -n 100 > look.jsonl\n  hone data sample sft.jsonl -n 20 --records --out some.jsonl --seed 7", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if n < 1 {
				return fmt.Errorf("n is %d; it must be at least 1, as in -n 100", n)
			}
			// stdout has one object then, so that documents cannot go there
			if a.JSON && out == "" {
				return errors.New("--json tells what was drawn, so that the documents need a file: set --out FILE")
			}
			if s.Paths, err = plainPaths(cmd); err != nil {
				return err
			}
			stats := &data.Stats{}
			drawn, seen, err := curate.Sample(s.Documents(stats), n, seed)
			if err != nil {
				return byFlags{err}
			}
			if len(stats.Skipped) > 0 {
				noteRead(a, stats)
			}
			if out == "" {
				return writeSample(a.Out, drawn, s.Records)
			}
			if err := atomicfile.WriteTo(out, func(w io.Writer) error { return writeSample(w, drawn, s.Records) }); err != nil {
				return err
			}
			return a.Result(map[string]any{"out": out, "documents": len(drawn), "of": seen, "seed": seed}, func(w io.Writer) {
				fmt.Fprintf(w, "%d of %d documents in %s\n", len(drawn), seen, out)
			})
		},
	}
	SourceFlags(cmd, &s)
	cmd.Flags().IntVarP(&n, "number", "n", 10, "documents to draw")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "of the draw")
	cmd.Flags().StringVar(&out, "out", "", "file to write (default: stdout)")
	cmd.Flags().BoolVar(&s.Records, "records", false, "draw whole records (of .jsonl, .json, .parquet, .csv) instead of texts")
	return cmd
}

// writeSample writes a line for each document.
func writeSample(w io.Writer, docs []data.Document, records bool) error {
	for _, d := range docs {
		var line bytes.Buffer
		if records {
			if err := json.Compact(&line, d.Text); err != nil {
				return fmt.Errorf("%s: %w", d.Place(), err)
			}
			line.WriteByte('\n')
		} else {
			e := json.NewEncoder(&line)
			e.SetEscapeHTML(false)
			if err := e.Encode(map[string]any{"text": string(d.Text), "source": d.Source, "record": d.Record}); err != nil {
				return err
			}
		}
		if _, err := w.Write(line.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
