package words

import (
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A text is cut into words in two ways: by white space, as the papers of filters count, and into runs of letters, their marks and digits, as copies are compared.
// Scripts that put no space between words have a sentence or a whole document in such a run. There a character with its marks is a word, which is what
// the default rules of Unicode Standard Annex 29 make of ideographs; they leave Thai, Lao, Khmer, Burmese and other scripts of South East Asia (those of
// complex context in Annex 14, and those of Indonesia) to dictionaries, which hone has not. Tibetan parts syllables, which are its words here, by a tsheg.

// wordCut tells where words begin within a run, a character after the other.
type wordCut struct{ open, alone bool } // whether the word has a letter or digit; whether that is a character that is a word by itself

// begins takes the next character and reports whether a word begins with it. What is no part of a word, as punctuation, stays with the word in front of it, or
// with the one behind it where there is none.
func (c *wordCut) begins(r rune) bool {
	if !InWord(r) || unicode.IsMark(r) && c.open {
		c.alone = c.alone || c.open && isTsheg(r)
		return false
	}
	alone := standsAlone(r)
	begin := c.open && (alone || c.alone)
	c.open, c.alone = true, alone
	return begin
}

// cutRuns cuts the runs of a text that have characters of scripts without spaces into words.
func cutRuns(text string, runs []string) []string {
	if !HasUnspaced(text) {
		return runs
	}
	words := make([]string, 0, len(runs))
	for _, run := range runs {
		if HasUnspaced(run) {
			words = appendWords(words, run)
		} else {
			words = append(words, run)
		}
	}
	return words
}

// appendWords appends the words of a run.
func appendWords(words []string, run string) []string {
	begin, cut := 0, wordCut{}
	for i, r := range run {
		if cut.begins(r) {
			words = append(words, run[begin:i])
			begin = i
		}
	}
	return append(words, run[begin:])
}

// Begins reports whether a word begins at i, inside of a run, because it or the one in front of it is of a script without spaces.
func Begins(text string, i int) bool {
	if text[i] < firstUnspacedByte && text[i-1] < utf8.RuneSelf { // nearly all places
		return false
	}
	r, _ := utf8.DecodeRuneInString(text[i:])
	before, _ := utf8.DecodeLastRuneInString(text[:i])
	return InWord(r) && !unicode.IsMark(r) && (standsAlone(r) || standsAlone(before) || isTsheg(before))
}

// Fields are the words that white space parts.
func Fields(text string) []string { return cutRuns(text, strings.Fields(text)) }

// Normal are lower-case words of letters, their marks and digits, so that case, punctuation and layout do not tell copies apart. Marks are what many
// scripts write vowels with.
func Normal(text string) []string {
	text = strings.ToLower(text)
	return cutRuns(text, strings.FieldsFunc(text, func(r rune) bool { return !InWord(r) }))
}

// Count is how many words white space parts: runs, of which those with a character of a script without spaces are cut.
func Count(text string) int {
	n, begin := 0, -1 // begin: of the run that is open, -1 where none is
	for i := 0; i < len(text); {
		// Eight bytes of ASCII at once, which nearly all of most texts is: nothing in them is cut, so it is enough to count where runs begin, and to know
		// where the last one did, for a character behind them may show that it is to be cut.
		if len(text)-i >= 8 {
			if chunk := eightBytes(text, i); chunk&highBits == 0 {
				space := asciiSpaces(chunk)
				in := ^space & highBits
				first := in &^ (in << 8) // no space, and behind one
				if begin >= 0 {          // the first byte goes on with the run in front of it
					first &^= 0x80
				}
				n += bits.OnesCount64(first)
				// behind is the number of bytes up to the last space
				switch behind := (64 - bits.LeadingZeros64(space)) / 8; {
				case behind == 8:
					begin = -1
				case behind > 0 || begin < 0:
					begin = i + behind
				}
				i += 8
				continue
			}
		}
		c := text[i]
		size, space, cuts := 1, c == ' ' || '\t' <= c && c <= '\r', false
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(text[i:])
			space, cuts = unicode.IsSpace(r), Unspaced(r)
		}
		switch {
		case space:
			begin = -1
		case begin < 0:
			n++
			begin = i
		}
		if cuts {
			more, length := cutsOfRun(text[begin:])
			n, i, begin = n+more, begin+length, -1
			continue
		}
		i += size
	}
	return n
}

// asciiSpaces has the high bits of those of eight bytes of ASCII that are white space.
func asciiSpaces(chunk uint64) uint64 {
	atLeast := func(least uint64) uint64 { return chunk + (0x80-least)*eachByte }
	return (atLeast('\t')&^atLeast('\r'+1) | atLeast(' ')&^atLeast(' '+1)) & highBits
}

// cutsOfRun is how many words begin inside of the run that a text begins with, and its length.
func cutsOfRun(text string) (cuts, length int) {
	cut := wordCut{}
	for i, r := range text {
		if unicode.IsSpace(r) {
			return cuts, i
		}
		if cut.begins(r) {
			cuts++
		}
	}
	return cuts, len(text)
}

// InWord reports whether a character is part of words as copies are compared.
func InWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }

// firstUnspaced is the least character of a script without spaces, and the first byte of it, than which that of no other one is less.
const (
	firstUnspaced     = 0xe00
	firstUnspacedByte = 0xe0
)

// HasUnspaced reports whether a text has a character of a script that puts no space between words.
func HasUnspaced(text string) bool {
	for i := 0; i < len(text); i++ {
		for len(text)-i >= 8 && eightBytes(text, i)&highBits == 0 {
			i += 8
		}
		if i == len(text) || text[i] < firstUnspacedByte {
			continue
		}
		if r, _ := utf8.DecodeRuneInString(text[i:]); Unspaced(r) {
			return true
		}
	}
	return false
}

// What makes the vowel in front of it long, in full and in half width, is written with two scripts and so of neither table.
const (
	longVowel     = 0x30fc
	halfLongVowel = 0xff70
)

// Tibetan reports whether a character is of Tibetan, isTsheg whether it parts syllables there.
func Tibetan(r rune) bool { return 0xf00 <= r && r < 0x1000 }
func isTsheg(r rune) bool { return r == 0xf0b || r == 0xf0c }

// standsAlone reports whether a character is a word by itself.
func standsAlone(r rune) bool { return Unspaced(r) && !Tibetan(r) }

// unspaced are those that CLDR (ScriptMetadata, "LB letters") says to have breaks between letters, and of Indonesia those that are written without spaces.
// Cham is not among them: modern texts have spaces.
var unspaced = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Yi,
	unicode.Tai_Le, unicode.New_Tai_Lue, unicode.Tai_Tham, unicode.Tai_Viet, unicode.Ahom, unicode.Bopomofo, unicode.Nushu, unicode.Tangut,
	unicode.Khitan_Small_Script, unicode.Kawi, unicode.Javanese, unicode.Balinese, unicode.Buginese, unicode.Batak}

// Unspaced reports whether a character is of a script that puts no space between words.
func Unspaced(r rune) bool {
	switch {
	case r < firstUnspaced, 0x1c00 <= r && r < 0x2e80, 0xac00 <= r && r < 0xd7a4: // Latin with marks, punctuation and symbols, Hangul: all are common, and in tables below they would take long
		return false
	case 0x4e00 <= r && r < 0xa000, r == longVowel, r == halfLongVowel, Tibetan(r):
		return true
	}
	return unicode.In(r, unspaced...)
}

// Whole makes a span shorter until it ends between characters and, if it has white space, between words.
func Whole(text string, from, to int) string {
	for from > 0 && from < to && !utf8.RuneStart(text[from]) {
		from++
	}
	for to < len(text) && to > from && !utf8.RuneStart(text[to]) {
		to--
	}
	piece := text[from:to]
	if i := strings.IndexAny(piece, " \n\t"); from > 0 && i >= 0 {
		piece = piece[i:]
	}
	if i := strings.LastIndexAny(piece, " \n\t"); to < len(text) && i > 0 {
		piece = piece[:i]
	}
	return piece
}

// Ideograph reports whether a character is of the scripts of Chinese and Japanese, kana included.
func Ideograph(r rune) bool {
	return r == longVowel || r == halfLongVowel || unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
}
