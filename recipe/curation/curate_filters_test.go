package curation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate"
	"hone/device/cpu"
	"hone/recipe"
	"hone/recipe/lm"
	"hone/recipe/recipetest"
)

// mixed writes documents of textFolder's language, of the same words in any order, and of other letters, as JSON lines.
func mixed(t testing.TB, each int) string {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("one two three four five six and make")
	var b strings.Builder
	for i := range 3 * each {
		var text strings.Builder
		for range 20 {
			switch x, y := r.IntN(3), r.IntN(3); i % 3 {
			case 0:
				fmt.Fprintf(&text, "%s and %s make %s.\n", words[x], words[y], words[x+y+1])
			case 1:
				fmt.Fprintf(&text, "%s %s %s %s\n", words[r.IntN(8)], words[r.IntN(8)], words[r.IntN(8)], words[r.IntN(8)])
			default:
				fmt.Fprintf(&text, "%c%c%c%c %x\n", 'A'+r.IntN(26), 'A'+r.IntN(26), 'A'+r.IntN(26), 'A'+r.IntN(26), r.Uint64())
			}
		}
		fmt.Fprintf(&b, "{\"text\": %q, \"id\": \"%s-%d\"}\n", text.String(), []string{"good", "fair", "bad"}[i%3], i)
	}
	path := filepath.Join(t.TempDir(), "mixed.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// curated is a recipe that keeps exact copies too, so that only its filter counts.
func curated(t testing.TB, from, out string, args ...string) *Curate {
	t.Helper()
	c := DefaultCurate()
	recipetest.Set(t, &c, append([]string{"data=" + from, "out=" + out, "dedup=", "threads=1"}, args...)...)
	return &c
}

func runCurate(t testing.TB, ctx context.Context, c *Curate, threads int, progress func(stage string)) (*curate.Result, error) {
	t.Helper()
	dev := cpu.New(cpu.Options{Threads: threads})
	defer dev.Close()
	result, _, err := c.Run(ctx, recipe.Env{Device: dev, Progress: func(stage string, _, _ int64) { progress(stage) }})
	if left := dev.Memory().InUse; left != 0 {
		t.Errorf("the run left %d bytes on the device", left)
	}
	return result, err
}

func quietly(string) {}

// kinds counts the documents of a result by the beginning of their names.
func kinds(t testing.TB, dir string) map[string]int {
	t.Helper()
	n := map[string]int{}
	for d, err := range (data.Sources{Paths: []string{dir}, IDField: "id"}).Documents(&data.Stats{}) {
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(d.ID, "-")
		n[kind]++
	}
	return n
}

// resultFiles are the names and contents of what a run leaves, but for the recipe, which has paths in it.
func resultFiles(t testing.TB, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	var b strings.Builder
	for _, path := range paths {
		if name := filepath.Base(path); name != "recipe.yaml" && name != data.CurationState {
			fmt.Fprintf(&b, "%s %x\n", name, recipetest.Read(t, path))
		}
	}
	return b.String()
}

// TestCurateByPerplexity: a model keeps the likes of what it was trained on; the result depends neither on workers nor on the device's threads, nor on stops.
func TestCurateByPerplexity(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	c := lm.DefaultPretrain()
	recipetest.Tiny(t, &c, recipetest.TextFolder(t), run, "steps=30", "optimizer.learning_rate=0.01")
	if _, _, err := recipetest.Start(t, &c, 1); err != nil {
		t.Fatal(err)
	}
	args := []string{"filters=perplexity", "perplexity.model=" + filepath.Join(run, "model"), "perplexity.keep=head,middle", "perplexity.head=33", "perplexity.tail=60",
		"perplexity.tokens=64", "perplexity.batch_tokens=256", "perplexity.sample=300", "shard_mib=1"}
	from, want := mixed(t, 300), filepath.Join(t.TempDir(), "want")
	result, err := runCurate(t, t.Context(), curated(t, from, want, args...), 1, quietly)
	if err != nil {
		t.Fatal(err)
	}
	got := kinds(t, want)
	if got["good"] < 280 || got["bad"] > 20 || result.Steps[0].Rejected["tail"].Documents < 250 {
		t.Errorf("kept %v, rejected %v", got, result.Steps[0].Rejected)
	}
	if labels := result.Labels["perplexity.part"]; labels["head"].Kept < 200 || labels["tail"].Kept != 0 || len(result.Scores["perplexity.bits_per_byte"]) == 0 {
		t.Errorf("labels %v", labels)
	}
	for _, threads := range []int{1, 2} {
		out := filepath.Join(t.TempDir(), "out")
		if _, err := runCurate(t, t.Context(), curated(t, from, out, append(args, "threads=3")...), threads, quietly); err != nil {
			t.Fatal(err)
		}
		if resultFiles(t, out) != resultFiles(t, want) {
			t.Errorf("three workers and %d threads of the device give another result", threads)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	for stop := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := runCurate(t, ctx, curated(t, from, out, args...), 1, func(stage string) {
			if stage == []string{"perplexity of a sample", "filters"}[stop] {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("stop %d: error %v", stop, err)
		}
		cancel()
	}
	if _, err := runCurate(t, t.Context(), curated(t, from, out, args...), 1, quietly); err != nil {
		t.Fatal(err)
	}
	if resultFiles(t, out) != resultFiles(t, want) {
		t.Error("a run that was stopped gives another result")
	}
	bounds := filepath.Join(t.TempDir(), "bounds")
	limit := fmt.Sprintf("perplexity.max_bits_per_byte=%v", result.Scores["perplexity.bits_per_byte"].Quantile(0.5))
	if _, err := runCurate(t, t.Context(), curated(t, from, bounds, args[0], args[1], args[5], limit), 1, quietly); err != nil {
		t.Fatal(err)
	}
	if got := kinds(t, bounds); got["good"] < 280 || got["bad"] > 0 {
		t.Errorf("by a bound %v are kept", got)
	}
}

// TestCurateByExamples: the classifier is trained once, told about, kept in the folder, and of use to another run.
func TestCurateByExamples(t *testing.T) {
	from := mixed(t, 100)
	good, bad := filepath.Join(t.TempDir(), "good.jsonl"), filepath.Join(t.TempDir(), "bad.jsonl")
	for i, line := range strings.SplitAfter(string(recipetest.Read(t, mixed(t, 60))), "\n") {
		path := []string{good, bad, bad}[i%3]
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = f.WriteString(line)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"filters=classifier", "classifier.positive=" + good, "classifier.negative=" + bad, "classifier.training.buckets=65536"}
	result, err := runCurate(t, t.Context(), curated(t, from, out, args...), 1, quietly)
	if err != nil {
		t.Fatal(err)
	}
	if got := kinds(t, out); got["good"] < 95 || got["bad"]+got["fair"] > 5 {
		t.Errorf("kept %v", got)
	}
	if len(result.Notes) != 1 || !strings.Contains(result.Notes[0], "AUC") {
		t.Errorf("notes %v", result.Notes)
	}
	again := filepath.Join(t.TempDir(), "again")
	if _, err := runCurate(t, t.Context(), curated(t, from, again, args[0], "classifier.model="+filepath.Join(out, classifierName)), 2, quietly); err != nil {
		t.Fatal(err)
	}
	if a, b := kinds(t, out), kinds(t, again); fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("the classifier keeps %v, and %v when it is loaded", a, b)
	}
	if err := os.WriteFile(bad, []byte(`{"text": "another example"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := runCurate(t, t.Context(), curated(t, from, out, args...), 1, quietly); err == nil || !strings.Contains(err.Error(), "another recipe") {
		t.Errorf("other examples: error %v", err)
	}
}

// TestCurateTellsWhatFiltersLack, each in one sentence and before anything is read.
func TestCurateTellsWhatFiltersLack(t *testing.T) {
	from := mixed(t, 1)
	for args, want := range map[string]string{
		"filters=polish":                         `filters names "polish"; known are mend, length, language`,
		"filters=words":                          "words.lists is not set",
		"filters=words words.lists=missing":      "missing",
		"filters=language language.keep=klingon": `language.keep names "klingon"`,
		"filters=decontaminate":                  "decontaminate.against is not set",
		"filters=classifier":                     "neither a model nor both",
		"filters=perplexity":                     "perplexity.model is not set",
		"filters=perplexity perplexity.model=no": "no",
		"dedup=lines lines.min_chars=-1":         "lines.min_chars is -1",
		"dedup=substring substring.length=3":     "substring.length is 3",
		"dedup=some":                             `dedup names "some"`,
		"filters=urls urls.max_soft_words=-1":    "urls.max_soft_words is -1",
		"filters=decontaminate decontaminate.ngram=0 decontaminate.against=x": "decontaminate.ngram is 0",
	} {
		out := filepath.Join(t.TempDir(), "out")
		_, err := runCurate(t, t.Context(), curated(t, from, out, strings.Fields(args)...), 1, quietly)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", args, err, want)
		}
	}
}

// TestBadRecordsMayBeSkippedLater: a run that stopped at a bad record goes on when it is told to skip these, as its error says, with the result of
// a run that skipped from the first; what is finished is not taken for the work of another policy.
func TestBadRecordsMayBeSkippedLater(t *testing.T) {
	var b strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&b, "{\"text\": \"document %d %s\"}\n", i, strings.Repeat("word ", 100))
		if i == 3500 {
			b.WriteString("{broken\n")
		}
	}
	from := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.WriteFile(from, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(out, policy string) (*data.Stats, error) {
		c := curated(t, from, out, "filters=mend", "shard_mib=1", "on_bad_record="+policy)
		_, stats, err := c.Run(t.Context(), recipe.Env{})
		return stats, err
	}
	stopped, straight := filepath.Join(t.TempDir(), "stopped"), filepath.Join(t.TempDir(), "straight")
	if _, err := run(stopped, "error"); err == nil || !strings.Contains(err.Error(), "a.jsonl:3502") {
		t.Fatalf("error %v", err)
	}
	if shards, err := filepath.Glob(filepath.Join(stopped, "work", "kept-*.zst")); len(shards) == 0 {
		t.Fatalf("no shard was finished: %v", err)
	}
	for _, out := range []string{stopped, straight} {
		if stats, err := run(out, "skip"); err != nil || stats.Skipped[data.Malformed] != 1 {
			t.Fatalf("skipped %v, error %v", stats, err)
		}
	}
	parts, _ := filepath.Glob(filepath.Join(straight, "part-*"))
	for _, part := range parts {
		want, err1 := os.ReadFile(part)
		got, err2 := os.ReadFile(filepath.Join(stopped, filepath.Base(part)))
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs: %v", filepath.Base(part), err)
		}
	}
	if _, err := run(straight, "error"); err == nil || !strings.Contains(err.Error(), "on_bad_record=skip") {
		t.Errorf("what was made with skip is taken for made with error: %v", err)
	}
}
