package words

import (
	"slices"
	"strings"

	"github.com/abadojack/whatlanggo"
)

// Where no recipe says otherwise: how many bytes of a text are looked at, and how certain its language must be.
const (
	LanguageSample = 600 // bytes
	Certain        = 0.5 // confidence
)

// Undetermined is ISO 639-3's code.
const Undetermined = "und"

// Language tells the language of a text by so many bytes of it, all of them where sample is 0, and from 0 to 1 how certain that is: the less, the more
// of the letters are of another script, whose language the text has, too.
func Language(text string, sample int) (code string, confidence float64) {
	piece := sampleOf(text, sample)
	found := whatlanggo.Detect(piece)
	if found.Lang < 0 || found.Confidence <= 0 { // two languages are equally near
		return Undetermined, 0
	}
	counts := Scripts(piece)
	han, kana := counts["Han"], counts["Kana"]
	if found.Lang == whatlanggo.Cmn || found.Lang == whatlanggo.Jpn {
		// The library decides by which came first. Japanese with few kana has some, Chinese that quotes a name or has a の for a 的 hardly any.
		found.Lang = whatlanggo.Cmn
		if kana > 0 && 10*kana >= han {
			found.Lang = whatlanggo.Jpn
		}
	}
	return languageCode(found.Lang), min(found.Confidence, 1) * lead(counts, found.Lang)
}

// lead is what the script of a language has more than the next one, as a share of it.
func lead(counts map[string]int64, lang whatlanggo.Lang) float64 {
	// Japanese has several together, and Korean may have Han. One of these says about as much as two letters.
	eastern := 2 * (counts["Han"] + counts["Kana"] + counts["Hangul"])
	first, second := int64(0), int64(0) // of the others
	for script, n := range counts {
		if script != "Han" && script != "Kana" && script != "Hangul" {
			first, second = max(first, n), max(second, min(first, n))
		}
	}
	own, next := first, max(second, eastern)
	if lang == whatlanggo.Cmn || lang == whatlanggo.Jpn || lang == whatlanggo.Kor {
		own, next = eastern, first
	}
	if next == 0 {
		return 1
	}
	return max(0, 1-float64(next)/float64(max(1, own)))
}

// Languages are the codes that Language may tell, in their order.
func Languages() []string {
	var codes []string
	for lang := range whatlanggo.Langs {
		codes = append(codes, languageCode(lang))
	}
	slices.Sort(codes)
	return codes
}

func languageCode(lang whatlanggo.Lang) string {
	switch lang { // the library has those of 639-3 only, of Iranian Persian and Eastern Yiddish
	case whatlanggo.Pes:
		return "fa"
	case whatlanggo.Ydd:
		return "yi"
	}
	if code := lang.Iso6391(); code != "" {
		return code
	}
	return lang.Iso6393()
}

// sampleOf is three pieces of a long text, cut between words where there are any.
func sampleOf(text string, most int) string {
	if most == 0 || len(text) <= most {
		return text
	}
	n := most / 3
	var b strings.Builder
	// Three places, since pages begin with menus and end with notices, often in another language than theirs.
	for _, at := range []int{0, (len(text) - n) / 2, len(text) - n} {
		b.WriteString(Whole(text, at, at+n))
		b.WriteByte(' ')
	}
	return b.String()
}
