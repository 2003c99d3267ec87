package inference

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"hone/cmd/hone/cli"
	"hone/cmd/hone/loaded"
	"hone/eval"
)

// Eval is hone eval. It reads documents through windows that do not overlap: tokens after a cut are predicted with little before them, as in training.
func Eval(a *cli.App) *cobra.Command {
	flags, c := &loaded.Flags{}, evalConfig{TextField: "text", Length: 256, BatchSize: 8}
	cmd := &cobra.Command{
		Use:     "eval MODEL data=PATH [path=value ...]",
		Short:   "Measure loss, perplexity and bits per byte on text",
		Long:    "Measures how well a model predicts text, in windows of sequence_length tokens.\n\nKeys:\n" + cli.Keys(&c),
		Example: "  hone eval runs/first/model data=held-out.txt",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Stat(args[0]); err != nil && strings.Contains(args[0], "=") {
				return fmt.Errorf("the model is missing; use: %s", cmd.UseLine())
			}
			if err := c.read(args[1:]); err != nil {
				return err
			}
			if err := c.settings().Validate(); err != nil {
				return err
			}
			m, err := flags.LoadPromptly(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer m.Close()
			// The default length is longer than some models read, and whoever sets it means at most.
			if limit := m.Model.Shape().MaxPositions; c.Length > limit {
				c.Length = limit
			}
			r, err := eval.Run(cmd.Context(), eval.Model{Dev: m.Dev, DType: m.DType, Model: m.Model, Tokenizer: m.Tok}, c.documents(),
				c.settings())
			if err != nil {
				return err
			}
			return a.Result(finite(r), func(w io.Writer) {
				fmt.Fprintf(w, "loss           %.4f\nperplexity     %.3f\nbits per byte  %.4f\n%d tokens of %d documents, windows of %d\n",
					r.Loss, r.Perplexity, r.BitsPerByte, r.Tokens, r.Documents, r.Length)
			})
		},
	}
	flags.Add(cmd)
	return cmd
}

// finite is a result as JSON can hold it: above a loss of 709 nats the perplexity is infinite, and left as null.
func finite(r eval.Result) any {
	if !math.IsInf(r.Perplexity, 1) {
		return r
	}
	return struct {
		eval.Result
		Perplexity *float64 `json:"perplexity"`
	}{Result: r}
}
