package filters

import (
	"strings"
	"testing"

	"hone/data/curate/document"
	"hone/data/curate/words"
)

// TestWordsHaveTheirMarks: vowels that are written as marks are part of words, which differ by them.
func TestWordsHaveTheirMarks(t *testing.T) {
	for text, want := range map[string]string{"Das  Haus, IST 3-mal gro\u0308\u00dfer!": "das haus ist 3 mal gro\u0308\u00dfer", "हिन्दी की किताब।": "हिन्दी की किताब", "كِتَابٌ؟": "كِتَابٌ"} {
		if got := strings.Join(words.Normal(text), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if reason := SameAnswers().Apply(&document.Doc{Text: `{"prompt":"p","chosen":"राम की किताब","rejected":"राम का कताब"}`}); reason != "" {
		t.Errorf("answers that differ in vowels: %s", reason)
	}
}
