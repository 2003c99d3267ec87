package main

import (
	"fmt"
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
