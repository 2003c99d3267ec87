package curate

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// rights are two passages each of the Universal Declaration of Human Rights, articles 1, 2 and 7, and 8, 10 and 11, in languages without spaces between words.
func rights(t *testing.T) map[string][2]string {
	text, err := os.ReadFile("testdata/rights.json")
	if err != nil {
		t.Fatal(err)
	}
	passages := map[string][2]string{}
	if err := json.Unmarshal(text, &passages); err != nil || len(passages) != 6 {
		t.Fatal(len(passages), err)
	}
	return passages
}

// TestWordsWithoutSpaces: where words begin, with punctuation and what is compared, in text of several scripts.
func TestWordsWithoutSpaces(t *testing.T) {
	for text, want := range map[string][2]string{
		"「你好，世界」 用Go写 3个":   {"「你|好，|世|界」|用|Go|写|3|个", "你|好|世|界|用|go|写|3|个"},
		"ラーメン 食べる。":         {"ラ|ー|メ|ン|食|べ|る。", "ラ|ー|メ|ン|食|べ|る"},
		"ที่นี่ (ABC)ดี":    {"ที่|นี่|(ABC)|ดี", "ที่|นี่|abc|ดี"},
		"…ກິນ\u3000ເຂົ້າ":   {"…ກິ|ນ|ເ|ຂົ້|າ", "ກິ|ນ|ເ|ຂົ້|າ"},
		"한국어 조사는 don't ‑ é": {"한국어|조사는|don't|‑|é", "한국어|조사는|don|t|é"},
		"\xff人\xe4\xba":     {"\xff人\xe4\xba", "人"},
		"，人":                {"，人", "人"},
	} {
		if got := strings.Join(fields(text), "|"); got != want[0] || countWords(text) != len(fields(text)) {
			t.Errorf("%q: %d words, %q, want %q", text, countWords(text), got, want[0])
		}
		if got := strings.Join(normalWords(text), "|"); got != want[1] {
			t.Errorf("%q is compared by %q, want %q", text, got, want[1])
		}
	}
}

// TestCountIsThatOfFields: words are counted without being cut, whatever stands beside what.
func TestCountIsThatOfFields(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	runes := []rune("aé한9-。 \t\u3000人ーカท\u0e35\u0301\ufffd\b\r\x0e\x1f!\x7f")
	for n := range 5000 {
		text := make([]rune, r.IntN(40))
		for i := range text {
			text[i] = runes[r.IntN(len(runes))]
			if n%2 == 0 && r.IntN(20) > 0 {
				text[i] = rune(r.IntN(0x80)) &^ (rune(r.IntN(2)) * 0x50)
			}
		}
		if got, want := countWords(string(text)), fields(string(text)); got != len(want) {
			t.Fatalf("%q: %d words, want %q", string(text), got, want)
		}
	}
}

// TestUnspacedIsTheTables: the ranges that are decided at once are what the tables say.
func TestUnspacedIsTheTables(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		in := unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
		in = in || r == 'ー' || r == 'ｰ' // which are of both kinds of kana
		if unspaced(r) != in && isWordRune(r) {
			t.Errorf("%U is of a script without spaces: %v, want %v", r, unspaced(r), in)
		}
	}
}

// TestSpacedWordsAreAsBefore: where a run has no character of a script without spaces, it is one word.
func TestSpacedWordsAreAsBefore(t *testing.T) {
	for _, text := range []string{"", " a\u00a0b\u2003", "don’t — “quote” été Ωμέγα שלום हिन्दी की", "한국어 텍스트", "a\xffb \xe4\xba c", "😀 ok\u0301 \u0301x"} {
		runs := strings.Fields(text)
		if got := fields(text + " 人"); !slices.Equal(got, append(slices.Clone(runs), "人")) || !slices.Equal(fields(text), runs) {
			t.Errorf("%q: %q, want %q", text, got, runs)
		}
		for _, run := range runs {
			if got := appendWords(nil, run); !slices.Equal(got, []string{run}) {
				t.Errorf("%q is cut into %q", run, got)
			}
		}
		separator := func(r rune) bool { return !isWordRune(r) }
		if got, want := normalWords(text), strings.FieldsFunc(strings.ToLower(text), separator); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestNearDuplicatesWithoutSpaces: a passage that lost a few characters is a copy, and another passage in the same language is none.
func TestNearDuplicatesWithoutSpaces(t *testing.T) {
	for language, passage := range rights(t) {
		runes := []rune(passage[0])
		middle := len(runes) / 2
		edited := string(runes[:middle]) + string(runes[middle+3:])
		c := DefaultMinHash()
		_, result := curated(t, Config{Near: &c}, passage[0], passage[1], edited)
		if result.Near.Documents != 1 {
			t.Errorf("%s: %d near duplicates, want 1", language, result.Near.Documents)
		}
	}
}

// TestFiltersWithoutSpaces: what counts words does not take a passage for a single long word.
func TestFiltersWithoutSpaces(t *testing.T) {
	quality, repetition := DefaultGopherQuality(), DefaultGopherRepetition()
	quality.MinStopWords = 0 // those are English
	for language, passage := range rights(t) {
		text := passage[0] + passage[1]
		for name, apply := range map[string]func(*Doc) string{"gopher_quality": quality.apply, "gopher_repetition": repetition.apply} {
			if reason := apply(&Doc{Text: text}); reason != "" {
				t.Errorf("%s: %s rejects the passages: %s", language, name, reason)
			}
		}
		first, _, _ := strings.Cut(text, " ")
		if reason := quality.apply(&Doc{Text: string([]rune(first)[:min(20, utf8.RuneCountInString(first))])}); reason != "too few words" {
			t.Errorf("%s: twenty characters: %q", language, reason)
		}
		if reason := repetition.apply(&Doc{Text: strings.Repeat(string([]rune(text)[:40]), 10)}); reason == "" {
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
	if reason := quality.apply(&Doc{Text: "A 1 b 2 " + strings.Repeat("人人生而自由", 20)}); reason != "" {
		t.Errorf("short words among Chinese ones: %s", reason)
	}
	if reason := quality.apply(&Doc{Text: strings.Repeat("a b ", 100) + "人人生而自由"}); reason != "short words" {
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
		p := newPhrases(&Doc{Text: text})
		if top, again := p.top(2), p.again(2); top != want[0] || again != want[1] {
			t.Errorf("%q: %d bytes of the most frequent phrase and %d again, want %v", text, top, again, want)
		}
	}
}

// TestSubstringWithoutSpaces: spans that are cut end between characters of such scripts, too; a text of a single line would stay as a whole.
func TestSubstringWithoutSpaces(t *testing.T) {
	for language, passage := range rights(t) {
		left, _ := curated(t, Config{Passes: []Pass{DefaultSubstring().Pass()}}, passage[0], passage[1]+passage[0])
		if len(left[2]) > len(passage[1])+12 || !strings.HasPrefix(left[2], strings.TrimSpace(passage[1][:len(passage[1])-30])) {
			t.Errorf("%s: %d bytes are left of %d that did not stand before", language, len(left[2]), len(passage[1]))
		}
	}
}
