package curate

import (
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
	"hone/data/curate/curatetest"
	"hone/data/curate/dedup"
	"hone/data/curate/document"
	"hone/data/curate/filters"
)

// corpus has long texts, copies of some, near copies of some, and short ones that the length rule rejects.
func corpus(n int) []data.Document {
	r := rand.New(rand.NewPCG(7, 8))
	var docs []data.Document
	texts := []string{}
	last := ""
	for i := range n {
		text, near := curatetest.Variants(r, 100, 0.002)
		switch {
		case i%5 == 3 && i > 10:
			text = texts[r.IntN(len(texts))]
		case i%7 == 4:
			text = "short"
		case i%6 == 5:
			text, near = last, text
		}
		texts, last = append(texts, text), near
		docs = append(docs, data.Document{Text: []byte(text), Source: "c.jsonl", Record: i + 1})
	}
	return docs
}

func config(dir string, workers int) Config {
	near := dedup.DefaultMinHash()
	return Config{Dir: dir, Steps: []document.Step{filters.Length{MinChars: 100}.Step()}, Exact: true, Near: &near, ShardBytes: 100_000, Workers: workers, Fingerprint: "f", SortEntries: 500,
		Tokens: func() func(string) int { return func(s string) int { return len(strings.Fields(s)) } }}
}

// content is the names and bytes of the result's files.
func content(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	var b strings.Builder
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.IsDir() || filepath.Base(f) == stateName {
			if err == nil && info.IsDir() {
				t.Errorf("%s was left behind", f)
			}
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %x\n", filepath.Base(f), text)
	}
	return b.String()
}

func TestRunRemovesWhatItShould(t *testing.T) {
	docs := corpus(800)
	dir := t.TempDir()
	r, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), config(dir, 3))
	if err != nil {
		t.Fatal(err)
	}
	if r.Read.Documents != 800 || r.Kept.Documents+r.Exact.Documents+r.Near.Documents+r.Steps[0].Rejected["too short"].Documents != 800 {
		t.Errorf("the funnel leaks: %+v", r)
	}
	seen := map[string]bool{}
	kept := int64(0)
	parts, _ := filepath.Glob(filepath.Join(dir, "part-*"))
	for d, err := range (data.Sources{Paths: parts}).Documents(&data.Stats{}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(d.Text)] {
			t.Error("a text is there twice")
		}
		seen[string(d.Text)] = true
		kept++
	}
	if kept != r.Kept.Documents {
		t.Errorf("%d documents in the parts, %d counted", kept, r.Kept.Documents)
	}
	if r.Exact.Documents < 60 || r.Near.Documents < 12 {
		t.Errorf("%d exact and %d near duplicates were found, which is too few", r.Exact.Documents, r.Near.Documents)
	}
	var sets [][]uint64
	near := dedup.DefaultMinHash()
	for text := range seen {
		sets = append(sets, near.Grams(text))
	}
	for _, d := range docs { // nothing without a copy is lost
		if text := string(d.Text); len(text) >= 100 && !seen[text] {
			set := near.Grams(text)
			if !slices.ContainsFunc(sets, func(other []uint64) bool { return dedup.ExactSimilarity(set, other) > 0.5 }) {
				t.Fatalf("document %d is gone and nothing like it is kept", d.Record)
			}
		}
	}
}

func TestRunIsTheSameForAnyWorkersAndAfterStops(t *testing.T) {
	docs := corpus(800)
	want := t.TempDir()
	if _, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), config(want, 1)); err != nil {
		t.Fatal(err)
	}
	for _, workers := range []int{2, 5} {
		dir := t.TempDir()
		if _, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), config(dir, workers)); err != nil {
			t.Fatal(err)
		}
		if content(t, dir) != content(t, want) {
			t.Errorf("%d workers give another result", workers)
		}
	}
	dir := t.TempDir()
	broken := errors.New("broken")
	for _, at := range []int{210, 160, 480, 799} { // the reader fails
		_, err := Run(t.Context(), curatetest.Stream(docs, func(i int) error {
			if i == at {
				return broken
			}
			return nil
		}), config(dir, 3))
		if !errors.Is(err, broken) {
			t.Fatalf("error %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Run(ctx, curatetest.Stream(docs, func(i int) error { // the user stops it
		if i == 640 {
			cancel()
		}
		return nil
	}), config(dir, 3)); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	first, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), config(dir, 2))
	if err != nil {
		t.Fatal(err)
	}
	if content(t, dir) != content(t, want) {
		t.Error("a run that was stopped several times gives another result")
	}
	again, err := Run(t.Context(), curatetest.Stream(nil, curatetest.GoOn), config(dir, 2))
	if err != nil || again.Kept != first.Kept {
		t.Errorf("a finished run gives %+v, error %v", again, err)
	}
}

func TestRunRefusesAnotherRecipe(t *testing.T) {
	dir := t.TempDir()
	if _, err := Run(t.Context(), curatetest.Stream(corpus(50), curatetest.GoOn), config(dir, 1)); err != nil {
		t.Fatal(err)
	}
	c := config(dir, 1)
	c.Fingerprint = "other"
	if _, err := Run(t.Context(), curatetest.Stream(corpus(50), curatetest.GoOn), c); err == nil || !strings.Contains(err.Error(), "another recipe") {
		t.Errorf("error %v", err)
	}
}

// TestDataThatShrank: a run that goes on with fewer documents than it has seen says so, and is finished with all of them.
func TestDataThatShrank(t *testing.T) {
	docs := curatetest.Documents(slices.Repeat([]string{"a text that is long enough", "another text of about that length"}, 200))
	cfg := Config{Dir: t.TempDir(), Fingerprint: "f", Workers: 2, ShardBytes: 1000}
	stopped := errors.New("stopped")
	if _, err := Run(t.Context(), curatetest.Stream(docs, func(i int) error {
		if i == 390 {
			return stopped
		}
		return nil
	}), cfg); !errors.Is(err, stopped) {
		t.Fatalf("error %v", err)
	}
	if _, err := Run(t.Context(), curatetest.Stream(docs[:100], curatetest.GoOn), cfg); err == nil || !strings.Contains(err.Error(), "ends after 100 documents and had 384 before") {
		t.Errorf("error %v", err)
	}
	if r, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), cfg); err != nil || r.Read.Documents != 400 {
		t.Errorf("%+v, error %v", r, err)
	}
}

func TestExactComparisonIsTheSameForAnyWorkersAndAfterStops(t *testing.T) {
	docs := corpus(800)
	var first string
	broken := errors.New("broken")
	for workers := range 3 {
		c := config(t.TempDir(), workers+1)
		c.Near.Threshold, c.Near.Exact = 0.8, true
		if workers == 2 {
			if _, err := Run(t.Context(), curatetest.Stream(docs, func(i int) error {
				if i == 590 {
					return broken
				}
				return nil
			}), c); !errors.Is(err, broken) {
				t.Fatalf("error %v", err)
			}
		}
		r, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), c)
		if err != nil || r.Near.Documents < 12 {
			t.Fatalf("%+v, error %v", r, err)
		}
		if first == "" {
			first = content(t, c.Dir)
		} else if content(t, c.Dir) != first {
			t.Errorf("%d workers give another result", workers+1)
		}
	}
}

func TestThresholdSparesWhatIsOnlyPartlyAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	var docs []data.Document
	for i := range 200 {
		a, b := curatetest.Variants(r, 200, 0.06) // similarity of about 0.55
		for _, text := range []string{a, b} {
			docs = append(docs, data.Document{Text: []byte(text), Source: "x", Record: i})
		}
	}
	removed := func(threshold float64) int64 {
		c := config(t.TempDir(), 2)
		c.Near.Threshold = threshold
		result, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), c)
		if err != nil {
			t.Fatal(err)
		}
		return result.Near.Documents
	}
	if loose, strict := removed(0), removed(0.9); loose == 0 || strict != 0 {
		t.Errorf("%d are removed without a threshold and %d with one of 0.9", loose, strict)
	}
}
