package curate

import (
	"context"
	"fmt"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"hone/data"
	"hone/data/curate/dedup"
	"hone/data/curate/document"
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
func MeasureNear(ctx context.Context, docs iter.Seq2[data.Document, error], near dedup.MinHash, thresholds []float64, workers int) (*NearMeasure, error) {
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
		sets[i] = near.Grams(text)
	}
	pairs := dedup.AlikePairs(sets, slices.Min(thresholds))
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
func agreement(t float64, pairs []dedup.Pair, sets [][]uint64, found *dedup.Clusters) Agreement {
	a := Agreement{Threshold: t}
	for _, p := range pairs {
		if p.Similarity < t {
			continue
		}
		a.Pairs++
		if found.Root(p.A) == found.Root(p.B) {
			a.Found++
		}
	}
	for doc := range found.Docs() {
		if kept, other := found.KeptInstead(doc); other {
			a.Removed++
			if dedup.ExactSimilarity(sets[doc], sets[kept]) >= t {
				a.Right++
			}
		}
	}
	a.Recall, a.Precision = document.Share(a.Found, a.Pairs), document.Share(a.Right, a.Removed)
	return a
}
