package bytepair

import "sync"

// Alphabet is the byte-level alphabet of GPT-2: tokenizer.json spells each byte as one printable character. Printable Latin-1
// bytes stand for themselves; the others take the code points from 256 on, in order. Space is U+0120 (Ġ), newline U+010A (Ċ).
type Alphabet struct {
	Spelling [256]rune       // of each byte
	toByte   [256 + 68]int16 // -1 where no byte is spelled so
}

// ByteAlphabet is the one table of the process, built on first use and never changed.
var ByteAlphabet = sync.OnceValue(newAlphabet)

// newAlphabet follows bytes_to_unicode of GPT-2's encoder.py: a vocabulary in JSON must be text, so bytes that cannot be seen are spelled by letters.
func newAlphabet() *Alphabet {
	a := new(Alphabet)
	for i := range a.toByte {
		a.toByte[i] = -1
	}
	next := rune(256)
	for b := range rune(256) {
		r := b
		if b < '!' || b > '~' && b < 0xA1 || b == 0xAD {
			r, next = next, next+1
		}
		a.Spelling[b], a.toByte[r] = r, int16(b)
	}
	return a
}

// Read returns the bytes that s spells; ok is false when a character is not in the alphabet.
func (a *Alphabet) Read(s string) (b []byte, ok bool) {
	b = make([]byte, 0, len(s))
	for _, r := range s {
		if int(r) >= len(a.toByte) || a.toByte[r] < 0 {
			return nil, false
		}
		b = append(b, byte(a.toByte[r]))
	}
	return b, true
}
