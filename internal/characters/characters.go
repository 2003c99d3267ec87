// Package characters knows what tokenizers ask of a character: white space, punctuation, marks, its script, its lower case, and whether it goes on with a
// grapheme cluster.
//
// The tables are the answers of the reference library, asked about every character (testdata/gen/tokenizer_properties.py). Its parts are of several
// Unicode versions, none that of the Go release: package unicode would cut and normalize some characters otherwise, and ids would differ.
package characters

import (
	"sync"
	"unicode"
	"unicode/utf8"

	"hone/internal/bytepair"
)

// Properties of characters, as bits of a set.
const (
	White       uint8 = 1 << iota // char::is_whitespace of Rust
	Punctuation                   // of ASCII any sign, beyond it the general category
	Numeric                       // char::is_numeric of Rust, fractions and Roman numerals included
	Word                          // \w
	Control                       // what clean_text of BertNormalizer removes
	Accent                        // what its strip_accents removes
	Mark                          // what StripAccents removes
	Joined                        // goes on with a grapheme cluster
)

// Table maps characters to sets of properties, and to scripts and lower case.
type Table struct {
	sets    bytepair.Pages
	scripts []uint32 // scriptRanges
	lower   map[rune]rune
}

// Reference is the one table of the process, built on first use and never changed.
func Reference() *Table { return reference() }

var reference = sync.OnceValue(newTable)

func newTable() *Table {
	t := &Table{scripts: scriptRanges, lower: make(map[rune]rune, len(lowerPairs)/2)}
	for _, set := range []struct {
		ranges []uint32
		bit    uint8
	}{
		{whiteRanges, White}, {punctuationRanges, Punctuation}, {numericRanges, Numeric}, {wordRanges, Word},
		{controlRanges, Control}, {accentRanges, Accent}, {markRanges, Mark}, {joinedRanges, Joined},
	} {
		t.sets.Add(set.ranges, set.bit)
	}
	t.sets.Share()
	for i := 0; i < len(lowerPairs); i += 2 {
		t.lower[rune(lowerPairs[i])] = rune(lowerPairs[i+1])
	}
	return t
}

// Of returns the properties of a character.
func (t *Table) Of(r rune) uint8 { return t.sets.Of(r) }

// At returns the properties and the length of the character at text[i]; a byte of invalid UTF-8 has none.
func (t *Table) At(text []byte, i int) (props uint8, size int) {
	r, size := utf8.DecodeRune(text[i:])
	if r == utf8.RuneError && size == 1 {
		return 0, 1
	}
	return t.Of(r), size
}

// Lower returns a character in lower case; one character (U+0130) has two.
func (t *Table) Lower(r rune) (low, second rune) {
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
	if low, ok := t.lower[r]; ok {
		return low, 0
	}
	return r, 0
}

// Script returns the class of a character for UnicodeScripts; class 0 joins any other.
func (t *Table) Script(r rune) uint32 {
	lo, hi := 0, len(t.scripts)/3
	for lo < hi {
		mid := (lo + hi) / 2
		if t.scripts[3*mid+1] < uint32(r) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if 3*lo < len(t.scripts) && t.scripts[3*lo] <= uint32(r) {
		return t.scripts[3*lo+2]
	}
	return scriptOther
}

// BreaksCluster reports whether a grapheme cluster ends before and after r whatever stands there.
func BreaksCluster(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || unicode.Is(unicode.Cf, r) && r != 0x200C && r != 0x200D && !Prepends(r)
}

// Prepends reports whether r begins a grapheme cluster that goes on with what follows: signs over numbers, and the repha of some scripts.
func Prepends(r rune) bool {
	switch r {
	case 0xD4E, 0x111C2, 0x111C3, 0x1193F, 0x11941, 0x11A3A, 0x11A84, 0x11A85, 0x11A86, 0x11A87, 0x11A88, 0x11A89, 0x11D46, 0x11F02:
		return true
	}
	return unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}
