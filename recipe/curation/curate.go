// Package curation has the recipes that make data: a clean corpus of a raw one, a mix of several, sound records of any.
package curation

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"hone/data"
	"hone/data/curate"
	"hone/data/curate/classifier"
	"hone/data/curate/dedup"
	"hone/data/curate/filters"
	"hone/data/curate/spans"
	"hone/recipe"
	"hone/recipe/config"
	"hone/tokenizer"
)

// Curate is the recipe of making a clean corpus of a raw one. DefaultCurate gives the defaults; data and out have none.
type Curate struct {
	Data        []string `yaml:"data" doc:"files, folders or globs of text, source code, .jsonl or .parquet, each also .gz or .zst"`
	Out         string   `yaml:"out" doc:"folder of the result: part-N.jsonl.zst or .parquet, report.html, curation.json, duplicates.jsonl; an unfinished one is gone on with"`
	TextField   string   `yaml:"text_field" doc:"JSON key or Parquet column that holds the text"`
	URLField    string   `yaml:"url_field" doc:"JSON key or Parquet column of where a document was found; where there is none, it has none"`
	IDField     string   `yaml:"id_field" doc:"the same for its name"`
	OnSameID    string   `yaml:"on_same_id" doc:"at a document with the id of an earlier one: keep both and say so, skip it, or error"`
	OnBadRecord string   `yaml:"on_bad_record" doc:"at a malformed record: error, or skip and name it"`
	OnBadFile   string   `yaml:"on_bad_file" doc:"at a file that cannot be read or unpacked: error, or skip and name it"`
	Filters     []string `yaml:"filters" doc:"in the order of their work: mend, length, language, urls, words, pii, gopher_quality, gopher_repetition, c4, fineweb, code, decontaminate, classifier, perplexity"`
	Dedup       []string `yaml:"dedup" doc:"which copies go: exact and near (or minhash) of documents, then what stood before of paragraphs, lines and substring"`
	ShardMiB    int      `yaml:"shard_mib" doc:"text in a part, in MiB"`
	Format      string   `yaml:"format" doc:"of the parts: jsonl.zst or parquet"`
	Tokenizer   string   `yaml:"tokenizer" doc:"folder or file of a tokenizer, or name of a model in the cache, to count tokens with; empty: they are not counted"`
	Threads     int      `yaml:"threads" doc:"cores to use; 0: all; the result does not depend on it"`

	Length           filters.Length           `yaml:"length"`
	Language         filters.Language         `yaml:"language"`
	URLs             filters.URLs             `yaml:"urls"`
	Words            filters.Words            `yaml:"words"`
	PII              filters.PII              `yaml:"pii"`
	GopherQuality    filters.GopherQuality    `yaml:"gopher_quality"`
	GopherRepetition filters.GopherRepetition `yaml:"gopher_repetition"`
	C4               filters.C4               `yaml:"c4"`
	FineWeb          filters.FineWeb          `yaml:"fineweb"`
	Code             filters.Code             `yaml:"code"`
	Decontaminate    filters.Decontaminate    `yaml:"decontaminate"`
	Classifier       classifier.Config        `yaml:"classifier"`
	Perplexity       Perplexity               `yaml:"perplexity"`
	Near             dedup.MinHash            `yaml:"near"`
	Paragraphs       spans.Repeats            `yaml:"paragraphs"`
	Lines            spans.Repeats            `yaml:"lines"`
	Substring        spans.Substring          `yaml:"substring"`
}

// DefaultCurate returns the recipe with every default filled in: prose from the web. For source code set filters=mend,code,pii.
func DefaultCurate() Curate {
	return Curate{
		TextField: "text", URLField: "url", IDField: "id", OnBadRecord: "error", OnBadFile: "error", OnSameID: "keep", Filters: []string{"mend", "gopher_repetition", "gopher_quality", "fineweb", "pii"},
		Dedup: []string{"exact", "near"}, ShardMiB: 256, Format: jsonlFormat, Language: filters.DefaultLanguage(), URLs: filters.DefaultURLs(), PII: filters.DefaultPII(), GopherQuality: filters.DefaultGopherQuality(),
		GopherRepetition: filters.DefaultGopherRepetition(), C4: filters.DefaultC4(), FineWeb: filters.DefaultFineWeb(), Code: filters.DefaultCode(),
		Decontaminate: filters.DefaultDecontaminate(), Classifier: classifier.Default(), Perplexity: defaultPerplexity(), Near: dedup.DefaultMinHash(), Paragraphs: spans.DefaultParagraphs(), Lines: spans.DefaultLines(), Substring: spans.DefaultSubstring(),
	}
}

// The formats of parts.
const (
	jsonlFormat   = "jsonl.zst"
	parquetFormat = "parquet"
)

// TokenCounter makes counters of a text's tokens; nil when path names no tokenizer.
func TokenCounter(path string) (func() func(string) int, error) {
	if path == "" {
		return nil, nil
	}
	tok, err := tokenizer.Load(path)
	if err != nil {
		return nil, err
	}
	return func() func(string) int {
		enc, ids := tok.NewEncoder(), []int32{}
		return func(text string) int {
			ids = enc.Encode(ids[:0], []byte(text))
			return len(ids)
		}
	}, nil
}

// Validate reports the first key that cannot be meant, and the remedy.
func (c *Curate) Validate() error {
	switch {
	case len(c.Data) == 0:
		return errors.New("data is not set; name files, folders or globs of text, as in data=crawl/")
	case c.Out == "":
		return errors.New("out is not set; name the folder of the result, as in out=curated")
	case c.ShardMiB < 1:
		return fmt.Errorf("shard_mib is %d; it must be at least 1", c.ShardMiB)
	case c.Format != jsonlFormat && c.Format != parquetFormat:
		return fmt.Errorf("format is %q; use %s or %s", c.Format, jsonlFormat, parquetFormat)
	case c.OnSameID != "keep" && c.OnSameID != "skip" && c.OnSameID != "error":
		return fmt.Errorf("on_same_id is %q; use keep, skip or error", c.OnSameID)
	case c.Threads < 0:
		return fmt.Errorf("threads is %d; it must be at least 0, and 0 uses all cores", c.Threads)
	}
	// minhash is what others call near
	known := []string{"exact", "near", "minhash", "paragraphs", "lines", "substring"}
	for _, name := range c.Dedup {
		if !slices.Contains(known, name) {
			return fmt.Errorf("dedup names %q; known are %s", name, strings.Join(known, ", "))
		}
	}
	chosen, err := c.chosen(&stepRun{})
	if err != nil {
		return err
	}
	for _, f := range chosen {
		if f.validate != nil && f.validate() != nil {
			return f.validate()
		}
	}
	for _, err := range []error{c.Near.Validate(), c.Paragraphs.Validate("paragraphs"), c.Lines.Validate("lines"), c.Substring.Validate()} {
		if err != nil {
			return err
		}
	}
	return nil
}

// Run curates. When ctx is cancelled, what is finished stays and the same call goes on from there.
func (c *Curate) Run(ctx context.Context, env recipe.Env) (*curate.Result, *data.Stats, error) {
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	env = env.WithDefaults()
	// what decides the result is in the fingerprint, what only decides how it is come by is not
	sources := data.Sources{Paths: c.Data, Field: c.TextField, URLField: c.URLField, IDField: c.IDField,
		OnBadRecord: data.BadRecord(c.OnBadRecord), OnBadFile: data.BadRecord(c.OnBadFile)}
	// the places' key, not Key: a run that stopped at what cannot be read goes on when that is to be skipped
	key, err := sources.PlaceKey()
	if err != nil {
		return nil, nil, err
	}
	run := &stepRun{ctx: ctx, env: env, sources: sources}
	defer run.free()
	filters, files, err := c.filesKey(run)
	if err != nil {
		return nil, nil, err
	}
	fingerprint := c.fingerprint(key + files)
	if err := curate.Claim(c.Out, fingerprint); err != nil { // before filters put files there
		return nil, nil, err
	}
	cfg := curate.Config{Dir: c.Out, Exact: slices.Contains(c.Dedup, "exact"), ShardBytes: int64(c.ShardMiB) << 20, Workers: c.Threads,
		Passes: c.passes(), Fingerprint: fingerprint, Progress: func(stage string, n int64) { env.Progress(stage, n, 0) }, Parquet: c.Format == parquetFormat,
		Policy: badInput(c.OnBadRecord, c.OnBadFile)}
	if cfg.Tokens, err = TokenCounter(c.Tokenizer); err != nil {
		return nil, nil, err
	}
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if slices.Contains(c.Dedup, "near") || slices.Contains(c.Dedup, "minhash") {
		cfg.Near = &c.Near
	}
	for _, f := range filters {
		step, err := f.make()
		if err != nil {
			return nil, nil, err
		}
		cfg.Steps = append(cfg.Steps, step)
	}
	cfg.Notes, cfg.SameID = run.notes, curate.SameID(c.OnSameID)
	stats := &data.Stats{}
	result, err := curate.Run(ctx, sources.Documents(stats), cfg)
	if err == nil {
		c.noteURLs(result)
		err = config.Save(c.Out, c)
	}
	return result, stats, err
}

// noteURLs says so if lists of URLs were looked at for documents of which none has one, as with a misspelt key.
func (c *Curate) noteURLs(r *curate.Result) {
	at := slices.IndexFunc(r.Steps, func(s curate.StepCount) bool { return s.Name == "urls" })
	if at < 0 || r.Steps[at].Kept.Documents == 0 {
		return
	}
	// one with a URL is rejected for it, or scored
	if _, scored := r.Scores["urls.soft_words"]; !scored && len(r.Steps[at].Rejected) == 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("urls: no document has a URL under the key %q, so none was looked up; url_field names another key", c.URLField))
	}
}

// passes are what dedup cuts out of documents: the largest units first.
func (c *Curate) passes() (passes []spans.Pass) {
	if slices.Contains(c.Dedup, "paragraphs") {
		passes = append(passes, c.Paragraphs.Paragraphs())
	}
	if slices.Contains(c.Dedup, "lines") {
		passes = append(passes, c.Lines.Lines())
	}
	if slices.Contains(c.Dedup, "substring") {
		passes = append(passes, c.Substring.Pass())
	}
	return passes
}

// badInput names the policies for what cannot be read. Another policy may go on with what is unfinished, as all is read again up to there: so a
// run that stopped at such a place goes on with skip.
func badInput(onBadRecord, onBadFile string) string {
	return fmt.Sprintf("on_bad_record=%s on_bad_file=%s", onBadRecord, onBadFile)
}

// fingerprint is that of all that what is unfinished depends on.
func (c *Curate) fingerprint(input string) string {
	all := config.Flatten(c)
	// None of these changes what was finished up to where a run stopped.
	for _, key := range []string{"out", "threads", "on_same_id", "on_bad_record", "on_bad_file"} {
		delete(all, key)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", input, all)
	return fmt.Sprintf("%016x", xxh3.HashString(b.String()))
}
