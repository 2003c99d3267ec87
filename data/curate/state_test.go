package curate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate/classifier"
	"hone/data/curate/curatetest"
	"hone/data/curate/dedup"
	"hone/data/curate/document"
	"hone/data/curate/filters"
	"hone/data/curate/spans"
)

// TestValidate: each section at its bounds, and past them with an error that names the key.
func TestValidate(t *testing.T) {
	near := func(change func(*dedup.MinHash)) func() error {
		return func() error { c := dedup.DefaultMinHash(); change(&c); return c.Validate() }
	}
	span := func(c spans.Substring) func() error { return c.Validate }
	for key, pair := range map[string][2]func() error{
		"near.ngram":                        {near(func(c *dedup.MinHash) { c.NGram = 100 }), near(func(c *dedup.MinHash) { c.NGram = 101 })},
		"near.ngram is 0":                   {near(func(c *dedup.MinHash) { c.NGram = 1 }), near(func(c *dedup.MinHash) { c.NGram = 0 })},
		"near.bands":                        {near(func(c *dedup.MinHash) { c.Bands, c.Rows = 1, 1000 }), near(func(c *dedup.MinHash) { c.Bands = 0 })},
		"near.rows":                         {near(func(c *dedup.MinHash) { c.Bands, c.Rows = 128, 128 }), near(func(c *dedup.MinHash) { c.Bands, c.Rows = 128, 129 })},
		"near.threshold":                    {near(func(c *dedup.MinHash) { c.Threshold = 1 }), near(func(c *dedup.MinHash) { c.Threshold = math.NaN() })},
		"substring.length":                  {span(spans.Substring{Length: 16, Whole: "words"}), span(spans.Substring{Length: 15, Whole: "words"})},
		"substring.length is 65537":         {span(spans.Substring{Length: 1 << 16, Whole: "lines"}), span(spans.Substring{Length: 1<<16 + 1, Whole: "lines"})},
		"substring.whole":                   {span(spans.Substring{Length: 16, Whole: "characters"}), span(spans.Substring{Length: 16, Whole: "tokens"})},
		"substring.min_left":                {span(spans.Substring{Length: 16, Whole: "words"}), span(spans.Substring{Length: 16, Whole: "words", MinLeft: -1})},
		"length.min_chars":                  {filters.Length{MinChars: 5, MaxChars: 5}.Validate, filters.Length{MinChars: 6, MaxChars: 5}.Validate},
		"length.max_chars":                  {filters.Length{MinChars: 5}.Validate, filters.Length{MaxChars: -1}.Validate},
		"x.min_chars is 0, x.max_copies -1": {func() error { return spans.Repeats{}.Validate("x") }, func() error { return spans.Repeats{MaxCopies: -1}.Validate("x") }},
		"language.min_confidence":           {filters.Language{MinConfidence: 1}.Validate, filters.Language{MinConfidence: math.NaN()}.Validate},
		"language.sample":                   {filters.Language{}.Validate, filters.Language{Sample: -1}.Validate},
		"scripts.max_other":                 {filters.ScriptMix{MaxOther: 1, Keep: []string{"Han", "other"}}.Validate, filters.ScriptMix{MaxOther: 1.01}.Validate},
		"words.max_count":                   {filters.Words{MaxShare: 1}.Validate, filters.Words{MaxCount: -1}.Validate},
	} {
		if err := pair[0](); err != nil {
			t.Errorf("%s at its bound: %v", key, err)
		}
		if err := pair[1](); err == nil || !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s past its bound: %v", key, err)
		}
	}
	if c := (classifier.Config{Positive: []string{"a"}, Negative: []string{"b"}}); !slices.Equal(c.Files(), []string{"a", "b"}) {
		t.Errorf("files %v", c.Files())
	}
	if c := (classifier.Config{Positive: []string{"a"}, Model: "m"}); !slices.Equal(c.Files(), []string{"m"}) {
		t.Errorf("files %v", c.Files())
	}
	if r := (classifier.Report{Positive: 3, Negative: 4, HeldOut: 2, Recall: 0.5, Rejected: 1, Accuracy: 0.75, AUC: 1}).String(); r !=
		"learnt from 3 positive and 4 negative examples; of 2 held out it keeps 50.0% of the positive and rejects 100.0% of the negative ones (accuracy 0.750, AUC 1.000)" {
		t.Error(r)
	}
}

// TestFoldersOfOthers: what is claimed, begun, finished or damaged is gone on with by the same recipe alone, and said otherwise.
func TestFoldersOfOthers(t *testing.T) {
	docs := curatetest.Documents([]string{"one text", "another"})
	run := func(dir, fingerprint string) error {
		_, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), Config{Dir: dir, Fingerprint: fingerprint, Workers: 1, ShardBytes: 1 << 20, Steps: []document.Step{filters.Length{}.Step()}})
		return err
	}
	claimed := t.TempDir()
	if err := errors.Join(Claim(claimed, "f"), Claim(claimed, "f"), run(claimed, "f"), Claim(claimed, "f"), run(claimed, "f")); err != nil {
		t.Error(err)
	}
	for _, err := range []error{Claim(claimed, "g"), run(claimed, "g")} {
		if err == nil || !strings.Contains(err.Error(), "holds the work of another recipe or of other data") {
			t.Errorf("another recipe: %v", err)
		}
	}
	judged := Config{Dir: t.TempDir(), Fingerprint: "f", Workers: 1, ShardBytes: 1 << 20, Policy: "on_bad_file=error"}
	if _, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), judged); err != nil {
		t.Fatal(err)
	}
	judged.Policy = "on_bad_file=skip"
	if _, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), judged); err == nil || !strings.Contains(err.Error(), "was made with on_bad_file=error; name another folder") {
		t.Errorf("another policy: %v", err)
	}
	for text, want := range map[string]string{"{": "is damaged; remove the folder", `{"fingerprint":"f","format":1}`: "was begun by another version of hone", "[]": "is damaged"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, stateName), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := run(dir, "f"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a state of %s: %v, want %q", text, err, want)
		}
	}
	file := filepath.Join(claimed, resultName)
	if err := run(filepath.Join(file, "below"), "f"); err == nil || !strings.Contains(err.Error(), "name another folder for the result") {
		t.Errorf("below a file: %v", err)
	}
}

// TestDamagedWork: whatever file of an unfinished run was cut short, the next call says so, or gives what an undisturbed run does.
func TestDamagedWork(t *testing.T) {
	docs := repetitive(400)
	near := dedup.DefaultMinHash()
	cfg := func(dir string) Config {
		return Config{Dir: dir, Fingerprint: "f", Workers: 2, ShardBytes: 15_000, SortEntries: 1 << 16, Exact: true, Near: &near, Passes: []spans.Pass{spans.DefaultLines().Lines()}}
	}
	want, stopped := t.TempDir(), t.TempDir()
	if _, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), cfg(want)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := cfg(stopped)
	c.Progress = func(stage string, _ int64) {
		if stage == "parts" {
			cancel()
		}
	}
	if _, err := Run(ctx, curatetest.Stream(docs, curatetest.GoOn), c); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	files, err := filepath.Glob(filepath.Join(stopped, workName, "*"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%v, %v", files, err)
	}
	every, refused := 1, 0
	if testing.Short() {
		every = 3
	}
	for path := range slices.Chunk(files, every) {
		path := path[0]
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(stopped)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, workName, filepath.Base(path)), info.Size()*2/3+1); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), cfg(dir)); err != nil {
			refused++
		} else if content(t, dir) != content(t, want) {
			t.Errorf("with %s cut short another result is given for whole", filepath.Base(path))
		}
	}
	if refused < 4/every {
		t.Errorf("of %d damaged files %d are refused", len(files), refused)
	}
}

// TestMixRefuses sources that changed, and what it cannot read of its own.
func TestMixRefuses(t *testing.T) {
	mix := func(dir string, n int, stop bool) error {
		b := ingredient("b", n, 100, 1)
		docs := b.Docs
		b.Docs = func() iter.Seq2[data.Document, error] {
			return func(yield func(data.Document, error) bool) {
				for d, err := range docs() {
					if stop && d.Record == 30 {
						err = errors.New("stopped")
					}
					if !yield(d, err) {
						return
					}
				}
			}
		}
		_, err := Mix(t.Context(), MixConfig{Dir: dir, Fingerprint: "f", ShardBytes: 4000, Ingredients: []Ingredient{ingredient("a", 60, 100, 1), b}})
		return err
	}
	dir := t.TempDir()
	if err := mix(dir, 60, true); err == nil || err.Error() != "stopped" {
		t.Fatal(err)
	}
	if err := mix(dir, 5, false); err == nil || !strings.Contains(err.Error(), "b ends after 5 documents and had more before; start again in another folder") {
		t.Errorf("a source that is shorter now: %v", err)
	}
	for text, want := range map[string]string{"{": "is damaged; remove the folder", `{"fingerprint":"f","sources":[]}`: "is damaged"} {
		if err := os.WriteFile(filepath.Join(dir, data.MixtureState), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := mix(dir, 60, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a state of %s: %v", text, err)
		}
	}
	dir = t.TempDir()
	if err := errors.Join(mix(dir, 3, false), os.WriteFile(filepath.Join(dir, data.MixtureResult), []byte("{"), 0o666)); err != nil {
		t.Fatal(err)
	}
	if err := mix(dir, 3, false); err == nil || !strings.Contains(err.Error(), data.MixtureResult+" is damaged") {
		t.Errorf("a result that is cut short: %v", err)
	}
	weightless := ingredient("c", 3, 1, 1)
	weightless.Weight = func() (float64, error) { return 0, errors.New("no weight") }
	if _, err := Mix(t.Context(), MixConfig{Dir: t.TempDir(), Ingredients: []Ingredient{weightless}}); err == nil || err.Error() != "no weight" {
		t.Errorf("a source without a weight: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Mix(ctx, MixConfig{Dir: t.TempDir(), Ingredients: []Ingredient{ingredient("a", 3, 1, 1)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a mix that is stopped at once: %v", err)
	}
}

// TestStages: what is left behind each removal, and what is said of it.
func TestStages(t *testing.T) {
	r := Result{Read: Count{10, 100, 50}, Exact: Count{2, 20, 10}, IDs: Count{1, 10, 5}, Searched: []string{"exact", "near"},
		Cuts: []CutCount{{Name: "lines", Reason: "few lines", Spans: 3, Changed: 2, Dropped: Count{1, 5, 2}, Kept: Count{6, 60, 30}}, {Name: "substring", Kept: Count{6, 60, 30}}}}
	want := "[{duplicate ids {9 90 45} 1 removed} {exact duplicates {7 70 35} 2 removed} {near duplicates {7 70 35} } {repeated lines {6 60 30} 3 cut out of 3 documents, 1 removed for few lines} {repeated substring {6 60 30} }]"
	if got := fmt.Sprint(r.Stages()); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	r = Result{Read: Count{10, 100, 50}, Steps: []StepCount{{Kept: Count{4, 40, 20}}}, Near: Count{1, 10, 5}}
	if got := fmt.Sprint(r.Stages()); got != "[{near duplicates {3 30 15} 1 removed}]" {
		t.Error(got)
	}
}

// TestLabelsAreTallied by what becomes of the document, over batches and shards.
func TestLabelsAreTallied(t *testing.T) {
	var texts []string
	for i := range 600 {
		texts = append(texts, fmt.Sprint("text number ", i))
	}
	kind := func(d *document.Doc) string { return []string{"even", "odd"}[int(d.Text[len(d.Text)-1]-'0')%2] }
	cfg := Config{Workers: 3, ShardBytes: 3000, Steps: []document.Step{{Name: "kind", Apply: func(d *document.Doc) string {
		if d.Label("kind.of", kind(d)); d.Text[len(d.Text)-1] == '7' {
			return "a seven"
		}
		return ""
	}}}}
	_, r := curated(t, cfg, texts...)
	if got := fmt.Sprint(r.Labels); got != "map[kind.of:map[even:{300 0} odd:{240 60}]]" {
		t.Error(got)
	}
	if got := fmt.Sprint(r.Scores[documentBytes]); got != "map[13:{9 1} 14:{81 9} 15:{450 50}]" {
		t.Error(got)
	}
}
