package jinja

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Letters in upper and lower case, and what counts as one, as Python has them (Objects/unicodectype.c). Go's strings package maps each
// letter to one letter; Python follows SpecialCasing.txt of Unicode, where some become two or three.

// longCases are the letters of SpecialCasing.txt that get longer: each with its upper case and, after a slash, its title case if that
// is another. Escapes are where an editor that composes characters (NFC) would change the text.
const longCases = "ßSS/Ss ŉʼN ǰJ̌ \u0390\u0399\u0308\u0301 \u03B0\u03A5\u0308\u0301 ևԵՒ/Եւ ẖH̱ ẗT̈ ẘW̊ ẙY̊ ẚAʾ ὐΥ̓ ὒΥ̓̀ ὔΥ̓́ ὖΥ̓͂ ᾀἈΙ/ᾈ " +
	"ᾁἉΙ/ᾉ ᾂἊΙ/ᾊ ᾃἋΙ/ᾋ ᾄἌΙ/ᾌ ᾅἍΙ/ᾍ ᾆἎΙ/ᾎ ᾇἏΙ/ᾏ ᾈἈΙ/ᾈ ᾉἉΙ/ᾉ ᾊἊΙ/ᾊ ᾋἋΙ/ᾋ ᾌἌΙ/ᾌ ᾍἍΙ/ᾍ ᾎἎΙ/ᾎ ᾏἏΙ/ᾏ ᾐἨΙ/ᾘ ᾑἩΙ/ᾙ ᾒἪΙ/ᾚ ᾓἫΙ/ᾛ " +
	"ᾔἬΙ/ᾜ ᾕἭΙ/ᾝ ᾖἮΙ/ᾞ ᾗἯΙ/ᾟ ᾘἨΙ/ᾘ ᾙἩΙ/ᾙ ᾚἪΙ/ᾚ ᾛἫΙ/ᾛ ᾜἬΙ/ᾜ ᾝἭΙ/ᾝ ᾞἮΙ/ᾞ ᾟἯΙ/ᾟ ᾠὨΙ/ᾨ ᾡὩΙ/ᾩ ᾢὪΙ/ᾪ ᾣὫΙ/ᾫ ᾤὬΙ/ᾬ ᾥὭΙ/ᾭ ᾦὮΙ/ᾮ " +
	"ᾧὯΙ/ᾯ ᾨὨΙ/ᾨ ᾩὩΙ/ᾩ ᾪὪΙ/ᾪ ᾫὫΙ/ᾫ ᾬὬΙ/ᾬ ᾭὭΙ/ᾭ ᾮὮΙ/ᾮ ᾯὯΙ/ᾯ ᾲᾺΙ/Ὰͅ ᾳΑΙ/ᾼ ᾴΆΙ/Άͅ ᾶΑ͂ " +
	"\u1FB7\u0391\u0342\u0399/\u0391\u0342\u0345 ᾼΑΙ/ᾼ ῂῊΙ/Ὴͅ ῃΗΙ/ῌ ῄΉΙ/Ήͅ ῆΗ͂ \u1FC7\u0397\u0342\u0399/\u0397\u0342\u0345 " +
	"ῌΗΙ/ῌ \u1FD2\u0399\u0308\u0300 \u1FD3\u0399\u0308\u0301 ῖΙ͂ \u1FD7\u0399\u0308\u0342 \u1FE2\u03A5\u0308\u0300 " +
	"\u1FE3\u03A5\u0308\u0301 ῤΡ̓ ῦΥ͂ \u1FE7\u03A5\u0308\u0342 ῲῺΙ/Ὼͅ ῳΩΙ/ῼ ῴΏΙ/Ώͅ ῶΩ͂ " +
	"\u1FF7\u03A9\u0342\u0399/\u03A9\u0342\u0345 ῼΩΙ/ῼ ﬀFF/Ff ﬁFI/Fi ﬂFL/Fl ﬃFFI/Ffi ﬄFFL/Ffl ﬅST/St ﬆST/St ﬓՄՆ/Մն ﬔՄԵ/Մե " +
	"ﬕՄԻ/Մի ﬖՎՆ/Վն ﬗՄԽ/Մխ"

// longCase is longCases by letter.
var longCase = sync.OnceValue(func() map[rune][2]string {
	m := map[rune][2]string{}
	for _, entry := range strings.Fields(longCases) {
		r, n := utf8.DecodeRuneInString(entry)
		up, title, other := strings.Cut(entry[n:], "/")
		if !other {
			title = up
		}
		m[r] = [2]string{up, title}
	}
	return m
})

// runeMap gives what becomes of the character r at s[i].
type runeMap func(s string, i int, r rune) string

// upperRune is str.upper of one character.
func upperRune(_ string, _ int, r rune) string {
	if long, ok := longCase()[r]; ok {
		return long[0]
	}
	return string(unicode.ToUpper(r))
}

// titleRune is the title case of a character, such as ǅ of ǆ.
func titleRune(_ string, _ int, r rune) string {
	if long, ok := longCase()[r]; ok {
		return long[1]
	}
	return string(unicode.ToTitle(r))
}

// lowerRune is str.lower of one character. Two letters are not simply unicode.ToLower: İ, and Σ at the end of a word.
func lowerRune(s string, i int, r rune) string {
	switch {
	case r == 'İ':
		return "i\u0307"
	case r == 'Σ' && endsWord(s, i):
		return "ς"
	}
	return string(unicode.ToLower(r))
}

// mapRunes joins what f makes of each character.
func mapRunes(s string, f runeMap) string {
	var b strings.Builder
	b.Grow(len(s))
	for i, r := range s {
		b.WriteString(f(s, i, r))
	}
	return b.String()
}

// endsWord is Unicode's Final_Sigma for the letter at s[i]: a cased letter stands before it and none after, whatever the case ignores
// between.
func endsWord(s string, i int) bool {
	skip := func(r rune) bool { return !ignoresCase(r) }
	before := strings.LastIndexFunc(s[:i], skip)
	if before < 0 {
		return false
	}
	if r, _ := utf8.DecodeRuneInString(s[before:]); !isCased(r) {
		return false
	}
	rest := s[i+len("Σ"):]
	after := strings.IndexFunc(rest, skip)
	if after < 0 {
		return true
	}
	r, _ := utf8.DecodeRuneInString(rest[after:])
	return !isCased(r)
}

// ignoresCase is Unicode's Case_Ignorable: marks, formats, modifiers, and the signs that may stand inside of a word.
func ignoresCase(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) ||
		strings.ContainsRune("'.:\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07\uFF0E\uFF1A", r)
}

// foldRune is str.casefold: letters that get longer in upper case, and the rest in lower case; Cherokee, whose capitals are older, in upper.
func foldRune(s string, i int, r rune) string {
	switch {
	case r == 'İ' || r == 'ı':
		return lowerRune(s, i, r)
	case r == 'ẞ':
		return "ss"
	case unicode.Is(unicode.Cherokee, r):
		return upperRune(s, i, r)
	}
	return strings.ToLower(upperRune(s, i, r))
}

// swapRune is str.swapcase.
func swapRune(s string, i int, r rune) string {
	switch {
	case isUpperRune(r):
		return lowerRune(s, i, r)
	case isLowerRune(r):
		return upperRune(s, i, r)
	}
	return string(r)
}

// wordRune is str.title: a letter that follows one with a case is small, any other large.
func wordRune(s string, i int, r rune) string {
	if before, _ := utf8.DecodeLastRuneInString(s[:i]); isCased(before) { // U+FFFD, which stands before the first one, has no case
		return lowerRune(s, i, r)
	}
	return titleRune(s, i, r)
}

// capitalRune is str.capitalize: the first character in title case, the rest in lower case.
func capitalRune(s string, i int, r rune) string {
	if i == 0 {
		return titleRune(s, i, r)
	}
	return lowerRune(s, i, r)
}

// isUpperRune, isLowerRune and isCased are the derived properties Uppercase, Lowercase and Cased of Unicode.
func isUpperRune(r rune) bool { return unicode.IsUpper(r) || unicode.Is(unicode.Other_Uppercase, r) }
func isLowerRune(r rune) bool { return unicode.IsLower(r) || unicode.Is(unicode.Other_Lowercase, r) }
func isCased(r rune) bool     { return isUpperRune(r) || isLowerRune(r) || unicode.IsTitle(r) }

// isUpper is str.isupper: a letter with a case, and none of them small.
func isUpper(s string) bool {
	return strings.IndexFunc(s, isUpperRune) >= 0 && strings.IndexFunc(s, func(r rune) bool { return isLowerRune(r) || unicode.IsTitle(r) }) < 0
}

// isLower is str.islower.
func isLower(s string) bool {
	return strings.IndexFunc(s, isLowerRune) >= 0 && strings.IndexFunc(s, func(r rune) bool { return isUpperRune(r) || unicode.IsTitle(r) }) < 0
}

// isTitle is str.istitle: each word begins with the only large letter of it.
func isTitle(s string) bool {
	some, inside := false, false
	for _, r := range s {
		switch large := isUpperRune(r) || unicode.IsTitle(r); {
		case large && inside, isLowerRune(r) && !inside:
			return false
		case large:
			some = true
		}
		inside = isCased(r)
	}
	return some
}

// digitRanges (first, last) are the characters of Numeric_Type=Digit: superscripts, subscripts, and digits in circles and the like.
var digitRanges = [...]rune{0xB2, 0xB3, 0xB9, 0xB9, 0x1369, 0x1371, 0x19DA, 0x19DA, 0x2070, 0x2070, 0x2074, 0x2079, 0x2080, 0x2089,
	0x2460, 0x2468, 0x2474, 0x247C, 0x2488, 0x2490, 0x24EA, 0x24EA, 0x24F5, 0x24FD, 0x24FF, 0x24FF, 0x2776, 0x277E, 0x2780, 0x2788,
	0x278A, 0x2792, 0x10A40, 0x10A43, 0x10E60, 0x10E68, 0x11052, 0x1105A, 0x1F100, 0x1F10A}

// isDigit is str.isdigit of one character.
func isDigit(r rune) bool {
	for i := 0; i < len(digitRanges); i += 2 {
		if r >= digitRanges[i] && r <= digitRanges[i+1] {
			return true
		}
	}
	return unicode.IsDigit(r)
}

// ideographicNumbers are the ideographs with a numeric value (Unihan), compatibility ideographs included.
const ideographicNumbers = "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零" +
	"\uf96b\uf973\uf978\uf9b2\uf9d1\uf9d3\uf9fd𠀁𠁤𠃢𠄡𠤪𠦃𠦌𠦜𠫪𠫽𠬙𢎐𢦘𣬛𦉭\U0002f890"

// isNumeric is str.isnumeric of one character.
func isNumeric(r rune) bool {
	return unicode.IsNumber(r) || strings.ContainsRune(ideographicNumbers, r)
}

// isAlphanumeric is str.isalnum of one character: isalpha, isdecimal, isdigit or isnumeric.
func isAlphanumeric(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

// asciiDigits spells decimal digits of all scripts as 0 to 9, which is how int() and float() read them. Unicode keeps the ten digits of
// a script together, from zero on, so each range of Nd is some tens long.
func asciiDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsDigit(r) { // of ASCII a comparison or two, of others a search, where the tables have 60 ranges
			return r
		}
		for _, t := range unicode.Nd.R16 {
			if r >= rune(t.Lo) && r <= rune(t.Hi) {
				return '0' + (r-rune(t.Lo))%10
			}
		}
		for _, t := range unicode.Nd.R32 {
			if r >= rune(t.Lo) && r <= rune(t.Hi) {
				return '0' + (r-rune(t.Lo))%10
			}
		}
		return r
	}, s)
}
