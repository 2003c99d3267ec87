package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
)

// TestRecords reads the same two records from every kind of file.
func TestRecords(t *testing.T) {
	type row struct {
		Prompt     string `parquet:"prompt"`
		Completion string `parquet:"completion"`
	}
	dir := t.TempDir()
	rows := []row{{"a\"b", "c\nd"}, {"", "ü"}}
	if err := parquet.WriteFile(filepath.Join(dir, "x.parquet"), rows); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"x.jsonl": `{"completion":"c\nd","prompt":"a\"b"}` + "\n\n" + `{"completion":"ü","prompt":""}` + "\n",
		"x.json":  `[ {"completion":"c\nd","prompt":"a\"b"}, {"completion":"ü","prompt":""} ]`,
		"x.csv":   "prompt,completion\n\"a\"\"b\",\"c\nd\"\n,ü\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{`{"completion":"c\nd","prompt":"a\"b"}`, `{"completion":"ü","prompt":""}`}
	for _, name := range []string{"x.jsonl", "x.json", "x.csv", "x.parquet"} {
		var got []string
		for d, err := range (Sources{Paths: []string{filepath.Join(dir, name)}, Records: true}).Documents(&Stats{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(d.Text))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestBadRecords: each error names the file and the record.
func TestBadRecords(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"x.json", `{"a": 1}`, "is no JSON list of records"},
		{"x.json", `[{"a": 1}, {"a": `, "record 2"},
		{"x.json", `[{"a": 1}`, "does not end"},
		{"x.json", `[3]`, "x.json:1: the record is no JSON object"},
		{"x.json", `[{"a": "` + strings.Repeat("x", 3<<20) + `"}]`, "longer than 1000 bytes"},
		{"x.jsonl", "{}\n[1]\n", "x.jsonl:2: the record is no JSON object"},
		{"x.csv", "a,b\n1,2\n3\n", "x.csv:3: 1 fields, but 2 columns"},
		{"x.csv", "a,b\n\"" + strings.Repeat("x", 3<<20), "too long"},
		{"x.parquet", "PAR1 nothing", "not a Parquet file"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		var got error
		for _, err := range (Sources{Paths: []string{path}, Records: true, MaxRecord: 1000}).Documents(&Stats{}) {
			got = err
		}
		if got == nil || !strings.Contains(got.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.text[:min(len(c.text), 30)], got, c.want)
		}
	}
}
