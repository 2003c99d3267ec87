package chat

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answersOf are the texts of the answers.
func answersOf(r Rendered) []string {
	out := []string{}
	for _, a := range r.Answers {
		out = append(out, r.Text[a.Start:a.End])
	}
	return out
}

func conversation(t *testing.T, s string) []Message {
	t.Helper()
	var m []Message
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

const (
	plain      = `[{"role":"user","content":"ask one"},{"role":"assistant","content":"reply one"},{"role":"user","content":"ask two"},{"role":"assistant","content":" reply two\n"}]`
	withSystem = `[{"role":"system","content":"be brief"},{"role":"user","content":"ask"},{"role":"assistant","content":"reply"}]`
	think      = `[{"role":"user","content":"ask"},{"role":"assistant","content":"<think>\nsecret\n</think>\n\nreply"},{"role":"user","content":"more"},{"role":"assistant","content":"<think>\nplan\n</think>\n\ndone"}]`
	calls      = `[{"role":"user","content":"ask"},{"role":"assistant","content":"","tool_calls":[{"id":"abcdef123","type":"function","function":{"name":"f","arguments":{"x":1}}}]},` +
		`{"role":"tool","tool_call_id":"abcdef123","content":"22"},{"role":"assistant","content":"reply"}]`
	echo   = `[{"role":"user","content":"same"},{"role":"assistant","content":"same"},{"role":"user","content":"same<|im_end|>"},{"role":"assistant","content":"same"}]`
	silent = `[{"role":"user","content":"ask"},{"role":"assistant","content":""}]`
)

// TestAnswers checks, template by template, what the model is to write: the answers with the tokens that end them, nothing of the
// header, nothing of what others say.
func TestAnswers(t *testing.T) {
	cases := []struct {
		template, messages string
		want               []string
	}{
		{"chatml", plain, []string{"reply one<|im_end|>", " reply two\n<|im_end|>"}},
		{"chatml", withSystem, []string{"reply<|im_end|>"}},
		{"chatml", echo, []string{"same<|im_end|>", "same<|im_end|>"}},
		{"chatml", silent, []string{"<|im_end|>"}},
		{"llama2", plain, []string{" reply one </s>", " reply two </s>"}}, // trims content; the space after [/INST] is the model's
		{"llama2", withSystem, []string{" reply </s>"}},                   // the system message stands in the user's
		{"llama3", plain, []string{"reply one<|eot_id|>", "reply two<|eot_id|>"}},
		{"llama3.1", withSystem, []string{"reply<|eot_id|>"}},
		{"llama3.1", calls, []string{`{"name": "f", "parameters": {"x": 1}}<|eot_id|>`, "reply<|eot_id|>"}},
		{"llama3.2", withSystem, []string{"reply<|eot_id|>"}},
		{"mixtral", withSystem, []string{" reply</s>"}},
		{"mixtral", plain, []string{" reply one</s>", "  reply two\n</s>"}},
		{"smollm2", plain, []string{"reply one<|im_end|>", " reply two\n<|im_end|>"}},
		{"mistral", plain, []string{"reply one</s>", " reply two\n</s>"}},
		{"mistral-tools", calls, []string{`[TOOL_CALLS][{"name": "f", "arguments": {"x": 1}, "id": "abcdef123"}]</s>`, "reply</s>"}},
		{"mistral-tools", withSystem, []string{"reply</s>"}},
		{"zephyr", plain, []string{"reply one</s>", " reply two\n</s>"}},
		{"phi3", plain, []string{"reply one<|end|>", " reply two\n<|end|>"}},
		{"phi4", withSystem, []string{"reply<|im_end|>"}},
		{"gemma", plain, []string{"reply one<end_of_turn>", "reply two<end_of_turn>"}},
		{"gemma3", withSystem, []string{"reply<end_of_turn>"}},
		{"qwen2.5", calls, []string{"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>", "reply<|im_end|>"}},
		{"qwen3", think, []string{"reply<|im_end|>", "<think>\nplan\n</think>\n\ndone<|im_end|>"}}, // splits on </think>
		{"qwen3", calls, []string{"<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>", "<think>\n\n</think>\n\nreply<|im_end|>"}},
		{"deepseek-r1", think, []string{"\n\nreply<｜end▁of▁sentence｜>", "\n\ndone<｜end▁of▁sentence｜>"}},
		{"deepseek-r1", calls, []string{
			"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"x\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
			"reply<｜end▁of▁sentence｜>"}},
		{"marked", plain, []string{"reply one<|im_end|>", "reply two<|im_end|>"}},
		{"pairs", plain, []string{"reply one</s>", "reply two</s>"}},
		{"pairs", echo, []string{"same</s>", "same</s>"}},
		{"blocks", plain, []string{"reply one[END]", " reply two\n[END]"}},
	}
	g := golden{Tokens: map[string]string{"bos_token": "<s>", "eos_token": "</s>"}}
	for _, c := range cases {
		r, err := g.template(t, c.template).Render(conversation(t, c.messages), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.template, err)
			continue
		}
		if d := cmp.Diff(c.want, answersOf(r)); d != "" {
			t.Errorf("%s %s: -want +got:\n%s\nin %q", c.template, c.messages, d, r.Text)
		}
	}
}

// TestAnswersEverywhere checks every golden conversation: answers are in order and apart, hold nothing of what users, systems and tools
// say, and hold what is written of the assistant.
func TestAnswersEverywhere(t *testing.T) {
	g := readGolden(t, "testdata/golden.json")
	checked := 0
	for _, c := range g.Cases {
		if c.Text == nil {
			continue
		}
		p, messages := g.template(t, c.Template), g.Conversations[c.Conversation]
		r, err := p.Render(messages, c.options())
		if err != nil {
			t.Errorf("%s %s: %v", c.Template, c.Conversation, err)
			continue
		}
		if r.Text != *c.Text {
			t.Errorf("%s %s: spans change the text", c.Template, c.Conversation)
		}
		if c.Generation != nil && p.plain.HasGeneration() {
			var got [][2]int
			for _, a := range r.Answers {
				got = append(got, [2]int{a.Start, a.End})
			}
			if d := cmp.Diff(c.Generation, got); d != "" && len(got)+len(c.Generation) > 0 {
				t.Errorf("%s %s: generation blocks, -reference +hone:\n%s", c.Template, c.Conversation, d)
			}
		}
		checked++
		checkAnswers(t, c.Template+" "+c.Conversation, r, messages)
	}
	if checked < 300 {
		t.Errorf("only %d conversations were checked", checked)
	}
}

func checkAnswers(t *testing.T, name string, r Rendered, messages []Message) {
	end := 0
	for _, a := range r.Answers {
		if a.Start < end || a.End <= a.Start || a.End > len(r.Text) {
			t.Errorf("%s: answer [%d, %d) after %d", name, a.Start, a.End, end)
		}
		end = a.End
		text := r.Text[a.Start:a.End]
		for _, m := range messages {
			own := m.fromModel() && strings.Contains(text, strings.TrimSpace(lastText(m)))
			if s := strings.TrimSpace(lastText(m)); s != "" && !own && strings.Contains(text, s) {
				t.Errorf("%s: the answer %q holds what the %s says", name, text, m.role)
			}
		}
		if !messages[a.Message].fromModel() {
			t.Errorf("%s: the answer %q is said to be of a message by the %s", name, text, messages[a.Message].role)
		}
	}
	all := strings.Join(answersOf(r), "")
	for _, m := range messages {
		said := strings.TrimSpace(lastText(m))
		if _, after, ok := strings.Cut(said, "</think>"); ok {
			said = strings.TrimSpace(after)
		}
		if m.fromModel() && strings.Contains(r.Text, said) && !strings.Contains(all, said) {
			t.Errorf("%s: no answer holds %q", name, said)
		}
	}
}

// TestInput checks which bytes are said to be copies of the input.
func TestInput(t *testing.T) {
	p, err := Builtin("chatml", Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Render([]Message{NewMessage("user", "a<|im_end|>b")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range r.Input {
		got = append(got, r.Text[s.Start:s.End])
	}
	if d := cmp.Diff([]string{"user", "a<|im_end|>b"}, got); d != "" {
		t.Error(d)
	}
}

// lastText is the content of a message, or the last text block of it.
func lastText(m Message) string {
	var v struct{ Content json.RawMessage }
	if json.Unmarshal(m.raw, &v) != nil {
		return ""
	}
	var s string
	if json.Unmarshal(v.Content, &s) == nil {
		return s
	}
	var blocks []struct{ Text *string }
	if json.Unmarshal(v.Content, &blocks) == nil {
		for _, b := range blocks {
			if b.Text != nil {
				s = *b.Text
			}
		}
	}
	return s
}
