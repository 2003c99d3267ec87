package filters

import (
	"fmt"
	"regexp"
	"slices"
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

// PII masks what identifies people or opens doors: addresses of e-mail and of machines, telephone numbers and keys.
type PII struct {
	Email bool `yaml:"email" doc:"addresses of e-mail"`
	IP    bool `yaml:"ip" doc:"public addresses of machines"`
	Phone bool `yaml:"phone" doc:"telephone numbers in international form"`
	Keys  bool `yaml:"keys" doc:"private keys and tokens of well-known services"`
}

// DefaultPII masks everything.
func DefaultPII() PII { return PII{true, true, true, true} }

// \B before a plus: no letter or digit stands there, as in 1+1234567.
var (
	email = regexp.MustCompile(`\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b`)
	ipv4  = regexp.MustCompile(`\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b`)
	local = regexp.MustCompile(`^(10\.|127\.|0\.|192\.168\.|169\.254\.|172\.(1[6-9]|2\d|3[01])\.|255\.)`)
	phone = regexp.MustCompile(`\B\+\d{1,3}[ .-]?\(?\d{1,4}\)?([ .-]?\d{2,4}){2,4}\b`)
	block = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----`)
	token = regexp.MustCompile(`\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bsk-[A-Za-z0-9_-]{20,}|\bhf_[A-Za-z0-9]{30,}\b|` +
		`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)
)

// Step makes the step.
func (c PII) Step() document.Step { return document.Step{Name: "pii", Apply: c.apply} }

func (c PII) apply(d *document.Doc) string {
	text, n := d.Text, 0
	by := func(mask string) func(string) string {
		return func(string) string { n++; return mask }
	}
	if c.Keys && strings.Contains(text, "PRIVATE KEY") {
		text = block.ReplaceAllStringFunc(text, by("<KEY>"))
	}
	public := func(ip string) string {
		if local.MatchString(ip) {
			return ip
		}
		return by("<IP>")(ip)
	}
	key := func(s string) string {
		if strings.HasPrefix(s, "sk-") && s == strings.ToLower(s) {
			return s // a part of an address, as "sk-hynix-reports-results"
		}
		return by("<KEY>")(s)
	}
	for _, kind := range []struct {
		on   bool
		has  func(string) bool
		find *regexp.Regexp
		mask func(string) string
	}{{c.Keys, hasToken, token, key}, {c.Email, hasAt, email, by("<EMAIL>")}, {c.IP, hasDottedNumbers, ipv4, public}, {c.Phone, hasPlusDigit, phone, by("<PHONE>")}} {
		if kind.on {
			text = onLines(text, kind.has, func(line string) string { return kind.find.ReplaceAllStringFunc(line, kind.mask) })
		}
	}
	d.Score("pii.masked", float64(n))
	if n > 0 {
		d.SetText(text)
	}
	return ""
}

// onLines puts mask(line) in the place of each line that has what no match lacks. Regular expressions are slow, and few
// lines need them.
func onLines(text string, has func(string) bool, mask func(line string) string) string {
	if !has(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	for line := range strings.Lines(text) {
		if has(line) {
			line = mask(line)
		}
		b.WriteString(line)
	}
	return b.String()
}

func hasAt(text string) bool { return strings.Contains(text, "@") }

// hasToken reports whether the beginning of a token stands in a text.
func hasToken(text string) bool {
	marks := []string{"AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "sk-", "hf_", "eyJ"}
	return slices.ContainsFunc(marks, func(m string) bool { return strings.Contains(text, m) })
}

// hasPlusDigit reports whether a digit follows a plus.
func hasPlusDigit(text string) bool {
	for {
		_, after, found := strings.Cut(text, "+")
		if !found || after != "" && isDigit(after[0]) {
			return found
		}
		text = after
	}
}

// hasDottedNumbers reports whether three points stand between digits with at most three digits from one to the next.
func hasDottedNumbers(text string) bool {
	points, since := 0, 0
	for i := 1; i+1 < len(text); i++ {
		switch c := text[i]; {
		case '0' <= c && c <= '9':
			if since++; since > 3 {
				points = 0
			}
		case c == '.' && isDigit(text[i-1]) && isDigit(text[i+1]):
			if points++; points == 3 {
				return true
			}
			since = 0
		default:
			points, since = 0, 0
		}
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

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
