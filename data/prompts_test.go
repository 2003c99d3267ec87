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
	read := func(s Sources) (all []string, err error) {
		for p, err := range Prompts(s, &Stats{}) {
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
	if _, err = read(Sources{Paths: []string{records}}); err == nil || !strings.Contains(err.Error(), "b.jsonl:2") {
		t.Errorf("a bad record gives %v, want its file and line", err)
	}
}
