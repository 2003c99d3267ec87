package words

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLanguageSampleIsWholeWords(t *testing.T) {
	text := strings.Repeat("größer über Äpfel ", 100)
	for n := range 200 {
		for w := range strings.FieldsSeq(sampleOf(text, n)) {
			if n > 60 && !strings.Contains(text, " "+w+" ") && w != "größer" {
				t.Fatalf("a sample of %d has the broken word %q", n, w)
			}
		}
	}
	if s := sampleOf(strings.Repeat("人", 1000), 100); strings.ContainsRune(s, '\ufffd') || len(s) < 80 {
		t.Errorf("a sample without spaces is %q", s)
	}
}

// TestPiecesOfTexts: samples and whole words are parts of the text, between characters, and no longer than asked for.
func TestPiecesOfTexts(t *testing.T) {
	text := strings.Repeat("größe ändert über 天地玄黃\n", 40)
	for most := range 200 {
		got := sampleOf(text, most)
		if !utf8.ValidString(got) || most > 0 && len(got) > most+3 {
			t.Fatalf("a sample of %d bytes is %q", most, got)
		}
		for _, piece := range strings.Fields(got) {
			if most > 60 && !strings.Contains(" "+strings.ReplaceAll(text, "\n", " ")+" ", " "+piece+" ") {
				t.Fatalf("a sample of %d bytes has the word %q", most, piece)
			}
		}
	}
	if got := sampleOf("abc", 3); got != "abc" {
		t.Errorf("all of a text is %q", got)
	}
	for _, c := range []struct {
		from, to int
		want     string
	}{{0, 13, "one two three"}, {0, 11, "one two"}, {0, 3, "one"}, {4, 4, ""}, {1, 13, " two three"}, {1, 11, " two"}, {8, 13, "three"}} {
		if got := Whole("one two three", c.from, c.to); got != c.want {
			t.Errorf("the words from %d to %d are %q, want %q", c.from, c.to, got, c.want)
		}
	}
}
