package tokenizer

import (
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// Names of the built-in patterns for [TrainConfig.Pattern].
const (
	PatternGPT2   = "gpt2"   // GPT-2's: a word keeps one leading space; numbers of any length
	PatternLlama3 = "llama3" // Llama 3's: case-blind contractions, numbers in groups of up to three, line ends apart
)

const (
	probeTimeout = 250 * time.Millisecond // for one match, when a pattern is loaded
	matchTimeout = 10 * time.Second       // for one match, when text is encoded
)

const (
	regexGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	regexLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	regexQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// pattern cuts text into words: by a scanner where the expression is known, else by a regular expression engine.
type pattern struct {
	regex    string
	scan     scanner         // nil for an unknown expression
	fallback *regexp2.Regexp // nil for a known one
}

// newPattern compiles an expression as tokenizer.json holds it.
func newPattern(regex string) (pattern, error) {
	switch regex {
	case regexGPT2:
		return pattern{regex: regex, scan: scanGPT2}, nil
	case regexLlama3:
		return pattern{regex: regex, scan: scanLlama3}, nil
	case regexQwen2:
		return pattern{regex: regex, scan: scanQwen2}, nil
	}
	return enginePattern(regex)
}

// enginePattern runs an expression on the engine. One that takes too long on short texts made to make it backtrack is refused.
func enginePattern(regex string) (pattern, error) {
	var re *regexp2.Regexp
	spelled, err := translate(regex)
	if err == nil {
		re, err = regexp2.Compile(spelled)
	}
	if err != nil {
		return pattern{}, fmt.Errorf("pattern %q: %w", regex, err)
	}
	re.MatchTimeout = probeTimeout
	for _, unit := range []string{"a", "A", "0", " ", "-", "\n", "aA", "a0", "a ", " a", "a-", "é", "天"} {
		for _, end := range []string{"", "!", "\x00", "a", " "} {
			if err := re.FindRunesMatches([]rune(strings.Repeat(unit, 64)+end), 0, func(regexp2.MatchView) bool { return true }); err != nil {
				return pattern{}, fmt.Errorf("pattern %q takes too long on a text of %d characters: it backtracks without end", regex, 64*len([]rune(unit))+1)
			}
		}
	}
	re.MatchTimeout = matchTimeout
	return pattern{regex: regex, fallback: re}, nil
}

// patternByName resolves a built-in pattern's name.
func patternByName(name string) (pattern, error) {
	switch name {
	case PatternGPT2, "":
		return newPattern(regexGPT2)
	case PatternLlama3:
		return newPattern(regexLlama3)
	}
	return pattern{}, fmt.Errorf("unknown pattern %q: use %q or %q", name, PatternGPT2, PatternLlama3)
}

// safeCut returns a place at or after i where text may be cut without changing its words: after a line end that no whitespace
// follows, both known patterns always start a new word. Returns len(text) when there is none, and always for unknown patterns.
func (p *pattern) safeCut(c *classes, text []byte, i int) int {
	if p.scan == nil {
		return len(text)
	}
	for i = max(i, 1); i < len(text); i++ {
		if text[i-1] == '\n' {
			if class, _ := c.at(text, i); class != classSpace {
				return i
			}
		}
	}
	return len(text)
}

// words calls yield with the end of each word of text, in order. What an unknown expression leaves unmatched is a word too.
func (p *pattern) words(c *classes, text []byte, yield func(start, end int)) {
	if p.scan == nil {
		p.regexWords(text, yield)
		return
	}
	for i := 0; i < len(text); {
		end := p.scan(c, text, i)
		yield(i, end)
		i = end
	}
}

// regexWords yields the words of text: matches, and what is between them.
func (p *pattern) regexWords(text []byte, yield func(start, end int)) {
	for _, m := range p.regexMatches(nil, text) {
		yield(m.start, m.end)
	}
}

// regexMatches runs the expression over text. The engine works on code points; offsets lead back to bytes (an invalid byte is one U+FFFD).
// An engine that gives up, because a match takes longer than matchTimeout, leaves the rest as one stretch, so that no byte is lost.
func (p *pattern) regexMatches(dst []match, text []byte) []match {
	runes := make([]rune, 0, len(text))
	offsets := make([]int, 0, len(text)+1)
	for i, r := range string(text) {
		runes, offsets = append(runes, r), append(offsets, i)
	}
	offsets = append(offsets, len(text))
	done := 0
	_ = p.fallback.FindRunesMatches(runes, 0, func(m regexp2.MatchView) bool {
		from, n, _ := m.GroupRange(0)
		dst = appendMatch(dst, match{offsets[done], offsets[from], false})
		dst = appendMatch(dst, match{offsets[from], offsets[from+n], true})
		done = max(done, from+n)
		return true
	})
	return appendMatch(dst, match{offsets[done], len(text), false})
}
