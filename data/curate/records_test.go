package curate

import (
	"fmt"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate/curatetest"
	"hone/data/curate/dedup"
	"hone/data/curate/document"
	"hone/data/curate/filters"
)

// Records are kept as they are, and alike prompts stand once.
func TestRecordsRun(t *testing.T) {
	var docs []data.Document
	var want []string
	for i := range 300 {
		prompt := fmt.Sprintf("question %d about the number %d and what it means in the end of all days", i, i*7919)
		r := curatetest.Record(map[string]any{"prompt": prompt, "completion": fmt.Sprintf("It means the number %d, no less and no more than that.", i), "id": i})
		want = append(want, r)
		docs = append(docs, data.Document{Text: []byte(r), Source: "s.jsonl", Record: len(docs) + 1})
		if i%10 == 0 { // an alike prompt with a shorter answer
			docs = append(docs, data.Document{Text: []byte(curatetest.Record(map[string]any{"prompt": strings.ToUpper(prompt), "completion": "short"})), Source: "s.jsonl", Record: len(docs) + 1})
		}
	}
	dir := t.TempDir()
	c := config(dir, 3)
	c.Steps, c.Records = []document.Step{filters.Format(), filters.SameAnswers()}, true
	c.Near = &dedup.MinHash{NGram: 3, Bands: 14, Rows: 8, Threshold: 0.8, Seed: 1}
	r, err := Run(t.Context(), curatetest.Stream(docs, curatetest.GoOn), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Near.Documents != 30 {
		t.Errorf("%d alike prompts were found, want 30", r.Near.Documents)
	}
	i := 0
	for d, err := range (data.Sources{Paths: []string{dir}, Records: true}).Documents(&data.Stats{}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(d.Text) != want[i] {
			t.Fatalf("record %d is %s, want %s", i, d.Text, want[i])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d records of %d", i, len(want))
	}
}
