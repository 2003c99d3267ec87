package curate

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate/curatetest"
	"hone/data/curate/document"
)

func TestLookCountsEverything(t *testing.T) {
	var docs []data.Document
	words := func(s string) int { return len(strings.Fields(s)) }
	want := Survey{Duplicates: Count{Documents: 100, Bytes: 100 * int64(len("a copy\nof it\n"))}, InvalidUTF8: 1}
	for i := range 3000 {
		text := fmt.Sprintf("document %d\n}\n  a line of all \n", i)
		switch {
		case i%30 == 1 || i == 3:
			text = "a copy\nof it\n"
		case i == 5:
			text = "слово\xff"
		}
		docs = append(docs, data.Document{Text: []byte(text), Source: fmt.Sprintf("d/%d.%s.gz", i, []string{"go", "txt"}[i%2]), Record: 1})
		want.Documents++
		want.Bytes += int64(len(text))
		want.Characters += int64(len([]rune(text)))
		want.Words += int64(words(text))
		want.Lines += int64(strings.Count(text, "\n"))
	}
	want.Lines++ // the one without an end
	tokens := func() func(string) int { return words }
	var first string
	for _, cfg := range []SurveyConfig{{Workers: 1}, {Workers: 4, SortEntries: 100}} {
		cfg.Tokens, cfg.CommonLines = tokens, 2
		s, err := Look(t.Context(), curatetest.Stream(docs, curatetest.GoOn), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if s.Documents != want.Documents || s.Bytes != want.Bytes || s.Characters != want.Characters || s.Words != want.Words || s.Tokens != want.Words ||
			s.Lines != want.Lines || s.Duplicates != want.Duplicates || s.InvalidUTF8 != 1 {
			t.Errorf("%+v, want %+v", s, want)
		}
		if len(s.Extensions) != 2 || s.Extensions[0].Documents != 1500 || s.Extensions[0].Name != ".go" {
			t.Errorf("extensions %+v", s.Extensions)
		}
		if len(s.Scripts) != 2 || s.Scripts[1] != (Part{"Cyrillic", 1, 5, s.Scripts[1].Share}) {
			t.Errorf("scripts %+v", s.Scripts)
		}
		if n := len(s.Languages); n == 0 || s.Languages[0].Bytes == 0 {
			t.Errorf("languages %+v", s.Languages)
		}
		if got := fmt.Sprint(s.CommonLines, s.LinesMissed); got != "[{a line of all 2898} {a copy 101}] 0" {
			t.Errorf("lines %s", got)
		}
		if l := s.Lengths["words"]; l.Min != 1 || l.P50 != 7 || l.Max != 7 || math.Abs(l.Mean-float64(s.Words)/3000) > .01 {
			t.Errorf("lengths %+v", l)
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(text)
		} else if first != string(text) {
			t.Error("the survey depends on the workers or on what is in memory")
		}
	}
}

// TestLookSamplesLanguages of one document in eight: the first sixteen of each 128.
func TestLookSamplesLanguages(t *testing.T) {
	docs := slices.Repeat([]data.Document{{Text: []byte("ten bytes!")}}, document.BatchDocs+languageDocs+1)
	s, err := Look(t.Context(), curatetest.Stream(docs, curatetest.GoOn), SurveyConfig{Workers: 2})
	if err != nil || len(s.Languages) != 1 || s.Languages[0].Bytes != 10*2*languageDocs || languageDocs*8 != document.BatchDocs {
		t.Errorf("%+v, %v", s.Languages, err)
	}
}

func TestLookPassesErrorsOn(t *testing.T) {
	docs := corpus(2000)
	broken := fmt.Errorf("broken")
	if _, err := Look(t.Context(), curatetest.Stream(docs, func(i int) error {
		if i == 900 {
			return broken
		}
		return nil
	}), SurveyConfig{Workers: 3}); err != broken {
		t.Errorf("error %v", err)
	}
	s, err := Look(t.Context(), curatetest.Stream(nil, curatetest.GoOn), SurveyConfig{Workers: 2, CommonLines: 3})
	if err != nil || s.Documents != 0 || len(s.CommonLines) != 0 {
		t.Errorf("%+v, error %v", s, err)
	}
}

func TestCommonLinesAreBounded(t *testing.T) {
	c, missed := commonLines{}, int64(0)
	for batch := range 20 { // the limit is reached twice
		b := commonLines{}
		for i := range 20_000 {
			b.add(fmt.Sprintf("line %d of batch %d", i, batch))
			if i%20 == 0 {
				b.add("often")
			}
		}
		missed += c.merge(b)
		if len(c) > commonLimit {
			t.Fatalf("%d lines", len(c))
		}
	}
	top := c.top(3, missed)
	if len(top) != 1 || top[0].Text != "often" || top[0].Count+missed < 20_000 || top[0].Count > 20_000 {
		t.Errorf("%v, %d taken", top, missed)
	}
}

func TestSampleIsUniform(t *testing.T) {
	docs := make([]data.Document, 100)
	for i := range docs {
		docs[i] = data.Document{Record: i}
	}
	const rounds, n = 4000, 10
	counts := make([]float64, len(docs))
	for seed := range uint64(rounds) {
		drawn, seen, err := Sample(curatetest.Stream(docs, curatetest.GoOn), n, seed)
		if err != nil || len(drawn) != n || seen != 100 {
			t.Fatalf("%d of %d, error %v", len(drawn), seen, err)
		}
		for i, d := range drawn {
			counts[d.Record]++
			if i > 0 && drawn[i-1].Record >= d.Record {
				t.Fatal("the order of the corpus is lost, or a document is there twice")
			}
		}
	}
	chi, expected := 0.0, float64(rounds*n/len(docs))
	for _, c := range counts {
		chi += (c - expected) * (c - expected) / expected
	}
	if chi > 99+5*math.Sqrt(2*99) { // 99 degrees of freedom, five standard deviations
		t.Errorf("chi square %.0f", chi)
	}
	all, _, err := Sample(curatetest.Stream(docs[:3], curatetest.GoOn), 10, 1)
	if err != nil || len(all) != 3 {
		t.Errorf("%d of 3, error %v", len(all), err)
	}
}

// TestExtensions are those of files' contents.
func TestExtensions(t *testing.T) {
	for path, want := range map[string]string{"a.txt.zst": ".txt", "a.JSONL.GZ": ".jsonl", "a": "none", "a.gz": "none", "a.go": ".go"} {
		if got := extension(path); got != want {
			t.Errorf("the extension of %s is %s, want %s", path, got, want)
		}
	}
}
