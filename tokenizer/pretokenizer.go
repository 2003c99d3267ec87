package tokenizer

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"hone/internal/bytepair"
	"hone/internal/characters"
)

// preTokenizer cuts a text into smaller pieces; some rewrite the text.
type preTokenizer interface {
	apply(e *Encoder, p *pieces)
}

// newPreTokenizer makes one pre-tokenizer of tokenizer.json; the reference's are under tokenizers/src/pre_tokenizers.
func newPreTokenizer(p jsonPart, index int) (preTokenizer, error) {
	slot := preTokenizerSlots + 2*index // ByteLevel has two steps
	switch p.Type {
	case "ByteLevel":
		return newByteLevel(p, slot), nil
	case "Metaspace":
		return newMetaspace(p, slot)
	case "Split":
		return newSplit(p)
	// what Rust's char::is_numeric takes for one, fractions and Roman numerals included
	case "Digits":
		if p.IndividualDigits {
			return &split{find: propertySet(characters.Numeric), then: isolated}, nil
		}
		return &split{find: propertySet(characters.Numeric), then: contiguous}, nil
	case "Whitespace":
		return whitespace{characters.Reference()}, nil
	case "WhitespaceSplit":
		return &split{find: propertySet(characters.White), then: removed}, nil
	case "Punctuation":
		if p.Behavior == "" {
			p.Behavior = "Isolated"
		}
		then, err := newBehavior(p.Behavior)
		return &split{find: propertySet(characters.Punctuation), then: then}, err
	case "BertPreTokenizer":
		return bertWords{propertySet(characters.White), propertySet(characters.Punctuation)}, nil
	case "CharDelimiterSplit":
		delimiter, err := oneRune(p.Delimiter, "delimiter")
		return &split{find: newCharSet(func(r rune) bool { return r == delimiter }), then: removed}, err
	case "UnicodeScripts":
		return scripts{characters.Reference()}, nil
	case "FixedLength":
		return newFixedLength(p)
	}
	return nil, errUnknownPart("ByteLevel, Metaspace, Split, Digits, Whitespace, WhitespaceSplit, Punctuation, BertPreTokenizer, CharDelimiterSplit, UnicodeScripts, FixedLength, Sequence")
}

// split cuts at the matches of a pattern.
type split struct {
	find   matcher
	then   behavior
	invert bool
}

// newSplit takes the empty pattern, which newMatcher refuses elsewhere.
func newSplit(p jsonPart) (*split, error) {
	if err := p.Pattern.check(); err != nil {
		return nil, err
	}
	then, err := newBehavior(p.Behavior)
	if err != nil {
		return nil, err
	}
	// the reference finds the empty pattern between any two characters, so that whatever becomes of matches each character stands alone
	if p.Pattern.empty() {
		if then != removed {
			then = isolated
		}
		return &split{eachCharacter{}, then, p.Invert}, nil
	}
	find, err := newMatcher(p.Pattern)
	return &split{find, then, p.Invert}, err
}

// apply turns matches around where invert says so: then the pattern describes the words, not what is between.
func (s *split) apply(e *Encoder, p *pieces) {
	p.resplit(func(dst []cut, start, end int) []cut {
		e.hits = s.find.find(e.hits[:0], p.text[start:end])
		empties, before := false, len(dst)
		for i := range e.hits {
			e.hits[i].is = e.hits[i].is != s.invert
			empties = empties || e.hits[i].start == e.hits[i].end
		}
		dst = s.then.cutAt(dst, e.hits, start)
		if empties { // they kept apart what is on either side of them
			dst = append(dst[:before], slices.DeleteFunc(dst[before:], func(c cut) bool { return c.start == c.end })...)
		}
		return dst
	})
}

// scanner returns the split's scanner when all it does is cut into the scanner's words.
func (s *split) scanner() *bytepair.Pattern {
	if x, ok := s.find.(expression); ok && s.then == isolated {
		return x.pattern
	}
	return nil
}

// byteLevelCut is ByteLevel without its spelling of bytes, for models that read bytes.
type byteLevelCut struct {
	slot        int
	prefixSpace bool
	regex       bool
}

// newByteLevel reads add_prefix_space and use_regex, both true where nothing is said.
func newByteLevel(p jsonPart, slot int) *byteLevel {
	return &byteLevel{byteLevelCut{slot, orTrue(p.AddPrefixSpace), orTrue(p.UseRegex)}}
}

// apply puts the space in front of each piece that another pre-tokenizer has cut, as the reference does, not of the text alone.
func (b *byteLevelCut) apply(_ *Encoder, p *pieces) {
	if b.prefixSpace {
		p.prefixEach([]byte{' '}, b.slot, func(text []byte) bool { return text[0] != ' ' })
	}
	if !b.regex {
		return
	}
	classes := bytepair.Unicode()
	p.resplit(func(dst []cut, start, end int) []cut {
		text := p.text[:end]
		for start < end {
			next := bytepair.ScanGPT2(classes, text, start)
			dst = append(dst, cut{start, next})
			start = next
		}
		return dst
	})
}

// byteLevel cuts and spells bytes in GPT-2's alphabet: "Hey é" becomes Hey ĠÃ©.
type byteLevel struct{ byteLevelCut }

// A piece is cut first and spelled after, so that the pattern sees characters, not bytes.
func (b *byteLevel) apply(e *Encoder, p *pieces) {
	p.e = e
	b.byteLevelCut.apply(e, p)
	p.rewrite(b.slot+1, func(d *edit, c cut) { spell(d, c.end) })
}

// prefixEach writes text in front of the pieces that need it.
func (p *pieces) prefixEach(text []byte, slot int, needs func(text []byte) bool) {
	some := false
	for _, c := range p.cuts {
		some = some || c.start < c.end && needs(p.text[c.start:c.end])
	}
	if !some {
		return
	}
	p.rewrite(slot, func(d *edit, c cut) {
		if needs(p.text[c.start:c.end]) {
			d.prefix(text)
		}
		d.keep(c.end)
	})
}

// rewrite replaces the text by what write makes of each piece.
func (p *pieces) rewrite(slot int, write func(d *edit, c cut)) {
	d := p.e.edit(slot, p.chunk)
	p.next = p.next[:0]
	for _, c := range p.cuts {
		if c.start == c.end {
			continue
		}
		d.skip(c.start)
		start := len(d.out.text)
		write(&d, c)
		p.next = append(p.next, cut{start, len(d.out.text)})
	}
	d.skip(len(p.text))
	p.chunk = d.done()
	p.cuts, p.next = p.next, p.cuts
}

// metaspace turns spaces into a visible character and cuts before it: "Hey friend" becomes ▁Hey ▁friend.
type metaspace struct {
	slot        int
	replacement []byte
	prepend     prependScheme
	split       bool
}

// prependScheme says when a text gets a space in front.
type prependScheme int

const (
	prependAlways prependScheme = iota
	prependFirst
	prependNever
)

// newPrependScheme lets add_prefix_space=false win, which files older than prepend_scheme say.
func newPrependScheme(p jsonPart) (prependScheme, error) {
	scheme, ok := map[string]prependScheme{"": prependAlways, "always": prependAlways, "first": prependFirst, "never": prependNever}[p.PrependScheme]
	if !ok {
		return 0, fmt.Errorf("its prepend_scheme %q is not one of always, first and never", p.PrependScheme)
	}
	if p.AddPrefixSpace != nil && !*p.AddPrefixSpace {
		scheme = prependNever
	}
	return scheme, nil
}

// newMetaspace reads Metaspace, as a pre-tokenizer and as a decoder; old files say add_prefix_space for prepend_scheme.
func newMetaspace(p jsonPart, slot int) (*metaspace, error) {
	if _, err := oneRune(p.Replacement, "replacement"); err != nil {
		return nil, err
	}
	scheme, err := newPrependScheme(p)
	return &metaspace{slot, []byte(p.Replacement), scheme, orTrue(p.SplitWords)}, err
}

// apply rewrites first and cuts then, since a visible space of the text itself is cut at, too.
func (m *metaspace) apply(_ *Encoder, p *pieces) {
	p.rewrite(m.slot, func(d *edit, c cut) {
		text := p.text[c.start:c.end]
		first := c.start < p.head // as the reference sees it: a piece whose first character is from the input's first one
		// a text that begins with a space of its own gets none
		starts := text[0] == ' ' || bytes.HasPrefix(text, m.replacement)
		if !starts && (m.prepend == prependAlways || m.prepend == prependFirst && first) {
			d.prefix(m.replacement)
		}
		for i := c.start; i < c.end; i++ {
			if p.text[i] == ' ' {
				d.keep(i)
				d.put(i+1, m.replacement)
			}
		}
		d.keep(c.end)
	})
	if m.split {
		p.resplit(func(dst []cut, start, end int) []cut {
			for start < end {
				next := bytes.Index(p.text[start+1:end], m.replacement)
				if next < 0 {
					return append(dst, cut{start, end})
				}
				dst = append(dst, cut{start, start + 1 + next})
				start += 1 + next
			}
			return dst
		})
	}
}

// whitespace cuts into runs of word characters and runs of others, and drops white space.
type whitespace struct{ props *characters.Table }

// It is the pattern \w+|[^\w\s]+ by a table instead of an engine.
func (w whitespace) apply(_ *Encoder, p *pieces) {
	kind := func(props uint8) uint8 { return props & (characters.Word | characters.White) }
	p.resplit(func(dst []cut, start, end int) []cut {
		for i := start; i < end; {
			props, size := w.props.At(p.text[:end], i)
			from, k := i, kind(props)
			for i += size; i < end; i += size {
				if props, size = w.props.At(p.text[:end], i); kind(props) != k {
					break
				}
			}
			if k&characters.White == 0 {
				dst = append(dst, cut{from, i})
			}
		}
		return dst
	})
}

// bertWords drops white space and isolates punctuation: "it's a_b" becomes it ' s a _ b.
type bertWords struct{ white, punctuation *charSet }

// apply does both in one pass; the reference splits twice.
func (b bertWords) apply(_ *Encoder, p *pieces) {
	p.resplit(func(dst []cut, start, end int) []cut {
		text := p.text[:end]
		for i := start; i < end; {
			white, size := b.white.at(text, i)
			punctuation, _ := b.punctuation.at(text, i)
			if white || punctuation {
				if start < i {
					dst = append(dst, cut{start, i})
				}
				if !white {
					dst = append(dst, cut{i, i + size})
				}
				start = i + size
			}
			i += size
		}
		if start < end {
			dst = append(dst, cut{start, end})
		}
		return dst
	})
}

// scripts cuts where the script changes; spaces join any, kana join ideographs.
type scripts struct{ props *characters.Table }

// apply drops spaces before the first character with a script: the reference has no piece for them.
func (s scripts) apply(_ *Encoder, p *pieces) {
	p.resplit(func(dst []cut, start, end int) []cut {
		last, some, from := uint32(0), false, -1
		for i := start; i < end; {
			r, size := utf8.DecodeRune(p.text[i:end])
			// script 0 is that of spaces, which go with what stands before them
			if script := s.props.Script(r); script != 0 {
				if !some || script != last {
					if from >= 0 {
						dst = append(dst, cut{from, i})
					}
					from = i
				}
				last, some = script, true
			}
			i += size
		}
		if from >= 0 {
			dst = append(dst, cut{from, end})
		}
		return dst
	})
}

// fixedLength cuts into pieces of so many characters.
type fixedLength struct{ length int }

// newFixedLength reads length, which is 5 where nothing is said.
func newFixedLength(p jsonPart) (preTokenizer, error) {
	n := 5
	if p.Length != nil {
		n = *p.Length
	}
	if n < 1 {
		return nil, fmt.Errorf("its length %d is not positive", n)
	}
	return fixedLength{n}, nil
}

// apply counts characters, of which an invalid byte is one.
func (f fixedLength) apply(_ *Encoder, p *pieces) {
	p.resplit(func(dst []cut, start, end int) []cut {
		n := 0
		for i := start; i < end; {
			_, size := utf8.DecodeRune(p.text[i:end])
			i += size
			if n++; n == f.length || i == end {
				dst = append(dst, cut{start, i})
				start, n = i, 0
			}
		}
		return dst
	})
}
