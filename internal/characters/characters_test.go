package characters

import (
	"testing"
	"unicode"
)

// TestProperties of characters whose properties no Unicode version changed, and of bytes that are none.
func TestProperties(t *testing.T) {
	table := Reference()
	for r, want := range map[rune]uint8{
		'a': Word, '_': Word | Punctuation, '7': Word | Numeric, '+': Punctuation, '¡': Punctuation, '½': Numeric, 'Ⅷ': Word | Numeric, ' ': White, '\u3000': White,
		'\u0301': Word | Accent | Mark | Joined, '\x07': Control, '\u200b': Control, 'ж': Word, '€': 0,
	} {
		if got := table.Of(r); got != want {
			t.Errorf("%q has the properties %08b, want %08b", r, got, want)
		}
		if got, size := table.At([]byte("x"+string(r)), 1); got != want || size != len(string(r)) {
			t.Errorf("%q in a text: %08b and %d bytes", r, got, size)
		}
	}
	if got, size := table.At([]byte("a\xff"), 1); got != 0 || size != 1 {
		t.Errorf("a byte of invalid UTF-8: %08b and %d bytes", got, size)
	}
	for r := range rune(unicode.MaxASCII + 1) {
		if white := table.Of(r)&White != 0; white != unicode.IsSpace(r) {
			t.Errorf("%q is white space: %v", r, white)
		}
	}
}

// TestLower: one character has two in lower case, most have one or are their own.
func TestLower(t *testing.T) {
	for r, want := range map[rune][2]rune{'A': {'a'}, 'a': {'a'}, '[': {'['}, '@': {'@'}, 'Ä': {'ä'}, 'Σ': {'σ'}, 'ẞ': {'ß'}, 0x130: {'i', 0x307}, '人': {'人'}, unicode.MaxRune: {unicode.MaxRune}} {
		if low, second := Reference().Lower(r); low != want[0] || second != want[1] {
			t.Errorf("%q in lower case is %q and %q", r, low, second)
		}
	}
}

// TestScripts: letters of one script are of one class, kana of that of ideographs, and spaces join any.
func TestScripts(t *testing.T) {
	class := Reference().Script
	if class('a') != class('Z') || class('a') == class('ж') || class('人') != class('あ') || class('人') == class('a') || class(' ') != 0 || class(unicode.MaxRune) != scriptOther {
		t.Error(class('a'), class('ж'), class('人'), class('あ'), class(' '))
	}
}

// TestClusters: controls stand alone, joiners and signs over numbers do not.
func TestClusters(t *testing.T) {
	for r, want := range map[rune][2]bool{'\n': {true, false}, '\u2028': {true, false}, '\u200d': {false, false}, '\u0600': {false, true}, 0x0D4E: {false, true}, '\u200b': {true, false}, 'a': {false, false}} {
		if breaks, prepends := BreaksCluster(r), Prepends(r); breaks != want[0] || prepends != want[1] {
			t.Errorf("%U breaks %v, goes before %v", r, breaks, prepends)
		}
	}
}
