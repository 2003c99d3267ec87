package data

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTheFirstFailureIsNamed: of several documents that cannot be encoded the first is the one that the error is about, whatever the workers and the
// shards, also where training documents and those held out are at fault.
func TestTheFirstFailureIsNamed(t *testing.T) {
	var texts []string
	for i := range 12 {
		texts = append(texts, fmt.Sprintf("text number %d", i))
	}
	sides := map[bool]int{}
	for turn := range texts {
		docs := documents(slices.Concat(texts[turn:], texts[:turn])...)
		var first Placed
		for d, err := range Split(docs, 0.5, false, nil) {
			if err != nil {
				t.Fatal(err)
			}
			first = d
			break
		}
		sides[first.Held]++
		for _, workers := range []int{1, 4} {
			for _, bytes := range []int{1, 20, 1 << 20} {
				cfg := byteConfig(filepath.Join(t.TempDir(), "tokens"))
				cfg.Encoder, cfg.Validation, cfg.Workers, cfg.ShardBytes = func() Encoder { return noEncoder{} }, 0.5, workers, bytes
				if _, _, err := Build(t.Context(), docs, cfg); err == nil || !strings.HasPrefix(err.Error(), first.Place()+": ") {
					t.Errorf("%d workers, shards of %d bytes: got %v, the first is %s", workers, bytes, err, first.Place())
				}
			}
		}
	}
	if sides[true] == 0 || sides[false] == 0 {
		t.Errorf("first documents by side: %v", sides)
	}
}

// TestStoppedAtTheEnd: a run that is stopped when all documents have been read leaves none of them out.
func TestStoppedAtTheEnd(t *testing.T) {
	for _, bytes := range []int{4, 1 << 20} { // the last shard is open, and all of them
		ctx, cancel := context.WithCancel(t.Context())
		docs := func(yield func(Document, error) bool) {
			for d, err := range documents("one", "two", "three") {
				if !yield(d, err) {
					return
				}
			}
			cancel()
		}
		cfg := byteConfig(filepath.Join(t.TempDir(), "tokens"))
		cfg.ShardBytes = bytes
		train, _, err := Build(ctx, docs, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if n := train.Documents(); n != 3 {
			t.Errorf("shards of %d bytes: %d of 3 documents are encoded", bytes, n)
		}
	}
}
