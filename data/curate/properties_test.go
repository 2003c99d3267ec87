package curate

import (
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hone/data"
	"hone/data/curate/curatetest"
	"hone/data/curate/dedup"
	"hone/data/curate/document"
	"hone/data/curate/filters"
	"hone/data/curate/spans"
)

// TestRunOfDegenerateDocuments: they go through every part of a run, whatever the workers are, and all are counted.
func TestRunOfDegenerateDocuments(t *testing.T) {
	var want string
	for _, workers := range []int{1, 3} {
		cfg := passConfig(t.TempDir(), workers)
		cfg.Steps, cfg.SortEntries = []document.Step{filters.Mend()}, 1<<17
		r, err := Run(t.Context(), curatetest.Stream(curatetest.Documents(slices.Concat(curatetest.Degenerate, curatetest.Degenerate)), curatetest.GoOn), cfg)
		if err != nil {
			t.Fatal(err)
		}
		gone := r.Exact.Documents + r.Near.Documents
		for _, c := range r.Cuts {
			gone += c.Dropped.Documents
		}
		if r.Read.Documents != int64(2*len(curatetest.Degenerate)) || gone+r.Kept.Documents != r.Read.Documents || r.Exact.Documents < int64(len(curatetest.Degenerate)) {
			t.Errorf("%d workers: %+v", workers, r)
		}
		if got := content(t, cfg.Dir); want == "" {
			want = got
		} else if got != want {
			t.Errorf("%d workers give another result", workers)
		}
	}
	if s, err := Look(t.Context(), curatetest.Stream(curatetest.Documents(curatetest.Degenerate), curatetest.GoOn), SurveyConfig{Workers: 2, CommonLines: 5}); err != nil || s.Documents != int64(len(curatetest.Degenerate)) || s.InvalidUTF8 != 4 {
		t.Errorf("survey %+v, %v", s, err)
	}
}

// TestRemovalIsDoneAtOnce: what is left of a corpus has no copies left, exact, of shared bands or of lines: a second run removes nothing.
func TestRemovalIsDoneAtOnce(t *testing.T) {
	near := dedup.DefaultMinHash()
	near.Threshold = 0
	lines := spans.Repeats{MinChars: 10, Normalize: true}
	for name, cfg := range map[string]Config{"exact": {Exact: true}, "near": {Near: &near}, "lines": {Passes: []spans.Pass{lines.Lines()}}} {
		var texts []string
		for _, d := range slices.Concat(repetitive(60), corpus(60)) {
			texts = append(texts, string(d.Text))
		}
		cfg.ShardBytes, cfg.Workers = 20_000, 2
		left, first := curated(t, cfg, texts...)
		var rest []string
		for _, record := range slices.Sorted(maps.Keys(left)) {
			rest = append(rest, left[record])
		}
		again, second := curated(t, cfg, rest...)
		if len(rest) == 0 || first.Kept.Bytes == first.Read.Bytes {
			t.Errorf("%s: nothing to find: %+v", name, first)
		}
		if second.Kept != second.Read || len(again) != len(rest) {
			t.Errorf("%s: a second run leaves %+v of %+v", name, second.Kept, second.Read)
		}
	}
}

// TestOneOfEachTextStays: of equal texts the first, for any corpus, any shards and any workers.
func TestOneOfEachTextStays(outer *testing.T) {
	few := cases{left: 8}
	rapid.Check(outer, func(t *rapid.T) {
		if few.enough() {
			return
		}
		texts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "a ", "", "\xff", "\xfe"}), 0, 12).Draw(t, "texts")
		cfg := Config{Exact: true, Workers: rapid.IntRange(1, 4).Draw(t, "workers"), ShardBytes: int64(rapid.IntRange(1, 10).Draw(t, "shard")), SortEntries: rapid.IntRange(1, 4).Draw(t, "sorted")}
		left, r := curated(outer, cfg, texts...)
		want, seen := map[int]string{}, map[string]bool{}
		for i, text := range texts {
			if !seen[text] {
				want[i+1] = strings.ToValidUTF8(text, "\ufffd")
			}
			seen[text] = true
		}
		if !maps.Equal(left, want) || r.Exact.Documents != int64(len(texts)-len(want)) {
			few.failed = true
			t.Fatalf("%q leaves %v, want %v", texts, left, want)
		}
	})
}

// TestMixGoesOnWithSkip: a mix that stopped at what cannot be read goes on when that is to be skipped, and is what it would have been; the other way
// round, and with fewer kinds, it is refused.
func TestMixGoesOnWithSkip(t *testing.T) {
	broken := fmt.Errorf("broken")
	source := func(name string, fails int) Ingredient {
		in := ingredient(name, 60, 100, 1)
		docs := in.Docs
		in.Docs = func() iter.Seq2[data.Document, error] {
			return func(yield func(data.Document, error) bool) {
				for d, err := range docs() {
					if d.Record == fails {
						err = broken
					}
					if !yield(d, err) {
						return
					}
				}
			}
		}
		return in
	}
	mix := func(dir string, fails int, skip ...string) error {
		_, err := Mix(t.Context(), MixConfig{Dir: dir, Fingerprint: "f", Skip: skip, ShardBytes: 5000, Ingredients: []Ingredient{source("a", 0), source("b", fails)}})
		return err
	}
	stopped, straight := t.TempDir(), t.TempDir()
	if err := mix(stopped, 40); err != broken {
		t.Fatalf("error %v", err)
	}
	if parts, _ := filepath.Glob(filepath.Join(stopped, "part-*")); len(parts) < 2 {
		t.Fatalf("%d parts before the bad place", len(parts))
	}
	for _, dir := range []string{stopped, straight} {
		if err := mix(dir, 0, "on_bad_file", "on_bad_record"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(read(t, straight), read(t, stopped)); diff != "" {
		t.Errorf("a mix that went on with skip is another: %s", diff)
	}
	for _, skip := range [][]string{nil, {"on_bad_file"}} {
		if err := mix(stopped, 0, skip...); err == nil || !strings.Contains(err.Error(), "was made with on_bad_record=skip; name another folder") && !strings.Contains(err.Error(), "was made with on_bad_file=skip; name another folder") {
			t.Errorf("with skip of %v: error %v", skip, err)
		}
	}
}
