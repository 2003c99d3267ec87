package inference

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hone/tokenizer"
)

// TestPromptIDs: a prompt begins as the tokenizer's post-processor says, and an empty one with something.
func TestPromptIDs(t *testing.T) {
	const file = `{"model":{"type":"BPE","vocab":{"<s>":0,"</s>":1,"a":2,"b":3},"merges":[]},
		"added_tokens":[{"id":0,"content":"<s>","special":true},{"id":1,"content":"</s>","special":true}],"post_processor":%s}`
	for _, c := range []struct{ post, want string }{
		{`{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}],
			"special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]},"</s>":{"id":"</s>","ids":[1],"tokens":["</s>"]}}}`, "[[0 2 3] [0]]"},
		{`null`, "[[2 3] [1]]"},
	} {
		tok, err := tokenizer.Parse(fmt.Appendf(nil, file, c.post))
		if err != nil {
			t.Fatal(err)
		}
		if tok, err = tok.WithConfig(tokenizer.Config{BOS: "<s>", EOS: "</s>"}); err != nil {
			t.Fatal(err)
		}
		ids, err := promptIDs(tok, []string{"ab", ""})
		if got := fmt.Sprint(ids); err != nil || got != c.want {
			t.Errorf("with post-processor %s: %s, %v; want %s", c.post, got, err, c.want)
		}
	}
}

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
