package curation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"

	"hone/data"
	"hone/data/curate"
	"hone/recipe/config"
)

// Mix is the recipe of one corpus from several. DefaultMix gives the defaults; data and out have none.
type Mix struct {
	Data            []string `yaml:"data" doc:"the sources: each a file, folder or glob of text, source code, .jsonl or .parquet"`
	DataWeights     []string `yaml:"data_weights" doc:"for each source its share of the text, relative to the others; empty: by size"`
	DataTemperature float64  `yaml:"data_temperature" doc:"shares are to the power of 1/this: 1 as they are, larger evens them out"`
	Out             string   `yaml:"out" doc:"folder of the result: part-N.jsonl.zst or .parquet, mixture.json; an unfinished one is gone on with"`
	Amount          int64    `yaml:"amount" doc:"bytes of text to write, or tokens where a tokenizer is named; sources that end begin anew; 0: see until"`
	Until           string   `yaml:"until" doc:"without an amount: first (a source ends) or all (have been read once, the others again meanwhile)"`
	TextField       string   `yaml:"text_field" doc:"JSON key or Parquet column that holds the text"`
	OnBadRecord     string   `yaml:"on_bad_record" doc:"at a malformed record: error, or skip and name it"`
	OnBadFile       string   `yaml:"on_bad_file" doc:"at a file that cannot be read or unpacked: error, or skip and name it"`
	Tokenizer       string   `yaml:"tokenizer" doc:"folder or file of a tokenizer, or name of a model in the cache: shares and amount are of its tokens; empty: of bytes"`
	ShardMiB        int      `yaml:"shard_mib" doc:"text in a part, in MiB"`
	Format          string   `yaml:"format" doc:"of the parts: jsonl.zst or parquet"`
}

// DefaultMix returns the recipe with every default filled in.
func DefaultMix() Mix {
	return Mix{DataTemperature: 1, Until: "first", TextField: "text", OnBadRecord: "error", OnBadFile: "error", ShardMiB: 256, Format: jsonlFormat}
}

// Validate reports the first key that cannot be meant, and the remedy.
func (c *Mix) Validate() error {
	switch {
	case len(c.Data) < 2:
		return errors.New("a mix needs two sources or more, as in wiki/=0.7 code/=0.3")
	case c.Out == "":
		return errors.New("out is not set; name the folder of the result, as in out=mixed")
	case len(c.DataWeights) > 0 && len(c.DataWeights) != len(c.Data):
		return fmt.Errorf("data_weights has %d numbers for %d sources; give one for each", len(c.DataWeights), len(c.Data))
	case !(c.DataTemperature > 0) || math.IsInf(c.DataTemperature, 0):
		return fmt.Errorf("data_temperature is %v; it must be above 0", c.DataTemperature)
	case c.Amount < 0:
		return fmt.Errorf("amount is %d; it must be at least 0", c.Amount)
	case c.Until != "first" && c.Until != "all":
		return fmt.Errorf("until is %q; use first or all", c.Until)
	case c.ShardMiB < 1:
		return fmt.Errorf("shard_mib is %d; it must be at least 1", c.ShardMiB)
	case c.Format != jsonlFormat && c.Format != parquetFormat:
		return fmt.Errorf("format is %q; use %s or %s", c.Format, jsonlFormat, parquetFormat)
	}
	for _, w := range c.DataWeights {
		if v, err := strconv.ParseFloat(w, 64); err != nil || !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("data_weights has %q; weights must be positive numbers", w)
		}
	}
	return nil
}

// Run mixes. What it writes depends on the sources and the recipe alone. A run that was stopped goes on with the next call.
func (c *Mix) Run(ctx context.Context, progress func(documents, sum int64)) (*curate.Mixed, *data.Stats, error) {
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	counter, err := TokenCounter(c.Tokenizer)
	if err != nil {
		return nil, nil, err
	}
	cfg := curate.MixConfig{Dir: c.Out, Amount: c.Amount, All: c.Until == "all", ShardBytes: int64(c.ShardMiB) << 20, Parquet: c.Format == parquetFormat, Progress: progress}
	if counter != nil {
		cfg.Tokens = counter()
	}
	for _, policy := range [][2]string{{"on_bad_file", c.OnBadFile}, {"on_bad_record", c.OnBadRecord}} {
		if policy[1] == string(data.SkipBadRecord) {
			cfg.Skip = append(cfg.Skip, policy[0])
		}
	}
	// one stats for all sources: what was skipped is told together
	stats, key := &data.Stats{}, ""
	for i, path := range c.Data {
		s := data.Sources{Paths: []string{path}, Field: c.TextField, OnBadRecord: data.BadRecord(c.OnBadRecord), OnBadFile: data.BadRecord(c.OnBadFile)}
		in := curate.Ingredient{Name: path, Docs: func() iter.Seq2[data.Document, error] { return s.Documents(stats) }}
		in.Weight = func() (float64, error) { return c.weight(i, s, cfg.Tokens) }
		cfg.Ingredients = append(cfg.Ingredients, in)
		k, err := s.PlaceKey()
		if err != nil {
			return nil, nil, err
		}
		key += k
	}
	all := config.Flatten(c)
	for _, key := range []string{"out", "on_bad_record", "on_bad_file"} { // none of them changes what was written before a bad record
		delete(all, key)
	}
	cfg.Fingerprint = fmt.Sprintf("%016x", xxh3.HashString(fmt.Sprintf("mix %s %q", key, all)))
	mixed, err := curate.Mix(ctx, cfg)
	return mixed, stats, err
}

// weight is that of a source: what data_weights says, or its size, to the power of one over the temperature (Raffel et al., "Exploring the Limits of
// Transfer Learning", 2020, section 3.5.2).
func (c *Mix) weight(i int, s data.Sources, tokens func(string) int) (float64, error) {
	size := 0.0
	if len(c.DataWeights) > 0 {
		size, _ = strconv.ParseFloat(c.DataWeights[i], 64) // validated
	} else {
		for d, err := range s.Documents(&data.Stats{}) {
			switch {
			case err != nil:
				return 0, err
			case tokens != nil:
				size += float64(tokens(string(d.Text)))
			default:
				size += float64(len(d.Text))
			}
		}
	}
	if size == 0 {
		return 0, fmt.Errorf("%s holds no text", c.Data[i])
	}
	// T = 1 keeps the shares; as T grows all come near each other. Given weights are tempered, too, so that the key means the same with them.
	return math.Pow(size, 1/c.DataTemperature), nil
}

// SourceWeight reads an argument SRC=WEIGHT: a weight behind what is no key of the recipe.
func (c *Mix) SourceWeight(arg string) (ok bool) {
	// the last: names of files may have the sign, too
	at := strings.LastIndex(arg, "=")
	if at < 1 {
		return false
	}
	if slices.ContainsFunc(config.Fields(c), func(f config.Field) bool { return f.Path == arg[:at] }) {
		return false
	}
	if _, err := strconv.ParseFloat(arg[at+1:], 64); err != nil {
		return false
	}
	c.Data, c.DataWeights = append(c.Data, arg[:at]), append(c.DataWeights, arg[at+1:])
	return true
}
