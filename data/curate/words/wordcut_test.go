package words

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestWordsWithoutSpaces: where words begin, with punctuation and what is compared, in text of several scripts.
func TestWordsWithoutSpaces(t *testing.T) {
	for text, want := range map[string][2]string{
		"「你好，世界」 用Go写 3个":   {"「你|好，|世|界」|用|Go|写|3|个", "你|好|世|界|用|go|写|3|个"},
		"ラーメン 食べる。":         {"ラ|ー|メ|ン|食|べ|る。", "ラ|ー|メ|ン|食|べ|る"},
		"ที่นี่ (ABC)ดี":    {"ที่|นี่|(ABC)|ดี", "ที่|นี่|abc|ดี"},
		"…ກິນ\u3000ເຂົ້າ":   {"…ກິ|ນ|ເ|ຂົ້|າ", "ກິ|ນ|ເ|ຂົ້|າ"},
		"བོད་སྐད། ང་ཚོ།":    {"བོད་|སྐད།|ང་|ཚོ།", "བོད|སྐད|ང|ཚོ"},
		"་༼བོད༌ཡིག་abc":     {"་༼བོད༌|ཡིག་|abc", "བོད|ཡིག|abc"},
		"ꦧꦱꦗꦮ ᬩᬮᬶ ᨾᩮᩬᩥᨦ ᦟᦹ": {"ꦧ|ꦱ|ꦗ|ꦮ|ᬩ|ᬮᬶ|ᨾᩮᩬᩥ|ᨦ|ᦟ|ᦹ", "ꦧ|ꦱ|ꦗ|ꦮ|ᬩ|ᬮᬶ|ᨾᩮᩬᩥ|ᨦ|ᦟ|ᦹ"},
		"ᥖᥭ ꪼꪕ 𑜒𑜑𑜪 Việt ᮞᮥ": {"ᥖ|ᥭ|ꪼ|ꪕ|𑜒|𑜑𑜪|Việt|ᮞᮥ", "ᥖ|ᥭ|ꪼ|ꪕ|𑜒|𑜑𑜪|việt|ᮞᮥ"},
		"ꊿꂷꃅꄿ, ꐨꐥ. ㄅㄆ":      {"ꊿ|ꂷ|ꃅ|ꄿ,|ꐨ|ꐥ.|ㄅ|ㄆ", "ꊿ|ꂷ|ꃅ|ꄿ|ꐨ|ꐥ|ㄅ|ㄆ"},
		"ᨅᨔ᨞ ᨈᨚᨅᨙ ᯅᯖᯂ᯲ ꨆꨝꨥ": {"ᨅ|ᨔ᨞|ᨈᨚ|ᨅᨙ|ᯅ|ᯖ|ᯂ᯲|ꨆꨝꨥ", "ᨅ|ᨔ|ᨈᨚ|ᨅᨙ|ᯅ|ᯖ|ᯂ᯲|ꨆꨝꨥ"},
		"한국어 조사는 don't ‑ é": {"한국어|조사는|don't|‑|é", "한국어|조사는|don|t|é"},
		"\xff人\xe4\xba":     {"\xff人\xe4\xba", "人"},
		"，人":                {"，人", "人"},
	} {
		if got := strings.Join(Fields(text), "|"); got != want[0] || Count(text) != len(Fields(text)) {
			t.Errorf("%q: %d words, %q, want %q", text, Count(text), got, want[0])
		}
		if got := strings.Join(Normal(text), "|"); got != want[1] {
			t.Errorf("%q is compared by %q, want %q", text, got, want[1])
		}
		var spans []string
		for _, s := range Spans(text, math.MaxInt, nil) {
			spans = append(spans, strings.ToLower(text[s.At:s.End]))
		}
		if got := strings.Join(spans, "|"); got != want[1] {
			t.Errorf("%q has the spans %q, want %q", text, got, want[1])
		}
	}
}

// TestCountIsThatOfFields: words are counted without being cut, whatever stands beside what.
func TestCountIsThatOfFields(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	runes := []rune("aé한9-་བ。 \t\u3000人ーカท\u0e35\u0301\ufffd\b\r\x0e\x1f!\x7f")
	for n := range 5000 {
		text := make([]rune, r.IntN(40))
		for i := range text {
			text[i] = runes[r.IntN(len(runes))]
			if n%2 == 0 && r.IntN(20) > 0 {
				text[i] = rune(r.IntN(0x80)) &^ (rune(r.IntN(2)) * 0x50)
			}
		}
		if got, want := Count(string(text)), Fields(string(text)); got != len(want) {
			t.Fatalf("%q: %d words, want %q", string(text), got, want)
		}
	}
}

// TestUnspacedIsTheTables: the ranges that are decided at once are what the tables say.
func TestUnspacedIsTheTables(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		in := unicode.In(r, unicode.Tibetan) || unicode.In(r, unspaced...)
		in = in || r == 'ー' || r == 'ｰ' // which are of both kinds of kana
		if Unspaced(r) != in && InWord(r) {
			t.Errorf("%U is of a script without spaces: %v, want %v", r, Unspaced(r), in)
		}
	}
}

// TestSpacedWordsAreAsBefore: where a run has no character of a script without spaces, it is one word.
func TestSpacedWordsAreAsBefore(t *testing.T) {
	for _, text := range []string{"", " a\u00a0b\u2003", "don’t — “quote” été Ωμέγα שלום हिन्दी की", "한국어 텍스트", "a\xffb \xe4\xba c", "😀 ok\u0301 \u0301x"} {
		runs := strings.Fields(text)
		if got := Fields(text + " 人"); !slices.Equal(got, append(slices.Clone(runs), "人")) || !slices.Equal(Fields(text), runs) {
			t.Errorf("%q: %q, want %q", text, got, runs)
		}
		for _, run := range runs {
			if got := appendWords(nil, run); !slices.Equal(got, []string{run}) {
				t.Errorf("%q is cut into %q", run, got)
			}
		}
		separator := func(r rune) bool { return !InWord(r) }
		if got, want := Normal(text), strings.FieldsFunc(strings.ToLower(text), separator); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
