package filters

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"hone/data/curate/curatetest"
	"hone/data/curate/document"
)

// TestFiltersWithoutSpaces: what counts words does not take a passage for a single long word.
func TestFiltersWithoutSpaces(t *testing.T) {
	quality, repetition := DefaultGopherQuality(), DefaultGopherRepetition()
	quality.MinStopWords = 0 // those are English
	for language, passage := range curatetest.Rights(t) {
		text := passage[0] + passage[1]
		for name, apply := range map[string]func(*document.Doc) string{"gopher_quality": quality.apply, "gopher_repetition": repetition.apply} {
			if reason := apply(&document.Doc{Text: text}); reason != "" {
				t.Errorf("%s: %s rejects the passages: %s", language, name, reason)
			}
		}
		first, _, _ := strings.Cut(text, " ")
		if reason := quality.apply(&document.Doc{Text: string([]rune(first)[:min(20, utf8.RuneCountInString(first))])}); reason != "too few words" {
			t.Errorf("%s: twenty characters: %q", language, reason)
		}
		if reason := repetition.apply(&document.Doc{Text: strings.Repeat(string([]rune(text)[:40]), 10)}); reason == "" {
			t.Errorf("%s: ten times forty characters are kept", language)
		}
		if !(C4{MinWords: 3, MaxWordLength: 1000}).keeps(passage[0]) {
			t.Errorf("%s: c4 drops a line", language)
		}
	}
	// three sentences in a line without spaces, and a few short names and numbers that are no words to judge by their length
	if n := countSentences("你好。世界！再见？"); n != 3 {
		t.Errorf("%d sentences, want 3", n)
	}
	if reason := quality.apply(&document.Doc{Text: "A 1 b 2 " + strings.Repeat("人人生而自由", 20)}); reason != "" {
		t.Errorf("short words among Chinese ones: %s", reason)
	}
	if reason := quality.apply(&document.Doc{Text: strings.Repeat("a b ", 100) + "人人生而自由"}); reason != "short words" {
		t.Errorf("short words with a few Chinese ones: %q", reason)
	}
}

// TestPhrasesWithoutSpaces: two words are four ideographs or six characters of Thai, without spaces between them.
func TestPhrasesWithoutSpaces(t *testing.T) {
	for text, want := range map[string][2]int{ // top and again of 2 words
		"春眠不觉晓春眠不觉":     {2 * 12, 12},
		"春眠不晓春眠不":       {0, 0},
		"ラーメンがラーメン":     {2 * 12, 12},
		"ラーメがラーメ":       {0, 0},
		"กขคงจฉากขคงจฉ": {2 * 18, 18},
		"กขคงจากขคงจ":   {0, 0},
		"Go 语言 Go 语言":   {2 * (3 + 6), 3 + 6},
	} {
		p := newPhrases(&document.Doc{Text: text})
		if top, again := p.top(2), p.again(2); top != want[0] || again != want[1] {
			t.Errorf("%q: %d bytes of the most frequent phrase and %d again, want %v", text, top, again, want)
		}
	}
}

// TestWeightsOfWords: a syllable of Tibetan counts for half a word, one at the end of a sentence, too.
func TestWeightsOfWords(t *testing.T) {
	got := newPhrases(&document.Doc{Text: "བོད་སྐད། 人 ดี ꦧ ok"}).weights
	if want := []int{ideograph, ideograph, ideograph, cluster, cluster, wholeWord}; !slices.Equal(got, want) {
		t.Errorf("the words count for %v, want %v", got, want)
	}
}
