package bytepair

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

const (
	probeTimeout = 250 * time.Millisecond // for one match, when a pattern is loaded
	matchTimeout = 10 * time.Second       // for one match, when text is encoded
)

// Expressions that have a scanner of their own, as tokenizer.json holds them: GPT-2's (a word keeps one leading space; numbers of any
// length), Llama 3's (contractions in any case, numbers in groups of up to three, line ends apart), and Qwen 2's, whose numbers stand alone.
const (
	GPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	Llama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	Qwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// Pattern cuts text into words: by a scanner where the expression is known, else by a regular expression engine.
type Pattern struct {
	Regex    string
	Scan     Scanner         // nil for an unknown expression
	fallback *regexp2.Regexp // nil for a known one
}

// NewPattern compiles an expression as tokenizer.json holds it.
func NewPattern(regex string) (Pattern, error) {
	switch regex {
	case GPT2:
		return Pattern{Regex: regex, Scan: ScanGPT2}, nil
	case Llama3:
		return Pattern{Regex: regex, Scan: scanLlama3}, nil
	case Qwen2:
		return Pattern{Regex: regex, Scan: scanQwen2}, nil
	}
	return enginePattern(regex)
}

// enginePattern runs an expression on the engine. One that takes too long on short texts made to make it backtrack is refused.
func enginePattern(regex string) (Pattern, error) {
	var re *regexp2.Regexp
	spelled, err := translate(regex)
	if err == nil {
		re, err = regexp2.Compile(spelled)
	}
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern %q: %w", regex, err)
	}
	re.MatchTimeout = probeTimeout
	// A pattern comes with a downloaded model. Nested repetition, as in (a|aa)+$, takes time exponential in the text, which 64 characters
	// are enough to show.
	for _, unit := range []string{"a", "A", "0", " ", "-", "\n", "aA", "a0", "a ", " a", "a-", "é", "天"} {
		for _, end := range []string{"", "!", "\x00", "a", " "} {
			if timesOut(re, strings.Repeat(unit, 64)+end) {
				return Pattern{}, fmt.Errorf("pattern %q takes too long on a text of %d characters: it backtracks without end", regex, 64*len([]rune(unit))+1)
			}
		}
	}
	re.MatchTimeout = matchTimeout
	return Pattern{Regex: regex, fallback: re}, nil
}

// timesOut reports whether the expression takes longer than its timeout on a text: twice, as a busy machine may stand still for once.
func timesOut(re *regexp2.Regexp, text string) bool {
	for range 2 {
		if err := re.FindRunesMatches([]rune(text), 0, func(regexp2.MatchView) bool { return true }); err == nil {
			return false
		}
	}
	return true
}

// SafeCut returns a place at or after i where text may be cut without changing the words on either side: between a letter or number and
// white space. There every known pattern ends a word, whatever follows, and starts one, whatever stood before. (Behind a line end it would not do:
// GPT-2's pattern makes two words of " \n" before a letter and one at the end of a text.) It returns len(text) when there is none, and always for
// unknown patterns.
func (p *Pattern) SafeCut(text []byte, i int) int {
	if p.Scan == nil {
		return len(text)
	}
	c := Unicode()
	for ; i < len(text); i++ {
		if !utf8.RuneStart(text[i]) {
			continue
		}
		if class, _ := c.at(text, i); class != classSpace {
			continue
		}
		before, _ := utf8.DecodeLastRune(text[:i]) // at the start of the text U+FFFD, which is other
		if class := c.ofRune(before); class == classLetter || class == classNumber {
			return i
		}
	}
	return len(text)
}

// Words calls yield with the start and end of each word of text, in order. What an unknown expression leaves unmatched is a word too.
func (p *Pattern) Words(text []byte, yield func(start, end int)) {
	if p.Scan == nil {
		p.Matches(text, func(start, end int, _ bool) {
			if start < end {
				yield(start, end)
			}
		})
		return
	}
	c := Unicode()
	for i := 0; i < len(text); {
		end := p.Scan(c, text, i)
		yield(i, end)
		i = end
	}
}

// Matches calls yield for the matches of the expression in text, empty ones included unless they stand at the end of another or the text is empty, and
// for what is between them, in order; the pattern has no scanner. The
// engine works on code points; offsets lead back to bytes (an invalid byte is one U+FFFD). An engine that gives up twice, because a match takes
// longer than matchTimeout, leaves the rest as one stretch, so that no byte is lost.
func (p *Pattern) Matches(text []byte, yield func(start, end int, match bool)) {
	runes := make([]rune, 0, len(text))
	offsets := make([]int, 0, len(text)+1)
	for i, r := range string(text) {
		runes, offsets = append(runes, r), append(offsets, i)
	}
	offsets = append(offsets, len(text))
	between := func(start, end int) {
		if start < end {
			yield(start, end, false)
		}
	}
	done, last := 0, -1 // the end of the last match
	twice(func(each func(regexp2.MatchView) bool) error { return p.fallback.FindRunesMatches(runes, 0, each) }, func(m regexp2.MatchView) {
		from, n, _ := m.GroupRange(0)
		between(offsets[done], offsets[from])
		if n > 0 || from != last && len(text) > 0 {
			yield(offsets[from], offsets[from+n], true)
		}
		done, last = max(done, from+n), from+n
	})
	between(offsets[done], len(text))
}

// twice calls each for what find finds, and find once more if it fails, of which each gets what is new: the time of a match runs on while its process is
// stopped, as by Ctrl-Z, which must not change how a text is cut.
func twice(find func(each func(regexp2.MatchView) bool) error, each func(regexp2.MatchView)) {
	told := 0
	for range 2 {
		found := 0
		if err := find(func(m regexp2.MatchView) bool {
			if found++; found > told {
				told = found
				each(m)
			}
			return true
		}); err == nil {
			return
		}
	}
}
