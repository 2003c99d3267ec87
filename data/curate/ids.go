package curate

import (
	"context"
	"fmt"

	"hone/data/curate/dedup"
	"hone/data/curate/extsort"
)

// SameID says what happens to documents that have the name of an earlier one but are in the corpus beside it.
type SameID string

// The choices for them; "" means KeepSameID.
const (
	KeepSameID SameID = "keep"  // count them, and name one
	SkipSameID SameID = "skip"  // leave them out
	FailSameID SameID = "error" // stop and name one
)

// sameIDs looks for documents of equal names. They are joined when they are to be left out.
func (r *runner) sameIDs(ctx context.Context, c *dedup.Clusters) error {
	n := int64(0)
	var example extsort.Member
	keys, err := r.sortKeys(ctx, idKeys, dedup.NewClusters())
	defer keys.Remove()
	if err != nil {
		return err
	}
	err = eachMember(ctx, keys, func(m extsort.Member) error {
		if m.N == 1 {
			return nil
		}
		if n++; n == 1 || m.Doc < example.Doc {
			example = m
		}
		if r.cfg.SameID == SkipSameID {
			c.Join(m.First, m.Entry)
		}
		return nil
	})
	if err != nil || n == 0 || r.cfg.SameID == SkipSameID {
		return err
	}
	first, err := r.lineOf(example.First.Doc)
	if err != nil {
		return err
	}
	second, err := r.lineOf(example.Doc)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d documents have the id of an earlier one, such as %s at %s and %s", n, second.ID, first.place(), second.place())
	if r.cfg.SameID == FailSameID {
		return fmt.Errorf("%s; repair them, or set on_same_id to keep or skip", what)
	}
	r.notes = append(r.notes, what)
	return nil
}

// lineOf reads one document.
func (r *runner) lineOf(doc uint64) (line, error) {
	for shard := range r.state.Shards {
		if doc >= uint64(r.before(shard+1)) {
			continue
		}
		at := uint64(r.before(shard))
		for raw, err := range readStored(r.path(workName, shardName(shard))) {
			it := &item{}
			if err == nil && at == doc {
				err = it.line.load(raw)
			}
			if err != nil || at == doc {
				return it.line, err
			}
			at++
		}
	}
	return line{}, fmt.Errorf("curate: the shards end before document %d", doc)
}
