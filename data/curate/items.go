package curate

import (
	"context"
	"iter"
	"sync"

	"hone/data/curate/document"
	"hone/data/curate/spans"
)

// item is a document of a shard on its way through workers.
type item struct {
	doc    uint64   // its number in the order of the corpus
	kept   uint64   // the document that is kept in its place
	copied string   // exact, near or id, "" for a document that stays
	stored []byte   // as it lies in its shard
	grams  []uint64 // where they are compared
	marks  [][]spans.Mark
	line   line
	out    []byte // what is to be written
	counts parted
	cut    []Example
	scores []document.Note // of what was cut
}

// itemBatch is what goes from hand to hand.
type itemBatch struct {
	items []*item
	bytes int
	done  chan error // holds one
}

// eachItem puts the documents of a shard, each with its marks of sets, through workers that do work and then, in their order, through take.
// Copies of documents go straight to take.
func (r *runner) eachItem(ctx context.Context, in shardReader, work func(worker int, it *item) error, take func(*item) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	todo, inOrder := make(chan *itemBatch), make(chan *itemBatch, 2*r.cfg.Workers)
	var readErr error
	go func() {
		defer close(inOrder)
		defer close(todo)
		readErr = dealItems(ctx, r.items(in), todo, inOrder)
	}()
	var workers sync.WaitGroup
	for w := range r.cfg.Workers {
		workers.Go(func() {
			for b := range todo {
				var err error
				for _, it := range b.items {
					if it.copied == "" && err == nil {
						err = work(w, it)
					}
				}
				b.done <- err
			}
		})
	}
	defer workers.Wait()
	// the first error counts, in the order of documents; after it batches are taken only to let workers and reader end
	var err error
	for b := range inOrder {
		if workErr := <-b.done; err == nil {
			err = workErr
		}
		for _, it := range b.items {
			if err == nil {
				err = take(it)
			}
		}
		if err != nil {
			cancel() // and lets the reader end
		}
	}
	if err == nil {
		err = readErr
	}
	return err
}

// dealItems makes batches of documents, for a worker and for the order each.
func dealItems(ctx context.Context, items iter.Seq2[*item, error], todo, inOrder chan<- *itemBatch) error {
	b := &itemBatch{done: make(chan error, 1)}
	send := func() error {
		for _, c := range []chan<- *itemBatch{inOrder, todo} {
			select {
			case c <- b:
			case <-ctx.Done():
				b.done <- ctx.Err() // no worker will
				return ctx.Err()
			}
		}
		b = &itemBatch{done: make(chan error, 1)}
		return nil
	}
	for it, err := range items {
		if err != nil {
			return err
		}
		b.items = append(b.items, it)
		if b.bytes += len(it.stored); len(b.items) == document.BatchDocs || b.bytes >= document.BatchBytes {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if len(b.items) == 0 {
		return ctx.Err()
	}
	return send()
}

// shardReader says what is read of a shard.
type shardReader struct {
	shard int
	sets  []markSet
	same  copies
}

// markSet names what a scan of a pass marked.
type markSet struct{ pass, scan int }

// items reads the documents of a shard. Copies carry no marks.
func (r *runner) items(in shardReader) iter.Seq2[*item, error] {
	return func(yield func(*item, error) bool) {
		marks := make([]*spans.MarkReader, len(in.sets))
		defer func() {
			for _, m := range marks {
				m.Close()
			}
		}()
		for i, set := range in.sets {
			var err error
			if marks[i], err = spans.OpenMarks(r.path(workName, marksName(set, in.shard))); err != nil {
				yield(nil, err)
				return
			}
		}
		// marks lie in the order of documents, so one pass over both files is enough
		doc := uint64(r.before(in.shard))
		for stored, err := range readStored(r.path(workName, shardName(in.shard))) {
			it := &item{doc: doc, stored: stored, marks: make([][]spans.Mark, len(marks))}
			it.kept, it.copied = in.same.of(doc)
			for i, m := range marks {
				if err == nil {
					it.marks[i], err = m.Of(doc)
				}
			}
			if !yield(it, err) || err != nil {
				return
			}
			doc++
		}
	}
}
