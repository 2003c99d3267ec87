package filters

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"

	"hone/data/curate/document"
)

// Mend repairs text: bytes that are no UTF-8 and text that was decoded as Windows-1252 although it was UTF-8 ("cafÃ©"), control characters,
// line ends, and Unicode normal form C.
func Mend() document.Step { return document.Step{Name: "mend", Apply: mend} }

func mend(d *document.Doc) string {
	text := d.Text
	if plainASCII(text) {
		return ""
	}
	if !utf8.ValidString(text) {
		// What is no UTF-8 is taken for Windows-1252, the web's most frequent other encoding; a NUL byte speaks for UTF-16, of which that would make letters and NULs.
		if decoded, err := charmap.Windows1252.NewDecoder().String(text); err == nil && !strings.Contains(text, "\x00") {
			text = decoded
		}
		text = strings.ToValidUTF8(text, "\ufffd")
	}
	// Before control characters go: garbled text has them where bytes 0x80 to 0x9f were.
	text = unmojibake(text)
	text = lineEnds.Replace(text)
	text = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || r == '\ufeff' || r == '\u200b') {
			return -1
		}
		return r
	}, text)
	if text = norm.NFC.String(text); text != d.Text {
		d.SetText(text)
	}
	return ""
}

// lineEnds makes every way to end a line one line feed: what stands on both sides of a carriage return, a form feed or Unicode's next line must not
// become one word when control characters go.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// plainASCII reports whether a text has nothing to mend for certain.
func plainASCII(text string) bool {
	for i := range len(text) {
		if c := text[i]; c >= 0x7f || c < ' ' && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// garbled is what UTF-8 of accented letters and typographic marks looks like when it is read as Windows-1252.
var garbled = regexp.MustCompile(`[ÃÂ][\x{80}-\x{bf}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[™œ\x{9d}˜“”¦¢]`)

// unmojibake decodes a garbled text again: all of it where that can be, otherwise what is garbled for certain, for a page may quote another.
func unmojibake(text string) string {
	begins := func(of string) bool { return strings.Contains(text, of) } // the expression is slow
	if !begins("Ã") && !begins("Â") && !begins("â€") || !garbled.MatchString(text) {
		return text
	}
	if again, ok := decodedAgain(text); ok {
		return again
	}
	var b strings.Builder
	done := 0
	for _, at := range garbled.FindAllStringIndex(text, -1) {
		before, _ := utf8.DecodeLastRuneInString(text[:at[0]])
		again, ok := decodedAgain(text[at[0]:at[1]])
		if !ok || unicode.IsUpper(before) { // "MAÇÃ”" ends in a quotation mark
			continue
		}
		b.WriteString(text[done:at[0]])
		b.WriteString(again)
		done = at[1]
	}
	return b.String() + text[done:]
}

// decodedAgain is a text that was decoded as Windows-1252, decoded as UTF-8.
func decodedAgain(text string) (string, bool) {
	raw, err := charmap.Windows1252.NewEncoder().String(text)
	return raw, err == nil && utf8.ValidString(raw)
}

// Length are bounds of a document's size, the cheapest rule and so the first.
type Length struct {
	MinChars int `yaml:"min_chars" doc:"a document has at least this many characters"`
	MaxChars int `yaml:"max_chars" doc:"and at most this many; 0: any number"`
}

// Step makes the step.
func (c Length) Step() document.Step {
	return document.Step{Name: "length", Apply: func(d *document.Doc) string {
		n := utf8.RuneCountInString(d.Text)
		d.Score("length.characters", float64(n))
		switch {
		case n < c.MinChars:
			return "too short"
		case c.MaxChars > 0 && n > c.MaxChars:
			return "too long"
		}
		return ""
	}}
}

// Validate reports bounds that no document meets.
func (c Length) Validate() error {
	if c.MinChars < 0 || c.MaxChars < 0 || c.MaxChars > 0 && c.MaxChars < c.MinChars {
		return fmt.Errorf("length.min_chars is %d and length.max_chars %d; no document has such a length", c.MinChars, c.MaxChars)
	}
	return nil
}
