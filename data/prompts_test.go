package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPromptsOfFiles(t *testing.T) {
	dir := t.TempDir()
	text, records := filepath.Join(dir, "a.txt"), filepath.Join(dir, "b.jsonl")
	write := func(path, content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text, "one\r\n\n  two\nthree")
	write(records, `{"prompt": "four"}`+"\n"+`{"prompt": ""}`+"\n")
	var stats Stats
	read := func(s Sources) (all []string, err error) {
		stats = Stats{}
		for p, err := range Prompts(s, &stats) {
			if err != nil {
				return all, err
			}
			all = append(all, p.Prompt)
		}
		return all, nil
	}
	got, err := read(Sources{Paths: []string{text, records}, OnBadRecord: SkipBadRecord})
	if err != nil || strings.Join(got, "|") != "one|  two|three|four" {
		t.Errorf("prompts %q, error %v", got, err)
	}
	if stats.Skipped[Malformed] != 1 || len(stats.BadRecords) != 1 || !strings.Contains(stats.BadRecords[0], "b.jsonl:2") {
		t.Errorf("the bad record is counted as %+v", stats)
	}
	for policy, advice := range map[BadRecord]string{"": "the prompt is empty; repair it or take it out", FailOnBadRecord: "the prompt is empty; repair it or set on_bad_record=skip"} {
		if _, err = read(Sources{Paths: []string{records}, OnBadRecord: policy}); err == nil || !strings.HasSuffix(err.Error(), "b.jsonl:2: "+advice) {
			t.Errorf("a bad record gives %v, want its file and line and %q", err, advice)
		}
	}
}
