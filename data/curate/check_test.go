package curate

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"hone/data"
)

func record(fields map[string]any) string {
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestTalkReadsEveryFormat(t *testing.T) {
	message := func(role, content string) map[string]string {
		return map[string]string{"role": role, "content": content}
	}
	for _, r := range []string{
		record(map[string]any{"messages": []any{message("system", "be kind"), message("user", "ask"), message("assistant", "answer")}}),
		record(map[string]any{"prompt": "ask", "completion": "answer"}),
		record(map[string]any{"instruction": "ask", "output": "answer"}),
		record(map[string]any{"conversations": []any{map[string]string{"from": "human", "value": "ask"}, map[string]string{"from": "gpt", "value": "answer"}}}),
		`{"messages":[{"role":"user","content":[{"type":"text","text":"ask"}]},{"role":"assistant","content":[{"type":"text","text":"answer"}]}]}`,
		`{"prompt":"ask","completion":"answer","chosen":null,"rejected":null}`,
	} {
		got := parseTalk([]byte(r))
		if got.problem != "" || got.prompt != "ask" || fmt.Sprint(got.answers) != "[answer]" || got.rejected {
			t.Errorf("%s: %+v", r, got)
		}
	}
	for _, r := range []string{
		record(map[string]any{"prompt": "ask", "chosen": "good", "rejected": "bad"}),
		record(map[string]any{"chosen": []any{message("user", "ask"), message("assistant", "good")}, "rejected": []any{message("user", "ask"), message("assistant", "bad")}}),
	} {
		got := parseTalk([]byte(r))
		if got.problem != "" || got.prompt != "ask" || fmt.Sprint(got.answers) != "[good bad]" || !got.rejected {
			t.Errorf("%s: %+v", r, got)
		}
	}
	turns := parseTalk([]byte(record(map[string]any{"messages": []any{message("user", "one"), message("assistant", "a"), message("user", "two"), message("assistant", "b")}})))
	if turns.prompt != "one\ntwo" || fmt.Sprint(turns.answers) != "[a b]" {
		t.Errorf("%+v", turns)
	}
}

// Reasons are the same for every record that breaks a rule, whatever stands in it.
func TestFormatReasons(t *testing.T) {
	for want, records := range map[string][]string{
		"empty answer": {`{"prompt":"a","completion":""}`, `{"prompt":"a","completion":" ..."}`, `{"instruction":"a","output":""}`, `{"prompt":"a","chosen":"","rejected":"b"}`,
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":" "}]}`},
		"chosen and rejected are equal":  {`{"prompt":"a","chosen":"b","rejected":"b"}`},
		"a record is of no known format": {`{"q":1}`, `{"other":2,"more":3}`},
		"no JSON object":                 {`[1]`, `3`},
		"a record of the format messages: message … has the unknown role …; use system, user, assistant or tool": {
			`{"messages":[{"role":"user","content":"a"},{"role":"cat","content":"b"}]}`, `{"messages":[{"role":"dog","content":"a"}]}`},
	} {
		for _, r := range records {
			if got := Format().Apply(&Doc{Text: r}); got != want {
				t.Errorf("%s: %q, want %q", r, got, want)
			}
		}
	}
	for _, r := range []string{ // an answer that calls a tool, among others and of a preference
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"name":"f"}]},{"role":"tool","content":"1"},{"role":"assistant","content":"b"}]}`,
		`{"prompt":[{"role":"user","content":"a"}],"chosen":[{"role":"assistant","content":"","tool_calls":[{"name":"f"}]}],"rejected":[{"role":"assistant","content":"b"}]}`,
	} {
		if got := Format().Apply(&Doc{Text: r}); got != "" {
			t.Errorf("%s: %q", r, got)
		}
	}
	d := &Doc{Text: `{"prompt":"four","chosen":"sixsix","rejected":"b"}`}
	if got := Format().Apply(d); got != "" || fmt.Sprint(d.notes) != "[{format.prompt_characters 4} {format.answer_characters 6}]" {
		t.Errorf("%q, notes %v", got, d.notes)
	}
}

func TestRefusals(t *testing.T) {
	step, err := Refusals{Within: 60, Lists: []string{listFile(t, "ask someone else")}}.Step()
	if err != nil {
		t.Fatal(err)
	}
	for answer, refused := range map[string]bool{
		"I’m sorry, but I can't do that.":                         true,
		"As an AI language model, I have no eyes.":                true,
		"Please ask someone else.":                                true,
		"The Seine, as an aide once said, is long.":               false,
		"It is a river. " + strings.Repeat("x ", 50) + "as an ai": false,
		"I cannot recommend this book highly enough.":             false,
	} {
		if got := step.Apply(&Doc{Text: record(map[string]any{"prompt": "as an ai", "completion": answer})}); (got != "") != refused {
			t.Errorf("%q: %q", answer, got)
		}
	}
	for r, refused := range map[string]bool{
		record(map[string]any{"prompt": "a", "chosen": "Yes.", "rejected": "I'm sorry, but I can't."}): false,
		record(map[string]any{"prompt": "a", "chosen": "I'm sorry, but I can't.", "rejected": "Yes."}): true,
	} {
		if got := step.Apply(&Doc{Text: r}); (got != "") != refused {
			t.Errorf("%s: %q", r, got)
		}
	}
	if _, err := (Refusals{Within: -1}).Step(); err == nil {
		t.Error("within -1 is taken")
	}
}

func TestOutliers(t *testing.T) {
	var docs []data.Document
	of := func(prompt, answer int) string {
		return record(map[string]any{"prompt": strings.Repeat("p", prompt), "completion": strings.Repeat("a", answer)})
	}
	for i := range 1000 {
		docs = append(docs, data.Document{Text: []byte(of(40+i%40, 100+i%300))})
	}
	step, err := DefaultOutliers().Step(t.Context(), stream(docs, goOn), 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		prompt, answer int
		want           string
	}{{50, 200, ""}, {20, 50, ""}, {0, 200, ""}, {50, 20000, "answer far longer than most"}, {50, 3, "answer far shorter than most"}, {1000, 200, "prompt far longer than most"},
		{2, 200, "prompt far shorter than most"}} {
		if got := step.Apply(&Doc{Text: of(test.prompt, test.answer)}); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

func TestScriptMixAndSameAnswers(t *testing.T) {
	for r, want := range map[string]string{
		`{"prompt":"hello there","completion":"good day"}`:    "Latin",
		`{"prompt":"hello there","completion":"добрый день"}`: "Latin to Cyrillic",
		`{"prompt":"1 + 1","completion":"добрый день"}`:       "Cyrillic",
	} {
		d := &Doc{Text: r}
		got := ScriptMix{Keep: []string{"Latin"}, MaxOther: 0.1}.Step().Apply(d)
		if d.notes[0].value != want || (got != "") != (want != "Latin") {
			t.Errorf("%s: %q, %v", r, got, d.notes)
		}
	}
	twice := ScriptMix{Keep: []string{"Latin", "Latin"}, MaxOther: 0.5}.Step() // a script that is named twice counts once
	for text, want := range map[string]string{"abcd абвг": "", "abcd абвгд": "another script"} {
		if got := twice.Apply(&Doc{Text: record(map[string]any{"prompt": "1", "completion": text})}); got != want {
			t.Errorf("half of %q may be of others: %q, want %q", text, got, want)
		}
	}
	if err := (ScriptMix{Keep: []string{"Klingon"}}).Validate(); err == nil {
		t.Error("an unknown script is taken")
	}
	for r, rejected := range map[string]bool{
		`{"prompt":"a","chosen":"It is, so!","rejected":"it is so"}`:                                                        true,
		`{"prompt":"a","chosen":"It is so","rejected":"it is not"}`:                                                         false,
		`{"prompt":"a","chosen":"+","rejected":"-"}`:                                                                        false,
		`{"prompt":"a","completion":"a"}`:                                                                                   false,
		`{"prompt":"Repeat this whole sentence to me.","completion":"repeat this whole sentence to me"}`:                    true,
		`{"prompt":"Repeat this whole sentence to me.","completion":"repeat this whole sentence to me, as I said, gladly"}`: false,
	} {
		if got := SameAnswers().Apply(&Doc{Text: r}); (got != "") != rejected {
			t.Errorf("%s: %q", r, got)
		}
	}
}

// TestAnswersDifferInLayout: what is layout, and what says something else, as operators and marks of code do.
func TestAnswersDifferInLayout(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"It is, so!", "it is so", true},
		{"# Yes\n- one\n* two\n> three", "yes\none two\n\nthree.", true},
		{"It is **very** good, _really_ `so`; ~~not~~.", "It is very good - really", false},
		{"It is **very** good, _really_ `so`; ~~not~~.", "it is very good: really so not", true},
		{"**Bold.** *One* and *two* (“three”).", "bold one and two (three)", true},
		{"```go\nx := 1\n```", "x := 1", true},
		{"你好，世界。", "你好世界", false}, // where words begin nobody knows
		{"你好，世界。", "你好、世界！", true},
		{"राम की किताब।", "राम की किताब", true},
		{"a+b", "a-b", false},
		{"a + b", "a b", false},
		{"a*b", "a b", false},
		{"2 * 3", "2 3", false},
		{"a * b * c", "a b c", false},
		{"return *p", "return p", false},
		{"2**3", "2*3", false},
		{"x < y", "x > y", false},
		{"x != y", "x = y", false},
		{"-5", "5", false},
		{"!x", "x", false},
		{"f(a.b)", "f(a,b)", false},
		{"f(x)", "f[x]", false},
		{"a_b", "a b", false},
		{"1.5", "1,5", false},
		{"x++;", "x--;", false},
		{"a & b", "a | b", false},
		{"50%", "50", false},
		{"$5", "€5", false},
	} {
		got := SameAnswers().Apply(&Doc{Text: record(map[string]any{"prompt": "p", "chosen": c.a, "rejected": c.b})}) != ""
		if got != c.same {
			t.Errorf("%q and %q: the same is %v, %q and %q", c.a, c.b, got, plainAnswer(c.a), plainAnswer(c.b))
		}
	}
}

// Records are kept as they are, and alike prompts stand once.
func TestRecordsRun(t *testing.T) {
	var docs []data.Document
	var want []string
	for i := range 300 {
		prompt := fmt.Sprintf("question %d about the number %d and what it means in the end of all days", i, i*7919)
		r := record(map[string]any{"prompt": prompt, "completion": fmt.Sprintf("It means the number %d, no less and no more than that.", i), "id": i})
		want = append(want, r)
		docs = append(docs, data.Document{Text: []byte(r), Source: "s.jsonl", Record: len(docs) + 1})
		if i%10 == 0 { // an alike prompt with a shorter answer
			docs = append(docs, data.Document{Text: []byte(record(map[string]any{"prompt": strings.ToUpper(prompt), "completion": "short"})), Source: "s.jsonl", Record: len(docs) + 1})
		}
	}
	dir := t.TempDir()
	c := config(dir, 3)
	c.Steps, c.Records = []Step{Format(), SameAnswers()}, true
	c.Near = &MinHash{NGram: 3, Bands: 14, Rows: 8, Threshold: 0.8, Seed: 1}
	r, err := Run(t.Context(), stream(docs, goOn), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Near.Documents != 30 {
		t.Errorf("%d alike prompts were found, want 30", r.Near.Documents)
	}
	i := 0
	for d, err := range (data.Sources{Paths: []string{dir}, Records: true}).Documents(&data.Stats{}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(d.Text) != want[i] {
			t.Fatalf("record %d is %s, want %s", i, d.Text, want[i])
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d records of %d", i, len(want))
	}
}
