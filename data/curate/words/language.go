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

// Language tells the language of a text by so many bytes of it, all of them where sample is 0, and from 0 to 1 how certain that is.
func Language(text string, sample int) (code string, confidence float64) {
	found := whatlanggo.Detect(sampleOf(text, sample))
	if found.Lang < 0 || found.Confidence <= 0 { // two languages are equally near
		return Undetermined, 0
	}
	return languageCode(found.Lang), min(found.Confidence, 1)
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
