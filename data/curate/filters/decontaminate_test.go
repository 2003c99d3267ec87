package filters

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/data/curate/curatetest"
	"hone/data/curate/document"
	"hone/data/curate/words"
)

// evaluationFiles are two benchmarks.
func evaluationFiles(t testing.TB) []string {
	t.Helper()
	dir := t.TempDir()
	quiz := `{"question": "Which river flows through the town where the old captain mended his broken ship before the quiet winter came?", "choices": ["Elbe", "Oder"], "answer": 1}
{"question": "How many stones are in nine houses of the road?", "answer": "81"}
{"question": "Two plus two?", "answer": "four"}
`
	exam := `{"prompt": ["人人生而自由在尊严和权利上一律平等他们赋有理性和良心"]}` + "\n"
	var paths []string
	for name, text := range map[string]string{"quiz.jsonl": quiz, "exam.jsonl": exam} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestDecontaminate(t *testing.T) {
	c := DefaultDecontaminate()
	c.Against = evaluationFiles(t)
	step, note, err := c.Step()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(note, "1 of 4 records") {
		t.Errorf("the note about short records is %q", note)
	}
	own := curatetest.Prose(30)
	for _, x := range []struct{ name, text, want string }{
		{"another text", own, ""},
		{"nothing", "", ""},
		{"twelve words of a record", own + "which river flows through the town where the old captain mended his", ""},
		{"thirteen words of a record", own + "Which RIVER flows, through the town where the old captain mended his -- broken!", "overlaps quiz.jsonl"},
		{"a whole short record", "How many stones are in nine houses of the road? " + own, "overlaps quiz.jsonl"},
		{"part of a short record", "many stones are in nine houses of the road, " + own, ""},
		{"a record without spaces", "他说:人人生而自由,在尊严和权利上一律平等。", "overlaps exam.jsonl"},
		{"the answers", "Elbe Oder 81 four", ""},
	} {
		if got := step.Apply(&document.Doc{Text: x.text}); got != x.want {
			t.Errorf("%s is rejected because of %q, want %q", x.name, got, x.want)
		}
	}
	c.MaxShare = 0.5
	if step, _, err = c.Step(); err != nil {
		t.Fatal(err)
	}
	question := "which river flows through the town where the old captain mended his broken ship before the quiet winter came"
	d := &document.Doc{Text: question + " " + strings.Repeat("other words ", 30)}
	if got := step.Apply(d); got != "" || d.Scores()["decontaminate.ngrams"] != 7.0 || d.Scores()["decontaminate.share"] != 0.2405 {
		t.Errorf("rejected because of %q with %v", got, d.Scores())
	}
	if got := step.Apply(&document.Doc{Text: question + " and so on"}); got != "overlaps quiz.jsonl" {
		t.Errorf("mostly a question is rejected because of %q", got)
	}
}

func TestDecontaminateCuts(t *testing.T) {
	c := DefaultDecontaminate()
	c.Against, c.Action, c.Around, c.Pieces = evaluationFiles(t), "cut", 100, 2
	step, _, err := c.Step()
	if err != nil {
		t.Fatal(err)
	}
	question := "Which river flows through the town where the old captain mended his broken ship before the quiet winter came?\n"
	text := curatetest.Prose(8) + question + curatetest.Prose(9)
	d := &document.Doc{Text: text}
	if got := step.Apply(d); got != "" {
		t.Fatalf("rejected because of %q", got)
	}
	before, after, ok := strings.Cut(d.Text, "\n\n")
	if !ok || !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after+"\n") || len(d.Text) > len(text)-len(question)-190 || len(d.Text) < len(text)-len(question)-250 {
		t.Errorf("of %d bytes %d are left:\n%s", len(text), len(d.Text), d.Text)
	}
	if got := step.Apply(&document.Doc{Text: strings.Join([]string{curatetest.Prose(8), curatetest.Prose(9), curatetest.Prose(10), curatetest.Prose(11)}, question)}); got != "overlaps quiz.jsonl" {
		t.Errorf("a document in four pieces is rejected because of %q", got)
	}
	if got := step.Apply(&document.Doc{Text: "short. " + question}); got != "overlaps quiz.jsonl" {
		t.Errorf("a document of which nothing is left is rejected because of %q", got)
	}
}

func TestDecontaminateRefusesWhatCannotBeMeant(t *testing.T) {
	for _, change := range []func(*Decontaminate){
		func(c *Decontaminate) { c.NGram = 0 }, func(c *Decontaminate) { c.MinWords = 14 }, func(c *Decontaminate) { c.MaxShare = 1 },
		func(c *Decontaminate) { c.Action = "mask" }, func(c *Decontaminate) { c.Pieces = 0 },
	} {
		c := DefaultDecontaminate()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if change(&c); c.Validate() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if _, _, err := DefaultDecontaminate().Step(); err == nil {
		t.Error("no evaluation is accepted")
	}
	c := DefaultDecontaminate()
	c.Against = []string{filepath.Join(t.TempDir(), "x.csv")} // column names alone
	if err := os.WriteFile(c.Against[0], []byte("question,answer\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Step(); err == nil || !strings.Contains(err.Error(), "has no records") {
		t.Errorf("an evaluation without records: %v", err)
	}
}

// TestGramsAreThoseOfTheirWords: the hash of n words does not depend on what was before them.
func TestGramsAreThoseOfTheirWords(t *testing.T) {
	list := words.Spans(curatetest.Prose(20), 1000, nil)
	for _, n := range []int{1, 2, 13} {
		words.EachGram(list, n, func(i int, key uint64) {
			words.EachGram(list[i:i+n], n, func(_ int, alone uint64) {
				if alone != key {
					t.Fatalf("%d list at %d have another hash alone", n, i)
				}
			})
		})
	}
	if got := fmt.Sprint(len(words.Spans("a B-c, d1 人们 x", 100, nil))); got != "7" {
		t.Errorf("%s words", got)
	}
}

// TestStringsInTheirOrder: keys are none, and a short question stands in front of its answers as in the record.
func TestStringsInTheirOrder(t *testing.T) {
	got, err := stringsOf([]byte(`{"question": "a", "choices": ["b", {"text": "c", "n": 1, "more": {"x": null, "y": []}}, "d"], "empty": {}, "answer": "e"}`))
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "e"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := stringsOf([]byte(`{"a" 1}`)); err == nil {
		t.Error("no JSON is read")
	}
}
