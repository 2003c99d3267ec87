package words

import (
	"encoding/binary"
	"math/bits"
	"unicode"
	"unicode/utf8"
)

// Span is a word of a text.
type Span struct {
	Hash    uint64 // of its lower case
	At, End int    // bytes
}

// Spans appends the first words of a text, at most so many, as Normal cuts them: runs of letters and digits, compared in lower case, and in scripts without
// spaces single characters. It looks at 64 bytes at a time, which are parted into runs of what may be in words; only runs with bytes beyond ASCII are looked at by character.
func Spans(text string, most int, out []Span) []Span {
	most = max(most, most+len(out))
	begin, last := 0, uint64(0) // of the run that is open; whether one is
	for base := 0; base <= len(text) && len(out) < most; base += 64 {
		run := wordBytes(text, base)
		edges := run ^ (run<<1 | last) // where a run begins, and behind its end, in turn
		for last = run >> 63; edges != 0; edges &= edges - 1 {
			at := base + bits.TrailingZeros64(edges)
			if run>>(at-base)&1 == 1 {
				begin = at
			} else if hash, ascii := asciiWord(text, begin, at); ascii {
				out = append(out, Span{hash, begin, at})
			} else {
				out = unicodeWords(text, begin, at, out)
			}
		}
	}
	return out[:min(len(out), most)]
}

// asciiWord hashes the lower case of letters and digits; ascii is false where there are others.
func asciiWord(text string, at, end int) (hash uint64, ascii bool) {
	all := uint64(0)
	for ; at < end; at += 8 {
		keep := uint64(1)<<(8*uint(end-at)) - 1 // all of it if 8 bytes or more are left
		chunk := eightBytes(text, at) & keep
		all |= chunk
		hash = Mix(hash ^ (chunk | lowerCase&keep))
	}
	return hash, all&highBits == 0
}

// unicodeWords appends the words among characters of which none is ASCII but for letters and digits. Hashes are those of the lower case, too, and of eight
// bytes at a time, as asciiWord's are: a word of ASCII has the same hash wherever it stands.
func unicodeWords(text string, at, end int, out []Span) []Span {
	var room [64]byte
	lower, begin, cut := room[:0], at, wordCut{}
	word := func(to int) {
		if len(lower) > 0 {
			hash := uint64(0)
			for i := 0; i < len(lower); i += 8 {
				hash = Mix(hash ^ eightBytes(string(lower[i:min(len(lower), i+8)]), 0))
			}
			out = append(out, Span{hash, begin, to})
		}
		lower, begin = lower[:0], to
	}
	for at < end {
		r, n := utf8.DecodeRuneInString(text[at:end])
		part := InWord(r)
		if !part || cut.begins(r) {
			word(at)
		}
		at += n
		if part {
			lower = utf8.AppendRune(lower, unicode.ToLower(r))
		} else {
			begin, cut = at, wordCut{}
		}
	}
	word(end)
	return out
}

// Eight bytes at once, the first in the lowest bits.
const (
	eachByte  = 0x0101010101010101
	highBits  = 0x80 * eachByte
	lowerCase = 0x20 * eachByte // what an ASCII letter has more in lower case; digits have it
)

// eightBytes reads from a place on; behind the end are zeros.
func eightBytes(s string, at int) uint64 {
	if len(s)-at >= 8 {
		return binary.LittleEndian.Uint64([]byte(s[at : at+8]))
	}
	return lastBytes(s[at:])
}

func lastBytes(s string) (v uint64) {
	for i := len(s) - 1; i >= 0; i-- {
		v = v<<8 | uint64(s[i])
	}
	return v
}

// wordBytes has a bit for each of 64 bytes: of letters and digits of ASCII, and of all that is beyond.
func wordBytes(text string, base int) (run uint64) {
	atLeast := func(bytes uint64, least byte) uint64 { return bytes - uint64(least)*eachByte } // in the high bits, where they are set in bytes
	for i := 0; i < 64 && base+i < len(text); i += 8 {
		chunk := eightBytes(text, base+i)
		digits := chunk | highBits
		letters := digits | lowerCase
		in := atLeast(digits, '0')&^atLeast(digits, '9'+1) | atLeast(letters, 'a')&^atLeast(letters, 'z'+1) | chunk
		const gather = 0x0102040810204080 // moves the lowest bits of the bytes to the highest byte
		run |= (in & highBits >> 7) * gather >> 56 << i
	}
	return run
}
