package curate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/data"
	"hone/data/curate/curatetest"
	"hone/data/curate/document"
	"hone/internal/atomicfile"
)

// read gives all records of the parts in a folder, which is named as data.
func read(t testing.TB, dir string) (records []line) {
	t.Helper()
	for d, err := range (data.Sources{Paths: []string{dir}, Records: true}).Documents(&data.Stats{}) {
		if err != nil {
			t.Fatal(err)
		}
		var l line
		if err := json.Unmarshal(d.Text, &l); err != nil {
			t.Fatal(err)
		}
		records = append(records, l)
	}
	return records
}

func TestBothFormatsHoldTheSame(t *testing.T) {
	docs := corpus(800)
	for i := range docs {
		if i%2 == 0 {
			docs[i].URL = fmt.Sprint("https://example.org/", i)
		}
		if i%3 == 0 {
			docs[i].ID = fmt.Sprint("id-", i)
		}
	}
	jsonl, rows := t.TempDir(), t.TempDir()
	for dir, asParquet := range map[string]bool{jsonl: false, rows: true} {
		c := config(dir, 2)
		c.Parquet = asParquet
		c.Steps = append(c.Steps, document.Step{Name: "zero", Apply: func(d *document.Doc) string {
			if d.Score("zero.score", 0); d.Record%5 == 1 {
				d.Label("zero.word", "one")
			}
			return ""
		}})
		if _, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), c); err != nil {
			t.Fatal(err)
		}
	}
	want, got := read(t, jsonl), read(t, rows)
	if len(want) == 0 {
		t.Fatal("nothing was read")
	}
	for _, l := range got { // a column that a row has no value of
		maps.DeleteFunc(l.Scores, func(_ string, v any) bool { return v == nil })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, l := range want[:10] {
		if i := l.Record - 1; l.URL != docs[i].URL || l.ID != docs[i].ID || (l.Scores["zero.word"] == "one") != (i%5 == 0) {
			t.Errorf("address, name and word %+v", l)
		}
		if l.Source != "c.jsonl" || l.Record < 1 || l.Tokens != int64(len(strings.Fields(l.Text))) || *l.Offset != 0 || l.Scores["length.characters"] == 0 || l.Scores["zero.score"] != 0.0 {
			t.Errorf("provenance %+v", l)
		}
	}
	parts, _ := filepath.Glob(filepath.Join(rows, "part-*.parquet"))
	if len(parts) < 2 {
		t.Errorf("parts %q", parts)
	}
	texts := 0
	for d, err := range (data.Sources{Paths: []string{rows}}).Documents(&data.Stats{}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(d.Text) != want[texts].Text {
			t.Fatalf("text %d differs", texts)
		}
		texts++
	}
	if texts != len(want) {
		t.Errorf("%d texts of %d", texts, len(want))
	}
}

func TestFunnelCountsTokensAndScores(t *testing.T) {
	docs := corpus(800)
	r, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), config(t.TempDir(), 2))
	if err != nil {
		t.Fatal(err)
	}
	tokens := int64(0)
	for _, d := range docs {
		tokens += int64(len(strings.Fields(string(d.Text))))
	}
	if r.Read.Tokens != tokens || r.Steps[0].Kept.Tokens+r.Steps[0].Rejected["too short"].Tokens != tokens ||
		r.Kept.Tokens+r.Exact.Tokens+r.Near.Tokens != r.Steps[0].Kept.Tokens {
		t.Errorf("%d tokens, but %+v", tokens, r)
	}
	for name, rejected := range map[string]int64{"length.characters": r.Steps[0].Rejected["too short"].Documents, documentBytes: r.Steps[0].Rejected["too short"].Documents} {
		sum := document.Tally{}
		for v, c := range r.Scores[name] {
			sum.Kept += c.Kept
			sum.Rejected += c.Rejected
			if (v < 100) != (c.Rejected > 0) {
				t.Errorf("%s: %+v of %v", name, c, v)
			}
		}
		if sum.Rejected != rejected || sum.Kept+sum.Rejected != int64(len(docs)) {
			t.Errorf("%s: %+v of %d documents, %d rejected", name, sum, len(docs), rejected)
		}
	}
}

func TestClustersShowWhatIsAlike(t *testing.T) {
	r, err := Run(t.Context(), curatetest.Stream(corpus(800), curatetest.GoOn), config(t.TempDir(), 2))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, c := range r.Clusters {
		kinds[c.Kind]++
		if c.Size < 2 || len(c.Members) != min(c.Size, shownMembers) {
			t.Errorf("%d members of %d are shown", len(c.Members), c.Size)
		}
		for _, m := range c.Members {
			switch {
			case m.Place == "" || m.Text == "" || m.Similarity > 1:
				t.Errorf("member %+v", m)
			case c.Kind == "exact" && m.Text != c.Members[0].Text:
				t.Error("equal texts are not equal")
			case m.Bytes > c.Members[0].Bytes:
				t.Errorf("%s is longer than %s, which is kept", m.Place, c.Members[0].Place)
			case m.Similarity < 0.6:
				t.Errorf("similarity %v", m.Similarity)
			}
		}
	}
	if kinds["exact"] < 10 || kinds["near"] < 10 {
		t.Errorf("clusters %v", kinds)
	}
}

// brokenEnd is content whose end cannot be written.
type brokenEnd struct{}

func (brokenEnd) Close() error { return errors.New("no end") }

// TestNoFileWithoutItsEnd: a file that lacks its end is not whole, so it does not appear, and nothing is left of it.
func TestNoFileWithoutItsEnd(t *testing.T) {
	dir := t.TempDir()
	f, err := atomicfile.Create(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := commitClosed(brokenEnd{}, f); err == nil || err.Error() != "curate: no end" {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
