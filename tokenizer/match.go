package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"hone/internal/bytepair"
	"hone/internal/characters"
)

// match is a stretch of text that a pattern matches, or one between matches.
type match struct {
	start, end int
	is         bool
}

// matcher finds the matches of a pattern.
type matcher interface {
	// find appends stretches that cover text, in order; those of an expression may be empty.
	find(dst []match, text []byte) []match
}

// newMatcher makes a matcher of {"String": ...} or {"Regex": ...}.
func newMatcher(p *jsonPattern) (matcher, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.String != nil {
		if *p.String == "" {
			return nil, errors.New("its pattern is empty")
		}
		return literal{[]byte(*p.String)}, nil
	}
	switch *p.Regex { // what SentencePiece models use to collapse spaces
	case " {2,}":
		return spaceRuns{}, nil
	case "^ +| +$":
		return outerSpaces{}, nil
	}
	compiled, err := bytepair.NewPattern(*p.Regex)
	if err != nil {
		return nil, err
	}
	return expression{&compiled}, nil
}

// newReplacement makes a matcher for a replacement, and reads what it puts there.
func newReplacement(p jsonPart) (m matcher, content string, err error) {
	m, err = newMatcher(p.Pattern)
	if err == nil && p.Content == nil {
		err = errors.New("its content is missing")
	}
	return m, orString(p.Content, ""), err
}

// literal matches a string.
type literal struct{ text []byte }

// Matches do not overlap: in aaa, aa is found once.
func (l literal) find(dst []match, text []byte) []match {
	for at := 0; at < len(text); {
		i := bytes.Index(text[at:], l.text)
		if i < 0 {
			return append(dst, match{at, len(text), false})
		}
		dst = appendMatch(dst, match{at, at + i, false})
		at += i + len(l.text)
		dst = append(dst, match{at - len(l.text), at, true})
	}
	return dst
}

// eachCharacter is what lies between the matches of an empty pattern.
type eachCharacter struct{}

// find makes each character a stretch between matches.
func (eachCharacter) find(dst []match, text []byte) []match {
	for at := 0; at < len(text); {
		_, size := utf8.DecodeRune(text[at:])
		dst = append(dst, match{at, at + size, false})
		at += size
	}
	return dst
}

// appendMatch leaves out what is empty, so that stretches tile the text.
func appendMatch(dst []match, m match) []match {
	if m.start < m.end {
		dst = append(dst, m)
	}
	return dst
}

// expression matches a regular expression. Empty matches count: they are replaced by something, and what is before one is not joined to what is behind.
type expression struct{ pattern *bytepair.Pattern }

// find calls the scanner of a known expression, under which every byte is of a match, or the engine.
func (x expression) find(dst []match, text []byte) []match {
	if scan := x.pattern.Scan; scan != nil {
		for i := 0; i < len(text); {
			end := scan(bytepair.Unicode(), text, i)
			dst = append(dst, match{i, end, true})
			i = end
		}
		return dst
	}
	x.pattern.Matches(text, func(start, end int, is bool) {
		dst = append(dst, match{start, end, is})
	})
	return dst
}

// spaceRuns matches two spaces and more.
type spaceRuns struct{}

// find is " {2,}" without an engine.
func (spaceRuns) find(dst []match, text []byte) []match {
	at := 0
	for i := 0; i < len(text); {
		if text[i] != ' ' {
			i++
			continue
		}
		end := i + 1
		for end < len(text) && text[end] == ' ' {
			end++
		}
		if end-i > 1 {
			dst = append(appendMatch(dst, match{at, i, false}), match{i, end, true})
			at = end
		}
		i = end
	}
	return appendMatch(dst, match{at, len(text), false})
}

// outerSpaces matches spaces at both ends of each line.
type outerSpaces struct{}

// find is "^ +| +$" without an engine. A line of spaces is one match.
func (outerSpaces) find(dst []match, text []byte) []match {
	at := 0
	for i := 0; i < len(text); {
		end := i
		for end < len(text) && text[end] == ' ' {
			end++
		}
		if end == i {
			i++
			continue
		}
		if i == 0 || text[i-1] == '\n' || end == len(text) || text[end] == '\n' {
			dst = append(appendMatch(dst, match{at, i, false}), match{i, end, true})
			at = end
		}
		i = end
	}
	return appendMatch(dst, match{at, len(text), false})
}

// charSet matches each character of a set.
type charSet struct {
	ascii [utf8.RuneSelf]bool
	has   func(r rune) bool
}

// newCharSet asks for each ASCII character once, since most text is made of those.
func newCharSet(has func(r rune) bool) *charSet {
	s := &charSet{has: has}
	for b := range s.ascii {
		s.ascii[b] = has(rune(b))
	}
	return s
}

// propertySet is the characters with a property.
func propertySet(bit uint8) *charSet {
	props := characters.Reference()
	return newCharSet(func(r rune) bool { return props.Of(r)&bit != 0 })
}

// at reports whether the character at text[i] is in the set, and its length. A byte of invalid UTF-8 never is.
func (s *charSet) at(text []byte, i int) (in bool, size int) {
	if b := text[i]; b < utf8.RuneSelf {
		return s.ascii[b], 1
	}
	r, size := utf8.DecodeRune(text[i:])
	if r == utf8.RuneError && size == 1 {
		return false, 1
	}
	return s.has(r), size
}

// find makes each character of the set a match of its own; a behavior may join them.
func (s *charSet) find(dst []match, text []byte) []match {
	at := 0
	for i := 0; i < len(text); {
		in, size := s.at(text, i)
		if in {
			dst = append(appendMatch(dst, match{at, i, false}), match{i, i + size, true})
			at = i + size
		}
		i += size
	}
	return appendMatch(dst, match{at, len(text), false})
}

// behavior says what becomes of the matches of a split (SplitDelimiterBehavior of tokenizers' normalizer.rs). At each "-" of
// "the-final--countdown":
//
//	removed              the final countdown
//	isolated             the - final - - countdown
//	mergedWithPrevious   the- final- - countdown
//	mergedWithNext       the -final - -countdown
//	contiguous           the - final -- countdown
type behavior int

const (
	removed behavior = iota
	isolated
	mergedWithPrevious
	mergedWithNext
	contiguous
)

// newBehavior reads the names as tokenizer.json spells them.
func newBehavior(name string) (behavior, error) {
	for b, s := range []string{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"} {
		if s == name {
			return behavior(b), nil
		}
	}
	return 0, fmt.Errorf("its behavior %q is not one of Removed, Isolated, MergedWithPrevious, MergedWithNext and Contiguous", name)
}

// cutAt appends the pieces of text[offset:...] that stretches and a behavior make.
func (b behavior) cutAt(dst []cut, hits []match, offset int) []cut {
	switch b {
	case removed:
		for _, m := range hits {
			if !m.is {
				dst = append(dst, cut{offset + m.start, offset + m.end})
			}
		}
	case isolated:
		for _, m := range hits {
			dst = append(dst, cut{offset + m.start, offset + m.end})
		}
	case mergedWithNext:
		return cutBackwards(dst, hits, offset)
	default:
		was, first := false, len(dst)
		for _, m := range hits {
			join := m.is && !was
			if b == contiguous {
				join = m.is == was
			}
			if join && len(dst) > first {
				dst[len(dst)-1].end = offset + m.end
			} else {
				dst = append(dst, cut{offset + m.start, offset + m.end})
			}
			was = m.is
		}
	}
	return dst
}

// cutBackwards is mergedWithNext: a match goes with what follows it, unless that is a match.
func cutBackwards(dst []cut, hits []match, offset int) []cut {
	for i := 0; i < len(hits); i++ {
		m := hits[i]
		end := m.end
		if m.is && i+1 < len(hits) && !hits[i+1].is {
			i++
			end = hits[i].end
		}
		dst = append(dst, cut{offset + m.start, offset + end})
	}
	return dst
}
