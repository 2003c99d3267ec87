package curate

import (
	"cmp"
	"iter"
	"math/rand/v2"
	"slices"

	"hone/data"
)

// Sample draws n documents, each with the same probability, in one pass and memory for n of them (Vitter's algorithm R, 1985). They come in the
// order of the corpus; fewer when there are no more. The draw depends on the seed and on how many documents there are.
func Sample(docs iter.Seq2[data.Document, error], n int, seed uint64) (drawn []data.Document, seen int64, err error) {
	type numbered struct {
		at int64
		d  data.Document
	}
	var kept []numbered
	r := rand.New(rand.NewPCG(seed, 0))
	for d, err := range docs {
		if err != nil {
			return nil, seen, err
		}
		if len(kept) < n {
			kept = append(kept, numbered{seen, d})
		} else if at := r.Int64N(seen + 1); at < int64(n) {
			kept[at] = numbered{seen, d}
		}
		seen++
	}
	slices.SortFunc(kept, func(a, b numbered) int { return cmp.Compare(a.at, b.at) })
	for _, k := range kept {
		drawn = append(drawn, k.d)
	}
	return drawn, seen, nil
}
