package document

import (
	"context"
	"iter"
	"sync"

	"hone/data"
)

// Batches are large enough to be worth handing over and small enough to keep few documents in memory.
const (
	BatchDocs  = 128
	BatchBytes = 1 << 20
)

// EachBatch calls work on batches of documents, on several goroutines, and take on its results in the order of the documents. What is in a batch
// depends on the documents alone.
func EachBatch[T any](ctx context.Context, docs iter.Seq2[data.Document, error], workers int, work func() func([]data.Document) T, take func(T) error) error {
	type job struct {
		docs []data.Document
		done chan T
	}
	// Two channels: todo is taken by whichever worker is free, inOrder keeps the order of the documents for take. Its length bounds the batches in memory.
	ctx, cancel := context.WithCancel(ctx)
	todo, inOrder := make(chan job), make(chan job, 2*workers)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for range workers {
		group.Go(func() {
			f := work()
			for j := range todo {
				j.done <- f(j.docs)
			}
		})
	}
	var readErr error
	group.Go(func() {
		defer close(inOrder)
		defer close(todo)
		for b, err := range batched(docs) {
			if err != nil {
				readErr = err
				return
			}
			j := job{b, make(chan T, 1)}
			select { // a worker has it before it is waited for
			case todo <- j:
			case <-ctx.Done():
				readErr = ctx.Err()
				return
			}
			select {
			case inOrder <- j:
			case <-ctx.Done():
				readErr = ctx.Err()
				return
			}
		}
	})
	for j := range inOrder {
		if err := take(<-j.done); err != nil {
			cancel()
			for range inOrder { // lets the reader end
			}
			return err
		}
	}
	return readErr
}

// batched groups documents, up to BatchDocs or until BatchBytes are reached; a document larger than that is alone or the last of its batch.
func batched(docs iter.Seq2[data.Document, error]) iter.Seq2[[]data.Document, error] {
	return func(yield func([]data.Document, error) bool) {
		var b []data.Document
		bytes := 0
		for d, err := range docs {
			if err != nil {
				yield(nil, err)
				return
			}
			b = append(b, d)
			if bytes += len(d.Text); len(b) == BatchDocs || bytes >= BatchBytes {
				if !yield(b, nil) {
					return
				}
				b, bytes = nil, 0
			}
		}
		if len(b) > 0 {
			yield(b, nil)
		}
	}
}
