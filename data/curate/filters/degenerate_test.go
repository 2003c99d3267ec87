package filters

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"hone/data/curate/classifier"
	"hone/data/curate/curatetest"
	"hone/data/curate/document"
)

// everyStep is one of each step that looks at a document alone.
func everyStep(t *testing.T) []document.Step {
	t.Helper()
	list := curatetest.ListFile(t, "darn", "悪い")
	against := DefaultDecontaminate()
	against.Against, against.Action, against.Around = evaluationFiles(t), "cut", 10
	decontaminate, _, err := against.Step()
	if err != nil {
		t.Fatal(err)
	}
	urls := DefaultURLs()
	urls.Hosts, urls.Words = []string{list}, []string{list}
	made := map[string]func() (document.Step, error){"urls": urls.Step, "words": Words{Lists: []string{list}}.Step, "refusals": DefaultRefusals().Step,
		"outliers": func() (document.Step, error) {
			return DefaultOutliers().Step(t.Context(), curatetest.Stream(curatetest.Documents(curatetest.Degenerate), curatetest.GoOn), 2)
		}}
	judge := &classifier.Model{NGram: 2, Words: 50, Weights: make([]float32, 256)}
	steps := []document.Step{Mend(), DefaultPII().Step(), Length{MinChars: 5, MaxChars: 50}.Step(), DefaultLanguage().Step(), DefaultGopherQuality().Step(), DefaultGopherRepetition().Step(), DefaultC4().Step(),
		DefaultFineWeb().Step(), DefaultCode().Step(), decontaminate, judge.Step(0.5), Format(), SameAnswers(), ScriptMix{Keep: []string{"Latin"}}.Step()}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		s, err := made[name]()
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s, document.OnTalk(s, true))
	}
	return steps
}

// TestDegenerateDocuments: no step fails at one; each says the same twice, in words that do not depend on the document, notes no number that JSON
// has not, and leaves UTF-8 as it was.
func TestDegenerateDocuments(t *testing.T) {
	for _, s := range everyStep(t) {
		for _, text := range curatetest.Degenerate {
			a, b := &document.Doc{Text: text, URL: text[:min(50, len(text))]}, &document.Doc{Text: text, URL: text[:min(50, len(text))]}
			first, again := s.Apply(a), s.Apply(b)
			if first != again || a.Text != b.Text || fmt.Sprint(a.Notes()) != fmt.Sprint(b.Notes()) {
				t.Errorf("%s of %.20q: %q and %q", s.Name, text, first, again)
			}
			if strings.ContainsFunc(first, func(r rune) bool { return '0' <= r && r <= '9' }) || len(first) > 200 {
				t.Errorf("%s rejects %.20q because of %q", s.Name, text, first)
			}
			if utf8.ValidString(text) && !utf8.ValidString(a.Text) {
				t.Errorf("%s breaks %.20q", s.Name, text)
			}
			for _, n := range a.Notes() {
				if v, ok := n.Value.(float64); ok && (math.IsNaN(v) || math.IsInf(v, 0)) {
					t.Errorf("%s of %.20q notes %v", s.Name, text, n)
				}
			}
		}
	}
}
