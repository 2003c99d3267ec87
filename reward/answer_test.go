package reward

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
)

// TestSpecsAreRefused: each with one sentence that says what to write.
func TestSpecsAreRefused(t *testing.T) {
	for spec, want := range map[string]string{
		"length":          `reward "length" has no number of tokens above 0; write length:50`,
		"length:0":        `reward "length:0" has no number`,
		"length:ten":      `reward "length:ten" has no number`,
		"length:1e3":      `reward "length:1e3" has no number`,
		"format:(":        `reward "format:(": error parsing regexp: missing closing ): ` + "`(`" + `; write a regular expression`,
		"format:":         `reward "format:" has no pattern; write format:REGEX`,
		"format":          `reward "format" has no pattern`,
		"go_parser:x":     `reward "go_parser:x" has something behind go_parser, which takes nothing`,
		"gofmt:":          `reward "gofmt:" has something behind gofmt`,
		"program:":        "names no program; write program:PATH ARGUMENTS",
		"program:   ":     "names no program",
		"program:/no/one": "cannot be run: ",
	} {
		if _, ok, err := Parse(spec, Options{}); !ok || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, %v, want %q", spec, ok, err, want)
		}
	}
	for _, folder := range []string{"", "runs/x/model", "org/name", "go_parsers", "Length:5"} {
		if s, ok, err := Parse(folder, Options{}); s != nil || ok || err != nil {
			t.Errorf("%q is a rule: %v, %v", folder, ok, err)
		}
	}
}

// TestLengthByHand: from 0 at the number of tokens down to -1, in proportion on both sides.
func TestLengthByHand(t *testing.T) {
	s := mustParse(t, "length:50", Options{})
	for tokens, want := range map[int]float64{0: -1, 25: -0.5, 40: -0.2, 50: 0, 60: -0.2, 75: -0.5, 100: -1, 1000: -1} {
		got, err := s.Score(t.Context(), []Answer{{Tokens: tokens}})
		if err != nil || math.Abs(got[0]-want) > 1e-12 {
			t.Errorf("%d tokens score %v, want %v", tokens, got, want)
		}
	}
}

// TestRulesStop when they are cancelled, and score each answer by itself.
func TestRulesStop(t *testing.T) {
	s := mustParse(t, "format:^a", Options{})
	got, err := s.Score(t.Context(), []Answer{{Text: "ab"}, {Text: "ba"}, {Text: "a"}})
	if err != nil || !slices.Equal(got, []float64{1, 0, 1}) {
		t.Errorf("%v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Score(ctx, []Answer{{}}); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	if got, err := s.Score(ctx, nil); len(got) != 0 || err != nil {
		t.Errorf("of no answer: %v, %v", got, err)
	}
}

// TestGoInAnAnswer: where Go is looked for.
func TestGoInAnAnswer(t *testing.T) {
	const text = "Here it is:\n"
	for _, c := range []struct {
		name, prompt, answer string
		parses, formatted    bool
	}{
		{"a file", "", "package p\n\nvar x = 1\n", true, true},
		{"declarations", "Write Go.", "var x = 1\n", true, true},
		{"goes on from the prompt", "func f() {\n", "}\n", true, true},
		{"a fenced block with words around it", "Write Go.", text + "```go\nvar x = 1\n```\nThat is all.", true, true},
		{"the first block counts", "", "```\nvar x = 1\n```\n```\nvar x =\n```", true, true},
		{"and no other", "", "```\nvar x =\n```\n```\nvar x = 1\n```", false, false},
		{"a block that does not end is no block", "", "```go\nvar x = 1\n", false, false},
		{"nor is one on a line", "", "```var x = 1```", false, false},
		{"text beside a block is none of it, though it parses", "", "/*\n```\nvar x =\n```\n*/\nvar y = 1\n", false, false},
		{"nor does it make a block right that is not in its form", "var y = 1\n", "var z = 1\n/*\n```\nvar  x = 1\n```\n*/\n", true, false},
		{"a block in a list", "", "- This:\n  ```go\nvar x = 1\n```\n", true, true},
		{"a block of a comment is none", "", "// F is used so:\n//\n// ```go\n// F()\n// ```\nfunc F() {}\n", true, true},
		{"nor is one in a sentence", "", "var x = 1 // not ``` but `\n\n// ```\n", true, true},
		{"words alone", "", "I cannot.", false, false},
		{"a package clause alone declares nothing", "", "package p\n", false, false},
		{"nothing", "", "", false, false},
		{"another form", "", "var  x = 1\n", true, false},
		{"space at the end is no matter", "", "var x = 1\n\n\n", true, true},
		{"the prompt's own form counts where the answer goes on from it", "func f()  {\n", "}\n", true, false},
	} {
		if p, f := Parses(c.prompt, c.answer), Formatted(c.prompt, c.answer); p != c.parses || f != c.formatted {
			t.Errorf("%s: parses %v, formatted %v; want %v, %v", c.name, p, f, c.parses, c.formatted)
		}
	}
}

// TestLinesOfPrograms: what a program is given, and what is taken for a score.
func TestLinesOfPrograms(t *testing.T) {
	text, err := line(Answer{Prompt: "a\nb", Text: `"q"`, Tokens: 3, Ended: true})
	if want := `{"prompt":"a\nb","answer":"\"q\"","tokens":3,"ended":true}` + "\n"; err != nil || string(text) != want {
		t.Errorf("a program reads %s, %v; want %s", text, err, want)
	}
	for out, want := range map[string][]float64{"1\n2.5\n": {1, 2.5}, "\n 1e-3 \n\n{\"score\": -2, \"why\": \"x\"}": {0.001, -2}, "{\"Score\":0}\r\n-0.5\r\n": {0, -0.5}} {
		if got, err := readScores(strings.NewReader(out), 2); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q gives %v, %v; want %v", out, got, err, want)
		}
	}
	for out, want := range map[string]string{"1 2\n": `printed "1 2" for answer 1`, "1\n[2]\n": "for answer 2", "\"1\"\n": "neither a number", "{}\n": "neither a number", "1\n2\n3\n": "more than the 2 scores"} {
		if _, err := readScores(strings.NewReader(out), 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", out, err, want)
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(-1)} {
		if err := check([]float64{1, v}, 2); err == nil || !strings.Contains(err.Error(), "to answer 2") {
			t.Errorf("the score %v: %v", v, err)
		}
	}
}

// TestComplaintsAreBounded: the end of what a program says, which has the reason.
func TestComplaintsAreBounded(t *testing.T) {
	said := &tail{}
	if got := said.String(); got != "it said nothing" {
		t.Errorf("nothing is %q", got)
	}
	for range 1000 {
		if n, err := said.Write([]byte("line of noise\n")); n != 14 || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, err := said.Write([]byte("the reason\n ")); err != nil || len(said.text) != mostErrors || !strings.HasSuffix(said.String(), "\nthe reason") {
		t.Errorf("%d bytes are kept: %q", len(said.text), said.String())
	}
	if _, err := said.Write([]byte(strings.Repeat("x", 2*mostErrors))); err != nil || said.String() != strings.Repeat("x", mostErrors) {
		t.Errorf("of a long line %q is kept", said.String())
	}
}
