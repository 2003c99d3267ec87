package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParsePrompt(t *testing.T) {
	for _, c := range []struct{ record, want string }{
		{`{"prompt": "Say hi"}`, `"Say hi"`},
		{`{"prompt": "Say hi", "chosen": "hi", "rejected": "no"}`, `"Say hi"`},
		{`{"prompt": [{"role": "user", "content": "Say hi"}]}`, `[{"role":"user","content":"Say hi"}]`},
		{`{"prompt": [{"role": "user", "content": "Say hi"}, {"role": "assistant", "content": "hi"}]}`, `[{"role":"user","content":"Say hi"}]`},
		{`{"messages": [{"role": "user", "content": "Say hi"}]}`, `[{"role":"user","content":"Say hi"}]`},
		{`{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}`, `[{"role":"user","content":"a"}]`},
		{`{"instruction": "Say", "input": "hi", "output": "hi"}`, `[{"content":"Say\nhi","role":"user"}]`},
		{`{"text": "Once upon"}`, `"Once upon"`},
	} {
		p, err := ParsePrompt([]byte(c.record))
		if err != nil {
			t.Errorf("%s: %v", c.record, err)
		} else if got := string(p.JSON()); got != c.want {
			t.Errorf("%s: %s, want %s", c.record, got, c.want)
		}
	}
	for record, want := range map[string]string{
		`[]`:                             "no JSON object",
		`{"prompt": "  "}`:               "the prompt is empty",
		`{"prompt": 3}`:                  "neither a text nor a list",
		`{"prompt": [{"content": "x"}]}`: "message 1 of the prompt has no role",
		`{"prompt": []}`:                 "the prompt is empty",
		`{"question": "what"}`:           "no known format",
		`{"messages": [{"role": "assistant", "content": "b"}]}`: "the prompt is empty",
	} {
		if _, err := ParsePrompt([]byte(record)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", record, err, want)
		}
	}
}

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
			all = append(all, p.Text)
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
