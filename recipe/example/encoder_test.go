package example

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hone/chat"
	"hone/data"
	"hone/tokenizer"
)

// turns is a template with a mark at each end of a turn.
const turns = `{% for m in messages %}<{{ m.role }}>{{ m.content }}<e>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`

// encoder is one with a token for each byte and two marks; bare: neither marks nor a template.
func encoder(t *testing.T, bare bool) *Encoder {
	t.Helper()
	docs := func(yield func([]byte, error) bool) { yield([]byte("x"), nil) }
	c := tokenizer.TrainConfig{VocabSize: 258, Pattern: tokenizer.PatternGPT2, SpecialTokens: []string{"<s>", "</s>"}, Workers: 1}
	if !bare {
		c.BOS, c.EOS = "<s>", "</s>"
	}
	tok, err := tokenizer.Train(context.Background(), docs, c)
	if err != nil {
		t.Fatal(err)
	}
	if bare {
		return NewEncoder(tok, nil)
	}
	template, err := chat.New(turns, "", chat.Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	return NewEncoder(tok, template)
}

// marked is the text of tokens, what is learned of it in brackets.
func marked(e *Encoder, ids []int32, supervised []bool) string {
	var b strings.Builder
	in := false
	for i, id := range ids {
		if supervised[i] != in {
			in = supervised[i]
			b.WriteString(map[bool]string{true: "[", false: "]"}[in])
		}
		b.Write(e.Tokenizer.Decode([]int32{id}))
	}
	if in {
		b.WriteString("]")
	}
	return b.String()
}

// TestExamples: of a text all is learned but the mark before it, of an answer all and no more.
func TestExamples(t *testing.T) {
	for _, c := range []struct {
		bare         bool
		record, want string
	}{
		{false, `{"text":"all of it"}`, "<s>[all of it</s>]"},
		{true, `{"text":"all of it"}`, "[all of it]"},
		{false, `{"prompt":"2+2=","completion":"4"}`, "<s>2+2=[4</s>]"},
		{true, `{"prompt":"2+2=","completion":"4"}`, "2+2=[4]"},
		{false, `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c"}]}`,
			"<user>hi<e><assistant>[a<e>]<user>b<e><assistant>[c<e>]"},
		{false, `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"a","weight":0},{"role":"user","content":"b"},{"role":"assistant","content":"c"}]}`,
			"<user>hi<e><assistant>a<e><user>b<e><assistant>[c<e>]"},
	} {
		e := encoder(t, c.bare)
		ids, supervised, err := e.Example([]byte(c.record))
		if err != nil {
			t.Errorf("%s: %v", c.record, err)
		} else if got := marked(e, ids, supervised); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.record, got, c.want)
		}
	}
}

// TestTurnsFrom: only the answers from a message on are learned, as where a pair has its first turns in common.
func TestTurnsFrom(t *testing.T) {
	e := encoder(t, false)
	ex, err := data.ParseExample([]byte(`{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for first, want := range map[int]string{
		1: "<user>hi<e><assistant>[a<e>]<user>b<e><assistant>[c<e>]", 2: "<user>hi<e><assistant>a<e><user>b<e><assistant>[c<e>]", 4: "<user>hi<e><assistant>a<e><user>b<e><assistant>c<e>",
	} {
		ids, supervised, err := e.Turns(&ex, first)
		if got := marked(e, ids, supervised); err != nil || got != want {
			t.Errorf("from message %d: %s, %v; want %s", first, got, err, want)
		}
	}
}

// TestExamplesAreRefused with what is wrong and, where there is one, the remedy.
func TestExamplesAreRefused(t *testing.T) {
	for _, c := range []struct {
		bare         bool
		record, want string
	}{
		{true, `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"a"}]}`, "set chat_template=zephyr"},
		{false, `{"prompt":"2+2=","completion":""}`, "the completion is empty"},
		{false, `{"nothing":1}`, ""},
		{false, `[]`, ""},
	} {
		if _, _, err := encoder(t, c.bare).Example([]byte(c.record)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.record, err)
		}
	}
	strict, err := chat.New(`{% for m in messages %}{{ m.content + '' }}{% endfor %}`, "", chat.Tokens{})
	if err != nil {
		t.Fatal(err)
	}
	e := encoder(t, false)
	e.Template = strict
	const blocks = `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"text","text":"a"}]}]}`
	if _, _, err := e.Example([]byte(blocks)); err == nil || !strings.Contains(err.Error(), "the content of message 2 is no text") {
		t.Errorf("blocks in a template for texts: %v", err)
	}
}

// TestPrompts end where an answer begins: a text as it is or as what the user says, and a conversation by the template.
func TestPrompts(t *testing.T) {
	talk := []json.RawMessage{json.RawMessage(`{"role":"user","content":"hi"}`)}
	for _, c := range []struct {
		what   string
		bare   bool
		spoken bool
		ex     data.Example
		want   string
		text   string
	}{
		{"a text", false, false, data.Example{Prompt: "hi"}, "<s>hi", "hi"},
		{"a text without marks", true, false, data.Example{Prompt: "hi"}, "hi", "hi"},
		{"what the user says", false, true, data.Example{Prompt: "hi"}, "<user>hi<e><assistant>", "hi"},
		{"a conversation", false, false, data.Example{Messages: talk}, "<user>hi<e><assistant>", "<user>hi<e><assistant>"},
		{"a conversation, texts being spoken", false, true, data.Example{Messages: talk}, "<user>hi<e><assistant>", "<user>hi<e><assistant>"},
	} {
		e := encoder(t, c.bare)
		q, err := e.Prompt(&c.ex, c.spoken)
		if got := string(e.Tokenizer.Decode(q.IDs)); err != nil || got != c.want || q.Text != c.text {
			t.Errorf("%s: %q of %q, %v; want %q of %q", c.what, got, q.Text, err, c.want, c.text)
		}
		if q.Spoken != (c.spoken && c.ex.Messages == nil) || (q.Messages == nil) != (c.ex.Messages == nil && !c.spoken) {
			t.Errorf("%s: spoken %v, messages %v", c.what, q.Spoken, q.Messages)
		}
	}
	if _, err := encoder(t, true).Prompt(&data.Example{Messages: talk}, false); err == nil || !strings.Contains(err.Error(), "set chat_template") {
		t.Errorf("a conversation without a template: %v", err)
	}
}

// TestPromptsAs: auto looks at the template, and what cannot be is refused.
func TestPromptsAs(t *testing.T) {
	for _, c := range []struct {
		as       PromptsAs
		template bool
		spoken   bool
		want     string // of the error
	}{
		{PromptsAuto, true, true, ""}, {PromptsAuto, false, false, ""}, {PromptsUser, true, true, ""}, {PromptsText, true, false, ""}, {PromptsText, false, false, ""},
		{PromptsUser, false, false, "no chat template"}, {"users", true, false, "use auto, user or text"}, {"", true, false, "use auto, user or text"},
	} {
		spoken, err := c.as.Spoken(c.template)
		if spoken != c.spoken || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, template %v: %v, %v", c.as, c.template, spoken, err)
		}
	}
}

// TestCounted names what was cut apart from what was left out, in an order that does not change.
func TestCounted(t *testing.T) {
	s := &data.Stats{Documents: 9, Files: 2, Skipped: map[data.Reason]int{CutShort: 1, TooLong: 3, Unanswered: 2}}
	const want = "9 records of 2 files, 1 examples cut at sequence_length; left out: 3 examples over sequence_length, 2 examples without a token to learn"
	for range 5 {
		if got := Counted(s); got != want {
			t.Fatalf("got %s", got)
		}
	}
	if got := Counted(&data.Stats{Documents: 1, Files: 1}); got != "1 records of 1 files" {
		t.Errorf("nothing left out: %s", got)
	}
	if got := Counted(&data.Stats{Documents: 1, Files: 1, InvalidUTF8: 1}); got != "1 records of 1 files, 1 with invalid UTF-8 (read as U+FFFD)" {
		t.Errorf("bytes that are no text: %s", got)
	}
}

// TestBegins: a text begins with what the tokenizer's post-processor puts there and not with a BOS that it only names, as GPT-2's and SmolLM2's do,
// so that it is learned as it is used.
func TestBegins(t *testing.T) {
	e := encoder(t, false)
	dir := t.TempDir()
	if err := e.Tokenizer.Save(dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "tokenizer.json")
	for _, want := range [][3]string{{"<s>a[b</s>]", "<s>[b</s>]", "<s>[b</s>]"}, {"a[b</s>]", "</s>[b</s>]", "[b</s>]"}} {
		tok, err := tokenizer.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		e := NewEncoder(tok, nil)
		for i, record := range []string{`{"prompt": "a", "completion": "b"}`, `{"prompt": "", "completion": "b"}`, `{"text": "b"}`} {
			ids, supervised, err := e.Example([]byte(record))
			if err != nil {
				t.Fatal(err)
			}
			if got := marked(e, ids, supervised); got != want[i] {
				t.Errorf("%s is %s, want %s", record, got, want[i])
			}
		}
		for i, prompt := range []string{"a", ""} {
			q, err := e.Prompt(&data.Example{Prompt: prompt}, false)
			if got := string(tok.Decode(q.IDs)); err != nil || !strings.HasPrefix(want[i], got+"[") {
				t.Errorf("the prompt is %q (%v), want the beginning of %s", got, err, want[i])
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var parts map[string]any
		if err := json.Unmarshal(text, &parts); err != nil {
			t.Fatal(err)
		}
		parts["post_processor"] = nil
		if text, err = json.Marshal(parts); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
