package filters

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hone/data/curate/curatetest"
	"hone/data/curate/document"
	"hone/data/curate/spans"
)

// TestScoresOfRepetition: shares of the text's bytes in what stood before, not the other way round.
func TestScoresOfRepetition(t *testing.T) {
	d := &document.Doc{Text: "ab cd\n\nab cd\n\nx\nab cd\n"} // 22 bytes; one paragraph of 5 again, two lines of 5
	(GopherRepetition{}).Step().Apply(d)
	want := map[string]any{"gopher_repetition.dup_paragraph_chars": 0.2273, "gopher_repetition.dup_line_chars": 0.4545}
	if diff := cmp.Diff(want, d.Scores()); diff != "" {
		t.Error(diff)
	}
	n := &document.Doc{Text: "añb"}
	Length{}.Step().Apply(n)
	if diff := cmp.Diff(map[string]any{"length.characters": 3.0}, n.Scores()); diff != "" {
		t.Error(diff)
	}
}

// TestQuickLooksAreNarrow: what is looked for before the slow expressions is not in every text with points and signs.
func TestQuickLooksAreNarrow(t *testing.T) {
	for text, want := range map[string]bool{
		"1.2.3.4": true, "x1.22.333.4": true, "1.2.34567.8": false, "1.2.3": false, "1.2.3.": false, "1.2..3.4": false, "1.2 3.4.5": false, "1.2.a.3.4": false, "1234.5.6.7": true, "": false, ".1.2.3.4": true,
	} {
		if got := hasDottedNumbers(text); got != want {
			t.Errorf("%q is looked at: %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{"+1": true, "+": false, "a+b": false, "a++1": true, "1+": false, "+ 1": false, "": false} {
		if got := hasPlusDigit(text); got != want {
			t.Errorf("%q is looked at: %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{"a\tb\n": true, "a\rb": false, "a\x7f": false, "a\x1f": false, "é": false, "": true, "~ ": true} {
		if got := plainASCII(text); got != want {
			t.Errorf("%q has nothing to mend: %v, want %v", text, got, want)
		}
	}
}

// TestValuesThatJustMean: zeros are bounds that do not hold, and no errors.
func TestValuesThatJustMean(t *testing.T) {
	if err := (ScriptMix{}).Validate(); err != nil {
		t.Error(err)
	}
	if _, err := (Refusals{}).Step(); err != nil {
		t.Error(err)
	}
	if _, err := (Refusals{Within: -1}).Step(); err == nil || !strings.Contains(err.Error(), "refusals.within is -1") {
		t.Error(err)
	}
	if got := (ScriptMix{Keep: []string{"Latin"}}).Step().Apply(&document.Doc{Text: curatetest.Record(map[string]any{"prompt": "1", "completion": "2"})}); got != "" {
		t.Errorf("a record without letters is %q", got)
	}
}

// TestScoresByHand: what the rules of Gopher and for code note of a document, each number from its definition.
func TestScoresByHand(t *testing.T) {
	d := &document.Doc{Text: "the cat # of a1 ...\n- x…"} // 8 words of 17 characters in 2 lines
	(GopherQuality{}).Step().Apply(d)
	want := map[string]any{"gopher_quality.words": 8.0, "gopher_quality.word_length": 2.125, "gopher_quality.letters": 0.625, "gopher_quality.stop_words": 2.0,
		"gopher_quality.hash_signs": 0.125, "gopher_quality.ellipses": 0.25, "gopher_quality.bullets": 0.5, "gopher_quality.cut_lines": 1.0}
	if diff := cmp.Diff(want, d.Scores()); diff != "" {
		t.Error(diff)
	}
	c := &document.Doc{Text: "ab\ncdef\n1\n"} // 7 of 10 characters in 3 lines
	(Code{}).Step().Apply(c)
	if diff := cmp.Diff(map[string]any{"code.longest_line": 4.0, "code.mean_line": 2.3333, "code.alphanumeric": 0.7}, c.Scores()); diff != "" {
		t.Error(diff)
	}
}

// TestValidatesEachSide of what the sections of recipes may hold.
func TestValidatesEachSide(t *testing.T) {
	for want, err := range map[string]error{
		"decontaminate.min_words 0":       Decontaminate{NGram: 13, MinWords: 0, Action: "cut", Pieces: 1}.Validate(),
		"decontaminate.action is \"ask\"": Decontaminate{NGram: 1, MinWords: 1, Action: "ask", Pieces: 1}.Validate(),
		"x.min_chars is -1":               spans.Repeats{MinChars: -1}.Validate("x"),
		"x.min_left -1":                   spans.Repeats{MinLeft: -1}.Validate("x"),
		"words.max_share -1":              Words{MaxShare: -1}.Validate(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for name, err := range map[string]error{
		"decontaminate": Decontaminate{NGram: 1, MinWords: 1, Action: "cut", Pieces: 1}.Validate(), "words": Words{}.Validate(), "repeats": spans.Repeats{}.Validate("x"),
	} {
		if err != nil {
			t.Errorf("%s at its least: %v", name, err)
		}
	}
}

// TestFencesHaveWidth: outliers are asked for at some distance, which is a number.
func TestFencesHaveWidth(t *testing.T) {
	for _, fence := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := (Outliers{Fence: fence}).Step(t.Context(), curatetest.Stream(nil, curatetest.GoOn), 1); err == nil || !strings.Contains(err.Error(), "outliers.fence is") {
			t.Errorf("%v: %v", fence, err)
		}
	}
	broken := errors.New("broken")
	if _, err := DefaultOutliers().Step(t.Context(), curatetest.Stream(curatetest.Documents([]string{"{}"}), func(int) error { return broken }), 1); err != broken {
		t.Errorf("records that cannot be read: %v", err)
	}
}

// TestHalfOfAPair: a record with one answer of a preference alone is a preference that lacks the other, not an example.
func TestHalfOfAPair(t *testing.T) {
	for _, record := range []string{`{"prompt":"a","chosen":"b"}`, `{"prompt":"a","rejected":"b"}`, `{"prompt":"a","completion":"c","chosen":"b"}`, `{"prompt":"a","completion":"c","rejected":"b"}`} {
		if got := Format().Apply(&document.Doc{Text: record}); !strings.Contains(got, "chosen") {
			t.Errorf("%s is rejected because of %q", record, got)
		}
	}
}
