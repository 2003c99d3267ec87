package data

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParsePreference(t *testing.T) {
	for _, c := range []struct {
		name, record             string
		prompt, chosen, rejected string // of texts
		turns                    int
		margin                   float64
		annotator                string
	}{
		{name: "explicit prompt", record: `{"prompt":"Sky? ","chosen":"blue","rejected":"green","margin":1.5,"annotator":"ann"}`,
			prompt: "Sky? ", chosen: "blue", rejected: "green", margin: 1.5, annotator: "ann"},
		{name: "implicit prompt", record: `{"chosen":"Sky? It is blue","rejected":"Sky? It is green"}`, prompt: "Sky? It is", chosen: " blue", rejected: " green"},
		{name: "implicit prompt between characters", record: `{"chosen":"x é","rejected":"x è"}`, prompt: "x", chosen: " é", rejected: " è"},
		{name: "HH", record: `{"chosen":"\n\nHuman: Sky?\n\nAssistant: It is blue","rejected":"\n\nHuman: Sky?\n\nAssistant: It is green"}`,
			prompt: "\n\nHuman: Sky?\n\nAssistant:", chosen: " It is blue", rejected: " It is green", turns: 1},
		{name: "conversation", record: `{"prompt":[{"role":"user","content":"Sky?"}],"chosen":[{"role":"assistant","content":"blue"}],
			"rejected":[{"role":"assistant","content":"green"}]}`, turns: 1},
		{name: "the prompt once more, as a text", record: `{"prompt":"Sky?","chosen":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"blue"}],
			"rejected":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"green"}]}`, turns: 1},
		{name: "the prompt as a text only", record: `{"prompt":"Sky?","chosen":[{"role":"assistant","content":"blue"}],"rejected":[{"role":"assistant","content":"green"}]}`, turns: 1},
		{name: "whole conversations", record: `{"chosen":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}],
			"rejected":[{"role": "user", "content": "a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"e"}]}`, turns: 3},
	} {
		p, err := ParsePreference([]byte(c.record))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if p.Chosen.Prompt != c.prompt || p.Rejected.Prompt != c.prompt || p.Chosen.Completion != c.chosen || p.Rejected.Completion != c.rejected ||
			p.Turns != c.turns || p.Margin != c.margin || p.Annotator != c.annotator {
			t.Errorf("%s: %+v", c.name, p)
		}
		if (c.turns > 0) != (len(p.Chosen.Messages) > c.turns) {
			t.Errorf("%s: %d messages", c.name, len(p.Chosen.Messages))
		}
	}
}

// TestPreferencesAsked: prompts that stand as in fine-tuning records are not lost, and neither is a system.
func TestPreferencesAsked(t *testing.T) {
	const good, bad = `{"from":"gpt","value":"blue"}`, `{"from":"gpt","value":"green"}`
	for record, want := range map[string]string{
		`{"instruction":"Sky","input":"now?","chosen":"blue","rejected":"green"}`:                                                                "user: Sky\nnow?",
		`{"instruction":"Sky?","input":"","system":"s","history":[["a","b"]],"chosen":"blue","rejected":"green"}`:                                "system: s, user: a, assistant: b, user: Sky?",
		`{"conversations":[{"from":"system","value":"s"},{"from":"human","value":"Sky?"}],"chosen":` + good + `,"rejected":` + bad + `}`:         "system: s, user: Sky?",
		`{"conversations":[{"role":"user","content":"Sky?"}],"chosen":[` + good + `],"rejected":[` + bad + `]}`:                                  "user: Sky?",
		`{"system":"s","question":"Sky?","chosen":"blue","rejected":"green"}`:                                                                    "system: s, user: Sky?",
		`{"system":"","question":"Sky?","chosen":"blue","rejected":"green"}`:                                                                     "user: Sky?",
		`{"system":"s","prompt":"Sky?","chosen":"blue","rejected":"green"}`:                                                                      "system: s, user: Sky?",
		`{"system":"s","prompt":"Sky?","chosen":{"role":"assistant","content":"blue"},"rejected":{"role":"assistant","content":"green"}}`:        "system: s, user: Sky?",
		`{"system":"s","prompt":[{"role":"user","content":"Sky?"}],"chosen":[` + good + `],"rejected":[` + bad + `]}`:                            "system: s, user: Sky?",
		`{"question":"Sky?","chosen":[{"role":"user","content":"Sky?"},` + good + `],"rejected":[{"role":"user","content":"Sky?"},` + bad + `]}`: "user: Sky?",
		`{"system":"s","chosen":"\n\nHuman: Sky?\n\nAssistant: blue","rejected":"\n\nHuman: Sky?\n\nAssistant: green"}`:                          "system: s, user: Sky?",
		`{"system":"s","chosen":[{"role":"user","content":"Sky?"},` + good + `],"rejected":[{"role":"user","content":"Sky?"},` + bad + `]}`:      "system: s, user: Sky?",
	} {
		p, err := ParsePreference([]byte(record))
		if err != nil || p.Chosen.Completion+p.Rejected.Prompt != "" || p.Turns != strings.Count(want, ": ") || len(p.Chosen.Messages) != p.Turns+1 || len(p.Rejected.Messages) != p.Turns+1 {
			t.Errorf("%s: %d turns, %v", record, p.Turns, err)
			continue
		}
		for e, answer := range map[*Example]string{&p.Chosen: "blue", &p.Rejected: "green"} {
			var said []string
			for _, m := range e.Messages {
				var v struct{ Role, Content string }
				mustJSON(t, m, &v)
				said = append(said, v.Role+": "+v.Content)
			}
			if got := strings.Join(said, ", "); got != want+", assistant: "+answer {
				t.Errorf("%s: %s, want %s", record, got, want)
			}
		}
	}
	const called = `{"role":"assistant","content":null,"tool_calls":[{"name":"f"}]}`
	if p, err := ParsePreference([]byte(`{"prompt":[{"role":"user","content":"Sky?"}],"chosen":[` + called + `],"rejected":[` + bad + `]}`)); err != nil || len(p.Chosen.Messages) != 2 {
		t.Errorf("an answer that calls a tool: %s, %v", p.Chosen.Messages, err)
	}
	for _, record := range []string{ // transcripts that have their question, which stands beside them, too
		`{"query":"Sky?","input":"","chosen":"Sky? blue","rejected":"Sky? green"}`,
		`{"system":"Be short.","chosen":"Be short. Sky? blue","rejected":"Be short. Sky? green"}`,
		`{"prompt":"","chosen":"\n\nHuman: Sky?\n\nAssistant: blue","rejected":"\n\nHuman: Sky?\n\nAssistant: green"}`,
		`{"question":"Sky?","chosen":"\n\nHuman: Sky?\n\nAssistant: blue","rejected":"\n\nHuman: Sky?\n\nAssistant: green"}`,
	} {
		p, err := ParsePreference([]byte(record))
		if err != nil || !strings.Contains(p.Chosen.Prompt, "Sky?") || strings.TrimSpace(p.Chosen.Completion) != "blue" || strings.TrimSpace(p.Rejected.Completion) != "green" {
			t.Errorf("%s: %q, then %q or %q, %v", record, p.Chosen.Prompt, p.Chosen.Completion, p.Rejected.Completion, err)
		}
	}
	for record, want := range map[string]string{
		`{"query":"Sky?","chosen":"blue","rejected":"green"}`:                             "no prompt but query",
		`{"system":"s","chosen":"Sky? blue","rejected":"Sky? green"}`:                     "a system and no prompt",
		`{"system":7,"chosen":"Sky? blue","rejected":"Sky? green"}`:                       "system is no text",
		`{"instruction":7,"chosen":"blue","rejected":"green"}`:                            "instruction is no text",
		`{"conversations":[{"from":"x","value":"a"}],"chosen":"blue","rejected":"green"}`: `turn 1 is from "x"`,
		`{"question":"a","chosen":{"from":"x","value":"blue"},"rejected":{"from":"gpt"}}`: `chosen is from "x"`,
		`{"question":"a","chosen":"blue","rejected":{"from":"gpt","value":"green"}}`:      "both",
		`{"question":"a","chosen":7,"rejected":8}`:                                        "chosen is neither",
		`{"system":7,"prompt":"a","chosen":"blue","rejected":"green"}`:                    "system is no text",
	} {
		if _, err := ParsePreference([]byte(record)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", record, err, want)
		}
	}
}

// TestPreferencesWithTools: tools are a list or a text of one, as in a single conversation.
func TestPreferencesWithTools(t *testing.T) {
	record := func(tools string) []byte {
		return []byte(`{"prompt":[{"role":"user","content":"a"}],"chosen":[{"role":"model","content":"b"}],"rejected":[{"role":"model","content":"c"}],"tools":` + tools + `}`)
	}
	for tools, want := range map[string]string{`[{"name":"f"}]`: `[{"name":"f"}]`, `"[{\"name\":\"f\"}]"`: `[{"name":"f"}]`, `[]`: "", `null`: "", `""`: ""} {
		p, err := ParsePreference(record(tools))
		if err != nil || string(p.Chosen.Tools) != want || string(p.Rejected.Tools) != want {
			t.Errorf("tools %s are %s and %s, %v", tools, p.Chosen.Tools, p.Rejected.Tools, err)
		}
	}
	if _, err := ParsePreference(record(`{"name":"f"}`)); err == nil || !strings.Contains(err.Error(), "tools is no list") {
		t.Errorf("tools that are no list: %v", err)
	}
}

func TestUnusablePreferences(t *testing.T) {
	for record, want := range map[string]string{
		`{"prompt":"a","chosen":"b","rejected":"b"}`:                                                                                                                  string(EqualAnswers),
		`{"prompt":"a","chosen":"","rejected":"b"}`:                                                                                                                   string(EmptyAnswer),
		`{"chosen":"ab","rejected":"ab"}`:                                                                                                                             string(EqualAnswers),
		`{"chosen":"\n\nHuman: a\n\nAssistant:","rejected":"\n\nHuman: a\n\nAssistant: b"}`:                                                                           string(EmptyAnswer),
		`{"prompt":[{"role":"user","content":"a"}],"chosen":[{"role":"assistant","content":""}],"rejected":[]}`:                                                       "",
		`{"prompt":[{"role":"user","content":"a"}],"chosen":[{"role":"model","content":null}],"rejected":[{"role":"model","content":"b"}]}`:                           string(EmptyAnswer),
		`{"chosen":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"rejected":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`: string(EqualAnswers),
		`{"chosen":[{"role":"user","content":"a"}],"rejected":[{"role":"user","content":"b"}]}`:                                                                       "",
		`{"chosen":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"rejected":[{"role":"user","content":"c"},{"role":"assistant","content":"d"}]}`: "",
		`{"chosen":"a","rejected":["b"]}`:                                                                                                                             "",
		`{"chosen":"a"}`:                                                                                                                                              "",
		`{"chosen":"a","rejected":"b","margin":"big"}`:                                                                                                                "",
		`{"chosen":"a","rejected":"b","annotator":["ann"]}`:                                                                                                           "",
		`[1]`: "",
	} {
		_, err := ParsePreference([]byte(record))
		var u *Unusable
		switch {
		case err == nil:
			t.Errorf("%s was taken", record)
		case errors.As(err, &u) != (want != "") && !strings.Contains(record, `"content":""`):
			t.Errorf("%s: %v, want reason %q", record, err, want)
		case want != "" && string(u.Reason) != want:
			t.Errorf("%s: reason %q, want %q", record, u.Reason, want)
		}
	}
}

func TestParseJudged(t *testing.T) {
	j, err := ParseJudged([]byte(`{"prompt":[{"role":"user","content":"a"}],"completion":[{"role":"assistant","content":"b"}],"label":true}`))
	if err != nil || !j.Desirable || j.Turns != 1 || len(j.Messages) != 2 {
		t.Errorf("%+v, %v", j, err)
	}
	j, err = ParseJudged([]byte(`{"prompt":"a","completion":"b","label":false}`))
	if err != nil || j.Desirable || j.Prompt != "a" || j.Completion != "b" {
		t.Errorf("%+v, %v", j, err)
	}
	for _, record := range []string{`{"system":"s","prompt":"a","completion":"b","label":true}`, `{"system":"s","prompt":[{"role":"user","content":"a"}],"completion":[{"role":"assistant","content":"b"}],"label":true}`} {
		if j, err := ParseJudged([]byte(record)); err != nil || j.Turns != 2 || len(j.Messages) != 3 || j.Prompt != "" {
			t.Errorf("%s: %+v, %v", record, j, err)
		}
	}
	for _, bad := range []string{`{"prompt":"a","completion":"b"}`, `{"prompt":"a","completion":"","label":true}`, `{"prompt":"a","completion":"b","label":"yes"}`, `7`} {
		if j, err := ParseJudged([]byte(bad)); err == nil {
			t.Errorf("%s gave %+v", bad, j)
		}
	}
}

func TestParsePrompt(t *testing.T) {
	for record, turns := range map[string]int{
		`{"prompt":"a"}`: 0, `{"text":"a"}`: 0, `{"prompt":[{"role":"user","content":"a"}]}`: 1,
		`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`: 2,
		`{"messages":[{"role":"user","content":"a"},{"role":"model","content":"b"}]}`:                                     1,
		`{"system":"s","messages":[{"role":"user","content":"a"},{"role":"model","content":"b"}]}`:                        2,
		`{"system":"s","prompt":[{"role":"user","content":"a"}]}`:                                                         2,
		`{"system":"s","prompt":"a"}`: 2, `{"system":"","prompt":"a"}`: 0,
		`{"messages":[{"role":"user","content":"a"},{"role":"model","content":"b"},{"role":"tool","content":"c"}]}`: 3,
	} {
		e, err := ParsePrompt([]byte(record))
		if err != nil || len(e.Messages) != turns || turns == 0 && e.Prompt != "a" {
			t.Errorf("%s: %+v, %v", record, e, err)
		}
	}
	for _, bad := range []string{`{"question":"a"}`, `{"prompt":""}`, `{"prompt":[]}`, `{"prompt":7}`, `{"messages":[{"role":"assistant","content":"b"}]}`, `"a"`} {
		if e, err := ParsePrompt([]byte(bad)); err == nil {
			t.Errorf("%s gave %+v", bad, e)
		}
	}
}

// TestDraw deals every piece once an epoch, each epoch in another order.
func TestDraw(t *testing.T) {
	const count = 7
	var epochs [3][]int64
	for n := range int64(3 * count) {
		epochs[n/count] = append(epochs[n/count], Draw(5, count, n))
	}
	for _, e := range epochs {
		sorted := slices.Sorted(slices.Values(e))
		if !slices.Equal(sorted, []int64{0, 1, 2, 3, 4, 5, 6}) {
			t.Errorf("an epoch is %v", e)
		}
	}
	if slices.Equal(epochs[0], epochs[1]) && slices.Equal(epochs[1], epochs[2]) {
		t.Error("all epochs have one order")
	}
}

func FuzzParsePreference(f *testing.F) {
	f.Add(`{"prompt":"a","chosen":"b","rejected":"c"}`)
	f.Add(`{"chosen":"\n\nHuman: a\n\nAssistant: b","rejected":"\n\nHuman: a\n\nAssistant: c\n\nHuman:"}`)
	f.Add(`{"chosen":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"rejected":[{"role":"user","content":"a"}]}`)
	f.Fuzz(func(t *testing.T, record string) {
		p, err := ParsePreference([]byte(record))
		if err != nil {
			return
		}
		if p.Chosen.Messages == nil && (p.Chosen.Completion == "" || p.Chosen.Completion == p.Rejected.Completion) {
			t.Errorf("%q gave %+v", record, p)
		}
		if _, err := json.Marshal(p.Chosen.Messages); err != nil {
			t.Errorf("%q: messages are no JSON: %v", record, err)
		}
	})
}

// TestWhatPreferencesLack: records that are whole and make no pair, or no question, are told by what is missing.
func TestWhatPreferencesLack(t *testing.T) {
	preference := func(record string) error { _, err := ParsePreference([]byte(record)); return err }
	judged := func(record string) error { _, err := ParseJudged([]byte(record)); return err }
	prompt := func(record string) error { _, err := ParsePrompt([]byte(record)); return err }
	const asked, answered = `{"role":"user","content":"a"}`, `{"role":"assistant","content":"b"}`
	for record, c := range map[string]struct {
		parse func(string) error
		want  string
	}{
		`{"chosen":"\n\nHuman: a\n\nAssistant: x","rejected":"\n\nHuman: b\n\nAssistant: y"}`:                                    {preference, "the transcripts have no prompt in common"},
		`{"chosen":[` + asked + `,` + answered + `],"rejected":[` + asked + `,` + answered + `,` + asked + `,` + answered + `]}`: {preference, "one conversation is the beginning of the other"},
		`{"chosen":[` + asked + `,` + answered + `,` + asked + `,` + answered + `],"rejected":[` + asked + `,` + answered + `]}`: {preference, "one conversation is the beginning of the other"},
		`{"prompt":"a","completion":5,"label":true}`:                                                                             {judged, "completion"},
		`{"text":5}`:                     {prompt, "text is no text"},
		`{"messages":[{"content":"a"}]}`: {prompt, "message 1 has no role"},
		`{"messages":[` + asked + `,{"content":"b"},` + answered + `]}`: {prompt, "message 2 has no role"},
		`{"messages":[` + answered + `]}`:                               {prompt, "no message to answer"},
	} {
		if err := c.parse(record); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", record, err, c.want)
		}
	}
}
