package curate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/data"
	"hone/data/curate/curatetest"
	"hone/data/curate/document"
	"hone/data/curate/filters"
)

// TestEveryCountOfARun: all that a run counts and shows, by hand, of 300 documents in three batches: a hundred that are too short, a hundred that a step
// changes, and a copy.
func TestEveryCountOfARun(t *testing.T) {
	text := func(i int) string {
		switch {
		case i == 297:
			i = 0 // the copy
		case i%3 == 1:
			return "short"
		case i%3 == 2:
			return fmt.Sprintf("padded %03d  ", i) // two bytes go
		}
		return fmt.Sprintf("number %03d of the corpus", i)
	}
	var docs []data.Document
	bytes := int64(0)
	for i := range 300 {
		docs = append(docs, data.Document{Text: []byte(text(i)), Source: "c.jsonl", Record: i + 1})
		bytes += int64(len(text(i)))
	}
	trim := document.Step{Name: "trim", Apply: func(d *document.Doc) string {
		if s := strings.TrimSpace(d.Text); s != d.Text {
			d.SetText(s)
		}
		d.Label("trim.first", d.Text[:1])
		return ""
	}}
	place := func(i int) string { return fmt.Sprintf("c.jsonl:%d", i+1) }
	short := func(i int) Example { return Example{"length", "too short", place(i), "short"} }
	want := &Result{
		Read: Count{Documents: 300, Bytes: bytes},
		Steps: []StepCount{
			{Name: "length", Kept: Count{Documents: 200, Bytes: bytes - 500}, Rejected: map[string]Count{"too short": {Documents: 100, Bytes: 500}}},
			{Name: "trim", Kept: Count{Documents: 200, Bytes: bytes - 500 - 200}, Changed: 100, Rejected: map[string]Count{}},
		},
		Exact: Count{Documents: 1, Bytes: 24}, Kept: Count{Documents: 199, Bytes: bytes - 700 - 24}, Searched: []string{"exact"},
		Examples: []Example{short(1), short(4), short(7)},
		Scores:   map[string]document.Distribution{"length.characters": {5: {Rejected: 100}, 12: {Kept: 100}, 24: {Kept: 100}}, documentBytes: {5: {Rejected: 100}, 12: {Kept: 100}, 24: {Kept: 100}}},
		Labels:   map[string]map[string]document.Tally{"trim.first": {"n": {Kept: 100}, "p": {Kept: 100}}},
		Clusters: []Cluster{{Kind: "exact", Rule: "the first of equal texts", Size: 2, Members: []Member{
			{Place: place(0), Bytes: 24, Similarity: 1, Text: text(0)}, {Place: place(297), Bytes: 24, Similarity: 1, Text: text(0)}}}},
	}
	for _, workers := range []int{1, 3} {
		dir := t.TempDir()
		got, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), Config{Dir: dir, Exact: true, Workers: workers, ShardBytes: 1500, SortEntries: 50, Steps: []document.Step{filters.Length{MinChars: 10}.Step(), trim}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with %d workers: %s", workers, diff)
		}
		gone, err := os.ReadFile(filepath.Join(dir, duplicatesName))
		if err != nil || string(gone) != `{"removed":"c.jsonl:298","kept":"c.jsonl:1","kind":"exact"}`+"\n" {
			t.Errorf("with %d workers the copies are %q, %v", workers, gone, err)
		}
		left := parts(t, dir)
		for i := range docs {
			if kept := strings.TrimSpace(text(i)); i%3 != 1 && i != 297 && left[i+1] != kept || (i%3 == 1 || i == 297) && left[i+1] != "" {
				t.Errorf("with %d workers of document %d %q is left", workers, i+1, left[i+1])
			}
		}
	}
}

// TestBatchSteps: a step that looks at many documents at once has a reason for each, and its error ends the run and names the step.
func TestBatchSteps(t *testing.T) {
	failed := errors.New("failed")
	for _, fails := range []bool{false, true} {
		cfg := Config{Dir: t.TempDir(), Fingerprint: "f", Workers: 2, ShardBytes: 500, Steps: []document.Step{filters.Mend(), {Name: "judge", Batch: func(_ context.Context, docs []*document.Doc) (reasons []string, err error) {
			for _, d := range docs {
				if fails && d.Record == 300 {
					err = failed
				}
				reasons = append(reasons, map[bool]string{true: "odd"}[d.Record%2 == 1])
				d.Score("judge.score", float64(d.Record%2))
			}
			return reasons, err
		}}}}
		r, err := Run(t.Context(), curatetest.Stream(curatetest.Documents(slices.Repeat([]string{"a text"}, 400)), curatetest.GoOn), cfg)
		if fails {
			if !errors.Is(err, failed) || err.Error() != "curate: judge: failed" {
				t.Errorf("error %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if s := r.Steps[1]; r.Kept.Documents != 200 || s.Rejected["odd"].Documents != 200 || s.Kept.Documents != 200 || r.Scores["judge.score"][1] != (document.Tally{Rejected: 200}) {
			t.Errorf("%+v", r)
		}
		for record := range parts(t, cfg.Dir) {
			if record%2 == 1 {
				t.Fatalf("document %d is kept", record)
			}
		}
	}
}

// TestRecordsAreCompared by their prompts, and where they have none by their answers; what is written of one is a line without insignificant space.
func TestRecordsAreCompared(t *testing.T) {
	for text, want := range map[string]string{`{"prompt":"a","completion":"b"}`: "a", `{"prompt":"","completion":"b"}`: "b", `{"text":"c"}`: "c",
		`{"messages":[{"role":"user","content":[{"type":"text","text":"d"},{"type":"text","text":"e"}]},{"role":"assistant","content":"f"}]}`: "d\ne"} {
		if got := (&document.Doc{Text: text}).Compared(true); got != want {
			t.Errorf("%s is compared by %q, want %q", text, got, want)
		}
		if got := (&document.Doc{Text: text}).Compared(false); got != text {
			t.Errorf("as a text %s is compared by %q", text, got)
		}
	}
	if got, err := compact("{ \"a\" : [ 1,\n2 ] }"); err != nil || string(got) != "{\"a\":[1,2]}\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := compact("{"); err == nil {
		t.Error("half a record was written")
	}
}

// TestProgressIsTold: of a survey after each batch, of a mix after each document.
func TestProgressIsTold(t *testing.T) {
	var seen []int64
	if _, err := Look(t.Context(), curatetest.Stream(curatetest.Documents(slices.Repeat([]string{"x"}, document.BatchDocs+1)), curatetest.GoOn), SurveyConfig{Workers: 2, Progress: func(n int64) { seen = append(seen, n) }}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, []int64{document.BatchDocs, document.BatchDocs + 1}) {
		t.Errorf("of a survey %v", seen)
	}
	var last [2]int64
	m, err := Mix(t.Context(), MixConfig{Dir: t.TempDir(), Ingredients: []Ingredient{ingredient("a", 5, 10, 1)}, ShardBytes: 1 << 20, Progress: func(documents, sum int64) { last = [2]int64{documents, sum} }})
	if err != nil || last != [2]int64{5, m.Total.Bytes} {
		t.Errorf("of a mix %v, want %+v, %v", last, m, err)
	}
}
