package inference

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/chat"
	"hone/tokenizer"
)

// spokenTo is the folder of a tokenizer with a chat template, in which <|im_end|> is the end of a turn.
func spokenTo(t *testing.T) (string, *tokenizer.Tokenizer) {
	t.Helper()
	chatML, err := chat.Builtin("chatml", chat.Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	docs := func(yield func([]byte, error) bool) {
		yield([]byte(strings.Repeat("user assistant hello there ", 9)), nil)
	}
	tok, err := tokenizer.Train(t.Context(), docs, tokenizer.TrainConfig{VocabSize: 290, EOS: "<|end|>", ChatTemplate: chatML.Source(),
		SpecialTokens: []string{"<|end|>", "<|im_start|>", "<|im_end|>"}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	if tok, err = tokenizer.Load(dir); err != nil {
		t.Fatal(err)
	}
	return dir, tok
}

// TestChatStops checks what ends an answer.
func TestChatStops(t *testing.T) {
	dir, tok := spokenTo(t)
	p, err := chatTemplate(dir, "", tok)
	if err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{
		"": "[0 2]", `{}`: "[0 2]", `{"eos_token_id": null}`: "[0 2]", `{"eos_token_id": 7}`: "[0 2 7]", `{"eos_token_id": [9, 2]}`: "[0 2 9]",
		`{"eos_token_id": "x"}`: "must be a number", `{`: "generation_config.json",
	} {
		if config != "" {
			if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(config), 0o644); err != nil {
				t.Fatal(err)
			}
		} else {
			_ = os.Remove(filepath.Join(dir, "generation_config.json"))
		}
		ids, _, err := answerEnds(dir, p, tok, nil)
		b, _ := json.Marshal(ids)
		got := strings.ReplaceAll(string(b), ",", " ")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", config, got, want)
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
