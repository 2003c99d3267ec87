package filters

import (
	"fmt"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate/curatetest"
	"hone/data/curate/document"
)

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
			if got := Format().Apply(&document.Doc{Text: r}); got != want {
				t.Errorf("%s: %q, want %q", r, got, want)
			}
		}
	}
	for _, r := range []string{ // an answer that calls a tool, among others and of a preference
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"name":"f"}]},{"role":"tool","content":"1"},{"role":"assistant","content":"b"}]}`,
		`{"prompt":[{"role":"user","content":"a"}],"chosen":[{"role":"assistant","content":"","tool_calls":[{"name":"f"}]}],"rejected":[{"role":"assistant","content":"b"}]}`,
	} {
		if got := Format().Apply(&document.Doc{Text: r}); got != "" {
			t.Errorf("%s: %q", r, got)
		}
	}
	d := &document.Doc{Text: `{"prompt":"four","chosen":"sixsix","rejected":"b"}`}
	if got := Format().Apply(d); got != "" || fmt.Sprint(d.Notes()) != "[{format.prompt_characters 4} {format.answer_characters 6}]" {
		t.Errorf("%q, notes %v", got, d.Notes())
	}
}

func TestRefusals(t *testing.T) {
	step, err := Refusals{Within: 60, Lists: []string{curatetest.ListFile(t, "ask someone else")}}.Step()
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
		if got := step.Apply(&document.Doc{Text: curatetest.Record(map[string]any{"prompt": "as an ai", "completion": answer})}); (got != "") != refused {
			t.Errorf("%q: %q", answer, got)
		}
	}
	for r, refused := range map[string]bool{
		curatetest.Record(map[string]any{"prompt": "a", "chosen": "Yes.", "rejected": "I'm sorry, but I can't."}): false,
		curatetest.Record(map[string]any{"prompt": "a", "chosen": "I'm sorry, but I can't.", "rejected": "Yes."}): true,
	} {
		if got := step.Apply(&document.Doc{Text: r}); (got != "") != refused {
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
		return curatetest.Record(map[string]any{"prompt": strings.Repeat("p", prompt), "completion": strings.Repeat("a", answer)})
	}
	for i := range 1000 {
		docs = append(docs, data.Document{Text: []byte(of(40+i%40, 100+i%300))})
	}
	step, err := DefaultOutliers().Step(t.Context(), curatetest.Stream(docs, curatetest.GoOn), 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		prompt, answer int
		want           string
	}{{50, 200, ""}, {20, 50, ""}, {0, 200, ""}, {50, 20000, "answer far longer than most"}, {50, 3, "answer far shorter than most"}, {1000, 200, "prompt far longer than most"},
		{2, 200, "prompt far shorter than most"}} {
		if got := step.Apply(&document.Doc{Text: of(test.prompt, test.answer)}); got != test.want {
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
		d := &document.Doc{Text: r}
		got := ScriptMix{Keep: []string{"Latin"}, MaxOther: 0.1}.Step().Apply(d)
		if d.Notes()[0].Value != want || (got != "") != (want != "Latin") {
			t.Errorf("%s: %q, %v", r, got, d.Notes())
		}
	}
	twice := ScriptMix{Keep: []string{"Latin", "Latin"}, MaxOther: 0.5}.Step() // a script that is named twice counts once
	for text, want := range map[string]string{"abcd абвг": "", "abcd абвгд": "another script"} {
		if got := twice.Apply(&document.Doc{Text: curatetest.Record(map[string]any{"prompt": "1", "completion": text})}); got != want {
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
		if got := SameAnswers().Apply(&document.Doc{Text: r}); (got != "") != rejected {
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
		got := SameAnswers().Apply(&document.Doc{Text: curatetest.Record(map[string]any{"prompt": "p", "chosen": c.a, "rejected": c.b})}) != ""
		if got != c.same {
			t.Errorf("%q and %q: the same is %v, %q and %q", c.a, c.b, got, plainAnswer(c.a), plainAnswer(c.b))
		}
	}
}
