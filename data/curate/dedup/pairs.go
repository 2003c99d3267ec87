package dedup

import (
	"cmp"
	"math"
	"slices"
)

// Pair is two documents with their similarity.
type Pair struct {
	A, B       uint64  // places of their sets, A the first
	Similarity float64 // of Jaccard
}

// AlikePairs are all pairs of sets whose similarity reaches least. Of two such sets, the first elements in the order of how rare they are, |x| - least*|x| + 1
// of them, have one in common (Bayardo et al., "Scaling Up All Pairs Similarity Search", 2007; Xiao et al., 2008), so that only such pairs are compared.
func AlikePairs(sets [][]uint64, least float64) []Pair {
	prefixes := rarest(sets, least)
	order := make([]int, len(sets)) // by size, so that a set is compared with smaller ones
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(len(sets[x]), len(sets[y])) })
	index := map[uint64][]int{}
	last := make([]int, len(sets)) // the set for which another was last compared, plus one
	var out []Pair
	for _, x := range order {
		for _, g := range prefixes[x] {
			for _, y := range index[g] {
				if last[y] == x+1 || float64(len(sets[y])) < least*float64(len(sets[x])) {
					continue
				}
				last[y] = x + 1
				if s := ExactSimilarity(sets[x], sets[y]); s >= least {
					out = append(out, Pair{uint64(min(x, y)), uint64(max(x, y)), s})
				}
			}
			index[g] = append(index[g], x)
		}
	}
	return out
}

// rarest are the first elements of each set in the order of how many sets have them.
func rarest(sets [][]uint64, least float64) [][]uint64 {
	all := slices.Concat(sets...)
	slices.Sort(all)
	// an element is in a set once, so its places in all of them together are the sets that have it
	elements, first := slices.Compact(slices.Clone(all)), make([]int, 0, len(all)) // and the first place of each
	for i, g := range all {
		if i == 0 || g != all[i-1] {
			first = append(first, i)
		}
	}
	first = append(first, len(all))
	type counted struct {
		element uint64
		sets    int
	}
	var sorted []counted
	out := make([][]uint64, len(sets))
	for i, set := range sets {
		sorted = sorted[:0]
		for _, g := range set {
			at, _ := slices.BinarySearch(elements, g)
			sorted = append(sorted, counted{g, first[at+1] - first[at]})
		}
		slices.SortFunc(sorted, func(x, y counted) int { return cmp.Or(cmp.Compare(x.sets, y.sets), cmp.Compare(x.element, y.element)) })
		for _, c := range sorted[:min(len(set), len(set)-int(math.Ceil(least*float64(len(set))-1e-9))+1)] {
			out[i] = append(out[i], c.element)
		}
	}
	return out
}
