package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"

	"hone/internal/bytepair"
)

// Properties of characters that normalizers and pre-tokenizers ask for.
const (
	propWhite uint8 = 1 << iota
	propPunctuation
	propNumeric
	propWord
	propControl
	propAccent
	propMark
	propJoined
)

// properties maps characters to sets of properties, and to scripts and lower case.
type properties struct {
	sets    bytepair.Pages
	scripts []uint32 // scriptRanges
	lower   map[rune]rune
}

// unicodeProperties is the one table of the process, built on first use and never changed.
var unicodeProperties = sync.OnceValue(newProperties)

// newProperties takes the ranges of properties_table.go, whose Unicode version is the reference's, not that of the Go release.
func newProperties() *properties {
	p := &properties{scripts: scriptRanges, lower: make(map[rune]rune, len(lowerPairs)/2)}
	for _, set := range []struct {
		ranges []uint32
		bit    uint8
	}{
		{whiteRanges, propWhite}, {punctuationRanges, propPunctuation}, {numericRanges, propNumeric}, {wordRanges, propWord},
		{controlRanges, propControl}, {accentRanges, propAccent}, {markRanges, propMark}, {joinedRanges, propJoined},
	} {
		p.sets.Add(set.ranges, set.bit)
	}
	p.sets.Share()
	for i := 0; i < len(lowerPairs); i += 2 {
		p.lower[rune(lowerPairs[i])] = rune(lowerPairs[i+1])
	}
	return p
}

// of returns the properties of a character.
func (p *properties) of(r rune) uint8 { return p.sets.Of(r) }

// at returns the properties and the length of the character at text[i]; a byte of invalid UTF-8 has none.
func (p *properties) at(text []byte, i int) (props uint8, size int) {
	r, size := utf8.DecodeRune(text[i:])
	if r == utf8.RuneError && size == 1 {
		return 0, 1
	}
	return p.of(r), size
}

// lowered returns a character in lower case; one character (U+0130) has two.
func (p *properties) lowered(r rune) (low, second rune) {
	switch {
	case r < utf8.RuneSelf:
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r, 0
	// the only one that the reference's char::to_lowercase makes two of
	case r == 0x130:
		return 'i', 0x307
	}
	if low, ok := p.lower[r]; ok {
		return low, 0
	}
	return r, 0
}

// script returns the class of a character for UnicodeScripts; class 0 joins any other.
func (p *properties) script(r rune) uint32 {
	lo, hi := 0, len(p.scripts)/3
	for lo < hi {
		mid := (lo + hi) / 2
		if p.scripts[3*mid+1] < uint32(r) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if 3*lo < len(p.scripts) && p.scripts[3*lo] <= uint32(r) {
		return p.scripts[3*lo+2]
	}
	return scriptOther
}

// breaksCluster reports whether a grapheme cluster ends before and after r whatever stands there.
func breaksCluster(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || unicode.Is(unicode.Cf, r) && r != 0x200C && r != 0x200D && !prepends(r)
}

// prepends reports whether r begins a grapheme cluster that goes on with what follows: signs over numbers, and the repha of some scripts.
func prepends(r rune) bool {
	switch r {
	case 0xD4E, 0x111C2, 0x111C3, 0x1193F, 0x11941, 0x11A3A, 0x11A84, 0x11A85, 0x11A86, 0x11A87, 0x11A88, 0x11A89, 0x11D46, 0x11F02:
		return true
	}
	return unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}
