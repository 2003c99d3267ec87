// Package dedup finds documents that are copies of each other: signatures whose bands agree (MinHash), the similarity of what agrees, exactly or
// estimated, from files that are read by the number of a document, and sets of copies of which one stays (Clusters).
//
// Package curate writes the files, sorts the keys and hands over what shares one.
package dedup

import (
	"fmt"
	"math"

	"github.com/zeebo/xxh3"

	"hone/data/curate/words"
	"hone/internal/splitmix"
)

// MinHash finds near duplicates: documents whose sets of word n-grams are alike (Broder, 1997), by bands of hashes
// that agree (Leskovec et al., "Mining of Massive Datasets", 2020, section 3.4). With the defaults, 14 bands of 8, a pair of
// Jaccard similarity s is found with probability 1-(1-s^8)^14: 0.77 at 0.75, 0.92 at 0.8, 0.999 at 0.9.
type MinHash struct {
	NGram     int     `yaml:"ngram" doc:"words per n-gram"`
	Bands     int     `yaml:"bands" doc:"groups of hashes; documents that agree in one group are compared"`
	Rows      int     `yaml:"rows" doc:"hashes per group"`
	Threshold float64 `yaml:"threshold" doc:"least similarity of duplicates; 0: agreeing in one group is enough, as with datatrove and for FineWeb"`
	Exact     bool    `yaml:"exact" doc:"the similarity is that of all n-grams, which take 8 bytes each on the disk meanwhile, of documents that agree with another; false: it is estimated from the hashes"`
	Seed      uint64  `yaml:"seed" doc:"of the hashes"`
}

// DefaultMinHash searches as datatrove does, and then compares what it found: documents that agree in a group may be alike by half only.
func DefaultMinHash() MinHash {
	return MinHash{NGram: 5, Bands: 14, Rows: 8, Threshold: 0.8, Exact: true, Seed: 1}
}

// Validate reports the first value that cannot be meant.
func (c MinHash) Validate() error {
	switch {
	case c.NGram < 1 || c.NGram > 100:
		return fmt.Errorf("near.ngram is %d; it must be between 1 and 100", c.NGram)
	case c.Bands < 1 || c.Rows < 1 || c.Bands > 1000 || c.Rows > 1000 || c.Bands*c.Rows > 1<<14:
		return fmt.Errorf("near.bands is %d and near.rows %d; both must be at least 1 and there may be %d hashes", c.Bands, c.Rows, 1<<14)
	case !(c.Threshold >= 0 && c.Threshold <= 1):
		return fmt.Errorf("near.threshold is %v; it must be between 0 and 1", c.Threshold)
	}
	return nil
}

// Hasher computes signatures. It is not for several goroutines at once.
type Hasher struct {
	c    MinHash
	a, b []uint64
	min  []uint64
}

// Hasher makes what computes signatures, with hash functions that depend on the seed alone.
func (c MinHash) Hasher() *Hasher {
	n := c.Bands * c.Rows
	h := &Hasher{c: c, a: make([]uint64, n), b: make([]uint64, n), min: make([]uint64, n)}
	state := c.Seed
	for i := range n {
		// Odd, so that the multiplication modulo 2^64 is a bijection: an even one would lose the low bits of every n-gram.
		h.a[i] = splitmix.Next(&state) | 1
		h.b[i] = splitmix.Next(&state)
	}
	return h
}

// Signature is the upper halves of the least hash of the text's n-grams for each of Bands*Rows hash functions.
func (h *Hasher) Signature(text string) []uint32 {
	for i := range h.min {
		h.min[i] = math.MaxUint64
	}
	h.c.eachGram(text, h.add)
	sig := make([]uint32, len(h.min))
	for i, m := range h.min {
		sig[i] = uint32(m >> 32)
	}
	return sig
}

// eachGram calls f for the hash of every n-gram; a shorter text is one, and an empty one, too.
func (c MinHash) eachGram(text string, f func(uint64)) {
	list := words.Normal(text)
	hashes := make([]uint64, len(list))
	for i, w := range list {
		hashes[i] = xxh3.HashString(w)
	}
	// A text shorter than an n-gram would have none and be like nothing; whole, it is like its equals.
	n := min(c.NGram, len(list))
	for i := 0; i+n <= len(list) && (n > 0 || i == 0); i++ {
		g := uint64(0)
		for _, w := range hashes[i : i+n] {
			g = (g ^ w) * 0x9fb21c651e98df25
			g ^= g >> 32
		}
		f(g)
	}
}

// add takes an n-gram's hash in: multiply-add functions modulo 2^64, whose upper halves are near uniform (Dietzfelbinger et al., 1997).
func (h *Hasher) add(g uint64) {
	a, b, least := h.a, h.b[:len(h.a)], h.min[:len(h.a)]
	for i := range a {
		if x := a[i]*g + b[i]; x < least[i] {
			least[i] = x
		}
	}
}

// BandKeys are the hashes of the groups of a signature; equal groups of different bands have different hashes.
func (c MinHash) BandKeys(sig []uint32) []uint64 {
	out := make([]uint64, c.Bands)
	for b := range out {
		// The band's number goes first, or the same hashes in two bands would be compared by one key.
		g := uint64(b+1) * splitmix.Step
		for _, s := range sig[b*c.Rows : (b+1)*c.Rows] {
			g = (g ^ uint64(s)) * 0x9fb21c651e98df25
			g ^= g >> 32
		}
		out[b] = g
	}
	return out
}
