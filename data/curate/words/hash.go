// Package words cuts texts of any script into words and tells scripts and languages apart.
//
// Scripts that put no space between words have a whole sentence where others have a word; there a character with its marks is one, and in Tibetan a
// syllable. Filters count words and copies are compared by them, and both must cut alike wherever they do.
package words

// RollFactor is what rolling hashes, those of runs of words or bytes modulo 2^64, are multiplied by for each member that is added: a multiplier of a
// congruential generator with good spectra (Steele and Vigna, "Computationally Easy, Spectrally Good Multipliers", 2022).
const RollFactor = 0xd1342543de82ef95

// Mix spreads a hash over all bits.
func Mix(h uint64) uint64 {
	h = (h ^ h>>32) * 0xd6e8feb86659fd93
	return h ^ h>>32
}

// EachGram calls f with the hashes of n words in a row, from word i on.
func EachGram(words []Span, n int, f func(i int, key uint64)) {
	grown := uint64(1)
	for range n {
		grown *= RollFactor
	}
	h := uint64(0)
	for i, w := range words {
		h = h*RollFactor + w.Hash
		if i >= n {
			// A rolling hash: each word is multiplied in once, whatever n is, and leaves n words later.
			h -= words[i-n].Hash * grown
		}
		if i >= n-1 {
			f(i-n+1, Mix(h))
		}
	}
}
