package filters

import (
	"strings"
	"testing"

	"hone/data/curate/curatetest"
	"hone/data/curate/document"
)

// bounded is a rule with one bound, and two texts: the first is as far as the bound allows, the second a bit further.
type bounded struct {
	name         string
	step         document.Step
	within, past string
	reason       string // why the second is rejected
}

// TestBounds: what is at a bound stays, what is just past it goes, for the reason of that rule.
func TestBounds(t *testing.T) {
	gopher := func(c GopherQuality) document.Step { return c.Step() }
	repetition := func(c GopherRepetition) document.Step { return c.Step() }
	web := func(c FineWeb) document.Step { return c.Step() }
	c4 := func(c C4) document.Step { return c.Step() }
	code := func(c Code) document.Step { return c.Step() }
	ä := func(n int) string { return strings.Repeat("ä", n) }
	for _, b := range []bounded{
		{"length, least", Length{MinChars: 10}.Step(), ä(10), ä(9), "too short"},
		{"length, most", Length{MaxChars: 10}.Step(), ä(10), ä(11), "too long"},

		{"words, least", gopher(GopherQuality{MinWords: 3}), "a b c", "a b", "too few words"},
		{"words, most", gopher(GopherQuality{MaxWords: 3}), "a b c", "a b c d", "too many words"},
		{"word length, least", gopher(GopherQuality{MinWordLength: 2}), "ä äbb bb", "ä äb äb", "short words"},
		{"word length, most", gopher(GopherQuality{MaxWordLength: 2}), "ä äbb bb", "äb bbb äb", "long words"},
		{"hash signs", gopher(GopherQuality{MaxSymbols: 0.5}), "#a b", "#a #b c", "hash signs"},
		{"ellipses", gopher(GopherQuality{MaxSymbols: 0.5}), "a... b", "a… b... c", "ellipses"},
		{"bullets", gopher(GopherQuality{MaxBullets: 0.5}), "- a\nb\n\n", "• a\n - b\nc", "bullet lists"},
		{"cut lines", gopher(GopherQuality{MaxEllipses: 0.5}), "a...\nb", "a... \nb…\nc", "lines cut short"},
		{"letters", gopher(GopherQuality{MinLetters: 0.5}), "ä 1", "ä 1 2", "words without letters"},
		{"stop words", gopher(GopherQuality{MinStopWords: 2}), "the of", "the the The", "no English function words"},

		{"lines that stood before", repetition(GopherRepetition{DupLines: 0.5}), "ab\nab", "ab\nab\nab", "repeated lines"},
		{"their characters", repetition(GopherRepetition{DupLineChars: 0.4}), "ab\nab", "abc\nabc", "repeated lines"},
		{"paragraphs that stood before", repetition(GopherRepetition{DupParagraphs: 0.5}), "ab\n\nab", "ab\n\nab\n\nab", "repeated paragraphs"},
		{"theirs", repetition(GopherRepetition{DupParagraphChars: 0.4}), "abcd\n\nabcd", "abcde\n\nabcde", "repeated paragraphs"},
		{"the most frequent pair", repetition(GopherRepetition{TopNGrams: []float64{6.0 / 13}}), "a b a b wordy", "a b a b word", "one phrase over and over"},
		{"five words again", repetition(GopherRepetition{DupNGrams: []float64{9.0 / 20}}), "a b c d e  a b c d e", "a b c d e a b c d e", "repeated phrases"},

		{"sentences", c4(C4{MinSentences: 2}), "One. Two.", "One and two.", "too few sentences"},
		{"words of a line", c4(C4{MinSentences: 1, MinWords: 3}), "One, two, three.", "One, two.", "too few sentences"},
		{"longest word", c4(C4{MinSentences: 1, MaxWordLength: 5}), ä(4) + ".", ä(5) + ".", "too few sentences"},
		{"punctuation of lines", c4(C4{MinSentences: 1, Punctuation: true}), "One (two.)", "One two", "too few sentences"},

		{"lines that end", web(FineWeb{MinPunctuation: 0.5}), "One.\ntwo", "One.\ntwo\nthree", "lines without punctuation"},
		{"short lines", web(FineWeb{MaxShortLines: 0.5}), ä(30) + "\n" + ä(31), ä(30) + "\n" + ä(30) + "\n" + ä(31), "short lines"},
		{"lines again", web(FineWeb{MaxDupChars: 0.25}), "abcd\nab\nab", "abc\nab\nab", "repeated lines"},
		{"line ends", web(FineWeb{MaxNewlines: 0.5}), "a b\n", "a b\nc\n", "more lines than sentences"},

		{"longest line", code(Code{MaxLineLength: 5}), "abcde\r\nab\n", "ab\nabcdef\n", "long lines"},
		{"mean line", code(Code{MaxMeanLine: 4}), "abcde\nabc\n", "abcde\nabcd\n", "long lines on average"},
		{"letters of code", code(Code{MinAlphanumeric: 0.5}), "a1{}", "a1{}\n", "few letters"},

		{"listed words", listed(t, Words{MaxCount: 1}), "darn it", "darn darn", "listed words"},
		{"their share", listed(t, Words{MaxShare: 0.5}), "darn it", "darn it darn", "listed words"},
	} {
		if got := b.step.Apply(&document.Doc{Text: b.within}); got != "" {
			t.Errorf("%s: %q is rejected because of %q", b.name, b.within, got)
		}
		if got := b.step.Apply(&document.Doc{Text: b.past}); got != b.reason {
			t.Errorf("%s: %q is rejected because of %q, want %q", b.name, b.past, got, b.reason)
		}
	}
}

// listed is the step of a list with the word darn.
func listed(t *testing.T, c Words) document.Step {
	t.Helper()
	c.Lists = []string{curatetest.ListFile(t, "darn")}
	s, err := c.Step()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestBoundsOfNothing: bounds that are 0 do not hold, so that a rule without any keeps every text.
func TestBoundsOfNothing(t *testing.T) {
	texts := []string{"", " \n", "x", "a a a a a a a a a a a a\na\na\na\n\na\n\na", strings.Repeat("# ... -\n", 50), strings.Repeat("ä", 5000), curatetest.Prose(5), "\xff\xfe"}
	for _, s := range []document.Step{Length{}.Step(), GopherQuality{}.Step(), GopherRepetition{}.Step(), C4{}.Step(), Code{}.Step(), PII{}.Step(), Language{}.Step()} {
		for _, text := range texts {
			if got := s.Apply(&document.Doc{Text: text}); got != "" {
				t.Errorf("%s without bounds rejects %.40q because of %q", s.Name, text, got)
			}
		}
	}
	web := FineWeb{}.Step()
	for _, text := range texts {
		if got := web.Apply(&document.Doc{Text: text}); got != "" && strings.TrimSpace(text) != "" {
			t.Errorf("fineweb without bounds rejects %.40q because of %q", text, got)
		}
	}
}

// TestFencesAreWithin: the lengths at the fences are no outliers.
func TestFencesAreWithin(t *testing.T) {
	f := fences{low: 10, high: 100}
	for n, want := range map[int]string{0: "", 9: "answer far shorter than most", 10: "", 100: "", 101: "answer far longer than most"} {
		if got := f.outside(n, "answer"); got != want {
			t.Errorf("%d characters: %q, want %q", n, got, want)
		}
	}
	alike := document.Distribution{}
	alike.Add(50, document.LengthDigits, true)
	if f := (Outliers{Fence: 3}).fences(alike); f.low >= 50 || f.high <= 50 || f.outside(50, "x") != "" {
		t.Errorf("fences of lengths that are all alike: %+v", f)
	}
}

// TestWithinCountsCharacters: a phrase of a refusal counts where it stands within so many characters, of whatever script.
func TestWithinCountsCharacters(t *testing.T) {
	step, err := Refusals{Within: 14, Lists: []string{curatetest.ListFile(t, "拒绝")}}.Step()
	if err != nil {
		t.Fatal(err)
	}
	for before, refused := range map[int]bool{0: true, 12: true, 13: false, 40: false} {
		answer := strings.Repeat("好", before) + "拒绝"
		if got := step.Apply(&document.Doc{Text: curatetest.Record(map[string]any{"prompt": "a", "completion": answer})}); (got != "") != refused {
			t.Errorf("behind %d characters: %q", before, got)
		}
	}
	for n, want := range map[int]string{0: "añb", 1: "a", 2: "añ", 3: "añb", 4: "añb"} {
		if got := firstRunes("añb", n); got != want {
			t.Errorf("the first %d characters are %q", n, got)
		}
	}
}
