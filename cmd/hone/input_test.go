package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/cmd/hone/cli"
)

// TestPromptsAreRead from arguments, a file of either kind of line end, or stdin.
func TestPromptsAreRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prompts.txt")
	for text, want := range map[string]string{
		"a\nb c\n": `["x" "a" "b c"]`, "a\r\nb c\r\n": `["x" "a" "b c"]`, "a\n\nb": `["x" "a" "" "b"]`, "a": `["x" "a"]`, "\ufeffa\r\n": `["x" "a"]`, "a\n\n\n": `["x" "a"]`, " a \n": `["x" " a "]`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := readPrompts(t.Context(), nil, []string{"x"}, path)
		if err != nil || fmt.Sprintf("%q", got) != want {
			t.Errorf("%q is read as %q, %v; want %s", text, got, err, want)
		}
	}
	for _, empty := range []string{"", "\n\n", "\r\n"} {
		if err := os.WriteFile(path, []byte(empty), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := readPrompts(t.Context(), nil, nil, path); err == nil || !strings.Contains(err.Error(), path+" is empty; give it a prompt on each line") {
			t.Errorf("%q: %v", empty, err)
		}
	}
	if _, err := readPrompts(t.Context(), nil, nil, path+".missing"); err == nil || !strings.HasPrefix(err.Error(), "read prompts: ") {
		t.Errorf("a file that is not there: %v", err)
	}
	if got, err := readPrompts(t.Context(), nil, []string{"x", "y"}, ""); err != nil || !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("arguments are read as %q, %v", got, err)
	}
	if got, err := readPrompts(t.Context(), strings.NewReader("a\nb\n"), nil, ""); err != nil || !slices.Equal(got, []string{"a\nb"}) {
		t.Errorf("stdin is read as %q, %v", got, err)
	}
	if got, err := readPrompts(t.Context(), strings.NewReader("a\r\nb\r\n"), nil, ""); err != nil || !slices.Equal(got, []string{"a\r\nb"}) {
		t.Errorf("stdin of Windows is read as %q, %v", got, err)
	}
}

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

// TestEndsOfAnswers as generation_config.json has them.
func TestEndsOfAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "generation_config.json")
	if ids, err := configuredEnds(path); ids != nil || err != nil {
		t.Errorf("without a file: %v, %v", ids, err)
	}
	for text, want := range map[string]string{`{}`: "[]", `{"eos_token_id": null}`: "[]", `{"eos_token_id": 7}`: "[7]", `{"eos_token_id": [3, 4]}`: "[3 4]"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if ids, err := configuredEnds(path); err != nil || fmt.Sprint(ids) != want {
			t.Errorf("%s: %v, %v; want %s", text, ids, err, want)
		}
	}
	for _, text := range []string{`{"eos_token_id": "x"}`, `{"eos_token_id": [1.5]}`, `{`} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := configuredEnds(path); err == nil || !strings.HasPrefix(err.Error(), "read "+path+": ") {
			t.Errorf("%s: %v", text, err)
		}
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

// TestStoreToExport: a store that is not there is told, and neither it nor the file is made.
func TestStoreToExport(t *testing.T) {
	dir := t.TempDir()
	store, out := filepath.Join(dir, "labels.sqlite"), filepath.Join(dir, "out.jsonl")
	err := exportLabels(t.Context(), &cli.App{}, store, out)
	if err == nil || err.Error() != "export labels: there is no store "+store+"; name the file that hone label keeps verdicts in, as its --store" {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind are %v, %v", left, err)
	}
}
