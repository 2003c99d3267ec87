package main

import (
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/spf13/cobra"

	"hone/data"
	"hone/eval"
	"hone/recipe/config"
)

// evalCommand reads documents through windows that do not overlap: tokens after a cut are predicted with little before them, as in training.
func evalCommand(a *app) *cobra.Command {
	flags, c := &modelFlags{}, evalConfig{TextField: "text", Length: 256, BatchSize: 8}
	cmd := &cobra.Command{
		Use:     "eval MODEL data=PATH [path=value ...]",
		Short:   "Measure loss, perplexity and bits per byte on text",
		Long:    "Measures how well a model predicts text, in windows of sequence_length tokens.\n\nKeys:\n" + keys(&c),
		Example: "  hone eval runs/first/model data=held-out.txt",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.read(args[1:]); err != nil {
				return err
			}
			m, err := flags.load(args[0])
			if err != nil {
				return err
			}
			defer m.close()
			// The default length is longer than some models read, and whoever sets it means at most.
			if limit := m.model.Shape().MaxPositions; c.Length > limit {
				c.Length = limit
			}
			r, err := eval.Run(cmd.Context(), eval.Model{Dev: m.dev, DType: m.dtype, Model: m.model, Tokenizer: m.tok}, c.documents(),
				eval.Config{Length: c.Length, Stride: c.Length, BatchSize: c.BatchSize, MaxTokens: c.MaxTokens})
			if err != nil {
				return err
			}
			return a.result(r, func(w io.Writer) {
				fmt.Fprintf(w, "loss           %.4f\nperplexity     %.3f\nbits per byte  %.4f\n%d tokens of %d documents, windows of %d\n",
					r.Loss, r.Perplexity, r.BitsPerByte, r.Tokens, r.Documents, r.Length)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// evalConfig is the keys of hone eval.
type evalConfig struct {
	Data      []string `yaml:"data" doc:"files, folders or globs of text"`
	TextField string   `yaml:"text_field" doc:"JSON key or Parquet column that holds the text"`
	Length    int      `yaml:"sequence_length" doc:"tokens of a window"`
	BatchSize int      `yaml:"batch_size" doc:"windows side by side"`
	MaxTokens int64    `yaml:"max_tokens" doc:"stop after about this many; 0: all"`
}

// read takes path=value arguments.
func (c *evalConfig) read(args []string) error {
	if err := config.Override(c, args); err != nil {
		return err
	}
	if len(c.Data) == 0 {
		return errors.New("nothing to measure on; give data=PATH")
	}
	return nil
}

func (c *evalConfig) documents() iter.Seq2[data.Document, error] {
	return data.Sources{Paths: c.Data, Field: c.TextField}.Documents(&data.Stats{})
}
