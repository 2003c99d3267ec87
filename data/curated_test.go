package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCuratedFolders(t *testing.T) {
	for _, test := range []struct {
		files string
		want  string // the sources, or the error
	}{
		{"part-0.jsonl report.html curation.json duplicates.jsonl curation-state.json", "part-0.jsonl"},
		{"part-0.jsonl part-1.jsonl report.html mixture.json", "part-0.jsonl part-1.jsonl"},
		{"part-0.jsonl curation-state.json", "unfinished"},
		{"part-0.jsonl mixture-state.json", "unfinished"},
		{"part-0.jsonl mixture-state.json mixture.json", "part-0.jsonl"},
		{"part-0.jsonl other.jsonl", "other.jsonl part-0.jsonl"},
	} {
		dir := t.TempDir()
		for name := range strings.FieldsSeq(test.files) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"text":"x"}`), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for d, err := range (Sources{Paths: []string{dir}}).Documents(&Stats{}) {
			if err != nil {
				got = append(got, err.Error())
				break
			}
			got = append(got, filepath.Base(d.Source))
		}
		if all := strings.Join(got, " "); all != test.want && (test.want != "unfinished" || !strings.Contains(all, "unfinished")) {
			t.Errorf("%s: %q, want %q", test.files, all, test.want)
		}
	}
}
