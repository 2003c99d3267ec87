package curate

import (
	"context"
	"fmt"
	"iter"

	"hone/data/curate/dedup"
	"hone/data/curate/document"
	"hone/data/curate/extsort"
)

// Exact similarities need the sets of n-grams themselves. They are far larger than signatures, so only those of documents that agree in a band with
// another are written, once, and read again for each pair: work on the disk in place of memory.

func gramsName(shard int) string { return fmt.Sprintf("kept-%05d.grams", shard) }

// writeGrams writes the n-grams of the documents that agree in a band with another, which are few, shard by shard. Those of a shard that an earlier call
// wrote are the same.
func (r *runner) writeGrams(ctx context.Context, bands iter.Seq2[extsort.Entry, error]) error {
	compared := dedup.NewDocumentSet(r.before(len(r.state.Shards)))
	for m, err := range extsort.Members(bands) {
		if err != nil {
			return err
		}
		// The first of a key is only known to have company when the second comes.
		if m.N > 1 {
			compared.Add(m.First.Doc)
			compared.Add(m.Doc)
		}
	}
	for shard := range r.state.Shards {
		if dedup.GramsWritten(r.path(workName, gramsName(shard))) {
			continue
		}
		if err := r.writeShardGrams(ctx, shard, compared); err != nil {
			return err
		}
		r.progress("near duplicates", r.before(shard+1))
	}
	return nil
}

func (r *runner) writeShardGrams(ctx context.Context, shard int, compared dedup.DocumentSet) error {
	out, err := dedup.CreateGrams(r.path(workName, gramsName(shard)))
	if err != nil {
		return err
	}
	work := func(_ int, it *item) error {
		if !compared.Has(it.doc) {
			return nil
		}
		if err := it.line.load(it.stored); err != nil {
			return err
		}
		// the same text as the signature is of, or the two searches would compare different things
		it.grams = r.cfg.Near.Grams((&document.Doc{Text: it.line.Text}).Compared(r.cfg.Records))
		return nil
	}
	// no copies yet: what is a copy is only found out with these n-grams
	everything := copies{dedup.NewClusters(), dedup.NewClusters(), dedup.NewClusters()}
	err = r.eachItem(ctx, shardReader{shard: shard, same: everything}, work, func(it *item) error { return out.Write(it.grams) })
	if err != nil {
		out.Abort()
		return err
	}
	return out.Commit()
}
