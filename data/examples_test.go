package data

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseExample(t *testing.T) {
	const talk = `[{"role":"system","content":"s"},{"role":"user","content":"u"},{"role":"assistant","content":"a"}]`
	want := []string{`{"content":"s","role":"system"}`, `{"content":"u","role":"user"}`, `{"content":"a","role":"assistant"}`}
	for _, c := range []struct {
		record string
		format Format
	}{
		{`{"messages":` + talk + `, "id": 3}`, Messages},
		{`{"conversations":[{"from":"system","value":"s"},{"from":"human","value":"u"},{"from":"gpt","value":"a"}]}`, ShareGPT},
		{`{"system":"s","conversations":[{"from":"human","value":"u"},{"from":"gpt","value":"a"}], "tools": "[]"}`, ShareGPT},
		{`{"conversations":` + talk + `}`, ShareGPT},
		{`{"system":"s","messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}]}`, Messages},
		{`{"system":"s","instruction":"u","input":"","output":"a"}`, Alpaca},
		{`{"prompt":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"completion":[{"role":"assistant","content":"a"}]}`, PromptCompletion},
		{`{"system":"s","prompt":[{"role":"user","content":"u"}],"completion":[{"role":"assistant","content":"a"}]}`, PromptCompletion},
		{`{"system":"s","prompt":"u","completion":"a"}`, PromptCompletion},
		{`{"system":"lost","messages":` + talk + `}`, Messages},
	} {
		e, err := ParseExample([]byte(c.record))
		if err != nil {
			t.Errorf("%s: %v", c.record, err)
			continue
		}
		var got []string
		for _, m := range e.Messages {
			var both map[string]string
			mustJSON(t, m, &both)
			got = append(got, `{"content":"`+both["content"]+`","role":"`+both["role"]+`"}`)
		}
		if diff := cmp.Diff(want, got); diff != "" || e.Format != c.format || e.Tools != nil {
			t.Errorf("%s: format %s, tools %s: %s", c.record, e.Format, e.Tools, diff)
		}
	}
	e, err := ParseExample([]byte(`{"prompt":"p","completion":"c","text":null}`))
	if err != nil || e.Prompt != "p" || e.Completion != "c" || e.Messages != nil {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := ParseExample([]byte(`{"text":"t"}`)); err != nil || e.Text != "t" {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := ParseExample([]byte(`{"instruction":"i","input":"j","output":"o","history":[["a","b"]]}`)); err != nil || len(e.Messages) != 4 || !strings.Contains(string(e.Messages[2]), `i\nj`) {
		t.Errorf("%s, %v", e.Messages, err)
	}
	if e, err := ParseExample([]byte(`{"instruction":"","input":"j","output":"o"}`)); err != nil || !strings.Contains(string(e.Messages[0]), `"content":"j"`) {
		t.Errorf("an input without an instruction: %s, %v", e.Messages, err)
	}
	if e, err := ParseExample([]byte(`{"messages":` + talk + `,"tools":"[{\"name\":\"f\"}]"}`)); err != nil || string(e.Tools) != `[{"name":"f"}]` {
		t.Errorf("%s, %v", e.Tools, err)
	}
}

// TestAnswersInParts: a list is no empty answer where one of its parts is a text or something else than text.
func TestAnswersInParts(t *testing.T) {
	for _, content := range []string{`[{"type":"text","text":""},{"type":"text","text":"a"}]`, `[{"type":"image","text":null}]`, `[{"type":"image_url","image_url":{"url":"x"}}]`, `["a"]`} {
		if _, err := ParseExample([]byte(`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":` + content + `}]}`)); err != nil {
			t.Errorf("%s: %v", content, err)
		}
	}
}

// TestToolsCall: an answer that only calls tools has no content, and their results come before the next answer.
func TestToolsCall(t *testing.T) {
	e, err := ParseExample([]byte(`{"messages":[{"role":"developer","content":"s"},{"role":"user","content":"u"},{"role":"model","content":null,"tool_calls":[{"name":"f"}]},
		{"role":"tool","content":"1"},{"role":"ipython","content":"2"},{"role":"assistant","content":"a"}],"tools":[{"name":"f"}]}`))
	if err != nil || len(e.Messages) != 6 || string(e.Tools) != `[{"name":"f"}]` {
		t.Errorf("%s with the tools %s, %v", e.Messages, e.Tools, err)
	}
	for _, none := range []string{`null`, `""`, `[]`, `"[]"`} {
		if e, err := ParseExample([]byte(`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"tools":` + none + `}`)); err != nil || e.Tools != nil {
			t.Errorf("tools %s are %s, %v", none, e.Tools, err)
		}
	}
}

// TestUnlearned: files of OpenAI's and Axolotl's say which answers are there to be read alone.
func TestUnlearned(t *testing.T) {
	for record, want := range map[string][]int{
		`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a","weight":0},{"role":"user","content":"u"},{"role":"assistant","content":"b","weight":1}]}`:                    {1},
		`{"system":"s","conversations":[{"from":"human","value":"u","train":false},{"from":"gpt","value":"a","train":true},{"from":"human","value":"u"},{"from":"gpt","value":"b","train":false}]}`: {4},
		`{"conversations":[{"role":"user","content":"u"},{"role":"assistant","content":"a","train":false}],"system":"s"}`:                                                                           {2},
		`{"prompt":[{"role":"user","content":"u"}],"completion":[{"role":"assistant","content":"a","weight":null,"train":null}]}`:                                                                   nil,
	} {
		if e, err := ParseExample([]byte(record)); err != nil || !slices.Equal(e.Unlearned, want) {
			t.Errorf("%s: messages %v are not learned, %v; want %v", record, e.Unlearned, err, want)
		}
	}
}

func TestParseBadExample(t *testing.T) {
	for record, want := range map[string]string{
		`{"question":"q","answer":"a"}`:                "a record with the keys answer, question is of no known format",
		`{"messages":[]}`:                              "the conversation is empty",
		`{"messages":[{"role":"user","content":"u"}]}`: "no answer of the assistant",
		`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":""}]}`:                                                     "message 2, of the assistant, is empty",
		`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":" \n"}]}`:                                                  "message 2, of the assistant, is empty",
		`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":[]}]}`:                                                     "message 2, of the assistant, is empty",
		`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":[{"type":"text","text":" "},{"type":"text","text":""}]}]}`: "message 2, of the assistant, is empty",
		`{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"u"}]}`:                                                    "message 1, of the role assistant, is out of order",
		`{"messages":[{"role":"user","content":"u"},{"role":"user","content":"u"},{"role":"assistant","content":"a"}]}`:                      "message 2, of the role user, is out of order",
		`{"messages":[{"role":"system","content":"s"},{"role":"assistant","content":"a"}]}`:                                                  "message 2, of the role assistant, is out of order",
		`{"messages":[{"role":"user","content":"u"},{"role":"tool","content":"t"},{"role":"assistant","content":"a"}]}`:                      "message 2, of the role tool, is out of order",
		`{"conversations":[{"from":"gpt","value":"a"},{"from":"human","value":"b"}]}`:                                                        "out of order; users and assistants must take turns",
		`{"messages":[{"content":"u"}]}`:                                               "message 1 has no role",
		`{"messages":[{"role":"user","content":"u"},{"role":"system","content":"s"}]}`: "message 2 is of the role system, which must come first",
		`{"messages":[{"role":"boss","content":"u"}]}`:                                 `unknown role "boss"`,
		`{"messages":7}`: "no list",
		`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a","weight":0.5}]}`:         "the weight of message 2 is 0.5",
		`{"conversations":[{"from":"human","value":"u"},{"from":"gpt","value":"a","train":"no"}]}`:             `train of message 2 is "no"`,
		`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"system":7}`:           "system is no text",
		`{"conversations":[{"from":"alien","value":"u"}]}`:                                                     `from "alien"`,
		`{"prompt":"p","completion":""}`:                                                                       "the completion is empty",
		`{"prompt":"p","completion":[]}`:                                                                       "completion is no text",
		`{"prompt":3,"completion":"x"}`:                                                                        "both",
		`{"instruction":"i","output":4}`:                                                                       "output is no text",
		`{"text":4}`:                                                                                           "text is no text",
		`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"tools":{"name":"f"}}`: "tools is no list",
		`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"tools":"{}"}`:         "tools is no list",
		`{"messages":[{"role":"user","content":"u"},{"role":"assistant","tool_calls":[]}]}`:                    "message 2, of the assistant, is empty",
		`{"instruction":"i","output":"o","history":[["a","b","lost"]]}`:                                        "history is no list of pairs",
		`{"instruction":"i","output":"o","history":[["a"]]}`:                                                   "history is no list of pairs",
		`{"instruction":"i","output":"o","history":{}}`:                                                        "history is no list of pairs",
		`{"conversations":[{"from":"human"},{"from":"gpt","value":"a"}]}`:                                      "turn 1 has no from or no value",
		`{"conversations":7}`: "conversations is no list",
		`{"conversations":[{"from":"human","value":"u"}],"system":7}`: "system is no text",
		`[]`: "no JSON object",
	} {
		if _, err := ParseExample([]byte(record)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", record, err, want)
		}
	}
}

func FuzzParseExample(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"tools":"x"}`))
	f.Add([]byte(`{"conversations":[{"from":"human","value":"u"}]}`))
	f.Add([]byte(`{"instruction":"","history":[["a","b"]],"output":null}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		e, err := ParseExample(record)
		if err == nil && e.Messages == nil && e.Format != PlainText && e.Format != PromptCompletion {
			t.Errorf("an example of the format %s has no messages", e.Format)
		}
	})
}

func mustJSON(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// TestExampleContent: what the model does not see tells no records apart; a record as Go writes it is its own content, and so is one of no known format.
func TestExampleContent(t *testing.T) {
	for record, want := range map[string]string{
		`{"id": 7, "completion": "b\u003c", "prompt" : "a", "system": null}`:            `{"prompt":"a","completion":"b\u003c"}`,
		`{"messages":[{"role":"user","content":"a"}, {"weight":0}],"source":{"a":[1]}}`: `{"messages":[{"role":"user","content":"a"},{"weight":0}]}`,
		`{"instruction":"a","output":"b"}`:                                              `{"instruction":"a","output":"b"}`,
		`{"question": 1}`:                                                               `{"question": 1}`,
		`[1]`:                                                                           `[1]`,
	} {
		if got := string(ExampleContent([]byte(record))); got != want {
			t.Errorf("%s: %s, want %s", record, got, want)
		}
	}
}
