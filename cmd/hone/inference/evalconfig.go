package inference

import (
	"errors"
	"iter"

	"hone/data"
	"hone/eval"
	"hone/recipe/config"
)

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

// settings are windows that do not overlap.
func (c *evalConfig) settings() eval.Config {
	return eval.Config{Length: c.Length, Stride: c.Length, BatchSize: c.BatchSize, MaxTokens: c.MaxTokens}
}

func (c *evalConfig) documents() iter.Seq2[data.Document, error] {
	return data.Sources{Paths: c.Data, Field: c.TextField}.Documents(&data.Stats{})
}
