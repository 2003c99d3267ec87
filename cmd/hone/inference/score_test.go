package inference

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFilesToScore: empty lines are passed over, and each refusal says the line.
func TestFilesToScore(t *testing.T) {
	f := scoreFlags{file: "-", prompt: "p"}
	texts, err := f.texts(strings.NewReader("\ufeff{\"text\":\"a\"}\n\n  \n{\"text\":\"b\"}\n\n"), []string{"x"})
	if err != nil || len(texts) != 3 || texts[0].Prompt != "p" || texts[0].Answer != "x" || texts[2].Answer != "b" {
		t.Errorf("%+v, %v", texts, err)
	}
	for in, want := range map[string]string{
		"": "stdin has nothing to score; give a JSON object on each line", "\n\n": "stdin has nothing to score", "{\"text\":\"a\"}\n\n[1]\n": "stdin:3: the line is no record: ",
		"{\"prompt\":\"a\"}": "stdin:1: the record has neither text, nor prompt and completion, nor messages", "{\"completion\":[],\"prompt\":\"a\"}": "must both be texts or both lists of messages",
	} {
		if _, err := f.texts(strings.NewReader(in), nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
	f.file = filepath.Join(t.TempDir(), "answers.jsonl")
	if _, err := f.texts(nil, nil); err == nil || !strings.Contains(err.Error(), f.file) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(f.file, []byte("{\"text\":\"a\"}\n{\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := f.texts(nil, nil); err == nil || !strings.HasPrefix(err.Error(), f.file+":2: the line is no record: ") {
		t.Errorf("the second line of a file: %v", err)
	}
	for text, want := range map[string]string{"a\nb\tc": "a b c", strings.Repeat("é", 80): strings.Repeat("é", 80), strings.Repeat("é", 81): strings.Repeat("é", 80) + "…", strings.Repeat("é", 100): strings.Repeat("é", 80) + "…", "": ""} {
		if got := oneLine(text); got != want {
			t.Errorf("%q in a table is %q, want %q", text, got, want)
		}
	}
}

// TestScoreTexts reads every form of a line to score.
func TestScoreTexts(t *testing.T) {
	f := scoreFlags{file: "-"}
	lines := `{"text":"a"}
{"prompt":"a","completion":"b"}
{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}
{"prompt":[{"role":"user","content":"a"}],"completion":[{"role":"assistant","content":"b"}]}
`
	texts, err := f.texts(strings.NewReader(lines), nil)
	if err != nil || len(texts) != 4 || texts[0].Answer != "a" || !texts[0].Whole || texts[1].Whole || texts[1].Prompt != "a" || len(texts[2].Messages) != 2 || len(texts[3].Messages) != 2 {
		t.Errorf("%+v, %v", texts, err)
	}
	for _, bad := range []string{`{}`, `{"prompt":["a"],"completion":"b"}`, `x`} {
		if _, err := f.texts(strings.NewReader(bad), nil); err == nil || !strings.Contains(err.Error(), "stdin:1") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, prompt := range []string{"", "q"} { // without a prompt an argument holds it
		if texts, err := (&scoreFlags{prompt: prompt}).texts(nil, []string{"a"}); err != nil || texts[0].Prompt != prompt || texts[0].Whole != (prompt == "") {
			t.Errorf("%+v, %v", texts, err)
		}
	}
	if _, err := (&scoreFlags{}).texts(nil, nil); err == nil {
		t.Error("nothing to score was taken")
	}
	if _, err := (&scoreFlags{file: "/does/not/exist"}).texts(nil, nil); err == nil {
		t.Error("a file that is not there was taken")
	}
}

// TestMistakesInJSON are told without the names of Go's types, and with the key where there is one.
func TestMistakesInJSON(t *testing.T) {
	for text, want := range map[string]string{"[1]": "there is a JSON array, which cannot be meant", `{"text": 3}`: "there is a JSON number under text, which cannot be meant", `{"messages": {}}`: "there is a JSON object under messages, which cannot be meant",
		"{": "unexpected end of JSON input", "x": "invalid character 'x' looking for beginning of value"} {
		if _, err := scoreText([]byte(text)); err == nil || err.Error() != "the line is no record: "+want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
