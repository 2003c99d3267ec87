package document

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hone/data"
	"hone/data/curate/curatetest"
)

// TestBatchesAreSmall: they hold few documents, each once and in their order.
func TestBatchesAreSmall(t *testing.T) {
	docs := curatetest.Documents(slices.Repeat([]string{"short", strings.Repeat("x", BatchBytes/3)}, 400))
	seen := 0
	for b, err := range batched(curatetest.Stream(docs, curatetest.GoOn)) {
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for _, d := range b {
			bytes += len(d.Text)
			if seen++; d.Record != seen {
				t.Fatalf("document %d comes as number %d", d.Record, seen)
			}
		}
		if last := len(b[len(b)-1].Text); len(b) > BatchDocs || bytes-last >= BatchBytes {
			t.Errorf("a batch of %d documents and %d bytes", len(b), bytes)
		}
	}
	if seen != len(docs) {
		t.Errorf("%d of %d documents", seen, len(docs))
	}
}

// TestBatchesComeInOrder: results come in the order of the documents; an error of the caller and a cancellation end it.
func TestBatchesComeInOrder(t *testing.T) {
	docs := curatetest.Documents(slices.Repeat([]string{"x"}, 3000))
	broken := fmt.Errorf("broken")
	count := func() func([]data.Document) int { return func(d []data.Document) int { return d[0].Record } }
	for _, workers := range []int{1, 2, 7} {
		last, calls := 0, 0
		err := EachBatch(t.Context(), curatetest.Stream(docs, curatetest.GoOn), workers, count, func(first int) error {
			if calls++; first <= last {
				t.Errorf("%d workers: document %d after %d", workers, first, last)
			}
			last = first
			return nil
		})
		if err != nil || calls != (len(docs)+BatchDocs-1)/BatchDocs {
			t.Errorf("%d workers: %d batches, %v", workers, calls, err)
		}
		calls = 0
		err = EachBatch(t.Context(), curatetest.Stream(docs, curatetest.GoOn), workers, count, func(int) error {
			if calls++; calls == 3 {
				return broken
			}
			return nil
		})
		if err != broken || calls != 3 {
			t.Errorf("%d workers: %d batches and the error %v", workers, calls, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = EachBatch(ctx, curatetest.Stream(docs, func(i int) error {
			if i == 500 {
				cancel()
			}
			return nil
		}), workers, count, func(int) error { return nil })
		if err != context.Canceled {
			t.Errorf("%d workers: stopped with %v", workers, err)
		}
	}
}
