package spans

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"hone/data/curate/extsort"
)

// Repeats are rules for lines or paragraphs that stand in the corpus more than once, as menus, notices and signatures do (Wenzek et al., "CCNet",
// 2020, section 3.1, which removes paragraphs so).
type Repeats struct {
	MinChars  int  `yaml:"min_chars" doc:"shorter ones are left alone"`
	MaxCopies int  `yaml:"max_copies" doc:"what stands more often than this goes everywhere; of what stands less often, and with 0 always, the first stays"`
	Normalize bool `yaml:"normalize" doc:"compare without case, punctuation and white space, every digit as 0, as CCNet does"`
	MinLeft   int  `yaml:"min_left" doc:"a document goes of which fewer characters are left"`
}

// DefaultLines are for prose: short lines, which may well stand twice, are left alone.
func DefaultLines() Repeats {
	return Repeats{MinChars: 30, MaxCopies: 0, Normalize: true, MinLeft: 100}
}

// DefaultParagraphs are for prose.
func DefaultParagraphs() Repeats {
	return Repeats{MinChars: 30, MaxCopies: 0, Normalize: true, MinLeft: 100}
}

// Validate reports values that cannot be meant, of the section of that name.
func (c Repeats) Validate(section string) error {
	if c.MinChars < 0 || c.MaxCopies < 0 || c.MinLeft < 0 {
		return fmt.Errorf("%s.min_chars is %d, %s.max_copies %d and %s.min_left %d; each must be at least 0", section, c.MinChars, section, c.MaxCopies, section, c.MinLeft)
	}
	return nil
}

// Lines cuts repeated lines.
func (c Repeats) Lines() Pass { return c.pass("lines", "few lines of its own", nextLine) }

// Paragraphs cuts repeated paragraphs, which blank lines part.
func (c Repeats) Paragraphs() Pass {
	return c.pass("paragraphs", "few paragraphs of its own", nextParagraph)
}

func (c Repeats) pass(name, reason string, next func(string) int) Pass {
	keys := func(text string, _ []Mark, add func(key uint64, at, n int)) {
		var buffer []byte
		for at := 0; at < len(text); {
			n := next(text[at:])
			if unit := strings.TrimSpace(text[at : at+n]); len(unit) >= c.MinChars && unit != "" && utf8.RuneCountInString(unit) >= c.MinChars {
				buffer = c.normal(buffer[:0], unit)
				add(xxh3.Hash(buffer), at, n)
			}
			at += n
		}
	}
	pick := func(m extsort.Member, mark func(extsort.Entry)) {
		if m.N > 1 {
			mark(m.Entry)
		}
		if c.MaxCopies > 0 && m.N == int64(c.MaxCopies)+1 {
			mark(m.First)
		}
	}
	return Pass{Name: name, Reason: reason, Least: c.MinLeft, Scans: []Scan{{keys, pick}}}
}

// nextLine is the length of the first line with its end.
func nextLine(text string) int {
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// nextParagraph is the length of the first lines up to one that is not blank behind a blank one.
func nextParagraph(text string) int {
	end, blank, some := 0, false, false
	for end < len(text) {
		n := nextLine(text[end:])
		empty := strings.TrimSpace(text[end:end+n]) == ""
		if some && blank && !empty {
			return end
		}
		blank, some = empty, some || !empty
		end += n
	}
	return end
}

// normalASCII is what is compared of a character: its lower case, 0 of a digit, nothing of the rest.
var normalASCII = func() (of [utf8.RuneSelf]byte) {
	for c := range of {
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
			of[c] = byte(c | 0x20)
		case '0' <= c && c <= '9':
			of[c] = '0'
		}
	}
	return of
}()

// normal appends what is compared of a line or paragraph.
func (c Repeats) normal(out []byte, unit string) []byte {
	if !c.Normalize {
		return append(out, unit...)
	}
	gap := false
	for i := 0; i < len(unit); {
		r, n := rune(normalASCII[unit[i]&0x7f]), 1
		if unit[i] >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(unit[i:])
			switch r = unicode.ToLower(r); {
			case unicode.In(r, unicode.L, unicode.M, unicode.S):
			case unicode.IsDigit(r):
				r = '0'
			default:
				r = 0
			}
		}
		i += n
		if r == 0 {
			gap = len(out) > 0
			continue
		}
		if gap {
			out, gap = append(out, ' '), false
		}
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	if len(out) == 0 { // nothing but punctuation
		return append(out, unit...)
	}
	return out
}
