package tokenizer

import (
	"bytes"
	"strings"
)

// mark is the visible space of SentencePiece.
const mark = "▁"

// spaced is the short way for models whose words begin with the visible space: words are cut from the text at its spaces, looked up as
// they stand there, and only a word that no cache knows is rewritten. It is taken where it gives the ids of the long way: Metaspace cuts
// at every space, or no merge can cross the place before a space (see bpe.joins). A text that holds the visible space itself goes the
// long way.
type spaced struct {
	before []normalizer // what is done to the text first
	prefix spacedPrefix
	split  bool      // every space begins a word; else a run of spaces does
	joins  [256]bool // bytes after which a space may belong to the same word
}

type spacedPrefix int

const (
	noPrefix      spacedPrefix = iota
	everyPrefix                // a space goes in front of every stretch
	missingPrefix              // of every stretch that has none
	firstPrefix                // of the first stretch if it has none
	onePrefix                  // of the first stretch
)

// newSpaced returns nil where the short way does not lead to the same ids.
func newSpaced(t *Tokenizer, m *model) *spaced {
	s := &spaced{}
	n := len(t.normalizers)
	isMark := func(i int) bool {
		p, ok := t.normalizers[i].(prepend)
		if s.prefix = everyPrefix; p.once {
			s.prefix = onePrefix
		}
		return ok && string(p.text) == mark
	}
	// Three spellings of the same: Metaspace (T5, Mistral); Prepend and then Replace (Llama 2, SentencePiece), where the text keeps its
	// spaces until the last normalizer; and Replace before Prepend.
	switch {
	case len(t.preTokenizers) == 1 && s.setMetaspace(t.preTokenizers[0]):
		s.before = t.normalizers
	case n > 0 && noSpaces(t.preTokenizers) && replacesSpaces(t.normalizers[n-1]):
		s.before = t.normalizers[:n-1]
		if n > 1 && isMark(n-2) {
			s.before = t.normalizers[:n-2]
		} else {
			s.prefix = noPrefix
		}
	case n > 1 && noSpaces(t.preTokenizers) && replacesSpaces(t.normalizers[n-2]) && isMark(n-1):
		s.before = t.normalizers[:n-2]
	default:
		return nil
	}
	if s.split {
		return s
	}
	ok := false
	switch w := t.model.(type) {
	case *bpe:
		s.joins, ok = w.joins(m)
	case *unigram:
		s.joins, ok = w.joins()
	}
	if !ok {
		return nil
	}
	return s
}

// setMetaspace takes over what Metaspace says, if it uses the usual character.
func (s *spaced) setMetaspace(p preTokenizer) bool {
	m, ok := p.(*metaspace)
	if !ok || string(m.replacement) != mark {
		return false
	}
	s.split = m.split
	s.prefix = map[prependScheme]spacedPrefix{prependAlways: missingPrefix, prependFirst: firstPrefix, prependNever: noPrefix}[m.prepend]
	return true
}

// markJoins adds to joins the bytes after which a token has the visible space.
func markJoins(joins *[256]bool, token string) {
	for at := 1; at < len(token); {
		i := strings.Index(token[at:], mark)
		if i < 0 {
			return
		}
		at += i
		if !strings.HasSuffix(token[:at], mark) {
			joins[token[at-1]] = true
		}
		at += len(mark)
	}
}

// replacesSpaces reports whether a normalizer does nothing but make spaces visible.
func replacesSpaces(n normalizer) bool {
	r, ok := n.(replace)
	if !ok || string(r.content) != mark {
		return false
	}
	l, ok := r.find.(literal)
	return ok && string(l.text) == " "
}

// noSpaces reports whether pre-tokenizers do nothing to a text without spaces.
func noSpaces(list []preTokenizer) bool {
	if len(list) == 0 {
		return true
	}
	s, ok := list[0].(*split)
	if !ok || len(list) > 1 || s.invert {
		return false
	}
	l, ok := s.find.(literal)
	return ok && string(l.text) == " "
}

// spacedStretch encodes what is between added tokens.
func (e *Encoder) spacedStretch(dst []int32, c chunk) []int32 {
	s := e.t.spaced
	plain := c
	for _, n := range s.before {
		plain = n.normalize(e, plain)
	}
	text := plain.text
	if len(text) == 0 {
		return dst
	}
	// a visible space in the input would cut where no space is
	if bytes.Contains(text, []byte(mark)) {
		return e.words(dst, e.normalize(c))
	}
	if s.prefix == everyPrefix || s.prefix == onePrefix && plain.first || text[0] != ' ' && (s.prefix == missingPrefix || s.prefix == firstPrefix && plain.head > 0) {
		return e.spacedPrefixed(dst, text)
	}
	return e.spacedWords(dst, text)
}

// spacedPrefixed encodes text with a space in front, which the first word gets.
func (e *Encoder) spacedPrefixed(dst []int32, text []byte) []int32 {
	s := e.t.spaced
	end := 0
	if !s.split || text[0] != ' ' {
		end = s.wordEnd(text, 0)
	}
	e.head = append(append(e.head[:0], ' '), text[:end]...)
	dst = e.word(dst, e.head, 0, len(e.head))
	return e.spacedWords(dst, text[end:])
}

// spacedWords encodes text from a word's start on; words are looked up with their plain spaces.
func (e *Encoder) spacedWords(dst []int32, text []byte) []int32 {
	s := e.t.spaced
	if s.split {
		for i := 0; i < len(text); {
			end := i + 1
			for end < len(text) && text[end] != ' ' {
				end++
			}
			dst = e.word(dst, text, i, end)
			i = end
		}
		return dst
	}
	for i := 0; i < len(text); {
		end := s.wordEnd(text, i)
		dst = e.word(dst, text, i, end)
		i = end
	}
	return dst
}

// wordEnd returns the end of the word at i: spaces, then other characters.
func (s *spaced) wordEnd(text []byte, i int) int {
	if s.split {
		i++
	}
	for i < len(text) {
		for !s.split && i < len(text) && text[i] == ' ' {
			i++
		}
		for i < len(text) && text[i] != ' ' {
			i++
		}
		if i == len(text) || s.split || !s.joins[text[i-1]] {
			break
		}
	}
	return i
}

// miss encodes a word that no cache knows.
func (e *Encoder) miss(dst []int32, word []byte) []int32 {
	if e.t.spaced != nil && bytes.IndexByte(word, ' ') >= 0 {
		e.marked = e.marked[:0]
		for _, b := range word {
			if b == ' ' {
				e.marked = append(e.marked, mark...)
			} else {
				e.marked = append(e.marked, b)
			}
		}
		word = e.marked
	}
	return e.t.model.encode(e, dst, word)
}
