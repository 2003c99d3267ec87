package curation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"hone/data"
	"hone/data/curate"
	"hone/data/curate/dedup"
	"hone/data/curate/document"
	"hone/data/curate/filters"
	"hone/recipe"
	"hone/recipe/config"
)

// Check is the recipe of looking through data for fine-tuning and preferences, and of keeping what is sound. DefaultCheck gives the defaults; data has none.
type Check struct {
	Data        []string `yaml:"data" doc:"files, folders or globs of records: .jsonl, .json, .parquet, .csv, each also .gz or .zst"`
	Out         string   `yaml:"out" doc:"folder of what is kept, records as they are: part-N.jsonl.zst, report.html, curation.json, duplicates.jsonl; empty: only a report"`
	OnBadRecord string   `yaml:"on_bad_record" doc:"at a malformed record: error, or skip and name it"`
	OnBadFile   string   `yaml:"on_bad_file" doc:"at a file that cannot be read or unpacked: error, or skip and name it"`
	Checks      []string `yaml:"checks" doc:"in the order of their work: format, same_answers, refusals, outliers, length, scripts, language, words"`
	Dedup       []string `yaml:"dedup" doc:"which copies go: exact (equal records), near (alike prompts)"`
	ShardMiB    int      `yaml:"shard_mib" doc:"records in a part, in MiB"`
	Threads     int      `yaml:"threads" doc:"cores to use; 0: all; the result does not depend on it"`

	Refusals filters.Refusals  `yaml:"refusals"`
	Outliers filters.Outliers  `yaml:"outliers"`
	Length   filters.Length    `yaml:"length"`
	Scripts  filters.ScriptMix `yaml:"scripts"`
	Language filters.Language  `yaml:"language"`
	Words    filters.Words     `yaml:"words"`
	Near     dedup.MinHash     `yaml:"near"`
}

// DefaultCheck returns the recipe with every default filled in. Prompts are short, so near ones are compared by three words and by all hashes.
func DefaultCheck() Check {
	near := dedup.DefaultMinHash()
	near.NGram, near.Threshold = 3, 0.8
	// Bad records are skipped by default, unlike in Curate: to find and count them is what a check is for.
	return Check{OnBadRecord: "skip", OnBadFile: "error", Checks: []string{"format", "same_answers", "refusals", "outliers", "scripts"}, Dedup: []string{"exact", "near"}, ShardMiB: 256,
		Refusals: filters.DefaultRefusals(), Outliers: filters.DefaultOutliers(), Language: filters.Language{Sample: 600}, Near: near}
}

// Validate reports the first key that cannot be meant, and the remedy.
func (c *Check) Validate() error {
	known := []string{"format", "same_answers", "refusals", "outliers", "length", "scripts", "language", "words"}
	switch {
	case len(c.Data) == 0:
		return errors.New("data is not set; name files of records, as in hone data check sft.jsonl")
	case c.ShardMiB < 1:
		return fmt.Errorf("shard_mib is %d; it must be at least 1", c.ShardMiB)
	case c.Threads < 0:
		return fmt.Errorf("threads is %d; it must be at least 0, and 0 uses all cores", c.Threads)
	case len(c.Checks) == 0 || c.Checks[0] != "format":
		return errors.New("checks must begin with format: the others need records that can be read")
	}
	for i, name := range c.Checks {
		if !slices.Contains(known, name) {
			return fmt.Errorf("checks names %q; known are %s", name, strings.Join(known, ", "))
		}
		if slices.Contains(c.Checks[:i], name) {
			return fmt.Errorf("checks names %s twice", name)
		}
	}
	for _, name := range c.Dedup {
		if name != "exact" && name != "near" {
			return fmt.Errorf("dedup names %q; use exact, near or both", name)
		}
	}
	for _, err := range []error{c.Length.Validate(), c.Scripts.Validate(), c.Language.Validate(), c.Words.Validate(), c.Near.Validate()} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Run checks. When ctx is cancelled, what is finished stays and the same call with the same out goes on from there.
func (c *Check) Run(ctx context.Context, env recipe.Env) (_ *curate.Result, _ *data.Stats, err error) {
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	env = env.WithDefaults()
	sources := data.Sources{Paths: c.Data, OnBadRecord: data.BadRecord(c.OnBadRecord), OnBadFile: data.BadRecord(c.OnBadFile), Records: true}
	key, err := sources.PlaceKey()
	if err != nil {
		return nil, nil, err
	}
	files, err := c.fileKey()
	if err != nil {
		return nil, nil, err
	}
	cfg := curate.Config{Dir: c.Out, Records: true, Exact: slices.Contains(c.Dedup, "exact"), ShardBytes: int64(c.ShardMiB) << 20, Workers: c.Threads,
		Policy: badInput(c.OnBadRecord, c.OnBadFile), Progress: func(stage string, n int64) { env.Progress(stage, n, 0) }}
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Dir == "" {
		if cfg.Dir, err = os.MkdirTemp("", "hone-check-"); err != nil {
			return nil, nil, fmt.Errorf("check: %w", err)
		}
		// Without a folder the work still goes through files, in a temporary one: copies are found by sorting on the disk whatever the size.
		defer os.RemoveAll(cfg.Dir)
	}
	if slices.Contains(c.Dedup, "near") {
		cfg.Near = &c.Near
	}
	all := config.Flatten(c)
	for _, key := range []string{"out", "threads", "on_bad_record", "on_bad_file"} {
		delete(all, key)
	}
	// Everything but where and how fast: with the same out another recipe would go on with records judged by other rules.
	cfg.Fingerprint = fmt.Sprintf("%016x", xxh3.HashString(fmt.Sprintf("check %s %s %q", key, files, all)))
	for _, name := range c.Checks {
		step, err := c.step(ctx, name, sources, cfg.Workers)
		if err != nil {
			return nil, nil, err
		}
		cfg.Steps = append(cfg.Steps, step)
	}
	stats := &data.Stats{}
	result, err := curate.Run(ctx, sources.Documents(stats), cfg)
	if err == nil && c.Out != "" {
		err = config.Save(c.Out, c)
	}
	return result, stats, err
}

// Unused is as of Curate, with checks in the place of filters.
func (c *Check) Unused(key string) string {
	section, _, inside := strings.Cut(key, ".")
	if !inside || slices.Contains(c.Checks, section) {
		return ""
	}
	if with, copies := unusedCopies(section, c.Dedup); copies {
		return with
	}
	return "checks, which lack " + section
}

// fileKey identifies the user's lists.
func (c *Check) fileKey() (string, error) {
	lists := slices.Clone(c.Refusals.Lists)
	if slices.Contains(c.Checks, "words") {
		lists = append(lists, c.Words.Lists...)
	}
	if len(lists) == 0 {
		return "", nil
	}
	return data.Sources{Paths: lists}.Key()
}

func (c *Check) step(ctx context.Context, name string, sources data.Sources, workers int) (document.Step, error) {
	switch name {
	case "format":
		return filters.Format(), nil
	case "same_answers":
		return filters.SameAnswers(), nil
	case "refusals":
		return c.Refusals.Step()
	case "outliers":
		return c.Outliers.Step(ctx, sources.Documents(&data.Stats{}), workers)
	case "length":
		return document.OnTalk(c.Length.Step(), false), nil
	case "scripts":
		return c.Scripts.Step(), nil
	case "language":
		return document.OnTalk(c.Language.Step(), false), nil
	}
	words, err := c.Words.Step()
	return document.OnTalk(words, true), err
}
