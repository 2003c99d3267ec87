package dedup

import (
	"cmp"
	"slices"
)

// Grams are the hashes of a text's word n-grams, each once, in ascending order.
func (c MinHash) Grams(text string) []uint64 {
	var set []uint64
	c.eachGram(text, func(g uint64) { set = append(set, g) })
	slices.Sort(set)
	return slices.Clip(slices.Compact(set))
}

// ExactSimilarity is the Jaccard similarity of two sets in ascending order.
func ExactSimilarity(a, b []uint64) float64 {
	both := 0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch c := cmp.Compare(a[i], b[j]); {
		case c < 0:
			i++
		case c > 0:
			j++
		default:
			both++
			i++
			j++
		}
	}
	return inBoth(both, len(a)+len(b)-both)
}

// Similarity is the share of equal hashes, an unbiased estimate of the Jaccard similarity.
func Similarity(a, b []uint32) float64 {
	same := 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
	}
	return inBoth(same, len(a))
}

// inBoth is the part that is in both of all, 0 of nothing.
func inBoth(both, all int) float64 {
	if all == 0 {
		return 0
	}
	return float64(both) / float64(all)
}
