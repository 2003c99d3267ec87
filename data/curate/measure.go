package curate

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"os"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"hone/data"
)

// Agreement is how what a search for near duplicates removes agrees with the exact Jaccard similarities of the same word n-grams.
type Agreement struct {
	Threshold float64 `json:"threshold"` // similarity from which documents count as duplicates
	Pairs     int     `json:"pairs"`     // that reach it
	Found     int     `json:"found"`     // of them, in one cluster
	Recall    float64 `json:"recall"`    // Found / Pairs
	Removed   int     `json:"removed"`   // documents
	Right     int     `json:"right"`     // of them, with a similarity to the kept document that reaches the threshold
	Precision float64 `json:"precision"` // Right / Removed
}

// NearMeasure is what MeasureNear found.
type NearMeasure struct {
	Documents int         `json:"documents"` // distinct texts
	Seconds   float64     `json:"seconds"`   // of the search
	Agreement []Agreement `json:"agreement"`
}

// MeasureNear searches for near duplicates as Run does, computes the similarity of every pair that reaches the least threshold, and compares. Documents
// whose text stood before are left out. Memory holds all texts and their n-grams.
func MeasureNear(ctx context.Context, docs iter.Seq2[data.Document, error], near MinHash, thresholds []float64, workers int) (*NearMeasure, error) {
	dir, err := os.MkdirTemp("", "hone-near-")
	if err != nil {
		return nil, fmt.Errorf("measure: %w", err)
	}
	defer os.RemoveAll(dir)
	begin := time.Now()
	r := &runner{cfg: Config{Dir: dir, Near: &near, Workers: workers, ShardBytes: 256 << 20, SortEntries: 4 << 20}}
	if err := r.open(); err != nil {
		return nil, err
	}
	var texts []string
	if err := r.filter(ctx, distinct(docs, &texts)); err != nil {
		return nil, err
	}
	same, err := r.duplicates(ctx)
	if err != nil {
		return nil, err
	}
	// The time of the search alone; what follows is the judge, which no user pays for.
	m := &NearMeasure{Documents: len(texts), Seconds: time.Since(begin).Seconds()}
	sets := make([][]uint64, len(texts))
	for i, text := range texts {
		sets[i] = near.grams(text)
	}
	pairs := alikePairs(sets, slices.Min(thresholds))
	for _, t := range thresholds {
		m.Agreement = append(m.Agreement, agreement(t, pairs, sets, same.near))
	}
	return m, nil
}

// distinct leaves out documents whose text stood before, and keeps the texts of the others.
func distinct(docs iter.Seq2[data.Document, error], texts *[]string) iter.Seq2[data.Document, error] {
	return func(yield func(data.Document, error) bool) {
		seen := map[uint64]bool{}
		for d, err := range docs {
			if err == nil {
				key := xxh3.Hash(d.Text)
				if seen[key] {
					continue
				}
				seen[key] = true
				*texts = append(*texts, string(d.Text))
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// agreement compares what a search joined with the pairs whose similarity reaches t; sets are the documents' n-grams.
func agreement(t float64, pairs []alikePair, sets [][]uint64, found *clusters) Agreement {
	a := Agreement{Threshold: t}
	for _, p := range pairs {
		if p.similarity < t {
			continue
		}
		a.Pairs++
		if found.root(p.a) == found.root(p.b) {
			a.Found++
		}
	}
	for doc := range found.parent {
		if kept, other := found.keptInstead(doc); other {
			a.Removed++
			if exactSimilarity(sets[doc], sets[kept]) >= t {
				a.Right++
			}
		}
	}
	a.Recall, a.Precision = share(a.Found, a.Pairs), share(a.Right, a.Removed)
	return a
}

// grams are the hashes of a text's word n-grams, each once, in ascending order.
func (c MinHash) grams(text string) []uint64 {
	var set []uint64
	c.eachGram(text, func(g uint64) { set = append(set, g) })
	slices.Sort(set)
	return slices.Clip(slices.Compact(set))
}

// exactSimilarity is the Jaccard similarity of two sets in ascending order.
func exactSimilarity(a, b []uint64) float64 {
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
	return share(both, len(a)+len(b)-both)
}

// alikePair is two documents with their similarity.
type alikePair struct {
	a, b       uint64
	similarity float64
}

// alikePairs are all pairs of sets whose similarity reaches least. Of two such sets, the first elements in the order of how rare they are, |x| - least*|x| + 1
// of them, have one in common (Bayardo et al., "Scaling Up All Pairs Similarity Search", 2007; Xiao et al., 2008), so that only such pairs are compared.
func alikePairs(sets [][]uint64, least float64) []alikePair {
	prefixes := rarest(sets, least)
	order := make([]int, len(sets)) // by size, so that a set is compared with smaller ones
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(len(sets[x]), len(sets[y])) })
	index := map[uint64][]int{}
	last := make([]int, len(sets)) // the set for which another was last compared, plus one
	var out []alikePair
	for _, x := range order {
		for _, g := range prefixes[x] {
			for _, y := range index[g] {
				if last[y] == x+1 || float64(len(sets[y])) < least*float64(len(sets[x])) {
					continue
				}
				last[y] = x + 1
				if s := exactSimilarity(sets[x], sets[y]); s >= least {
					out = append(out, alikePair{uint64(min(x, y)), uint64(max(x, y)), s})
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
